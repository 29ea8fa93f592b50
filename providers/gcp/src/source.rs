//! The source: one look for all who ask, and the hints.

use crate::{
    address::{Address, Form},
    answers,
    entry::Entry,
    push::Push,
    secret_manager::SecretManager,
    trouble::Trouble,
    version::{self, Version},
};
use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use secrets::{
    Answer, Name, Secret, SecretSource, SecretWriter, SourceError,
    files::drop_newline,
    remote::{AddressError, Looks, Values, counts, values},
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How many secrets are asked for at once, where each name has its own.
const AT_ONCE: usize = 8;

/// What is told of a key whose value is no text.
const NOT_TEXT: &str = "it is not a text in the secret's JSON; write it as a string";

/// Secrets of Google Cloud Secret Manager.
pub struct SecretManagerSource {
    pub(crate) address: Arc<Address>,
    overlap: Duration,
    pub(crate) manager: SecretManager,
    pub(crate) looks: Looks<State, Outcome>,
    push: Option<Push>,
}

/// What is known of each secret; `None` where there is none.
pub(crate) type State = BTreeMap<String, Option<Held>>;

/// What a look came to, for the secrets that it looked at.
type Outcome = Result<BTreeMap<String, Option<Arc<Entry>>>, Trouble>;

/// One version of one secret, as it was read.
pub(crate) struct Held {
    version: Version,
    /// The version before it, while that is held.
    before: Option<Version>,
    entry: Arc<Entry>,
    /// When the version was new here.
    at: Instant,
}

impl SecretManagerSource {
    /// A source for what `url` names (see [`Address`]). What a version replaced is told for `overlap`
    /// and not held longer. Nothing is asked before the first read.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, overlap: Duration) -> Result<Self, AddressError> {
        let address = Arc::new(Address::parse(url)?);
        let manager = SecretManager::new(address.clone());
        let push = address
            .push
            .clone()
            .map(|subscription| Push::new(address.clone(), subscription, manager.session.clone()));
        Ok(Self { address, overlap, manager, looks: Looks::new(State::new()), push })
    }

    /// Looks at these secrets. What was learnt of some stays also where others fail.
    async fn look(&self, state: &mut State, ids: &[String]) -> Outcome {
        for id in ids {
            state.entry(id.clone()).or_default();
        }
        let mut looks = Vec::with_capacity(ids.len());
        for (id, held) in state.iter_mut().filter(|(id, _)| ids.contains(id)) {
            looks.push(self.look_at_one(id, held));
        }
        stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn look_at_one(
        &self,
        id: &str,
        held: &mut Option<Held>,
    ) -> Result<(String, Option<Arc<Entry>>), Trouble> {
        self.look_at(id, held).await?;
        Ok((id.to_owned(), held.as_ref().map(|held| held.entry.clone())))
    }

    /// Looks at one secret: which version it is first, and for the value only where that is new.
    async fn look_at(&self, id: &str, held: &mut Option<Held>) -> Result<(), Trouble> {
        let Some((latest, now)) = self.manager.version(id, "latest").await? else {
            *held = None;
            return Ok(());
        };
        let hinted = self.push.as_ref().and_then(|push| push.version(id));
        let known = held.as_ref().map(|held| &held.version);
        let current = match version::newer(&latest, known, hinted) {
            Some(number) => match self.manager.version(id, &number.to_string()).await? {
                Some((version, _)) => version,
                None => latest,
            },
            None => latest,
        };
        if let Some(push) = &self.push {
            push.seen(id);
        }
        current.check()?;
        let is_known = known.is_some_and(|known| known.is(&current));
        let is_over = held.as_ref().is_some_and(|held| {
            is_known && (held.before.is_none() || held.at.elapsed() > self.overlap)
        });
        let before = if !is_over && counts(current.created, now, self.overlap) {
            version::before(current.number, self.manager.enabled(id).await?)
        } else {
            None
        };
        if let Some(held) = held.as_mut().filter(|_| is_known) {
            if held.before == before {
                return Ok(());
            }
            // Its overlap has ended, or it was disabled: it must not be in memory any longer.
            held.before = None;
            if before.is_none()
                && let Some(entry) = Arc::get_mut(&mut held.entry)
            {
                entry.forget_previous();
                return Ok(());
            }
        }
        let mut entry = Entry::new(&current, self.values(id, &current).await?);
        let mut kept = None;
        if let Some(before) = before {
            match self.values(id, &before).await {
                Ok(values) => {
                    entry = entry.after(&before, values);
                    kept = Some(before);
                }
                // It went away just now, or was never an entry of ours.
                Err(trouble) if trouble.is_withdrawal() => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let at = held.as_ref().filter(|_| is_known).map_or_else(Instant::now, |held| held.at);
        *held = Some(Held { version: current, before: kept, entry: Arc::new(entry), at });
        Ok(())
    }

    /// What one version holds under each name.
    async fn values(&self, id: &str, version: &Version) -> Result<Values, Trouble> {
        let mut value = self.manager.access(id, version.number).await?;
        match self.address.name(id) {
            None => Ok(values(answers::object(&value, version.number)?, NOT_TEXT)),
            Some(name) => {
                drop_newline(&mut value);
                Ok(Values::from([(name, Secret::new(value))]))
            }
        }
    }
}

#[async_trait]
impl SecretSource for SecretManagerSource {
    fn kind(&self) -> &'static str {
        "gcp"
    }

    fn place(&self) -> String {
        self.address.to_string()
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<String> = names.iter().map(|name| self.address.secret(name)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut look = self.looks.enter().await;
        let covers = |outcome: &Outcome| match outcome {
            Ok(found) => ids.iter().all(|id| found.contains_key(id)),
            Err(_) => true,
        };
        let outcome = match look.of_others().filter(covers) {
            Some(outcome) => outcome,
            None => self.look(&mut look, &ids).await,
        };
        let found = look.end(outcome).map_err(|trouble| trouble.at(self.place()))?;
        let answer = |name: &Name| match found.get(&self.address.secret(name)) {
            Some(Some(entry)) => entry.answer(name),
            _ => Answer::Missing,
        };
        Ok(names.iter().map(answer).collect())
    }

    /// Hints where a subscription tells of a change, if there is one.
    async fn changed(&self) {
        match &self.push {
            Some(push) => push.wait(|id| self.is_ours(id)).await,
            None => std::future::pending().await,
        }
    }

    fn writer(&self) -> Option<&dyn SecretWriter> {
        Some(self)
    }
}

impl SecretManagerSource {
    fn is_ours(&self, id: &str) -> bool {
        match &self.address.form {
            Form::One { secret } => id == secret,
            Form::Each { .. } => self.address.name(id).is_some(),
        }
    }
}

impl fmt::Debug for SecretManagerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretManagerSource({})", self.address)
    }
}
