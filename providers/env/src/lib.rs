//! provider-env.
