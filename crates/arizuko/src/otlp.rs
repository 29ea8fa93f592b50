//! Spans for an OpenTelemetry collector: OTLP over HTTP, as protobuf. Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set;
//! then every daemon sends its own.
//!
//! A daemon that ends a span puts it into a queue and goes on; what finds no room there is dropped. One task posts what
//! is in it. A collector that is away is one line in the log, and one more when it is back.
//!
//! The usual exporter is not used: it reads the environment by itself, needs a thread, and keeps its headers for good,
//! which may be a secret that rotates. The messages are those of `opentelemetry-proto`.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use kit::{
    AnySetting, Context, HttpClient, Setting, SettingError, Settings, StartError, TraceTo, parse,
    traces::{Ended, Fact, Kind, Told, TraceId},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use percent_encoding::percent_decode_str;
use prost::Message;
use proto::Daemon;
use secrets::{AnyBundle, Bundle, Malformed, Name, Need, Role, Secret, Values, Watched};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

/// Spans that wait to be sent; further ones are dropped.
const QUEUE: usize = 2_048;
/// Spans of one post.
const BATCH: usize = 512;
/// How long a first span waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// How long a post may take, and the last one, while the daemon ends.
const POST: Duration = Duration::from_secs(10);
const LAST_POST: Duration = Duration::from_secs(2);

/// Where the collector is.
pub static OTEL_EXPORTER_OTLP_ENDPOINT: Setting<Option<String>> = Setting {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    default: "",
    about: "The OpenTelemetry collector that is sent traces, by OTLP over HTTP as protobuf, at /v1/traces below this. Unset: nothing is sent.",
    expects: "an http or https address, without a password, such as http://127.0.0.1:4318",
    parse: |text| parse::optional(text, |text| parse::url(text).filter(|url| !url.contains('@'))),
};

/// How many traces are told of.
pub static OTEL_TRACES_SAMPLER_ARG: Setting<f64> = Setting {
    name: "OTEL_TRACES_SAMPLER_ARG",
    default: "1",
    about: "Which part of the traces that begin here is sent to the collector. Those that began elsewhere say it themselves.",
    expects: "a number from 0 to 1",
    parse: |text| text.parse().ok().filter(|part| (0.0..=1.0).contains(part)),
};

/// The settings that this reads.
pub const SETTINGS: &[&dyn AnySetting] = &[&OTEL_EXPORTER_OTLP_ENDPOINT, &OTEL_TRACES_SAMPLER_ARG];

const HEADERS: Name = Name::literal("OTEL_EXPORTER_OTLP_HEADERS");

/// What the collector is shown. Watched as one that may be absent.
static BUNDLE: Bundle<Headers> = Bundle {
    needs: const {
        &[Need::optional(HEADERS, "headers for the OpenTelemetry collector, such as its key")]
    },
    role: Role::Presents,
    parse: Headers::parse,
};

/// Who is told of spans, where a collector is named.
///
/// # Errors
/// A setting does not parse.
pub fn wanted(settings: &Settings) -> Result<Option<TraceTo>, SettingError> {
    let is_wanted = settings.get(&OTEL_EXPORTER_OTLP_ENDPOINT)?.is_some();
    Ok(is_wanted.then_some(|context| Box::pin(begin(context)) as _))
}

/// The secrets that each daemon needs for it, where a collector is named.
pub fn bundles(settings: &Settings) -> Option<&'static dyn AnyBundle> {
    let is_wanted = settings.get(&OTEL_EXPORTER_OTLP_ENDPOINT).is_ok_and(|url| url.is_some());
    is_wanted.then_some(&BUNDLE as _)
}

/// Whether a secret of this name is used here.
pub fn uses(name: &Name) -> bool {
    *name == HEADERS
}

