# SPDX-License-Identifier: MIT
"""
The gateway as a process: a folder with its configuration, a start that waits for `ready`, readers for
its access log, metrics, memory and descriptors, and a stop that insists on a clean end.
"""
import json
import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from . import client, counts
from .waiting import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("MOONGATE_BIN") or ROOT / "build/asan/moongate")
PLAIN = Path(os.environ.get("MOONGATE_PLAIN_BIN") or ROOT / "build/moongate")  # no sanitizer: what memory is measured on
TRANSPORT = os.environ.get("MOONGATE_TEST_TRANSPORT")  # for every provider that names none: "libcurl"
ADMIN_TOKEN = "admin-token-of-the-tests"
REPORTS = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: \w+Sanitizer|SUMMARY: \w+Sanitizer")


class Raw(str):
    """Lua source to be put into a configuration as it is."""


def lua(value, indent=0):
    """A Python value as a Lua literal."""
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_char(c) for c in value) + '"'
    pad = "  " * (indent + 1)
    if isinstance(value, dict):
        parts = [f"[{lua(k)}] = {lua(v, indent + 1)}" for k, v in value.items()]
    else:
        parts = [lua(v, indent + 1) for v in value]
    if not parts:
        return "{}"
    return "{\n" + "".join(f"{pad}{p},\n" for p in parts) + "  " * indent + "}"


def _char(c):
    if c in '"\\':
        return "\\" + c
    return c if c.isprintable() else "".join(f"\\{b:03d}" for b in c.encode())


@dataclass
class Sample:
    name: str
    labels: dict
    value: float


