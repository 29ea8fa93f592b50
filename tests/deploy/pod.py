#!/usr/bin/env python3
"""The pod of deploy/kubernetes, run by a Docker engine instead of a kubelet: whether its containers start as they are
written, with the files that the volumes project, become ready by their probes, answer, and see a Secret change.

    tests/deploy/pod.py --image IMAGE --program PATH-IN-IMAGE

Needs PyYAML, a Docker engine, root and nsenter. What only a cluster can do is left out: Services, policies, accounts,
and agents, which are processes here.
"""
import argparse
import base64
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

import yaml

BASE = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "kubernetes" / "base"
LIMIT = 90


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def docker(*args, ok=True):
    made = subprocess.run(["docker", *map(str, args)], capture_output=True, text=True, timeout=LIMIT)
    if ok and made.returncode != 0:
        raise SystemExit(f"docker {' '.join(map(str, args))}: {made.stderr}")
    return made


class Pod:
    def __init__(self, image, program, place):
        self.image, self.program, self.place = image, program, pathlib.Path(place)
        self.name = f"azpod{os.getpid()}"
        [deployment] = documents((BASE / "70-deployment.yaml").read_text())
        self.spec = deployment["spec"]["template"]["spec"]
        [config] = documents((BASE / "20-config.yaml").read_text())
        self.config = dict(config["data"])
        # There is no cluster to make Jobs in.
        self.config["CONTAINER_BACKEND"] = "process"
        for name in [name for name in self.config if name.startswith("AGENT_")]:
            del self.config[name]
        made = subprocess.run([BASE.parent / "make-secret"], capture_output=True, text=True, check=True)
        [secret] = documents(made.stdout)
        self.secret = {"arizuko": dict(secret["stringData"])}
        self.group = self.spec["securityContext"]["fsGroup"]
        self.version = 0

    def project(self):
        """Writes every volume as the kubelet does: a new directory, and one rename of the link to it."""
        self.version += 1
        for volume in self.spec["volumes"]:
            place = self.place / volume["name"]
            place.mkdir(exist_ok=True)
            if "projected" not in volume:
                # What fsGroup does to a disk.
                os.chown(place, 0, self.group)
                place.chmod(0o2775)
                continue
            mode = volume["projected"]["defaultMode"]
            data = place / f"..v{self.version}"
            data.mkdir()
            for source in volume["projected"]["sources"]:
                given = source.get("secret")
                if not given:
                    continue
                have = self.secret.get(given["name"], {})
                for item in given["items"]:
                    if item["key"] not in have:
                        assert given.get("optional"), f"{volume['name']}: {given['name']} has no {item['key']}"
                        continue
                    path = data / item["path"]
                    path.write_text(have[item["key"]])
                    os.chown(path, 0, self.group)
                    path.chmod(mode)
            data.chmod(0o755)
            draft = place / "..data_tmp"
            draft.symlink_to(data.name)
            draft.rename(place / "..data")
            for path in data.iterdir():
                link = place / path.name
                if not link.is_symlink():
                    link.symlink_to(f"..data/{path.name}")
            if self.version > 1:
                shutil.rmtree(place / f"..v{self.version - 1}")

    def run(self, container, *how):
        variables = dict(self.config)
        for variable in container.get("env", []):
            if variable["name"] not in ("TURN_URL", "AGENT_NODE"):
                variables[variable["name"]] = variable["value"]
        args = [re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], arg) for arg in container["args"]]
        own, all_of = container["securityContext"], self.spec["securityContext"]
        assert own["readOnlyRootFilesystem"] and own["capabilities"] == {"drop": ["ALL"]} and not own["allowPrivilegeEscalation"]
        command = ["run", *how, "--network", f"container:{self.name}-net", "--entrypoint", self.program]
        command += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        command += ["--user", f"{all_of['runAsUser']}:{all_of['runAsGroup']}", "--group-add", self.group]
        command += ["--memory", container["resources"]["limits"]["memory"].lower().removesuffix("i")]
        for name, value in variables.items():
            command += ["--env", f"{name}={value}"]
        for mount in container["volumeMounts"]:
            mode = ":ro" if mount.get("readOnly") else ""
            command += ["--volume", f"{self.place / mount['name']}:{mount['mountPath']}{mode}"]
        return docker(*command, self.image, *args)

    def start(self):
        self.project()
        # The pod's network, which its containers share: loopback alone, held by a program that lives long enough.
        docker("run", "-d", "--name", f"{self.name}-net", "--network", "none", "--tmpfs", "/srv/data", "--user", "0:0",
               "--entrypoint", self.program, self.image, "up", "--port-base", "20000")
        for container in self.spec["initContainers"]:
            self.run(container, "--rm")
        for container in self.spec["containers"]:
            self.run(container, "-d", "--name", f"{self.name}-{container['name']}")

    def probe(self, container, kind):
        probe = container[kind]["httpGet"]
        [port] = [port["containerPort"] for port in container["ports"] if port["name"] == probe["port"]]
        pid = docker("inspect", "-f", "{{.State.Pid}}", f"{self.name}-{container['name']}").stdout.strip()
        url = f"http://127.0.0.1:{port}{probe['path']}"
        ask = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).status)"
        made = subprocess.run(["nsenter", "-t", pid, "-n", sys.executable, "-c", ask], capture_output=True, text=True)
        return made.stdout.strip() == "200"

    def arizuko(self, *args):
        return docker("exec", f"{self.name}-routd", self.program, *args, ok=False)

    def end(self):
        names = [f"{self.name}-{one['name']}" for one in self.spec["containers"]] + [f"{self.name}-net"]
        docker("rm", "-f", "-v", *names, ok=False)


