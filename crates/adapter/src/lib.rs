//! What every chat adapter does apart from its platform.

mod platform;
mod trouble;

pub use platform::{Act, Found, Handing, OpenFile, Platform, Profile};
pub use trouble::{Told, Trouble};
