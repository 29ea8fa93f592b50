//! Rotation under load: every secret that exists, again and again, side by side, while people write.
//!
//! Each secret goes at its own pace: the next value is written when everybody has the last one, and not before the
//! value three before it has served its overlap, since four are accepted at once and no more. A value that was
//! replaced is then shown to whoever checks it: it must be taken until its overlap ends, and never after. What is
//! measured from outside bounds that moment from both sides, so that no answer is judged that could be either.

mod desk;
mod edge;
mod mount;
mod presenters;
mod probe;
mod source;
mod tally;
mod units;

pub use source::{From, Source};
pub use tally::Rotated;

use super::{
    fleet::{DAEMONS, Fleet},
    proof::Readers,
    stage::{Stage, defect},
};
use crate::{
    failure::Failure,
    instance::{Environment, Instance},
    output::Output,
    rotation::Rotation,
    sources,
};
use desk::Desk;
use presenters::Shown;
use probe::Retired;
use proto::Daemon;
use secrets::{ACCEPTED_MAX, Name};
use source::Values;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use units::{Proves, SourceKind, Unit, units};

/// How long a replaced value is accepted in such a run: longer than a change takes to reach every daemon.
const OVERLAP: Duration = Duration::from_millis(1500);
/// The same where a server has to be asked for it.
const SERVER_OVERLAP: Duration = Duration::from_secs(10);
/// How often a server is asked, beside the looks that a refused credential asks for.
const SERVER_POLL: &str = "2s";
/// How often the senders are given their share.
const SHARE: Duration = Duration::from_millis(100);
/// Except in directories, every so many rotations of a secret that arizuko issues are made by `arizuko secrets rotate`.
const BY_COMMAND: u32 = 10;
/// Except in directories, every so many rotations of the pair of the edge are written in two halves.
const IN_HALVES: u32 = 4;
/// The longest pause between the halves, in milliseconds.
const BETWEEN_HALVES: u64 = 120;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How often each secret is to rotate.
    pub count: u32,
    /// Where the daemons read them.
    pub from: From,
}

/// The secrets of a run before it begins.
pub struct Prepared {
    wanted: Wanted,
    source: Source,
    units: Vec<(Unit, Values)>,
    first_certificate: Option<Vec<u8>>,
}

/// What every process is to be told before the instance is looked at.
pub fn tell(fleet: &mut Fleet, wanted: &Wanted) {
    if let From::Server(remote) = &wanted.from {
        fleet.set("SECRETS_SOURCES", remote.url());
        fleet.set(sources::SECRETS_POLL_INTERVAL.name, SERVER_POLL);
    }
    fleet.set(kit::SECRETS_OVERLAP.name, &format!("{}ms", wanted.overlap().as_millis()));
}

impl Wanted {
    const fn overlap(&self) -> Duration {
        match self.from {
            From::Server(_) => SERVER_OVERLAP,
            From::Dotenv | From::Directory => OVERLAP,
        }
    }
}

/// Gives every secret that there is a first value, where the daemons of `fleet` will look for it.
///
/// # Errors
/// The source cannot be written.
pub async fn prepare(
    wanted: Wanted,
    fleet: &mut Fleet,
    instance: &Instance,
) -> Result<Prepared, Failure> {
    let (mut all, mut first_certificate) = (Vec::new(), None);
    for unit in units(wanted.from.kind()) {
        let (values, der) = fresh(&unit)?;
        first_certificate = der.or(first_certificate);
        all.push((unit, values));
    }
    let source = Source::prepare(&wanted.from, &all, fleet, instance).await?;
    Ok(Prepared { wanted, source, units: all, first_certificate })
}

impl Prepared {
    /// Where a reader of this process reads in place of `daemon`.
    pub async fn chain(&self, daemon: Daemon) -> Vec<Arc<dyn secrets::SecretSource>> {
        self.source.chain(daemon).await
    }
}

