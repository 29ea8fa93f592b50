//! What is rotated, and who has it. Pure.

use crate::daemons::{PROGRAMS, bundles};
use proto::Daemon;
use secrets::Name;
use serde::Serialize;

/// Where the daemons read their secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// One `.env` for all.
    Dotenv,
    /// For each process a directory of its own, with the keys that it needs, as the kubelet projects it.
    Directory,
    /// One entry of a server that keeps secrets, for all.
    Server,
}

/// What a secret proves or opens, and so who checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proves {
    /// An adapter, to routd.
    Adapter,
    /// This daemon, to authd.
    Daemon(Daemon),
    /// It opens the databases of authd and routd.
    Databases,
    /// The edge, to clients.
    Edge,
}

/// One place of a secret: who reads it, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose source it stands in.
    pub reader: Daemon,
    /// Its name there.
    pub name: Name,
    /// Which of the secrets of its unit it is.
    pub secret: Name,
}

/// What rotates as one.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The secrets: one, or the pair of the edge.
    pub names: Vec<Name>,
    /// What for.
    pub proves: Proves,
    /// Every place that has it.
    pub places: Vec<Place>,
}

const SECRETS_KEY: Name = Name::literal("SECRETS_KEY");
const CHANNEL: Name = Name::literal("CHANNEL_SECRET");
const SERVICE: Name = Name::literal("AUTHD_SERVICE_KEY");
const CERT: Name = Name::literal("PROXYD_TLS_CERT");
const KEY: Name = Name::literal("PROXYD_TLS_KEY");
/// The adapters: webd, and those of the chat platform, which are played.
const ADAPTERS: [Daemon; 3] = [Daemon::Webd, Daemon::Teled, Daemon::Slakd];
/// The daemons that prove themselves to authd.
const PRESENTERS: [Daemon; 6] =
    [Daemon::Routd, Daemon::Runed, Daemon::Timed, Daemon::Onbod, Daemon::Webd, Daemon::Proxyd];

impl Unit {
    /// Its name in reports.
    pub fn label(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(Name::as_str).collect();
        names.join("+")
    }
}

/// The daemon of each kind that has no secret of its own, so that the shared one has somebody who shows it. In a
/// `.env` it is another than in directories: over both, each daemon has had its own.
const fn sharing(from: SourceKind) -> (Daemon, Daemon) {
    match from {
        // webd would find its own under the same name as its checker, and that is another story.
        SourceKind::Dotenv | SourceKind::Server => (Daemon::Webd, Daemon::Runed),
        SourceKind::Directory => (Daemon::Slakd, Daemon::Webd),
    }
}

/// All that is rotated.
pub fn units(from: SourceKind) -> Vec<Unit> {
    let (adapter, daemon) = sharing(from);
    let mut units = vec![unit(from, vec![SECRETS_KEY], Proves::Databases)];
    units.push(unit(from, vec![CHANNEL], Proves::Adapter));
    for own in ADAPTERS.into_iter().filter(|one| *one != adapter) {
        units.extend(own_name(&CHANNEL, own).map(|name| unit(from, vec![name], Proves::Adapter)));
    }
    units.push(unit(from, vec![SERVICE], Proves::Daemon(daemon)));
    for own in PRESENTERS.into_iter().filter(|one| *one != daemon) {
        let name = own_name(&SERVICE, own);
        units.extend(name.map(|name| unit(from, vec![name], Proves::Daemon(own))));
    }
    units.push(unit(from, vec![CERT, KEY], Proves::Edge));
    units
}

fn own_name(shared: &Name, daemon: Daemon) -> Option<Name> {
    format!("{shared}_{}", daemon.name().to_ascii_uppercase()).parse().ok()
}

fn unit(from: SourceKind, names: Vec<Name>, proves: Proves) -> Unit {
    let places = names.iter().flat_map(|name| match from {
        SourceKind::Dotenv | SourceKind::Server => in_one_place(name),
        SourceKind::Directory => in_directories(name),
    });
    Unit { places: places.collect(), names, proves }
}

/// In one place for all, whoever declares the name reads it.
fn in_one_place(name: &Name) -> Vec<Place> {
    let declares = |program: &&kit::Program| {
        let mut needs = bundles(program).into_iter().flat_map(|bundle| bundle.needs());
        needs.any(|need| need.name == *name)
    };
    let place = |reader| Place { reader, name: name.clone(), secret: name.clone() };
    PROGRAMS.iter().filter(declares).map(|program| place(program.daemon)).collect()
}

