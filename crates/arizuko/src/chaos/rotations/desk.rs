//! What everything that goes on during rotations shares: the suite's daemons, what they say, and the count.

use super::{
    source::Source,
    tally::{Count, Tally},
    units::Unit,
};
use crate::{
    chaos::{fleet::DAEMONS, stage::defect},
    failure::Failure,
    fleet::databases,
    instance::{Environment, Instance},
    session::Session,
};
use kit::{HttpClient, PeerError, Peers, chain};
use proto::{
    Daemon, Nothing,
    kit::{DatabaseKey, SECRETS},
};
use secrets::Name;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex as Waiting, watch};

/// How often a daemon is asked what it has.
const LOOK: Duration = Duration::from_millis(50);
/// How long a token of the operator is used.
const TOKEN_AGE: Duration = Duration::from_secs(120);
/// How long a change may take until everybody has it. A bound, and far away.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// By daemon and name, the print of the value that the daemon has.
type Prints = BTreeMap<(Daemon, String), Option<String>>;

/// The shared things.
pub struct Desk {
    /// The instance.
    pub instance: Instance,
    /// Its environment.
    pub environment: Environment,
    /// Where everything is written.
    pub source: Source,
    /// For how long an old value is accepted.
    pub overlap: Duration,
    /// The daemons, called without a token.
    pub peers: Peers,
    /// The TLS listener of the edge.
    pub edge: SocketAddr,
    /// Any client.
    pub http: HttpClient,
    session: Waiting<Option<(Arc<Session>, Instant)>>,
    prints: watch::Sender<Prints>,
    tally: Mutex<Tally>,
}

impl Desk {
    /// Puts it together.
    pub fn new(
        instance: &Instance,
        environment: &Environment,
        source: Source,
        overlap: Duration,
        http: HttpClient,
        edge: SocketAddr,
    ) -> Self {
        let urls =
            DAEMONS.map(|daemon| (daemon, instance.settings.raw(daemon.url_setting(), "").0));
        Self {
            instance: instance.clone(),
            environment: environment.clone(),
            source,
            overlap,
            peers: Peers::with_token(http.clone(), urls.into(), ""),
            edge,
            http,
            session: Waiting::default(),
            prints: watch::Sender::default(),
            tally: Mutex::default(),
        }
    }

    /// The count.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something of `unit`.
    pub fn count(&self, unit: &Unit, count: impl FnOnce(&mut Count)) {
        count(self.tally().units.entry(unit.label()).or_default());
    }

    /// A request that failed.
    pub fn failed(&self, what: String) {
        self.tally().failed.add(what);
    }

    /// The daemons, called with the operator's token.
    ///
    /// # Errors
    /// authd gives none.
    pub async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut kept = self.session.lock().await;
        if let Some((session, began)) = kept.as_ref()
            && began.elapsed() < TOKEN_AGE
        {
            return Ok(session.clone());
        }
        let session = Arc::new(Session::begin(&self.instance).await?);
        *kept = Some((session.clone(), Instant::now()));
        Ok(session)
    }

    /// Asks `daemon` what it has, again and again.
    pub async fn follow(self: Arc<Self>, daemon: Daemon) {
        loop {
            match self.look(daemon).await {
                Ok(()) => {}
                Err(why) => self.failed(format!("the status of {daemon}: {why}")),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self, daemon: Daemon) -> Result<(), String> {
        let session = self.session().await.map_err(|failure| failure.line)?;
        let said = session.peer(daemon).call(&SECRETS, &Nothing {}).await;
        let said = said.map_err(|error| chain(&error))?;
        self.prints.send_modify(|prints| {
            for secret in said.secrets {
                prints.insert((daemon, secret.name), secret.fingerprint);
            }
        });
        Ok(())
    }

    /// What the daemons have of `unit`, by place; a place that is in no daemon has nothing to say.
    pub fn prints(&self, unit: &Unit) -> Vec<Option<String>> {
        places(unit, &self.prints.borrow())
    }

    /// Waits until every daemon that reads `unit` has something.
    ///
    /// # Errors
    /// One has not, after a minute.
    pub async fn known(&self, unit: &Unit) -> Result<(), Failure> {
        self.wait(unit, |now| now.iter().all(Option::is_some)).await
    }

    /// Waits until every daemon that reads `unit` has something else than `before`.
    ///
    /// # Errors
    /// One has not, after a minute.
    pub async fn taken_up(&self, unit: &Unit, before: &[Option<String>]) -> Result<(), Failure> {
        let changed = |now: &[Option<String>]| {
            now.iter().zip(before).all(|(now, before)| now.is_some() && now != before)
        };
        self.wait(unit, changed).await
    }

    async fn wait(
        &self,
        unit: &Unit,
        will_do: impl Fn(&[Option<String>]) -> bool,
    ) -> Result<(), Failure> {
        let mut prints = self.prints.subscribe();
        let wait = prints.wait_for(|prints| will_do(&places(unit, prints)));
        let waited = tokio::time::timeout(TAKEN_MAX, wait).await.is_ok();
        if waited {
            return Ok(());
        }
        Err(defect(format!("{} is not in use everywhere after a minute", unit.label())))
    }

    /// Which values of `SECRETS_KEY` open the databases.
    ///
    /// # Errors
    /// One of their owners does not answer.
    pub async fn databases(&self) -> Result<Vec<DatabaseKey>, String> {
        let session = self.session().await.map_err(|failure| failure.line)?;
        databases(&session).await.map_err(|error: PeerError| chain(&error))
    }

    /// How often each daemon has taken up another value of each name, by its own metrics.
    ///
    /// # Errors
    /// One does not show its metrics.
    pub async fn taken_counts(&self) -> Result<BTreeMap<(Daemon, Name), u64>, Failure> {
        let mut counts = BTreeMap::new();
        for daemon in DAEMONS {
            let url = self.instance.settings.raw(daemon.url_setting(), "").0;
            let answer = self.http.get(format!("{url}/metrics")).send().await.map_err(defect)?;
            let text = answer.text().await.map_err(defect)?;
            for (name, count) in text.lines().filter_map(taken_count) {
                counts.insert((daemon, name), count);
            }
        }
        Ok(counts)
    }
}

fn places(unit: &Unit, prints: &Prints) -> Vec<Option<String>> {
    let in_daemons = unit.places.iter().filter(|place| DAEMONS.contains(&place.reader));
    let print = |(daemon, name)| prints.get(&(daemon, name)).cloned().flatten();
    in_daemons.map(|place| print((place.reader, place.name.to_string()))).collect()
}

/// `arizuko_secret_propagation_seconds_count{name="X"} 7`, which is counted once for each value that was taken up.
fn taken_count(line: &str) -> Option<(Name, u64)> {
    let rest = line.strip_prefix("arizuko_secret_propagation_seconds_count{name=\"")?;
    let (name, count) = rest.split_once("\"} ")?;
    Some((name.parse().ok()?, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_from_its_line_alone() {
        let line = "arizuko_secret_propagation_seconds_count{name=\"SECRETS_KEY\"} 7";
        assert_eq!(taken_count(line), Some((Name::literal("SECRETS_KEY"), 7)));
        for other in [
            "arizuko_secret_propagation_seconds_sum{name=\"SECRETS_KEY\"} 7",
            "arizuko_secret_propagation_seconds_count{name=\"SECRETS_KEY\"} x",
            "# EOF",
        ] {
            assert_eq!(taken_count(other), None, "{other}");
        }
    }
}
