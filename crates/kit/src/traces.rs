//! Traces: what one message causes, over all daemons, as a tree of spans (W3C Trace Context).
//!
//! A daemon makes spans only where somebody is told of them ([`Traces::tell`]); everywhere else a
//! [`Span`] is nothing and costs a look at an empty cell. Who is told lives in the program, so that
//! no daemon knows a telemetry library.
//!
//! What a span says of itself is a [`Fact`]: ids, counts and words of ours. There is no way to put a
//! text, a person or a secret into one. Its name is a route's pattern, never a path.
//!
//! The span of what is going on is the task's ([`Span::current`]): [`Span::around`] sets it, the
//! server does that for each request, and calls to peers carry it on as `traceparent`.

use crate::Clock;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proto::{Daemon, Method, Route, routd::POST_MESSAGE};
use std::{
    borrow::Cow,
    fmt,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// W3C Trace Context, section 3.2.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: Span;
}

/// Who is told of spans.
pub trait Told: Send + Sync + fmt::Debug {
    /// Whether a trace that begins here is told of. One that began elsewhere says it itself.
    fn wants(&self, trace: TraceId) -> bool;

    /// A span has ended. Must not wait.
    fn ended(&self, span: Ended);
}

/// The id of a trace.
pub type TraceId = [u8; 16];
/// The id of a span.
pub type SpanId = [u8; 8];

/// Something that a span says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The id of a message, which `arizuko trace` takes.
    Message(String),
    /// The id of a turn.
    Turn(String),
    /// Which attempt at a turn, from 1.
    Attempt(u32),
    /// The id of a run.
    Run(String),
    /// The id under which a message is handed to its platform.
    Delivery(String),
    /// How it ended, in a word of ours.
    Outcome(&'static str),
    /// The status of an answer.
    Status(u16),
}

/// What a span is to whoever looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that was answered.
    Server,
    /// Anything else.
    Internal,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose.
    pub daemon: Daemon,
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What it is.
    pub kind: Kind,
    /// Of which trace.
    pub trace: TraceId,
    /// Which.
    pub id: SpanId,
    /// What it belongs to; nothing where the trace begins with it.
    pub parent: Option<SpanId>,
    /// When it began, since 1970.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// What it says of itself.
    pub facts: Vec<Fact>,
}

/// What a daemon makes its spans with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traces {
    daemon: Daemon,
    clock: Clock,
    told: Arc<OnceLock<Arc<dyn Told>>>,
}

impl Traces {
    /// Those of `daemon`, of which nobody is told yet.
    pub fn new(daemon: Daemon, clock: Clock) -> Self {
        Self { daemon, clock, told: Arc::default() }
    }

    /// Tells `told` of every span from now on. The first counts.
    pub fn tell(&self, told: Arc<dyn Told>) {
        let _second = self.told.set(told).is_err();
    }

    /// Whether somebody is told.
    pub fn are_told(&self) -> bool {
        self.told.get().is_some()
    }

    /// A part of what is going on in this task; nothing where that is nothing.
    pub fn part(&self, name: &'static str) -> Span {
        self.part_of(&Span::current(), name)
    }

    /// A part of `whole`; nothing where that is nothing.
    pub fn part_of(&self, whole: &Span, name: &'static str) -> Span {
        match whole.context() {
            Some(context) => self.make(name.into(), Kind::Internal, Some(context)),
            None => Span::default(),
        }
    }

    /// What goes on from the span that `traceparent` names, or begins a trace where there is none.
    pub fn go_on(&self, name: &'static str, traceparent: Option<&str>) -> Span {
        self.make(name.into(), Kind::Internal, traceparent.and_then(Context::parse))
    }

    /// A request at the edge, which goes on from the client's own span where it says one.
    pub fn at_the_edge(&self, name: String, headers: &HeaderMap) -> Span {
        self.make(name.into(), Kind::Server, Context::of(headers))
    }

    /// The span of one request: a part of what the caller says, or of `socket` on a private socket. A trace begins
    /// where a message arrives. What only looks is no step of a message.
    pub(crate) fn of_request(
        &self,
        route: Route,
        headers: &HeaderMap,
        socket: Option<&Span>,
    ) -> Span {
        if !self.are_told() {
            return Span::default();
        }
        let parent = match socket {
            Some(span) => span.context(),
            None if route.method == Method::Get => return Span::default(),
            None => Context::of(headers),
        };
        let begins = socket.is_none() && route.path == POST_MESSAGE.route.path;
        if parent.is_none() && !begins {
            return Span::default();
        }
        let name = format!("{} {}", route.method.name(), route.path);
        self.make(name.into(), Kind::Server, parent)
    }

