//! Servers that keep secrets, for tests: each real where it can be had, and a proxy that makes trouble in front.
