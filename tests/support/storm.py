# SPDX-License-Identifier: MIT
"""
Reloads under load: clients that ask and streams that flow while the policy's files change, and what has to hold meanwhile.

Every edit gives the policy and a module that it requires the same new stamp. An answer tells the stamp four times: from the policy and from the module,
each before and after the wait for the provider. So an answer that two versions had a hand in shows, and so does one of a version that was
not in force. Rates are what the machine gives, up to the rate asked for: a slow machine makes the storm smaller, never wrong.
"""
import itertools
import threading
import time

from . import wire
from .client import Client, chat_body
from .rules import ADMIN, Rules, check_refusal
from .waiting import wait_until

POLICY = """local failover = require "moongate.failover"
local stamp = require "stamp"
local mine = %d
return {
  name = "stamped", version = 1, settings = failover.settings, check = failover.check,
  handle = function(req, settings)
    if req.stream then
      return failover.run(req, settings)
    end
    local seen = { mine, stamp.value }
    local attempt = req:send("p/m")
    seen[3], seen[4] = mine, (require "stamp").value
    return req:respond { status = attempt.status, json = { seen = seen } }
  end,
}
"""
JSON = {"Content-Type": "application/json"}
MODULE = "return { value = %d }\n"

# What is saved in place of a good file, where it is, and a word of the diagnostic.
BREAKAGES = [
    ("policies/stamped1.lua", "return {\n  handle = = 1\n}\n", "stamped1.lua"),
    ("policies/stamped1.lua", "local x\nerror('broken on purpose')\n", "broken on purpose"),
    ("policies/stamped1.lua", "return { name = 'stamped', version = 2 }\n", "handle"),
    ("policies/stamped1.lua", 'return require "stamped_nowhere"\n', "stamped_nowhere"),
    ("policies/stamped1.lua", "undeclared_global = 1\nreturn { name = 'x', handle = function() end }\n", "undeclared_global"),
    ("policies/stamped1.lua", "", "stamped1.lua"),
    ("lua/stamp.lua", "return { value = 1 +\n", "stamp.lua"),
    ("gateway.lua", "return {\n  lisen = '127.0.0.1:0',\n}\n", "lisen"),
    ("gateway.lua", "return {\n\n  listen = = 1\n}\n", "gateway.lua"),
]


def config(upstream_url, policies=1, **more):
    """A configuration with so many policy files, each with a route for a model of its own."""
    return {
        "admin": ADMIN,
        "providers": {"p": {"dialect": "openai", "base_url": upstream_url}},
        "routes": [{"name": f"r{n}", "path": "/v1/*", "models": [f"m{n}"], "policy": f"stamped{n}",
                    "settings": {"targets": ["p/m"], "idle_timeout": 120}} for n in range(1, policies + 1)],
        **more,
    }


def files(stamp=0, policies=1):
    """Path -> text of a version of all policies and of their module."""
    return {"lua/stamp.lua": MODULE % stamp, **{f"policies/stamped{n}.lua": POLICY % stamp for n in range(1, policies + 1)}}


def talking(over, events=15, every=0.05):
    """
    A provider's action: streams that name their prompt in every event. Those whose prompt is "long…" go on to their second half when `over` is set.
    """
    def act(call):
        body = call.request.json()
        if not body.get("stream"):
            data = wire.dumps(wire.completion())
            call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            return
        name = body["messages"][0]["content"]
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for half in (1, 2):
            for event in half_of(name, half, events):
                call.event(event)
                call.sleep(every)
            if half == 1 and name.startswith("long"):
                call.wait(over)
        call.send(b"0\r\n\r\n")
    return act


def half_of(name, half, events):
    ticks = [wire.delta(f"{name}:{half}:{n} ") for n in range(events)]
    return [wire.role(), *ticks] if half == 1 else [*ticks, wire.finish(), wire.DONE]


def expected(name, events=15):
    """What the client of a `talking` stream has to get, byte for byte."""
    return b"".join(half_of(name, 1, events) + half_of(name, 2, events))


def start(lab, policies=1, **more):
    """A gateway of the test's lab with stamped policies, and the event that lets its long streams end."""
    over = threading.Event()
    up = lab.upstream(talking(over))
    return lab.gateway(config(up.base_url, policies, **more), files=files(0, policies)).start(), over


