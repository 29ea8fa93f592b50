"""An agent in the hands of somebody else: it tries every way out that it knows of, and says of each what became of it.

It is started as `attacker.py CONFIG`, writes its report to `report.json` beside it, and its reply is for the web chat.
An attempt that gets somewhere returns what it got; all others raise, and what they raise is what stopped them.
"""

import ctypes, errno, glob, http.client, json, os, socket, struct, sys, time

HOME = os.environ["HOME"]
MCP = os.environ["ARIZUKO_MCP_SOCKET"]
config = json.load(open(sys.argv[1]))
prompt = sys.stdin.read()
libc = ctypes.CDLL(None, use_errno=True)
report = {}


def attempt(name, act):
    """Does `act`; what it returns has got out, what it raises has not."""
    try:
        report[name] = {"reached": True, "how": repr(act())[:2000]}
    except BaseException as why:
        report[name] = {"reached": False, "how": f"{type(why).__name__}: {why}"[:300]}


def call(number, *arguments):
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


class OnSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("turn", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def ask(path, method="GET", body=None, where=MCP):
    connection = OnSocket(where)
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")


def refused(status, text):
    if status >= 400:
        raise PermissionError(f"{status} {text}")
    return text


def tool(name, **arguments):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    answer = json.loads(refused(*ask("/mcp", "POST", body)))
    if "error" in answer or answer["result"].get("isError"):
        raise PermissionError(json.dumps(answer.get("error") or answer["result"]["content"]))
    return answer["result"]


# --- the network -----------------------------------------------------------------------------------------------------

def tcp(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as way:
        way.settimeout(3)
        way.connect((host, port))
        way.sendall(b"GET /out?" + config["mark"].encode() + b" HTTP/1.0\r\n\r\n")
        return host


def udp(host, port):
    # To have sent it is to have got out: nobody need answer.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        return way.sendto(config["mark"].encode(), (host, port))


def resolver():
    file = "/etc/resolv.conf"
    lines = open(file).readlines() if os.path.exists(file) else []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    servers = [server for server in servers if not server.startswith("127.")]
    question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x07example\x03com\x00" + struct.pack(">HH", 1, 1)
    for server in servers or config["resolvers"]:
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as way:
            return way.sendto(question, (server, 53))


def interfaces():
    import fcntl
    up = []
    with socket.socket() as way:
        for _, name in socket.if_nameindex():
            flags = fcntl.ioctl(way, 0x8913, struct.pack("16sH14x", name.encode(), 0))
            if name != "lo" and struct.unpack_from("H", flags, 16)[0] & 1:
                up.append(name)
    if not up:
        raise OSError("nothing but a loopback interface is up")
    return up


def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as way:
        return way.sendto(b"\x08\0\0\0\0\0\0\0", (config["hosts"][-1], 0))


def family(number, kind):
    # Without the interpreter's own address types.
    return call(41, number, kind, 0)


def unix(address):
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(address)
        return address


def guess():
    for number in range(64):
        path = f"{config['data']}/run/t/{number}/s"
        try:
            if path != MCP:
                return unix(path)
        except OSError:
            pass
    raise PermissionError("no number leads to a socket")


def bring_up():
    import fcntl
    with socket.socket() as way:
        fcntl.ioctl(way, 0x8914, struct.pack("16sH14x", b"lo", 0))
    return "set the flags of an interface"


for host in config["hosts"]:
    attempt(f"tcp to the listener at {host}", lambda: tcp(host, config["tcp"]))
    # On its own loopback interface a packet may be sent, and reaches nobody: the listener says whether that is so.
    if host not in ("127.0.0.1", "::1", "0.0.0.0"):
        attempt(f"udp to the listener at {host}", lambda: udp(host, config["udp"]))
    else:
        try:
            udp(host, config["udp"])
        except OSError:
            pass
for address in config["daemons"]:
    attempt(f"a daemon at {address}", lambda: tcp(*[f(x) for f, x in zip((str, int), address.rsplit(":", 1))]))
attempt("the metadata service", lambda: tcp("169.254.169.254", 80))
attempt("a name (getaddrinfo)", lambda: socket.getaddrinfo("example.com", 443))
attempt("the resolver (UDP 53)", resolver)
attempt("an interface beside loopback", interfaces)
attempt("an interface's flags", bring_up)
attempt("ICMP", ping)
attempt("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("AF_PACKET", lambda: family(17, socket.SOCK_RAW))
attempt("AF_VSOCK", lambda: family(40, socket.SOCK_STREAM))
attempt("an abstract Unix socket", lambda: unix("\0" + config["abstract"]))
for path in config["sockets"]:
    attempt(f"the Unix socket {path}", lambda: unix(path))
attempt("sockets of x32", lambda: call(0x40000000 + 41, 2, 1, 0))
attempt("another turn's socket, by guess", guess)

# --- files -----------------------------------------------------------------------------------------------------------

def read(path):
    with open(path, "rb") as file:
        return file.read(2000)


def by_link(target):
    link = os.path.join(HOME, "link")
    if os.path.lexists(link):
        os.remove(link)
    os.symlink(target, link)
    return read(link)


def hard_link(target):
    link = os.path.join(HOME, "hard")
    os.link(target, link)
    return read(link)


def write(path):
    with open(path, "wb") as file:
        file.write(b"#!/bin/sh\n: planted\n")
    return path


def others(part):
    """Of other processes: all but this one and those that it can see are its own ancestors in the sandbox."""
    found = []
    for path in glob.glob(f"/proc/[0-9]*/{part}"):
        try:
            text = os.readlink(path) if part in ("cwd", "root", "exe") else read(path).decode("utf-8", "replace")
            found.append((path, text))
        except OSError:
            pass
    return found


def through_processes(path):
    for root in glob.glob("/proc/[0-9]*/root") + glob.glob("/proc/[0-9]*/cwd"):
        for way in (root + path, root + "/../../../../.." + path):
            try:
                return read(way)
            except OSError:
                pass
    raise PermissionError("no process leads there")


def foreign_environment():
    known = {"PATH", "HOME", "LANG", "HOSTNAME", "LC_CTYPE"}
    seen = []
    for path, text in others("environ"):
        names = {line.split("=")[0] for line in text.split("\0") if line}
        seen += sorted(name for name in names - known if not name.startswith("ARIZUKO_"))
    if not seen:
        raise PermissionError("no environment but its own kind's")
    return seen


def descriptors():
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if config["data"] in target and not target.startswith(HOME) or target.endswith((".db", ".env", "docker.sock")):
            return path, target
    raise PermissionError("no descriptor leads out")


def set_user_id():
    path = write(os.path.join(HOME, "suid"))
    os.chmod(path, 0o4755)
    return oct(os.stat(path).st_mode)


for what, path in config["files"].items():
    attempt(f"{what}, by name", lambda: read(path))
    attempt(f"{what}, by a symbolic link", lambda: by_link(path))
    attempt(f"{what}, by a hard link", lambda: hard_link(path))
    attempt(f"{what}, through /proc/PID/root and cwd", lambda: through_processes(path))
    attempt(f"{what}, up from the home", lambda: read(HOME + "/../" * 9 + path))
own = config["own"] + [os.path.basename(os.path.dirname(MCP))]
for what, path in config["directories"].items():
    attempt(f"{what}, listed", lambda: [name for name in os.listdir(path) if name not in own] or 1 / 0)
for path in config["planted"]:
    attempt(f"a file at {path}", lambda: write(path))
attempt("a file beside its socket", lambda: write(os.path.join(os.path.dirname(MCP), "planted")))
attempt("the socket itself, replaced", lambda: os.remove(MCP))
attempt("a device", lambda: os.mknod(os.path.join(HOME, "disk"), 0o60600, os.makedev(8, 0)))
attempt("a file handle", lambda: call(304, -100, ctypes.create_string_buffer(64), 0))

# --- processes and the kernel ----------------------------------------------------------------------------------------

attempt("/proc/PID/environ of others", foreign_environment)
attempt("/proc/PID/fd of others", descriptors)
for name, pid in config["pids"].items():
    attempt(f"a signal to {name}", lambda: os.kill(pid, 0) or pid)
    attempt(f"/proc/{name}/environ", lambda: read(f"/proc/{pid}/environ"))
    attempt(f"ptrace of {name}", lambda: call(101, 16, pid, 0, 0))
attempt("memory of the first process", lambda: read("/proc/1/mem"))
attempt("mount", lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, 0))
attempt("a remount of /", lambda: call(165, b"none", b"/", b"none", 32, 0))
attempt("a new user namespace", lambda: call(272, 0x10000000))
attempt("a new mount namespace", lambda: call(272, 0x00020000))
attempt("clone into a user namespace", lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0))
attempt("setns", lambda: call(308, os.open("/proc/1/ns/net", os.O_RDONLY), 0))
attempt("chroot", lambda: call(161, b"/tmp"))
attempt("bpf", lambda: call(321, 0, ctypes.create_string_buffer(128), 128))
attempt("the kernel's settings", lambda: write("/proc/sys/kernel/core_pattern"))
attempt("user 0", lambda: os.setuid(0))
if config["backend"] == "process":
    # In a container these reach what is in it and no further.
    attempt("io_uring", lambda: call(425, 1, ctypes.create_string_buffer(200)))
    attempt("ptrace of the first process", lambda: call(101, 16, 1, 0, 0))
    space = ctypes.create_string_buffer(64)
    attempt("process_vm_readv", lambda: call(310, 1, space, 1, space, 1, 0))
    attempt("a set-user-ID program in its home", set_user_id)

# --- room ------------------------------------------------------------------------------------------------------------

def fill():
    with open("/tmp/fill", "wb") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    return "300 MiB in /tmp"


def one_large_file():
    with open(os.path.join(HOME, "large"), "wb") as file:
        file.truncate(5 << 30)
    return "5 GiB in one file"


attempt("300 MiB in /tmp", fill)
try:
    os.remove("/tmp/fill")
except OSError:
    pass
attempt("5 GiB in one file", one_large_file)

# --- the tools, and whoever else is on the turn's socket -------------------------------------------------------------

for chat in config["chats"]:
    attempt(f"inspect_messages of {chat}", lambda: tool("inspect_messages", chat_jid=chat))
    attempt(f"send to {chat}", lambda: tool("send", chat_jid=chat, content="planted " + config["mark"]))
attempt("the memory of another folder", lambda: tool("get_memory", folder=config["neighbour"]))
attempt("a tool that there is not", lambda: tool("grant_admin"))
for name, (secret, url, headers) in config["requests"].items():
    attempt(f"http_request: {name}", lambda: tool("http_request", secret=secret, url=url, headers=headers))
attempt("the result of another attempt", lambda: refused(*ask("/turn/result", "POST", {"attempt": 2, "outcome": "replied", "text": "planted"})))
for path in ("/v1/groups", "/v1/audit", "/v1/tenant-secrets", "/v1/messages", "/v1/runs", "/metrics"):
    attempt(f"{path} on its socket", lambda: refused(*ask(path)))
question = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
picture = {"type": "image", "source": {"type": "url", "url": config["outside"]}}
for name, more in {
    "web_search": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "web_fetch": {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": config["outside"], "name": "out"}]},
    "a picture by its URL": {"messages": [{"role": "user", "content": [picture]}]},
}.items():
    attempt(f"the model's {name}", lambda: refused(*ask("/model/anthropic/v1/messages", "POST", question | more)))

# --- what is left behind ---------------------------------------------------------------------------------------------

daemon = "import os,signal,sys,time\nsignal.signal(15,1)\nwhile 1:\n open(sys.argv[1],'w').write('x'); time.sleep(.05)"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        nowhere = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.execv(sys.executable, [sys.executable, "-c", daemon, HOME + "/alive", config["left"]])
    os._exit(0)
while not os.path.exists(HOME + "/alive"):
    time.sleep(0.02)

with open(HOME + "/prompts", "a") as file:
    file.write(prompt)
with open(HOME + "/report.json", "w") as file:
    json.dump(report, file, indent=1)
if "bomb" in prompt:
    count = 0
    while count < 3000:
        try:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        except OSError:
            break
        count += 1
        # It may be ended at any moment: a file that grows tells of it at each.
        with open(HOME + "/bomb", "a") as file:
            file.write(".")
    time.sleep(2)
print("Done.", config["pictures"])
