//! Writes what happens to this daemon's secrets into the audit log.

use crate::{app::App, record::record};
use kit::Context;
use proto::Timestamp;
use secrets::{Event, Outcome};
use std::{sync::Arc, time::UNIX_EPOCH};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>, mut events: Receiver<Event>) {
    let Context { stop, daemon, .. } = &app.context;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        let row = match event {
            Ok(event) if event.daemon == daemon.name() => told(&event),
            Ok(_) => continue,
            Err(RecvError::Lagged(count)) => {
                let detail = format!("{count} events came faster than they could be written");
                (app.now(), "service:routd".to_owned(), "secret.lost", String::new(), detail)
            }
            Err(RecvError::Closed) => return stop.cancelled().await,
        };
        let (at, actor, action, name, detail) = row;
        let write = move |tx: &db::Tx<'_>| record(tx, at, &actor, action, &name, &detail);
        if let Err(error) = app.db.write("secret.audit", write).await {
            tracing::error!(error = %kit::chain(&error), "an event of a secret was not recorded");
        }
    }
}

type Row = (Timestamp, String, &'static str, String, String);

fn told(event: &Event) -> Row {
    let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let (action, reason) = match &event.outcome {
        Outcome::Loaded => ("secret.load", ""),
        Outcome::Published => ("secret.publish", ""),
        Outcome::Rejected(reason) => ("secret.reject", reason.as_str()),
        Outcome::Vanished => ("secret.vanish", ""),
        Outcome::Forgotten => ("secret.forget", ""),
    };
    let none = || "-".to_owned();
    let detail = format!(
        "source {}, version {} -> {}, generation {}{}{reason}",
        event.source.clone().unwrap_or_else(none),
        event.from.clone().unwrap_or_else(none),
        event.to.clone().unwrap_or_else(none),
        event.generation,
        if reason.is_empty() { "" } else { ": " },
    );
    (at, event.asked_by.clone(), action, event.name.to_string(), detail)
}
