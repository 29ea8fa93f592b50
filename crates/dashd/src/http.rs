//! What dashd serves: routes, and the headers of every answer. Translation only.

mod access;
mod approvals;
mod audit;
mod conversations;
mod folders;
mod invites;
mod limits;
mod links;
mod newcomers;
mod overview;
mod routes;
mod runs;
mod schedules;
mod secrets;
mod services;
mod sessions;
mod usage;

use crate::{
    assets::Assets,
    form::Forms,
    settings::DASHD_MAX_STREAMS,
    trouble::Trouble,
    visit::{Outcome, Posted, Visit},
};
use axum::{
    Router,
    extract::{FromRequestParts, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderName, HeaderValue, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use kit::{Acting, Api, Clock, Context, Failure, Gate, Peers, StartError};
use prometheus_client::metrics::gauge::Gauge;
use proto::{Method, Needs, Route};
use serde::de::DeserializeOwned;
use std::{future::Future, sync::Arc};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Routes that are read.
macro_rules! reads {
    ($($name:ident $path:literal $about:literal;)*) => {
        $(const $name: Route = Route::new(Method::Get, $path, Needs::Nobody, $about);)*
    };
}

/// Routes that change something.
macro_rules! writes {
    ($($name:ident $path:literal $about:literal;)*) => {
        $(const $name: Route = Route::new(Method::Post, $path, Needs::Nobody, $about);)*
    };
}

reads! {
    ASSET "/dash/assets/{file}" "A part of the pages";
    OVERVIEW "/dash/" "What is wrong, and how much there is to do";
    OVERVIEW_NOW "/dash/now" "The same, kept up to date, as server-sent events";
    SERVICES "/dash/services" "The daemons, and how each is";
    FIGURES "/dash/services/figures" "What one daemon counts";
    SECRETS "/dash/secrets" "Every secret on every daemon, without a value";
    SECRETS_NOW "/dash/secrets/now" "The same, kept up to date, as server-sent events";
    SECRET "/dash/secrets/one" "One secret, and how it is replaced";
    FORGET_ASK "/dash/secrets/forget" "Asks before earlier values are forgotten";
    CHATS "/dash/chats" "The chats";
    MESSAGES "/dash/messages" "Messages";
    TRACE "/dash/trace" "The whole life of a message";
    OUTBOX "/dash/outbox" "What is to be sent, or could not be";
    TURNS "/dash/turns" "Turns";
    RUNS "/dash/runs" "Runs of agents";
    RUNS_NOW "/dash/runs/now" "The same, kept up to date, as server-sent events";
    RUN "/dash/runs/one" "One run, with its log";
    RUN_NOW "/dash/runs/one/now" "The same, kept up to date, as server-sent events";
    STOP_ASK "/dash/runs/stop" "Asks before a run is stopped";
    APPROVALS "/dash/approvals" "The calls of tools that wait for a person";
    APPROVAL "/dash/approvals/one" "One of them, with all its arguments";
    APPROVE_ASK "/dash/approvals/approve" "Asks before a call is approved";
    DENY_ASK "/dash/approvals/deny" "Asks before a call is denied";
    SCHEDULES "/dash/schedules" "The schedules";
    SCHEDULE "/dash/schedules/one" "One schedule, and what it did";
    UNSCHEDULE_ASK "/dash/schedules/remove" "Asks before a schedule is removed";
    FOLDERS "/dash/folders" "The folders";
    FOLDER "/dash/folders/one" "One folder";
    UNFOLDER_ASK "/dash/folders/remove" "Asks before a folder is taken out of service";
    ROUTE_TABLE "/dash/routes" "The route table";
    WHICH "/dash/routes/which" "Which rule takes a message, as a part of a page";
    UNROUTE_ASK "/dash/routes/remove" "Asks before a route is removed";
    ACCESS "/dash/access" "Who may do what";
    MAY "/dash/access/may" "Whether somebody may, and why, as a part of a page";
    REVOKE_ASK "/dash/access/remove" "Asks before a right is taken away";
    LINKS "/dash/links" "The capability links";
    UNLINK_ASK "/dash/links/revoke" "Asks before a link is ended";
    NEWCOMERS "/dash/newcomers" "Who waits to be let in";
    NEWCOMERS_NOW "/dash/newcomers/now" "The same, kept up to date, as server-sent events";
    NEWCOMER "/dash/newcomers/one" "One newcomer, and an operator's word";
    REFUSE_ASK "/dash/newcomers/refuse" "Asks before somebody is refused";
    PEOPLE "/dash/people" "Who was let in";
    INVITES "/dash/invites" "The invites";
    UNINVITE_ASK "/dash/invites/revoke" "Asks before an invite is ended";
    GATES "/dash/gates" "How many come in without an operator";
    CLOSE_ASK "/dash/gates/close" "Asks before a gate is closed";
    SESSIONS "/dash/sessions" "The logins that last";
    LOG_OUT_ASK "/dash/sessions/end" "Asks before a login is ended";
    NOWHERE "/dash/{*path}" "Says that there is no such page";
    USAGE "/dash/usage" "What models were used, and what that cost";
    AUDIT "/dash/audit" "What was done";
    AUDIT_EXPORT "/dash/audit/export" "The same as a file";
    AUDIT_VERIFY "/dash/audit/verify" "Whether the logs are as they were written";
}

writes! {
    REFRESH "/dash/secrets/refresh" "Has every daemon read its sources again";
    FORGET "/dash/secrets/forget" "Has every daemon forget earlier values of a secret";
    STOP "/dash/runs/stop" "Stops a run";
    APPROVE "/dash/approvals/approve" "Approves a call";
    DENY "/dash/approvals/deny" "Denies a call";
    SCHEDULE_DO "/dash/schedules/do" "Pauses, resumes or fires a schedule";
    ADD_SCHEDULE "/dash/schedules" "Makes a schedule";
    UNSCHEDULE "/dash/schedules/remove" "Removes a schedule";
    ADD_FOLDER "/dash/folders" "Adds a folder, or says anew what runs its turns";
    SET_CAP "/dash/folders/cap" "Sets what a folder may spend";
    SET_ANY_CAP "/dash/usage/cap" "Sets what a folder, a person or the instance may spend";
    SET_PERSONA "/dash/folders/persona" "Says who a folder's agent is";
    DROP_MODEL "/dash/folders/model" "Gives a folder the instance's model back";
    UNFOLDER "/dash/folders/remove" "Takes a folder out of service";
    ADD_ROUTE "/dash/routes" "Adds a route";
    UNROUTE "/dash/routes/remove" "Removes a route";
    GRANT "/dash/access" "Gives or denies a right";
    REVOKE "/dash/access/remove" "Takes a right away";
    ISSUE "/dash/links" "Makes a link";
    UNLINK "/dash/links/revoke" "Ends a link";
    LET_IN "/dash/newcomers/approve" "Lets somebody in";
    REFUSE "/dash/newcomers/refuse" "Refuses somebody";
    INVITE "/dash/invites" "Makes an invite";
    UNINVITE "/dash/invites/revoke" "Ends an invite";
    SET_GATE "/dash/gates" "Opens a gate, or changes it";
    CLOSE "/dash/gates/close" "Closes a gate";
    LOG_OUT "/dash/sessions/end" "Ends a login";
}

/// Every route of this daemon, without those that every daemon has.
pub const ROUTES: &[Route] = &[
    ASSET,
    OVERVIEW,
    OVERVIEW_NOW,
    SERVICES,
    FIGURES,
    SECRETS,
    SECRETS_NOW,
    SECRET,
    FORGET_ASK,
    CHATS,
    MESSAGES,
    TRACE,
    OUTBOX,
    TURNS,
    RUNS,
    RUNS_NOW,
    RUN,
    RUN_NOW,
    STOP_ASK,
    APPROVALS,
    APPROVAL,
    APPROVE_ASK,
    DENY_ASK,
    SCHEDULES,
    SCHEDULE,
    UNSCHEDULE_ASK,
    FOLDERS,
    FOLDER,
    UNFOLDER_ASK,
    ROUTE_TABLE,
    WHICH,
    UNROUTE_ASK,
    ACCESS,
    MAY,
    REVOKE_ASK,
    LINKS,
    UNLINK_ASK,
    NEWCOMERS,
    NEWCOMERS_NOW,
    NEWCOMER,
    REFUSE_ASK,
    PEOPLE,
    INVITES,
    UNINVITE_ASK,
    GATES,
    CLOSE_ASK,
    SESSIONS,
    LOG_OUT_ASK,
    NOWHERE,
    USAGE,
    AUDIT,
    AUDIT_EXPORT,
    AUDIT_VERIFY,
    REFRESH,
    FORGET,
    STOP,
    APPROVE,
    DENY,
    SCHEDULE_DO,
    ADD_SCHEDULE,
    UNSCHEDULE,
    ADD_FOLDER,
    SET_CAP,
    SET_ANY_CAP,
    SET_PERSONA,
    DROP_MODEL,
    UNFOLDER,
    ADD_ROUTE,
    UNROUTE,
    GRANT,
    REVOKE,
    ISSUE,
    UNLINK,
    LET_IN,
    REFUSE,
    INVITE,
    UNINVITE,
    SET_GATE,
    CLOSE,
    LOG_OUT,
];

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) instance: String,
    pub(crate) assets: Assets,
    pub(crate) forms: Forms,
    pub(crate) gate: Gate,
    pub(crate) acting: Acting,
    pub(crate) peers: Peers,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) open_streams: Gauge,
}

