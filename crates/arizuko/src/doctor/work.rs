//! The work itself: a message goes in, an agent answers it, and nothing is stuck on the way.

use super::{Finding, Wanted, versions};
use crate::{
    cmd::ask,
    failure::Exit,
    instance::{Environment, Instance},
    session::Session,
    sources,
};
use kit::Peer;
use proto::{
    Daemon, Folder, Nothing, Opaque, Timestamp,
    routd::{self, MessageState, TRACE, TraceQuery},
    runed::{self, RunedStatus},
    turn::Harness,
};
use std::time::{Duration, Instant};

/// The folder of probes: in service only while one is made.
const FOLDER: &str = "arizuko-doctor";
/// How long an adapter may be silent: some heartbeats.
const SILENT_MS: i64 = 5 * 60 * 1000;
/// Where the machines of clouds tell everybody who asks from inside whose they are.
const METADATA: &str = "169.254.169.254:80";

pub(super) async fn check(
    instance: &Instance,
    environment: &Environment,
    wanted: Wanted,
) -> Vec<Finding> {
    let session = match Session::begin(instance).await {
        Ok(session) => session,
        // Was said with the daemons.
        Err(_) => return Vec::new(),
    };
    let (routd, runed) = (session.peer(Daemon::Routd), session.peer(Daemon::Runed));
    let mut found = queues(&routd).await;
    found.extend(adapters(instance, environment, &routd).await);
    let status = match runed.call(&runed::STATUS, &Nothing {}).await {
        Ok(status) => status,
        Err(error) => {
            let next = "see `arizuko health runed`, and its log";
            found.push(Finding::problem(
                "turn",
                Exit::Unavailable,
                "runed",
                kit::chain(&error),
                next,
            ));
            return found;
        }
    };
    found.push(backend(&status));
    found.extend(versions::check(&status));
    if let Some(patience) = wanted.turn
        && status.backend != "none"
    {
        found.extend(turn(instance, environment, &routd, &status, patience).await);
    }
    found
}

async fn queues(routd: &Peer) -> Vec<Finding> {
    let status = match routd.call(&routd::STATUS, &Nothing {}).await {
        Ok(status) => status,
        Err(error) => {
            let next = "see `arizuko health routd`, and its log";
            return vec![Finding::problem(
                "queues",
                Exit::Unavailable,
                "routd",
                kit::chain(&error),
                next,
            )];
        }
    };
    let mut found = Vec::new();
    if status.outbox_pending > 0 {
        let what = format!("{} replies wait to be sent", status.outbox_pending);
        let next = "if they stay, see the adapter's trouble in `arizuko status`: its token, its platform, whether it runs";
        found.push(Finding::advice("queues", "routd", what, next));
    }
    if status.unrouted > 0 {
        let what = format!("{} messages of the last day found no route", status.unrouted);
        let next = "`arizuko route explain JID` says why; `arizuko route add` or ONBOARDING_POLICY lets them in";
        found.push(Finding::advice("queues", "routd", what, next));
    }
    if found.is_empty() {
        let what = format!(
            "{} turns wait, {} run, nothing is stuck",
            status.turns_queued, status.turns_running
        );
        found.push(Finding::good("queues", "routd", what));
    }
    found
}

/// Whether each adapter that has its token has registered, and lately.
async fn adapters(instance: &Instance, environment: &Environment, routd: &Peer) -> Vec<Finding> {
    let Ok(registered) = routd.call(&routd::LIST_CHANNELS, &Nothing {}).await else {
        return Vec::new();
    };
    let now = kit::Clock::real().now();
    let mut found = Vec::new();
    for (adapter, token, prefix) in
        [("teled", "TELEGRAM_BOT_TOKEN", "telegram:"), ("slakd", "SLACK_BOT_TOKEN", "slack:")]
    {
        let Ok(name) = token.parse::<secrets::Name>() else { continue };
        let has = sources::find(instance, environment, [name.clone()]).await;
        if !has.is_ok_and(|has| has.contains_key(&name)) {
            continue;
        }
        let own = registered
            .channels
            .iter()
            .filter(|channel| channel.jid_prefixes.iter().any(|one| one.starts_with(prefix)));
        let seen: Option<Timestamp> = own.map(|channel| channel.seen_at).max();
        let next = format!(
            "see whether {adapter} runs (`arizuko health {adapter}`), what it says in `arizuko status`, and whether its platform takes {token}"
        );
        match seen {
            None => {
                let what = format!("{token} is there, and {adapter} has not registered with routd");
                found.push(Finding::problem("adapters", Exit::TryAgain, adapter, what, next));
            }
            Some(seen) if now.0 - seen.0 > SILENT_MS => {
                let what = format!("{adapter} registered last at {seen}");
                found.push(Finding::problem("adapters", Exit::TryAgain, adapter, what, next));
            }
            Some(seen) => found.push(Finding::good(
                "adapters",
                adapter,
                format!("registered, last at {seen}"),
            )),
        }
    }
    found
}

