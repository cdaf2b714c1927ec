//! May one server replicate from another?