def eventually(what, look):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit(f"not within {LIMIT} s: {what}")


def story(pod):
    pod.start()
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        for container in pod.spec["containers"]:
            eventually(f"{container['name']}: {kind}", lambda: pod.probe(container, kind))
    said = eventually("an answer", lambda: pod.arizuko("ask", "hello").stdout)
    assert said.strip() == "You said: hello", said

    queue = pod.arizuko("--json", "queue", "list")
    assert queue.returncode == 0, f"onbod: {queue.stderr}"

    def versions():
        told = json.loads(pod.arizuko("--json", "secrets", "status").stdout)
        return {(one["daemon"], row["name"]): (row["fingerprint"], row["version"]) for one in told["daemons"] for row in one["secrets"]}

    before = versions()
    have = pod.secret["arizuko"]
    for name in ("CHANNEL_SECRET_WEBD", "SECRETS_KEY", "AUTHD_SERVICE_KEY_TIMED", "AUTHD_SERVICE_KEY_DASHD"):
        have[f"{name}_PREVIOUS"], have[name] = have[name], base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    pod.project()
    changed = [("webd", "CHANNEL_SECRET"), ("routd", "CHANNEL_SECRET_WEBD"), ("authd", "SECRETS_KEY"), ("routd", "SECRETS_KEY"),
               ("timed", "AUTHD_SERVICE_KEY"), ("authd", "AUTHD_SERVICE_KEY_TIMED"),
               ("dashd", "AUTHD_SERVICE_KEY"), ("authd", "AUTHD_SERVICE_KEY_DASHD")]
    after = eventually("the new values", lambda: (now := versions()) and all(now[one][0] != before[one][0] for one in changed) and now)
    for one, (print_of, _) in after.items():
        assert one in changed or print_of == before[one][0], f"{one} changed too"
    assert pod.arizuko("ask", "again").stdout.strip() == "You said: again"
    for container in pod.spec["containers"]:
        told = docker("inspect", f"{pod.name}-{container['name']}").stdout
        assert not any(value in told for value in have.values()), f"{container['name']}: a secret in its description"
        state = json.loads(told)[0]
        assert state["State"]["Running"] and state["RestartCount"] == 0, f"{container['name']} restarted"
    print("pod: it starts, is ready, answers, and takes up a Secret that changes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    parser.add_argument("--program", default="/usr/local/bin/arizuko")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="azpod") as place:
        os.chmod(place, 0o755)
        pod = Pod(args.image, args.program, place)
        try:
            story(pod)
        except BaseException:
            for container in pod.spec["containers"]:
                logs = docker("logs", "--tail", "5", f"{pod.name}-{container['name']}", ok=False)
                print(container["name"], logs.stdout, logs.stderr)
            raise
        finally:
            pod.end()


main()
