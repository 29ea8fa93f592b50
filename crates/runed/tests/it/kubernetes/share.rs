//! What one turn costs the cluster's API, and what runed itself adds to it: over HTTP, as routd asks.
//!
//! `cargo test -p runed --test it -- --nocapture kubernetes::share` prints how long runed took.

use super::*;
use crate::daemon::{Runed, SetUp};
use proto::runed::{IDENTIFY, Identify, RunEnd, StartRun, TurnEndpoint};
use serde_json::Value;

/// Calls that one turn may cost, with each watch counted as one of them.
const CALLS_MAX: usize = 6;
/// Turns one after the other.
const TURNS: usize = 20;

/// What runed takes of a turn. The API's own answers are in it, and the pod's time is not.
#[derive(Debug)]
struct Share {
    /// What is not its own: from the Job until its pod runs.
    cold: Duration,
    /// From the request for a run until its Job is there.
    begin: Duration,
    /// To say whose run a pod is.
    whose: Duration,
    /// From the pod's end until whoever waits for the run is told, its log kept and its Job removed.
    end: Duration,
}

fn order(town: &Town, name: &str) -> (StartRun, PathBuf) {
    let (spec, home) =
        town.run(name, "touch up; while ! [ -e go ]; do sleep 0.02; done; echo done");
    let TurnListener { url, certificate_sha256 } = town.listener().unwrap();
    let order = StartRun {
        turn_id: name.parse().unwrap(),
        attempt: 1,
        folder: "corp".parse().unwrap(),
        home: name.parse().unwrap(),
        image: None,
        limits: spec.limits,
        egress: Egress::None,
        endpoint: TurnEndpoint::Listener { url, certificate_sha256 },
        harness: Harness::Offline,
    };
    (order, home)
}

/// When something was first seen to be so of the objects of a run.
fn when(town: &Town, resource: &str, run: &str, is_so: impl Fn(&Value) -> bool) -> Instant {
    let changes = town.cluster.changes(resource).into_iter();
    let ours = changes.filter(|(_, object)| object["metadata"]["labels"]["arizuko.run"] == *run);
    ours.filter(|(_, object)| is_so(object)).map(|(at, _)| at).min().unwrap()
}

/// One turn as routd and an agent see it.
async fn turn(town: &Town, runed: &Runed, name: &str) -> Share {
    let (order, home) = order(town, name);
    let asked = Instant::now();
    let run = runed.run(&order).await;
    until("the agent is up", || home.join("up").exists()).await;
    let is_ours = |pod: &Value| pod["metadata"]["labels"]["arizuko.run"] == *run.id.as_str();
    let pod = town.cluster.list("pods").into_iter().find(is_ours).unwrap();
    let text = |name: &str| pod["metadata"][name].as_str().unwrap().to_owned();
    let token = town.cluster.token("arizuko", "arizuko-agent", &text("name"), &text("uid"));
    let shown = Instant::now();
    let whose = runed.peer.call(&IDENTIFY, &Identify { token }).await.unwrap().pod.unwrap();
    let identified = shown.elapsed();
    assert_eq!((whose.turn_id, whose.pod_uid), (order.turn_id, text("uid")));
    fs::write(home.join("go"), "").unwrap();
    let ended = runed.ended(&run).await;
    let told = Instant::now();
    assert_eq!(ended.end, Some(RunEnd::Completed), "{ended:?}");
    town.empty().await;
    let has_ended =
        |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object();
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    let made = when(town, "jobs", run.id.as_str(), |_| true);
    Share {
        cold: when(town, "pods", run.id.as_str(), runs) - made,
        begin: made - asked,
        whose: identified,
        end: told - when(town, "pods", run.id.as_str(), has_ended),
    }
}

#[tokio::test]
async fn a_turn_costs_the_cluster_six_calls_at_most_from_the_accepted_run_to_the_swept_job() {
    let town = Town::loose();
    let settings = vec![
        ("CONTAINER_BACKEND", "kubernetes".to_owned()),
        ("CONTAINER_IMAGE", IMAGE.to_owned()),
        ("KUBERNETES_API_URL", town.cluster.url()),
        ("KUBERNETES_ACCOUNT_DIR", town.cluster.account_dir().display().to_string()),
    ];
    let runed = Runed::start(&town.machine, SetUp { settings, ..SetUp::default() }).await;
    turn(&town, &runed, "first").await;
    let (mut shares, began, first) = (Vec::new(), Instant::now(), town.cluster.calls().len());
    for number in 0..TURNS {
        let before = town.cluster.calls().len();
        shares.push(turn(&town, &runed, &format!("turn{number}")).await);
        let calls = town.cluster.calls().split_off(before);
        // Whether the API answers is asked for everybody, every 15 seconds, and a watch goes on for everybody.
        let is_own = |call: &&cluster::Call| {
            call.verb != "watch" && (call.verb.as_str(), call.resource.as_str()) != ("list", "jobs")
        };
        let mut own: Vec<String> = calls
            .iter()
            .filter(is_own)
            .map(|call| format!("{} {}", call.verb, call.resource))
            .collect();
        own.sort();
        // The Job, who its pod is, its log, and the Job's end.
        let expected = ["create jobs", "create tokenreviews", "delete jobs", "get pods/log"];
        assert_eq!(own, expected, "{calls:?}");
        let watched = calls.iter().filter(|call| call.verb == "watch").map(|call| &call.resource);
        let watched = watched.collect::<BTreeSet<_>>().len().max(2);
        assert!(own.len() + watched <= CALLS_MAX, "{calls:?}");
    }
    // What is everybody's grows with the time and not with the turns.
    let all = town.cluster.calls().split_off(first);
    let (seconds, rest) = (began.elapsed().as_secs() as usize, all.len() - TURNS * 4);
    assert!(rest <= (1 + seconds / 15) + 2 * (1 + seconds / 60), "in {seconds} s: {all:?}");
    town.nothing_forbidden();
    let told = |part: fn(&Share) -> Duration| {
        let mut all: Vec<Duration> = shares.iter().map(part).collect();
        all.sort();
        format!("{:.1?} (most {:.1?})", all[all.len() / 2], all[all.len() - 1])
    };
    println!(
        "runed's share of a turn, {TURNS} turns: {}; to the Job {}, whose pod it is {}, from its end to the answer {}; not in it: from the Job until its pod runs {}",
        told(|share| share.begin + share.whose + share.end),
        told(|share| share.begin),
        told(|share| share.whose),
        told(|share| share.end),
        told(|share| share.cold),
    );
}
