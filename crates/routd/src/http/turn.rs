//! The socket of one attempt at a turn: its input, its progress, its one result, its tools.

use super::{model, turn_files};
use crate::{
    app::App,
    attempt::Attempt,
    fault::Fault,
    gateway::Vendor,
    input, mcp,
    progress::Progress,
    store::{context, feed, groups, messages, steering, turns, turns::Turn},
    turn::{Event, State},
};
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, any_service, get, put},
};
use kit::{Api, Caller, Failure, Span};
use proto::{
    Nothing,
    turn::{
        ANTHROPIC, BRING_FILE, GET_FILE, GET_TURN, MCP, NO_FILE, OPENAI, Outcome, POST_EVENTS,
        POST_RESULT, POST_STEER, TurnAccepted, TurnEvents, TurnInput, TurnResult, WANTED_FILES,
    },
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Characters of a status that are kept.
const STATUS_MAX: usize = 500;
/// Bytes of a harness's session.
const SESSION_MAX: usize = 4_096;

/// Everything that is served on the socket of a turn's attempt.
pub(crate) fn router(
    app: &Arc<App>,
    turn: &Turn,
    span: &Span,
    closed: CancellationToken,
) -> Router {
    let attempt = Attempt::of(app, turn);
    let mut api = Api::on_socket_of(attempt.subject(), &app.context).part_of(span, "agent");
    api.mount(GET_TURN, attempt.clone(), get_turn);
    api.mount(POST_EVENTS, attempt.clone(), post_events);
    api.mount(POST_STEER, attempt.clone(), super::steering::post);
    api.mount(POST_RESULT, attempt.clone(), post_result);
    api.mount(WANTED_FILES, attempt.clone(), turn_files::wanted);
    api.mount(NO_FILE, attempt.clone(), turn_files::refuse);
    api.raw(GET_FILE, get(turn_files::get).with_state(attempt.clone()));
    api.raw(BRING_FILE, put(turn_files::bring).with_state(attempt.clone()));
    for (route, vendor) in [(ANTHROPIC, Vendor::Anthropic), (OPENAI, Vendor::OpenAi)] {
        let (attempt, closed) = (attempt.clone(), closed.clone());
        api.raw(route, any(model::serve).with_state(model::Side { attempt, vendor, closed }));
    }
    let admitted = middleware::from_fn_with_state(attempt.clone(), admit);
    api.raw(MCP, any_service(mcp::service(attempt, closed)).layer(admitted));
    api.into_router()
}

/// Lets only the attempt in progress at the tools.
async fn admit(
    axum::extract::State(attempt): axum::extract::State<Attempt>,
    request: Request,
    next: Next,
) -> Response {
    let admitted = async {
        let (app, attempt) = (attempt.app()?, attempt.clone());
        app.db.try_read(move |conn| attempt.current(conn).map(drop)).await
    };
    match admitted.await {
        Ok(()) => next.run(request).await,
        Err(fault) => Failure::from(fault).into_response(),
    }
}

async fn get_turn(attempt: Attempt, _: Caller, _: Nothing) -> Result<TurnInput, Failure> {
    let app = attempt.app()?;
    let now = app.now();
    let limit = i64::try_from(app.settings.run_timeout.as_millis()).unwrap_or(i64::MAX);
    let begun = attempt.clone();
    let deadline = app.db.try_write("turn.begin", move |tx| {
        let turn = begun.current(tx)?;
        turns::begun(tx, &turn, now)?;
        Ok::<_, Fault>(turns::begin_time(tx, &turn, now.plus(limit))?)
    });
    let deadline = deadline.await?;
    let defaults = input::Defaults {
        harness: app.settings.default_harness,
        assistant: app.settings.assistant.clone(),
        model: app.settings.model.clone(),
        files: app.settings.files,
    };
    let composed = app.db.try_read(move |conn| {
        let turn = attempt.current(conn)?;
        input::compose(conn, &turn, defaults, deadline, now)
    });
    Ok(composed.await?)
}

async fn post_events(attempt: Attempt, _: Caller, said: TurnEvents) -> Result<Nothing, Failure> {
    attempt.is(said.attempt)?;
    let app = attempt.app()?;
    let (wake, now) = (app.wake.clone(), app.now());
    // Only the newest is shown, so only the newest is kept.
    let status = said.events.last().map(|event| one_line(&event.status)).unwrap_or_default();
    let written = app.db.try_write("turn.status", move |tx| {
        let turn = attempt.current(tx)?;
        if !status.is_empty() {
            feed::status(tx, &turn, &status, now)?;
            wake.chat(tx, turn.chat_jid.as_str());
        }
        Ok::<_, Fault>(Nothing {})
    });
    Ok(written.await?)
}

async fn post_result(
    attempt: Attempt,
    _: Caller,
    said: TurnResult,
) -> Result<TurnAccepted, Failure> {
    attempt.is(said.attempt)?;
    let app = attempt.app()?;
    let (progress, now) = (Progress::of(&app), app.now());
    let default_harness = app.settings.default_harness;
    let written = app.db.try_write("turn.result", move |tx| {
        let turn = attempt.turn(tx)?;
        if let State::Ended(_) = turn.standing.state {
            return match turn.by_result {
                true => Ok(TurnAccepted { duplicate: true }),
                false => Err(Fault::Gone("this turn has ended".into())),
            };
        }
        let replied = messages::agent_spoke(tx, &turn.id, &turn.chat_jid)?;
        let TurnResult { attempt: number, outcome, text, session, taken } = said;
        // Before the end: what the agent answered too is not the next turn.
        if taken > 0 {
            steering::take(tx, &turn, taken, now)?;
        }
        let event = Event::Result { attempt: number, outcome, text, replied };
        if progress.tell(tx, &turn, &event, now)?.is_err() {
            return Err(Fault::Conflict("this attempt was given up".into()));
        }
        turns::ended_by_result(tx, &turn)?;
        let session = session.filter(|session| session.len() <= SESSION_MAX);
        if let (Some(session), false) = (session, outcome == Outcome::Failed) {
            let harness = groups::settings(tx, &turn.folder)?.harness.unwrap_or(default_harness);
            let (folder, topic) = (&turn.folder, &turn.topic);
            context::keep_session(tx, folder, topic, harness.name(), &session, now)?;
        }
        Ok(TurnAccepted { duplicate: false })
    });
    Ok(written.await?)
}

/// The text as one short line.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(STATUS_MAX).collect()
}
