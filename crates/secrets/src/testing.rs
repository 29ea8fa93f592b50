//! A source that tests script, and the contract test that every provider passes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this")]

use crate::{
    Answer, Malformed, Name, Policy, Secret, SecretSource, SourceError, Versions, WallClock,
    keeper::lock,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, time::Instant};

/// A source in memory, which tests change, break and repair. Clones share it.
#[derive(Clone)]
pub struct ScriptedSource(Arc<Script>);

struct Script {
    kind: &'static str,
    state: Mutex<State>,
    notify: Notify,
    /// Wakes reads that hang.
    repaired: Notify,
    calls: Mutex<Vec<Call>>,
}

/// One read, by tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub began: Instant,
    /// When it answered or was given up; `None` while it is under way.
    pub ended: Option<Instant>,
}

/// Ends a call also where its future is dropped.
struct UnderWay<'a> {
    calls: &'a Mutex<Vec<Call>>,
    index: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(call) = lock(self.calls).get_mut(self.index) {
            call.ended = Some(Instant::now());
        }
    }
}

#[derive(Default)]
struct State {
    values: BTreeMap<Name, Value>,
    version: u64,
    mode: Mode,
    delay: Duration,
    is_static: bool,
}

#[derive(Clone)]
struct Value {
    current: Result<Vec<u8>, Malformed>,
    previous: Option<Vec<u8>>,
    id: String,
    changed_at: Option<SystemTime>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Works,
    Unreachable,
    Denied,
    Refused,
    Hangs,
    AnswersTooFew,
    Panics,
}

impl Default for ScriptedSource {
    fn default() -> Self {
        Self::new("scripted")
    }
}

impl ScriptedSource {
    /// An empty source of that kind.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self(Arc::new(Script {
            kind,
            state: Mutex::default(),
            notify: Notify::new(),
            repaired: Notify::new(),
            calls: Mutex::default(),
        }))
    }

    /// Sets these values at one moment, and hints that something changed.
    pub fn set<const N: usize>(&self, values: [(&str, &str); N]) {
        self.set_silently(values);
        self.hint();
    }

    /// Sets these values at one moment; the hint is lost.
    pub fn set_silently<const N: usize>(&self, values: [(&str, &str); N]) {
        let mut state = lock(&self.0.state);
        state.version += 1;
        for (name, value) in values {
            let id = format!("v{}", state.version);
            let current = Ok(value.as_bytes().to_vec());
            let value = Value { current, previous: None, id, changed_at: None };
            state.values.insert(name.parse().unwrap(), value);
        }
    }

    /// Gives `name` a previous value of the source's own, beside its current one. Silent.
    pub fn set_previous(&self, name: &str, previous: &str) {
        self.edit(name, |value| value.previous = Some(previous.as_bytes().to_vec()));
    }

    /// Dates the current value of `name`. Silent.
    pub fn set_changed_at(&self, name: &str, at: SystemTime) {
        self.edit(name, |value| value.changed_at = Some(at));
    }

    /// Gives `name` another version id with the same value. Silent.
    pub fn set_id(&self, name: &str, id: &str) {
        self.edit(name, |value| value.id = id.to_owned());
    }

    /// Puts something under `name` that the source cannot take for a secret, and hints.
    pub fn reject(&self, name: &str, reason: &'static str) {
        let value = Value {
            current: Err(Malformed::because(reason)),
            previous: None,
            id: String::new(),
            changed_at: None,
        };
        lock(&self.0.state).values.insert(name.parse().unwrap(), value);
        self.hint();
    }

    /// Removes `name`, and hints.
    pub fn remove(&self, name: &str) {
        lock(&self.0.state).values.remove(&name.parse().unwrap());
        self.hint();
    }

    /// From now on every read fails as unreachable.
    pub fn fail(&self) {
        self.mode(Mode::Unreachable);
    }

    /// From now on every read is denied.
    pub fn deny(&self) {
        self.mode(Mode::Denied);
    }

    /// From now on the source must not be read as it is.
    pub fn refuse(&self) {
        self.mode(Mode::Refused);
    }

    /// From now on a read takes that long before it says anything.
    pub fn answer_after(&self, delay: Duration) {
        lock(&self.0.state).delay = delay;
    }

    /// From now on no read ends, until [`ScriptedSource::repair`].
    pub fn hang(&self) {
        self.mode(Mode::Hangs);
    }

    /// From now on every read answers for fewer names than were asked.
    pub fn answer_too_few(&self) {
        self.mode(Mode::AnswersTooFew);
    }

    /// From now on every read panics.
    pub fn panic(&self) {
        self.mode(Mode::Panics);
    }

    /// Reads work again, those that hang among them, and without delay. Silent otherwise.
    pub fn repair(&self) {
        self.answer_after(Duration::ZERO);
        self.mode(Mode::Works);
        self.0.repaired.notify_waiters();
    }

    /// From now on the source says that it never changes.
    pub fn make_static(&self) {
        lock(&self.0.state).is_static = true;
    }

    /// Hints that something changed.
    pub fn hint(&self) {
        self.0.notify.notify_one();
    }

    /// How many reads have begun.
    #[must_use]
    pub fn reads(&self) -> u64 {
        lock(&self.0.calls).len() as u64
    }

    /// Every read so far, in the order in which they began.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.0.calls).clone()
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = lock(&self.0.state);
        edit(state.values.get_mut(&name.parse::<Name>().unwrap()).expect("set it first"));
    }

    fn mode(&self, mode: Mode) {
        lock(&self.0.state).mode = mode;
    }

    fn answers(&self, names: &[Name]) -> Vec<Answer> {
        let state = lock(&self.0.state);
        let answer = |name: &Name| match state.values.get(name).cloned() {
            None => Answer::Missing,
            Some(value) => match value.current.and_then(Secret::new) {
                Err(reason) => Answer::Rejected(reason),
                Ok(current) => Answer::Found(Versions {
                    current,
                    previous: value.previous.map(|bytes| Secret::new(bytes).unwrap()),
                    id: value.id,
                    changed_at: value.changed_at,
                }),
            },
        };
        names.iter().map(answer).collect()
    }
}

