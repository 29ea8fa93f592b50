#!/usr/bin/env python3
"""Whether what the documents tell people to type works as it is written.

    tests/deploy/commands.py --program FILE [--only DOCUMENT]... [--list]

Every fenced block of commands (`sh`, `console`) of every document is run, or has a reason why it is not; the reasons
are below, and --list prints them. A document of PLAYED is run from its first command to its last, in an instance of
its own, and prints what stands below it. Of the others, and of those in running text, every `arizuko` command is
understood by the program: its commands, its options and their values; and so is every `SECRETS_SOURCES=`. What the
documents name besides is looked for by `named.py`.
"""
import argparse
import concurrent.futures
import os
import pathlib
import pty
import re
import shlex
import subprocess
import tempfile
import threading

import named
from checks import ROOT, Checks, run
from stories import LIMIT, Suite, pair, until

# Documents whose commands are run in order: with nothing there, or with an instance that runs.
PLAYED = {
    "README.md": "nothing",
    "docs/quickstart.md": "nothing",
    "docs/compose.md": "nothing",
    "docs/schedules.md": "running",
    "docs/agents.md": "running",
    "docs/models.md": "running",
    "docs/troubleshooting.md": "running",
    "docs/dashboard.md": "running",
    "docs/operations.md": "nothing",
    "docs/logins.md": "running",
    "docs/backup.md": "running",
    "docs/upgrade.md": "running",
    "docs/runbooks/README.md": "running",
    "docs/runbooks/adapters.md": "running",
    "docs/runbooks/agents.md": "running",
    "docs/runbooks/certificates.md": "running",
    "docs/runbooks/daemons.md": "running",
    "docs/runbooks/disk.md": "running",
    "docs/runbooks/leaked.md": "running",
    "docs/runbooks/rotate.md": "running",
    "docs/runbooks/secrets.md": "running",
    "docs/scaling.md": "running",
}
# Why a command is not run here. The first that fits counts.
REASONS = [
    (r"^(\w+=\S+ )*(cargo|tests/fuzz/run|\./tests/run|alias arizuko=|rustup)", "builds or tests the program, which is done already"),
    (r"^install .*target/release", "installs what a build made"),
    (r"^(sudo (?!deploy/compose/secrets)|systemctl|systemd-analyze)", "changes this machine; the units are examined by systemd-analyze"),
    (r"^(kubectl|helm|cd deploy/kubernetes|\.\./make-secret|deploy/kubernetes/make-secret|curl .*kubernetes)",
     "needs a cluster; flows::walk types docs/kubernetes.md at one, tests/deploy/check.py examines what is applied"),
    (r"^(docker|deploy/docker|CONTAINER_BACKEND=docker|ARIZUKO_\w+=\S+ (docker|deploy)|cp deploy/compose|cd deploy/compose)",
     "needs a Docker engine and images; the suite's Docker stories do it where there is one"),
    (r"^(printf '{}' \| )?(gcloud|bao|aws|az|vault) ", "needs an account or a server of the vendor's"),
    (r"^curl .*example\.org", "asks a host of the reader's"),
    (r"^cat > ", "writes a file of a deployment"),
    (r"^prometheus ", "goes on for ever; tests/deploy/alerts.py runs it"),
    (r"^arizuko secrets set (SLACK|TELEGRAM)_|^arizuko route add --match .platform=", "needs an app or a bot at the platform"),
    (r"^arizuko approval (show|approve|deny) ap-", "needs a call that waits; flows::approvals has them"),
    (r"^arizuko trace ID", "needs the id of a message"),
    (r"^arizuko (--json )?chaos(?! --messages 40)", "takes minutes; flows::chaos and docs/quickstart.md do it"),
    (r"^arizuko up$", "runs with free ports instead"),
    (r"^tests/bench/", "measures, for minutes"),
]
# What stands for what a reader has, in the directory of the play.
FILES = ["key.txt", "new-key.txt", "token.txt", "token", "key", "secret"]
# Folders that documents speak of.
FOLDERS = ["corp", "acme", "acme/eng"]
# Words that stand for one.
PLACES = {"FOLDER": "main", "DAEMON": "routd", "N": "1", "JID": "telegram:user/1", "": "nothing"}
# What EKS says to a pod of who it is.
CLUSTER = {"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/arizuko", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent",
           "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
           "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nonexistent"}
WORLD = re.compile(r"…|YOUR[._]")

# Documents that are played at once: most of the time each waits for its own instance.
AT_ONCE = 4

checks = Checks("commands")
check = checks.check


def documents():
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