async fn begin(context: Context) -> Result<Arc<dyn Told>, StartError> {
    let base = context.settings.get(&OTEL_EXPORTER_OTLP_ENDPOINT)?.unwrap_or_default();
    let part = context.settings.get(&OTEL_TRACES_SAMPLER_ARG)?;
    let headers = context.secrets.watch_optional(&BUNDLE).await?;
    let (queue, waiting) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let mut poster = Poster {
        http: kit::http_client()?,
        daemon: context.daemon,
        url: format!("{base}/v1/traces"),
        headers,
        resource: resource(&context),
        dropped: dropped.clone(),
        is_away: false,
    };
    let stop = context.stop.clone();
    context.tasks.spawn("traces", async move { poster.run(waiting, stop).await });
    Ok(Arc::new(Collector { queue, part, dropped }))
}

/// What a daemon tells of its spans.
#[derive(Debug)]
struct Collector {
    queue: Sender<Ended>,
    /// Which part of all traces is told of.
    part: f64,
    dropped: Arc<AtomicU64>,
}

impl Told for Collector {
    fn wants(&self, trace: TraceId) -> bool {
        // As every sampler of OpenTelemetry decides by the same part of the id.
        let [.., a, b, c, d, e, f, g, h] = trace;
        let low = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        #[expect(clippy::cast_precision_loss, reason = "a part of all is no more precise")]
        let place = low as f64 / (1_u64 << 63) as f64;
        // The highest ids are rounded up to one.
        self.part >= 1.0 || place < self.part
    }

    fn ended(&self, span: Ended) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Posts spans, one batch after the other.
struct Poster {
    http: HttpClient,
    daemon: Daemon,
    url: String,
    headers: Watched<Option<Headers>>,
    resource: Resource,
    dropped: Arc<AtomicU64>,
    is_away: bool,
}

impl Poster {
    async fn run(&mut self, mut waiting: Receiver<Ended>, stop: CancellationToken) {
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            tokio::select! {
                _ = waiting.recv_many(&mut batch, 1) => {}
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = stop.cancelled() => {}
            }
            take(&mut waiting, &mut batch);
            self.post(std::mem::take(&mut batch), POST).await;
        }
        // What is in flight while the daemon ends is told of too.
        tokio::time::sleep(GATHER).await;
        take(&mut waiting, &mut batch);
        if !batch.is_empty() {
            self.post(batch, LAST_POST).await;
        }
    }

    async fn post(&mut self, batch: Vec<Ended>, patience: Duration) {
        let count = batch.len() as u64;
        let body = export(&self.resource, batch).encode_to_vec();
        let mut call = self.http.post(&self.url).timeout(patience).body(body);
        if let Some(headers) = &*self.headers.current() {
            call = call.headers(headers.map());
        }
        call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let trouble = match call.send().await {
            Ok(answer) if answer.status().is_success() => None,
            // What it says of it may quote what it was shown.
            Ok(answer) => Some(format!("it answered {}", answer.status().as_u16())),
            Err(error) => Some(kit::chain(&error)),
        };
        if trouble.is_some() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
        match (trouble, self.is_away) {
            (Some(trouble), false) => {
                tracing::warn!(daemon = %self.daemon, collector = self.url, trouble, "the collector takes no spans; they are dropped");
                self.is_away = true;
            }
            (None, true) => {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                tracing::info!(daemon = %self.daemon, collector = self.url, dropped, "the collector takes spans again");
                self.is_away = false;
            }
            _ => {}
        }
    }
}

/// What waits, as far as one post takes it.
fn take(waiting: &mut Receiver<Ended>, batch: &mut Vec<Ended>) {
    while batch.len() < BATCH
        && let Ok(span) = waiting.try_recv()
    {
        batch.push(span);
    }
}

fn resource(context: &Context) -> Resource {
    let attributes = vec![
        text("service.namespace", "arizuko"),
        text("service.name", context.daemon.name()),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", context.instance.clone()),
    ];
    Resource { attributes, ..Resource::default() }
}

fn export(resource: &Resource, batch: Vec<Ended>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: "arizuko".into(), ..InstrumentationScope::default() };
    let spans = batch.into_iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(resource.clone());
    let of = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![of] }
}

