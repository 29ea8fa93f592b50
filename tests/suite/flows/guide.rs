//! Deployments that are not the manifests' own: one that follows a plain guide to the letter, and the chart's own test.

use crate::harness::{
    Suite, Town, documents, eventually, helm, kubectl, kubernetes, program, reply_of,
};
use cluster::{Cluster, Fault, Faults, Image, OPERATOR, Options};
use serde_json::{Value, json};
use std::process::Command;

/// The Deployment of the manifests, as a plain guide has it: every container with all of one Secret.
fn plain(town: &Town, give: impl Fn(&mut Value)) -> Value {
    let [deployment] = &documents("base/70-deployment.yaml")[..] else { panic!("one document") };
    let mut deployment = deployment.clone();
    let spec = &mut deployment["spec"]["template"]["spec"];
    for container in spec["containers"].as_array_mut().unwrap() {
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["name"].as_str().unwrap().ends_with("-secrets"));
        give(container);
    }
    let volumes = spec["volumes"].as_array_mut().unwrap();
    volumes.retain(|volume| !volume["name"].as_str().unwrap().ends_with("-secrets"));
    volumes.push(json!({"name": "all", "secret": {"secretName": "arizuko"}}));
    let text = |length: usize| format!("{:x<length$}", town.suite.address().replace('.', "-"));
    let data = json!({
        "SECRETS_KEY": text(43), "CHANNEL_SECRET": text(44), "AUTHD_SERVICE_KEY": text(45),
    });
    town.cluster.create("secrets", json!({"metadata": {"name": "arizuko"}, "stringData": data}));
    deployment
}

/// What the doctor says in the pod, asked as `docs/kubernetes.md` has it: its exit code, and what it found.
struct Doctor(i32, Vec<Value>);

impl Doctor {
    /// `None` where there is no kubectl.
    fn asked(town: &Town) -> Option<Self> {
        let Some(kubectl) = kubectl() else {
            eprintln!("the doctor in the pod: not verified (no kubectl)");
            return None;
        };
        let mut command = Command::new(kubectl);
        command
            .env("HOME", town.cluster.place())
            .env("KUBECONFIG", town.cluster.kubeconfig())
            .args(["exec", "-n", "arizuko", "deploy/arizuko", "-c", "routd", "--"])
            .args(["arizuko", "--json", "doctor", "--no-turn"]);
        let out = command.output().unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| {
            panic!("no report ({error}): {}", String::from_utf8_lossy(&out.stderr))
        });
        let found = report["findings"].as_array().unwrap().clone();
        Some(Self(out.status.code().unwrap(), found))
    }

    /// Whether a finding has these words, and what to do about it those.
    fn says(&self, level: &str, check: &str, what: &str, next: &str) -> bool {
        let has = |one: &Value, part: &str, words: &str| {
            one[part].as_str().is_some_and(|text| text.contains(words))
        };
        self.1.iter().any(|one| {
            one["level"] == level
                && one["check"] == check
                && has(one, "what", what)
                && has(one, "next", next)
        })
    }
}

#[test]
fn the_doctor_in_the_pod_names_what_is_wrong_and_nothing_where_nothing_is() {
    let town = Town::made();
    let Some(doctor) = Doctor::asked(&town) else { return };
    assert_eq!(doctor.0, 0, "{:#?}", doctor.1);
    let levels = ["problem", "advice"];
    for check in ["keys", "secrets", "daemons", "degraded"] {
        let said = levels.iter().any(|level| doctor.says(level, check, "", ""));
        assert!(!said, "each has a key of its own, as a file: {:#?}", doctor.1);
    }
    let seen = |level: &str, check: &str, what: &str, next: &str| {
        eventually(&format!("the doctor says `{what}`"), || {
            Doctor::asked(&town).unwrap().says(level, check, what, next).then_some(())
        });
    };
    let good = town.put("SECRETS_KEY", "short");
    seen("problem", "secrets", "shorter than 32 bytes", "arizuko secrets check");
    seen("problem", "degraded", "SECRETS_KEY", "the last good value stays in use");
    town.put("SECRETS_KEY", &good);
    town.cluster.faults(Faults::all(Fault::Broken(503)));
    seen("problem", "degraded", "the cluster's API says 503", "the Role arizuko-runed");
    town.cluster.faults(Faults::none());
    eventually("all is mended", || (Doctor::asked(&town).unwrap().0 == 0).then_some(()));
}

