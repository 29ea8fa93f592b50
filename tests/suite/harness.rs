//! A real suite of real processes in a directory of its own, on a loopback address of its own.

mod browser;
mod messages_api;
mod mount;
mod pod;
mod process;
mod store;
mod suite;
mod traffic;
mod view;
mod web;

pub use browser::Browser;
pub use messages_api::{Asked, MessagesApi, Says};
pub use mount::Mount;
pub use pod::{Town, documents, helm, kubectl, kubernetes};
pub use process::{eventually, is_alive, program, signal};
pub use store::Store;
pub use suite::{PORTS, Suite, Tls, reply_of, write_private};
pub use traffic::{Temper, Traffic};
pub use view::{View, request as view_request};
pub use web::{Chat, Event};

use std::time::Duration;

/// How long anything may take before a test gives up. A bound, never a measurement.
pub const LIMIT: Duration = Duration::from_secs(90);
