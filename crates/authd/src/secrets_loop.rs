//! Follows what happens to authd's own secrets: writes it into the audit log, and, where an operator
//! says that an earlier value must not be trusted any more, ends what was made with it.

use crate::{
    app::App,
    keyring::{BY_ITSELF, KeyringError, Renewed, act},
    service_key::own_name,
    store::StoreError,
};
use kit::{AUTHD_SERVICE_KEY, Health, chain};
use proto::Daemon;
use secrets::{Event, Outcome, seal::SECRETS_KEY};
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Between two tries to carry out what an operator asked for.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until it is dropped, or the keeper of secrets has ended.
pub(crate) async fn run(app: Arc<App>, mut events: Receiver<Event>, health: Health) {
    loop {
        let noted = match events.recv().await {
            Ok(event) if event.daemon == Daemon::Authd.name() => {
                let noted = note(&app, &event).await;
                if event.outcome == Outcome::Forgotten {
                    until_done(&app, &event, &health).await;
                }
                noted
            }
            Ok(_) => Ok(()),
            Err(RecvError::Lagged(count)) => {
                let detail = format!("{count} events were lost; the daemon's log has them");
                app.store.note(act(app.clock.now(), BY_ITSELF, "secret.lost", "", &detail)).await
            }
            Err(RecvError::Closed) => return,
        };
        if let Err(error) = noted {
            // The keeper has logged the event itself.
            tracing::error!(error = chain(&error), "an event of a secret is not in the audit log");
        }
    }
}

/// Carries out what an operator asked for. It is asked for once, so it is tried until it is done.
async fn until_done(app: &App, event: &Event, health: &Health) {
    while let Err(error) = distrust(app, event).await {
        let trouble = format!("what {} made is still good: {}", event.name, chain(&error));
        tracing::error!(trouble, "tried again soon");
        health.degraded("forgetting", Some(trouble));
        tokio::time::sleep(AGAIN).await;
    }
    health.degraded("forgetting", None);
}

async fn note(app: &App, event: &Event) -> Result<(), StoreError> {
    let (action, reason) = match &event.outcome {
        Outcome::Loaded => ("secret.load", ""),
        Outcome::Published => ("secret.publish", ""),
        Outcome::Rejected(reason) => ("secret.reject", reason.as_str()),
        Outcome::Vanished => ("secret.vanish", ""),
        Outcome::Forgotten => ("secret.forget", ""),
    };
    let said = |part: &Option<String>| part.clone().unwrap_or_else(|| "none".to_owned());
    let mut detail = format!(
        "source {}, version {} to {}, generation {}",
        said(&event.source),
        said(&event.from),
        said(&event.to),
        event.generation
    );
    if !reason.is_empty() {
        detail.push_str(": ");
        detail.push_str(reason);
    }
    let row = act(app.clock.now(), &event.asked_by, action, event.name.as_str(), &detail);
    app.store.note(row).await
}

/// An operator ended the overlap of a secret: what its earlier value made is not good any more.
async fn distrust(app: &App, event: &Event) -> Result<(), KeyringError> {
    if event.name == SECRETS_KEY {
        return app.ring.renew(Renewed::All, &event.asked_by).await;
    }
    let daemons = if event.name == AUTHD_SERVICE_KEY {
        app.service_keys.sharing()
    } else {
        let owner = |daemon: &Daemon| own_name(*daemon) == event.name.as_str();
        Daemon::ALL.into_iter().filter(owner).collect()
    };
    let subjects: Vec<String> = daemons.into_iter().map(Daemon::subject).collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let why = format!("the earlier values of {} were forgotten", event.name);
    app.ring.end_tokens(subjects, &event.asked_by, &why).await
}
