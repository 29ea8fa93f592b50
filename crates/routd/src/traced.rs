//! The spans of what no request does: a turn, and a delivery. Each goes on from what the database has of the message's
//! arrival, so that a trace hangs together over the queue and over a restart.
//!
//! Telemetry must hold up nothing: where the database does not say, a trace begins anew.

use crate::{
    app::App,
    fault::Fault,
    store::{outbox::Parcel, trace, turns::Turn},
};
use kit::{Fact, Span};
use std::sync::Arc;

/// One attempt at a turn.
pub(crate) async fn turn(app: &Arc<App>, turn: &Turn) -> Span {
    let traces = &app.context.traces;
    if !traces.are_told() {
        return Span::default();
    }
    let id = turn.id.clone();
    let known = app.db.read(move |conn| trace::span_of_turn(conn, &id)).await;
    let (before, message) = known.unwrap_or_default();
    let span = traces.go_on("turn", before.as_deref());
    span.say(Fact::Turn(turn.id.clone()));
    span.say(Fact::Attempt(turn.standing.attempt));
    if let Some(message) = message {
        span.say(Fact::Message(message));
    }
    if let (Some(own), true) = (span.traceparent(), span.is_told()) {
        let (id, now) = (turn.id.clone(), app.now());
        let write = move |tx: &db::Tx<'_>| {
            trace::go_on_from(tx, &id, &own, now)?;
            Ok::<_, Fault>(())
        };
        if let Err(error) = app.db.try_write("turn.traced", write).await {
            tracing::debug!(error = %kit::chain(&error), "what a turn sends begins a trace of its own");
        }
    }
    span
}

/// A message on its way to its platform.
pub(crate) async fn delivery(app: &Arc<App>, parcel: &Parcel) -> Span {
    let traces = &app.context.traces;
    if !traces.are_told() {
        return Span::default();
    }
    let seq = parcel.message_seq;
    let said = app.db.read(move |conn| trace::span_of_said(conn, seq)).await;
    let span = traces.go_on("delivery", said.ok().flatten().as_deref());
    span.say(Fact::Delivery(parcel.id.clone()));
    span
}
