//! The first page.

use super::{approvals, secrets, services};
use crate::{
    live,
    look::Here,
    pages::overview::{self as view, Overview},
    query,
    trouble::Trouble,
    visit::{Outcome, Visit, page as shown},
};
use maud::Markup;
use proto::{
    Daemon, Nothing,
    onbod::{AdmissionState, LIST_ADMISSIONS, ListAdmissions},
    routd::{LIST_GROUPS, LIST_TURNS, ListTurns, TurnEnd},
};
use std::time::Duration;

/// How often what is shown is asked again.
const EVERY: Duration = Duration::from_secs(3);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Turns that failed that are counted.
const FAILED_MAX: u32 = 100;

/// What is wrong, and how much there is to do; for a person, their folders.
pub(super) async fn page(visit: Visit, _: query::None) -> Outcome {
    if !visit.is_operator() {
        let groups = visit.call(Daemon::Routd, &LIST_GROUPS, &Nothing {}).await?.groups;
        let waiting = approvals::waiting(&visit).await;
        return shown(Here::Overview, "Your folders", view::of_person(&groups, waiting));
    }
    let board = board(visit.clone()).await?;
    let body = live::part(&visit, "/dash/now", "State of the instance", &board);
    shown(Here::Overview, "Overview", body)
}

/// The same, kept up to date.
pub(super) async fn now(visit: Visit, _: query::None) -> Outcome {
    live::follow(visit, EVERY, board)
}

async fn board(visit: Visit) -> Result<Markup, Trouble> {
    let now = visit.app.clock.now();
    let nothing = Nothing {};
    let failed = ListTurns {
        outcome: Some(TurnEnd::Failed),
        since: Some(now.plus(-DAY_MS)),
        limit: Some(FAILED_MAX),
        ..ListTurns::default()
    };
    // Beside each other: whoever is away holds up the page once.
    let (services, secrets, routd, runed, failed, newcomers) = tokio::join!(
        services::ask(&visit),
        secrets::ask(&visit),
        visit.call(Daemon::Routd, &proto::routd::STATUS, &nothing),
        visit.call(Daemon::Runed, &proto::runed::STATUS, &nothing),
        visit.call(Daemon::Routd, &LIST_TURNS, &failed),
        waiting(&visit),
    );
    Ok(view::board(&Overview {
        services: services?,
        secrets: secrets?,
        routd: routd.map_err(|trouble| trouble.line()),
        runed: runed.map_err(|trouble| trouble.line()),
        // That routd is away is said already.
        failed: failed.map(|page| page.turns).unwrap_or_default(),
        newcomers,
    }))
}

/// How many newcomers wait. Where onbod does not run there is no queue; where it should and does not, that is said
/// already.
async fn waiting(visit: &Visit) -> Option<u64> {
    let queue = ListAdmissions {
        state: Some(AdmissionState::Waiting),
        limit: Some(1),
        ..ListAdmissions::default()
    };
    let page = visit.look(Daemon::Onbod, &LIST_ADMISSIONS, &queue).await;
    page.ok().map(|page| page.waiting)
}