# What colours a terminal.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def missing(told, printed):
    """The first line of a sample that was not printed after those before it.

    A word with a digit or `…` in it, a path and an address may be another; a line `…` stands for any.
    """
    lines = [" ".join(COLOUR.sub("", line).split()) for line in printed.splitlines()]
    for sample in told:
        if sample.strip() == "…":
            continue
        words = [r".*" if re.search(r"[\d…]|^/|://", word) else re.escape(word) for word in sample.split()]
        at = next((at for at, line in enumerate(lines) if re.fullmatch(" ".join(words), line)), None)
        if at is None:
            return sample
        lines = lines[at + 1:]
    return None


def blocks(text, told):
    """The fenced blocks of commands, each as a list of commands. `told` gets what it says that each prints."""
    for kind, body in re.findall(r"^```(sh|console)\n(.*?)^```", text, re.M | re.S):
        body = body.replace("\\\n", " ")
        lines = [line.strip() for line in body.splitlines()]
        if kind == "console" or any(line.startswith("$ ") for line in lines):
            last = None
            for line in lines:
                if line.startswith("$ "):
                    last = line[2:]
                elif last and line:
                    told.setdefault(last, []).append(line)
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        yield [line for line in lines if line and not line.startswith("#")]


def reason(command):
    return next((why for pattern, why in REASONS if re.search(pattern, command)), None)


