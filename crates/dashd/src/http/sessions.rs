//! Logins that last.

use crate::{
    look::Here,
    pages::{
        newcomers::{Tab, tabs},
        sessions as view,
    },
    parts::{address, code, field, filter, pager},
    query::{self, blank},
    shown::time,
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::html;
use proto::{
    Daemon,
    authd::{END_SESSION, EndSession, LIST_SESSIONS, ListSessions},
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: u32 = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default, deserialize_with = "blank")]
    subject: Option<String>,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

/// The logins that last, newest first.
pub(super) async fn page(visit: Visit, Which { subject, before }: Which) -> Outcome {
    let request = ListSessions { subject, before, limit: Some(PAGE) };
    let page = visit.call(Daemon::Authd, &LIST_SESSIONS, &request).await?;
    let subject = request.subject.unwrap_or_default();
    let here =
        |before: &str| address("/dash/sessions", &[("subject", &subject), ("before", before)]);
    let body = html! {
        (tabs(Tab::Sessions))
        (filter("/dash/sessions", &field("subject", "Person", "subject", &subject, "An id, such as operator:local.")))
        (view::list(&page.sessions))
        (pager(page.before.map(|next| here(&next.to_string())), before.is_none(), &here("")))
    };
    shown(Here::Newcomers, "Logins", body)
}

/// A session, and whose it is said to be.
#[derive(Debug, Deserialize)]
pub(super) struct OneSession {
    #[serde(deserialize_with = "query::text")]
    id: i64,
    /// Where it is only ended, its id will do.
    #[serde(default)]
    subject: String,
}

/// Asks first.
pub(super) async fn ask_end(visit: Visit, OneSession { id, subject }: OneSession) -> Outcome {
    let of = ListSessions { subject: Some(subject.clone()), before: None, limit: None };
    let all = visit.call(Daemon::Authd, &LIST_SESSIONS, &of).await?.sessions;
    let Some(session) = all.iter().find(|session| session.id == id) else {
        return Err(Trouble::NotFound(format!("{subject} has no login {id} that lasts.")));
    };
    let what = html! {
        p { "The login of " (code(&session.subject)) " from " (session.begun_from) ", begun " (time(session.begun_at)) ", \
             ends within half a minute. Whoever had it can log in again if a rule still lets them in." }
    };
    let does = ("/dash/sessions/end", "End the session");
    let id = id.to_string();
    let fields = [("id", id.as_str())];
    visit.ask(Here::Newcomers, "End this login?", &what, does, &fields, "/dash/sessions")
}

/// Ends a session.
pub(super) async fn end(visit: Visit, OneSession { id, .. }: OneSession) -> Outcome {
    visit.call(Daemon::Authd, &END_SESSION, &EndSession { id }).await?;
    Ok(Answer::See("/dash/sessions?done=loggedout".into()))
}
