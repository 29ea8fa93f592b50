//! runed.
