//! Agents that are Jobs of a cluster: the whole way, with the API on the wire and pods that are processes.

use super::doctor::{doctor, says};
use crate::access::audited::{Refused, kept};
use crate::harness::{Chat, Suite, eventually, program, reply_of};
use cluster::{Cluster, Image, NAMESPACE, Options};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The image of agents: this very program, called `ant`.
const IMAGE: &str = "registry.example/ant:1";
/// A value that is in the environment of every daemon here, as secrets may be.
const CANARY: &str = "canary-71b0d2c4f8";

/// A cluster, and an instance whose agents are its pods.
struct Town {
    // Before the cluster, so that daemons end before it.
    suite: Suite,
    cluster: Cluster,
}

impl Town {
    fn made() -> Self {
        let mut suite = Suite::made();
        let ant = Image::Program { program: program(), name: "ant".into(), args: Vec::new() };
        let cluster = Cluster::start(Options {
            images: [(IMAGE.to_owned(), ant)].into(),
            claims: [("arizuko-data".to_owned(), suite.data())].into(),
            ..Options::default()
        });
        let turns = format!("{}:8089", suite.address());
        suite.set("CONTAINER_BACKEND", "kubernetes").set("CONTAINER_IMAGE", IMAGE);
        suite.set("KUBERNETES_API_URL", &cluster.url());
        suite.set("KUBERNETES_ACCOUNT_DIR", cluster.account_dir().to_str().unwrap());
        suite.set("TURN_URL", &format!("https://{turns}")).set("TURN_LISTEN_ADDR", &turns);
        suite.set("SOME_CANARY", CANARY);
        Self { suite, cluster }
    }

    fn pods(&self) -> Vec<Value> {
        self.cluster.list("pods")
    }

    /// The pod that runs now, once there is one.
    fn running(&self) -> Value {
        eventually("an agent's pod runs", || {
            self.pods()
                .into_iter()
                .find(|pod| pod["status"]["containerStatuses"][0]["state"]["running"].is_object())
        })
    }

    fn none_left(&self) {
        eventually("nothing of any run is left", || {
            let left = self.pods().len() + self.cluster.list("jobs").len();
            (left == 0).then_some(())
        });
        let denied: Vec<_> = self.cluster.calls().into_iter().filter(|c| c.denied).collect();
        assert_eq!(denied, [], "runed keeps to its Role");
    }
}

/// The rows of the audit log that tell of refusals at the listener, once there are so many.
fn attach_refusals(suite: &Suite, count: usize) -> Vec<Refused> {
    eventually("the refusals are written down", || {
        let kept = kept(suite).into_iter().filter(|row| row.route == "POST /turn/attach");
        let kept: Vec<_> = kept.filter(|row| row.daemon == "routd").collect();
        (kept.len() >= count).then_some(kept)
    })
}

#[test]
fn an_agent_answers_from_a_pod_that_was_given_no_secret() {
    let mut town = Town::made();
    town.suite.start_up();
    let suite = &town.suite;
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));
    suite.ok(&["ask", "remember the kettle is blue"]);
    assert!(suite.ok(&["ask", "what do you remember"]).contains("the kettle is blue"));

    let names = ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"];
    let mut never: Vec<String> = names.iter().map(|name| suite.dotenv(name)).collect();
    never.extend(names.map(str::to_owned));
    never.push(CANARY.into());
    thread::scope(|scope| {
        let asked = scope.spawn(|| suite.ok(&["ask", "wait 3"]));
        let pod = town.running();
        let told = format!("{pod} {:?}", town.cluster.list("jobs"));
        for secret in &never {
            assert!(!told.contains(secret), "`{secret}` is in the cluster");
        }
        assert_eq!(asked.join().unwrap().trim(), "I waited 3 seconds.");
    });
    town.none_left();
    let status = town.suite.json(&["status"]).to_string();
    assert!(status.contains("kubernetes"), "{status}");
    // Four turns: the Job, who its pod is, its log, and the Job's end. The watches, and whether the API answers, are
    // everybody's.
    let calls = town.cluster.calls();
    let counted: BTreeMap<String, usize> = calls.iter().fold(BTreeMap::new(), |mut all, call| {
        *all.entry(format!("{} {}", call.verb, call.resource)).or_default() += 1;
        all
    });
    for (call, most) in
        [("create jobs", 4), ("create tokenreviews", 4), ("get pods/log", 4), ("delete jobs", 4)]
    {
        assert_eq!(counted.get(call), Some(&most), "{counted:?}");
    }
    let log = town.suite.process("up").log_text();
    assert!(!log.contains("eyJ"), "no pod's token is in a log");
}

