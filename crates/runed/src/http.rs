//! The endpoints: translation only.

use crate::app::App;
use crate::run::{self, HomeName, RunId, RunSpec, TurnListener};
use crate::store::{NewRun, Row, end_name};
use axum::http::StatusCode;
use kit::{Api, Caller, Failure};
use proto::routd::{AuditPage, AuditQuery};
use proto::runed::{
    AUDIT, END_RUN, EndRun, GET_RUN, GetRun, IDENTIFY, Identified, Identify, LIST_RUNS, ListRuns,
    PodOfRun, RUN_LOG, Run, RunLog, RunState, RunedStatus, Runs, START_RUN, STATUS, StartRun,
    TurnEndpoint,
};
use proto::{Nothing, Opaque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a caller is kept waiting for news.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a caller who ends a run is kept waiting until it is gone. A repeat waits again.
const END_WAIT: Duration = Duration::from_secs(25);

/// Mounts every endpoint of runed.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    api.mount_status(START_RUN, StatusCode::ACCEPTED, app.clone(), start)
        .mount(GET_RUN, app.clone(), get)
        .mount(LIST_RUNS, app.clone(), list)
        .mount(END_RUN, app.clone(), end)
        .mount(RUN_LOG, app.clone(), log)
        .mount(IDENTIFY, app.clone(), identify)
        .mount(STATUS, app.clone(), status)
        .mount(AUDIT, app.clone(), audit);
}

type Answer<T> = Result<T, Failure>;

async fn start(app: Arc<App>, caller: Caller, asked: StartRun) -> Answer<Run> {
    let home: HomeName = asked
        .home
        .as_str()
        .parse()
        .map_err(|error: run::NotAHome| Failure::bad_request(error.to_string()))?;
    if let Some(bound) = run::missing_bound(&asked.limits) {
        return Err(Failure::bad_request(format!(
            "the limit `{bound}` is 0; every run has all limits"
        )));
    }
    if asked.attempt == 0 {
        return Err(Failure::bad_request("attempts are counted from 1"));
    }
    let (turn_dir, listener) = match asked.endpoint {
        TurnEndpoint::UnixSocket { directory } => (directory.into(), None),
        TurnEndpoint::Listener { url, certificate_sha256 } => {
            (PathBuf::new(), Some(TurnListener { url, certificate_sha256 }))
        }
    };
    let spec = RunSpec {
        id: RunId::of_attempt(asked.turn_id.as_str(), asked.attempt),
        folder: Some(asked.folder.clone()),
        home,
        image: asked.image.or_else(|| app.values.image.clone()),
        limits: run::bounded(asked.limits, app.values.run_timeout_seconds),
        egress: asked.egress,
        turn_dir,
        listener,
        harness: asked.harness,
    };
    let refusal = app.backend.validate(&spec).err().map(|refusal| refusal.0);
    let wanted = NewRun {
        spec,
        turn_id: asked.turn_id,
        attempt: asked.attempt,
        folder: asked.folder,
        refusal,
        actor: caller.subject().to_string(),
    };
    let (folder, home) = (wanted.folder.clone(), wanted.spec.home.clone());
    let row = app.store.add(wanted, app.clock.now()).await.map_err(broken)?;
    if row.folder != folder || row.spec.home != home {
        return Err(Failure::conflict(format!(
            "attempt {} of turn {} is a run of folder {} already; an attempt has one folder and one home",
            row.attempt, row.turn_id, row.folder
        )));
    }
    app.begin_telling(&row);
    shown(&row)
}

async fn get(app: Arc<App>, _: Caller, asked: GetRun) -> Answer<Run> {
    let wait = Duration::from_secs(u64::from(asked.wait_seconds)).min(WAIT_MAX);
    let no_news = asked.unless_state;
    let is_news = |row: &Row| no_news != Some(RunState::from(row.state));
    awaited(&app, &asked.id, wait, is_news).await
}

async fn list(app: Arc<App>, _: Caller, asked: ListRuns) -> Answer<Runs> {
    let (rows, next) = app.store.list(asked).await.map_err(broken)?;
    let runs = rows.iter().map(shown).collect::<Answer<Vec<Run>>>()?;
    Ok(Runs { runs, next })
}

