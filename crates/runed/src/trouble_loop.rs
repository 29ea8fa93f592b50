//! Says in the daemon's health whether agents can be started now, and in its figures in how many folders none is tried.

use crate::app::App;
use crate::backend::{Backend, NoBackend};
use std::sync::Arc;
use std::time::Duration;

/// How often the backend is asked.
const EVERY: Duration = Duration::from_secs(15);

/// Asks now, and then every few seconds, for ever.
pub(crate) async fn run(app: Arc<App>) {
    let mut said = None;
    loop {
        let trouble = trouble(&*app.backend).await;
        if trouble != said {
            match &trouble {
                Some(trouble) => tracing::warn!(trouble, "no agent can be started now"),
                None => tracing::info!("agents can be started again"),
            }
            app.health.degraded("backend", trouble.clone());
            said = trouble;
        }
        // A pause that is over is no change of the database, so nobody else sees it.
        if let Ok(paused) = app.store.paused(app.clock.now()).await {
            app.figures.show_paused(paused);
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn trouble(backend: &dyn Backend) -> Option<String> {
    if let Some(trouble) = backend.trouble().await {
        return Some(trouble);
    }
    let described = backend.describe();
    let none = described.harnesses.is_empty() && backend.name() != NoBackend.name();
    none.then(|| described.missing.join("; "))
}