fn span(ended: Ended) -> Span {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let kind = match ended.kind {
        Kind::Server => SpanKind::Server,
        Kind::Internal => SpanKind::Internal,
    };
    Span {
        trace_id: ended.trace.into(),
        span_id: ended.id.into(),
        parent_span_id: ended.parent.map(Vec::from).unwrap_or_default(),
        flags: 1,
        name: ended.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(ended.began),
        end_time_unix_nano: nanoseconds(ended.began + ended.took),
        attributes: ended.facts.into_iter().map(attribute).collect(),
        ..Span::default()
    }
}

fn attribute(fact: Fact) -> KeyValue {
    match fact {
        Fact::Message(id) => text("arizuko.message.id", id),
        Fact::Turn(id) => text("arizuko.turn.id", id),
        Fact::Attempt(number) => whole("arizuko.attempt", number.into()),
        Fact::Run(id) => text("arizuko.run.id", id),
        Fact::Delivery(id) => text("arizuko.delivery.id", id),
        Fact::Outcome(word) => text("arizuko.outcome", word),
        Fact::Status(status) => whole("http.response.status_code", status.into()),
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn whole(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Headers for the collector, as OpenTelemetry writes them: `name=value`, with commas between, each value
/// percent-encoded.
struct Headers(Arc<Secret>);

impl Headers {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let secret = values.require_shared(&HEADERS)?;
        let bad = || {
            Malformed(
                "it is not name=value, with commas between, each value percent-encoded".into(),
            )
        };
        let text = secret.text().map_err(|_| bad())?;
        let good = text.split(',').all(|pair| header(pair).is_some());
        good.then_some(()).ok_or_else(bad)?;
        Ok(Self(secret))
    }

    fn map(&self) -> HeaderMap {
        let text = self.0.text().unwrap_or_default();
        text.split(',').filter_map(header).collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers(..)")
    }
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value: Vec<u8> = percent_decode_str(value.trim()).collect();
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<HeaderMap, Malformed> {
        let secret = Arc::new(Secret::new(text.as_bytes().to_vec()).unwrap());
        Headers::parse(&Values::new([(&HEADERS, &secret)])).map(|headers| headers.map())
    }

    #[test]
    fn headers_are_read_as_others_write_them_and_refused_without_being_quoted() {
        let map = parsed("api-key=abc%3D%2C, authorization=Basic%20eHl6").unwrap();
        assert_eq!(map["api-key"], "abc=,");
        assert_eq!(map["authorization"], "Basic eHl6");
        assert!(map.values().all(HeaderValue::is_sensitive));
        for bad in ["swordfish", "a=1,swordfish", "swo rdfish=1", "a=swordfish%0A"] {
            let Malformed(reason) = parsed(bad).unwrap_err();
            assert!(!reason.contains("swordfish"), "{reason}");
        }
    }

    #[test]
    fn a_collector_with_a_password_in_its_address_is_refused() {
        let parse = OTEL_EXPORTER_OTLP_ENDPOINT.parse;
        assert_eq!(parse("http://127.0.0.1:4318/"), Some(Some("http://127.0.0.1:4318".into())));
        assert_eq!(parse(""), Some(None));
        for bad in ["http://a:b@127.0.0.1", "127.0.0.1:4318", "grpc://x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_part_of_the_traces_is_told_of_and_the_same_one_everywhere() {
        let (queue, _waiting) = mpsc::channel(1);
        let told = |part| Collector { queue: queue.clone(), part, dropped: Arc::default() };
        let id = |low: u64| {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&low.to_be_bytes());
            id
        };
        for (part, low, wanted) in
            [(1.0, u64::MAX, true), (0.0, 0, false), (0.5, 1 << 62, true), (0.5, 1 << 63, false)]
        {
            assert_eq!(told(part).wants(id(low)), wanted, "{part} {low:x}");
        }
    }
}
