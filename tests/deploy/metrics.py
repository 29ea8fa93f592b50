#!/usr/bin/env python3
"""The reference of metrics: what each daemon can tell Prometheus, read from where it is declared.

    tests/deploy/metrics.py [--write] [--program FILE]

Without --write it says whether docs/reference/metrics.md is what it would write. With --program it also runs
`arizuko up`, and compares what each daemon shows with what stands there. A family without a value yet is not shown by
a daemon, which is why the sources are read and not a running suite alone.
"""
import argparse
import pathlib
import re
import sys
import tempfile
import urllib.request

import stories
from checks import REFERENCE, ROOT

# Whose crate is whose.
EVERY = "every daemon"
SHARED = {"kit": EVERY, "secrets": EVERY, "adapter": "teled, slakd"}
STORED = "authd, routd, runed, onbod, teled, slakd"
HEAD = """# Metrics

What each daemon tells at `GET /metrics` (OpenMetrics 1.0), made by `tests/deploy/metrics.py --write` from where they are
declared. Names are promises: they are added to, and not changed. A counter or a histogram with labels appears with its
first value. No label ever has a secret's value, a message's text or a person's name.

[deploy/prometheus](../../deploy/prometheus) has a configuration and [alerts](../runbooks/README.md#alerts),
[deploy/grafana](../../deploy/grafana) a dashboard.

| metric | type | labels | of | meaning |
| --- | --- | --- | --- | --- |
"""
MADE = re.compile(r"\.(counter|counter_family|gauge|histogram)\(\s*\"([a-z_]+)\",\s*\"((?:[^\"\\]|\\.)*)\",?\s*\)")
REGISTERED = re.compile(r"registry\.register\(\s*(?://[^\n]*\s*)*\"(arizuko_[a-z_]+)\",\s*\"((?:[^\"\\]|\\.)*)\",\s*self\.(\w+)")
DESCRIBED = re.compile(r"encode_descriptor\(\s*\"(arizuko_[a-z_]+)\",\s*\"((?:[^\"\\]|\\.)*)\",\s*None,\s*MetricType::(\w+)")


def fields(text, struct):
    body = re.search(rf"struct {struct} \{{(.*?)\n\}}", text, re.S)
    return re.findall(r"^\s+(?:pub(?:\(\w+\))? )?(\w+): ", body[1], re.M) if body else []


def family(text, before):
    """The labels of a family that is made where `before` ends: by the field that it is put into, or the only type."""
    named = re.search(r"(\w+):\s*[\w.\s]*$", before)
    kinds = dict(re.findall(r"(\w+): Family<(\w+),", text))
    only = set(re.findall(r"Family<(\w+),", text))
    kind = kinds.get(named[1]) if named else None
    kind = kind or (only.pop() if len(only) == 1 else None)
    assert kind, f"whose labels? …{before[-80:]}"
    return fields(text, kind)


def declared():
    """Each metric with its type, labels, daemons and meaning."""
    found = {}

    def add(name, kind, labels, crate, about):
        assert name not in found, f"{name} is declared twice"
        # The disk is told by those who keep something there.
        who = STORED if name.startswith("arizuko_data_") else SHARED.get(crate, crate)
        found[name] = (kind, labels, who, about.replace('\\"', '"').rstrip("."))

    for path in sorted((ROOT / "crates").glob("*/src/**/*.rs")):
        text = path.read_text().split("#[cfg(test)]\nmod tests {")[0]
        crate = path.relative_to(ROOT / "crates").parts[0]
        if "tests" in path.parts or path.name == "tests.rs":
            continue
        for made in MADE.finditer(text):
            how, name, about = made.groups()
            kind = {"counter_family": "counter"}.get(how, how)
            labels = family(text, text[:made.start()]) if how == "counter_family" else []
            add(f"arizuko_{name}" + ("_total" if kind == "counter" else ""), kind, labels, crate, about)
        for name, about, field in REGISTERED.findall(text):
            kind, struct = re.search(rf"{field}: Family<(\w+), (Counter|Histogram)", text).groups()[::-1]
            ending = "_total" if kind == "Counter" else ""
            add(name + ending, kind.lower(), fields(text, struct), crate, about)
        described = list(DESCRIBED.finditer(text))
        for at, one in enumerate(described):
            end = described[at + 1].start() if at + 1 < len(described) else len(text)
            labels = re.search(r"let labels = (\w+) \{", text[one.end():end])
            add(one[1], one[3].lower(), fields(text, labels[1]) if labels else [], crate, one[2])
    return found


def table(found):
    rows = []
    for name, (kind, labels, who, about) in sorted(found.items()):
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {kind} | {shown} | {who} | {about} |")
    return HEAD + "\n".join(rows) + "\n"


def shown(text):
    """What a daemon shows: name to type, meaning and label names."""
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    told = {}
    for name, about in re.findall(r"^# HELP (\w+) (.*)$", text, re.M):
        kind = kinds[name]
        told[name + ("_total" if kind == "counter" else "")] = [kind, about.rstrip("."), set()]
    for name, labels in re.findall(r"^(arizuko_\w+)(?:\{(.*)\})? ", text, re.M):
        base = name if name in told else re.sub(r"_(bucket|sum|count)$", "", name)
        told[base][2] |= set(re.findall(r"(\w+)=\"", labels)) - {"le"}
    return told


def compared(program, found):
    """What a running suite shows that is not what is declared."""
    seen = set()
    with tempfile.TemporaryDirectory(prefix="az", dir="/tmp") as place:
        suite = stories.Suite(program, pathlib.Path(place))
        try:
            suite.start()
            suite.az("ask", "hello")
            suite.az("secrets", "rotate", "CHANNEL_SECRET")
            suite.post("routd", "/v1/messages", "this-is-nobodys-secret", {})
            suite.post("authd", "/v1/service-token", "this-is-nobodys-secret", {"daemon": "webd"})
            for daemon, port in suite.daemons().items():
                text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
                for name, (kind, about, labels) in shown(text).items():
                    seen.add(name)
                    if name not in found:
                        yield f"{daemon} shows {name}, which is declared nowhere"
                        continue
                    known_kind, known_labels, who, known_about = found[name]
                    if (kind, about) != (known_kind, known_about) or not labels <= set(known_labels):
                        yield f"{daemon} shows {name} as {kind}, {about}, {labels}"
                    if who != EVERY and daemon not in who.split(", "):
                        yield f"{daemon} shows {name}, which is of {who}"
        finally:
            suite.end()
    if len(seen) < len(found) * 2 / 3:
        yield f"the suite showed {len(seen)} of {len(found)} metrics; that proves little"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--program")
    args = parser.parse_args()
    found = declared()
    made = table(found)
    if args.write:
        REFERENCE.write_text(made)
    troubles = []
    if REFERENCE.read_text() != made:
        troubles.append("docs/reference/metrics.md is not what is declared; make it anew with tests/deploy/metrics.py --write")
    if args.program:
        troubles += compared(args.program, found)
    for trouble in troubles:
        print(f"FAILED: {trouble}")
    print(f"metrics: {len(found)} of them, {len(troubles)} troubles")
    sys.exit(1 if troubles else 0)


if __name__ == "__main__":
    main()
