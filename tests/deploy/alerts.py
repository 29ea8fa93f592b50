#!/usr/bin/env python3
"""Whether the alerts of deploy/prometheus fire when what they are for happens, and no others do.

    tests/deploy/alerts.py [--program FILE] [--only STORY]... [--static]

Needs promtool; with --program also prometheus (on Debian both are in the package `prometheus`). The stories run a real
`arizuko up` and a real Prometheus on loopback, with every duration of the rules twenty times shorter. What is missing
is said to be not verified.
"""
import argparse
import pathlib
import re
import shutil
import signal
import sys
import tempfile

import dashboard
import stories
from checks import DEPLOY, REFERENCE, ROOT, Checks, run

RULES = DEPLOY / "prometheus" / "arizuko.rules.yaml"
UNITS = DEPLOY / "prometheus" / "tests" / "arizuko.test.yaml"

checks = Checks("alerts")
check = checks.check


def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for line in path.read_text().splitlines():
        heading = re.match(r"#+ (.*)", line)
        if heading:
            kept = re.sub(r"[^\w\- ]", "", heading[1].lower())
            found.add(kept.replace(" ", "-"))
    return found


def metrics():
    """Every metric of the reference, with the names of its series."""
    found = set()
    for line in REFERENCE.read_text().splitlines():
        row = re.match(r"\| `(arizuko_\w+)` \| (\w+) \|", line)
        if row:
            name, kind = row.groups()
            found |= {f"{name}_{end}" for end in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return found


def rules(promtool):
    text = RULES.read_text()
    for command in (("check", "rules", RULES), ("test", "rules", UNITS), ("check", "config", RULES.parent / "prometheus.yaml")):
        made = run(promtool, *command)
        check(made.returncode == 0, f"promtool {' '.join(map(str, command))}: {made.stdout}{made.stderr}")
    names = re.findall(r"- alert: (\w+)", text)
    check(len(names) == len(set(names)) and len(names) > 20, f"the alerts are {names}")
    units = UNITS.read_text()
    for name in names:
        fires = re.search(rf"alertname: {name}\n\s+exp_alerts:\n\s+- exp_labels", units)
        check(fires is not None, f"{name} has no test in which it fires")
        told = name in stories.EXPECTED or name in stories.UNIT_ONLY
        check(told, f"{name} is provoked in no story")
    for place in re.findall(r"runbook: (\S+)", text):
        path, _, anchor = place.partition("#")
        there = (ROOT / path).exists()
        check(there and (not anchor or anchor in anchors(ROOT / path)), f"there is no {place}")
    check(text.count("runbook: ") == len(names), "an alert has no runbook")
    # On a host the default ports, in a cluster the ports of the Service, whose names are the daemons'.
    host = re.findall(r"127\.0\.0\.1:(\d+)\"\], labels: \{ daemon: (\w+)", (RULES.parent / "prometheus.yaml").read_text())
    service = (DEPLOY / "kubernetes/base/65-services.yaml").read_text().split("name: arizuko-metrics")[1]
    cluster = [(port, name) for name, port in re.findall(r"name: (\w+), port: (\d+)", service)]
    check(len(host) > 9 and sorted(host) == sorted(cluster), f"on a host {host} is asked, in a cluster {cluster}")
    known = metrics()
    for name in set(re.findall(r"arizuko_\w+", text)):
        check(name in known, f"the rules have {name}, which is no metric")


def end(*_):
    stories.STOP.set()
    sys.exit(143)


def main():
    # So that what was started is ended and what was mounted is taken away.
    signal.signal(signal.SIGTERM, end)
    parser = argparse.ArgumentParser()
    parser.add_argument("--program")
    parser.add_argument("--only", action="append")
    parser.add_argument("--static", action="store_true")
    args = parser.parse_args()
    promtool, prometheus = shutil.which("promtool"), shutil.which("prometheus")
    if not promtool:
        return checks.unverified("no promtool")
    rules(promtool)
    with tempfile.TemporaryDirectory() as place:
        for trouble in dashboard.troubles(promtool, metrics(), pathlib.Path(place)):
            check(False, f"the dashboard: {trouble}")
    if args.static or not args.program or not prometheus:
        if not args.static:
            checks.unverified("in life: no --program or no prometheus")
    else:
        for told, holds in stories.play(args.program, prometheus, RULES, args.only):
            check(holds, told)
    checks.end()


main()
