"""Troubles that are made on purpose, and the alerts that must be all there is to hear of them."""
import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from checks import run

# How many seconds of here a minute of the rules is.
MINUTE = 3
# How long anything may take before a story gives up. A bound, never a measurement.
LIMIT = 180
# Set when the program is to end, so that what was started ends before it.
STOP = threading.Event()
# Alerts that need what cannot be had in one process and a minute. Their unit tests stand alone.
UNIT_ONLY = {
    "ArizukoEventsWait": "a hundred events of a platform, while routd is away and its adapter is not",
    "ArizukoDiskLow": "it is ArizukoDiskFull with another figure",
    "ArizukoTlsTrouble": "a TLS port that is taken, where proxyd is a process of its own",
    "ArizukoCertificateEndsSoon": "it is ArizukoCertificateEnds with another figure",
}
# Every alert that some story waits for.
EXPECTED = set()


def shortened(rules):
    """The rules with every duration shorter; days stay days."""
    rules = re.sub(r"(for: |\[|offset )(\d+)m", lambda m: f"{m[1]}{int(m[2]) * MINUTE}s", rules)
    return rules.replace("* 60", f"* {MINUTE}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(what, reached, limit=LIMIT):
    end = time.monotonic() + limit
    while True:
        found = reached()
        if found:
            return found
        if STOP.wait(0.2):
            raise SystemExit
        if time.monotonic() > end:
            raise TimeoutError(what)


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.loads(answer.read())


class Platform:
    """What stands in for Telegram's API and for an adapter that was registered with routd: it does what it is told."""

    def __init__(self):
        self.does, self.calls = "refuse", 0
        platform = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                does = platform.does
                platform.calls += 1
                if does == "break":
                    platform.does = "send"
                    self.close_connection = True
                    return
                status, body = {
                    "refuse": (401, {"ok": False, "error_code": 401, "description": "Unauthorized"}),
                    "later": (503, {"code": "transient", "title": "later", "status": 503}),
                    "send": (200, {"ids": [f"p{platform.calls}"]}),
                }[does]
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Suite:
    """`arizuko up` in a directory of its own, on a file system of its own where that can be had."""

    counting, count = threading.Lock(), 0

    def __init__(self, program, place):
        self.program, self.data, self.process = program, place / "d", None
        self.log = (place / "up.log").open("a")
        self.data.mkdir()
        self.own_disk = run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", self.data).returncode == 0
        self.data.chmod(0o700)
        self.platform = Platform()
        self.base = self.ports()
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(place), "DATA_DIR": str(self.data), "LOG_FORMAT": "text",
            "TELEGRAM_API_URL": self.platform.url, "SLACK_API_URL": "http://127.0.0.1:1/api",
            "MAX_CONCURRENT_RUNS": "1", "SECRETS_POLL_INTERVAL": "2s",
        }

    @staticmethod
    def ports():
        """A base with room above it, below what the kernel gives away, so that a restart listens where the one before did.

        It begins with another one in each process: several run at once.
        """
        with Suite.counting:
            Suite.count += 1
            first = os.getpid() + Suite.count * 137
        for n in range(550):
            base = 21_000 + (first + n) % 550 * 20
            try:
                for port in range(base, base + 13):
                    with socket.socket() as one:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        one.bind(("127.0.0.1", port))
                return base
            except OSError:
                continue
        raise OSError("no free ports")

    def command(self, *args):
        return [self.program, *args]

    def start(self):
        self.process = subprocess.Popen(
            self.command("up", "--port-base", str(self.base)), env=self.environment,
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready "):
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        assert self.process.poll() is None, "up ended"

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(LIMIT)

    def end(self):
        self.stop()
        if self.own_disk:
            run("umount", "-l", self.data)

    def az(self, *args, given=None, ok=True):
        made = run(self.program, *args, env=self.environment, input=given)
        assert not ok or made.returncode == 0, f"{args}: {made.stdout}{made.stderr}"
        return made

    def ask(self, text, *more):
        return subprocess.Popen(self.command("ask", *more, text), env=self.environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def daemons(self):
        ports = {name: self.base + at for at, name in enumerate(
            ["routd", "authd", "runed", "timed", "onbod", "dashd", "webd", "teled", "slakd"])}
        return {**ports, "proxyd": self.base + 11}

    def secret(self, name):
        found = re.search(rf"^{name}=(.*)$", (self.data / ".env").read_text(), re.M)
        return found[1].strip("\"'")

    def write(self, **values):
        """Sets or, with None, removes lines of the `.env`, by one rename as an editor would."""
        lines = [line for line in (self.data / ".env").read_text().splitlines()
                 if line.split("=", 1)[0] not in values]
        lines += [f"{name}={value}" for name, value in values.items() if value is not None]
        new = self.data / ".env.new"
        new.write_text("\n".join(lines) + "\n")
        new.chmod(0o600)
        new.rename(self.data / ".env")

    def post(self, daemon, path, bearer, body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.daemons()[daemon]}{path}", json.dumps(body).encode(),
            {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


class Watch:
    """A Prometheus with the rules, made shorter."""

    def __init__(self, prometheus, rules, place, targets):
        (place / "rules.yaml").write_text(shortened(rules.read_text()))
        listed = [{"targets": [f"127.0.0.1:{port}"], "labels": {"daemon": name}} for name, port in targets.items()]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "arizuko", "static_configs": listed,
                                "relabel_configs": [{"target_label": "site", "replacement": "test"}]}],
        }
        # JSON is YAML.
        (place / "prometheus.yaml").write_text(json.dumps(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [prometheus, f"--config.file={place / 'prometheus.yaml'}", f"--storage.tsdb.path={place / 'tsdb'}",
             f"--web.listen-address={self.url[7:]}", "--log.level=error"],
            stdout=subprocess.DEVNULL, stderr=(place / "prometheus.log").open("w"))
        until("Prometheus answers", self.answers)

    def answers(self):
        try:
            return self.up() == 10
        except (OSError, KeyError):
            return False

    def up(self):
        found = get(f"{self.url}/api/v1/query?query=sum(up)")["data"]["result"]
        return int(found[0]["value"][1]) if found else 0

    def firing(self):
        alerts = get(f"{self.url}/api/v1/alerts", 20)["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def end(self):
        self.process.terminate()
        self.process.wait(LIMIT)


class Story:
    """What happens, which alerts must be heard, which others may be, and how it is put right."""

    def __init__(self, *must, may=()):
        self.must, self.may = set(must), set(may)
        EXPECTED.update(must)

    def __call__(self, function):
        self.name, self.function = function.__name__, function
        STORIES.append(self)
        return self


STORIES = []


def repeat(what):
    """Does something again and again until it is told to stop."""
    stop = threading.Event()

    def body():
        while not stop.wait(0.2):
            what()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return lambda: (stop.set(), thread.join(LIMIT))


@Story()
def what_is_as_it_should_be(suite):
    suite.az("ask", "hello")
    suite.az("ask", "fail", ok=False)
    suite.az("secrets", "rotate", "CHANNEL_SECRET")
    yield
    suite.az("ask", "hello")


@Story("ArizukoSecretError")
def a_value_that_will_not_do(suite):
    good = suite.secret("CHANNEL_SECRET")
    suite.write(CHANNEL_SECRET="short")
    yield
    suite.write(CHANNEL_SECRET=good)


@Story("ArizukoSecretError", "ArizukoSecretStale")
def a_source_that_cannot_be_read(suite):
    (suite.data / ".env").chmod(0o644)
    yield
    (suite.data / ".env").chmod(0o600)


@Story("ArizukoSecretPreviousUsed")
def an_adapter_that_goes_on_with_the_earlier_value(suite):
    old = suite.secret("CHANNEL_SECRET")
    suite.az("secrets", "rotate", "CHANNEL_SECRET")
    known = {"name": "late", "url": "http://127.0.0.1:1", "jid_prefixes": ["slack:"]}
    told = suite.post("routd", "/v1/channels/register", old, known)
    assert told == 200, f"the earlier value was not taken: {told}"
    stop = repeat(lambda: suite.post("routd", "/v1/channels/register", old, known))
    yield
    stop()


@Story("ArizukoServiceKeyRefused")
def a_service_key_that_is_wrong(suite):
    wrong = "this-is-not-the-key-of-anybody"
    stop = repeat(lambda: suite.post("authd", "/v1/service-token", wrong, {"daemon": "webd"}))
    yield
    stop()


@Story("ArizukoSecretAttention", "ArizukoAdapterTrouble")
def a_token_that_the_platform_refuses(suite):
    suite.platform.does = "refuse"
    suite.write(TELEGRAM_BOT_TOKEN="12345678:a-token-that-telegram-does-not-know-any-more")
    yield
    suite.stop()
    suite.write(TELEGRAM_BOT_TOKEN=None)
    suite.start()


def pair(place, name, days):
    """A self-signed pair for the edge, as PEM on one line each."""
    key, cert = place / f"{name}.key", place / f"{name}.crt"
    made = run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", key, "-out", cert, "-days", str(days), "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost")
    assert made.returncode == 0, made.stderr
    return cert, key


@Story("ArizukoCertificateEnds", "ArizukoSecretError")
def a_certificate_that_ends_tomorrow_and_one_without_its_key(suite):
    place = suite.data / "tls"
    place.mkdir(exist_ok=True)
    cert, key = pair(place, "short", 1)
    suite.write(PROXYD_TLS_CERT=cert, PROXYD_TLS_KEY=key)
    ends = "arizuko_tls_certificate_ends_timestamp_seconds "
    port = suite.daemons()["proxyd"]

    def shown():
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        return next(float(line[len(ends):]) for line in text.splitlines() if line.startswith(ends))

    until("the edge shows it", lambda: shown() > 0)
    other, _ = pair(place, "other", 90)
    other.rename(cert)
    yield
    good, its_key = pair(place, "good", 90)
    suite.write(PROXYD_TLS_CERT=good, PROXYD_TLS_KEY=its_key)


def as_adapter(suite):
    known = {"name": "telegram", "url": suite.platform.url, "jid_prefixes": ["telegram:"]}
    told = suite.post("routd", "/v1/channels/register", suite.secret("CHANNEL_SECRET"), known)
    assert told == 200, told
    suite.az("route", "add", "--match", "platform=telegram", "--target", "main", ok=False)


def say(suite, text):
    message = {"id": f"m{time.time_ns()}", "chat_jid": "telegram:user/1", "sender": "telegram:user/1", "content": text}
    told = suite.post("routd", "/v1/messages", suite.secret("CHANNEL_SECRET"), message)
    assert told == 200, told


@Story("ArizukoOutboxStuck", may=["ArizukoAdapterTrouble"])
def replies_that_no_platform_takes(suite):
    suite.platform.does = "later"
    as_adapter(suite)
    say(suite, "hello")
    yield
    suite.platform.does = "send"


@Story("ArizukoOutboxAmbiguous", may=["ArizukoAdapterTrouble"])
def a_reply_of_which_nobody_knows(suite):
    suite.platform.does = "send"
    as_adapter(suite)
    suite.platform.does = "break"
    say(suite, "perhaps")
    until("it was broken off", lambda: suite.platform.does == "send")
    say(suite, "and this one is sent")
    yield


@Story("ArizukoRunsWait")
def one_place_for_two_folders(suite):
    suite.az("group", "add", "second", ok=False)
    first = suite.ask(f"wait {20 * MINUTE}")
    time.sleep(2)
    second = suite.ask("hello", "--folder", "second")
    yield
    first.wait(LIMIT)
    second.wait(LIMIT)


@Story("ArizukoTurnsFailing")
def turns_that_fail(suite):
    def fail():
        suite.ask("fail").wait(LIMIT)

    stop = repeat(fail)
    yield
    stop()
    for _ in range(3):
        suite.az("ask", "hello")


@Story("ArizukoBreakerOpen", may=["ArizukoTurnsFailing", "ArizukoRunsWait"])
def runs_that_cannot_be_started(suite):
    runs, aside = suite.data / "run" / "r", suite.data / "run" / "aside"
    runs.rename(aside)
    runs.write_text("in the way")
    asked = [suite.ask("hello")]
    yield
    runs.unlink()
    aside.rename(runs)
    for one in asked:
        one.wait(LIMIT)


@Story("ArizukoDiskFull", "ArizukoDatabaseTrouble", "ArizukoScheduleLate",
       "ArizukoDegraded",
       may=["ArizukoNoAgents", "ArizukoTurnsFailing", "ArizukoBreakerOpen", "ArizukoSecretAttention"])
def a_full_disk(suite):
    if not suite.own_disk:
        return "no mount here, so the disk was not filled"
    suite.az("task", "add", "--folder", "main", "every 1m", "tick")
    filler = suite.data / "filler"
    with filler.open("wb") as into:
        try:
            while True:
                into.write(bytes(1 << 20))
        except OSError:
            pass
    # A log that was longer before has room of its own: it is used up by what nobody answers.
    secret, refused = suite.secret("CHANNEL_SECRET"), 0
    for n in range(500):
        message = {"id": f"full{n}", "chat_jid": "slack:T1/channel/C1", "sender": "slack:user/1", "content": "x" * 100_000}
        refused += suite.post("routd", "/v1/messages", secret, message) == 503
        if refused > 3:
            break
    assert refused, "the disk is full, and messages are taken"
    asked = suite.ask("is there room?")
    yield
    filler.unlink()
    asked.kill()
    asked.wait(LIMIT)
    for row in json.loads(suite.az("--json", "task", "list").stdout)["schedules"]:
        suite.az("task", "rm", row["id"])
    # A previous value whose overlap ended meanwhile could not be removed; nobody tries again for a while.
    suite.az("secrets", "refresh")


def apart(suite, *daemons):
    """Some daemons as processes of their own, where they are in one process."""
    ports, names = suite.daemons(), {"routd": "ROUTER_URL"}
    environment = {**suite.environment,
                   **{names.get(name, f"{name.upper()}_URL"): f"http://127.0.0.1:{port}" for name, port in ports.items()}}
    found = []
    for name in daemons:
        own = {**environment, "LISTEN_ADDR": f"127.0.0.1:{ports[name]}"}
        found.append(subprocess.Popen(suite.command("run", name), env=own, stdout=subprocess.DEVNULL, stderr=suite.log))
    return found, environment


@Story("ArizukoDaemonDown", "ArizukoNoAgents")
def a_runed_that_is_gone(suite):
    suite.stop()
    running, environment = apart(suite, "authd", "routd")
    until("routd is ready", lambda: run(suite.program, "health", "routd", env=environment).returncode == 0)
    asked = subprocess.Popen(suite.command("ask", "is anybody there?"), env=environment,
                             stdout=subprocess.DEVNULL, stderr=suite.log)
    yield
    for one in [asked, *running]:
        one.terminate()
        one.wait(LIMIT)
    suite.start()


@Story("ArizukoDaemonDown", "ArizukoDaemonNotReady")
def a_suite_that_is_gone_and_a_daemon_that_waits_for_it(suite):
    suite.stop()
    [alone], _ = apart(suite, "webd")
    yield
    alone.terminate()
    alone.wait(LIMIT)
    suite.start()


def played(story, suite, watch):
    """One story, and what came of it: lines, each with whether it holds."""
    heard = set()
    acts = story.function(suite)

    def hears(*wanted):
        heard.update(watch.firing())
        return set(wanted) <= heard

    try:
        next(acts)
    except StopIteration as why:
        print(f"alerts: not verified ({story.name}: {why.value})")
        return
    try:
        until("", lambda: hears(*story.must))
        # What would be too much has as long as the longest of the rules to be heard.
        if not story.must:
            end = time.monotonic() + 8 * MINUTE
            until("", lambda: hears() and time.monotonic() > end)
    except TimeoutError:
        pass
    yield f"{story.name}: heard {sorted(heard)}, and not {sorted(story.must - heard)}", story.must <= heard
    next(acts, None)
    try:
        until("", lambda: not watch.firing())
    except TimeoutError:
        yield f"{story.name}: it is over, and still heard: {sorted(watch.firing())}", False
    extra = heard - story.must - story.may
    yield f"{story.name}: heard {sorted(extra)} as well", not extra


def told(program, prometheus, rules, left):
    """Stories until none is left, on one instance."""
    found = []
    # A short path: sockets of turns have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="az", dir="/tmp") as place:
        place = pathlib.Path(place)
        suite, watch = Suite(program, place), None
        try:
            suite.start()
            watch = Watch(prometheus, rules, place, suite.daemons())
            for story in left:
                began = time.monotonic()
                try:
                    found += played(story, suite, watch)
                except (AssertionError, OSError, subprocess.SubprocessError, TimeoutError) as error:
                    found.append((f"{story.name}: it could not be told: {error!r}", False))
                print(f"alerts: {story.name}: {time.monotonic() - began:.0f} s", flush=True)
        finally:
            if watch:
                watch.end()
            suite.end()
    return found


def play(program, prometheus, rules, only):
    """All stories, or those that are named, on two instances beside each other. What came of each."""
    if not shutil.which("openssl"):
        print("alerts: not verified (no openssl to make certificates with)")
        return []
    # The longest first.
    chosen = sorted(STORIES, key=lambda story: story.name != "a_full_disk")
    left = iter([story for story in chosen if not only or story.name in only])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(told, program, prometheus, rules, left) for _ in range(2)]
        return [one for part in parts for one in part.result()]
