//! provider-file.