/// In directories, the checker has it under its whole name, and who presents it under the plain one.
fn in_directories(name: &Name) -> Vec<Place> {
    let (adapter, daemon) = sharing(SourceKind::Directory);
    let place = |reader, local: &Name| Place { reader, name: local.clone(), secret: name.clone() };
    let mut places = Vec::new();
    let mut shared = |checker, plain: &Name, presenters: &[Daemon], sharer| {
        if !name.as_str().starts_with(plain.as_str()) {
            return;
        }
        places.push(place(checker, name));
        let its = |one: &&Daemon| match name == plain {
            true => **one == sharer,
            false => own_name(plain, **one).as_ref() == Some(name),
        };
        places.extend(presenters.iter().filter(its).map(|presenter| place(*presenter, plain)));
    };
    shared(Daemon::Routd, &CHANNEL, &ADAPTERS, adapter);
    shared(Daemon::Authd, &SERVICE, &PRESENTERS, daemon);
    if *name == SECRETS_KEY {
        places.extend([Daemon::Authd, Daemon::Routd].map(|reader| place(reader, name)));
    }
    if *name == CERT || *name == KEY {
        places.push(place(Daemon::Proxyd, name));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names(from: SourceKind) -> BTreeSet<String> {
        units(from).iter().flat_map(|unit| &unit.names).map(ToString::to_string).collect()
    }

    #[test]
    fn every_secret_that_exists_is_rotated_over_both_sources() {
        let both: BTreeSet<String> =
            names(SourceKind::Dotenv).union(&names(SourceKind::Directory)).cloned().collect();
        let platform = ["DASHD", "TELED", "SLAKD", "AUTHD"];
        // What a vendor or a provider issues, and what adapters show their platform: it is played without them here.
        let vendors = [
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "OPENAI_API_KEY",
            "TELEGRAM_BOT_TOKEN",
            "TELEGRAM_WEBHOOK_SECRET",
            "SLACK_BOT_TOKEN",
            "SLACK_APP_TOKEN",
            "SLACK_SIGNING_SECRET",
            "OIDC_CLIENT_SECRET",
            "GITHUB_CLIENT_SECRET",
        ];
        for program in PROGRAMS {
            for need in bundles(program).into_iter().flat_map(|bundle| bundle.needs()) {
                let name = need.name.as_str();
                // The keys of daemons that do not run here, and of the one that checks them.
                let nobodys = |daemon: &&str| name == format!("AUTHD_SERVICE_KEY_{daemon}");
                if !platform.iter().any(nobodys) && !vendors.contains(&name) {
                    assert!(both.contains(name), "{name} is never rotated");
                }
            }
        }
    }

    #[test]
    fn in_directories_each_daemon_has_what_it_needs_and_no_more() {
        let all = units(SourceKind::Directory);
        let of = |daemon: Daemon| -> BTreeSet<String> {
            let places = all.iter().flat_map(|unit| &unit.places);
            places
                .filter(|place| place.reader == daemon)
                .map(|place| place.name.to_string())
                .collect()
        };
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(of(Daemon::Webd), set(&["CHANNEL_SECRET", "AUTHD_SERVICE_KEY"]));
        assert_eq!(of(Daemon::Runed), set(&["AUTHD_SERVICE_KEY"]));
        assert_eq!(of(Daemon::Teled), set(&["CHANNEL_SECRET"]));
        assert_eq!(of(Daemon::Slakd), set(&["CHANNEL_SECRET"]));
        let edge = ["AUTHD_SERVICE_KEY", "PROXYD_TLS_CERT", "PROXYD_TLS_KEY"];
        assert_eq!(of(Daemon::Proxyd), set(&edge));
        for unit in &all {
            let mut seen = BTreeSet::new();
            for place in &unit.places {
                assert!(seen.insert((place.reader, place.name.clone())), "twice: {place:?}");
            }
        }
    }

    #[test]
    fn whoever_checks_a_credential_and_whoever_shows_it_have_it() {
        for from in [SourceKind::Dotenv, SourceKind::Directory, SourceKind::Server] {
            for unit in units(from) {
                let has = |daemon| unit.places.iter().any(|place| place.reader == daemon);
                let checked = match unit.proves {
                    Proves::Adapter => has(Daemon::Routd),
                    Proves::Daemon(daemon) => has(Daemon::Authd) && has(daemon),
                    Proves::Databases => has(Daemon::Authd) && has(Daemon::Routd),
                    Proves::Edge => has(Daemon::Proxyd),
                };
                assert!(checked, "{from:?} {}", unit.label());
            }
        }
    }
}
