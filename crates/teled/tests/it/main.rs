//! Stories of teled: a Telegram on loopback that lies, and a real routd.

mod credentials;
mod doubt;
mod files;
mod inbound;
mod outbound;
mod proof;
mod stage;
mod webhook;