/// New values, and how a client sees them, if it does.
fn fresh(unit: &Unit) -> Result<(Values, Option<Vec<u8>>), Failure> {
    if unit.proves == Proves::Edge {
        let pair = edge::make().map_err(defect)?;
        let halves = [Arc::new(pair.cert), Arc::new(pair.key)];
        return Ok((unit.names.iter().cloned().zip(halves).collect(), Some(pair.der)));
    }
    let value = |name: &Name| Ok((name.clone(), Arc::new(sources::random()?)));
    Ok((unit.names.iter().map(value).collect::<Result<_, Failure>>()?, None))
}

/// Rotates everything as often as was asked for, while the senders send.
///
/// # Errors
/// A rotation is not taken up at all, or the source cannot be written.
pub async fn run(
    stage: &mut Stage,
    prepared: Prepared,
    environment: &Environment,
    messages: u32,
    output: Output,
) -> Result<Rotated, Failure> {
    let Prepared { wanted, source, units, first_certificate } = prepared;
    let instance = stage.instance().clone();
    let edge = format!("{}:8443", stage.fleet.address()).parse().map_err(defect)?;
    let http = stage.http.clone();
    let desk = Arc::new(Desk::new(&instance, environment, source, wanted.overlap(), http, edge));
    let shown = Arc::new(Shown::default());
    first_certificate.into_iter().for_each(|der| shown.issue(der));
    let (mut always, mut readers) = (JoinSet::new(), Readers::new(&instance)?);
    for daemon in DAEMONS {
        always.spawn(desk.clone().follow(daemon));
    }
    presenters::mint(&desk, &mut readers, &mut always).await?;
    always.spawn(presenters::shake_hands(desk.clone(), shown.clone()));
    for (unit, _) in &units {
        desk.known(unit).await?;
    }
    let before = desk.taken_counts().await?;
    let (done, total) = (Arc::new(AtomicU64::new(0)), units.len() as u64 * u64::from(wanted.count));
    let mut rotating = JoinSet::new();
    for (unit, values) in units.clone() {
        let (desk, shown, done) = (desk.clone(), shown.clone(), done.clone());
        let worker =
            Worker { desk, shown, done, output: output.hushed(), wanted: wanted.clone(), unit };
        rotating.spawn(worker.work(values));
    }
    let (mut given, mut told) = (0, 0);
    loop {
        let so_far = done.load(Ordering::SeqCst);
        let due = u64::from(messages) * so_far / total.max(1);
        stage.load.allow(due - given);
        given = due;
        if so_far * 10 / total.max(1) > told {
            told = so_far * 10 / total.max(1);
            output.note(&format!("{so_far} of {total} rotations"));
        }
        tokio::select! {
            ended = rotating.join_next() => match ended {
                Some(ended) => ended.map_err(defect)??,
                None => break,
            },
            () = tokio::time::sleep(SHARE) => {}
        }
    }
    stage.load.allow(u64::from(messages) - given);
    let after = desk.taken_counts().await?;
    compare(&desk, &units, wanted.count, &before, &after);
    always.shutdown().await;
    let tally = std::mem::take(&mut *desk.tally());
    Ok(Rotated::new(wanted.from.kind(), desk.overlap, wanted.count, tally))
}

/// Each daemon is to have taken up each value of each name that it reads, once.
fn compare(
    desk: &Desk,
    units: &[(Unit, Values)],
    wanted: u32,
    before: &BTreeMap<(Daemon, Name), u64>,
    after: &BTreeMap<(Daemon, Name), u64>,
) {
    let places = units.iter().flat_map(|(unit, _)| &unit.places);
    for place in places.filter(|place| DAEMONS.contains(&place.reader)) {
        let key = (place.reader, place.name.clone());
        let count = |of: &BTreeMap<_, u64>| of.get(&key).copied().unwrap_or_default();
        let taken = count(after) - count(before);
        if taken != u64::from(wanted) {
            let line = format!("{} took {} up {taken} times, of {wanted}", key.0, key.1);
            desk.tally().miscounted.add(line);
        }
    }
}

