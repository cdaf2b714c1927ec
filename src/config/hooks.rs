//! Section: commands run around detections, recoveries and takeovers.

use crate::key::section;
use crate::value::text;

section! {
    /// Commands run around detections, recoveries and takeovers.
    pub struct Hooks in hooks, "Hooks";
    processes_shell_command: String = text("bash") => "ProcessesShellCommand", Effective, Live,
        "The interpreter that runs them.";
    hook_timeout_seconds: u64 = 60 => "HookTimeoutSeconds" (New), Effective, Live,
        "A hook that takes longer is killed with everything it started, and has failed: longer than announcements, DNS, proxies and power switches take, and the most by which each hook can hold up a failover. Hooks that end in `&` are not waited for, and not limited.";
    on_failure_detection_processes: Vec<String> = Vec::new() => "OnFailureDetectionProcesses", Effective, Live,
        "Run when a failure is first registered; a failing one stops the recovery.";
    pre_graceful_takeover_processes: Vec<String> = Vec::new() => "PreGracefulTakeoverProcesses", Effective, Live,
        "Run before a planned takeover makes the primary read-only; a failing one stops it.";
    pre_failover_processes: Vec<String> = Vec::new() => "PreFailoverProcesses", Effective, Live,
        "Run before a recovery acts; a failing one stops it.";
    post_master_failover_processes: Vec<String> = Vec::new() => "PostMasterFailoverProcesses", Effective, Live,
        "Run after a successful recovery of a primary.";
    post_intermediate_master_failover_processes: Vec<String> = Vec::new() => "PostIntermediateMasterFailoverProcesses", Effective, Live,
        "Run after a successful recovery of an intermediate source.";
    post_failover_processes: Vec<String> = Vec::new() => "PostFailoverProcesses", Effective, Live,
        "Run after any successful recovery, after the list special to it.";
    post_unsuccessful_failover_processes: Vec<String> = Vec::new() => "PostUnsuccessfulFailoverProcesses", Effective, Live,
        "Run after a recovery that found no successor.";
    post_graceful_takeover_processes: Vec<String> = Vec::new() => "PostGracefulTakeoverProcesses", Effective, Live,
        "Run after a planned takeover.";
    post_take_master_processes: Vec<String> = Vec::new() => "PostTakeMasterProcesses", Effective, Live,
        "Run after `take-master`.";
}
