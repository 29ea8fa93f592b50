//! What happens in a chat, as server-sent events.

use super::Shared;
use crate::{follow::Follow, story::Told};
use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::StreamExt;
use kit::Failure;
use prometheus_client::metrics::gauge::Gauge;
use proto::routd::{FeedEvent, LinkKind};
use serde::Deserialize;
use std::{convert::Infallible, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// How often a silent stream says that it is alive. Well below what proxies and browsers allow.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How soon a browser that lost the stream tries again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
pub struct EventsQuery {
    after: Option<i64>,
    #[serde(default)]
    topic: String,
}

/// `GET /chat/{token}/events`
pub async fn events(
    State(app): Shared,
    Path(token): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(query)) = query else {
        return Failure::bad_request("`after` is the id of an event of this stream")
            .into_response();
    };
    let (token, link) = match app.open(LinkKind::Chat, &token, &headers).await {
        Ok(opened) => opened,
        Err(instead) => return instead,
    };
    let Ok(permit) = app.streams.clone().try_acquire_owned() else {
        return Failure::unavailable("too many streams are open; try again shortly")
            .retry_after(Duration::from_secs(10))
            .into_response();
    };
    // A browser that reconnects knows better than the address it first used.
    let after = match last_event_id(&headers) {
        Some(Err(refusal)) => return refusal.into_response(),
        Some(Ok(id)) => Some(id),
        None => query.after,
    };
    let follow = Follow {
        routd: app.routd.clone(),
        links: app.links.clone(),
        token,
        link,
        topic: query.topic,
        after,
    };
    let open = Open::new(app.open_streams.clone(), permit);
    let first = Event::default().retry(RETRY).comment("this chat's events follow");
    let first = futures::stream::once(async move { Ok::<_, Infallible>(first) });
    let told = follow.events().map(move |event| {
        let _counted_while_it_lasts = &open;
        Ok(tell(event))
    });
    let stream = first.chain(told).take_until(app.stop.clone().cancelled_owned());
    let mut response =
        Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For other people's proxies before the edge.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    response
}

fn last_event_id(headers: &HeaderMap) -> Option<Result<i64, Failure>> {
    let id = headers.get("last-event-id")?;
    let cursor = id.to_str().ok().and_then(|id| id.trim().parse().ok());
    Some(cursor.ok_or_else(|| Failure::bad_request("Last-Event-ID is not an id of this stream")))
}

fn tell(event: FeedEvent) -> Event {
    let seq = event.seq;
    let told = Told::new(event);
    let named = Event::default().id(seq.to_string()).event(told.name());
    named.json_data(&told).unwrap_or_else(|error| {
        // Every field is text or a number, so this is a defect; the stream itself goes on.
        tracing::error!(%error, seq, "an event could not be written");
        Event::default().id(seq.to_string()).comment("an event could not be written")
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_last_event_id_is_a_number_or_a_refusal(
            id in prop_oneof!["-?[0-9]{0,25}", "[ -~]{0,20}", any::<i64>().prop_map(|n| n.to_string())]
        ) {
            let mut headers = HeaderMap::new();
            prop_assert!(last_event_id(&headers).is_none());
            headers.insert("last-event-id", HeaderValue::from_str(&id).unwrap());
            let read = last_event_id(&headers).expect("there is one");
            prop_assert_eq!(read.ok(), id.trim().parse::<i64>().ok());
        }

        #[test]
        fn an_id_of_any_bytes_is_refused_and_no_more(id in proptest::collection::vec(0x80..=0xff_u8, 1..40)) {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_bytes(&id).unwrap());
            prop_assert!(last_event_id(&headers).expect("there is one").is_err());
        }
    }
}
