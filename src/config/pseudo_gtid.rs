//! Section: Pseudo-GTID and scanning of binary logs.

use crate::key::section;

section! {
    /// Pseudo-GTID and scanning of binary logs.
    pub struct PseudoGtid in pseudo_gtid, "Pseudo-GTID";
    auto_pseudo_gtid: bool = false => "AutoPseudoGTID", NotYet("Pseudo-GTID"), Live,
        "Inject entries into writable primaries, and set the four keys below.";
    pattern: String = String::new() => "PseudoGTIDPattern", NotYet("Pseudo-GTID"), Live,
        "What marks an entry in a binary log; empty = off.";
    pattern_is_fixed_substring: bool = false => "PseudoGTIDPatternIsFixedSubstring", NotYet("Pseudo-GTID"), Live,
        "The pattern is plain text, not a regular expression.";
    monotonic_hint: String = String::new() => "PseudoGTIDMonotonicHint", NotYet("Pseudo-GTID"), Live,
        "Text in an entry that says that entries ascend.";
    detect_query: String = String::new() => "DetectPseudoGTIDQuery", NotYet("Pseudo-GTID"), Live,
        "Query, one value: 1 where the server uses Pseudo-GTID.";
    binlog_events_chunk_size: u64 = 10_000 => "BinlogEventsChunkSize", NotYet("Pseudo-GTID"), Live,
        "Events read from a log at a time.";
    skip_binlog_events_containing: Vec<String> = Vec::new() => "SkipBinlogEventsContaining", NotYet("Pseudo-GTID"), Live,
        "Events that contain one of these texts are left out of comparisons.";
}
