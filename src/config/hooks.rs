//! Section: commands run around detections, recoveries and takeovers.

use crate::key::section;
use crate::value::text;

section! {
    /// Commands run around detections, recoveries and takeovers.
    pub struct Hooks in hooks, "Hooks";
    processes_shell_command: String = text("bash") => "ProcessesShellCommand", NotYet("hooks"), Live,
        "The interpreter that runs them.";
    hook_timeout_seconds: u64 = 60 => "HookTimeoutSeconds" (New), NotYet("hooks"), Live,
        "A hook that takes longer is killed with everything it started, and has failed: longer than announcements, DNS, proxies and power switches take, and the most by which each hook can hold up a failover. Hooks that end in `&` are not waited for, and not limited.";
    on_failure_detection_processes: Vec<String> = Vec::new() => "OnFailureDetectionProcesses", NotYet("hooks"), Live,
        "Run when a failure is first registered; a failing one stops the recovery.";
    pre_graceful_takeover_processes: Vec<String> = Vec::new() => "PreGracefulTakeoverProcesses", NotYet("hooks"), Live,
        "Run before a planned takeover makes the primary read-only; a failing one stops it.";
    pre_failover_processes: Vec<String> = Vec::new() => "PreFailoverProcesses", NotYet("hooks"), Live,
        "Run before a recovery acts; a failing one stops it.";
    post_master_failover_processes: Vec<String> = Vec::new() => "PostMasterFailoverProcesses", NotYet("hooks"), Live,
        "Run after a successful recovery of a primary.";
    post_intermediate_master_failover_processes: Vec<String> = Vec::new() => "PostIntermediateMasterFailoverProcesses", NotYet("hooks"), Live,
        "Run after a successful recovery of an intermediate source.";
    post_failover_processes: Vec<String> = Vec::new() => "PostFailoverProcesses", NotYet("hooks"), Live,
        "Run after any successful recovery, after the list special to it.";
    post_unsuccessful_failover_processes: Vec<String> = Vec::new() => "PostUnsuccessfulFailoverProcesses", NotYet("hooks"), Live,
        "Run after a recovery that found no successor.";
    post_graceful_takeover_processes: Vec<String> = Vec::new() => "PostGracefulTakeoverProcesses", NotYet("hooks"), Live,
        "Run after a planned takeover.";
    post_take_master_processes: Vec<String> = Vec::new() => "PostTakeMasterProcesses", NotYet("hooks"), Live,
        "Run after `take-master`.";
}
