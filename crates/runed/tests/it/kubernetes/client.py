import sys, time
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
core, batch = client.CoreV1Api(), client.BatchV1Api()
nodes, reviews = client.NodeV1Api(), client.AuthenticationV1Api()
space = "arizuko"


def job(name, script, image="shell:1", ttl=None, deadline=None, grace=1):
    container = client.V1Container(name="agent", image=image, args=["-c", script])
    pod = client.V1PodSpec(
        containers=[container], restart_policy="Never", termination_grace_period_seconds=grace,
        active_deadline_seconds=deadline)
    labels = {"suite": "python", "arizuko.run": name}
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=pod)
    spec = client.V1JobSpec(template=template, backoff_limit=0, ttl_seconds_after_finished=ttl)
    return client.V1Job(metadata=client.V1ObjectMeta(name=name, labels=labels), spec=spec)


def refused(status, call):
    try:
        call()
    except ApiException as error:
        assert error.status == status, (error.status, error.body)
        return error
    raise AssertionError("it was not refused")


def until(what, look):
    for _ in range(300):
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("not in time: " + what)


# A Job, its pod, its log, its end, each as a typed object.
batch.create_namespaced_job(space, job("one", "sleep 2; echo out; echo err >&2; exit 3"))
error = refused(409, lambda: batch.create_namespaced_job(space, job("one", "true")))
assert '"reason":"AlreadyExists"' in error.body.replace(" ", ""), error.body
phases = []
for event in watch.Watch().stream(
        core.list_namespaced_pod, space, label_selector="arizuko.run=one", timeout_seconds=30):
    pod = event["object"]
    phases.append((event["type"], pod.status.phase))
    if pod.status.phase in ("Succeeded", "Failed"):
        break
# Whatever it was when the watch began.
assert phases[0][0] == "ADDED" and "Running" in [phase for _, phase in phases], phases
ended = pod.status.container_statuses[0].state.terminated
assert (ended.exit_code, ended.reason) == (3, "Error"), ended
assert pod.metadata.owner_references[0].kind == "Job"
log = core.read_namespaced_pod_log(pod.metadata.name, space)
assert sorted(log.split()) == ["err", "out"], log
until("the Job failed", lambda: [
    c for c in batch.read_namespaced_job("one", space).status.conditions or []
    if c.type == "Failed" and c.reason == "BackoffLimitExceeded"])
assert len(core.list_namespaced_pod(space, label_selector="arizuko.run=other").items) == 0
batch.delete_namespaced_job("one", space, propagation_policy="Background")
refused(404, lambda: batch.read_namespaced_job("one", space))
until("its pod is gone", lambda: not core.list_namespaced_pod(space).items)

# Foreground: the Job stays until its pod has ended, and the pod is given its time.
batch.create_namespaced_job(space, job("two", "trap '' TERM; while :; do sleep 0.1; done"))
until("it runs", lambda: [
    p for p in core.list_namespaced_pod(space).items if p.status.phase == "Running"])
batch.delete_namespaced_job("two", space, propagation_policy="Foreground")
assert batch.read_namespaced_job("two", space).metadata.deletion_timestamp
until("both are gone", lambda: not batch.list_namespaced_job(space).items)
assert not core.list_namespaced_pod(space).items

# What ends by itself goes by itself, and what takes too long is ended.
batch.create_namespaced_job(space, job("brief", "exit 0", ttl=1))
until("its time to live is over", lambda: not batch.list_namespaced_job(space).items)
batch.create_namespaced_job(space, job("long", "while :; do sleep 0.1; done", deadline=1))
late = until("its deadline has passed", lambda: [
    p for p in core.list_namespaced_pod(space).items if p.status.reason == "DeadlineExceeded"])
batch.delete_namespaced_job("long", space, propagation_policy="Background")

# Images that are not there.
for name, image, reasons in [
        ("upper", "Nobody/Has", {"InvalidImageName"}),
        ("nowhere", "nobody/has:9", {"ErrImagePull", "ImagePullBackOff"})]:
    batch.create_namespaced_job(space, job(name, "true", image=image))
    until(name, lambda: [
        p for p in core.list_namespaced_pod(space, label_selector="arizuko.run=" + name).items
        if p.status.container_statuses and p.status.container_statuses[0].state.waiting
        and p.status.container_statuses[0].state.waiting.reason in reasons])
    batch.delete_namespaced_job(name, space, propagation_policy="Background")
until("nothing is left", lambda: not core.list_namespaced_pod(space).items)

# A version that was never, or is long gone, is Gone; a list says where to go on.
listed = core.list_namespaced_pod(space)
gone = watch.Watch().stream(
    core.list_namespaced_pod, space, resource_version="1", timeout_seconds=2)
try:
    list(gone)
except ApiException as error:
    assert error.status == 410, error
else:
    assert int(listed.metadata.resource_version) < 4000, "410 comes once versions are forgotten"

# Whose a token is.
def review(token, audience):
    spec = client.V1TokenReviewSpec(token=token, audiences=[audience])
    return reviews.create_token_review(client.V1TokenReview(spec=spec)).status

assert not review("made.up.token", "arizuko").authenticated
assert not review(sys.argv[2], "arizuko").authenticated, "its pod is not there"
assert review("runed", "https://kubernetes.default.svc").user.username.endswith(":arizuko:arizuko")

# Refusals, in the API's own form.
assert nodes.read_runtime_class("gvisor").handler == "gvisor"
assert "NotFound" in refused(404, lambda: nodes.read_runtime_class("other")).body
bad = job("bad", "true")
bad.metadata.labels["folder"] = "corp/eng"
assert "Invalid" in refused(422, lambda: batch.create_namespaced_job(space, bad)).body
its = client.Configuration.get_default_copy()
# The hook would put back who is named in the file.
its.refresh_api_key_hook, its.api_key = None, {"authorization": "Bearer runed"}
as_runed = client.CoreV1Api(client.ApiClient(its))
assert as_runed.list_namespaced_pod(space).items == []
assert "Forbidden" in refused(403, lambda: as_runed.delete_namespaced_pod("any", space)).body
print("all of it")
