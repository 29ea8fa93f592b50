//! One thing at a time for each chat, and all chats at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The chats in which something is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lanes(Arc<Mutex<HashMap<String, Weak<Turn<()>>>>>);

impl Lanes {
    /// Waits until nothing else is under way in `chat`, and keeps everything else out until it is dropped. First come,
    /// first served.
    pub(crate) async fn enter(&self, chat: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = lanes.get(chat).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                lanes.retain(|_, lane| lane.strong_count() > 0);
                let turn = Arc::new(Turn::new(()));
                lanes.insert(chat.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_chat_waits_for_itself_and_no_other() {
        let lanes = Lanes::default();
        let first = lanes.enter("a").await;
        assert!(lanes.enter("b").now_or_never().is_some());
        let mut second = Box::pin(lanes.enter("a"));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert!(second.now_or_never().is_some());
        drop(lanes.enter("c").await);
        let kept = lanes.0.lock().unwrap().len();
        assert!(kept <= 2, "lanes that nobody is in are forgotten: {kept}");
    }
}
