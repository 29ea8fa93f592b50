//! Driving one attempt at a turn: its run is asked for, followed until it is gone, and what that means is carried
//! out. Nothing is decided from memory: each step begins with the row.
//!
//! A runed that cannot be reached is waited for, and costs no attempt. The call that starts a run is idempotent on
//! the turn and the attempt, so that it may be made again after any doubt.

use crate::{
    app::App,
    fault::Fault,
    hub::{self, Listener},
    ids,
    progress::Progress,
    rights::Rights,
    store::{feed, groups, turns, turns::Turn},
    turn::{Event, Over, State},
    typing_loop,
};
use kit::PeerError;
use proto::{
    Daemon, Timestamp,
    routd::TurnEnd,
    runed::{
        END_RUN, Egress, EndRun, GET_RUN, GetRun, Limits, Run, RunState, START_RUN, StartRun,
        TurnEndpoint,
    },
};
use std::{sync::Arc, time::Duration};

/// The waits while runed is not there, from the first to the longest.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// A look that comes back sooner than this, with nothing new, is followed by a wait.
const LOOK_MIN: Duration = Duration::from_secs(1);
/// How long one look at a run waits for news.
const LOOK_SECONDS: u32 = 25;
/// How much later than the agent routd gives up: runed ends a run first, and says so.
const PATIENCE_MS: i64 = 120_000;
/// How long an agent may stay after its turn has ended.
const LINGER_MS: i64 = 30_000;

/// What a look at a run found.
enum Seen {
    /// It is there.
    Run(Box<Run>),
    /// runed knows no such run.
    Unknown,
    /// runed says that it cannot be.
    Refused(String),
    /// runed could not be asked.
    NoAnswer,
    /// The turn has news of its own.
    News,
}

/// What is to be done next.
enum Step {
    /// Look again at once.
    On,
    /// Look again in a while.
    Wait,
    /// The attempt is over and its run is gone, or left to itself.
    Gone,
}

/// One attempt, while it is driven.
struct Driver<'a> {
    app: &'a Arc<App>,
    turn_id: String,
    /// The number of the attempt's socket.
    number: i64,
    news: Listener,
    /// The run's state when it was last looked at.
    last: Option<RunState>,
    /// When this began, by both clocks.
    began: (Timestamp, tokio::time::Instant),
}

/// Drives the attempt whose socket has this number until its run is gone, and shows that it is at work.
pub(crate) async fn drive(app: &Arc<App>, turn_id: &str, number: i64) {
    tokio::select! {
        () = driven(app, turn_id, number) => {}
        () = typing_loop::show(app, turn_id, number) => {}
    }
}

async fn driven(app: &Arc<App>, turn_id: &str, number: i64) {
    let news = app.wake.hub.listen(&hub::turn(turn_id));
    let began = (app.now(), tokio::time::Instant::now());
    let mut driver = Driver { app, turn_id: turn_id.to_owned(), number, news, last: None, began };
    let mut wait = WAIT_MIN;
    while !app.context.stop.is_cancelled() {
        match driver.step().await {
            Ok(Step::Gone) => return app.endpoints.close(number),
            Ok(Step::On) => {
                wait = WAIT_MIN;
                continue;
            }
            Ok(Step::Wait) => {}
            Err(fault) => {
                tracing::error!(turn = turn_id, error = %kit::chain(&fault), "a turn is stuck");
            }
        }
        tokio::select! {
            () = app.context.stop.cancelled() => return,
            () = driver.news.woken() => {}
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAIT_MAX),
        }
    }
}