/// Answers with what dashd serves.
pub(crate) fn router(context: &Context) -> Result<Router, StartError> {
    let streams = context.settings.get(&DASHD_MAX_STREAMS)?;
    let app = Arc::new(App {
        instance: context.instance.clone(),
        assets: Assets::new(),
        forms: Forms::new(),
        gate: context.gate.clone(),
        acting: Acting::new(&context.peers),
        peers: context.peers.clone(),
        clock: context.clock.clone(),
        stop: context.stop.clone(),
        streams: Arc::new(Semaphore::new(streams)),
        open_streams: context.metrics.gauge("dash_streams", "Pages that are kept up to date"),
    });
    let mut api = Api::new(context);
    let mut add = |route: Route, served: MethodRouter<Arc<App>>| {
        api.raw(route, served.layer(map_response(harden)).with_state(app.clone()));
    };
    add(ASSET, get(asset));
    state(&mut add);
    work(&mut add);
    setup(&mut add);
    people(&mut add);
    record(&mut add);
    Ok(api.into_router())
}

type Add<'a> = dyn FnMut(Route, MethodRouter<Arc<App>>) + 'a;

fn state(add: &mut Add<'_>) {
    add(OVERVIEW, shows(overview::page));
    add(OVERVIEW_NOW, shows(overview::now));
    add(SERVICES, shows(services::page));
    add(FIGURES, shows(services::figures));
    add(SECRETS, shows(secrets::page));
    add(SECRETS_NOW, shows(secrets::now));
    add(SECRET, shows(secrets::one));
    add(REFRESH, does(secrets::refresh));
    add(FORGET_ASK, shows(secrets::ask_forget));
    add(FORGET, does(secrets::forget));
}