def parse_metrics(text):
    """Prometheus' text format, strictly enough to notice what Prometheus would refuse."""
    samples = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?', line)
        assert found, f"not a metric line: {line!r}"
        labels = dict(re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', found[2] or ""))
        samples.append(Sample(found[1], labels, float(found[3])))
    return samples


def over_transport(providers):
    """The providers of a configuration, spoken to as MOONGATE_TEST_TRANSPORT says."""
    if not TRANSPORT or not isinstance(providers, dict):
        return providers
    return {name: {"transport": TRANSPORT, **p} if isinstance(p, dict) else p for name, p in providers.items()}


def check_reports(text):
    found = REPORTS.search(text)
    if found:
        text = text[found.start():].split("Shadow bytes")[0]
        raise AssertionError(f"sanitizer report:\n{text[:4000]}")


@dataclass
class Replaced:
    """A process that another has taken over from."""
    process: subprocess.Popen
    log: Path

    def check(self):
        check_reports(self.log.read_text(errors="replace"))


class Gateway:
    """
    Gateway(folder, config): config is a dict (written as a Lua table, with `listen` and `admin` on free
    ports unless given) or the text of gateway.lua. policies and modules: name -> Lua text; files: path -> text.
    uncounted: why what it holds is not compared at the end of the test with what it held at its start (support/counts.py).
    """

    binary = BINARY
    launcher = ()   # a command that is given the gateway's, and descriptors that it inherits
    pass_fds = ()
    tls = None      # an ssl.SSLContext: requests go over TLS

    def __init__(self, folder, config, policies=None, modules=None, files=None, env=None, asan="", start=True,
                 uncounted=""):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = None
        self._env, self._asan = env or {}, asan
        self.address = self.admin = None
        self.addresses = []
        self.checked = self.stopping = False
        self.uncounted = uncounted
        self.admin_tls = False
        self.held = None    # what it held when it had started
        self.write_config(config)
        for name, text in (policies or {}).items():
            self.write(f"policies/{name}.lua", text)
        for name, text in (modules or {}).items():
            self.write(f"lua/{name}.lua", text)
        for name, text in (files or {}).items():
            self.write(name, text)
        if start:
            self.start()

    # The folder.

    def write(self, name, text):
        """Puts a file in place at once, as a careful editor does."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text)
        fresh.replace(path)

    def write_config(self, config):
        if not isinstance(config, str):
            config = {"listen": "127.0.0.1:0", "workers": 2,
                      "admin": {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN}, **config}
            self.admin_tls = "tls" in config["admin"]
            config["limits"] = {"drain_time": 2, **config.get("limits", {})}
            if "providers" in config:
                config["providers"] = over_transport(config["providers"])
            config = "return " + lua(config) + "\n"
        self.write("gateway.lua", config)

    # The process.

    def start(self, wait=True, options=()):
        assert self.binary.exists(), f"there is no {self.binary}: build it, or set MOONGATE_BIN"
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self._env}
        env["ASAN_OPTIONS"] = ":".join(filter(None, ["detect_leaks=1:exitcode=99", self._asan]))
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
        with open(self.folder / "stdout", "ab") as out, open(self.folder / "stderr", "ab") as err:
            self.process = subprocess.Popen([*self.launcher, str(self.binary), "serve", "-c", str(self.folder / "gateway.lua"), *options],
                                            pass_fds=self.pass_fds, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        if wait:
            self._await_ready()
        return self

    def _await_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.stderr}")
            return any(re.search(r"\bready\b", line) for line in self.stderr.splitlines())
        wait_until(ready, "the gateway to be ready")
        self.addresses = re.findall(r"listening on (127\.\d+\.\d+\.\d+:\d+)", self.stderr)
        admins = re.findall(r"admin on (127\.\d+\.\d+\.\d+:\d+)", self.stderr)
        assert self.addresses, f"no 'listening on ADDRESS' in:\n{self.stderr}"
        self.address = self.addresses[0]
        self.admin = admins[0] if admins else None
        self.held = None if self.uncounted else counts.take(self)

    def signal(self, number):
        self.stopping = self.stopping or number in (signal.SIGTERM, signal.SIGINT)
        self.process.send_signal(number)

    def wait_exit(self, deadline=PATIENCE * 2):
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway did not end within {deadline:g} s") from None

    def check_counts(self):
        """Once its clients and providers are gone it holds what it held when it had started."""
        asked = self.process and not self.checked and not self.uncounted and self.address
        if asked and not self.stopping and self.process.poll() is None:
            counts.check(self, self.held)

    def stop(self):
        """SIGTERM, then: exit status 0 and no sanitizer's report."""
        if not self.process or self.checked:
            return
        self.checked = True
        died = self.process.poll()
        if died is None:
            self.signal(signal.SIGTERM)
        status = self.wait_exit()
        self.check_reports()
        assert died is None, f"the gateway died by itself with status {died}"
        assert status == 0, f"exit status {status} after SIGTERM"

    def kill(self):
        """kill -9; what it said so far is put aside, so that `start` may follow."""
        self.process.kill()
        self.process.wait()
        self.put_aside()

    def put_aside(self):
        """Renames the log of a run that is over: the next run's begins empty. Returns it."""
        self.check_reports()
        runs = len(list(self.folder.glob("stderr.*")))
        aside = self.folder / f"stderr.{runs + 1}"
        (self.folder / "stderr").rename(aside)
        self.checked = self.stopping = False
        return aside

    def take_over(self):
        """Starts the next process in the place of this one; returns the old one, which drains."""
        old = Replaced(self.process, self.put_aside())
        try:
            self.start(options=["--take-over"])
        except AssertionError:
            old.process.kill()
            raise
        return old

    def check_reports(self):
        check_reports(self.stderr)

    # What it says.

    @property
    def stderr(self):
        path = self.folder / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def stdout(self):
        return (self.folder / "stdout").read_text(errors="replace")

    def access_log(self):
        """All entries of the access log so far; every line has to be a JSON object."""
        entries = []
        for line in self.stdout.split("\n")[:-1]:
            entry = json.loads(line)
            assert isinstance(entry, dict), line
            entries.append(entry)
        return entries

    def entry(self, answer):
        """The access log's entry of this answer, waited for: a thread of its own writes it, after the client has its last byte."""
        return self.entry_of(answer.header("x-moongate-request-id"))

    def entry_of(self, request):
        """The access log's entry of the request with this id, waited for."""
        assert request, "an answer without x-moongate-request-id"
        return wait_until(lambda: next((e for e in self.access_log() if e["id"] == request), None), f"{request} in the access log")

    def log_entries(self, count=1):
        """
        Waits until the access log has `count` entries, and no more: for requests that got no answer, and for how many there were. Which line is whose
        tells `entry`: those of several workers come in any order.
        """
        wait_until(lambda: len(self.access_log()) >= count, f"{count} lines in the access log")
        entries = self.access_log()
        assert len(entries) == count, entries
        return entries

    def wait_log(self, pattern, deadline=PATIENCE, after=0):
        """Waits for a line of stderr that matches; returns the line."""
        def look():
            return next((line for line in self.stderr[after:].splitlines() if re.search(pattern, line)), None)
        return wait_until(look, f"/{pattern}/ in the log", deadline)

    def metrics(self):
        response = client.call(self.admin, "GET", "/metrics")
        assert response.status == 200, response.body
        return parse_metrics(response.body.decode())

    def metric(self, pattern, **labels):
        """The sum of all samples whose name matches and which carry these labels."""
        return sum(s.value for s in self.metrics() if re.fullmatch(pattern, s.name)
                   and all(s.labels.get(k) == v for k, v in labels.items()))

    def admin_get(self, path, token=ADMIN_TOKEN):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.call(self.admin, "GET", path, headers)

    def api(self, method, path, body=None, token=ADMIN_TOKEN, headers=()):
        """A call of the admin API; body: a JSON value, or bytes as they are."""
        fields = [("Authorization", f"Bearer {token}")] if token else []
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return client.call(self.admin, method, path, [*fields, *dict(headers).items()], body)

    def audit(self):
        """The lines of the audit log so far, those of starts left out."""
        path = self.folder / "state/audit.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["action"] != "start"]

    def targets(self):
        """GET /admin/targets as {target: facts}."""
        response = self.admin_get("/admin/targets")
        assert response.status == 200, response.body
        return {t["target"]: t for t in response.json()["targets"]}

    def facts(self, target):
        return self.targets().get(target, {})

    def suspended(self, target):
        return self.facts(target).get("suspended_for", 0) > 0

    def rss(self):
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def reload(self, pattern=r"\breload( refused)?: "):
        """SIGHUP; returns the line of the log that tells how it ended. A policy's errors name generations, too: they are no such line."""
        after = len(self.stderr)
        self.signal(signal.SIGHUP)
        return self.wait_log(pattern, after=after)

    # Requests.

    def chat(self, stream=False, headers=(), target="/v1/chat/completions", body=None, **fields):
        """One chat completion on a connection of its own, read to its end."""
        return client.call(self.address, "POST", target, headers,
                           client.chat_body(stream, **fields) if body is None else body, tls=self.tls)

    def open_chat(self, stream=True, headers=(), **fields):
        """Sends a chat completion and returns the client, its answer unread."""
        return client.Client(self.address, tls=self.tls).request("POST", "/v1/chat/completions", headers,
                                                   client.chat_body(stream, **fields))

    def client(self, **options):
        return client.Client(self.address, **{"tls": self.tls, **options})


class MemoryWatch:
    """Samples the gateway's memory while a block runs: `with MemoryWatch(gateway) as m: …; m.rise`."""

    def __init__(self, gateway):
        self._gateway, self._stop = gateway, threading.Event()
        self.before = self.peak = 0

    def __enter__(self):
        self.before = self.peak = self._gateway.rss()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self):
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, self._gateway.rss())

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @property
    def rise(self):
        return self.peak - self.before