/// Whoever rotates one secret.
struct Worker {
    desk: Arc<Desk>,
    shown: Arc<Shown>,
    done: Arc<AtomicU64>,
    output: Output,
    wanted: Wanted,
    unit: Unit,
}

impl Worker {
    async fn work(self, mut values: Values) -> Result<(), Failure> {
        let (desk, unit) = (&self.desk, &self.unit);
        let mut probes = JoinSet::new();
        // When the values were seen to be retired whose overlap may still run.
        let mut retired: VecDeque<Instant> = VecDeque::new();
        for number in 1..=self.wanted.count {
            if retired.len() >= ACCEPTED_MAX - 1
                && let Some(first) = retired.pop_front()
            {
                tokio::time::sleep_until((first + desk.overlap).into()).await;
            }
            let before = desk.prints(unit);
            let began = Instant::now();
            let next = self.replace(number, &values).await?;
            let written = Instant::now();
            desk.taken_up(unit, &before).await?;
            self.in_use(&next).await?;
            let seen = Instant::now();
            desk.count(unit, |count| {
                count.rotations += 1;
                count.took.push(seen - written);
            });
            retired.push_back(seen);
            let old = std::mem::replace(&mut values, next);
            let (desk, unit) = (desk.clone(), unit.clone());
            let old = Retired { values: old, written: began, seen };
            probes.spawn(async move { probe::follow(&desk, &unit, &old).await });
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        while let Some(probed) = probes.join_next().await {
            probed.map_err(defect)?;
        }
        Ok(())
    }

    /// Writes another value, in one of the ways in which that is done; the value.
    async fn replace(&self, number: u32, old: &Values) -> Result<Values, Failure> {
        let (desk, unit) = (&self.desk, &self.unit);
        // Directories belong to the kubelet: no command of ours writes there.
        let is_ours = self.wanted.from.kind() != SourceKind::Directory;
        if is_ours && unit.proves != Proves::Edge && number.is_multiple_of(BY_COMMAND) {
            return self.by_command(old).await;
        }
        let (values, der) = fresh(unit)?;
        der.into_iter().for_each(|der| self.shown.issue(der));
        if is_ours && unit.proves == Proves::Edge && number.is_multiple_of(IN_HALVES) {
            let mut halves = values.clone();
            if rand::random() {
                halves.reverse();
            }
            for half in halves {
                desk.source.write(unit, &vec![half]).await?;
                let pause = Duration::from_millis(rand::random_range(0..=BETWEEN_HALVES));
                tokio::time::sleep(pause).await;
            }
        } else {
            desk.source.write(unit, &values).await?;
        }
        Ok(values)
    }

    /// Has `arizuko secrets rotate` do it.
    async fn by_command(&self, old: &Values) -> Result<Values, Failure> {
        let (desk, mut values) = (&self.desk, Vec::new());
        for (name, _) in old {
            let (instance, environment) = (&desk.instance, &desk.environment);
            let rotation = Rotation { instance, environment, name, output: self.output };
            rotation.rotate(false).await?;
            values.push((name.clone(), desk.source.read(name).await?));
        }
        desk.count(&self.unit, |count| count.by_command += 1);
        Ok(values)
    }

    /// Waits until what is made with the secret is of the new one, where that is more than having it.
    async fn in_use(&self, values: &Values) -> Result<(), Failure> {
        let (desk, unit) = (&self.desk, &self.unit);
        match unit.proves {
            Proves::Adapter | Proves::Daemon(_) => Ok(()),
            Proves::Databases => probe::opened(desk, values).await,
            Proves::Edge => {
                let der = presenters::seen(desk).await.map_err(defect)?;
                if !self.shown.is_last(&der) {
                    desk.count(unit, |count| count.accepted_after += 1);
                    desk.tally().late.add("a certificate that was replaced".to_owned());
                    return Ok(());
                }
                self.shown.settle();
                desk.count(unit, |count| count.refused_after += 1);
                Ok(())
            }
        }
    }
}
