//! The daemons: whether each is there, does its work, is of this release, and goes by the same clock.

use super::Finding;
use crate::{
    addresses::{self, Addresses},
    cmd::status::{One, look},
    daemons::PROGRAMS,
    failure::Exit,
    fleet::{Ask, Fleet},
    instance::Instance,
    session::Session,
};
use kit::{Clock, Peers};
use proto::{Daemon, Timestamp, kit::HEALTH};
use std::{collections::BTreeMap, net::TcpListener};

/// How far two clocks may be apart before tokens are refused, in milliseconds.
const LEEWAY: i64 = auth::LEEWAY * 1000;

/// What was found, and whether anything runs.
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) runs: bool,
}

pub(super) async fn check(instance: &Instance) -> Found {
    let addresses = match Addresses::find(instance) {
        Ok(addresses) => addresses,
        Err(failure) => {
            let place = instance.run_dir().display().to_string();
            let next = "correct the setting, or remove the file that it names and start again";
            let findings =
                vec![Finding::problem("daemons", Exit::Config, place, failure.line, next)];
            return Found { findings, runs: false };
        }
    };
    let http = match kit::http_client() {
        Ok(http) => http,
        Err(error) => {
            let next = "see the cause";
            let findings = vec![Finding::problem(
                "daemons",
                Exit::Software,
                "this program",
                kit::chain(&error),
                next,
            )];
            return Found { findings, runs: false };
        }
    };
    let peers = Peers::with_token(http, addresses.daemons.clone(), "");
    let looks = PROGRAMS.iter().map(|program| look(peers.get(program.daemon), program.daemon));
    let all = futures::future::join_all(looks).await;
    if !all.iter().any(|one| one.alive) {
        return Found { findings: nobody(instance, &all).await, runs: false };
    }
    let mut findings: Vec<Finding> = all.iter().flat_map(of_one).collect();
    for one in all.iter().filter(|one| one.alive) {
        findings.extend(clock(one).await);
    }
    findings.extend(keys(instance, &addresses).await);
    if findings.is_empty() {
        let what = format!(
            "{} run, release {}",
            all.iter().filter(|one| one.alive).count(),
            env!("CARGO_PKG_VERSION")
        );
        findings.push(Finding::good("daemons", instance.name.clone(), what));
    }
    Found { findings, runs: true }
}

/// Where no daemon answers: what would keep them from starting.
async fn nobody(instance: &Instance, all: &[One]) -> Vec<Finding> {
    let next = "start it with `arizuko up`, or its daemons with whatever runs them; the log of the last start says why it ended";
    let what = "the instance does not run: no daemon answers";
    let mut found =
        vec![Finding::problem("daemons", Exit::Unavailable, instance.name.clone(), what, next)];
    if let Err(failure) = addresses::lock(instance).await
        && failure.code == Exit::TryAgain as u8
    {
        let next = "it hangs or is starting: see its log, or end it";
        found.push(Finding::problem(
            "daemons",
            Exit::TryAgain,
            instance.name.clone(),
            failure.line,
            next,
        ));
    }
    for one in all {
        let Some(at) = one.address.strip_prefix("http://127.0.0.1:") else { continue };
        let Ok(port) = at.parse::<u16>() else { continue };
        if let Err(error) = TcpListener::bind(("127.0.0.1", port))
            && error.kind() == std::io::ErrorKind::AddrInUse
        {
            let what = format!("another program has the port that {} would listen on", one.daemon);
            let next = format!(
                "end it (`ss -ltnp sport = :{port}` names it), or start with `arizuko up --port-base 0` or {}_LISTEN_ADDR",
                one.daemon.name().to_uppercase()
            );
            found.push(Finding::problem("ports", Exit::TryAgain, at, what, next));
        }
    }
    found
}

fn of_one(one: &One) -> Vec<Finding> {
    let name = one.daemon.name();
    let place = format!("{name} at {}", one.address);
    let mut found = Vec::new();
    match (one.alive, one.ready) {
        (false, _) if one.is_off => {}
        (false, _) => {
            let next = format!(
                "start it (`arizuko run {name}`, or what runs it), or say where it is with {}; its log says why it ended",
                one.daemon.url_setting()
            );
            found.push(Finding::problem(
                "daemons",
                Exit::Unavailable,
                place.clone(),
                "it does not answer",
                next,
            ));
        }
        (true, false) => {
            for what in &one.waiting_for {
                let next = advice(what).unwrap_or("give it what it waits for; its log has more");
                found.push(Finding::problem(
                    "daemons",
                    Exit::TryAgain,
                    place.clone(),
                    format!("it waits for {what}"),
                    next,
                ));
            }
        }
        (true, true) => {}
    }
    for trouble in &one.degraded {
        let next = advice(trouble)
            .unwrap_or("see docs/troubleshooting.md by these words, and the daemon's log");
        found.push(Finding::problem(
            "degraded",
            Exit::TryAgain,
            place.clone(),
            trouble.clone(),
            next,
        ));
    }
    let own = env!("CARGO_PKG_VERSION");
    if let Some(version) = one.version.as_deref().filter(|version| *version != own) {
        let what = format!("it is release {version}, and this program is {own}");
        let next =
            "restart it with this release, or use the program that it runs; one release at a time";
        found.push(Finding::problem("versions", Exit::Config, place, what, next));
    }
    found
}