class Storm:
    """
    `with Storm(gateway, …) as storm: storm.reload(…)`, then storm.check().

    stream_body: name -> the bytes which the stream with that prompt has to be. extra: fields of a stream's request. over: set when reloads are done.
    """

    def __init__(self, gateway, rate=500, clients=4, streams=20, policies=1, stream_body=expected, extra=None, over=None):
        self.gateway, self.rules = gateway, Rules(gateway)
        self.rate, self.n_clients, self.n_streams, self.policies = rate, clients, streams, policies
        self.stream_body, self.extra = stream_body, extra or {}
        self.over, self.stop = over or threading.Event(), threading.Event()
        self.problems = []          # what must not be, in words
        self.answers = []           # (asked at, answered at, stamp, request id)
        self.streams = 0            # ended, whole
        self.open = 0               # streams that have begun and not ended
        self.applied = [(0.0, 0.0, 0)]   # (asked at, answered at, stamp)
        self.refused = 0
        self.times = []             # seconds that an applied reload took, as its caller saw it
        self._stamp = 0
        self._lock = threading.Lock()
        self._breakages = itertools.cycle(BREAKAGES)

    def __enter__(self):
        self.began = time.monotonic()
        self._threads = [threading.Thread(target=self._guard, args=(self._ask, n)) for n in range(self.n_clients)]
        self._threads += [threading.Thread(target=self._guard, args=(self._listen, n)) for n in range(self.n_streams)]
        for thread in self._threads:
            thread.start()
        try:
            wait_until(lambda: self.problems or (self.open >= self.n_streams and self.answers), "the load to flow")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.over.set()
        self.stop.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self.began

    def _guard(self, work, n):
        try:
            work(n)
        except Exception as problem:
            self.problems.append(f"{work.__name__} {n}: {problem!r}")

    # The load.

    def _ask(self, n):
        every = self.n_clients / self.rate
        client = Client(self.gateway.address)
        body = [client.request_bytes("POST", "/v1/chat/completions", JSON, wire.dumps(chat_body(model=f"m{m}")))
                for m in range(1, self.policies + 1)]
        turn = n
        while not self.stop.is_set():
            asked = time.monotonic()
            answer = client.send(body[turn % self.policies]).read()
            self._judge(answer, asked)
            if (answer.header("connection") or "").lower() == "close":
                client.close()
                client = Client(self.gateway.address)
            turn += 1
            time.sleep(max(0, asked + every - time.monotonic()))
        client.close()

    def _judge(self, answer, asked):
        seen = answer.json().get("seen") if answer.status == 200 and answer.clean else None
        if not seen or len(seen) != 4 or len(set(seen)) != 1:
            self.problems.append(f"answer {answer.status} {answer.ended}: {bytes(answer.body[:300])!r}")
            return
        self.answers.append((asked, answer.ended_at, int(seen[0]), answer.header("x-moongate-request-id")))

    def _listen(self, n):
        for turn in itertools.count():
            if self.stop.is_set():
                return
            name = f"{'long' if n % 2 else 'short'}-{n}-{turn}"
            body = chat_body(True, model=f"m{n % self.policies + 1}", **self.extra)
            body["messages"][0]["content"] = name
            with Client(self.gateway.address, timeout=120).request("POST", "/v1/chat/completions", JSON, wire.dumps(body)) as client:
                answer = client.start()
                self._count(1)
                answer.rest()
                self._count(-1)
            if answer.status != 200 or not answer.clean or bytes(answer.body) != self.stream_body(name):
                self.problems.append(f"stream {name}: {answer.status} {answer.ended}, {len(answer.body)} bytes: …{bytes(answer.body[-200:])!r}")
                return
            self.streams += 1

    def _count(self, change):
        with self._lock:
            self.open += change

    # The reloads.

    def reload(self, times, broken=True, pace=0.0):
        """So many reloads, every other one of a broken file, no quicker than one in `pace` seconds. Ends at the first problem."""
        for n in range(times):
            due = time.monotonic() + pace
            if broken and n % 2:
                self._break()
            else:
                self._edit()
            if self.problems:
                return
            time.sleep(max(0, due - time.monotonic()))

    def _edit(self):
        before = self.rules.active
        self._stamp += 1
        for name, text in files(self._stamp, self.policies).items():
            self.gateway.write(name, text)
        asked = time.monotonic()
        status, value = self.rules.reload()
        answered = time.monotonic()
        if status != 200 or value.get("ok") is not True or value.get("changed") is not True or value["active"] <= before:
            self.problems.append(f"reload of a good file, active {before}: {status} {value}")
            return
        self.times.append(answered - asked)
        self.applied.append((asked, answered, self._stamp))

    def _break(self):
        name, text, word = next(self._breakages)
        before = self.rules.active
        good = (self.gateway.folder / name).read_text()
        self.gateway.write(name, text)
        status, value = self.rules.reload()
        self.gateway.write(name, good)
        try:
            assert status == 422, status
            said = "\n".join(f"{d['file']}:{d.get('line')}: {d['message']}" for d in check_refusal(value))
            assert word in said, f"no {word!r} in {said!r}"
            assert value["active"] == before == self.rules.active, "another generation is active"
            self.refused += 1
        except (AssertionError, KeyError) as problem:
            self.problems.append(f"reload of a broken {name} ({text!r}): {problem}: {status} {value}")

    # The verdict.

    def check(self):
        """No failed request, no broken stream, and each answer by a version that was in force."""
        assert not self.problems, "\n".join(self.problems[:10])
        assert self.open == 0 and self.streams >= self.n_streams
        for asked, answered, stamp, _ in self.answers:
            oldest = max(s for _, done, s in self.applied if done <= asked)
            newest = max(s for begun, _, s in self.applied if begun <= answered)
            assert oldest <= stamp <= newest, f"version {stamp} answered when {oldest} to {newest} were in force"

    def check_log(self, others=0):
        """
        In the access log each version is one generation and each generation one version, and no request stands there twice. others: requests made beside.
        """
        ids = [request for _, _, _, request in self.answers]
        assert all(ids) and len(ids) == len(set(ids))
        total = len(self.answers) + self.streams + others
        wait_until(lambda: len(self.gateway.access_log()) >= total, f"{total} lines in the access log")
        log = self.gateway.access_log()
        assert len(log) == total and len({e["id"] for e in log}) == total
        generation = {e["id"]: e["generation"] for e in log}
        pairs = {(stamp, generation[request]) for _, _, stamp, request in self.answers}
        assert len(pairs) == len({s for s, _ in pairs}) == len({g for _, g in pairs}), sorted(pairs)

    @property
    def figures(self):
        return (f"{len(self.applied) - 1} reloads applied, {self.refused} refused, {len(self.answers)} requests "
                f"({len(self.answers) / self.seconds:.0f}/s), {self.streams} streams whole, {self.seconds:.1f} s")
