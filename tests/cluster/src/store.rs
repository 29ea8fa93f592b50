//! The cluster's objects, each change with a version, and the changes as watches see them.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Changes that are kept for watches; older ones are gone (410).
const KEPT: usize = 2000;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `pods`, `jobs`, …
    pub resource: String,
    /// Empty for what belongs to the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn of(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    /// Of what.
    pub key: Key,
    /// As it was then.
    pub object: Value,
    /// When.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    objects: BTreeMap<Key, Value>,
    changes: VecDeque<Change>,
    /// Versions before this one are gone.
    compacted: u64,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

/// What a watch is given.
pub enum Since {
    /// Changes, the oldest first, and the version up to which they are all.
    Changes(Vec<Change>, u64),
    /// The version is too old.
    Gone,
}

impl Store {
    pub fn new() -> Self {
        let state = State { version: 1000, ..State::default() };
        Self { state: Mutex::new(state), news: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told of every change.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Adds an object with a name, an id and a time of its own. None when the name is taken.
    pub fn create(&self, resource: &str, namespace: &str, mut object: Value) -> Option<Value> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = Key::of(resource, namespace, &name);
        let mut state = self.state();
        if state.objects.contains_key(&key) {
            return None;
        }
        let metadata = &mut object["metadata"];
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        metadata["uid"] = crate::uid().into();
        metadata["creationTimestamp"] = crate::now().into();
        metadata["generation"] = 1.into();
        let made = state.put("ADDED", key, object);
        drop(state);
        self.tell();
        Some(made)
    }

    /// Changes an object, if it is there and `change` says that it did. What it is then.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Value) -> bool) -> Option<Value> {
        let mut state = self.state();
        let mut object = state.objects.get(key)?.clone();
        if !change(&mut object) {
            return Some(object);
        }
        let changed = state.put("MODIFIED", key.clone(), object);
        drop(state);
        self.tell();
        Some(changed)
    }

    /// Removes an object.
    pub fn remove(&self, key: &Key) -> Option<Value> {
        let mut state = self.state();
        let object = state.objects.remove(key)?;
        let gone = state.log("DELETED", key.clone(), object);
        drop(state);
        self.tell();
        Some(gone)
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    pub fn get(&self, key: &Key) -> Option<Value> {
        self.state().objects.get(key).cloned()
    }

    /// The objects of a kind, in all namespaces where none is named, and the version that they are of.
    pub fn list(&self, resource: &str, namespace: &str) -> (Vec<(Key, Value)>, u64) {
        let state = self.state();
        let fits = |key: &Key| {
            key.resource == resource && (namespace.is_empty() || key.namespace == namespace)
        };
        let found = state.objects.iter().filter(|(key, _)| fits(key));
        (found.map(|(key, object)| (key.clone(), object.clone())).collect(), state.version)
    }

    /// What has changed since a version.
    pub fn since(&self, version: u64) -> Since {
        let state = self.state();
        if version < state.compacted {
            return Since::Gone;
        }
        let later = state.changes.iter().filter(|change| change.version > version);
        Since::Changes(later.cloned().collect(), state.version)
    }

    /// The changes that are kept, the oldest first.
    pub fn kept(&self) -> Vec<Change> {
        self.state().changes.iter().cloned().collect()
    }

    /// Forgets all changes so far, as a cluster does after some minutes.
    pub fn compact(&self) {
        let mut state = self.state();
        // A version of its own, so that whoever knows the last one is behind.
        state.version += 1;
        state.compacted = state.version;
        state.changes.clear();
        drop(state);
        self.tell();
    }
}

impl State {
    fn put(&mut self, kind: &'static str, key: Key, object: Value) -> Value {
        let object = self.log(kind, key.clone(), object);
        self.objects.insert(key, object.clone());
        object
    }

    fn log(&mut self, kind: &'static str, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let (version, at) = (self.version, Instant::now());
        self.changes.push_back(Change { version, kind, key, object: object.clone(), at });
        if self.changes.len() > KEPT
            && let Some(oldest) = self.changes.pop_front()
        {
            self.compacted = oldest.version;
        }
        object
    }
}

/// Whether an object has the labels that a selector asks for: `a=b,c!=d,e`.
pub fn selected(object: &Value, selector: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    let value = |name: &str| labels.get(name.trim()).and_then(Value::as_str);
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        if let Some((name, wanted)) = term.split_once("!=") {
            return value(name) != Some(wanted.trim());
        }
        match term.split_once('=') {
            Some((name, wanted)) => value(name) == Some(wanted.trim_start_matches('=').trim()),
            None => value(term).is_some(),
        }
    })
}

/// Whether an object has the fields that a selector asks for; `metadata.name` and `status.phase` are known.
pub fn has_fields(object: &Value, selector: &str) -> bool {
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        let (path, wanted) = term.split_once('=').unwrap_or((term, ""));
        let found = path.split('.').fold(object, |at, part| &at[part]);
        found.as_str() == Some(wanted.trim_start_matches('='))
    })
}

/// A failure, as the API has it.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}
