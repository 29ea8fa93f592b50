//! The daemons, and how each is.

use crate::{
    figures::read,
    look::Here,
    pages::services::{self as view, Service},
    parts::{address, choice, field, filter},
    query,
    trouble::Trouble,
    visit::{Outcome, Visit, at_hand, page as shown},
};
use kit::{Peer, PeerError};
use maud::html;
use proto::{
    Daemon, Endpoint, Nothing,
    kit::{HEALTH, READY},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Bytes of a daemon's figures that are read.
const FIGURES_MAX: usize = 4 << 20;

/// Asks every daemon of this program the same, all at once; nothing is changed by it unless it may take a while (`wait`).
/// Each answers or says why not; whoever may not ask learns that, and nothing about any daemon.
pub(super) async fn all<Req: Serialize, Res: DeserializeOwned>(
    visit: &Visit,
    endpoint: &Endpoint<Req, Res>,
    request: &Req,
    wait: Option<Duration>,
) -> Result<Vec<(Daemon, Result<Res, String>)>, Trouble> {
    let daemons: Vec<Daemon> = visit.app.peers.known().collect();
    let asks = daemons.iter().map(|daemon| async move {
        match wait {
            Some(wait) => visit.call_waiting(*daemon, endpoint, request, wait).await,
            None => visit.look(*daemon, endpoint, request).await,
        }
    });
    let answers = futures::future::join_all(asks).await;
    let mut all = Vec::new();
    for (daemon, answer) in daemons.into_iter().zip(answers) {
        match answer {
            Err(Trouble::Owner(error)) if matches!(error.status(), Some(401 | 403)) => {
                return Err(Trouble::Owner(error));
            }
            // An instance may do without it, and does.
            Err(Trouble::Owner(error)) if daemon.is_optional() && error.is_nobody() => {}
            answer => all.push((daemon, answer.map_err(|trouble| trouble.line()))),
        }
    }
    Ok(all)
}

/// How every daemon of this program is. For those who may see the state of the instance.
pub(super) async fn ask(visit: &Visit) -> Result<Vec<Service>, Trouble> {
    let request = Nothing {};
    // What each says of itself is for everybody near it; who may see it here is for routd to say.
    let peers = &visit.app.peers;
    let asks = peers
        .known()
        .map(|daemon| one(daemon, at_hand(daemon, peers.get(daemon).without_credential())));
    let (may, services) = futures::future::join(
        visit.call(Daemon::Routd, &proto::routd::STATUS, &request),
        futures::future::join_all(asks),
    )
    .await;
    match may {
        Err(Trouble::Owner(error)) if matches!(error.status(), Some(401 | 403)) => {
            Err(Trouble::Owner(error))
        }
        _ => Ok(services),
    }
}

async fn one(daemon: Daemon, peer: Peer) -> Service {
    let nothing = Nothing {};
    let (health, ready) =
        futures::future::join(peer.call(&HEALTH, &nothing), peer.call(&READY, &nothing)).await;
    let url = peer.url().to_owned();
    let nobody = health.as_ref().is_err_and(PeerError::is_nobody);
    let said = match (health, ready) {
        (Ok(health), Ok(ready)) => Ok((health, ready)),
        // Before it first can work it says so with a 503, whose problem has the reasons.
        (Err(error), _) | (_, Err(error)) => Err(Trouble::Owner(error).line()),
    };
    Service { daemon, url, said, is_off: daemon.is_optional() && nobody }
}

/// The daemons.
pub(super) async fn page(visit: Visit, _: query::None) -> Outcome {
    let services = ask(&visit).await?;
    shown(Here::Services, "Services", view::list(&services, visit.app.clock.now()))
}

/// Whose figures, and which.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(deserialize_with = "query::text")]
    daemon: Daemon,
    #[serde(default)]
    part: String,
}

/// What one daemon counts.
pub(super) async fn figures(visit: Visit, Which { daemon, part }: Which) -> Outcome {
    ask(&visit).await?;
    let peers = &visit.app.peers;
    let known: Vec<Daemon> = peers.known().collect();
    if !known.contains(&daemon) {
        return Err(Trouble::NotFound(format!("{daemon} is not part of this program.")));
    }
    let mut file = peers.get(daemon).without_credential().fetch("/metrics").await?;
    let mut bytes = Vec::new();
    while let Some(piece) = file.piece().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > FIGURES_MAX {
            return Err(Trouble::Invalid(format!("{daemon} counts more than fits on a page.")));
        }
    }
    let found = read(&String::from_utf8_lossy(&bytes), part.trim());
    let names: Vec<_> = known.iter().map(|daemon| (daemon.name(), daemon.name())).collect();
    let fields = html! {
        (choice("daemon", "Daemon", "daemon", &names, daemon.name()))
        (field("part", "Name has", "part", &part, ""))
    };
    let body = html! {
        (filter("/dash/services/figures", &fields))
        (view::figures(daemon, &found))
        p { a href=(address("/dash/services", &[])) { "All daemons" } }
    };
    shown(Here::Services, format!("Figures of {daemon}"), body)
}
