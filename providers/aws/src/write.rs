//! Writing: a JSON secret whole, from the very version that it replaces, and under a prefix each name by itself.
//!
//! `PutSecretValue` has no check-and-set. A move of a label has: it names the version that the label is taken from, and
//! is refused where the label is on another one. So a new version is stored under a label of ours, which nobody reads,
//! and `AWSCURRENT` is moved to it from the version that it was made from.

use crate::{
    address::{Place, secret_of},
    answers::Refusal,
    entry::object,
    session::{Failure, Session},
    source::{Aws, CURRENT, Seen, describe, labelled},
    trouble::Trouble,
};
use async_trait::async_trait;
use aws_sdk_secretsmanager::primitives::Blob;
use secrets::{
    Change, Malformed, Name, SECRET_BYTES_MAX, Secret, SecretWriter, WriteError, Zeroizing,
    remote::{changed, drops_previous},
};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::sleep;

/// The label of a version that is on its way.
const WRITTEN: &str = "ARIZUKO_WRITTEN";

/// How often a write is made anew because somebody else was faster, or a name is not free yet.
const TRIES: u32 = 6;

/// The first wait before that; it doubles each time, and a part of it is random.
const PAUSE: Duration = Duration::from_millis(100);

#[async_trait]
impl SecretWriter for Aws {
    async fn write(&self, name: &Name, value: &Secret) -> Result<(), WriteError> {
        self.change(&[Change::Set(name, value)]).await
    }

    async fn remove(&self, name: &Name) -> Result<(), WriteError> {
        self.change(&[Change::Remove(name)]).await
    }

