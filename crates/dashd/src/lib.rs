//! The operator's dashboard: pages made here, of what the owners say.
//!
//! # The design
//!
//! 1. dashd owns nothing and opens no database. What a page shows is asked of its owner when the page is asked for,
//!    and what a form does, the owner does.
//! 2. Both happen with the rights of whoever is logged in: for each request the edge hands on something that authd
//!    takes for a token of that person, for one daemon ([`kit::Acting`]). So an operator sees the whole instance, a
//!    person what is of the folders that they administer, and nobody sees more by way of the dashboard than without it.
//! 3. A page is whole without a script. htmx keeps some of them up to date ([`live`]) and answers while one types;
//!    without it one loads the page again, or sends the form.
//! 4. What changes something is a `POST`. A handler gets one only as a [`visit::Posted`], which exists once it is known
//!    that one of our own pages sent it. What cannot be taken back asks first, on a page of its own.
//!
//! # What always holds
//!
//! - No page has the value of a secret: the owners have no way to say one. A new link is shown once, by the answer to
//!   the form that made it.
//! - `X-User-*` means nothing without the edge's own token; without a login there is one page, which says so.
//! - Nothing runs on a page but the scripts that came with the program; what others wrote is text.
//! - What a page says in passing (`?done=…`) is one of a few fixed sentences.

mod advice;
mod assets;
mod chart;
mod figures;
mod form;
mod http;
mod live;
mod look;
mod pages;
mod parts;
mod query;
mod settings;
mod shown;
mod trouble;
mod visit;

pub use http::ROUTES;
pub use settings::SETTINGS;

use kit::{Context, StartError};
use secrets::AnyBundle;

/// The secrets that dashd needs, besides its service key: none.
pub const BUNDLES: &[&dyn AnyBundle] = &[];

/// Starts dashd: answers with what it serves.
///
/// # Errors
/// A setting does not parse.
pub async fn start(context: Context) -> Result<axum::Router, StartError> {
    http::router(&context)
}
