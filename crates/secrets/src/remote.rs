//! What sources that are servers have in common: the parameters of their URLs, one look for all who ask, a budget of
//! calls, and entries that are a JSON object. Each provider decides how to use it.

mod address;
mod budget;
mod entry;
mod looks;
mod silence;

pub use address::{AddressError, CALLS_PER_HOUR_MIN, Query};
pub use budget::Budget;
pub use entry::{NotText, Values, changed, copy, counts, drops_previous, same, values};
pub use looks::{Look, Looks};
pub use silence::{Ended, Silence};
