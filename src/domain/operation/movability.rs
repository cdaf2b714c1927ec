//! Who can be moved.