impl Script {
    fn begin(&self) -> UnderWay<'_> {
        let mut calls = lock(&self.calls);
        calls.push(Call { began: Instant::now(), ended: None });
        UnderWay { calls: &self.calls, index: calls.len() - 1 }
    }
}

impl fmt::Debug for ScriptedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptedSource({})", self.0.kind)
    }
}

#[async_trait]
impl SecretSource for ScriptedSource {
    fn kind(&self) -> &'static str {
        self.0.kind
    }

    fn place(&self) -> String {
        format!("the {} script", self.0.kind)
    }

    fn is_static(&self) -> bool {
        lock(&self.0.state).is_static
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let _under_way = self.0.begin();
        let delay = lock(&self.0.state).delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        loop {
            let repaired = self.0.repaired.notified();
            let mode = lock(&self.0.state).mode;
            let place = self.place();
            match mode {
                Mode::Works => return Ok(self.answers(names)),
                Mode::Unreachable => {
                    return Err(SourceError::Unreachable { place, cause: "it is down".into() });
                }
                Mode::Denied => return Err(SourceError::Denied { place, cause: "403".into() }),
                Mode::Refused => {
                    let reason = "others may read it; run `chmod 600`".into();
                    return Err(SourceError::Refused { place, reason });
                }
                Mode::AnswersTooFew => return Ok(Vec::new()),
                Mode::Panics => panic!("a defect in a provider"),
                Mode::Hangs => repaired.await,
            }
        }
    }

    async fn changed(&self) {
        self.0.notify.notified().await;
    }
}

/// A time of day that moves with tokio's clock, also where that is paused. Call it in a runtime.
#[must_use]
pub fn wall_clock() -> WallClock {
    let begin = Instant::now();
    WallClock::new(move || wall_begin() + (Instant::now() - begin))
}

/// The time of day that [`wall_clock`] begins with: 2030-01-01T00:00:00Z.
#[must_use]
pub fn wall_begin() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

/// The default policy with [`wall_clock`].
#[must_use]
pub fn policy() -> Policy {
    Policy::new(wall_clock())
}

/// A keeper over `chain` that runs as long as the runtime, and its handle.
#[must_use]
pub fn keep(chain: Vec<Arc<dyn SecretSource>>, policy: Policy) -> crate::KeeperHandle {
    let (keeper, handle) = crate::Keeper::new(chain, policy);
    #[expect(clippy::disallowed_methods, reason = "a test's runtime ends with the test")]
    tokio::spawn(keeper.run(tokio_util::sync::CancellationToken::new()));
    handle
}

/// What every provider must do. Its test stores `first` and `second`, makes sure that `absent` is
/// nowhere, and calls this.
///
/// # Panics
/// When the provider does not conform.
pub async fn conforms(
    source: &dyn SecretSource,
    first: (&Name, &[u8]),
    second: (&Name, &[u8]),
    absent: &Name,
) {
    let names = [second.0.clone(), absent.clone(), first.0.clone()];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answers = source.read(&names).await.expect("reads what was stored");
        let [two, none, one] = &answers[..] else { panic!("one answer a name: {answers:?}") };
        let (one, two) = (found(one), found(two));
        assert_eq!(one.current.expose(), first.1, "in the order asked");
        assert_eq!(two.current.expose(), second.1, "in the order asked");
        assert!(matches!(none, Answer::Missing), "what is absent is Missing: {none:?}");
        for versions in [one, two] {
            assert!(!versions.id.is_empty(), "every value has a version id");
            for value in [first.1, second.1] {
                let value = String::from_utf8_lossy(value);
                assert!(!versions.id.contains(&*value), "no value in a version id");
            }
        }
        ids.push((one.id.clone(), two.id.clone()));
    }
    assert_eq!(ids[0], ids[1], "the version of what did not change does not change");
    assert!(source.read(&[]).await.expect("asked for nothing").is_empty());

    let twice = [first.0.clone(), first.0.clone()];
    let answers = source.read(&twice).await.expect("a name may be asked for twice");
    assert_eq!(answers.len(), 2);
    for answer in &answers {
        assert_eq!(found(answer).current.expose(), first.1);
    }

    assert!(!source.kind().is_empty() && !source.place().is_empty(), "it says what it is");
    let shown = format!("{source:?} {} {}", source.kind(), source.place());
    for value in [first.1, second.1] {
        let value = String::from_utf8_lossy(value);
        assert!(!shown.contains(&*value), "a value shows in: {shown}");
    }
    drops_hints_safely(source).await;
}

/// A `changed` may be dropped at any time; that must not panic, block or wear the source out.
async fn drops_hints_safely(source: &dyn SecretSource) {
    for _ in 0..8 {
        let hint = tokio::time::timeout(Duration::from_millis(1), source.changed());
        // Whether there is a hint is the source's business; this is about dropping it.
        hint.await.ok();
    }
}

fn found(answer: &Answer) -> &Versions {
    match answer {
        Answer::Found(versions) => versions,
        other => panic!("what was stored is Found, got {other:?}"),
    }
}