    async fn change(&self, changes: &[Change<'_>]) -> Result<(), WriteError> {
        let place = || self.address.to_string();
        let mut state = self.looks.enter().await;
        let done = match &self.address.place {
            Place::Object(secret) => {
                for change in changes {
                    if let Change::Set(name, value) = change {
                        value.text().map_err(|_| WriteError::Unfit {
                            name: (*name).clone(),
                            place: place(),
                            cause: Malformed::because(
                                "a JSON object holds text, and it is not UTF-8",
                            ),
                        })?;
                    }
                }
                let done = put_object(&mut state.session, secret, changes).await;
                state.known = None;
                done
            }
            Place::Prefix(prefix) => put_names(&mut state.session, prefix, changes).await,
        };
        match done {
            Ok(()) => Ok(()),
            Err(trouble @ Trouble::Forbidden(_)) => {
                Err(WriteError::ReadOnly { place: place(), instead: trouble.to_string() })
            }
            Err(trouble) => Err(WriteError::Failed { place: place(), cause: trouble.into() }),
        }
    }
}

async fn put_object(
    session: &mut Session,
    secret: &str,
    changes: &[Change<'_>],
) -> Result<(), Trouble> {
    for tries in 0..TRIES {
        pause(tries).await;
        let before = match describe(session, secret).await? {
            Seen::Holds(_) => labelled(session, secret, CURRENT).await?,
            Seen::Empty | Seen::Nothing => None,
        };
        let Some(before) = before else {
            if first(session, secret, &after(&Map::new(), changes)?).await? {
                return Ok(());
            }
            continue;
        };
        let map = object(&before.value).ok_or_else(|| Trouble::NotObject(secret.to_owned()))?;
        let whole = after(&map, changes)?;
        if whole == map {
            return Ok(());
        }
        let Some(written) = replace(session, secret, &before.id, &whole).await? else { continue };
        // What is not to be accepted any more must not be the version before, which counts for one overlap: the same
        // again, and it is two versions back. Where somebody wrote meanwhile, theirs is the version between.
        if drops_previous(changes) {
            replace(session, secret, &written, &whole).await?;
        }
        return Ok(());
    }
    Err(Trouble::Raced)
}

fn after(
    before: &Map<String, Value>,
    changes: &[Change<'_>],
) -> Result<Map<String, Value>, Trouble> {
    changed(before, changes).map_err(|_| Trouble::Defect)
}

fn written(map: &Map<String, Value>) -> Result<Zeroizing<String>, Trouble> {
    let text = serde_json::to_string(map).map(Zeroizing::new).map_err(|_| Trouble::Defect)?;
    if text.len() > SECRET_BYTES_MAX { Err(Trouble::TooBig) } else { Ok(text) }
}

/// Stores a version and makes it the current one, if `before` still is; its id, or `None` where it is not.
async fn replace(
    session: &mut Session,
    secret: &str,
    before: &str,
    map: &Map<String, Value>,
) -> Result<Option<String>, Trouble> {
    let text = written(map)?;
    let put = |failure: Failure| {
        failure.into_trouble(&format!("secretsmanager:PutSecretValue on {secret}"))
    };
    let stored = session
        .call(|sm| {
            let put = sm.put_secret_value().secret_id(secret).version_stages(WRITTEN);
            put.secret_string(text.as_str()).send()
        })
        .await
        .map_err(put)?;
    let id = stored.version_id.ok_or(Trouble::Garbled)?;
    let moved = session
        .call(|sm| {
            let label = sm.update_secret_version_stage().secret_id(secret).version_stage(CURRENT);
            label.remove_from_version_id(before).move_to_version_id(&id).send()
        })
        .await;
    // Nothing is lost where it stays: the next write takes it away.
    let _unlabelled = session
        .call(|sm| {
            let label = sm.update_secret_version_stage().secret_id(secret).version_stage(WRITTEN);
            label.remove_from_version_id(&id).send()
        })
        .await
        .is_ok();
    match moved {
        Ok(_) => Ok(Some(id)),
        Err(Failure::Refused(Refusal::Request(_) | Refusal::NotFound, _)) => Ok(None),
        Err(failure) => {
            Err(failure
                .into_trouble(&format!("secretsmanager:UpdateSecretVersionStage on {secret}")))
        }
    }
}

/// Makes a secret, or gives one without a value its first; whether nobody else did.
async fn first(
    session: &mut Session,
    secret: &str,
    map: &Map<String, Value>,
) -> Result<bool, Trouble> {
    if map.is_empty() {
        return Ok(true);
    }
    let text = written(map)?;
    match create(session, secret, text.as_bytes()).await? {
        Made::New => Ok(true),
        Made::NotFree => Ok(false),
        Made::There => match describe(session, secret).await? {
            Seen::Empty => put(session, secret, text.as_bytes()).await,
            _ => Ok(false),
        },
    }
}

async fn put_names(
    session: &mut Session,
    prefix: &str,
    changes: &[Change<'_>],
) -> Result<(), Trouble> {
    for change in changes {
        match change {
            Change::Set(name, value) => {
                let secret = secret_of(prefix, name);
                let previous = name.previous();
                let is_leaked = changes
                    .iter()
                    .any(|other| matches!(other, Change::Remove(gone) if **gone == previous));
                put_value(session, &secret, value.expose(), is_leaked).await?;
            }
            Change::Remove(name) => delete(session, &secret_of(prefix, name)).await?,
        }
    }
    Ok(())
}

/// Gives a secret this value, and makes it where it is not there. `is_leaked` is whether the value before must not be
/// its version before either.
async fn put_value(
    session: &mut Session,
    secret: &str,
    value: &[u8],
    is_leaked: bool,
) -> Result<(), Trouble> {
    let before = labelled(session, secret, CURRENT).await?;
    if before.is_some_and(|before| secrets::same_bytes(&before.value, value)) {
        return Ok(());
    }
    for tries in 0..TRIES {
        pause(tries).await;
        if put(session, secret, value).await? {
            if is_leaked {
                put(session, secret, value).await?;
            }
            return Ok(());
        }
        if matches!(create(session, secret, value).await?, Made::New) {
            return Ok(());
        }
    }
    Err(Trouble::Raced)
}

/// Gives a secret another version; whether there is such a secret.
async fn put(session: &mut Session, secret: &str, value: &[u8]) -> Result<bool, Trouble> {
    let (text, binary) = forms(value);
    let put = session
        .call(|sm| {
            let put = sm.put_secret_value().secret_id(secret);
            put.set_secret_string(text.map(str::to_owned)).set_secret_binary(binary.clone()).send()
        })
        .await;
    match put {
        Ok(_) => Ok(true),
        Err(Failure::Refused(Refusal::NotFound, _)) => Ok(false),
        Err(failure) => {
            Err(failure.into_trouble(&format!("secretsmanager:PutSecretValue on {secret}")))
        }
    }
}

enum Made {
    New,
    /// Somebody has made it.
    There,
    /// One of that name is still being deleted.
    NotFree,
}

async fn create(session: &mut Session, secret: &str, value: &[u8]) -> Result<Made, Trouble> {
    let (text, binary) = forms(value);
    let made = session
        .call(|sm| {
            let create = sm.create_secret().name(secret);
            create
                .set_secret_string(text.map(str::to_owned))
                .set_secret_binary(binary.clone())
                .send()
        })
        .await;
    match made {
        Ok(_) => Ok(Made::New),
        Err(Failure::Refused(Refusal::Exists, _)) => Ok(Made::There),
        Err(Failure::Refused(Refusal::Deleted, _)) => Ok(Made::NotFree),
        Err(failure) => {
            Err(failure.into_trouble(&format!("secretsmanager:CreateSecret on {secret}")))
        }
    }
}

/// Deletes a secret for good: what is removed is what must not be read again.
async fn delete(session: &mut Session, secret: &str) -> Result<(), Trouble> {
    let gone = session
        .call(|sm| sm.delete_secret().secret_id(secret).force_delete_without_recovery(true).send())
        .await;
    match gone {
        Ok(_) | Err(Failure::Refused(Refusal::NotFound, _)) => Ok(()),
        Err(failure) => {
            Err(failure.into_trouble(&format!("secretsmanager:DeleteSecret on {secret}")))
        }
    }
}

/// A value as text where it is text, and as bytes where it is not.
fn forms(value: &[u8]) -> (Option<&str>, Option<Blob>) {
    match std::str::from_utf8(value) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(Blob::new(value))),
    }
}

async fn pause(tries: u32) {
    if tries > 0 {
        let longest = PAUSE.saturating_mul(1 << tries.min(5));
        sleep(longest.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}