/// What holds agents on this machine.
fn backend(status: &RunedStatus) -> Finding {
    let place = format!("runed, {}", status.backend);
    if status.backend == "none" {
        let next =
            "set CONTAINER_BACKEND to auto, docker, kubernetes or process, if agents are to answer";
        return Finding::advice("backend", place, "no agents run: messages are only stored", next);
    }
    if status.missing.is_empty() {
        return Finding::good("backend", place, status.enforced.join("; "));
    }
    let next = "see docs/security.md for what an agent can reach then; another backend, or a kernel with user namespaces and Landlock, holds more";
    Finding::advice("backend", place, status.missing.join("; "), next)
}

/// One turn, with an agent of its own, in a folder of its own.
async fn turn(
    instance: &Instance,
    environment: &Environment,
    routd: &Peer,
    status: &RunedStatus,
    patience: Duration,
) -> Vec<Finding> {
    let place = format!("{FOLDER}, on {}", status.backend);
    let Ok(folder) = FOLDER.parse::<Folder>() else { return Vec::new() };
    let failed = |what: String| {
        let next = "see `arizuko status`, and the log of routd";
        vec![Finding::problem("turn", Exit::TryAgain, place.clone(), what, next)]
    };
    let new = routd::NewGroup {
        folder: folder.clone(),
        jid: None,
        harness: Some(Harness::Offline),
        command: Vec::new(),
        model: None,
    };
    if let Err(error) = routd.call(&routd::ADD_GROUP, &new).await {
        return failed(format!("its folder cannot be made: {}", kit::chain(&error)));
    }
    let found = probe(instance, environment, routd, status, &folder, patience).await;
    let gone = routd.call(&routd::REMOVE_GROUP, &routd::RemoveGroup { folder }).await;
    let mut found = match found {
        Ok(found) => found,
        Err(what) => failed(what),
    };
    if let Err(error) = gone {
        let next = format!("`arizuko group rm {FOLDER}`");
        found.push(Finding::advice("turn", place, kit::chain(&error), next));
    }
    found
}

/// Where agents must not get to.
fn forbidden(environment: &Environment) -> Vec<String> {
    let mut places = vec![METADATA.to_owned()];
    if let Some(host) = environment.get("KUBERNETES_SERVICE_HOST") {
        let port = environment.get("KUBERNETES_SERVICE_PORT").map_or("443", String::as_str);
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        places.push(format!("{host}:{port}"));
    }
    places
}

async fn probe(
    instance: &Instance,
    environment: &Environment,
    routd: &Peer,
    status: &RunedStatus,
    folder: &Folder,
    patience: Duration,
) -> Result<Vec<Finding>, String> {
    let place = format!("{FOLDER}, on {}", status.backend);
    let places = forbidden(environment);
    let text = format!("reach {}", places.join(" "));
    let began = Instant::now();
    let (id, outcome) = ask::once(instance, folder, text, patience).await.map_err(|f| f.line)?;
    let took = began.elapsed().as_millis();
    let reply = outcome.replies.join(" ");
    if outcome.state != MessageState::Answered {
        return Ok(vec![unanswered(routd, &place, id, outcome.state, &reply).await]);
    }
    let mut found =
        vec![Finding::good("turn", place.clone(), format!("an agent answered in {took} ms"))];
    let reached: Vec<&String> =
        places.iter().filter(|at| reply.contains(&format!("reached {at}"))).collect();
    found.push(match (reached.as_slice(), reply.contains("reached nothing")) {
        ([], true) => Finding::good("network", place, format!("agents do not reach {}", places.join(", "))),
        ([], false) => {
            let what = format!("the agent did not say what it reaches, but: {reply}");
            let next = "its image is of another release: build it anew";
            Finding::unknown("network", place, what, next)
        }
        (reached, _) => {
            let what = format!("agents reach {reached:?}, which hands out the machine's or the cluster's rights");
            let next = "see to it that network policies are enforced (a network plugin that knows them) and that agents have no egress: docs/kubernetes.md, docs/security.md";
            Finding::problem("network", Exit::Permission, place, what, next)
        }
    });
    Ok(found)
}

async fn unanswered(
    routd: &Peer,
    place: &str,
    id: Opaque,
    state: MessageState,
    reply: &str,
) -> Finding {
    let trace = routd.call(&TRACE, &TraceQuery { id: id.clone(), chat_jid: None }).await;
    let last = trace
        .ok()
        .and_then(|trace| trace.steps.last().map(|step| format!("{} {}", step.what, step.detail)));
    let last = last.unwrap_or_default();
    let name = match state {
        MessageState::Queued | MessageState::Running => "it was not answered in time",
        _ => "it was not answered",
    };
    let what = format!("{name}: {reply} (last: {})", last.trim());
    let next = format!(
        "`arizuko trace {id}` has every step; the log of runed says why an agent does not start or does not end"
    );
    Finding::problem("turn", Exit::TryAgain, place, what, next)
}
