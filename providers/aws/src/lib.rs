//! Secrets from AWS Secrets Manager: one JSON secret whose keys are the names, or one secret for each name.
//!
//! # The design
//!
//! 1. A look asks which versions have the labels `AWSCURRENT` and `AWSPREVIOUS` (`DescribeSecret`). Only where one
//!    moved are the values read, by label. `AWSPENDING` is never asked for. Under a prefix there is nothing cheaper
//!    that is up to date, so a look reads the values of all names, twenty in one call.
//! 2. Reads that arrive while a look is under way are answered by that look.
//! 3. Who we are is what the URL names, and nothing else: a web identity (IRSA), EKS Pod Identity, a file, or, by name
//!    alone, the SDK's own chain. What proves it is read from its file for every exchange. Credentials are exchanged
//!    anew at two thirds of their life, with jitter, and once where they are refused before that.
//! 4. Every attempt counts against a budget for the hour. What AWS says about waiting is obeyed.
//! 5. A write of a JSON secret stores the new version under a label of ours, and then moves `AWSCURRENT` from the very
//!    version that it was made from: where somebody was faster, the move is refused and the write is made anew.
//! 6. A queue, where there is one, says "look again" and nothing else.
//!
//! # What always holds
//!
//! - The operations, signatures and endpoints are those of the SDK; the way to the servers is [`transport`], because
//!   the SDK's own takes answers of any size and panics where it cannot read an authority. What fails is told by its
//!   kind and code alone: no body, message, credential or value is in an error, a log line or a `Debug` output.
//! - No environment variable has any effect but those of [`Ambient`], which the caller hands in, unless `auth=default`
//!   asks for the SDK's chain.
//! - Every call has limits of time and size, and is tried again at most once.

mod address;
mod answers;
mod credentials;
mod entry;
mod lease;
mod prefix;
mod queue;
mod session;
mod source;
mod transport;
mod trouble;
mod write;

pub use address::{Address, Ambient, Auth};
pub use secrets::remote::{AddressError, Silence};
pub use source::Aws;
pub use trouble::Trouble;