    fn make(&self, name: Cow<'static, str>, kind: Kind, parent: Option<Context>) -> Span {
        let Some(told) = self.told.get() else { return Span::default() };
        let trace =
            parent.map_or_else(|| (rand::random::<u128>() | 1).to_be_bytes(), |of| of.trace);
        let sampled = parent.map_or_else(|| told.wants(trace), |of| of.sampled);
        let span = (rand::random::<u64>() | 1).to_be_bytes();
        let open = sampled.then(|| Open {
            told: told.clone(),
            since: Instant::now(),
            ended: Ended {
                daemon: self.daemon,
                name,
                kind,
                trace,
                id: span,
                parent: parent.map(|of| of.span),
                began: Duration::from_millis(self.clock.now().0.try_into().unwrap_or_default()),
                took: Duration::ZERO,
                facts: Vec::new(),
            },
        });
        let context = Context { trace, span, sampled };
        Span(Some(Arc::new(Live { context, open: Mutex::new(open) })))
    }
}

/// Something that takes time, or nothing. It ends with [`Span::end`], or with its last clone.
#[derive(Clone, Debug, Default)]
pub struct Span(Option<Arc<Live>>);

#[derive(Debug)]
struct Live {
    context: Context,
    /// Nothing once it has ended, and where the trace is not told of.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    told: Arc<dyn Told>,
    since: Instant,
    ended: Ended,
}

impl Span {
    /// What is going on in this task.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Whether somebody is told of it.
    pub fn is_told(&self) -> bool {
        self.0.as_ref().is_some_and(|live| live.context.sampled)
    }

    /// How it is named to whoever goes on from it.
    pub fn traceparent(&self) -> Option<String> {
        self.context().map(|context| context.to_string())
    }

    /// Does `work` as a part of it.
    pub async fn around<F: Future>(&self, work: F) -> F::Output {
        match &self.0 {
            Some(_) => CURRENT.scope(self.clone(), work).await,
            None => work.await,
        }
    }

    /// Has it say this of itself.
    pub fn say(&self, fact: Fact) {
        if let Some(live) = &self.0
            && let Some(open) = live.open().as_mut()
        {
            open.ended.facts.push(fact);
        }
    }

    /// Ends it, whoever else has it.
    pub fn end(&self) {
        if let Some(live) = &self.0 {
            live.end();
        }
    }

    fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|live| live.context)
    }
}

impl Live {
    fn open(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let Some(Open { told, since, mut ended }) = self.open().take() else { return };
        ended.took = since.elapsed();
        told.ended(ended);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

/// The header that has a peer go on from this task's span.
pub(crate) fn carried() -> Option<HeaderValue> {
    let text = CURRENT.try_with(Span::traceparent).ok().flatten()?;
    HeaderValue::from_str(&text).ok()
}

/// Which span of which trace, and whether the trace is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Context {
    trace: TraceId,
    span: SpanId,
    sampled: bool,
}

impl Context {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    /// `version-trace-parent-flags` in lower-case hexadecimal (W3C Trace Context, section 3.2).
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let ["00", trace, span, flags] = parts[..] else { return None };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let (mut of, mut id, mut bits) = ([0; 16], [0; 8], [0; 1]);
        hex::decode_to_slice(trace, &mut of).ok()?;
        hex::decode_to_slice(span, &mut id).ok()?;
        hex::decode_to_slice(flags, &mut bits).ok()?;
        let named = of != [0; 16] && id != [0; 8];
        named.then_some(Self { trace: of, span: id, sampled: bits[0] & 1 == 1 })
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", hex::encode(self.trace), hex::encode(self.span))
    }
}

/// The spans of a private socket: what is done there is a part of one span, which begins with the first call.
#[derive(Clone, Debug)]
pub(crate) struct OnSocket {
    traces: Traces,
    whole: Span,
    name: &'static str,
    own: Arc<OnceLock<Span>>,
}

