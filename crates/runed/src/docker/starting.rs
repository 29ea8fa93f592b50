//! Starting a run, at most once.

use super::facts::Facts;
use super::recipe::Places;
use super::state::Seen;
use super::trouble::Trouble;
use super::{DockerBackend, Standing};
use crate::backend::{Backend, NotStarted, Refusal};
use crate::homes::{Owner, give};
use crate::record::{Claim, Order, Record};
use crate::run::RunSpec;
use crate::users::Ids;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// How long an engine that does not answer is waited for, as while it restarts.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(250);

impl DockerBackend {
    /// What the engine is. One that is just starting is waited for.
    async fn learn_patiently(&self) -> Result<Facts, Trouble> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.learn().await {
                Err(Trouble::Away { .. }) if Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    /// What the engine says of a container, once it says anything.
    async fn look_patiently(&self, name: &str) -> Result<Option<Seen>, Trouble> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.engine.look(name).await {
                Err(Trouble::Away { .. }) if Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    /// Makes and starts the run's container, unless it was started.
    pub(super) async fn begin(&self, run: &RunSpec) -> Result<(), NotStarted> {
        self.validate(run).or_else(|refusal| match self.known_ended(run) {
            true => Ok(()),
            false => Err(refusal),
        })?;
        let image = run.image.clone().unwrap_or_default();
        let facts = self.learn_patiently().await;
        let facts = facts.map_err(|trouble| trouble.not_started(&image))?;
        let standing = self.standing(&run.id).await;
        let standing = standing
            .map_err(|error| NotStarted::failed("cannot tell whether it was started", error))?;
        if standing != Standing::Nothing {
            return Ok(());
        }
        let user = facts.admits(run.harness)?;
        let owner = Owner { uid: user.host.uid, gid: user.host.gid };
        let (record, places) = self.prepare(run, owner).await?;
        let name = self.instance.container(&run.id);
        let body = self.recipe(run, &image, user.container, &places)?;
        let made = self.engine.make(&name, body).await;
        for warning in made.map_err(|trouble| trouble.not_started(&image))? {
            tracing::warn!(run = %run.id, warning, "the container engine warns");
        }
        let claim = Claim { by: self.token.clone(), at_ms: self.config.clock.now().0 };
        if !record.claim(&claim)? {
            return Ok(());
        }
        match self.engine.start(&name).await {
            Ok(()) => Ok(()),
            Err(trouble) => self.settle(&record, &name, trouble, &image).await,
        }
    }

    fn known_ended(&self, run: &RunSpec) -> bool {
        self.record(&run.id).end().is_ok_and(|end| end.is_some())
    }

    fn recipe(
        &self,
        run: &RunSpec,
        image: &str,
        user: Ids,
        places: &Places,
    ) -> Result<bollard::models::ContainerCreateBody, NotStarted> {
        let body = self.instance.recipe(run, image, user, places);
        body.ok_or_else(|| self.no_network().into())
    }

    /// What became of a start that the engine did not simply confirm.
    async fn settle(
        &self,
        record: &Record,
        name: &str,
        trouble: Trouble,
        image: &str,
    ) -> Result<(), NotStarted> {
        if trouble.is_conflict() {
            return Ok(());
        }
        if let Trouble::Said { .. } = trouble {
            // It did not start, and no request is on its way: it may be tried again.
            let removed = self.engine.remove(name).await;
            if removed.is_ok() {
                record.unclaim()?;
            }
            return Err(trouble.not_started(image));
        }
        let seen = self.look_patiently(name).await;
        if let Ok(Some(Seen::Running { .. } | Seen::Ended(_))) = seen {
            return Ok(());
        }
        // The claim stays: nobody knows whether the request is still on its way, but without its container it does
        // nothing. What cannot be removed now is removed by the sweep.
        if let Err(error) = self.engine.remove(name).await {
            tracing::warn!(
                container = name,
                error = kit::chain(&error),
                "a container is left behind"
            );
        }
        Err(trouble.not_started(image))
    }

    /// Makes what the run is given, as the user that its agent is: its home, its turn's socket, its directory.
    async fn prepare(&self, run: &RunSpec, owner: Owner) -> Result<(Record, Places), NotStarted> {
        let (place, paths, run) = (self.place.clone(), self.paths.clone(), run.clone());
        let order = Order {
            container: self.instance.container(&run.id),
            limits: run.limits,
            at_ms: self.config.clock.now().0,
        };
        let record = self.record(&run.id);
        let work = tokio::task::spawn_blocking(move || {
            let turn_dir = place.turn_dir(&run)?;
            let home = place.home(&run, owner)?;
            // For its agent alone; what is not root's cannot be given, and is the agent's already.
            if rustix::process::geteuid().is_root() {
                give(&turn_dir, owner).map_err(|error| {
                    NotStarted::failed("cannot give the turn's socket away", error)
                })?;
            }
            record.order(&order)?;
            let text = |path: &std::path::Path| {
                let no_text =
                    || Refusal(format!("{} is no path that an engine can be told", path.display()));
                paths.of(path).ok_or_else(no_text)
            };
            let places = Places { home: text(&home)?, turn_dir: text(&turn_dir)? };
            Ok((record, places))
        });
        work.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }
}