impl Driver<'_> {
    async fn step(&mut self) -> Result<Step, Fault> {
        let id = self.turn_id.clone();
        let turn = self.app.db.read(move |conn| turns::get(conn, &id)).await?;
        let Some(turn) = turn.filter(|turn| turn.endpoint == Some(self.number)) else {
            return Ok(Step::Gone);
        };
        let now = self.app.now();
        if let State::Ended(how) = turn.standing.state {
            return self.leave(&turn, how, now).await;
        }
        let overdue = |deadline: Timestamp| self.passed() >= deadline.plus(PATIENCE_MS);
        if turn.deadline_at.is_some_and(overdue) {
            end_run(self.app, &turn).await;
            return self.over(&turn, Over::TimedOut).await;
        }
        let began = tokio::time::Instant::now();
        let seen = match &turn.run_id {
            None => start(self.app, &turn).await?,
            Some(run_id) => {
                let until = turn.deadline_at.map(|deadline| deadline.plus(PATIENCE_MS));
                self.look(run_id, until).await?
            }
        };
        match seen {
            Seen::News => Ok(Step::On),
            Seen::NoAnswer => Ok(Step::Wait),
            Seen::Refused(why) => self.over(&turn, Over::Refused(why)).await,
            Seen::Unknown => self.over(&turn, Over::of(None, None)).await,
            Seen::Run(run) if run.state == RunState::Ended => {
                self.over(&turn, Over::of(run.end, run.detail.as_deref())).await
            }
            Seen::Run(run) => {
                let changed = self.last.replace(run.state) != Some(run.state);
                self.follow(&turn, &run).await?;
                // A runed that does not wait with its answer is not asked without end.
                Ok(if changed || began.elapsed() > LOOK_MIN { Step::On } else { Step::Wait })
            }
        }
    }

    /// The time as far as it has passed: a clock that is set forward takes no time from an agent at work.
    fn passed(&self) -> Timestamp {
        let (at, since) = self.began;
        let elapsed = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.app.now().min(at.plus(elapsed))
    }

    /// Takes up what the state of a run that is not over says.
    async fn follow(&self, turn: &Turn, run: &Run) -> Result<(), Fault> {
        let (progress, now) = (Progress::of(self.app), self.app.now());
        let limit = i64::try_from(self.app.settings.run_timeout.as_millis()).unwrap_or(i64::MAX);
        let (id, number, run_id) = (turn.id.clone(), self.number, run.id.to_string());
        let runs = run.state == RunState::Running;
        let known = turn.run_id.is_some() && (turn.deadline_at.is_some() || !runs);
        if known && turn.standing.state == State::Running {
            return Ok(());
        }
        let write = move |tx: &db::Tx<'_>| {
            let Some(turn) = turns::get(tx, &id)?.filter(|turn| turn.endpoint == Some(number))
            else {
                return Ok(());
            };
            // Also when the agent was faster than this answer and the turn has ended: its run is to be seen gone.
            turns::note_run(tx, &turn, &run_id, now)?;
            let accepted = Event::Accepted { attempt: turn.standing.attempt };
            if progress.tell(tx, &turn, &accepted, now)?.is_ok() {
                turns::running(tx, &turn)?;
                if runs {
                    turns::begin_time(tx, &turn, now.plus(limit))?;
                }
            }
            Ok::<_, Fault>(())
        };
        self.app.db.try_write("turn.run", write).await
    }

    /// The run is over, and its turn learns of it; where a result came first, only the socket is closed.
    async fn over(&self, turn: &Turn, over: Over) -> Result<Step, Fault> {
        let (progress, now) = (Progress::of(self.app), self.app.now());
        let (id, number, attempt) = (turn.id.clone(), self.number, turn.standing.attempt);
        let write = move |tx: &db::Tx<'_>| {
            // Read again: the agent may have posted its result since.
            let Some(turn) = turns::get(tx, &id)?.filter(|turn| turn.endpoint == Some(number))
            else {
                return Ok(());
            };
            let told = progress.tell(tx, &turn, &Event::RunOver { attempt, over }, now)?;
            tracing::debug!(turn = id, ?told, "a run is over");
            turns::close_endpoint(tx, &id, number)?;
            Ok::<_, Fault>(())
        };
        self.app.db.try_write("turn.over", write).await?;
        Ok(Step::Gone)
    }

    /// The turn has ended: its run may finish by itself for a while, and is then ended.
    async fn leave(&mut self, turn: &Turn, how: TurnEnd, now: Timestamp) -> Result<Step, Fault> {
        let patience = turn.ended_at.unwrap_or(now).plus(LINGER_MS);
        let late = now >= patience || how == TurnEnd::Cancelled;
        let seen = match &turn.run_id {
            // Nothing is known of a run. If there is one, it finds that its turn is over, and ends.
            None if late => Seen::Unknown,
            None => return Ok(Step::Wait),
            Some(_) if late => end_run(self.app, turn).await,
            Some(run_id) => self.look(run_id, Some(patience)).await?,
        };
        let gone = match seen {
            Seen::Run(run) if run.state == RunState::Ended => true,
            Seen::Run(run) => {
                let changed = self.last.replace(run.state) != Some(run.state);
                return Ok(if changed { Step::On } else { Step::Wait });
            }
            Seen::News => return Ok(Step::On),
            Seen::Unknown => true,
            // A runed that is away for long must not keep the sockets of ended turns open for ever.
            Seen::Refused(_) | Seen::NoAnswer => now >= patience.plus(PATIENCE_MS),
        };
        if !gone {
            return Ok(Step::Wait);
        }
        let (id, number) = (turn.id.clone(), self.number);
        self.app.db.write("turn.close", move |tx| turns::close_endpoint(tx, &id, number)).await?;
        Ok(Step::Gone)
    }

    /// Waits for news of the run or of the turn, not beyond `until`.
    async fn look(&mut self, run_id: &str, until: Option<Timestamp>) -> Result<Seen, Fault> {
        let left = until.map_or(LOOK_SECONDS, |until| {
            u32::try_from(until.seconds_since(self.passed())).unwrap_or(u32::MAX)
        });
        let wait_seconds = left.clamp(1, LOOK_SECONDS);
        let request = GetRun { id: ids::opaque(run_id)?, wait_seconds, unless_state: self.last };
        let wait = Duration::from_secs(wait_seconds.into());
        let runed = self.app.context.peers.get(Daemon::Runed);
        tokio::select! {
            () = self.app.context.stop.cancelled() => Ok(Seen::NoAnswer),
            () = self.news.woken() => Ok(Seen::News),
            answer = runed.call_waiting(&GET_RUN, &request, wait) => Ok(seen(self.app, answer)),
        }
    }
}