#[test]
fn who_followed_a_plain_guide_to_the_letter_runs_and_is_told_what_never_changes() {
    let town = Town::configured();
    let deployment = plain(&town, |container| {
        let from = container["envFrom"].as_array_mut().unwrap();
        from.push(json!({"secretRef": {"name": "arizuko"}}));
    });
    // The guide knows no setting of where secrets are.
    town.cluster.change("configmaps", "arizuko", |map| {
        map["data"].as_object_mut().unwrap().remove("SECRETS_SOURCES");
    });
    town.deploy(deployment);
    let status = town.suite.secrets();
    for (daemon, name) in
        [("authd", "SECRETS_KEY"), ("routd", "CHANNEL_SECRET"), ("timed", "AUTHD_SERVICE_KEY")]
    {
        let all = status[daemon]["secrets"].as_array().unwrap();
        let state = all.iter().find(|state| state["name"] == name).unwrap();
        assert_eq!(
            (&state["source"], &state["version"]),
            (&json!("env"), &json!("static")),
            "{state}"
        );
    }
    let before = town.secret();
    let mut command = town.workstation(OPERATOR);
    command.args(["secrets", "rotate", "CHANNEL_SECRET", "--kubernetes-secret", "arizuko/arizuko"]);
    let out = command.output().unwrap();
    let line = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(78), "{line}");
    assert!(line.contains("variable") && line.contains("directory"), "what to do: {line}");
    assert_eq!(town.secret(), before);
    if let Some(doctor) = Doctor::asked(&town) {
        let Doctor(code, found) = &doctor;
        assert_eq!(*code, 0, "it works, and could be better: {found:#?}");
        assert!(
            doctor.says(
                "advice",
                "secrets",
                "AUTHD_SERVICE_KEY, CHANNEL_SECRET, SECRETS_KEY stand in the environment",
                "mount them as files"
            ),
            "{found:#?}"
        );
        assert!(
            doctor.says("advice", "keys", "show authd the same key", "AUTHD_SERVICE_KEY_<DAEMON>"),
            "{found:#?}"
        );
    }
    // Agents get nothing of it all the same.
    let jobs = format!(
        "{:?} {:?}",
        town.cluster.list("jobs"),
        town.cluster
            .list("pods")
            .iter()
            .filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "arizuko-agent")
            .collect::<Vec<_>>()
    );
    assert!(before.values().all(|value| !jobs.contains(value)), "a secret is in an agent's pod");
}

#[test]
fn one_secret_mounted_whole_for_all_changes_without_a_restart() {
    let town = Town::configured();
    let deployment = plain(&town, |container| {
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.push(
            json!({"name": "all", "mountPath": "/var/run/secrets/arizuko", "readOnly": true}),
        );
    });
    town.deploy(deployment);
    let renewed = town.operated(&["rotate", "CHANNEL_SECRET"]);
    let daemons = renewed["daemons"].as_array().unwrap();
    for daemon in ["routd", "webd"] {
        assert!(daemons.contains(&json!(daemon)), "{renewed}");
    }
    assert!(
        !daemons.contains(&json!("timed")),
        "who has no use for it has not taken it: {renewed}"
    );
    if let Some(doctor) = Doctor::asked(&town) {
        assert!(doctor.says("advice", "keys", "the same key", "each a key"), "{:#?}", doctor.1);
        assert!(!doctor.says("advice", "secrets", "", ""), "files change: {:#?}", doctor.1);
    }
    let renewed = town.operated(&["rotate", "AUTHD_SERVICE_KEY"]);
    assert!(renewed["daemons"].as_array().unwrap().len() >= 9, "{renewed}");
    assert_eq!(town.suite.ok(&["ask", "again"]).trim(), reply_of("again"));
    let states = town.pod()["status"]["containerStatuses"].clone();
    assert!(states.as_array().unwrap().iter().all(|of| of["restartCount"] == 0), "{states}");
}

#[test]
fn the_charts_own_test_tells_an_edge_that_is_ready_from_one_that_is_not() {
    let Some(helm) = helm() else {
        eprintln!("helm test: not verified (no helm)");
        return;
    };
    let chart = kubernetes().join("../helm/arizuko");
    let mut command = Command::new(helm);
    let out = command
        .args(["template", "az"])
        .arg(chart)
        .args(["--namespace", "arizuko"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rendered: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(out.stdout).unwrap()).unwrap();
    let hook = |doc: &&Value| doc["metadata"]["annotations"]["helm.sh/hook"] == "test";
    let [pod] = &rendered.iter().filter(hook).collect::<Vec<_>>()[..] else { panic!("one test") };
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();

    let mut suite = Suite::made();
    let url = format!("http://{}:8091", suite.address());
    let own = Image::Program { program: program(), name: "arizuko".into(), args: Vec::new() };
    let cluster = Cluster::start(Options {
        images: [(image.to_owned(), own)].into(),
        // The name of the Service is no name here.
        told: [("edge".to_owned(), vec![("PROXYD_URL".to_owned(), url)])].into(),
        ..Options::default()
    });
    let ends = |name: &str, expected: &str| {
        let mut pod = (*pod).clone();
        pod["metadata"]["name"] = name.into();
        cluster.create("pods", pod);
        eventually("the test has ended", || {
            let pods = cluster.list("pods");
            let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name)?;
            let phase = pod["status"]["phase"].as_str()?.to_owned();
            (phase == expected).then_some(())
        });
    };
    ends("before", "Failed");
    suite.start_apart();
    ends("after", "Succeeded");
}
