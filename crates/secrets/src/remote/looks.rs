//! One look at a server for all who ask.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::sync::{Mutex, MutexGuard};

/// What a client knows of a server, and what its last look came to. Whoever asks while a look is under way is answered
/// by that look, however many they are; whoever asks after it makes the next.
#[derive(Debug)]
pub struct Looks<S, T> {
    inside: Mutex<Inside<S, T>>,
    /// Looks that have ended.
    ended: AtomicU64,
}

#[derive(Debug)]
struct Inside<S, T> {
    state: S,
    outcome: Option<T>,
}

/// One asker's turn at the state, which nobody else has meanwhile.
#[derive(Debug)]
pub struct Look<'a, S, T> {
    inside: MutexGuard<'a, Inside<S, T>>,
    ended: &'a AtomicU64,
    /// Whether a look ended while this one waited.
    others: bool,
    /// Whether that look's outcome was taken for this one's.
    is_shared: bool,
}

impl<S, T: Clone> Looks<S, T> {
    /// Before the first look.
    pub fn new(state: S) -> Self {
        Self { inside: Mutex::new(Inside { state, outcome: None }), ended: AtomicU64::new(0) }
    }

    /// Waits for the look that is under way, if there is one.
    pub async fn enter(&self) -> Look<'_, S, T> {
        let before = self.ended.load(Ordering::SeqCst);
        let inside = self.inside.lock().await;
        let others = self.ended.load(Ordering::SeqCst) != before;
        Look { inside, ended: &self.ended, others, is_shared: false }
    }
}

impl<S, T: Clone> Look<'_, S, T> {
    /// What a look came to that ended while this one waited. The last outcome is let go of either way, so that
    /// nothing but the state refers to what the look may change.
    pub fn of_others(&mut self) -> Option<T> {
        let outcome = self.inside.outcome.take().filter(|_| self.others);
        self.is_shared = outcome.is_some();
        outcome
    }

    /// Ends this look, with what all who wait are answered.
    pub fn end(mut self, outcome: T) -> T {
        if !self.is_shared {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
        self.inside.outcome.insert(outcome).clone()
    }
}

impl<S, T> Deref for Look<'_, S, T> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.inside.state
    }
}

impl<S, T> DerefMut for Look<'_, S, T> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.inside.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn who_waits_for_a_look_is_answered_by_it_and_who_comes_later_looks_again() {
        let looks = Arc::new(Looks::<u32, u32>::new(0));
        let mut first = looks.enter().await;
        assert_eq!(first.of_others(), None);
        let (here, mut waiting) = (Arc::new(AtomicU64::new(0)), tokio::task::JoinSet::new());
        for _ in 0..100 {
            let (looks, here) = (looks.clone(), here.clone());
            waiting.spawn(async move {
                here.fetch_add(1, Ordering::SeqCst);
                let mut look = looks.enter().await;
                match look.of_others() {
                    Some(outcome) => look.end(outcome),
                    None => {
                        *look += 1;
                        let made = *look;
                        look.end(made)
                    }
                }
            });
        }
        // All of them stand at the door before it opens: nothing lies between being here and waiting.
        while here.load(Ordering::SeqCst) < 100 {
            tokio::task::yield_now().await;
        }
        *first += 1;
        assert_eq!(first.end(1), 1);
        assert_eq!(waiting.join_all().await, [1; 100]);
        let mut later = looks.enter().await;
        assert_eq!(later.of_others(), None, "an old outcome was given to who came after it");
        assert_eq!(*later, 1, "somebody looked again");
    }
}
