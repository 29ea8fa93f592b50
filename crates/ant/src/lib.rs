//! ant.
