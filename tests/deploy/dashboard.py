"""Whether the dashboard of deploy/grafana asks for what there is, in words that Prometheus understands."""
import json
import pathlib
import re
import subprocess

DASHBOARD = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "grafana" / "arizuko.json"


def expressions(panel):
    for inner in panel.get("panels", []):
        yield from expressions(inner)
    for target in panel.get("targets", []):
        yield panel["title"], target["expr"]


def troubles(promtool, metrics, place):
    """What is wrong with it, a line each."""
    told = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in told["panels"] if panel["type"] != "row"]
    if len({panel["id"] for panel in told["panels"]}) != len(told["panels"]):
        yield "two panels have one id"
    cells = [panel["gridPos"] for panel in told["panels"]]
    for at, one in enumerate(cells):
        for other in cells[at + 1:]:
            apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            if not (apart_x or apart_y):
                yield f"panels lie over each other at {one} and {other}"
    rules = []
    for panel in panels:
        if not panel.get("description"):
            yield f"{panel['title']} has no description"
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{panel['title']} has no unit"
        asked = list(expressions(panel))
        if not asked:
            yield f"{panel['title']} asks for nothing"
        for title, expr in asked:
            for name in re.findall(r"arizuko_\w+", expr):
                if name not in metrics:
                    yield f"{title} asks for {name}, which is no metric"
            # What Grafana fills in, as Prometheus would get it.
            plain = re.sub(r"\$__rate_interval", "5m", expr).replace("$site", ".*").replace("$daemon", ".*")
            rules.append(f"      - {{ record: 'a:b', expr: {json.dumps(plain)} }}  # {title}")
    path = place / "dashboard.rules.yaml"
    path.write_text("groups:\n  - name: dashboard\n    rules:\n" + "\n".join(rules) + "\n")
    made = subprocess.run([promtool, "check", "rules", "--lint=none", path], capture_output=True, text=True, timeout=60)
    if made.returncode != 0:
        yield made.stdout + made.stderr
