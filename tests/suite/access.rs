//! Every endpoint of every daemon, tried by somebody who may not: refused, and written down.
//!
//! The endpoints are those that `proto` and the daemons list, and each daemon's own document must
//! not say more: an endpoint for which there is no rule here fails the test.

pub mod audited;
mod links;
pub mod mint;
mod tenants;
mod turns;

use crate::harness::Suite;
use ::kit::testing::TestAuthority;
use audited::Refused;
use auth::{Kind, service_scopes};
use mint::Mint;
use proto::{Daemon, Method, Needs, Route, authd, kit, onbod, routd, runed, turn};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};

const EVERYWHERE: &[Route] = &[
    kit::HEALTH.route,
    kit::READY.route,
    kit::SECRETS.route,
    kit::REFRESH_SECRETS.route,
    kit::FORGET_SECRET.route,
];

/// Who tries: an address of its own, to be found in the audit.
const FROM: &str = "127.0.0.77";

/// What routd asks of every adapter.
const OF_ADAPTERS: &[Route] = &[
    routd::SEND.route,
    routd::EDIT.route,
    routd::DELETE.route,
    routd::REACT.route,
    routd::TYPING.route,
    routd::ADAPTER_FILE,
];

fn routes(daemon: Daemon) -> Vec<Route> {
    let own: [&[Route]; 2] = match daemon {
        Daemon::Authd => [authd::ROUTES, &[]],
        Daemon::Routd => [routd::ROUTES, &[]],
        Daemon::Runed => [runed::ROUTES, &[]],
        Daemon::Onbod => [onbod::ROUTES, &[]],
        Daemon::Webd => [webd::ROUTES, &[]],
        Daemon::Dashd => [dashd::ROUTES, &[]],
        Daemon::Teled => [OF_ADAPTERS, teled::ROUTES],
        Daemon::Slakd => {
            let own = [OF_ADAPTERS, slakd::ROUTES, &[routd::HISTORY.route]].concat();
            return [EVERYWHERE, &own].concat();
        }
        _ => [&[], &[]],
    };
    [EVERYWHERE, own[0], own[1]].concat()
}

