//! What every chat adapter does apart from its platform.
//!
//! # The design
//!
//! 1. An adapter implements [`Platform`], hands what the platform tells it to [`Spool::take`], and starts an
//!    [`Adapter`]. The rest is here: registration and heartbeat, delivery to routd, the outbound server.
//! 2. **Inbound.** [`Spool::take`] answers when the events are on disk, together with how far the platform was read.
//!    Only then is the platform told. A loop brings them to routd, each chat's in order, several chats at once; routd
//!    knows a repeat by the message's id, so a crash between delivery and its note repeats nothing. What routd will
//!    never take is set aside, and does not hold up what comes after it.
//! 3. **Outbound.** What routd asks for under an `Idempotency-Key` is cut into pieces, each one call of the platform.
//!    A piece is on disk as being under way before it is handed over, and with its ids afterwards. A repeat of the key
//!    is answered from that, also after a restart, and goes on with the piece that is next.
//! 4. **Doubt.** A piece that was under way when the process died, or that was handed over without an answer, is
//!    ambiguous: it is looked for where the platform can tell ([`Platform::find`]), and never handed over again
//!    otherwise.
//! 5. **Lanes.** One thing at a time for each chat, and all chats at once.
//!
//! # What always holds
//!
//! - The platform is told that an event arrived after it is on disk, and not before.
//! - A piece is handed over again only where nothing of it can be out.
//! - No credential is in the spool.

mod adapter;
mod deliver_loop;
mod figures;
mod files;
mod holds;
mod http;
mod lanes;
mod outbound;
mod platform;
mod register_loop;
pub mod rich;
mod routd;
pub mod split;
mod spool;
mod trouble;
mod verdict;

pub use adapter::Adapter;
pub use files::{Files, capped};
pub use platform::{Act, Found, Handing, OpenFile, Platform, Profile};
pub use routd::{CHANNEL_SECRET, ChannelSecret, Routd};
pub use spool::{Event, Mark, SCHEMA, Spool, SpoolError, Taken, WAITING_MAX};
pub use trouble::{Told, Trouble};
