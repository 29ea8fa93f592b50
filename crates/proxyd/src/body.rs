//! Bodies on their way through the edge: watched, never collected.

use crate::access::Entry;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Bytes that buy a slow sender one second more.
pub const BYTES_A_SECOND: u64 = 8192;
/// How long an answer may be silent once it has begun. Streams say that they are alive far more
/// often.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Why a request's body does not reach the daemon.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// It has more bytes than it may.
    #[error("the body is larger than the edge lets through")]
    TooLarge,
    /// It does not arrive, or too slowly.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The client is gone, or what it sends is not HTTP.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
}

/// A request's body, within its limits.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    left: u64,
    deadline: Pin<Box<Sleep>>,
    /// Told when the daemon has all of it.
    done: Arc<Notify>,
}

impl RequestBody {
    /// `inner`, of at most `max` bytes, within `time`.
    pub fn new(inner: Incoming, max: u64, time: Duration) -> Self {
        let deadline = Box::pin(sleep_until(Instant::now() + time));
        let body = Self { inner, left: max, deadline, done: Arc::default() };
        if body.inner.is_end_stream() {
            body.done.notify_one();
        }
        body
    }

    /// Tells when the daemon has all of it.
    pub fn done(&self) -> Arc<Notify> {
        self.done.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyFault::TooSlow)));
            }
        };
        let Some(frame) = frame else {
            self.done.notify_one();
            return Poll::Ready(None);
        };
        let frame = frame.map_err(BodyFault::Broken)?;
        // Trailers would reach the daemon unchecked, and nothing here has a use for them.
        let Ok(data) = frame.into_data() else {
            self.done.notify_one();
            return Poll::Ready(None);
        };
        let size = data.len() as u64;
        let Some(left) = self.left.checked_sub(size) else {
            return Poll::Ready(Some(Err(BodyFault::TooLarge)));
        };
        self.left = left;
        let later = self.deadline.deadline()
            + Duration::from_secs(1).mul_f64(size as f64 / BYTES_A_SECOND as f64);
        self.deadline.as_mut().reset(later);
        if self.inner.is_end_stream() {
            self.done.notify_one();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// The daemon broke off.
    #[error("the daemon's answer broke off")]
    Broken(#[source] hyper::Error),
    /// The daemon says nothing any more.
    #[error("the daemon's answer stopped for too long")]
    Silent,
}

/// An answer's body: counted, and logged when its end or the client's is reached.
#[derive(Debug)]
pub struct AnswerBody {
    inner: Inner,
    entry: Entry,
}

#[derive(Debug)]
enum Inner {
    /// The edge's own words.
    Own(Option<Bytes>),
    /// A daemon's.
    Relayed { body: Incoming, silence: Pin<Box<Sleep>> },
    /// A daemon's events: they end when the edge does, as an end and not as a break.
    Events {
        body: Incoming,
        silence: Pin<Box<Sleep>>,
        stop: Pin<Box<WaitForCancellationFutureOwned>>,
    },
}

impl AnswerBody {
    /// The edge's own words.
    pub fn own(text: String, entry: Entry) -> Self {
        let bytes = Some(Bytes::from(text)).filter(|bytes| !bytes.is_empty());
        Self { inner: Inner::Own(bytes), entry }
    }

    /// A daemon's answer.
    pub fn relayed(body: Incoming, entry: Entry) -> Self {
        Self { inner: Inner::Relayed { body, silence: silence() }, entry }
    }

    /// A daemon's events, until `stop`.
    pub fn events(body: Incoming, entry: Entry, stop: WaitForCancellationFutureOwned) -> Self {
        Self { inner: Inner::Events { body, silence: silence(), stop: Box::pin(stop) }, entry }
    }
}

fn silence() -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + SILENCE_MAX))
}

fn poll_relayed(
    body: &mut Incoming,
    silence: &mut Pin<Box<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
    match Pin::new(body).poll_frame(cx) {
        Poll::Ready(frame) => {
            silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            Poll::Ready(frame.map(|frame| frame.map_err(AnswerFault::Broken)))
        }
        Poll::Pending => {
            ready!(silence.as_mut().poll(cx));
            Poll::Ready(Some(Err(AnswerFault::Silent)))
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let frame = match &mut self.inner {
            Inner::Own(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Inner::Relayed { body, silence } => ready!(poll_relayed(body, silence, cx)),
            Inner::Events { body, silence, stop } => match poll_relayed(body, silence, cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(stop.as_mut().poll(cx));
                    None
                }
            },
        };
        match &frame {
            Some(Ok(frame)) => self.entry.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(fault)) => self.entry.broke(fault),
            None => self.entry.ended(),
        }
        if self.is_end_stream() {
            self.entry.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Own(bytes) => bytes.is_none(),
            Inner::Relayed { body, .. } | Inner::Events { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Inner::Relayed { body, .. } | Inner::Events { body, .. } => body.size_hint(),
        }
    }
}
