//! webd.
