//! Servers of chat platforms, for tests: each on loopback, each able to lie as the real one can, and each proven right
//! with a client that was written for the real one.
