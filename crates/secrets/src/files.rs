//! Safe reading of secret files.
