//! `arizuko status` and `arizuko health`.

use crate::{
    addresses::Addresses,
    daemons::PROGRAMS,
    failure::{Exit, Failure},
    fleet::is_off,
    instance::Instance,
    output::{Mark, Output, table},
    session::Session,
};
use kit::{Peer, Peers};
use proto::{
    Daemon, Nothing,
    kit::{HEALTH, Health, READY, Ready},
    routd::RoutdStatus,
    runed::RunedStatus,
};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Status {
    instance: String,
    daemons: Vec<One>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<RoutdStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<RunedStatus>,
}

/// How one daemon stands, by what it says to anybody.
#[derive(Serialize)]
pub struct One {
    /// Which.
    pub daemon: Daemon,
    /// Where it is looked for.
    pub address: String,
    /// Whether it answers.
    pub alive: bool,
    /// Whether the instance may do without it.
    optional: bool,
    /// Whether nobody is there, and nobody need be.
    #[serde(skip)]
    pub is_off: bool,
    /// Whether it can do its work.
    pub ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Its release.
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Its process.
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    /// What keeps it from its work.
    pub waiting_for: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    /// What is wrong while it works.
    pub degraded: Vec<String>,
}

pub(super) async fn status(instance: &Instance, output: Output) -> Result<(), Failure> {
    let addresses = Addresses::find(instance)?;
    let peers = Peers::with_token(kit::http_client()?, addresses.daemons.clone(), "");
    let looks = PROGRAMS.iter().map(|program| look(peers.get(program.daemon), program.daemon));
    let daemons = futures::future::join_all(looks).await;
    // The queues are the operator's to see; a daemon's health is anybody's.
    let session = Session::begin(instance).await.ok();
    let (mut queues, mut runs) = (None, None);
    if let Some(session) = session {
        let (routd, runed) = (session.peer(Daemon::Routd), session.peer(Daemon::Runed));
        queues = routd.call(&proto::routd::STATUS, &Nothing {}).await.ok();
        runs = runed.call(&proto::runed::STATUS, &Nothing {}).await.ok();
    }
    let down: Vec<&str> = daemons
        .iter()
        .filter(|one| !one.ready && !one.is_off)
        .map(|one| one.daemon.name())
        .collect();
    let down = down.join(", ");
    let is_alive = daemons.iter().any(|one| one.alive);
    let status = Status { instance: instance.name.clone(), daemons, queues, runs };
    output.print(&status, |status| text(status, output))?;
    if down.is_empty() {
        return Ok(());
    }
    let line = if is_alive {
        format!("not ready: {down}; the log of `arizuko up` says why")
    } else {
        let name = &instance.name;
        format!(
            "the instance {name} does not run; start it with `arizuko up`, or name another with --instance or --data-dir"
        )
    };
    Err(Failure::new(Exit::Unavailable, line))
}

/// Looks at one daemon, with no right at all.
pub async fn look(peer: Peer, daemon: Daemon) -> One {
    let peer = peer.without_credential();
    let asked = peer.call(&HEALTH, &Nothing {}).await;
    let is_off = asked.as_ref().is_err_and(|error| is_off(daemon, error));
    let health: Option<Health> = asked.ok();
    let ready = match &health {
        Some(_) => ready_of(&peer).await,
        None => None,
    };
    let ready =
        ready.unwrap_or(Ready { ready: false, waiting_for: Vec::new(), degraded: Vec::new() });
    One {
        daemon,
        address: peer.url().to_owned(),
        alive: health.is_some(),
        optional: daemon.is_optional(),
        is_off,
        ready: ready.ready,
        version: health.as_ref().map(|health| health.version.clone()),
        pid: health.map(|health| health.pid),
        waiting_for: ready.waiting_for,
        degraded: ready.degraded,
    }
}

/// What `/ready` says, with 503 as well.
async fn ready_of(peer: &Peer) -> Option<Ready> {
    let client = kit::http_client().ok()?;
    let answer = client
        .get(format!("{}{}", peer.url(), READY.route.path))
        .timeout(kit::CALL_TIMEOUT)
        .send()
        .await
        .ok()?;
    answer.json().await.ok()
}

fn text(status: &Status, output: Output) -> String {
    let row = |one: &One| {
        let state = match (one.alive, one.ready, one.degraded.is_empty()) {
            (false, ..) if one.is_off => "not running".to_owned(),
            (false, ..) => output.mark("down", Mark::Bad),
            (true, false, _) => output.mark("starting", Mark::Doubtful),
            (true, true, false) => output.mark("degraded", Mark::Doubtful),
            (true, true, true) => output.mark("ready", Mark::Good),
        };
        let pid = one.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let version = one.version.clone().unwrap_or_default();
        vec![one.daemon.to_string(), state, version, pid, one.address.clone()]
    };
    let rows: Vec<_> = status.daemons.iter().map(row).collect();
    let mut text = table(&["DAEMON", "STATE", "VERSION", "PID", "ADDRESS"], &rows);
    let mut troubles: BTreeMap<Daemon, Vec<String>> = BTreeMap::new();
    for one in &status.daemons {
        let waits = one.waiting_for.iter().map(|what| format!("waits for {what}"));
        troubles.entry(one.daemon).or_default().extend(waits.chain(one.degraded.iter().cloned()));
    }
    for (daemon, lines) in troubles {
        for line in lines {
            text.push_str(&format!("\n{daemon}: {line}"));
        }
    }
    if let Some(queues) = &status.queues {
        text.push_str(&format!(
            "\nturns: {} queued, {} running; replies to send: {}, of unknown fate: {}; unrouted messages: {}; \
             calls that wait for approval: {}",
            queues.turns_queued,
            queues.turns_running,
            queues.outbox_pending,
            queues.outbox_ambiguous,
            queues.unrouted,
            queues.approvals_pending
        ));
    }
    if let Some(runs) = &status.runs {
        text.push_str(&format!(
            "\nruns: {} waiting, {} of {} in progress; backend {}",
            runs.pending, runs.running, runs.capacity, runs.backend
        ));
    }
    text
}

pub(super) async fn health(
    instance: &Instance,
    daemon: Daemon,
    output: Output,
) -> Result<(), Failure> {
    let addresses = Addresses::find(instance)?;
    let peers = Peers::with_token(kit::http_client()?, addresses.daemons, "");
    let one = look(peers.get(daemon), daemon).await;
    output.print(&one, |one| match (one.alive, one.ready) {
        (true, true) => format!("{daemon} is ready"),
        (true, false) => format!("{daemon} is not ready yet"),
        _ => format!("{daemon} does not answer"),
    })?;
    match (one.alive, one.ready) {
        (true, true) => Ok(()),
        (true, false) => {
            let line = format!("{daemon} waits for: {}", one.waiting_for.join("; "));
            Err(Failure::new(Exit::TryAgain, line))
        }
        _ => {
            let line = format!(
                "{daemon} cannot be reached at {}; start it, or set {}",
                one.address,
                daemon.url_setting()
            );
            Err(Failure::new(Exit::Unavailable, line))
        }
    }
}
