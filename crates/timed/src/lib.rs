//! timed: says when it is time.
//!
//! # The design
//!
//! Schedules are rows of `routd.db`, and what a firing does is one transaction there: the message under an id made of
//! the schedule and its time, the turn that answers it, the line of the schedule's log, and the next time. So a firing
//! is done whole or not at all, and once, whoever asks for it and however often.
//!
//! timed owns nothing. It holds one request open at routd, which answers as soon as something was fired, and asks
//! again ([`fire_loop`]). Two of them do no harm: what one has had fired, the other finds done. One that dies takes
//! nothing along. While there is none, nothing fires, and what was missed is dealt with by each schedule's own rule.

mod figures;
mod fire_loop;

use kit::{AnySetting, Api, Context, StartError};
use secrets::AnyBundle;

/// The secrets that timed needs, besides its service key: none.
pub const BUNDLES: &[&dyn AnyBundle] = &[];
/// The settings that timed reads: none.
pub const SETTINGS: &[&dyn AnySetting] = &[];

/// Starts timed: answers with what it serves, which is what every daemon does.
///
/// # Errors
/// None today.
pub async fn start(context: Context) -> Result<axum::Router, StartError> {
    let figures = figures::Figures::new(&context.metrics);
    let shared = context.clone();
    context.tasks.supervise("fire", move || fire_loop::run(shared.clone(), figures.clone()));
    Ok(Api::new(&context).into_router())
}
