//! Web chat and webhooks: capability links made usable by a browser and by a program.
//!
//! # The design
//!
//! 1. webd owns no database. A link is resolved by routd, a message is routd's once it is committed
//!    there, and what happened in a chat is read from routd's feed.
//! 2. A message is accepted with 202 after routd's commit and not before. Its id is the caller's own
//!    (`Idempotency-Key`, or the page's client id), so that a repeat is the same message; while routd
//!    restarts, the same message is sent again for a few seconds before the caller is told to.
//! 3. `CHANNEL_SECRET` is presented through [`secrets::Watched::present`]: a refusal makes webd look
//!    at the source again and send the same message again, once.
//! 4. A stream is a long poll of the feed, followed for as long as the client listens. Each event
//!    carries the feed's cursor as its `id`, so a client resumes where it was; routd may restart
//!    behind a stream without the client noticing.
//! 5. A page works without its script. The script receives parsed messages and makes elements of
//!    them; neither side has a way from a message's text to markup.
//!
//! # What always holds
//!
//! - A token is in no log, no answer and no cache; the cache is keyed by its SHA-256 and forgets
//!   within two seconds, which is how long a revoked link can still be used.
//! - A link that is unknown, ended or of the other kind is one and the same 404.
//! - `X-User-*` and `X-Forwarded-*` mean nothing without the edge's own token.

mod assets;
mod follow;
mod guest;
mod hook_body;
mod hook_signature;
mod http;
mod links;
mod markdown;
mod page;
mod rich;
mod routd;
mod settings;
mod story;
mod visitor;

pub use http::ROUTES;
pub use settings::SETTINGS;

use kit::{Context, StartError};
use secrets::AnyBundle;

/// The secrets that webd needs, besides its service key.
pub const BUNDLES: &[&dyn AnyBundle] = &[&routd::CHANNEL_SECRET];

/// Starts webd: answers with what it serves.
///
/// # Errors
/// A setting does not parse, or `CHANNEL_SECRET` is nowhere.
pub async fn start(context: Context) -> Result<axum::Router, StartError> {
    http::router(context).await
}
