//! Section: agents on the managed hosts.

use crate::key::section;
use crate::value::text;

section! {
    /// Agents on the managed hosts.
    pub struct Agents in agents, "Agents";
    serve_agents_http: bool = false => "ServeAgentsHttp", NotYet("agents"), Restart, "Open the second listener, for agents.";
    agents_server_port: String = text(":3001") => "AgentsServerPort", NotYet("agents"), Restart, "Its address.";
    agents_use_ssl: bool = false => "AgentsUseSSL", NotYet("agents"), Restart, "TLS on it and towards agents.";
    agents_use_mutual_tls: bool = false => "AgentsUseMutualTLS", NotYet("agents"), Restart, "Require client certificates there.";
    agent_ssl_skip_verify: bool = false => "AgentSSLSkipVerify", NotYet("agents"), Restart, "Do not verify certificates of agents.";
    agent_ssl_private_key_file: String = String::new() => "AgentSSLPrivateKeyFile", NotYet("agents"), Restart, "Private key (PEM).";
    agent_ssl_cert_file: String = String::new() => "AgentSSLCertFile", NotYet("agents"), Restart, "Certificate (PEM).";
    agent_ssl_ca_file: String = String::new() => "AgentSSLCAFile", NotYet("agents"), Restart, "Certificate authority (PEM).";
    agent_ssl_valid_ous: Vec<String> = Vec::new() => "AgentSSLValidOUs", NotYet("agents"), Restart, "Organisational units let in.";
    agent_poll_minutes: u64 = 60 => "AgentPollMinutes", NotYet("agents"), Live, "Time between two polls of an agent.";
    unseen_agent_forget_hours: u64 = 6 => "UnseenAgentForgetHours", NotYet("agents"), Live,
        "Agents not seen for this long are forgotten.";
    stale_seed_fail_minutes: u64 = 60 => "StaleSeedFailMinutes", NotYet("agents"), Live,
        "A seed without progress for this long is marked failed.";
    seed_acceptable_bytes_diff: i64 = 8192 => "SeedAcceptableBytesDiff", Unused("never had an effect"), Live,
        "Difference in size tolerated after a seed.";
    seed_wait_seconds_before_send: u64 = 2 => "SeedWaitSecondsBeforeSend", NotYet("agents"), Live,
        "Pause between telling the target to receive and the source to send.";
}
