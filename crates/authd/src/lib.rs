//! authd.