/// What to do about a trouble that daemons tell of, by words of it.
const ADVICE: &[(&str, &str)] = &[
    (
        "may or may not have been sent",
        "look at those chats; `arizuko trace ID` has each message's states. Nothing is sent again by itself",
    ),
    (
        "no adapter for",
        "start that adapter (`arizuko run teled`, `arizuko run slakd`), and give it its token",
    ),
    (
        "certificate",
        "replace both parts: `arizuko secrets set PROXYD_TLS_CERT < chain.pem`, then PROXYD_TLS_KEY",
    ),
    (
        "CHANNEL_SECRET that routd accepts",
        "compare PRINT in `arizuko secrets status`; what presents it has another value than routd",
    ),
    (
        "not accepted for it",
        "that daemon's AUTHD_SERVICE_KEY is not what authd has for it: compare PRINT in `arizuko secrets status`",
    ),
    (
        "container engine",
        "see whether the engine runs (`docker version`) and whether this user may use DOCKER_SOCKET",
    ),
    (
        "the cluster's API",
        "see that its address is reached (the network policy lets out 443 and 6443) and that runed's account has the Role arizuko-runed: docs/kubernetes.md",
    ),
    (
        "has it no more",
        "put the secret back where it was, or restart its daemon without it on purpose",
    ),
    ("has served its overlap", "remove that NAME_PREVIOUS from its source"),
    (
        "refuses it",
        "the platform or the vendor takes this credential no more: `arizuko secrets set NAME` with a new one",
    ),
    ("does not answer", "see whether it runs, and whether a network or a firewall is in between"),
    ("verify tokens", "see whether authd runs: `arizuko health authd`"),
    (
        "no agent can be started",
        "the rest of the line says what failed; `arizuko status` shows what the backend enforces",
    ),
    ("is refused", "mend it where it says; the last good value stays in use meanwhile"),
    ("will not do", "mend it where it says; the last good value stays in use meanwhile"),
    (
        "the last good value stays in use",
        "mend it where it says, or have a new one made (`arizuko secrets rotate NAME`, `arizuko secrets set NAME`); the last good value stays in use meanwhile",
    ),
    ("stays in use", "mend it where it says; the last good value stays in use meanwhile"),
];

fn advice(trouble: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(words, _)| trouble.contains(words)).map(|(_, next)| *next)
}

/// Whether a daemon goes by another clock than this machine.
async fn clock(one: &One) -> Option<Finding> {
    let http = kit::http_client().ok()?;
    let url = format!("{}{}", one.address, HEALTH.route.path);
    let before = Clock::real().now();
    let answer = http.get(url).timeout(kit::CALL_TIMEOUT).send().await.ok()?;
    let after = Clock::real().now();
    let says = date(answer.headers().get("date")?.to_str().ok()?)?;
    // It has whole seconds, and may be a second old.
    let off = if says.0 < before.0 - 2_000 {
        says.0 - before.0
    } else if says.0 > after.0 + 1_000 {
        says.0 - after.0
    } else {
        0
    };
    if off.abs() <= LEEWAY {
        return None;
    }
    let place = format!("{} at {}", one.daemon, one.address);
    let seconds = off / 1000;
    let what = format!(
        "its clock is {seconds:+} seconds off this machine's; {} are forgiven",
        LEEWAY / 1000
    );
    let next = "set the clocks of both hosts (`timedatectl`, chrony): tokens of one are not valid at the other";
    Some(Finding::problem("clock", Exit::Config, place, what, next))
}

/// An HTTP date (RFC 9110, section 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    let mut parts = text.split(' ').skip(1);
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    let text = format!("{year}-{month:02}-{day}T{time}Z");
    serde_json::from_value(serde_json::Value::String(text)).ok()
}

/// Keys that several daemons share though each is a process of its own.
async fn keys(instance: &Instance, addresses: &Addresses) -> Vec<Finding> {
    // Not told by their process ids: in containers each is the first.
    let are_apart = addresses.pid == 0;
    let session = match Session::begin(instance).await {
        Ok(session) if are_apart => session,
        Ok(_) => return Vec::new(),
        Err(failure) => {
            let place = instance.run_dir().join("admin.sock").display().to_string();
            let next =
                "run as the user of authd, on its machine; what needs rights is not looked at";
            return vec![Finding::unknown("rights", place, failure.line, next)];
        }
    };
    let fleet = Fleet::ask(&session, Ask::Status).await;
    let mut by_print: BTreeMap<&str, Vec<Daemon>> = BTreeMap::new();
    for of in &fleet.daemons {
        // authd has all of them, to check them.
        let own = of
            .secrets
            .iter()
            .filter(|secret| secret.name == "AUTHD_SERVICE_KEY" && of.daemon != Daemon::Authd);
        for print in own.filter_map(|secret| secret.fingerprint.as_deref()) {
            by_print.entry(print).or_default().push(of.daemon);
        }
    }
    let shared = by_print.values().filter(|daemons| daemons.len() > 1);
    shared
        .map(|daemons| {
            let names: Vec<&str> = daemons.iter().map(|daemon| daemon.name()).collect();
            let what = format!("{} show authd the same key, so that each could be any of them", names.join(", "));
            let next = "give each a key of its own (AUTHD_SERVICE_KEY_<DAEMON> at authd): see docs/secrets.md";
            Finding::advice("keys", "AUTHD_SERVICE_KEY", what, next)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp(784_111_777_000)));
        assert_eq!(date("yesterday"), None);
    }
}
