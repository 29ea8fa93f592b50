//! The source: one look for all who ask, and the hints.

use crate::{
    address::{Address, Ambient, Place},
    answers::Refusal,
    credentials::identity,
    entry::{Entry, Version},
    prefix,
    queue::Queue,
    session::{Failure, Session},
    trouble::Trouble,
};
use async_trait::async_trait;
use aws_sdk_secretsmanager::primitives::{Blob, DateTime};
use secrets::{
    Answer, Name, SecretSource, SecretWriter, SourceError, Zeroizing,
    remote::{AddressError, Looks, Silence, counts},
};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, sleep, timeout};

/// How often the file of the credentials, and whether they are to be exchanged, are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long one look may take, with all its calls: the keeper gives up after ten seconds.
const LOOK_TIMEOUT: Duration = Duration::from_secs(9);

/// How often a look begins anew because a label moved while it was under way.
const TRIES: u32 = 3;

/// The labels that are read, and no other.
pub(crate) const CURRENT: &str = "AWSCURRENT";
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";

/// Secrets of AWS Secrets Manager.
pub struct Aws {
    pub(crate) address: Address,
    pub(crate) overlap: Duration,
    pub(crate) looks: Looks<State, Result<Arc<Entry>, Trouble>>,
    /// Every name that was ever asked for: under a prefix, only what is asked for is read.
    wanted: Mutex<BTreeSet<Name>>,
    queue: Option<Queue>,
}

/// What one look leaves for the next.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) known: Option<Known>,
    names: prefix::Known,
}

/// A JSON secret as it was read.
pub(crate) struct Known {
    mark: Mark,
    pub(crate) entry: Arc<Entry>,
    /// When the entry was new here.
    at: Instant,
    /// Whether the version before is still held.
    has_previous: bool,
}

/// By what a state of a secret is known again: one that is made anew under its name has another ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    arn: String,
    pub(crate) current: String,
    previous: Option<String>,
}

/// What is under a name.
pub(crate) enum Seen {
    Nothing,
    /// A secret that has no value yet.
    Empty,
    Holds(Described),
}

/// Which versions have the labels, and when anything about the secret last changed.
pub(crate) struct Described {
    pub(crate) mark: Mark,
    changed: Option<SystemTime>,
}

impl Aws {
    /// A source for what `url` names (see [`Address`]), by an identity that the URL or `ambient` gives. What a version
    /// replaced is told for `overlap` and not held longer. Nothing is asked before the first read.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, ambient: &Ambient, overlap: Duration) -> Result<Self, AddressError> {
        let address = Address::parse(url, ambient)?;
        let session = Session::new(address.clone());
        let queue = Queue::of(&address, session.held.clone());
        let looks = Looks::new(State { session, known: None, names: prefix::Known::default() });
        Ok(Self { address, overlap, looks, wanted: Mutex::default(), queue })
    }

    async fn look(&self, state: &mut State) -> Result<Arc<Entry>, Trouble> {
        match &self.address.place {
            Place::Object(name) => self.look_at_object(state, name).await,
            Place::Prefix(prefix) => {
                let wanted = self.wanted().clone();
                self.look_at_names(&mut state.session, &mut state.names, prefix, wanted).await
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_at_object(&self, state: &mut State, name: &str) -> Result<Arc<Entry>, Trouble> {
        for _ in 0..TRIES {
            let Seen::Holds(described) = describe(&mut state.session, name).await? else {
                state.known = None;
                return Ok(Arc::default());
            };
            if let Some(known) = &mut state.known
                && known.mark == described.mark
            {
                if known.has_previous && known.at.elapsed() > self.overlap {
                    // Its overlap has ended: it must not be in memory any longer.
                    known.has_previous = false;
                    known.entry = Arc::new(known.entry.without_previous());
                }
                return Ok(known.entry.clone());
            }
            if let Some(known) = self.read_object(state, name, described).await? {
                return Ok(state.known.insert(known).entry.clone());
            }
        }
        Err(Trouble::Moving)
    }

    /// Reads what the labels are on; `None` where they moved meanwhile.
    async fn read_object(
        &self,
        state: &mut State,
        name: &str,
        described: Described,
    ) -> Result<Option<Known>, Trouble> {
        let Described { mark, changed } = described;
        let Some(current) = labelled(&mut state.session, name, CURRENT).await? else {
            return Ok(None);
        };
        if current.id != mark.current {
            return Ok(None);
        }
        // A version is made before its label moves, and a description may change after that.
        let moved = changed.max(current.created);
        let still_counts = counts(moved, state.session.line.now(), self.overlap);
        let before = match &mark.previous {
            Some(id) if still_counts => match labelled(&mut state.session, name, PREVIOUS).await? {
                Some(before) if before.id == *id => Some(before),
                _ => return Ok(None),
            },
            _ => None,
        };
        let is_seen_moving =
            state.known.as_ref().is_some_and(|known| known.mark.current != mark.current);
        let changed_at = if is_seen_moving { moved } else { current.created };
        let entry = Entry::object(&current, changed_at, before.as_ref());
        let entry = Arc::new(entry.ok_or_else(|| Trouble::NotObject(name.to_owned()))?);
        Ok(Some(Known { mark, entry, at: Instant::now(), has_previous: before.is_some() }))
    }
}

/// Which versions of a secret have the labels.
pub(crate) async fn describe(session: &mut Session, secret: &str) -> Result<Seen, Trouble> {
    let answer = session.call(|sm| sm.describe_secret().secret_id(secret).send()).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::Refused(Refusal::NotFound, _)) => return Ok(Seen::Nothing),
        Err(failure) => {
            return Err(failure.into_trouble(&format!("secretsmanager:DescribeSecret on {secret}")));
        }
    };
    let arn = answer.arn.ok_or(Trouble::Garbled)?;
    if answer.deleted_date.is_some() {
        return Err(Trouble::Deleted(secret.to_owned()));
    }
    let stages = answer.version_ids_to_stages.unwrap_or_default();
    let with = |label: &str| {
        let mut of = stages.iter().filter(|(_, labels)| labels.iter().any(|known| known == label));
        of.next().map(|(id, _)| id.clone())
    };
    let Some(current) = with(CURRENT) else { return Ok(Seen::Empty) };
    let previous = with(PREVIOUS).filter(|id| *id != current);
    Ok(Seen::Holds(Described {
        mark: Mark { arn, current, previous },
        changed: answer.last_changed_date.and_then(moment),
    }))
}