fn verb(route: &Route) -> reqwest::Method {
    match route.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn client(from: &str) -> reqwest::Client {
    let from: IpAddr = from.parse().unwrap();
    let builder = reqwest::Client::builder().no_proxy().local_address(from);
    builder
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// One credential, and what is to be said of it.
struct Shown {
    bearer: Option<String>,
    status: u16,
    reason: &'static str,
    subject: String,
}

fn shown(bearer: Option<String>, reason: &'static str, subject: &str) -> Shown {
    Shown { bearer, status: 401, reason, subject: subject.to_owned() }
}

/// Where everybody is tried, and what comes of it.
struct Field {
    mint: Mint,
    addresses: Vec<(Daemon, String)>,
    /// Each daemon's own token for all others, as authd mints it.
    services: Vec<(Daemon, String)>,
    /// Secrets that are good for something else.
    elsewhere: Vec<String>,
}

impl Field {
    async fn of(suite: &Suite) -> Self {
        let status = suite.json(&["status"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let daemons = status["daemons"].as_array().unwrap();
        let addresses: Vec<(Daemon, String)> = daemons
            .iter()
            .map(|of| (text(&of["daemon"]).parse().unwrap(), text(&of["address"])))
            .collect();
        let key = suite.dotenv("AUTHD_SERVICE_KEY");
        let authd = &addresses.iter().find(|(daemon, _)| *daemon == Daemon::Authd).unwrap().1;
        let mut services = Vec::new();
        for daemon in Daemon::ALL {
            let request = client(FROM).post(format!("{authd}/v1/service-token")).bearer_auth(&key);
            let answer = request.json(&json!({ "daemon": daemon })).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let answer: Value = answer.json().await.unwrap();
            services.push((daemon, text(&answer["token"])));
        }
        let elsewhere = vec![key, suite.dotenv("SECRETS_KEY"), suite.dotenv("CHANNEL_SECRET")];
        Self { mint: Mint::of(suite), addresses, services, elsewhere }
    }

    fn address(&self, daemon: Daemon) -> &str {
        &self.addresses.iter().find(|(known, _)| *known == daemon).unwrap().1
    }

    /// Tokens at `daemon` with which one thing is wrong.
    fn spoilt(&self, daemon: Daemon) -> Vec<Shown> {
        let other = if daemon == Daemon::Routd { Daemon::Authd } else { Daemon::Routd };
        let (mint, operator) = (&self.mint, "operator:local");
        let good = mint.operator(daemon, |_, _| {});
        // In the middle of the signature: its last letter has bits that nobody reads.
        let (body, signature) = good.rsplit_once('.').unwrap();
        let letter = if signature.as_bytes()[40] == b'A' { "B" } else { "A" };
        let forged = format!("{body}.{}{letter}{}", &signature[..40], &signature[41..]);
        let unsigned =
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", body.split_once('.').unwrap().1);
        let stranger = TestAuthority::new(::kit::Clock::real()).operator();
        vec![
            shown(Some(stranger), "key", "anonymous"),
            shown(Some(unsigned), "malformed", "anonymous"),
            shown(Some(forged), "signature", "anonymous"),
            shown(Some(mint.operator(daemon, |c, now| c.exp = now - 6)), "expired", operator),
            shown(Some(mint.operator(daemon, |c, now| c.iat = now + 280)), "not_yet", operator),
            shown(
                Some(mint.operator(daemon, |c, now| c.nbf = Some(now + 280))),
                "not_yet",
                operator,
            ),
            shown(
                Some(mint.operator(daemon, |c, _| c.iss = auth::issuer("other"))),
                "issuer",
                "anonymous",
            ),
            shown(
                Some(mint.operator(daemon, |c, _| c.aud = vec![other.name().into()])),
                "audience",
                operator,
            ),
            shown(Some(mint.of_kind("refresh", daemon)), "kind", operator),
            // An operator's, as if it were a daemon's.
            shown(Some(mint.of_kind("service", daemon)), "malformed", operator),
            // The service key was forgotten since: see `begin`.
            shown(
                Some(mint.token("service:webd", Kind::Service, daemon, |c, _| c.epoch = 0)),
                "ended",
                "service:webd",
            ),
        ]
    }

    /// What is shown at one route, by somebody who may not.
    fn credentials(&self, daemon: Daemon, route: &Route) -> Vec<Shown> {
        let (scope, by_secret) = match route.needs {
            Needs::Scope(scope) => (scope, false),
            Needs::ScopeOrSecret(scope, "CHANNEL_SECRET") => (scope, true),
            // Tried in `service_keys` and `links`.
            Needs::Nobody => return Vec::new(),
            Needs::Secret(_) if route.path == authd::SERVICE_TOKEN.route.path => return Vec::new(),
            needs => panic!("nobody tries {} {}, which needs {needs:?}", daemon, route.path),
        };
        let wrong = if by_secret { "secret" } else { "malformed" };
        let mut all = self.spoilt(daemon);
        all.push(shown(None, "none", "anonymous"));
        all.push(shown(Some("guess-guess-guess-guess".into()), wrong, "anonymous"));
        let secrets = self.elsewhere.iter().filter(|s| !by_secret || **s != self.elsewhere[2]);
        all.extend(secrets.map(|secret| shown(Some(secret.clone()), wrong, "anonymous")));
        for (service, token) in &self.services {
            if !service_scopes(*service).iter().any(|held| held.covers(scope)) {
                let (bearer, subject) = (Some(token.clone()), service.subject());
                all.push(Shown { bearer, status: 403, reason: "scope", subject });
            }
        }
        all
    }

    /// Tries every route of `daemon`; what is to be found in the audit.
    async fn tried(&self, daemon: Daemon) -> (usize, BTreeSet<Refused>, BTreeSet<String>) {
        let http = client(FROM);
        let (mut tried, mut wanted, mut used) = (0, BTreeSet::new(), BTreeSet::new());
        for route in routes(daemon) {
            let path = route.path.replace("{id}", "x1");
            for shown in self.credentials(daemon, &route) {
                let mut request =
                    http.request(verb(&route), format!("{}{path}", self.address(daemon)));
                if let Some(bearer) = &shown.bearer {
                    request = request.bearer_auth(bearer);
                    used.insert(bearer.clone());
                }
                // Who is let in after all does nothing with half a document.
                let answer = request.body("{").send().await.unwrap();
                let place = format!("{daemon} {} {path}, {}", route.method.name(), shown.reason);
                refused(answer, shown.status, &place).await;
                tried += 1;
                wanted.insert(Refused {
                    daemon: daemon.to_string(),
                    subject: shown.subject,
                    route: format!("{} {}", route.method.name(), route.path),
                    status: shown.status,
                    reason: shown.reason.to_owned(),
                    from: FROM.to_owned(),
                });
            }
        }
        (tried, wanted, used)
    }

    /// What is served on a private socket is not there for anybody else.
    async fn sockets_only(&self) -> usize {
        let mut tried = 0;
        for (daemon, address) in &self.addresses {
            for route in authd::ADMIN_ROUTES.iter().chain(turn::ROUTES).chain(turn::MODEL_ROUTES) {
                let path = route.path.replace("{*path}", "v1/messages");
                let request = client(FROM).request(verb(route), format!("{address}{path}"));
                let good = self.mint.operator(*daemon, |_, _| {});
                let answer = request.bearer_auth(good).body("{}").send().await.unwrap();
                refused(answer, 404, &format!("{daemon} {}", route.path)).await;
                tried += 1;
            }
        }
        tried
    }

    /// `/v1/service-token`, by those whose key it is not.
    async fn service_keys(&self, wanted: &mut BTreeSet<Refused>) -> usize {
        // Another address, since one address is refused so often and then told to wait.
        let (from, authd) = ("127.0.0.78", self.address(Daemon::Authd));
        let operator = self.mint.operator(Daemon::Authd, |_, _| {});
        let service = self.services[0].1.clone();
        let keys = [
            None,
            Some("guess-guess-guess-guess".to_owned()),
            Some(operator),
            Some(service),
            Some(self.elsewhere[1].clone()),
            Some(self.elsewhere[2].clone()),
        ];
        for (tried, key) in keys.iter().enumerate() {
            let mut request = client(from).post(format!("{authd}/v1/service-token"));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            let answer = request.json(&json!({ "daemon": "routd" })).send().await.unwrap();
            let problem = refused(answer, 401, &format!("service token, key {tried}")).await;
            assert_eq!(problem["code"], "service_key_refused");
        }
        wanted.insert(Refused {
            daemon: "authd".into(),
            subject: "anonymous".into(),
            route: "POST /v1/service-token".into(),
            status: 401,
            reason: "service_key_refused".into(),
            from: from.into(),
        });
        keys.len()
    }

    /// Headers of the edge's, beside what is not the edge's token: they mean nothing.
    async fn edge(&self, wanted: &mut BTreeSet<Refused>) -> usize {
        let proxyd = Daemon::Proxyd.subject();
        let edge = |spoil: fn(&mut auth::Claims, i64)| {
            self.mint.token(&proxyd, Kind::Service, Daemon::Authd, spoil)
        };
        let shown = [
            (self.mint.operator(Daemon::Authd, |_, _| {}), "kind", "operator:local"),
            (self.services[0].1.clone(), "edge", &self.services[0].0.subject()),
            (edge(|c, now| c.exp = now - 6), "expired", &proxyd),
            (edge(|c, _| c.aud = vec!["webd".into()]), "audience", &proxyd),
        ];
        for (token, reason, subject) in &shown {
            let request = client(FROM).get(format!("{}/auth/", self.address(Daemon::Authd)));
            let request = request.header("x-arizuko-edge", token);
            let answer = request.header("x-user-subject", "operator:local").send().await.unwrap();
            assert_eq!(answer.status(), 200, "a stranger may look at this page");
            assert!(!answer.text().await.unwrap().contains("operator:local"));
            wanted.insert(Refused {
                daemon: "authd".into(),
                subject: (*subject).to_owned(),
                route: "x-arizuko-edge".into(),
                status: 200,
                reason: (*reason).into(),
                from: "unproved".into(),
            });
        }
        shown.len()
    }

    /// That no daemon serves what is not listed, and that all that is listed is in its document.
    async fn documents(&self) {
        for (daemon, address) in &self.addresses {
            let document =
                client(FROM).get(format!("{address}/openapi.json")).send().await.unwrap();
            let document: Value = document.json().await.unwrap();
            let paths = document["paths"].as_object().unwrap();
            let served: BTreeSet<String> = paths
                .iter()
                .flat_map(|(path, methods)| {
                    let methods = methods.as_object().unwrap().keys();
                    methods.map(move |method| format!("{} {path}", method.to_uppercase()))
                })
                .collect();
            let listed: BTreeSet<String> = routes(*daemon)
                .iter()
                .map(|route| format!("{} {}", route.method.name(), route.path.replace("{*", "{")))
                .collect();
            assert_eq!(served, listed, "{daemon}: each endpoint needs a rule here");
        }
    }
}

/// The problem with which a request was refused.
async fn refused(answer: reqwest::Response, status: u16, place: &str) -> Value {
    let (found, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{place}: {text}");
    assert_eq!(headers["content-type"], "application/problem+json", "{place}");
    assert_eq!(
        headers.contains_key("www-authenticate"),
        status == 401,
        "{place}: RFC 9110, 15.5.2"
    );
    let problem: Value = serde_json::from_str(&text).unwrap();
    let code = problem["code"].as_str().unwrap_or_default();
    let expected = match status {
        401 => ["unauthorized", "service_key_refused"].contains(&code),
        403 => code == "forbidden",
        404 => code == "not_found",
        409 => code == "conflict",
        _ => code == "gone",
    };
    assert!(expected, "{place}: {status} with the code {code}");
    problem
}

/// A suite whose log can be read by a program, and whose service key was replaced and forgotten.
fn begin() -> Suite {
    let mut suite = Suite::made();
    for (name, value) in [
        ("LOG_FORMAT", "json"),
        ("PROXYD_GUESSES", "1000"),
        ("PROXYD_BURST", "1000"),
        ("PROXYD_RATE", "1000"),
    ] {
        suite.set(name, value);
    }
    suite.start_up();
    suite.ok(&["secrets", "forget", "AUTHD_SERVICE_KEY"]);
    suite
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_who_may_not_and_writes_it_down() {
    ::kit::testing::install_crypto();
    let mut suite = begin();
    let field = Field::of(&suite).await;
    field.documents().await;
    let (mut tried, mut wanted, mut used) = (0, BTreeSet::new(), BTreeSet::new());
    // A key that nobody knows makes a daemon wait before it asks again: not one after the other.
    let everybody = field.addresses.iter().map(|(daemon, _)| field.tried(*daemon));
    for (count, refused, credentials) in futures::future::join_all(everybody).await {
        tried += count;
        wanted.extend(refused);
        used.extend(credentials);
    }
    tried += field.sockets_only().await;
    tried += field.service_keys(&mut wanted).await;
    tried += field.edge(&mut wanted).await;
    tried += links::tried(&suite, &mut wanted, &mut used).await;
    eprintln!("{tried} tries were refused, which are {} rows and lines", wanted.len());
    assert!(tried > 1000, "only {tried} refusals were tried");
    audited::all(&suite, &["up.log"], &wanted);
    audited::without(&suite, &["up.log"], &used);
    // The suite still works, and nothing that was asked for was done.
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), "You said: hello");
    links::nothing_was_done(&suite);
    turns::the_socket_of_an_ended_turn_is_gone(&suite);
    for log in suite.json(&["audit", "--verify"]).as_array().unwrap() {
        assert!(log["broken"].is_null() && log["rows"].as_u64().unwrap() > 0, "{log}");
    }
    tampering_is_found(&mut suite);
}

/// One row is edited in the file, past its triggers, while nobody has it open.
fn tampering_is_found(suite: &mut Suite) {
    assert_eq!(suite.process("up").stop(), Some(0));
    let db = db::rusqlite::Connection::open(suite.data().join("store/runed.db")).unwrap();
    db.execute_batch("DROP TRIGGER audit_is_fixed").unwrap();
    let edited = "UPDATE audit SET actor = 'operator:nobody' WHERE id = 3";
    assert_eq!(db.execute(edited, []).unwrap(), 1);
    drop(db);
    suite.start_up();
    let (code, line) = suite.fails(&["audit", "--verify"]);
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("runed is broken at row 3"), "{line}");
    suite.ok(&["audit", "--verify", "--daemon", "routd"]);
    let rows = suite.json(&["audit", "--daemon", "authd", "--since", "1h", "--limit", "3"]);
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert!(rows.as_array().unwrap().iter().all(|row| row["daemon"] == "authd"));
    let none = suite.json(&["audit", "--since", "2999-01-01T00:00:00Z"]);
    assert!(none.as_array().unwrap().is_empty());
}
