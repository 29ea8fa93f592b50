use super::*;
use serde_json::{Value, json};

fn pod(spec: Value) -> Pod {
    let pod = json!({
        "metadata": {"name": "one"}, "spec": spec, "status": {"phase": "Running"},
    });
    serde_json::from_value(pod).unwrap()
}

/// A container, its program, and where it has the key.
type Sights = (String, Program, Vec<(String, Held)>);

fn sights(spec: Value, key: &str) -> Vec<Sights> {
    let Some(pod) = MountingPod::of(&pod(spec), "s", key) else { return Vec::new() };
    let holders = pod.holders.into_iter();
    let sights = |of: Vec<Sight>| of.into_iter().map(|sight| (sight.name, sight.held)).collect();
    holders.map(|of| (of.container, of.program, sights(of.sights))).collect()
}

fn named(text: &str) -> Program {
    Program::Named(text.into())
}

#[test]
fn a_key_is_found_under_the_name_that_each_container_has_for_it() {
    let spec = json!({
        "containers": [
            {"name": "authd", "args": ["run", "authd"], "volumeMounts": [{"name": "a", "mountPath": "/s"}]},
            {"name": "web", "args": ["run", "webd"], "volumeMounts": [{"name": "w", "mountPath": "/s"}]},
            {"name": "other", "args": ["run", "timed"], "volumeMounts": [{"name": "t", "mountPath": "/s"}]},
        ],
        "volumes": [
            {"name": "a", "projected": {"sources": [
                {"secret": {"name": "s", "items": [{"key": "KEY_W", "path": "KEY_W"}]}},
                {"secret": {"name": "s", "optional": true, "items": [{"key": "KEY_W_PREVIOUS", "path": "KEY_W_PREVIOUS"}]}},
            ]}},
            {"name": "w", "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "KEY_W", "path": "KEY"}]}}]}},
            {"name": "t", "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "KEY_T", "path": "KEY"}]}}]}},
        ],
    });
    let file = |name: &str| vec![(name.to_owned(), Held::File)];
    assert_eq!(
        sights(spec.clone(), "KEY_W"),
        [
            ("authd".into(), named("authd"), file("KEY_W")),
            ("web".into(), named("webd"), file("KEY")),
            ("other".into(), named("timed"), vec![]),
        ]
    );
    assert_eq!(sights(spec, "NOWHERE").iter().map(|of| of.2.len()).sum::<usize>(), 0);
}

#[test]
fn what_never_changes_is_told_from_what_does() {
    let container = |more: Value| {
        let mut container =
            json!({"name": "c", "command": ["/usr/local/bin/arizuko"], "args": ["up"]});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [container], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]})
    };
    for (more, expected) in [
        (json!({"envFrom": [{"secretRef": {"name": "s"}}]}), vec![("KEY", Held::Variable)]),
        (
            json!({"envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}]}),
            vec![("P_KEY", Held::Variable)],
        ),
        (
            json!({"env": [{"name": "AS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "KEY"}}}]}),
            vec![("AS", Held::Variable)],
        ),
        (
            json!({"env": [{"name": "AS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "OTHER"}}}]}),
            vec![],
        ),
        (json!({"volumeMounts": [{"name": "v", "mountPath": "/s"}]}), vec![("KEY", Held::File)]),
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/s/KEY", "subPath": "KEY"}]}),
            vec![("KEY", Held::SubPath)],
        ),
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/s/OTHER", "subPath": "OTHER"}]}),
            vec![],
        ),
    ] {
        let found = sights(container(more.clone()), "KEY");
        let expected: Vec<(String, Held)> =
            expected.into_iter().map(|(name, held)| (name.to_owned(), held)).collect();
        assert_eq!(found, [("c".to_owned(), Program::Up, expected)], "{more}");
    }
    for other in [
        json!({"envFrom": [{"configMapRef": {"name": "s"}}, {"secretRef": {"name": "t"}}]}),
        json!({"volumeMounts": [{"name": "none", "mountPath": "/s"}]}),
    ] {
        assert_eq!(sights(container(other.clone()), "KEY"), [], "{other}");
    }
}

#[test]
fn a_pod_that_ends_or_has_nothing_of_the_secret_is_none() {
    let spec = json!({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]});
    let mut over = pod(spec.clone());
    over.status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(MountingPod::of(&over, "s", "KEY"), None);
    assert_eq!(MountingPod::of(&pod(spec.clone()), "other", "KEY"), None);
    let mut waits = pod(spec);
    waits.status.as_mut().unwrap().phase = Some("Pending".into());
    assert!(!MountingPod::of(&waits, "s", "KEY").unwrap().runs);
}

#[test]
fn what_a_container_runs_is_read_from_its_words() {
    for (words, expected) in [
        (json!({}), named("c")),
        (json!({"args": ["run", "routd"]}), named("routd")),
        (json!({"command": ["arizuko", "run", "routd"]}), named("routd")),
        (json!({"command": ["/usr/local/bin/routd"]}), named("routd")),
        (json!({"command": ["/usr/local/bin/arizuko"], "args": ["run", "authd"]}), named("authd")),
        (json!({"args": ["up", "--port-base", "0"]}), Program::Up),
        (json!({"args": ["serve"]}), named("c")),
    ] {
        let mut container = json!({"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]});
        container.as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
        let found = sights(json!({"containers": [container]}), "KEY");
        assert_eq!(found[0].1, expected, "{words}");
    }
}
