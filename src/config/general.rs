//! Section: general switches and logging.

use crate::key::section;
use crate::value::choice;

choice! {
    /// Which name of this node is put before the message of every API reply.
    pub enum OrcIdentity {
        None = "none" | "",
        Fqdn = "FQDN",
        Hostname = "hostname",
        Custom = "custom",
    }
}

section! {
    /// General switches and logging.
    pub struct General in general, "General and logging";
    debug: bool = false => "Debug", Effective, Restart, "Log at level debug, like `--debug`.";
    enable_syslog: bool = false => "EnableSyslog", NotYet("syslog"), Restart, "Copy the log to syslog.";
    prepend_messages_with_orc_identity: OrcIdentity = OrcIdentity::None => "PrependMessagesWithOrcIdentity",
        Effective, Restart,
        "Put `Orchestrator <name> says: ` before the `Message` of every API reply; which name: `none`, `FQDN`, `hostname` or `custom`.";
    custom_orc_identity: String = String::new() => "CustomOrcIdentity", Effective, Restart,
        "The name used with `PrependMessagesWithOrcIdentity: custom`.";
}
