//! Secrets.

use super::services::all;
use crate::{
    live,
    look::Here,
    pages::secrets::{self as view, Said, Told},
    parts::{Mark, address, mark},
    query,
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Endpoint, Nothing,
    kit::{DaemonSecrets, FORGET_SECRET, ForgetSecret, REFRESH_SECRETS, SECRETS},
    routd::{AuditPage, AuditQuery},
};
use serde::Deserialize;
use std::time::Duration;

/// How often what is shown is asked again.
const EVERY: Duration = Duration::from_secs(1);
/// How long a daemon waits for a source that does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of each log that are looked through, and changes that are shown.
const LOOKED_AT: u32 = 500;
const SHOWN: usize = 30;

/// A secret's name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
}

/// Every secret on every daemon.
pub(super) async fn page(visit: Visit, _: query::None) -> Outcome {
    let board = board(visit.clone()).await?;
    let body = html! {
        p { "Each daemon reads its secrets itself, and takes a new value up without a restart. A fingerprint tells \
             values apart and opens nothing." }
        div.row { (visit.button("/dash/secrets/refresh", "Read all sources again", &[])) }
        (live::part(&visit, "/dash/secrets/now", "Secrets on every daemon", &board))
    };
    shown(Here::Secrets, "Secrets", body)
}

/// The same, kept up to date.
pub(super) async fn now(visit: Visit, _: query::None) -> Outcome {
    live::follow(visit, EVERY, board)
}

async fn board(visit: Visit) -> Result<Markup, Trouble> {
    let said = ask(&visit).await?;
    let told = changes(&visit, None).await;
    Ok(view::board(&said, &told, visit.app.clock.now()))
}

/// What each daemon says of its secrets. Who may not ask one may not ask any.
pub(super) async fn ask(visit: &Visit) -> Result<Said, Trouble> {
    all(visit, &SECRETS, &Nothing {}, None).await
}

/// What happened to secrets lately, as far as the logs of their users tell.
async fn changes(visit: &Visit, name: Option<&str>) -> Vec<Told> {
    let logs: [(Daemon, Endpoint<AuditQuery, AuditPage>); 2] =
        [(Daemon::Routd, proto::routd::AUDIT), (Daemon::Authd, proto::authd::AUDIT)];
    let query = AuditQuery { before: None, limit: Some(LOOKED_AT) };
    let asks = logs.iter().map(|(daemon, log)| visit.call(*daemon, log, &query));
    let pages = futures::future::join_all(asks).await;
    let mut told = Vec::new();
    for ((daemon, _), page) in logs.iter().zip(pages) {
        // A log that cannot be read takes nothing from what daemons say now.
        let rows = page.map(|page| page.rows).unwrap_or_default();
        let of = rows.into_iter().filter(|row| {
            row.action.starts_with("secret.") && name.is_none_or(|name| row.target == name)
        });
        told.extend(of.map(|row| (*daemon, row)));
    }
    told.sort_by_key(|(_, row)| std::cmp::Reverse(row.at));
    told.truncate(SHOWN);
    told
}

/// One secret, and how it is replaced.
pub(super) async fn one(visit: Visit, Named { name }: Named) -> Outcome {
    let said = ask(&visit).await?;
    let names = view::by_name(&said);
    let Some(held) = names.get(name.as_str()) else {
        return Err(Trouble::NotFound(format!("No daemon has a secret {name}.")));
    };
    let now = visit.app.clock.now();
    let (how, word) = view::state(&name, held, now);
    let told = changes(&visit, Some(&name)).await;
    let forget = address("/dash/secrets/forget", &[("name", &name)]);
    let body = html! {
        p { (mark(how, word)) }
        (view::holders(&name, held, now))
        (view::help(&name))
        h2 { "Ending an overlap" }
        p { "After a change, those who check this secret accept the value before it for a while, so that nothing is \
             refused. If the old value must not be used any more, end that now." }
        div.row { a.button href=(forget) { "Forget earlier values…" } a.button href="/dash/secrets" { "All secrets" } }
        h2 { "Changes" }
        (view::timeline(&told))
    };
    shown(Here::Secrets, name.clone(), body)
}

/// Has every daemon read its sources again.
pub(super) async fn refresh(visit: Visit, _: query::None) -> Outcome {
    let said = all(&visit, &REFRESH_SECRETS, &Nothing {}, Some(READ_TIMEOUT)).await?;
    whole(&said, "/dash/secrets?done=refreshed".into())
}

/// Asks first.
pub(super) async fn ask_forget(visit: Visit, Named { name }: Named) -> Outcome {
    let said = ask(&visit).await?;
    let names = view::by_name(&said);
    let Some(held) = names.get(name.as_str()) else {
        return Err(Trouble::NotFound(format!("No daemon has a secret {name}.")));
    };
    let users: Vec<String> = held.iter().map(|(daemon, ..)| daemon.to_string()).collect();
    let what = html! {
        p { "From now on " strong { (users.join(", ")) } " will accept the current value of " strong { (name) }
            " alone." }
        p { "Whoever still presents an earlier value is refused. What was made with one, such as tokens of a service \
             key, ends as well. This cannot be taken back." }
    };
    let back = address("/dash/secrets/one", &[("name", &name)]);
    let does = ("/dash/secrets/forget", "Forget earlier values");
    visit.ask(
        Here::Secrets,
        format!("Forget earlier values of {name}?"),
        &what,
        does,
        &[("name", &name)],
        &back,
    )
}

/// Has every daemon accept the current value alone.
pub(super) async fn forget(visit: Visit, Named { name }: Named) -> Outcome {
    let request = ForgetSecret { name: name.clone() };
    let users: Vec<Daemon> = {
        // Whoever is just starting is waited for: it must forget as well.
        let said = all(&visit, &SECRETS, &Nothing {}, Some(Duration::ZERO)).await?;
        let names = view::by_name(&said);
        names.get(name.as_str()).into_iter().flatten().map(|(daemon, ..)| *daemon).collect()
    };
    if users.is_empty() {
        return Err(Trouble::NotFound(format!("No daemon has a secret {name}.")));
    }
    let asks = users.iter().map(|daemon| visit.call(*daemon, &FORGET_SECRET, &request));
    let answers = futures::future::join_all(asks).await;
    let said: Said = users
        .iter()
        .zip(answers)
        .map(|(daemon, answer)| (*daemon, answer.map_err(|trouble| trouble.line())))
        .collect();
    whole(&said, address("/dash/secrets/one", &[("name", &name), ("done", "forgotten")]))
}

/// Where to look when every daemon did it; a page that names those that did not.
fn whole(said: &[(Daemon, Result<DaemonSecrets, String>)], place: String) -> Outcome {
    let failed: Vec<_> =
        said.iter().filter_map(|(d, of)| of.as_ref().err().map(|why| (d, why))).collect();
    if failed.is_empty() {
        return Ok(Answer::See(place));
    }
    let body = html! {
        p { (mark(Mark::Bad, "not everywhere")) " The others have done it. Ask again once these answer:" }
        ul { @for (daemon, why) in failed { li { strong { (daemon) } ": " (why) } } }
        p { a.button href=(place.split('?').next().unwrap_or("/dash/secrets")) { "Back" } }
    };
    shown(Here::Secrets, "Not every daemon did it", body)
}
