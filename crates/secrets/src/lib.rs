//! Secrets: from a place to a parsed, live value.
//!
//! # The design
//!
//! 1. A [`SecretSource`] can be read, and may say "look again". It never pushes a value, so a lost
//!    or repeated hint costs one read and nothing else.
//! 2. The [`Keeper`] is the only reader of sources, one for each process. A hint, a poll, an
//!    operator and a refused credential all ask for the same thing: one read of all the names that
//!    are needed from that source. Each source has a task of its own.
//! 3. A program declares what it needs as a [`Bundle`]: names, what each is for, and a parser. What
//!    must change together is one bundle, and nobody ever sees it in halves.
//! 4. What was read is compared, parsed, and published as a numbered, immutable generation by one
//!    pointer swap, or, where it does not parse, the whole last good generation stays.
//! 5. A program holds [`Watched<T>`] and asks it at the moment of use: [`Watched::current`] for what
//!    it presents, [`Watched::accepted`] for what it checks. Nobody keeps a copy.
//! 6. A replaced value is accepted for one overlap longer, so that the two sides of a credential may
//!    see a change in any order; [`Watched::present`] and [`Watched::check`] look again when a
//!    credential is refused.
//!
//! # What always holds
//!
//! - A bundle comes whole from the first source of the chain that has it, and never changes its
//!   source after that. Only a definite "not here" passes on to the next one; a source that cannot
//!   be read is waited for.
//! - Nothing that a source says or fails to say takes a running value away. A required name that
//!   vanishes, or any that cannot be used, keeps the whole last good generation. An optional name
//!   that vanishes keeps its own last value while others move, until it is forgotten.
//! - At most [`ACCEPTED_MAX`] values are accepted at once. A previous value in the source (its own,
//!   or `NAME_PREVIOUS`) counts for one overlap from the time it is first seen, so that a restart
//!   in the middle of a rotation changes nothing.
//! - Each source is read by one call at a time, and no call waits for another source.
//! - No value is in an error, an event, a log line, a metric or a `Debug` output.
//! - Time is an argument: what runs out is measured by tokio's clock, dates come from
//!   [`Policy::clock`].

mod bundle;
mod event;
pub mod files;
mod handle;
mod header;
mod inspect;
mod keeper;
mod metrics;
mod name;
mod policy;
mod probe;
mod refused;
pub mod remote;
pub mod seal;
mod secret;
mod source;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watched;

pub use bundle::{AnyBundle, Bundle, Need, Role, Values};
pub use event::{Event, Outcome};
pub use handle::Secrets;
pub use header::bearer_header;
pub use keeper::{BACKOFF_FIRST, BACKOFF_LONGEST, Keeper, KeeperHandle, LOOK_SPACING, WatchError};
pub use name::{Name, NameError};
pub use policy::{Policy, WallClock};
pub use probe::{Probe, probe};
pub use refused::{Again, Attempt, LOOK_PATIENCE, PATIENCE};
pub use secret::{Malformed, SECRET_BYTES_MAX, Secret, same_bytes};
pub use source::{
    Answer, Cause, Change, SecretSource, SecretWriter, SourceError, Versions, WriteError,
};
pub use status::SecretStatus;
pub use watched::{ACCEPTED_MAX, Accepted, Watched};
/// A buffer that is wiped when it drops: for what is on its way into a [`Secret`] or out of one.
pub use zeroize::Zeroizing;
