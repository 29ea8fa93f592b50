//! Traces reach a collector: one for a message, over every daemon that had a part in it, with nothing of what it says;
//! and none where nobody asked for any.

use super::adapters::place::{Place, random};
use crate::harness::{Suite, eventually, reply_of};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

/// A collector on loopback, which keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

/// A span, and whose it is.
#[derive(Clone, Debug)]
struct Seen {
    service: String,
    span: Span,
}

impl Seen {
    fn says(&self, key: &str) -> Option<String> {
        value(&self.span.attributes, key)
    }
}

fn value(of: &[KeyValue], key: &str) -> Option<String> {
    match of.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

impl Collector {
    /// Serves on this listener; its address.
    fn serve(&self, listener: TcpListener) -> String {
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let kept = self.clone();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let take = async |State(kept): State<Self>, headers: HeaderMap, body: Bytes| {
                    kept.0.lock().unwrap().push((headers, body));
                    StatusCode::OK
                };
                let app = Router::new().route("/v1/traces", post(take)).with_state(kept);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        url
    }

    fn on_any_port(&self) -> String {
        self.serve(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn posts(&self) -> Vec<(HeaderMap, Bytes)> {
        self.0.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for (headers, body) in self.posts() {
            assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
            let export = ExportTraceServiceRequest::decode(body).unwrap();
            for of in export.resource_spans {
                let resource = of.resource.unwrap().attributes;
                assert_eq!(value(&resource, "service.instance.id").as_deref(), Some("test"));
                let service = value(&resource, "service.name").unwrap();
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                all.extend(spans.map(|span| Seen { service: service.clone(), span }));
            }
        }
        all
    }

    /// The one span of this service and name in a trace, once it is there.
    fn span(&self, trace: &[u8], service: &str, name: &str) -> Seen {
        let is_it = |seen: &Seen| {
            seen.span.trace_id == trace && seen.service == service && seen.span.name == name
        };
        let found = eventually(&format!("`{name}` of {service} is told of"), || {
            let found: Vec<Seen> = self.spans().into_iter().filter(is_it).collect();
            (!found.is_empty()).then_some(found)
        });
        assert_eq!(found.len(), 1, "{found:#?}");
        found.into_iter().next().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_trace_from_its_arrival_to_its_platform_over_every_process() {
    let collector = Collector::default();
    let mut place = Place::new().await;
    place.suite.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.on_any_port());
    let (key, text, person) = (random(), format!("canary{}", random()), 4_242_424_242_i64);
    place.set(&[("OTEL_EXPORTER_OTLP_HEADERS", &format!("api-key={key},x-of=arizuko"))]);
    place.suite.start_apart();
    place.suite.restart("teled");
    place.suite.ok(&["route", "add", "--match", "", "--target", "main"]);
    place.give_tokens();
    place.telegram.says(person, &text);
    place.telegram.until("the answer", |it| it.texts(person) == [reply_of(&text)]).await;

    let arrival = eventually("its arrival is told of", || {
        let mut all = collector.spans().into_iter();
        all.find(|seen| seen.span.name == "POST /v1/messages" && seen.service == "routd")
    });
    let trace = arrival.span.trace_id.clone();
    let span = |service: &str, name: &str| collector.span(&trace, service, name);
    let (sent, delivery) = (span("teled", "POST /send"), span("routd", "delivery"));
    let (turn, agent) = (span("routd", "turn"), span("routd", "agent"));
    let (asked, run) = (span("runed", "POST /v1/runs"), span("runed", "run"));
    let (began, reply) = (span("routd", "GET /turn"), span("routd", "POST /turn/result"));
    assert!(arrival.span.parent_span_id.is_empty(), "it begins there: {arrival:?}");
    for (part, whole) in [
        (&turn, &arrival),
        (&asked, &turn),
        (&run, &asked),
        (&agent, &turn),
        (&began, &agent),
        (&reply, &agent),
        (&delivery, &turn),
        (&sent, &delivery),
    ] {
        assert_eq!(
            part.span.parent_span_id, whole.span.span_id,
            "{part:?} is no part of {whole:?}"
        );
        assert!(part.span.end_time_unix_nano >= part.span.start_time_unix_nano, "{part:?}");
    }
    assert_eq!(run.says("arizuko.outcome").as_deref(), Some("completed"));
    assert_eq!(delivery.says("arizuko.outcome").as_deref(), Some("sent"));
    assert_eq!(run.says("arizuko.turn.id"), turn.says("arizuko.turn.id"));

    // What the operator has of it names the same trace.
    let message = arrival.says("arizuko.message.id").unwrap();
    assert_eq!(turn.says("arizuko.message.id").as_ref(), Some(&message));
    let life = place.suite.json(&["trace", &message]).to_string();
    let id: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(life.contains(&format!("00-{id}-")), "{life}");

    // The headers are a secret: they rotate without a restart.
    let newer = random();
    place.set(&[("OTEL_EXPORTER_OTLP_HEADERS", &format!("api-key={newer}"))]);
    eventually("the new key is shown", || {
        place.telegram.says(person, &text);
        let posts = collector.posts();
        posts.iter().any(|(headers, _)| headers["api-key"] == *newer).then_some(())
    });
    let posts = collector.posts();
    assert!(
        posts.iter().all(|(headers, _)| headers["api-key"] == *key || headers["api-key"] == *newer)
    );

    // Nothing of what was said, of who said it, or of any secret is in what was sent.
    let mut never = vec![text, person.to_string(), "telegram:".into(), key, newer];
    never.extend(
        ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"].map(|name| place.suite.dotenv(name)),
    );
    never.extend([place.telegram.token(), "eyJ".into()]);
    for (_, body) in &posts {
        let body = String::from_utf8_lossy(body);
        for secret in &never {
            assert!(!body.contains(secret.as_str()), "`{secret}` was sent to the collector");
        }
    }
    place.none_is_shown();
}

#[test]
fn a_collector_that_is_away_holds_up_nothing_and_is_a_line_for_each_change() {
    // A port that nobody has, and that nobody else gets meanwhile.
    let mut suite = Suite::made();
    let at = format!("{}:4318", suite.address());
    suite.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{at}"));
    suite.start_up();
    let lines = |suite: &mut Suite, text: &str| {
        let log = suite.process("up").log_text();
        log.lines().filter(|line| line.contains(text) && line.contains("routd")).count()
    };
    for round in 0..3 {
        let text = format!("hello {round}");
        assert_eq!(suite.ok(&["ask", &text]).trim(), reply_of(&text));
        eventually("it is said once", || (lines(&mut suite, "takes no spans") == 1).then_some(()));
    }
    let collector = Collector::default();
    collector.serve(TcpListener::bind(&at).unwrap());
    eventually("it is back", || {
        suite.ok(&["ask", "and now"]);
        (lines(&mut suite, "takes spans again") == 1).then_some(())
    });
    assert!(
        collector.spans().iter().any(|seen| seen.service == "runed" && seen.span.name == "run")
    );
    assert_eq!(lines(&mut suite, "takes no spans"), 1, "no more than once");
    assert_eq!(suite.process("up").stop(), Some(0));
}

#[test]
fn where_no_collector_is_named_nobody_is_told() {
    // Where other programs would send it.
    let Ok(listener) = TcpListener::bind("127.0.0.1:4318") else {
        eprintln!("SKIPPED: something has the usual port of a collector");
        return;
    };
    let collector = Collector::default();
    collector.serve(listener);
    let suite = Suite::made();
    suite.edit_dotenv(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=0123456789abcdef")]);
    let mut suite = suite;
    suite.start_up();
    let answer = suite.json(&["ask", "hello"]);
    let life = suite.json(&["trace", answer["id"].as_str().unwrap()]).to_string();
    assert!(life.contains("turn.ended") && !life.contains("traced"), "{life}");
    assert_eq!(suite.process("up").stop(), Some(0));
    // What a daemon has to tell, it tells before it ends.
    assert!(collector.posts().is_empty(), "{:?}", collector.posts());
    let refused = suite.set("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318").fails(&["up"]);
    assert!(refused.0 == 78 && refused.1.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{refused:?}");
}
