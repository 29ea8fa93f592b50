//! What members and conversations are called, remembered for a while.

use crate::{api::Api, text::Ref};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// How long a name is believed.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How long it is believed that there is none.
const NONE_KEPT: Duration = Duration::from_secs(60);
/// Most names that are remembered.
const KNOWN_MAX: usize = 20_000;

/// What is remembered of one.
#[derive(Clone, Debug)]
struct Known {
    name: Option<String>,
    until: Instant,
}

/// The names. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Names {
    api: Api,
    known: Arc<Mutex<HashMap<Ref, Known>>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    pub(crate) fn new(api: Api) -> Self {
        Self { api, known: Arc::default() }
    }

    /// What `one` is called, as far as it is known here. A name that is too old is better than none.
    pub(crate) fn get(&self, one: &Ref) -> Option<String> {
        self.known().get(one)?.name.clone()
    }

    /// Asks Slack for those that are not known, until `deadline`: a message is not kept from being acknowledged by a
    /// name that nobody tells.
    pub(crate) async fn learn(&self, wanted: Vec<Ref>, deadline: Instant) {
        let now = Instant::now();
        let missing: Vec<Ref> = {
            let known = self.known();
            let fresh = |one: &Ref| known.get(one).is_some_and(|known| known.until > now);
            wanted.into_iter().filter(|one| !fresh(one)).collect()
        };
        let asked = missing.into_iter().map(|one| async move {
            let Some(name) = self.ask(&one).await else { return };
            self.keep(one, name);
        });
        let all = futures::future::join_all(asked);
        if timeout_at(deadline, all).await.is_err() {
            tracing::debug!("names were not told in time; ids are shown in their place");
        }
    }

    /// Who goes by a name, where it is one member and no other.
    pub(crate) fn member(&self, name: &str) -> Option<String> {
        let known = self.known();
        let mut found = known.iter().filter_map(|(one, known)| match one {
            Ref::User(id) if known.name.as_deref() == Some(name) => Some(id),
            _ => None,
        });
        let id = found.next()?.clone();
        found.next().is_none().then_some(id)
    }

    /// `None` where Slack could not be asked now; else what it said, which may be that there is no name.
    async fn ask(&self, one: &Ref) -> Option<Option<String>> {
        let answer = match one {
            Ref::User(id) => self.api.call("users.info", &vec![("user", id.clone())]).await,
            Ref::Channel(id) => {
                self.api.call("conversations.info", &vec![("channel", id.clone())]).await
            }
        };
        match answer {
            Ok(answer) => {
                let user = &answer["user"];
                let profile = &user["profile"];
                let places = [
                    &profile["display_name"],
                    &profile["real_name"],
                    &user["real_name"],
                    &user["name"],
                    &answer["channel"]["name"],
                ];
                let mut names = places.into_iter().filter_map(|name| name.as_str());
                Some(names.find(|name| !name.trim().is_empty()).map(tidy))
            }
            Err(error) if error.word().is_some_and(|word| word.ends_with("_not_found")) => {
                Some(None)
            }
            Err(error) => {
                tracing::debug!(%error, "a name is not told");
                None
            }
        }
    }

    fn keep(&self, one: Ref, name: Option<String>) {
        let kept = if name.is_some() { KEPT } else { NONE_KEPT };
        let now = Instant::now();
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.until > now);
        }
        if known.len() < KNOWN_MAX || known.contains_key(&one) {
            known.insert(one, Known { name, until: now + kept });
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Ref, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name on one line, and of a length that routd takes.
pub(crate) fn tidy(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}
