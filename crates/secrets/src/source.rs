//! What a provider implements.

use crate::{Malformed, Name, Secret};
use async_trait::async_trait;
use std::{error::Error, fmt::Debug, time::SystemTime};

/// What a source says of one name.
#[derive(Debug)]
pub struct Versions {
    /// The value to use.
    pub current: Secret,
    /// The value before it, where the source keeps one.
    pub previous: Option<Secret>,
    /// The source's own version: never derived from the value alone. Shown to operators.
    pub id: String,
    /// When the source says `current` came to be, where it knows.
    pub changed_at: Option<SystemTime>,
}

/// The answer for one name.
#[derive(Debug)]
pub enum Answer {
    /// The source has it.
    Found(Versions),
    /// The source answered that it does not have it.
    Missing,
    /// The source has something under that name that cannot be a secret.
    Rejected(Malformed),
}

/// A place that holds secrets.
///
/// A source is asked, it does not push: [`SecretSource::changed`] only says "look again", so a lost
/// or repeated hint costs one read and nothing else. The keeper has at most one `read` in flight,
/// cancels one that takes too long, and may drop a `changed` at any time.
#[async_trait]
pub trait SecretSource: Debug + Send + Sync + 'static {
    /// One word for the kind of place, such as `file`, `dotenv`, `env`. A metric's label.
    fn kind(&self) -> &'static str;

    /// The place as an operator would say it, such as `/var/run/secrets/arizuko`. Never a
    /// credential.
    fn place(&self) -> String;

    /// Whether no value here ever changes while the process runs. Such a source is not polled.
    fn is_static(&self) -> bool {
        false
    }

    /// Whether each read is a call to a server that others use too. Such a source is polled at
    /// times that are spread wider, and never later than at the interval.
    fn is_remote(&self) -> bool {
        false
    }

    /// Whether this name's value never changes while the process runs.
    fn is_static_for(&self, _name: &Name) -> bool {
        self.is_static()
    }

    /// Reads `names`: one answer for each, in order, all as of one moment if the place can do that.
    ///
    /// # Errors
    /// Only for what concerns the place as a whole; trouble with one name is an [`Answer`].
    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError>;

    /// Resolves when a read might answer differently.
    ///
    /// Dropping the future loses nothing, and a change between two calls makes the second return
    /// at once. The default never resolves: the keeper's own polls then find the change.
    async fn changed(&self) {
        std::future::pending().await
    }

    /// The part of this source that writes, or that explains why it cannot. `None` where writing
    /// is not thinkable at all.
    fn writer(&self) -> Option<&dyn SecretWriter> {
        None
    }
}

/// A source that an operator's command may change.
#[async_trait]
pub trait SecretWriter: Send + Sync {
    /// Gives `name` a new value: whole and durable, or not at all.
    ///
    /// # Errors
    /// When the place cannot be written, with what to do instead.
    async fn write(&self, name: &Name, value: &Secret) -> Result<(), WriteError>;

    /// Removes `name`; that it is not there is not an error.
    ///
    /// # Errors
    /// When the place cannot be written, with what to do instead.
    async fn remove(&self, name: &Name) -> Result<(), WriteError>;

    /// Makes `changes`: all at one moment where the place can do that, and otherwise in this order,
    /// so that whoever is interrupted has made the first of them.
    ///
    /// # Errors
    /// When the place cannot be written, with what to do instead.
    async fn change(&self, changes: &[Change<'_>]) -> Result<(), WriteError> {
        for change in changes {
            match change {
                Change::Set(name, value) => self.write(name, value).await?,
                Change::Remove(name) => self.remove(name).await?,
            }
        }
        Ok(())
    }
}

/// A change of one name.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Gives it this value.
    Set(&'a Name, &'a Secret),
    /// Removes it; that it is not there is not an error.
    Remove(&'a Name),
}

/// A cause of any kind.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a source could not be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It answered that we may not read it. An operator must act; the keeper tries again.
    #[error("not allowed to read {place}")]
    Denied {
        /// Which source.
        place: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
    /// It did not answer, or not in time. The keeper tries again.
    #[error("{place} cannot be read")]
    Unreachable {
        /// Which source.
        place: String,
        /// What went wrong.
        #[source]
        cause: Cause,
    },
    /// It could be read, and must not be as it is: a file that others may read, a file that does
    /// not parse. An operator must act.
    #[error("{place} is refused: {reason}")]
    Refused {
        /// Which source.
        place: String,
        /// Why, and what to do about it.
        reason: String,
    },
}

impl SourceError {
    /// The error and its causes in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// Why a secret could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// This place is not for us to write.
    #[error("{place} is not written by arizuko: {instead}")]
    ReadOnly {
        /// Which source.
        place: String,
        /// What to do instead.
        instead: String,
    },
    /// The value cannot be kept there.
    #[error("the value of {name} cannot be kept in {place}")]
    Unfit {
        /// Which secret.
        name: Name,
        /// Which source.
        place: String,
        /// Why.
        #[source]
        cause: Malformed,
    },
    /// The place should take it, and did not.
    #[error("{place} could not be written")]
    Failed {
        /// Which source.
        place: String,
        /// What went wrong.
        #[source]
        cause: Cause,
    },
}
