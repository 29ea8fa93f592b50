//! runed, tested through its public interface: every backend against one suite, and the daemon over HTTP.

mod conformance;
mod process;
mod waiting;
