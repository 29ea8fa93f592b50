use super::*;
use serde_json::{Value, json};

fn facts(status: Value) -> PodFacts {
    let object = json!({
        "metadata": {
            "name": "p", "uid": "u", "labels": {"arizuko.run": "r1"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "x"}],
        },
        "spec": {"containers": []},
        "status": status,
    });
    pod(&serde_json::from_value(object).unwrap(), 1_000).unwrap()
}

fn container(state: &Value) -> Value {
    let status = json!({
        "name": "agent", "image": "agent:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": state,
    });
    json!({"phase": "Pending", "containerStatuses": [status]})
}

fn terminated(code: i32, reason: &str) -> Value {
    container(&json!({"terminated": {
        "exitCode": code, "reason": reason,
        "startedAt": "2026-05-01T10:00:00Z", "finishedAt": "2026-05-01T10:00:09Z",
    }}))
}

fn how(status: Value) -> How {
    let PodState::Ended(exit) = facts(status).state else { panic!("it has not ended") };
    ended(exit, None).how
}

#[test]
fn memory_a_signal_a_crash_and_an_end_are_told_apart() {
    assert_eq!(how(terminated(0, "Completed")), How::Exited { code: 0 });
    assert_eq!(how(terminated(7, "Error")), How::Exited { code: 7 });
    assert_eq!(how(terminated(139, "Error")), How::Signalled { signal: 11 });
    assert_eq!(how(terminated(137, "Error")), How::Signalled { signal: 9 });
    assert_eq!(how(terminated(137, "OOMKilled")), How::OutOfMemory);
    assert_eq!(how(terminated(0, "OOMKilled")), How::Exited { code: 0 }, "it managed");
    assert_eq!(how(terminated(128, "StartError")), How::NotStarted { permanent: true });
    let mut late = terminated(137, "Error");
    late["reason"] = "DeadlineExceeded".into();
    assert_eq!(how(late), How::TimedOut);
    let PodState::Ended(exit) = facts(terminated(0, "Completed")).state else { panic!() };
    let ended = ended(exit, Some(How::Stopped));
    assert_eq!(ended.how, How::Stopped, "why runed ended it counts");
    assert_eq!(ended.ended_at_ms.unwrap() - ended.started_at_ms.unwrap(), 9_000);
}

#[test]
fn a_pod_that_ended_without_its_container_says_what_the_cluster_says() {
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
    let PodState::Ended(exit) = facts(evicted).state else { panic!() };
    let ended = ended(exit, None);
    assert_eq!(ended.how, How::Lost);
    assert_eq!(ended.detail.unwrap(), "the agent's pod is gone: Evicted: low on memory");
    assert_eq!(how(json!({"phase": "Succeeded"})), How::Exited { code: 0 });
    assert_eq!(how(json!({"phase": "Failed", "reason": "DeadlineExceeded"})), How::TimedOut);
}

#[test]
fn what_keeps_a_pod_from_starting_ends_the_run_when_it_lasts() {
    let waiting = |reason: &str| {
        let state = json!({"waiting": {"reason": reason, "message": "so it is"}});
        facts(container(&state))
    };
    let verdict = |pod: &PodFacts, now: i64| given_up(Some(pod), 0, 120_000, now);
    for reason in ["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"] {
        let (how, why) = verdict(&waiting(reason), 1_000).unwrap();
        assert_eq!(how, How::NotStarted { permanent: true }, "{reason}");
        assert!(why.contains("so it is"), "{why}");
    }
    for reason in ["ErrImagePull", "ImagePullBackOff"] {
        let pod = waiting(reason);
        assert_eq!(verdict(&pod, 5_900), None, "a registry may miss a beat");
        let (how, why) = verdict(&pod, 6_000).unwrap();
        assert_eq!(how, How::NotStarted { permanent: true }, "{reason}");
        assert!(why.contains("agent:1") && why.contains("AGENT_PULL_SECRETS"), "{why}");
        assert_eq!(look_again(Some(&pod), 0, 120_000, 2_000), 4_000, "looked at in time");
    }
    for reason in ["ContainerCreating", "PodInitializing", "SomethingNew"] {
        assert_eq!(verdict(&waiting(reason), i64::MAX / 2), None, "{reason}: it is on its way");
    }
}

#[test]
fn a_place_and_a_pod_are_waited_for_and_then_given_up_for_now() {
    let unplaced = facts(json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes",
    }]}));
    let passing = How::NotStarted { permanent: false };
    assert_eq!(given_up(Some(&unplaced), 0, 120_000, 119_000), None);
    let (how, why) = given_up(Some(&unplaced), 0, 120_000, 120_000).unwrap();
    assert_eq!((how, why.contains("0/3 nodes")), (passing.clone(), true));
    assert_eq!(given_up(None, 0, 120_000, 119_000), None);
    assert_eq!(given_up(None, 0, 120_000, 120_000).unwrap().0, passing);
}

#[test]
fn what_is_no_runs_is_not_read() {
    let object = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": []}});
    assert_eq!(pod(&serde_json::from_value(object).unwrap(), 0), None);
    let odd = json!({"metadata": {"name": "j", "uid": "u", "labels": {"arizuko.run": "../x"}}});
    assert_eq!(job(&serde_json::from_value(odd).unwrap()), None);
}

#[test]
fn a_job_says_whether_it_failed_and_is_leaving() {
    let object = json!({
        "metadata": {
            "name": "j", "uid": "u", "labels": {"arizuko.run": "r1"},
            "creationTimestamp": "2026-05-01T10:00:00Z", "deletionTimestamp": "2026-05-01T10:00:05Z",
        },
        "status": {"conditions": [
            {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"},
            {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"},
        ]},
    });
    let (name, facts) = job(&serde_json::from_value(object).unwrap()).unwrap();
    assert_eq!((name.as_str(), facts.leaving), ("j", true));
    assert_eq!(ended(facts.failed.unwrap(), None).how, How::TimedOut);
}
