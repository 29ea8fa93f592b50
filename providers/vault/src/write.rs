//! Writing: the whole entry anew, naming the version that it replaces.

use crate::{
    answers::{self, Phrase},
    source::Vault,
    trouble::Trouble,
};
use async_trait::async_trait;
use secrets::{
    Change, Malformed, Name, Secret, SecretWriter, WriteError,
    remote::{changed, drops_previous},
};
use serde_json::{Map, Value};
use vaultrs::api::kv2::requests::{SetSecretRequest, SetSecretRequestOptions};

/// How often a write is made anew because somebody else was faster.
const TRIES: u32 = 5;

#[async_trait]
impl SecretWriter for Vault {
    async fn write(&self, name: &Name, value: &Secret) -> Result<(), WriteError> {
        self.change(&[Change::Set(name, value)]).await
    }

    async fn remove(&self, name: &Name) -> Result<(), WriteError> {
        self.change(&[Change::Remove(name)]).await
    }

    async fn change(&self, changes: &[Change<'_>]) -> Result<(), WriteError> {
        let place = || self.address.to_string();
        if !self.address.is_versioned {
            let instead = "a KV engine of version 1 cannot tell that somebody else wrote meanwhile; change it with `bao kv put`, or use version 2".into();
            return Err(WriteError::ReadOnly { place: place(), instead });
        }
        for change in changes {
            if let Change::Set(name, value) = change {
                value.text().map_err(|_| WriteError::Unfit {
                    name: (*name).clone(),
                    place: place(),
                    cause: Malformed::because("a KV entry holds text, and it is not UTF-8"),
                })?;
            }
        }
        match self.put(changes).await {
            Ok(()) => Ok(()),
            Err(trouble @ Trouble::Forbidden(_)) => {
                Err(WriteError::ReadOnly { place: place(), instead: trouble.to_string() })
            }
            Err(trouble) => Err(WriteError::Failed { place: place(), cause: trouble.into() }),
        }
    }
}

impl Vault {
    async fn put(&self, changes: &[Change<'_>]) -> Result<(), Trouble> {
        let mut state = self.looks.enter().await;
        for _ in 0..TRIES {
            let (number, before) = match self.metadata(&mut state.session).await? {
                Some((metadata, _)) if metadata.current_version > 0 => {
                    let number = metadata.current_version;
                    let map = self.version(&mut state.session, number).await?;
                    // Writing over it would lose every other name of it.
                    (number, map.ok_or(Trouble::Deleted(number))?)
                }
                _ => (0, Map::new()),
            };
            let after = changed(&before, changes).map_err(|_| Trouble::Defect)?;
            if after == before {
                return Ok(());
            }
            if !self.post(&mut state, number, &after).await? {
                continue;
            }
            state.known = None;
            // What is not to be accepted any more must not be the version before, which counts for
            // one overlap: the same again, and it is two versions back.
            if drops_previous(changes) {
                // Where somebody wrote meanwhile, theirs is the version between.
                self.post(&mut state, number + 1, &after).await?;
            }
            return Ok(());
        }
        Err(Trouble::Raced)
    }

    /// Writes a version over `number`; whether that was the newest.
    async fn post(
        &self,
        state: &mut crate::source::State,
        number: u64,
        map: &Map<String, Value>,
    ) -> Result<bool, Trouble> {
        let (mount, path) = (&self.address.mount, &self.address.path);
        let cas = u32::try_from(number).map_err(|_| Trouble::Defect)?;
        let request = || SetSecretRequest {
            mount: mount.clone(),
            path: path.clone(),
            data: Value::Object(map.clone()),
            options: Some(SetSecretRequestOptions { cas }),
        };
        let reply = state.session.call_once(request).await?;
        match reply.status.as_u16() {
            200..=299 => Ok(true),
            400 if answers::phrase(&reply.body) == Phrase::CheckAndSet => Ok(false),
            403 => Err(Trouble::Forbidden(format!("update {mount}/data/{path}"))),
            404 => Err(Trouble::NoMount(mount.clone())),
            status => Err(Trouble::Status(status)),
        }
    }
}
