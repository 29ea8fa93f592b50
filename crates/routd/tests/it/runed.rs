//! A runed that the test plays: it takes runs, and they end when the test says so.

use crate::stage::{PATIENCE, eventually};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kit::testing::{Serving, serve_router};
use proto::{
    Code, Problem, Timestamp,
    runed::{Run, RunEnd, RunState, StartRun, TurnEndpoint},
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{OnceCell, watch};

#[derive(Clone, Default)]
pub struct FakeRuned(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<Runs>,
    changed: watch::Sender<u64>,
    serving: OnceCell<Serving>,
}

#[derive(Default)]
struct Runs {
    runs: Vec<(StartRun, Run)>,
    /// How often each run was asked for.
    asked: BTreeMap<(String, u32), u32>,
    down: bool,
    refuses: Option<&'static str>,
    /// Takes a run and then does not answer, as one does that is killed in between.
    mute: bool,
    deleted: Vec<String>,
}

/// A run that routd asked for.
#[derive(Clone, Debug)]
pub struct Started {
    pub id: String,
    pub turn_id: String,
    pub attempt: u32,
    pub directory: PathBuf,
    pub request: StartRun,
}

impl FakeRuned {
    pub async fn url(&self) -> String {
        let inner = self.0.clone();
        self.0.serving.get_or_init(|| serve_router(router(FakeRuned(inner)))).await.url.clone()
    }

    /// The router of this fake, to be served at an address of the test's own.
    pub fn router(&self) -> Router {
        router(self.clone())
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Runs) -> T) -> T {
        let answer = edit(&mut self.0.state.lock().unwrap());
        self.0.changed.send_modify(|count| *count += 1);
        answer
    }

    pub fn down(&self, down: bool) {
        self.edit(|runs| runs.down = down);
    }

    pub fn mute(&self, mute: bool) {
        self.edit(|runs| runs.mute = mute);
    }

    pub fn refuse(&self, why: Option<&'static str>) {
        self.edit(|runs| runs.refuses = why);
    }

    /// Forgets every run, as a runed does whose database was lost.
    pub fn forget(&self) {
        self.edit(|runs| runs.runs.clear());
    }

    pub fn started(&self) -> Vec<Started> {
        self.0
            .state
            .lock()
            .unwrap()
            .runs
            .iter()
            .map(|(request, run)| started(request, run))
            .collect()
    }

    pub fn asked(&self, turn_id: &str, attempt: u32) -> u32 {
        let runs = self.0.state.lock().unwrap();
        runs.asked.get(&(turn_id.to_owned(), attempt)).copied().unwrap_or_default()
    }

    pub fn deleted(&self) -> Vec<String> {
        self.0.state.lock().unwrap().deleted.clone()
    }

    /// The run number `index` from the beginning; waits for it.
    pub async fn nth(&self, index: usize) -> Started {
        eventually("another run", || async { self.started().get(index).cloned() }).await
    }

    /// The first run of this folder; waits for it. Runs of several folders are asked for in any order.
    pub async fn of(&self, folder: &str) -> Started {
        let first = || self.started().into_iter().find(|one| one.request.folder.as_str() == folder);
        eventually("a run of the folder", || async { first() }).await
    }

    /// Ends a run that is there.
    pub fn end(&self, id: &str, how: RunEnd) {
        self.edit(|runs| {
            let found = runs.runs.iter_mut().find(|(_, run)| run.id.as_str() == id);
            let (_, run) = found.expect("there is such a run");
            run.state = RunState::Ended;
            run.end = Some(how);
            run.detail = Some("registry.internal says no".into());
        });
    }
}

fn started(request: &StartRun, run: &Run) -> Started {
    let TurnEndpoint::UnixSocket { directory } = &request.endpoint else { panic!("not a socket") };
    Started {
        id: run.id.to_string(),
        turn_id: request.turn_id.to_string(),
        attempt: request.attempt,
        directory: directory.into(),
        request: request.clone(),
    }
}

fn router(fake: FakeRuned) -> Router {
    Router::new()
        .route("/v1/runs", post(start))
        .route("/v1/runs/{id}", get(look).delete(end))
        .with_state(fake)
}

fn problem(code: Code, detail: &str) -> Response {
    let problem = Problem {
        status: code.status(),
        code: code.as_str().into(),
        title: code.title().into(),
        detail: detail.into(),
        reference: None,
    };
    (StatusCode::from_u16(code.status()).unwrap(), Json(problem)).into_response()
}

async fn start(State(fake): State<FakeRuned>, Json(request): Json<StartRun>) -> Response {
    let key = (request.turn_id.to_string(), request.attempt);
    let (answer, mute) = fake.edit(|runs| {
        *runs.asked.entry(key).or_default() += 1;
        if runs.down {
            return (Err(problem(Code::Unavailable, "the backend is not there")), false);
        }
        if let Some(why) = runs.refuses {
            return (Err(problem(Code::BadRequest, why)), false);
        }
        let same = |(known, _): &&(StartRun, Run)| {
            known.turn_id == request.turn_id && known.attempt == request.attempt
        };
        if let Some((_, run)) = runs.runs.iter().find(same) {
            return (Ok(run.clone()), runs.mute);
        }
        let run = Run {
            id: format!("r{}", runs.runs.len() + 1).parse().unwrap(),
            turn_id: request.turn_id.clone(),
            attempt: request.attempt,
            folder: request.folder.clone(),
            state: RunState::Running,
            end: None,
            detail: None,
            created_at: Timestamp(0),
            started_at: None,
            ended_at: None,
        };
        runs.runs.push((request, run.clone()));
        (Ok(run), runs.mute)
    });
    if mute {
        tokio::time::sleep(PATIENCE).await;
    }
    answer.map_or_else(|refused| refused, |run| Json(run).into_response())
}

#[derive(serde::Deserialize)]
struct Look {
    #[serde(default)]
    wait_seconds: u64,
    unless_state: Option<RunState>,
}

async fn look(
    State(fake): State<FakeRuned>,
    Path(id): Path<String>,
    Query(look): Query<Look>,
) -> Response {
    let mut changed = fake.0.changed.subscribe();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(look.wait_seconds);
    loop {
        let run = {
            let runs = fake.0.state.lock().unwrap();
            if runs.down {
                return problem(Code::Unavailable, "the backend is not there");
            }
            runs.runs.iter().find(|(_, run)| run.id.as_str() == id).map(|(_, run)| run.clone())
        };
        let Some(run) = run else { return problem(Code::NotFound, "there is no such run") };
        let late = tokio::time::Instant::now() >= deadline;
        if late || Some(run.state) != look.unless_state {
            return Json(run).into_response();
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

async fn end(State(fake): State<FakeRuned>, Path(id): Path<String>) -> Response {
    let run = fake.edit(|runs| {
        runs.deleted.push(id.clone());
        let found = runs.runs.iter_mut().find(|(_, run)| run.id.as_str() == id);
        found.map(|(_, run)| {
            run.state = RunState::Ended;
            run.end.get_or_insert(RunEnd::Cancelled);
            run.clone()
        })
    });
    match run {
        Some(run) => Json(run).into_response(),
        None => problem(Code::NotFound, "there is no such run"),
    }
}