impl OnSocket {
    pub(crate) fn new(traces: &Traces, whole: &Span, name: &'static str) -> Self {
        Self { traces: traces.clone(), whole: whole.clone(), name, own: Arc::default() }
    }

    pub(crate) fn span(&self) -> &Span {
        self.own.get_or_init(|| self.traces.part_of(&self.whole, self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;

    #[derive(Debug)]
    struct Heard(Mutex<Vec<Ended>>, bool);

    impl Told for Heard {
        fn wants(&self, _: TraceId) -> bool {
            self.1
        }
        fn ended(&self, span: Ended) {
            self.0.lock().unwrap().push(span);
        }
    }

    fn traces(wants: bool) -> (Traces, Arc<Heard>) {
        let traces = Traces::new(Daemon::Routd, Clock::manual(Timestamp(1_000)));
        let heard = Arc::new(Heard(Mutex::default(), wants));
        traces.tell(heard.clone());
        (traces, heard)
    }

    fn headers(traceparent: &str) -> HeaderMap {
        [(TRACEPARENT, HeaderValue::from_str(traceparent).unwrap())].into_iter().collect()
    }

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[tokio::test]
    async fn what_is_done_below_a_request_hangs_together_and_goes_on_in_the_peer() {
        let (traces, heard) = traces(true);
        let route = POST_MESSAGE.route;
        let request = traces.of_request(route, &headers(GIVEN), None);
        request.say(Fact::Status(200));
        let carried = request
            .around(async {
                let part = traces.part("part");
                let carried = part.around(async { carried() }).await;
                assert_eq!(carried, part.traceparent().map(|text| text.parse().unwrap()));
                carried.unwrap()
            })
            .await;
        request.end();
        request.say(Fact::Status(500));
        assert!(Span::current().context().is_none(), "it is over");
        let all = heard.0.lock().unwrap();
        let [part, request] = &all[..] else { panic!("{all:?}") };
        assert_eq!(hex::encode(request.trace), &GIVEN[3..35]);
        assert_eq!(request.parent.map(hex::encode).as_deref(), Some(&GIVEN[36..52]));
        assert_eq!(
            (&*request.name, &request.facts[..]),
            ("POST /v1/messages", &[Fact::Status(200)][..])
        );
        assert_eq!((part.trace, part.parent), (request.trace, Some(request.id)));
        assert!(carried.to_str().unwrap().contains(&hex::encode(part.id)), "{carried:?}");
    }

    #[test]
    fn a_trace_begins_with_a_message_and_with_nothing_else_that_is_asked() {
        let (traces, heard) = traces(true);
        drop(traces.of_request(POST_MESSAGE.route, &HeaderMap::new(), None));
        let other = proto::runed::START_RUN.route;
        drop(traces.of_request(other, &HeaderMap::new(), None));
        drop(traces.of_request(proto::runed::GET_RUN.route, &headers(GIVEN), None));
        drop(traces.part("of nothing"));
        let names: Vec<_> = heard.0.lock().unwrap().iter().map(|span| span.name.clone()).collect();
        assert_eq!(names, ["POST /v1/messages"]);
    }

    #[test]
    fn nobody_is_told_of_what_nobody_wants_and_peers_learn_that() {
        let off = Traces::new(Daemon::Routd, Clock::real());
        let span = off.of_request(POST_MESSAGE.route, &headers(GIVEN), None);
        assert!(span.context().is_none(), "nobody is told");
        let (traces, heard) = traces(false);
        let unwanted = traces.of_request(POST_MESSAGE.route, &HeaderMap::new(), None);
        assert!(unwanted.traceparent().unwrap().ends_with("-00"));
        assert!(!unwanted.is_told());
        let unsampled = GIVEN.replace("-01", "-00");
        let given = traces.of_request(POST_MESSAGE.route, &headers(&unsampled), None);
        drop((traces.part_of(&unwanted, "part"), traces.part_of(&given, "part"), unwanted, given));
        assert!(heard.0.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        assert!(Context::parse(GIVEN).is_some());
        for bad in [
            "",
            "00-0-0-0",
            &GIVEN.replace("4bf9", "4BF9"),
            &format!("{GIVEN}-x"),
            &GIVEN.replace("00-4b", "01-4b"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(Context::parse(bad), None, "{bad}");
        }
    }
}
