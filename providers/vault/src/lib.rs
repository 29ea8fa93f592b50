//! Secrets from HashiCorp Vault or OpenBao: one entry of a KV engine, its keys are the names.
//!
//! # The design
//!
//! 1. A look asks for the entry's metadata first. Only where a version is new is the data read, of
//!    exactly that version, so that all names are of one moment. Version n-1 is the previous value
//!    of what differs in it, for one overlap.
//! 2. Reads that arrive while a look is under way are answered by that look.
//! 3. One token, renewed at two thirds of its life with jitter. Where renewing no longer gives it
//!    a life (`max_ttl`), a fresh login comes before its end. What a login needs is read from its
//!    file each time.
//! 4. Every call counts against a budget for the hour. What the server says about waiting is
//!    obeyed.
//! 5. A write names the version that it replaces, and is made anew when somebody else was faster.
//!
//! # What always holds
//!
//! - The endpoints are those of `vaultrs`; the way to the server is [`transport`], because the one
//!   of `vaultrs` takes answers of any size, follows redirects and puts bodies into its errors.
//!   What fails is told by its kind and status alone: no body, token or value is in an error, a log
//!   line or a `Debug` output.
//! - No environment variable has any effect, neither `VAULT_*` nor a proxy's.
//! - Every call has limits of time and size, and is tried again at most once.

mod address;
mod answers;
mod entry;
mod lease;
mod session;
mod source;
mod transport;
mod trouble;
mod write;

pub use address::{Address, Auth};
pub use secrets::remote::{AddressError, Silence};
pub use source::Vault;
pub use trouble::Trouble;