def words(command):
    """The words of the `arizuko` command in it, without what the shell does with it."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|<>&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found = list(lexer)
    names = [n for n, word in enumerate(found) if word == "arizuko" or (word.endswith("/arizuko") and "=" not in word)]
    if {"kubectl", "docker"} & set(found) or "kubectl" in command:
        # In a container: what comes after its name.
        names = [n for n in names if n and found[n - 1] in ("--", "arizuko", "routd")]
        names = names[-1:]
    if not names or {"alias", "install", "rsync", "bao", "gcloud", "aws"} & set(found[:names[0]]):
        return None
    at = names[0]
    told = []
    for word in found[at + 1:]:
        if word and set(word) <= set("|<>&;)"):
            break
        told.append(PLACES.get(word, word))
    return told


# What the program was asked already.
asked = set()


def understood(program, where, command):
    try:
        told = words(command)
    except ValueError as error:
        return check(False, f"{where}: `{command}` is no command: {error}")
    if told is None:
        return
    if told[:1] == ["group"]:
        told = ["offline" if word == "NAME" else word for word in told]
    if told[:1] in (["ant"], ["launch"], ["shim"]) or "--help" in told or tuple(told) in asked:
        return
    asked.add(tuple(told))
    # Help is printed once all that stands before it was understood.
    made = run(program, *told, "--help", env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DATA_DIR": "/nonexistent"})
    # Running text may name an option without its value.
    named = told[-1:] and told[-1].startswith("--") and f"a value is required for '{told[-1]} " in made.stderr
    check(made.returncode == 0 or named, f"{where}: `{command}`: {made.stderr.strip()}")


class Play:
    """A document's commands, one after the other."""

    def __init__(self, program, place, document, told):
        self.place, self.document, self.told, self.exports = place, document, told, []
        (place / "bin").mkdir()
        (place / "bin" / "arizuko").symlink_to(program)
        self.suite = Suite(program, place)
        self.up = None
        home = place / "home"
        (home / ".local" / "bin").mkdir(parents=True)
        self.environment = {**self.suite.environment, "HOME": str(home), "ARIZUKO_SECRETS": str(place / "s"),
                            "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
        if PLAYED[document] == "nothing":
            # A directory that is not there yet.
            self.environment["DATA_DIR"] = str(self.suite.data / "i")
        for name in FILES:
            (place / name).write_text(f"a-value-that-stands-for-{name}\n")
        for name in ("bac", "srv"):
            (place / name).mkdir()
        for name in ("deploy", "docs", "tests"):
            (place / name).symlink_to(ROOT / name)

    def begin(self):
        if PLAYED[self.document] == "nothing":
            return
        self.suite.start()
        assert self.shell("deploy/compose/secrets init").returncode == 0
        for folder in FOLDERS:
            self.suite.az("group", "add", folder)
        (self.place / "secrets.env").write_text((self.suite.data / ".env").read_text())
        cert, key = pair(self.place, "made", 90)
        cert.rename(self.place / "new.crt")
        key.rename(self.place / "new.key")

    def shell(self, command):
        text = "set -euo pipefail\n" + "\n".join([*self.exports, command])
        return run("bash", "-c", text, env=self.environment, cwd=self.place)

    def bound(self, command):
        """The command with this play's own addresses and directories."""
        command = command.replace("127.0.0.1:8443", f"127.0.0.1:{self.suite.base + 12}")
        return re.sub(r"/(backups|srv/data)/", lambda there: f"{self.place}/{there[1][:3]}/", command)

    def run(self, command):
        if re.match(r"(export|cd|alias) ", command):
            self.exports.append(self.bound(command))
            return
        if re.match(r"arizuko up\b", command):
            return self.start(command)
        # Whoever runs this may write where the reader is asked to be root.
        made = self.shell(self.bound(command.removeprefix("sudo ")))
        check(made.returncode == 0, f"{self.document}: `{command}` ended with {made.returncode}: {made.stdout}{made.stderr}")
        self.compare(command, made.stdout + made.stderr)

    def compare(self, command, printed):
        lacks = missing(self.told.get(command, []), printed)
        check(lacks is None, f"{self.document}: `{command}` does not print `{lacks}`: {printed}")

    def start(self, command, written=None):
        """Runs `up` at a terminal, as whoever reads the document does."""
        text = "\n".join([*self.exports, f"exec {command}"])
        printed, (ours, theirs) = [], pty.openpty()
        self.up = subprocess.Popen(["bash", "-c", text], env=self.environment, cwd=self.place, stdout=theirs, stderr=theirs)
        os.close(theirs)

        def listen():
            while True:
                try:
                    printed.append(os.read(ours, 4096).decode(errors="replace"))
                except OSError:
                    # The other end is closed.
                    return os.close(ours)

        threading.Thread(target=listen, daemon=True).start()
        told = self.told.get(written or command, [])
        until(f"{self.document}: `{command}` is ready", lambda: "ready " in "".join(printed))
        try:
            until("the whole sample", lambda: missing(told, "".join(printed)) is None, 30)
        except TimeoutError:
            self.compare(written or command, "".join(printed))

    def end(self):
        if self.up:
            self.up.terminate()
            self.up.wait(LIMIT)
        self.suite.end()


def played(program, document, found, told):
    with tempfile.TemporaryDirectory(prefix="az", dir="/tmp") as place:
        play = Play(program, pathlib.Path(place), document, told)
        try:
            play.begin()
            for commands in found:
                for command in commands:
                    why = reason(command)
                    if re.fullmatch(r"(arizuko|cargo run --) up *(#.*)?", command):
                        # On ports that are free.
                        play.start("arizuko up --port-base 0", command)
                    elif why or WORLD.search(command):
                        continue
                    else:
                        play.run(command)
        except (AssertionError, OSError, TimeoutError, subprocess.SubprocessError) as error:
            check(False, f"{document}: it could not be played: {error!r}")
        finally:
            play.end()


def sources(program, document, text):
    """Whether what a document has SECRETS_SOURCES be is taken. Nobody answers there, which is no matter."""
    for urls in re.findall(r"\bSECRETS_SOURCES='?(\S*://[^\s'`]*)", text):
        if WORLD.search(urls) or re.search(r"PATH|%", urls):
            continue
        with tempfile.TemporaryDirectory(prefix="az", dir="/tmp") as place:
            made = run(program, "secrets", "check", env={
                "PATH": os.environ["PATH"], "HOME": place, "DATA_DIR": place, "SECRETS_SOURCES": urls, **CLUSTER})
        said = made.stdout + made.stderr
        check(not re.search(r"SECRETS_SOURCES(:| is )", said), f"{document}: `SECRETS_SOURCES={urls}` is not understood: {said}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--only", action="append")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--read", action="store_true", help="run nothing; only see what is understood")
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    check(set(PLAYED) <= set(documents()), f"no such documents: {set(PLAYED) - set(documents())}")
    counts = {"run": 0, "understood": 0}
    plays = []
    for document in documents():
        if args.only and document not in args.only:
            continue
        text = (ROOT / document).read_text()
        told = {}
        found = list(blocks(text, told))
        for command in (command for commands in found for command in commands):
            why = reason(command)
            if document in PLAYED:
                counts["run"] += 0 if why else 1
            elif not why and re.match(r"(export |cd |alias )|\w+=\S+$|\w+=[$'\"]", command):
                why = "sets what the commands beside it use"
            elif not why and WORLD.search(command):
                why = "has something of the reader's own in it"
            elif not why:
                why = "is understood, and needs the world that its document describes" if words(command) else None
                check(why is not None, f"{document}: `{command}` is neither run nor has a reason why it is not")
            if args.list:
                print(f"{document}: {command}  [{why or 'run'}]")
            understood(program, document, command)
            counts["understood"] += 1
        if not args.list:
            sources(program, document, text)
        # A decision may speak of what was, or of what no operator types.
        inline = [] if "/decisions/" in document else re.findall(r"`(arizuko [a-z][^`]*)`", text)
        for command in inline:
            # Forms with a choice in them are no commands.
            if not re.search(r"[|\[\]\n…{}]", command):
                understood(program, document, command)
                counts["understood"] += 1
        if document in PLAYED and found and not args.read:
            plays.append((program, document, found, told))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for play in [pool.submit(played, *play) for play in plays]:
            play.result()
    if not args.only:
        named.examine(program, documents(), check)
    checks.end(f"{counts['run']} run, {counts['understood']} understood, ")


if __name__ == "__main__":
    main()
