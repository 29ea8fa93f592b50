//! Writing: a version more, whose number tells afterwards whether somebody else wrote meanwhile.
//!
//! Secret Manager has no check-and-set for versions. Where the new number does not follow the one
//! that was read, another version came in between: what that one holds is read, and written again
//! with the changes in it. What is not excluded is that a reader sees the version that lacks it, for
//! the moment until then.

use crate::{address::Form, answers, source::SecretManagerSource, trouble::Trouble};
use async_trait::async_trait;
use secrets::{
    Change, Malformed, Name, Secret, SecretWriter, WriteError, Zeroizing,
    remote::{NotText, changed, drops_previous},
};
use serde_json::Map;

/// How often a write is made anew because somebody else wrote.
const TRIES: u32 = 5;

#[async_trait]
impl SecretWriter for SecretManagerSource {
    async fn write(&self, name: &Name, value: &Secret) -> Result<(), WriteError> {
        self.change(&[Change::Set(name, value)]).await
    }

    async fn remove(&self, name: &Name) -> Result<(), WriteError> {
        self.change(&[Change::Remove(name)]).await
    }

    async fn change(&self, changes: &[Change<'_>]) -> Result<(), WriteError> {
        // No look meanwhile.
        let _looks = self.looks.enter().await;
        let done = match &self.address.form {
            Form::One { secret } => self.put_object(secret, changes).await,
            Form::Each { .. } => self.put_each(changes).await,
        };
        let place = || self.address.to_string();
        match done {
            Ok(()) => Ok(()),
            Err(trouble @ (Trouble::Forbidden { .. } | Trouble::ServiceDisabled)) => {
                Err(WriteError::ReadOnly { place: place(), instead: trouble.to_string() })
            }
            Err(Trouble::NotText(NotText(name))) => {
                let cause = "the secret's JSON holds text, and it is not UTF-8 text";
                Err(WriteError::Unfit { name, place: place(), cause: Malformed::because(cause) })
            }
            Err(trouble) => Err(WriteError::Failed { place: place(), cause: trouble.into() }),
        }
    }
}

impl SecretManagerSource {
    async fn put_object(&self, id: &str, changes: &[Change<'_>]) -> Result<(), Trouble> {
        let (replaced, mut before) = match self.manager.version(id, "latest").await? {
            // Writing over what cannot be read would lose every other name of it.
            Some((version, _)) => {
                version.check()?;
                (version.number, self.object(id, version.number).await?)
            }
            None => (0, Map::new()),
        };
        let mut after = changed(&before, changes)?;
        if after == before {
            return Ok(());
        }
        let is_dropping = replaced > 0 && drops_previous(changes);
        // What is not to be accepted any more must not be the version before, nor may an older one
        // take its place: the same again is the version before of itself.
        let mut versions = if is_dropping { 2 } else { 1 };
        let mut expected = replaced + 1;
        for _ in 0..TRIES {
            let value = serde_json::to_vec(&after).map_err(|_| Trouble::Defect)?;
            let number = self.add(id, &Zeroizing::new(value)).await?;
            if number == expected {
                versions -= 1;
            } else {
                before = match self.object(id, number - 1).await {
                    // What cannot be read any more cannot have been lost.
                    Err(trouble) if trouble.is_withdrawal() => after,
                    other => other?,
                };
                after = changed(&before, changes)?;
            }
            if versions == 0 {
                return if is_dropping { self.manager.disable(id, replaced).await } else { Ok(()) };
            }
            expected = number + 1;
        }
        Err(Trouble::Raced)
    }

    async fn put_each(&self, changes: &[Change<'_>]) -> Result<(), Trouble> {
        for change in changes {
            match change {
                Change::Remove(name) => self.manager.delete(&self.address.secret(name)).await?,
                Change::Set(name, value) => {
                    let id = self.address.secret(name);
                    let latest = self.manager.version(&id, "latest").await?.map(|(v, _)| v);
                    let is_same = match &latest {
                        Some(version) if version.is_enabled() => {
                            let now = self.manager.access(&id, version.number).await?;
                            value.matches(&now)
                        }
                        _ => false,
                    };
                    if is_same {
                        continue;
                    }
                    self.add(&id, value.expose()).await?;
                    if let Some(replaced) = latest.filter(|_| drops_previous(changes)) {
                        // As in the other form.
                        self.add(&id, value.expose()).await?;
                        self.manager.disable(&id, replaced.number).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a version, to a secret that is made where there is none.
    async fn add(&self, id: &str, value: &[u8]) -> Result<u64, Trouble> {
        if let Some(number) = self.manager.add(id, value).await? {
            return Ok(number);
        }
        self.manager.create(id).await?;
        self.manager.add(id, value).await?.ok_or(Trouble::Status(404))
    }

    async fn object(
        &self,
        id: &str,
        number: u64,
    ) -> Result<Map<String, serde_json::Value>, Trouble> {
        answers::object(&self.manager.access(id, number).await?, number)
    }
}
