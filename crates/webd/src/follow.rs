//! Following a chat: the feed's pages, one after the other, as a stream that outlives routd.

use crate::{
    links::{Links, NoLink, Opened, Token},
    routd::Routd,
    story::concerns,
};
use futures::Stream;
use proto::routd::{FeedEvent, FeedQuery};
use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};
use tokio::time::sleep;

/// How long one question to the feed waits for news, in seconds. A stream of a link that was
/// revoked ends within this time, and tells nothing until then.
const WAIT_SECONDS: u32 = 10;
/// Events asked for at once.
const PAGE: u32 = 200;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(3);

/// A chat that somebody listens to.
pub struct Follow {
    /// Where the feed is.
    pub routd: Routd,
    /// Who knows whether the link is still good.
    pub links: Arc<Links>,
    /// The link's token.
    pub token: Token,
    /// What it opens.
    pub link: Arc<Opened>,
    /// The topic listened to; empty for all.
    pub topic: String,
    /// What the listener has; `None` for the newest page.
    pub after: Option<i64>,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Follow({}, after {:?})", self.link.chat_jid, self.after)
    }
}

impl Follow {
    /// The events, in order, each once, without an end: until the link ends or routd refuses.
    pub fn events(self) -> impl Stream<Item = FeedEvent> {
        let state = (self, VecDeque::new(), PAUSE_FIRST);
        futures::stream::unfold(state, |(mut follow, mut ready, mut pause)| async move {
            loop {
                if let Some(event) = ready.pop_front() {
                    return Some((event, (follow, ready, pause)));
                }
                match follow.page().await {
                    Next::Events(events) => {
                        ready.extend(events);
                        pause = PAUSE_FIRST;
                    }
                    Next::Later => {
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_LONGEST);
                    }
                    Next::End => return None,
                }
            }
        })
    }

    async fn page(&mut self) -> Next {
        let query = FeedQuery {
            chat_jid: self.link.chat_jid.clone(),
            after: self.after,
            limit: Some(PAGE),
            wait_seconds: WAIT_SECONDS,
        };
        let page = match self.routd.feed(&query).await {
            Ok(page) => page,
            Err(error) if error.is_retryable() || error.is_unauthorized() => return Next::Later,
            Err(error) => {
                tracing::warn!(error = %kit::chain(&error), chat = %self.link.chat_jid, "a stream ends");
                return Next::End;
            }
        };
        // After the wait: what happened since must not be told to a link that has ended.
        match self.links.resolve(&self.token).await {
            Ok(link) if link.chat_jid == self.link.chat_jid => {}
            Ok(_) | Err(NoLink::Unknown) => return Next::End,
            // The page is asked for again, once it can be known whether it may be told.
            Err(NoLink::NotAsked(_)) => return Next::Later,
        }
        self.after = Some(page.cursor);
        let heard = page.events.into_iter().filter(|event| concerns(event, &self.topic));
        Next::Events(heard.collect())
    }
}

enum Next {
    Events(Vec<FeedEvent>),
    Later,
    End,
}
