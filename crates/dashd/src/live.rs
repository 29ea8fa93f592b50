//! Keeping a part of a page up to date, as server-sent events.
//!
//! Each event is the whole part, and replaces the one before it. A stream asks the owners again and again, with the
//! rights of whoever opened it; it ends before these do, and the browser opens another one, which shows whether they
//! are still there.

use crate::{
    trouble::Trouble,
    visit::{Answer, Outcome, Visit},
};
use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::StreamExt;
use kit::Failure;
use maud::{Markup, html};
use prometheus_client::metrics::gauge::Gauge;
use std::{convert::Infallible, future::Future, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a stream lasts: less than what it acts with.
const LASTS: Duration = Duration::from_secs(90);
/// How soon a browser opens the next one.
const AGAIN: Duration = Duration::from_millis(250);

/// A part of a page that a script keeps up to date from `source`. Without one it stays as it was loaded.
pub(crate) fn part(visit: &Visit, source: &str, label: &str, content: &Markup) -> Markup {
    html! {
        div.live hx-sse:connect=(source) hx-swap="innerMorph" hx-nonce=(visit.nonce())
            role="region" aria-label=(label) {
            (content)
        }
        noscript { p.quiet { "Without JavaScript this page is as of its load; load it again for news." } }
    }
}

/// One stream, while it lasts.
struct Stream<F> {
    visit: Visit,
    make: F,
    every: Duration,
    ends: Instant,
    last: String,
    is_first: bool,
    _open: Open,
}

/// Sends what `make` makes, now and whenever it is another.
pub(crate) fn follow<F, Fut>(visit: Visit, every: Duration, make: F) -> Outcome
where
    F: Fn(Visit) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Markup, Trouble>> + Send + 'static,
{
    let app = visit.app.clone();
    let Ok(permit) = app.streams.clone().try_acquire_owned() else {
        let failure = Failure::unavailable("too many pages are kept up to date; load it again");
        return Ok(Answer::Raw(failure.retry_after(Duration::from_secs(30)).into_response()));
    };
    let stream = Stream {
        visit,
        make,
        every,
        ends: Instant::now() + LASTS,
        last: String::new(),
        is_first: true,
        _open: Open::new(app.open_streams.clone(), permit),
    };
    let events = futures::stream::unfold(stream, next);
    let events = events.take_until(app.stop.clone().cancelled_owned());
    let keep = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(events).keep_alive(keep).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For other people's proxies before the edge.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    Ok(Answer::Raw(response))
}

async fn next<F, Fut>(mut stream: Stream<F>) -> Option<(Result<Event, Infallible>, Stream<F>)>
where
    F: Fn(Visit) -> Fut,
    Fut: Future<Output = Result<Markup, Trouble>>,
{
    loop {
        if !stream.is_first {
            tokio::time::sleep(stream.every).await;
        }
        if Instant::now() >= stream.ends {
            return None;
        }
        // Whatever is wrong, the next stream begins anew and shows it.
        let made = (stream.make)(stream.visit.clone()).await.ok()?.into_string();
        let first = std::mem::take(&mut stream.is_first);
        if made != stream.last {
            let event = Event::default().data(&made);
            let event = if first { event.retry(AGAIN) } else { event };
            stream.last = made;
            return Some((Ok(event), stream));
        }
    }
}

/// A stream's share of those that may be open, counted for as long as it lasts.
struct Open {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(gauge: Gauge, permit: OwnedSemaphorePermit) -> Self {
        gauge.inc();
        Self { gauge, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