fn work(add: &mut Add<'_>) {
    add(CHATS, shows(conversations::chats));
    add(MESSAGES, shows(conversations::messages));
    add(TRACE, shows(conversations::trace));
    add(OUTBOX, shows(conversations::outbox));
    add(TURNS, shows(conversations::turns));
    add(RUNS, shows(runs::page));
    add(RUNS_NOW, shows(runs::now));
    add(RUN, shows(runs::one));
    add(RUN_NOW, shows(runs::one_now));
    add(STOP_ASK, shows(runs::ask_stop));
    add(STOP, does(runs::stop));
    add(APPROVALS, shows(approvals::page));
    add(APPROVAL, shows(approvals::one));
    add(APPROVE_ASK, shows(approvals::ask_approve));
    add(APPROVE, does(approvals::approve));
    add(DENY_ASK, shows(approvals::ask_deny));
    add(DENY, does(approvals::deny));
    add(SCHEDULES, shows(schedules::page));
    add(SCHEDULE, shows(schedules::one));
    add(ADD_SCHEDULE, does(schedules::add));
    add(SCHEDULE_DO, does(schedules::change));
    add(UNSCHEDULE_ASK, shows(schedules::ask_remove));
    add(UNSCHEDULE, does(schedules::remove));
}

fn setup(add: &mut Add<'_>) {
    add(FOLDERS, shows(folders::page));
    add(FOLDER, shows(folders::one));
    add(ADD_FOLDER, does(folders::add));
    add(SET_CAP, does(folders::cap));
    add(SET_PERSONA, does(folders::persona));
    add(DROP_MODEL, does(folders::drop_model));
    add(UNFOLDER_ASK, shows(folders::ask_remove));
    add(UNFOLDER, does(folders::remove));
    add(ROUTE_TABLE, shows(routes::page));
    add(WHICH, shows(routes::which));
    add(ADD_ROUTE, does(routes::add));
    add(UNROUTE_ASK, shows(routes::ask_remove));
    add(UNROUTE, does(routes::remove));
    add(ACCESS, shows(access::page));
    add(MAY, shows(access::may));
    add(GRANT, does(access::grant));
    add(REVOKE_ASK, shows(access::ask_revoke));
    add(REVOKE, does(access::revoke));
    add(LINKS, shows(links::page));
    add(ISSUE, does(links::issue));
    add(UNLINK_ASK, shows(links::ask_revoke));
    add(UNLINK, does(links::revoke));
}