/// Ends the run, and answers what is left of it.
async fn end_run(app: &Arc<App>, turn: &Turn) -> Seen {
    let Some(id) = turn.run_id.as_deref().and_then(|id| ids::opaque(id).ok()) else {
        return Seen::Unknown;
    };
    seen(app, app.context.peers.get(Daemon::Runed).call(&END_RUN, &EndRun { id }).await)
}

/// Asks for the run of this attempt.
async fn start(app: &Arc<App>, turn: &Turn) -> Result<Seen, Fault> {
    let Some(number) = turn.endpoint else { return Ok(Seen::Unknown) };
    let (folder, default) = (turn.folder.clone(), app.settings.default_harness);
    let wanted = app.db.try_read(move |conn| {
        let settings = groups::settings(conn, &folder)?;
        let egress = Rights::of(conn, &folder)?.may_egress(&folder);
        Ok::<_, Fault>((settings, egress))
    });
    let (settings, egress) = wanted.await?;
    let seconds = u32::try_from(app.settings.run_timeout.as_secs()).unwrap_or(u32::MAX);
    let request = StartRun {
        turn_id: ids::opaque(&turn.id)?,
        attempt: turn.standing.attempt,
        folder: turn.folder.clone(),
        home: ids::opaque(&settings.home)?,
        // runed's own choice: no folder names another yet.
        image: None,
        limits: Limits { wall_clock_seconds: seconds.max(1), ..Limits::default() },
        egress: if egress { Egress::Granted } else { Egress::None },
        endpoint: app.pods.as_ref().map_or_else(
            || TurnEndpoint::UnixSocket {
                directory: app.endpoints.directory(number).display().to_string(),
            },
            crate::pods::Pods::endpoint,
        ),
        harness: settings.harness.unwrap_or(default),
    };
    let runed = app.context.peers.get(Daemon::Runed);
    let answer = tokio::select! {
        // A run that was taken and not answered for is asked for again at the next start, and is the same.
        () = app.context.stop.cancelled() => return Ok(Seen::NoAnswer),
        answer = runed.call(&START_RUN, &request) => answer,
    };
    if let Err(error) = &answer
        && is_passing(error)
    {
        waiting(app, turn).await?;
    }
    Ok(seen(app, answer))
}

fn seen(app: &Arc<App>, answer: Result<Run, PeerError>) -> Seen {
    let trouble = match answer {
        Ok(run) => {
            app.context.health.degraded("runed", None);
            return Seen::Run(Box::new(run));
        }
        Err(error) if error.status() == Some(404) => return Seen::Unknown,
        Err(error) if is_passing(&error) => kit::chain(&error),
        Err(error) => {
            let why = error.problem().map_or_else(|| error.to_string(), |p| p.detail.clone());
            return Seen::Refused(why);
        }
    };
    tracing::warn!(trouble, "runed does not take runs now; turns wait");
    app.context.health.degraded("runed", Some(trouble));
    Seen::NoAnswer
}

/// Whether the turn is to wait. A credential that is refused is not the turn's fault, and an answer that is not
/// understood comes from a runed that is being replaced.
fn is_passing(error: &PeerError) -> bool {
    error.is_retryable()
        || matches!(error, PeerError::Protocol { .. })
        || matches!(error.status(), Some(401 | 403 | 408 | 425))
}

/// Tells the person that the turn waits, once.
async fn waiting(app: &Arc<App>, turn: &Turn) -> Result<(), Fault> {
    let (wake, now, turn) = (app.wake.clone(), app.now(), turn.clone());
    app.db
        .try_write("turn.waiting", move |tx| {
            let still = turns::get(tx, &turn.id)?;
            let waits = still.is_some_and(|t| matches!(t.standing.state, State::Starting));
            if waits && !feed::has_status(tx, &turn.id)? {
                feed::status(tx, &turn, "waiting for an agent", now)?;
                turns::step(tx, &turn.id, now, "run.waiting", "runed does not take runs now")?;
                wake.chat(tx, turn.chat_jid.as_str());
            }
            Ok(())
        })
        .await
}