async fn end(app: Arc<App>, caller: Caller, asked: EndRun) -> Answer<Run> {
    let id = known(&asked.id)?;
    let actor = caller.subject().to_string();
    let row = app.store.ask_end(&id, actor, app.clock.now()).await.map_err(broken)?;
    if row.is_none() {
        return Err(no_run(&asked.id));
    }
    app.wish_end(&id);
    let is_over = |row: &Row| RunState::from(row.state) == RunState::Ended;
    let run = awaited(&app, &asked.id, END_WAIT, is_over).await?;
    // One that never began is in nobody's hand.
    if let Some(end) = run.end {
        app.end_telling(&id, end_name(end));
    }
    Ok(run)
}

async fn log(app: Arc<App>, _: Caller, asked: EndRun) -> Answer<RunLog> {
    let id = known(&asked.id)?;
    if app.store.get(&id).await.map_err(broken)?.is_none() {
        return Err(no_run(&asked.id));
    }
    let log = app.backend.log(&id).await.map_err(|error| Failure::internal(&error))?;
    Ok(RunLog {
        text: String::from_utf8_lossy(&log.bytes).into_owned(),
        dropped_bytes: log.dropped,
    })
}

async fn identify(app: Arc<App>, _: Caller, asked: Identify) -> Answer<Identified> {
    let found = app.backend.whose(&asked.token).await.map_err(|error| {
        tracing::warn!(error = error.chain(), "cannot tell whose run a pod is");
        Failure::unavailable("the cluster does not say whose run this pod is")
            .retry_after(Duration::from_secs(1))
    })?;
    let Some(pod) = found else { return Ok(Identified { pod: None }) };
    let row = app.store.get(&pod.run).await.map_err(broken)?;
    // A run that has ended has no pod that may speak for it.
    let pod = row.filter(|row| RunState::from(row.state) != RunState::Ended).map(|row| PodOfRun {
        turn_id: row.turn_id,
        attempt: row.attempt,
        pod_uid: pod.uid,
    });
    Ok(Identified { pod })
}

async fn status(app: Arc<App>, _: Caller, _: Nothing) -> Answer<RunedStatus> {
    let counts = app.store.counts().await.map_err(broken)?;
    let described = app.backend.describe();
    Ok(RunedStatus {
        enforced: described.enforced,
        missing: described.missing,
        harnesses: described.harnesses.into_iter().map(str::to_owned).collect(),
        versions: described.versions.into_iter().map(|(part, of)| (part.to_owned(), of)).collect(),
        backend: app.backend.name().to_owned(),
        pending: counts.pending.unsigned_abs(),
        running: counts.running.unsigned_abs(),
        capacity: app.values.capacity,
    })
}

async fn audit(app: Arc<App>, _: Caller, asked: AuditQuery) -> Answer<AuditPage> {
    app.store.audit(asked.before, asked.limit).await.map_err(broken)
}

/// The run once it `is_news`, or as it stands when the wait is over or runed stops.
async fn awaited(
    app: &App,
    asked: &Opaque,
    wait: Duration,
    is_news: impl Fn(&Row) -> bool,
) -> Answer<Run> {
    let id = known(asked)?;
    let mut changes = app.store.changes();
    let until = tokio::time::Instant::now() + wait;
    loop {
        // Marked before the look, so that a change between the two is not missed.
        changes.mark_unchanged();
        let row = app.store.get(&id).await.map_err(broken)?.ok_or_else(|| no_run(asked))?;
        if is_news(&row) {
            return shown(&row);
        }
        let changed = tokio::select! {
            changed = changes.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = app.stop.cancelled() => false,
        };
        if !changed {
            return shown(&row);
        }
    }
}

fn known(id: &Opaque) -> Answer<RunId> {
    id.as_str().parse().map_err(|_| no_run(id))
}

fn no_run(id: &Opaque) -> Failure {
    Failure::not_found(format!("there is no run {id}"))
}

fn shown(row: &Row) -> Answer<Run> {
    row.shown().map_err(|error| Failure::internal(&error))
}

fn broken(error: db::Error) -> Failure {
    if error.is_ours() {
        return Failure::unavailable(error.to_string()).retry_after(Duration::from_secs(1));
    }
    Failure::internal(&error)
}
