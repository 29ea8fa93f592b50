//! Follows what happens to authd's own secrets: writes it into the audit log, and, where an operator
//! says that an earlier value must not be trusted any more, ends what was made with it.

use crate::{
    app::App,
    keyring::{BY_ITSELF, KeyringError, Renewed, act},
    service_key::own_name,
    store::StoreError,
};
use async_trait::async_trait;
use kit::{AUTHD_SERVICE_KEY, chain};
use proto::Daemon;
use secrets::{Event, Name, Outcome, seal::SECRETS_KEY};
use std::sync::{Arc, Weak};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Runs until it is dropped, or the keeper of secrets has ended.
pub(crate) async fn run(app: Arc<App>, mut events: Receiver<Event>) {
    loop {
        let noted = match events.recv().await {
            Ok(event) if event.daemon == Daemon::Authd.name() => note(&app, &event).await,
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

/// Ends what the forgotten values of a secret made. Weak, as the app holds the gate that holds this.
#[derive(Debug)]
pub(crate) struct Distrust(pub(crate) Weak<App>);

#[async_trait]
impl kit::Forgetting for Distrust {
    async fn forgotten(&self, name: &Name, by: &str) -> Result<(), String> {
        let app = self.0.upgrade().ok_or("authd is stopping")?;
        distrust(&app, name, by).await.map_err(|error| chain(&error))
    }
}

/// Also where no earlier value was accepted any more: tokens outlive an overlap.
async fn distrust(app: &App, name: &Name, by: &str) -> Result<(), KeyringError> {
    if *name == SECRETS_KEY {
        return app.ring.renew(Renewed::All, by).await;
    }
    let daemons = if *name == AUTHD_SERVICE_KEY {
        app.service_keys.sharing()
    } else {
        let owner = |daemon: &Daemon| own_name(*daemon) == name.as_str();
        Daemon::ALL.into_iter().filter(owner).collect()
    };
    let subjects: Vec<String> = daemons.into_iter().map(Daemon::subject).collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let why = format!("the earlier values of {name} were forgotten");
    app.ring.end_tokens(subjects, by, &why).await
}
