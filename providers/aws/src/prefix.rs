//! One secret for each name: what a look at a prefix is.
//!
//! A list of secrets may be five minutes behind, and asking for each secret's versions costs one call a name. Reading
//! all values, twenty in one call, is both cheaper and up to date.

use crate::{
    address::secret_of,
    answers::{self, Refusal},
    entry::{Entry, Item, Version},
    session::Session,
    source::{Aws, CURRENT, PREVIOUS, bytes, labelled, moment},
    trouble::Trouble,
};
use aws_sdk_secretsmanager::types::{ApiErrorType, SecretValueEntry};
use secrets::{Name, remote::counts};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::time::Instant;

/// The most secrets that one call reads.
const BATCH: usize = 20;

/// The most pages of one such answer: no more than secrets.
const PAGES_MAX: usize = BATCH;

const EMPTY: &str = "the secret has no value";
const DELETED: &str =
    "the secret is scheduled for deletion; restore it (aws secretsmanager restore-secret)";

/// What was read of each name, and when that was new here.
#[derive(Default)]
pub(crate) struct Known {
    names: BTreeMap<Name, (Arc<Item>, Instant)>,
    entry: Arc<Entry>,
}

/// What a call says of one name.
enum Found {
    Version(Version),
    /// There is something that cannot be a value.
    Bad(&'static str),
}

impl Aws {
    /// Reads all of `asked`. What did not change is what it was, so that the outcome is the same one.
    pub(crate) async fn look_at_names(
        &self,
        session: &mut Session,
        known: &mut Known,
        prefix: &str,
        asked: BTreeSet<Name>,
    ) -> Result<Arc<Entry>, Trouble> {
        let mut found = BTreeMap::new();
        let names: Vec<&Name> = asked.iter().collect();
        for some in names.chunks(BATCH) {
            read(session, prefix, some, &mut found).await?;
        }
        let mut items = BTreeMap::new();
        for (name, found) in found {
            let version = match found {
                Found::Version(version) => version,
                Found::Bad(reason) => {
                    let item = Arc::new(Item::empty("none".into(), reason));
                    items.insert(name, (item, Instant::now()));
                    continue;
                }
            };
            let kept = match known.names.get(&name) {
                Some((item, at)) if item.id == version.id && at.elapsed() > self.overlap => {
                    // Its overlap has ended: it must not be in memory any longer.
                    (item.without_previous(), *at)
                }
                Some((item, at)) if item.id == version.id => (item.clone(), *at),
                before => {
                    let is_seen_moving = before.is_some();
                    let now = session.line.now();
                    let created = version.created;
                    let previous = if is_seen_moving || counts(created, now, self.overlap) {
                        labelled(session, &secret_of(prefix, &name), PREVIOUS).await?
                    } else {
                        None
                    };
                    (Arc::new(Item::new(version, created, previous)), Instant::now())
                }
            };
            items.insert(name, kept);
        }
        let is_same = known.entry.is_of(&asked)
            && items.len() == known.names.len()
            && items.iter().all(|(name, (item, _))| {
                known.names.get(name).is_some_and(|(before, _)| Arc::ptr_eq(item, before))
            });
        if !is_same {
            let of = items.iter().map(|(name, (item, _))| (name.clone(), item.clone()));
            known.entry = Arc::new(Entry::of(of.collect(), asked));
        }
        known.names = items;
        Ok(known.entry.clone())
    }
}

/// Reads up to [`BATCH`] names in one call, and another for each page that it has.
async fn read(
    session: &mut Session,
    prefix: &str,
    names: &[&Name],
    found: &mut BTreeMap<Name, Found>,
) -> Result<(), Trouble> {
    let ids: Vec<String> = names.iter().map(|name| secret_of(prefix, name)).collect();
    let name_of =
        |id: Option<&str>| names.iter().find(|name| id == Some(&secret_of(prefix, name))).copied();
    let mut page = None;
    for _ in 0..PAGES_MAX {
        let answer = session
            .call(|sm| {
                let ask = sm.batch_get_secret_value().set_secret_id_list(Some(ids.clone()));
                ask.set_next_token(page.clone()).send()
            })
            .await
            .map_err(|failure| failure.into_trouble("secretsmanager:BatchGetSecretValue"))?;
        for error in answer.errors.unwrap_or_default() {
            if let (Some(name), Some(reason)) = (name_of(error.secret_id()), refused(&error)?) {
                // The value before a rotation is removed by us: that it is on its way out is that it is gone.
                if !name.as_str().ends_with("_PREVIOUS") {
                    found.insert(name.clone(), Found::Bad(reason));
                }
            }
        }
        for value in answer.secret_values.unwrap_or_default() {
            if let Some(name) = name_of(value.name()) {
                let version = current(session, value).await?;
                found.insert(name.clone(), version.map_or(Found::Bad(EMPTY), Found::Version));
            }
        }
        page = answer.next_token.filter(|token| !token.is_empty());
        if page.is_none() {
            return Ok(());
        }
    }
    Err(Trouble::Garbled)
}

/// Why there is something that is no value, or `None` where there is nothing.
fn refused(error: &ApiErrorType) -> Result<Option<&'static str>, Trouble> {
    let message = error.message().unwrap_or_default();
    match answers::refusal(error.error_code(), message, 400) {
        Refusal::NotFound => Ok(None),
        Refusal::Deleted => Ok(Some(DELETED)),
        other => {
            let what = format!(
                "secretsmanager:GetSecretValue on {}",
                error.secret_id().unwrap_or_default()
            );
            Err(other.into_trouble(&what))
        }
    }
}

/// The version that a batch answered with. A batch cannot ask for a label by name, so the label is looked at.
async fn current(
    session: &mut Session,
    value: SecretValueEntry,
) -> Result<Option<Version>, Trouble> {
    let id = value.version_id.ok_or(Trouble::Garbled)?;
    if value.version_stages.unwrap_or_default().iter().any(|label| label == CURRENT) {
        let created = value.created_date.and_then(moment);
        return Ok(bytes(value.secret_string, value.secret_binary).map(|value| Version {
            id,
            created,
            value,
        }));
    }
    labelled(session, &value.name.unwrap_or_default(), CURRENT).await
}
