//! Plans for people: one line per step.