fn people(add: &mut Add<'_>) {
    add(NEWCOMERS, shows(newcomers::page));
    add(NEWCOMERS_NOW, shows(newcomers::now));
    add(NEWCOMER, shows(newcomers::one));
    add(LET_IN, does(newcomers::approve));
    add(REFUSE_ASK, shows(newcomers::ask_refuse));
    add(REFUSE, does(newcomers::refuse));
    add(PEOPLE, shows(newcomers::people));
    add(INVITES, shows(invites::page));
    add(INVITE, does(invites::create));
    add(UNINVITE_ASK, shows(invites::ask_revoke));
    add(UNINVITE, does(invites::revoke));
    add(GATES, shows(invites::gates));
    add(SET_GATE, does(invites::set_gate));
    add(CLOSE_ASK, shows(invites::ask_close));
    add(CLOSE, does(invites::close));
    add(SESSIONS, shows(sessions::page));
    add(LOG_OUT_ASK, shows(sessions::ask_end));
    add(LOG_OUT, does(sessions::end));
}

fn record(add: &mut Add<'_>) {
    add(USAGE, shows(usage::page));
    add(SET_ANY_CAP, does(usage::cap));
    add(AUDIT, shows(audit::page));
    add(AUDIT_EXPORT, shows(audit::export));
    add(AUDIT_VERIFY, shows(audit::verify));
    add(NOWHERE, shows(nowhere));
}

/// Serves a page, of what its address says.
fn shows<Q, F, Fut>(handler: F) -> MethodRouter<Arc<App>>
where
    Q: DeserializeOwned + Send + 'static,
    F: Fn(Visit, Q) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let serve = move |State(app): State<Arc<App>>, request: Request| {
        let handler = handler.clone();
        async move {
            let (mut parts, _) = request.into_parts();
            let visit = match Visit::from_request_parts(&mut parts, &app).await {
                Ok(visit) => visit,
                Err(instead) => return instead,
            };
            let query: Result<Query<Q>, QueryRejection> = Query::try_from_uri(&parts.uri);
            let outcome = match query {
                Ok(Query(query)) => handler(visit.clone(), query).await,
                Err(error) => Err(Trouble::Invalid(error.body_text())),
            };
            visit.answer(outcome)
        }
    };
    get(serve)
}

/// Serves a form.
fn does<Q, F, Fut>(handler: F) -> MethodRouter<Arc<App>>
where
    Q: DeserializeOwned + Send + 'static,
    F: Fn(Visit, Q) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let serve = move |posted: Posted<Q>| {
        let handler = handler.clone();
        async move {
            let Posted { visit, form } = posted;
            let outcome = match form {
                Ok(form) => handler(visit.clone(), form).await,
                Err(trouble) => Err(trouble),
            };
            visit.answer(outcome)
        }
    };
    post(serve)
}

/// A page for an address that leads nowhere.
async fn nowhere(_: Visit, _: crate::query::None) -> Outcome {
    Err(Trouble::NotFound("No page is at this address. It may have been mistyped.".into()))
}

async fn asset(State(app): State<Arc<App>>, Path(file): Path<String>) -> Response {
    let Some(asset) = app.assets.get(&file) else {
        return Failure::not_found("there is no such file").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        // Its name changes with its content.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.content).into_response()
}

/// The headers of every answer.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        // Not `no-referrer`: a browser would then send our own forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
