"""Whether what the documents name is there: files, anchors, settings, metrics, endpoints, options, messages, invariants."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# What a document names and a script makes; and a Deployment, as kubectl writes it.
MADE = {"deploy/compose/secrets.d", "deploy/compose/.env", "deploy/arizuko"}
# Names of others' in capitals: of what is typed into their tools.
FOREIGN = {"PROJECT_ID", "SERVICE_ACCOUNT"}
# Paths of servers that are not ours.
FOREIGN_PATHS = {"/v1/traces"}
# Options of programs that are not ours, as running text names them.
FOREIGN_OPTIONS = {"--internal", "--local"}
# How a quoted text begins that is typed, and not read.
TYPED = re.compile(r"(arizuko|kubectl|docker|helm|sudo|cargo|git|bao|gcloud|aws|systemctl|systemd-\w+|rsync|openssl|promtool"
                   r"|curl|chmod|secrets|target/|tests/|deploy/|routd: keep) ?")
HEADING = re.compile(r"^#+ (.*)$", re.M)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)


def tree():
    """Every file that belongs to the tree, by its path from the root."""
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
        names = listed.stdout.splitlines() if listed.returncode == 0 else []
    except OSError:
        names = []
    if not names:
        names = [path.relative_to(ROOT).as_posix() for top in ("crates", "providers", "deploy", "tests", "docs", ".ci")
                 for path in (ROOT / top).rglob("*") if path.is_file()]
        names += [path.name for path in ROOT.iterdir() if path.is_file()]
    return {name for name in names if (ROOT / name).is_file()}


def text_of(names):
    """The text of files, with strings that go over several lines put together."""
    found = []
    for name in sorted(names):
        try:
            found.append((ROOT / name).read_text())
        except UnicodeDecodeError:
            continue
    return re.sub(r"\\\n\s*", "", "\n".join(found)).replace('\\"', '"')


def anchors(text):
    """What a heading is called in a link, as GitHub and others make it of its words."""
    for heading in HEADING.findall(FENCED.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
        yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


class Names:
    """All that there is to be named."""

    def __init__(self, program, check):
        self.check = check
        self.files = tree()
        self.places = self.files | {parent.as_posix() for name in self.files for parent in pathlib.PurePosixPath(name).parents}
        code = {name for name in self.files if not name.startswith("docs/") and not name.endswith(".md")}
        self.code = text_of(code)
        self.words = set(re.findall(r"\w+", self.code))
        ours = {name for name in code if re.match(r"(crates|providers)/.*/src/.*\.rs", name)}
        self.ours = text_of(ours)
        self.said = re.sub(r"\s+", " ", text_of({name for name in code if name.startswith("deploy/")}) + self.ours)
        self.words |= set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/reference/settings.md").read_text(), re.M))
        self.metrics = set(re.findall(r"`(arizuko_\w+)`", (ROOT / "docs/reference/metrics.md").read_text()))
        self.options = set(re.findall(r"--[a-z][\w-]*", self.help(program, [])))

    def help(self, program, command):
        """The help of a command and of all below it."""
        made = subprocess.run([program, *command, "--help"], capture_output=True, text=True, timeout=60,
                              env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "DATA_DIR": "/nonexistent"})
        listed = re.search(r"^Commands:\n(.*?)(?:\n\n|\Z)", made.stdout, re.M | re.S)
        below = re.findall(r"^  ([a-z][\w-]*)", listed[1], re.M) if listed else []
        return "\n".join([made.stdout, *(self.help(program, [*command, name]) for name in below if name != "help")])

    def look(self, document):
        text = (ROOT / document).read_text()
        self.paths(document, text)
        self.links(document, text)
        if "/decisions/" in document or document == "CHANGELOG.md":
            # They speak of what was, too.
            return
        quoted = [re.sub(r"\s+", " ", one) for one in re.findall(r"`([^`]+)`", FENCED.sub("", text))]
        for one in quoted:
            self.name(document, one)
            self.message(document, one)

    def paths(self, document, text):
        for path in set(re.findall(r"(?<![\w/.<>-])((?:crates|providers|deploy|tests|docs|\.ci)/[\w./*-]*\w)", text)):
            if path in MADE or path.startswith("tests/it") or (ROOT / document).parent.joinpath(path).exists():
                continue
            there = any(ROOT.glob(path)) if "*" in path else path in self.places
            self.check(there, f"{document} names {path}, which is not there")
        for name in set(re.findall(r"`([\w/-]+\.(?:rs|py|sql|css|js))`", text)):
            there = name in self.files or any(path.endswith("/" + name) for path in self.files)
            self.check(there or "/foo/" in name, f"{document} names {name}, and no file is called that")

    def links(self, document, text):
        for link in set(re.findall(r"\]\(([^)\s]*)\)", text)):
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = (ROOT / document).parent / name if name else ROOT / document
            self.check(target.exists(), f"{document} links to {link}, which is not there")
            if anchor and target.is_file():
                self.check(anchor in anchors(target.read_text()), f"{document} links to {link}, and no heading there is called that")

    def name(self, document, one):
        if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+(=.*)?", one):
            word = one.split("=")[0]
            known = word in self.words or word in FOREIGN or word.removesuffix("_PREVIOUS") in self.words
            self.check(known, f"{document} names {word}, which nothing in the tree reads")
        elif re.fullmatch(r"arizuko_[a-z0-9_]+", one) and not re.fullmatch(r"arizuko_(demo|new|session|visitor|login|dash)", one):
            self.check(one in self.metrics, f"{document} names the metric {one}, which is not in the reference")
        elif path := re.fullmatch(r"(?:(?:GET|POST|PUT|DELETE) )?(/(?:v1|turn)/[a-z0-9_/{}-]+)", one):
            self.check(f'"{path[1]}"' in self.ours or path[1] in FOREIGN_PATHS, f"{document} names {path[1]}, which is no endpoint")
        elif option := re.match(r"(--[a-z][\w-]*)", one):
            known = option[1] in self.options or option[1] in FOREIGN_OPTIONS or re.search(rf"{option[1]}\b", self.code)
            self.check(known, f"{document} names {option[1]}, which is an option of nothing here")

    def message(self, document, one):
        """A line that a program says stands in its source, but for what is put into it."""
        if not re.match(r"[a-z…]", one) or "<" in one or len(re.findall(r"[a-z]+ [a-z]+", one)) < 2 or TYPED.match(one):
            return
        for piece in re.split(r"…|[;:] |\d[\d,.]*|\b[A-Z_]+\b", one):
            piece = piece.strip(" .,;:()")
            self.check(len(piece) < 7 or piece in self.said, f"{document} quotes `{one}`, and nothing says `{piece}`")


def invariants(check):
    """Each has a number of its own, a file that is there, and in it what it names."""
    text = (ROOT / "docs/architecture.md").read_text()
    part = re.sub(r"\n    ", " ", text[text.index("## Invariants"):text.index("## Three walks")])
    files = []
    for at, (number, line) in enumerate(re.findall(r"^(\d+)\. (.*)$", part, re.M), 1):
        check(int(number) == at, f"docs/architecture.md: invariant {number} is the {at}th")
        for place in line.partition(" — ")[2].split(";"):
            named = re.findall(r"`([^`]*)`", place)
            files = [ROOT / name for name in named if "/" in name] or files
            held = "\n".join(path.read_text() for path in files if path.is_file())
            for name in (name for name in named if "/" not in name):
                check(re.search(rf"\b{re.escape(name)}\b", held), f"docs/architecture.md: invariant {number} names {name}, which its file has not")


def index(check, documents):
    """Every document is two steps from the index; every crate is in the map."""
    start = ROOT / "docs/README.md"
    reached = {start}
    for _ in range(2):
        for page in list(reached):
            links = (link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]*)\)", page.read_text()))
            reached |= {(page.parent / link).resolve() for link in links if link.endswith(".md") and "://" not in link}
    for document in documents:
        check(ROOT / document in reached, f"{document} is not found within two steps from docs/README.md")
    layout = (ROOT / "docs/architecture.md").read_text().partition("## The layout")[2].partition("Lines lead down")[0]
    for path in [*(ROOT / "crates").iterdir(), *(ROOT / "providers").iterdir()]:
        check(re.search(rf"\b{path.name}\b", layout), f"docs/architecture.md: {path.name} is not in the layout")


def troubles(check, code):
    """What a daemon can call degraded is in a runbook; what the doctor looks at is in its table."""
    books = "\n".join(path.read_text() for path in (ROOT / "docs/runbooks").glob("*.md"))
    for part in set(re.findall(r"\.degraded\(\s*\"([\w ]+)\"", code)):
        check(f"`{part}`" in books, f"docs/runbooks: the part `{part}` that is degraded has no line")
    table = (ROOT / "docs/troubleshooting.md").read_text()
    for look in set(re.findall(r"Finding::\w+\(\s*\"(\w{2,})\"", code)):
        check(f"| `{look}` |" in table, f"docs/troubleshooting.md: the check `{look}` has no row")


def examine(program, documents, check):
    names = Names(program, check)
    for document in documents:
        names.look(document)
    for name in sorted(name for name in names.files if not name.endswith((".md", ".png"))):
        for page in set(re.findall(r"(?<![\w/.-])docs/[\w/-]+\.md", text_of({name}))):
            check((ROOT / page).exists(), f"{name} speaks of {page}, which is not there")
    troubles(check, names.ours)
    invariants(check)
    index(check, documents)
