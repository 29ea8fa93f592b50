//! routd.