#[test]
fn the_doctor_says_whether_a_pod_reaches_what_policies_should_keep_from_it() {
    let mut town = Town::made();
    town.suite.start_up();
    // In place of the cluster's API, where this command's own environment says that it is.
    let api = TcpListener::bind((town.suite.address(), 0)).unwrap();
    let at = api.local_addr().unwrap();
    town.suite.set("KUBERNETES_SERVICE_HOST", &at.ip().to_string());
    town.suite.set("KUBERNETES_SERVICE_PORT", &at.port().to_string());
    let (code, found, line) = doctor(&town.suite, &[]);
    assert!(says(&found, "problem", "network", &at.to_string(), "network policies"), "{found:#?}");
    assert!(says(&found, "good", "turn", "an agent answered", ""), "{found:#?}");
    assert!(code == 77 && line.contains("docs/kubernetes.md"), "{code} {line}");
    // Kept away from it, as a policy does. This machine itself may be one of a cloud, which says so at the other place.
    drop(api);
    let (_, found, _) = doctor(&town.suite, &[]);
    assert!(!says(&found, "problem", "network", &at.to_string(), ""), "{found:#?}");
    assert!(says(&found, "good", "turn", "an agent answered", ""), "{found:#?}");
    town.none_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_in_a_pod_survives_the_death_of_runed_of_routd_and_of_itself() {
    let mut town = Town::made();
    town.suite.start_apart();
    let link = town.suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let chat = Chat::open(&format!("{}{}", town.suite.edge(), link["path"].as_str().unwrap()));
    let rounds = ["runed", "routd", "pod"];
    for killed in rounds {
        chat.write("wait 3").await;
        let met = town.running();
        match killed {
            "pod" => town.cluster.lose_pod(met["metadata"]["name"].as_str().unwrap()),
            daemon => {
                town.suite.kill(daemon);
                town.suite.restart(daemon);
            }
        }
        town.none_left();
    }
    let mut done = 0;
    let all = chat.events("0", |event| {
        done += usize::from(event.kind == "done");
        done == rounds.len()
    });
    let all = all.await;
    let said: Vec<&str> = all
        .iter()
        .filter(|event| event.kind == "message")
        .filter_map(|event| event.data["content"].as_str())
        .collect();
    assert_eq!(said, ["wait 3", "I waited 3 seconds."].repeat(rounds.len()), "each answered once");
    town.none_left();
}

#[test]
fn two_pods_of_one_job_run_a_turn_once() {
    let mut town = Town::made();
    town.suite.start_up();
    for _ in 0..3 {
        town.cluster.twins(1);
        let before = town.cluster.exits().len();
        assert_eq!(town.suite.ok(&["ask", "wait 1"]).trim(), "I waited 1 seconds.");
        town.none_left();
        let mut exits = town.cluster.exits().split_off(before);
        exits.sort_unstable();
        assert_eq!(exits, [0, 3], "one has the turn, and the other is told that it has not");
    }
    let others: Vec<_> = attach_refusals(&town.suite, 3);
    for row in &others {
        assert!(row.subject.starts_with("turn:") && row.subject.ends_with("#1"), "{row:?}");
        assert_eq!((row.status, row.reason.as_str()), (409, "another_pod"), "{row:?}");
    }
    let log = town.suite.process("up").log_text();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_image_that_cannot_be_had_is_told_to_the_person_within_ten_seconds() {
    let mut town = Town::made();
    town.suite.set("CONTAINER_IMAGE", "registry.example/nobody-has-this:9");
    town.suite.start_up();
    let began = Instant::now();
    let asked = town.suite.run(&["ask", "hello"]);
    let took = began.elapsed();
    assert!(!asked.status.success(), "there is no reply");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(!said.trim().is_empty(), "and the person is told");
    let log = town.suite.process("up").log_text();
    assert!(log.contains("nobody-has-this:9"), "the operator is told which image");
    town.none_left();
}

#[test]
fn the_listener_serves_pods_of_runs_and_nobody_else() {
    let mut town = Town::made();
    town.suite.start_up();
    let asked = |path: &str, token: &str| {
        let out = Command::new("curl")
            .args([
                "-sk",
                "--max-time",
                "20",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-X",
                "POST",
            ])
            .args(["-H", "connection: upgrade", "-H", "upgrade: arizuko-turn"])
            .args(["-H", &format!("authorization: Bearer {token}")])
            .arg(format!("https://{}:8089{path}", town.suite.address()))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let foreign = town.cluster.token("arizuko", "arizuko-agent", "some-pod", "some-uid");
    for (path, token, code) in [
        ("/turn/attach", "", "401"),
        ("/turn/attach", "runed", "401"),
        ("/turn/attach", "made.up.token", "403"),
        ("/turn/attach", foreign.as_str(), "403"),
        ("/turn", foreign.as_str(), "404"),
        ("/v1/messages", foreign.as_str(), "404"),
        ("/metrics", "", "404"),
    ] {
        assert_eq!(asked(path, token), code, "{path} with {token:.20}");
    }
    assert_eq!(town.suite.ok(&["ask", "hello"]).trim(), reply_of("hello"), "and goes on");
    // Whoever showed nothing, and whoever showed what is no run's. That a path is none is no refusal.
    let rows = attach_refusals(&town.suite, 2);
    let told: Vec<_> =
        rows.iter().map(|row| (row.subject.as_str(), row.status, row.reason.as_str())).collect();
    assert_eq!(told, [("anonymous", 401, "unauthorized"), ("anonymous", 403, "forbidden")]);
    let whole = town.suite.ok(&["--json", "audit", "--limit", "1000"]);
    assert!(!whole.contains(&foreign) && !whole.contains("made.up.token"), "no token is kept");
}

#[test]
fn kubernetes_without_an_image_an_account_or_a_class_does_not_start() {
    let mut town = Town::made();
    town.suite.set("LISTEN_ADDR", "127.0.0.1:0").set("AGENT_RUNTIME_CLASS", "no-such-class");
    let (code, line) = town.suite.fails(&["run", "runed"]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("no-such-class") && line.contains("AGENT_RUNTIME_CLASS"), "{line}");
    town.suite.set("AGENT_RUNTIME_CLASS", "").set("KUBERNETES_ACCOUNT_DIR", "/nowhere");
    let (code, line) = town.suite.fails(&["run", "runed"]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("/nowhere"), "{line}");
    town.suite.set("CONTAINER_IMAGE", "");
    let (code, line) = town.suite.fails(&["run", "runed"]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("CONTAINER_IMAGE"), "{line}");
    assert_eq!(
        town.cluster.list("jobs").len(),
        0,
        "nothing was asked of the cluster in {NAMESPACE}"
    );
}
