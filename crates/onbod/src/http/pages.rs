//! The pages: pairing links, invites, and how things stand.
//!
//! Opening a page does nothing, so that a preview or a prefetch cannot spend a link; its button does.

use crate::{
    app::App,
    fault::Fault,
    form,
    pages::{Page, Standing},
    reception::{self, Arrived},
    store::{admissions, invites, links, links::Standing as LinkStanding, people},
    token::{Hash, Token},
};
use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use kit::{EdgeIdentity, Failure};
use proto::{
    Daemon,
    onbod::Admission,
    routd::{ISSUE_LINK, IssueLink, LinkKind},
};
use std::sync::Arc;

/// Where a person sees how things stand.
const HOME: &str = "/onboard/";
/// What the form does that opens a chat.
const CHAT: &str = "chat";

type Shared = State<Arc<App>>;

/// Somebody who is logged in, and what the edge says of the request.
struct Visitor {
    edge: EdgeIdentity,
    subject: String,
}

impl Visitor {
    /// Who it is, or the page that asks them to log in.
    async fn of(app: &App, headers: &HeaderMap, back: &str) -> Result<Self, Box<Response>> {
        let edge = app.context.gate.verify_edge(headers).await;
        match edge.and_then(|edge| edge.subject.clone().map(|subject| Self { edge, subject })) {
            Some(visitor) => Ok(visitor),
            None => Err(Box::new(app.pages.show(StatusCode::UNAUTHORIZED, &Page::LogIn(back)))),
        }
    }

    /// The same, where a form is sent that does `what`.
    async fn sending(
        app: &App,
        headers: &HeaderMap,
        body: &[u8],
        what: &str,
        back: &str,
    ) -> Result<Self, Box<Response>> {
        let visitor = Self::of(app, headers, back).await?;
        let ours = form::is_ours(&visitor.edge, headers);
        if ours && app.forms.has_mark(body, &visitor.subject, what) {
            return Ok(visitor);
        }
        Err(Box::new(app.pages.show(StatusCode::FORBIDDEN, &Page::Elsewhere)))
    }
}

/// What a form does with a link.
fn using(kind: &str, hash: &Hash) -> String {
    format!("{kind} {}", hex::encode(hash))
}

pub(super) async fn pair(
    State(app): Shared,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(hash) = Token::presented(&token).map(|token| token.hash()) else {
        return app.pages.show(StatusCode::NOT_FOUND, &Page::Gone);
    };
    let now = app.now();
    let found = app.db.try_read(move |conn| {
        let standing = links::standing(conn, &hash, now)?;
        let admission = match &standing {
            LinkStanding::Open(id) => admissions::get(conn, id.as_str())?,
            _ => None,
        };
        Ok::<_, Fault>((standing, admission))
    });
    let (standing, admission) = match found.await {
        Ok(found) => found,
        Err(fault) => return broken(&app, fault),
    };
    let visitor = Visitor::of(&app, &headers, uri.path()).await;
    match (standing, admission, visitor) {
        (LinkStanding::Open(_), Some(entry), Ok(visitor)) => {
            let mark = app.forms.mark(&visitor.subject, &using("pair", &hash));
            let (admission, subject) = (&entry.shown, visitor.subject.as_str());
            app.pages.show(StatusCode::OK, &Page::Pair { admission, subject, mark: &mark })
        }
        (LinkStanding::Open(_), _, Err(log_in)) => *log_in,
        (LinkStanding::Spent(by), _, Ok(visitor)) if by == visitor.subject => home(),
        (LinkStanding::Spent(_), ..) => app.pages.show(StatusCode::GONE, &Page::Spent),
        _ => app.pages.show(StatusCode::NOT_FOUND, &Page::Gone),
    }
}

pub(super) async fn spend_pair(
    State(app): Shared,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(hash) = Token::presented(&token).map(|token| token.hash()) else {
        return app.pages.show(StatusCode::NOT_FOUND, &Page::Gone);
    };
    let sent = Visitor::sending(&app, &headers, &body, &using("pair", &hash), uri.path()).await;
    let visitor = match sent {
        Ok(visitor) => visitor,
        Err(response) => return *response,
    };
    let (shared, now) = (app.clone(), app.now());
    let arrived = app.db.try_write("pair", move |tx| {
        shared.wake.all(tx);
        reception::arrive(tx, &shared.values, &hash, &visitor.subject, now)
    });
    match arrived.await {
        Ok(Arrived::Taken) => home(),
        Ok(Arrived::Spent) => app.pages.show(StatusCode::GONE, &Page::Spent),
        Ok(Arrived::Gone) => app.pages.show(StatusCode::NOT_FOUND, &Page::Gone),
        Ok(Arrived::Full) => app.pages.show(StatusCode::SERVICE_UNAVAILABLE, &Page::Full),
        Err(fault) => broken(&app, fault),
    }
}

