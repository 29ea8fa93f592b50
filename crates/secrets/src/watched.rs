//! Parsed secrets that may change while they are in use.

use crate::keeper::{Live, Set};
use arc_swap::ArcSwap;
use std::{fmt, sync::Arc};
use tokio::{sync::watch, time::Instant};

/// Most values accepted at once: the current one and those before it.
pub const ACCEPTED_MAX: usize = 4;

/// Most earlier values accepted.
pub(crate) const EARLIER_MAX: usize = ACCEPTED_MAX - 1;

/// One value of a bundle, and the secrets it was made from.
pub(crate) struct Entry<T> {
    pub(crate) value: Arc<T>,
    pub(crate) set: Arc<Set>,
    /// When it is accepted no more; `None` for the current one.
    pub(crate) until: Option<Instant>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), set: self.set.clone(), until: self.until }
    }
}

/// All that is accepted of one bundle at one time. Immutable; replaced by one pointer swap.
pub(crate) struct Published<T> {
    pub(crate) generation: u64,
    pub(crate) current: Entry<T>,
    /// Newest first, at most [`EARLIER_MAX`].
    pub(crate) earlier: Vec<Entry<T>>,
}

/// Where the readers of a bundle look.
pub(crate) struct Slot<T> {
    pub(crate) published: ArcSwap<Published<T>>,
    generation: watch::Sender<u64>,
    /// Counts the replacements, those that only change what else is accepted among them.
    edition: watch::Sender<u64>,
}

impl<T> Slot<T> {
    pub(crate) fn new(current: Entry<T>) -> Self {
        let first = Published { generation: 1, current, earlier: Vec::new() };
        Self {
            published: ArcSwap::from_pointee(first),
            generation: watch::Sender::new(1),
            edition: watch::Sender::new(1),
        }
    }

    /// When the next of the earlier values is accepted no more.
    fn next_end(&self) -> Option<Instant> {
        let now = Instant::now();
        let published = self.published.load();
        published.earlier.iter().filter_map(|entry| entry.until).filter(|until| *until > now).min()
    }

    /// Replaces what is published. The caller holds the lock of the bundle's state.
    pub(crate) fn put(&self, generation: u64, current: Entry<T>, earlier: Vec<Entry<T>>) {
        self.published.store(Arc::new(Published { generation, current, earlier }));
        // After the swap, so that whoever is woken sees the new value.
        self.generation
            .send_if_modified(|known| std::mem::replace(known, generation) != generation);
        self.edition.send_modify(|edition| *edition += 1);
    }
}

/// The live value of a bundle of secrets, parsed as `T`. Cheap to clone.
///
/// Hold this, never the `T`: a `T` kept from one request to the next is a rotation that does not
/// happen.
pub struct Watched<T: 'static> {
    pub(crate) slot: Arc<Slot<T>>,
    pub(crate) live: Arc<Live<T>>,
    seen: watch::Receiver<u64>,
    edition: watch::Receiver<u64>,
    /// When the next earlier value ends, as of the last [`Watched::accepted_changed`].
    end: Option<Instant>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    pub(crate) fn new(slot: Arc<Slot<T>>, live: Arc<Live<T>>) -> Self {
        let (seen, edition) = (slot.generation.subscribe(), slot.edition.subscribe());
        let end = slot.next_end();
        Self { slot, live, seen, edition, end }
    }

    /// The value to use for whatever is presented or opened. One atomic load: no lock, no
    /// allocation.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.slot.published.load().current.value.clone()
    }

    /// The values to accept from others, all as of one moment: the current one, then those before
    /// it whose overlap has not ended, newest first, [`ACCEPTED_MAX`] in all.
    #[must_use]
    pub fn accepted(&self) -> Accepted<T> {
        Accepted { published: self.slot.published.load_full(), now: Instant::now(), at: 0 }
    }

    /// Counts the values of this bundle, from 1. A value that comes back counts again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.slot.published.load().generation
    }

    /// The current value with its generation, as of one moment.
    #[must_use]
    pub fn versioned(&self) -> (u64, Arc<T>) {
        let published = self.slot.published.load();
        (published.generation, published.current.value.clone())
    }

    /// Waits for a generation that this `Watched` has not waited for yet. A clone begins where its
    /// original is.
    pub async fn changed(&mut self) {
        // The sender lives in the slot that `self` holds, so this cannot fail.
        self.seen.changed().await.ok();
    }

    /// Waits until [`Watched::accepted`] may give something else than at the last return of this: a
    /// new value, a previous value that has come to light, the end of an overlap. For whoever keeps
    /// something for each accepted value, such as a wrapped key.
    pub async fn accepted_changed(&mut self) {
        let end = self.end;
        let ended = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // As above.
            _ = self.edition.changed() => {}
            () = ended => {}
        }
        self.end = self.slot.next_end();
    }

    /// Waits until the generation is `generation` or a later one.
    pub async fn reached(&mut self, generation: u64) {
        // As above.
        self.seen.wait_for(|known| *known >= generation).await.ok();
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
            live: self.live.clone(),
            seen: self.seen.clone(),
            edition: self.edition.clone(),
            end: self.end,
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched(generation {})", self.slot.published.load().generation)
    }
}

/// The values accepted at one moment. An iterator; holds no lock.
pub struct Accepted<T> {
    published: Arc<Published<T>>,
    now: Instant,
    at: usize,
}

impl<T> Accepted<T> {
    /// The generation of the first of them.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.published.generation
    }

    pub(crate) fn next_entry(&mut self) -> Option<&Entry<T>> {
        loop {
            let at = self.at;
            self.at += 1;
            if at == 0 {
                return Some(&self.published.current);
            }
            let entry = self.published.earlier.get(at - 1)?;
            if entry.until > Some(self.now) {
                // Looked up again: a borrow that ends in a loop's `return` is not yet understood.
                return self.published.earlier.get(at - 1);
            }
        }
    }

    pub(crate) fn current_set(&self) -> &Set {
        &self.published.current.set
    }
}

impl<T> Iterator for Accepted<T> {
    type Item = Arc<T>;

    fn next(&mut self) -> Option<Arc<T>> {
        self.next_entry().map(|entry| entry.value.clone())
    }
}

impl<T> fmt::Debug for Accepted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accepted(generation {})", self.published.generation)
    }
}
