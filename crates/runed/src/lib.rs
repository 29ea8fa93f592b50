//! runed.
pub mod backend;
pub mod process;
pub mod run;
mod sandbox;
mod shim;
pub use sandbox::sandbox_main;
pub use shim::shim_main;
