//! Secrets from Google Cloud Secret Manager: one secret whose versions are JSON objects, its keys are
//! the names, or one secret for each name.
//!
//! # The design
//!
//! 1. A look asks which version is the latest, without its value. Only where that is new is the value
//!    read, by its number: of all that Secret Manager answers, that alone is strongly consistent. An
//!    answer that is older than what was seen already takes nothing back.
//! 2. A version that is disabled or destroyed is no value. The one before it that is enabled holds the
//!    previous values, for one overlap.
//! 3. The CRC32C of every value is checked here.
//! 4. Reads that arrive while a look is under way are answered by that look.
//! 5. One access token, replaced before its end. What a login needs is read from its file each time;
//!    the file of an external account is not trusted.
//! 6. Every call counts against a budget for the hour. What the server says about waiting is obeyed.
//! 7. A write adds a version, whose number tells whether somebody else wrote meanwhile.
//! 8. A Pub/Sub subscription, where one is named, hints that something changed, and no more.
//!
//! # What always holds
//!
//! - The requests and answers are those of `google-cloud-secretmanager-v1`; the way to the server is
//!   [`transport`], because that client's own takes answers of any size, follows redirects, has no
//!   limit of time for one attempt, and shows values: its `SecretPayload` has a `Debug` that prints
//!   them. What fails is told by its kind, status and a few known words alone: no body, token or value
//!   is in an error, a log line or a `Debug` output.
//! - No environment variable has any effect, neither `GOOGLE_APPLICATION_CREDENTIALS`,
//!   `GCE_METADATA_HOST` nor a proxy's.
//! - Every call has limits of time and size, and is tried again at most once.

mod address;
mod answers;
mod entry;
mod external;
mod lease;
mod line;
mod login;
mod push;
mod secret_manager;
mod session;
mod source;
mod transport;
mod trouble;
mod version;
mod write;

pub use address::{Address, Auth, Form, Subscription};
pub use secrets::remote::{AddressError, Silence};
pub use source::SecretManagerSource;
pub use trouble::Trouble;
