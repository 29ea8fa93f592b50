//! The parts of routd's routing that read what an operator wrote.

#[path = "../../../../crates/routd/src/route/glob.rs"]
pub mod glob;
#[path = "../../../../crates/routd/src/route/pattern.rs"]
pub mod pattern;
#[path = "../../../../crates/routd/src/route/target.rs"]
pub mod target;