/// The version of a secret that has a label; `None` where none has it.
pub(crate) async fn labelled(
    session: &mut Session,
    secret: &str,
    label: &str,
) -> Result<Option<Version>, Trouble> {
    let answer = session
        .call(|sm| sm.get_secret_value().secret_id(secret).version_stage(label).send())
        .await;
    match answer {
        Ok(answer) => {
            let value =
                bytes(answer.secret_string, answer.secret_binary).ok_or(Trouble::Garbled)?;
            let id = answer.version_id.ok_or(Trouble::Garbled)?;
            Ok(Some(Version { id, created: answer.created_date.and_then(moment), value }))
        }
        Err(Failure::Refused(Refusal::NotFound, _)) => Ok(None),
        Err(failure) => {
            Err(failure.into_trouble(&format!("secretsmanager:GetSecretValue on {secret}")))
        }
    }
}

/// What a version holds, as text or as bytes.
pub(crate) fn bytes(text: Option<String>, binary: Option<Blob>) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = text.map(String::into_bytes).or_else(|| binary.map(Blob::into_inner));
    bytes.map(Zeroizing::new)
}

pub(crate) fn moment(at: DateTime) -> Option<SystemTime> {
    at.try_into().ok()
}

#[async_trait]
impl SecretSource for Aws {
    fn kind(&self) -> &'static str {
        "aws"
    }

    fn place(&self) -> String {
        match self.address.place {
            Place::Object(_) => self.address.to_string(),
            Place::Prefix(_) => {
                format!("{} (each name by itself, not as of one moment)", self.address)
            }
        }
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // Before waiting, so that the next look has them, whoever makes it.
        if matches!(self.address.place, Place::Prefix(_)) {
            self.wanted().extend(names.iter().cloned());
        }
        let mut look = self.looks.enter().await;
        let serves = |outcome: &Result<Arc<Entry>, Trouble>| match outcome {
            Ok(entry) => entry.covers(names),
            Err(_) => true,
        };
        let outcome = match look.of_others().filter(serves) {
            Some(outcome) => outcome,
            None => match timeout(LOOK_TIMEOUT, self.look(&mut look)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Trouble::Silent(Silence::Late(LOOK_TIMEOUT))),
            },
        };
        let entry = look.end(outcome).map_err(|trouble| trouble.at(self.place()))?;
        Ok(names.iter().map(|name| entry.answer(name)).collect())
    }

    async fn changed(&self) {
        match &self.queue {
            Some(queue) => tokio::select! {
                () = queue.hint() => {}
                () = self.keep_fresh() => {}
            },
            None => self.keep_fresh().await,
        }
    }

    fn writer(&self) -> Option<&dyn SecretWriter> {
        Some(self)
    }
}

impl Aws {
    /// Keeps the credentials fresh, and ends where the file that somebody writes them to changed.
    async fn keep_fresh(&self) {
        loop {
            sleep(TICK).await;
            let (file, due) = {
                let state = self.looks.enter().await;
                (state.session.credentials_file(), state.session.due())
            };
            if let Some((path, known)) = file
                && identity(path).await.is_some_and(|now| now != known)
            {
                return;
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                let mut state = self.looks.enter().await;
                // The next read tells what is wrong; a failure has put off the next attempt, or the credentials have
                // ended, and then a read makes the next attempt.
                if state.session.keep_alive().await.is_err() {
                    drop(state);
                    return std::future::pending().await;
                }
            }
        }
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aws({})", self.address)
    }
}