pub(super) async fn invite(
    State(app): Shared,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(hash) = Token::presented(&token).map(|token| token.hash()) else {
        return app.pages.show(StatusCode::NOT_FOUND, &Page::NoInvite);
    };
    let now = app.now();
    let open = match app.db.read(move |conn| invites::open(conn, &hash, now)).await {
        Ok(Some(invite)) => invite,
        Ok(None) => return app.pages.show(StatusCode::NOT_FOUND, &Page::NoInvite),
        Err(error) => return broken(&app, error.into()),
    };
    let visitor = match Visitor::of(&app, &headers, uri.path()).await {
        Ok(visitor) => visitor,
        Err(log_in) => return *log_in,
    };
    match look(&app, &visitor.subject).await {
        // Who is in already uses nothing up.
        Ok(standing) if standing.person.is_some() => home(),
        Ok(_) => {
            let mark = app.forms.mark(&visitor.subject, &using("invite", &hash));
            let (subject, until) = (visitor.subject.as_str(), open.expires_at);
            app.pages.show(StatusCode::OK, &Page::Invite { subject, mark: &mark, until })
        }
        Err(fault) => broken(&app, fault),
    }
}

pub(super) async fn spend_invite(
    State(app): Shared,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(hash) = Token::presented(&token).map(|token| token.hash()) else {
        return app.pages.show(StatusCode::NOT_FOUND, &Page::NoInvite);
    };
    let sent = Visitor::sending(&app, &headers, &body, &using("invite", &hash), uri.path()).await;
    let visitor = match sent {
        Ok(visitor) => visitor,
        Err(response) => return *response,
    };
    let (shared, now) = (app.clone(), app.now());
    let redeemed = app.db.try_write("invite.use", move |tx| {
        shared.wake.all(tx);
        reception::redeem(tx, &shared.values, &hash, &visitor.subject, now)
    });
    match redeemed.await {
        Ok(Arrived::Taken) => home(),
        Ok(_) => app.pages.show(StatusCode::NOT_FOUND, &Page::NoInvite),
        Err(fault) => broken(&app, fault),
    }
}

pub(super) async fn standing(State(app): Shared, headers: HeaderMap) -> Response {
    let visitor = match Visitor::of(&app, &headers, HOME).await {
        Ok(visitor) => visitor,
        Err(log_in) => return *log_in,
    };
    match look(&app, &visitor.subject).await {
        Ok(standing) => app.pages.show(StatusCode::OK, &Page::Standing(&standing)),
        Err(fault) => broken(&app, fault),
    }
}

/// How things stand with somebody.
async fn look(app: &App, subject: &str) -> Result<Standing, Fault> {
    let (mark, subject) = (app.forms.mark(subject, CHAT), subject.to_owned());
    let found = app.db.try_read(move |conn| {
        let entries = admissions::of_subject(conn, &subject)?;
        let admissions: Vec<Admission> = entries.into_iter().map(|entry| entry.shown).collect();
        let person = people::get(conn, &subject)?;
        let waiting = admissions::waiting(conn)?;
        Ok::<_, Fault>(Standing { subject, person, admissions, waiting, mark })
    });
    found.await
}

pub(super) async fn open_chat(State(app): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let visitor = match Visitor::sending(&app, &headers, &body, CHAT, HOME).await {
        Ok(visitor) => visitor,
        Err(response) => return *response,
    };
    let person = match look(&app, &visitor.subject).await {
        Ok(Standing { person: Some(person), .. }) => person,
        Ok(standing) => return app.pages.show(StatusCode::OK, &Page::Standing(&standing)),
        Err(fault) => return broken(&app, fault),
    };
    let wanted = IssueLink::unsigned(LinkKind::Chat, person.folder, None);
    // With the person's own rights: what an operator took away is gone here too.
    let issued = match app.acting.peer(&visitor.edge, Daemon::Routd).await {
        Ok(Some(routd)) => routd.call(&ISSUE_LINK, &wanted).await,
        Ok(None) => return app.pages.show(StatusCode::UNAUTHORIZED, &Page::LogIn(HOME)),
        Err(error) => Err(error),
    };
    match issued {
        Ok(issued) => see_other(&issued.path),
        // The session ended meanwhile.
        Err(error) if error.is_unauthorized() => {
            app.pages.show(StatusCode::UNAUTHORIZED, &Page::LogIn(HOME))
        }
        Err(error) => {
            tracing::warn!(error = kit::chain(&error), "routd gives no link to a chat");
            app.pages.show(StatusCode::SERVICE_UNAVAILABLE, &Page::Later)
        }
    }
}

fn home() -> Response {
    see_other(HOME)
}

fn see_other(path: &str) -> Response {
    let Ok(mut location) = HeaderValue::from_str(path) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    location.set_sensitive(true);
    let kept = HeaderValue::from_static("no-store");
    (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, kept)])
        .into_response()
}

fn broken(app: &App, fault: Fault) -> Response {
    if matches!(fault, Fault::Conflict(_)) {
        return app.pages.show(StatusCode::CONFLICT, &Page::Later);
    }
    let failure = Failure::from(fault);
    let reference = failure.problem().reference.clone().unwrap_or_default();
    app.pages.show(failure.status(), &Page::Broken(&reference))
}
