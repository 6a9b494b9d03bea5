#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
make soak: mixed traffic, faults, reloads and admins' changes against the program as users run it, for half an hour.

client.c asks and checks every byte of every answer, provider.c answers, misbehaves, and checks every byte of every request (content.h says what they
consist of, mix.h what is asked); this program starts them and the gateway, changes rules all the while, and samples the gateway: descriptors, memory, gauges of /metrics.
It fails when anything is wrong: a byte lost, doubled, out of order or another request's; a failure that the policy should have hidden; a cut stream that
ends as if it were whole; a policy that fails or is stopped; an admin call that is not answered as it should; a sampled value that grows; anything left over once the traffic has stopped.

A value is flat when what it gains from the start of the judged part (minute 5; of shorter runs, a third) to the end, by a robust line through its samples
(Theil and Sen: the median of the slopes of all pairs), is within its band: the greater of an absolute one and 10 % of its median. Where a
request under way has a share in the value, three times what the clients' own requests under way have gained is added: a machine that gets busier makes no leak. At
rest, without clients, descriptors have to be those of the start and the connections kept to providers, give or take 4. Samples are written to build/soak.jsonl. `--plant` spoils something, to see the soak find it.
"""
import argparse
import itertools
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from support import storm  # noqa: E402
from support.gateway import PLAIN, Gateway  # noqa: E402
from support.rules import ADMIN, Rules, check_refusal  # noqa: E402
from support.waiting import wait_until  # noqa: E402

# What is sampled: the absolute band, the share of the median that counts too, and whether it has to be 0 when the traffic has stopped.
SAMPLED = {
    "fds": (24, 0.10, False),
    "rss_mb": (5.0, 0.10, False),
    "moongate_connections": (24, 0.10, True),
    "moongate_requests_inflight": (16, 0.10, True),
    "moongate_attempts_open": (16, 0.10, True),
    "moongate_translations_open": (16, 0.10, True),
    "moongate_timers": (24, 0.10, True),
    "moongate_slots_inflight": (16, 0.10, True),
    "moongate_slots_queued": (16, 0.10, True),
    "moongate_upstream_transfers": (16, 0.10, True),
    "moongate_upstream_connections": (32, 0.20, False),
    "moongate_generations": (4, 0.10, False),
    "moongate_policy_runs": (16, 0.10, True),
    "moongate_policy_references": (32, 0.10, True),
    "moongate_policy_memory_bytes": (512 * 1024, 0.10, False),
    "moongate_store_keys": (64, 0.10, False),
}
FOLLOWING = {name for name, (_, _, zero) in SAMPLED.items() if zero} | {"fds", "moongate_upstream_connections"}   # the requests under way
# What must not be counted at all: policies that failed or were stopped, requests that the default plan answered instead.
NEVER = ("moongate_policy_failures_total", "moongate_policy_kills_total", "moongate_default_plans_total")
# A virtual machine's CPU clock counts time that its host took away: of so many policies one may be stopped at its 5 ms without having used them.
STOPPED_OF = 500_000
POLICY = """local failover = require "moongate.failover"
local stamp = require "stamp"
return {
  name = "stamped", version = 1, settings = failover.settings, check = failover.check,
  handle = function(req, settings)
    req:note("stamp " .. stamp.value)
    return failover.run(req, settings)
  end,
}
"""
LEAKY = POLICY.replace("return {", "local kept = require \"moongate\".store(\"soak\")\nreturn {", 1).replace(
    "    return failover", "    kept:set(req.id, (\"x\"):rep(4096))\n    return failover")


def config(port, flap, dead, libcurl):
    """libcurl: fields of a provider that is spoken to through libcurl; the others are by our own transport."""
    def provider(where, **more):
        return {"dialect": "openai", "base_url": f"http://127.0.0.1:{more.pop('port', port)}/{where}/v1", "api_key": "sk-soak", **more}

    def route(model, policy, *targets, **settings):
        return {"name": model, "path": "/v1/chat/completions", "models": [model], "policy": policy,
                "settings": {"targets": [f"{t}/x" for t in targets], "request_timeout": 40, "idle_timeout": 40, **settings}}
    return {
        "admin": ADMIN,
        "log": {"access": "/dev/null"},
        "providers": {
            "a": provider("a", first_byte_timeout=0.5), "b": provider("b"), "l": provider("b", **libcurl), "c": provider("c", first_byte_timeout=0.5, **libcurl), "r": provider("r", **libcurl),
            "s": provider("s"),
            "q": provider("q", max_inflight=2, queue=1000, queue_timeout=40, **libcurl), "f": provider("f", port=flap), "d": provider("d", port=dead),
        },
        "routes": [
            route("plain", "stamped", "a", "b"),
            route("careful", "failover", "c", "l", suspend=0.5, breaker={"failures": 5, "recovery": 1}),
            route("retry", "failover", "r", retries=2, backoff={"base": 0.01}, retry_after={"honour": False}),
            route("hedge", "hedged", "a", "b", delay=0.03, plain_delay=0.03, budget=1),
            route("flap", "failover", "f", "b", suspend=0.3),
            route("dead", "failover", "d", "b"),
            route("queue", "failover", "q"),
            {**route("stall", "failover", "s"), "settings": {"targets": ["s/x"], "idle_timeout": 1}},
            {"name": "upload", "path": "/v1/audio/transcriptions", "policy": "failover", "settings": {"targets": ["b/x"], "request_timeout": 40}},
        ],
    }


def libcurl_fields(binary, folder):
    """What asks for libcurl as a provider's transport; nothing where the program does not know it (it then chooses by itself)."""
    fields = {"transport": "libcurl"}
    probe = Gateway(pathlib.Path(folder) / "probe", config(1, 2, 3, fields), start=False, files={"policies/stamped.lua": POLICY, "lua/stamp.lua": storm.MODULE % 0})
    done = subprocess.run([binary, "check", "-c", str(probe.folder / "gateway.lua")], capture_output=True, text=True, timeout=60)
    return fields if done.returncode == 0 else {}


def compile_tools(folder):
    folder.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
    for name, sources in (("provider", ["provider.c", "play.c"]), ("client", ["client.c", "answer.c", "mix.c"])):
        out = folder / name
        if not out.exists() or out.stat().st_mtime < newest:
            fresh = folder / f"{name}.{os.getpid()}"    # two soaks may begin at once
            subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(fresh), *(str(HERE / s) for s in sources)], check=True)
            fresh.replace(out)
    return folder


class Provider:
    def __init__(self, tools, words=()):
        self.process = subprocess.Popen([str(tools / "provider"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port, self.flap, self.dead = map(int, self.process.stdout.readline().split())

    def counters(self):
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class Traffic:
    """client.c; its newest counters are in `now`."""

    def __init__(self, tools, gateway, seconds, rate, slots, seed):
        port = gateway.address.rsplit(":", 1)[1]
        self.process = subprocess.Popen([str(tools / "client"), port, str(seconds), str(rate), str(slots), str(seed)], stdout=subprocess.PIPE, text=True)
        self.now = {"answers": 0, "started": 0, "events": 0, "problems": 0, "open": 0, "t": 0, "kinds": {}}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.now = json.loads(line)

    def wait(self, seconds):
        status = self.process.wait(seconds)
        self._reader.join(10)
        return status


class Changes:
    """Admins at work: each change is checked, and none may be felt by a client."""

    def __init__(self, gateway, seed):
        self.gateway, self.rules, self.random = gateway, Rules(gateway), random.Random(seed)
        self.done, self.problems = {}, []
        self._stamps, self._breakages = itertools.count(1), itertools.cycle(
            [(name.replace("stamped1", "stamped"), text, word.replace("stamped1", "stamped")) for name, text, word in storm.BREAKAGES])

    def one(self):
        change = self.random.choice([self.reload, self.reload, self.broken, self.set, self.unset, self.suspend, self.resume, self.activate, self.look])
        try:
            change()
        except Exception as problem:   # whatever went wrong is told, and the traffic goes on
            self.problems.append(f"{change.__name__}: {problem!r}")
        self.done[change.__name__] = self.done.get(change.__name__, 0) + 1

    def reload(self):
        self.gateway.write("lua/stamp.lua", storm.MODULE % next(self._stamps))
        self.rules.apply("soak")

    def broken(self):
        name, text, word = next(self._breakages)
        good, before = (self.gateway.folder / name).read_text(), self.rules.active
        self.gateway.write(name, text)
        try:
            status, value = self.rules.reload()
        finally:
            self.gateway.write(name, good)
        said = " ".join(f"{d['file']} {d['message']}" for d in check_refusal(value))
        assert status == 422 and word in said and self.rules.active == before, (status, said)

    def set(self):
        self.rules.set({"max_attempts": self.random.randint(4, 9), "deadline": self.random.randint(60, 120)}, self.random.choice(["plain", "careful"]))

    def unset(self):
        for route in ("plain", "careful"):
            status = self.rules.call("DELETE", f"/admin/routes/{route}/settings").status
            assert status in (200, 404), status

    def _target(self):
        return self.random.choice(["a%2Fx", "c%2Fx", "f%2Fx"])

    def suspend(self):
        answer = self.rules.call("POST", f"/admin/targets/{self._target()}/suspend", {"seconds": self.random.uniform(0.2, 3), "reason": "soak"})
        assert answer.status == 200, answer.body

    def resume(self):
        answer = self.rules.call("POST", f"/admin/targets/{self._target()}/resume")
        assert answer.status == 200, answer.body

    def activate(self):
        generations = self.rules.get("/admin/generations")
        older = [g["id"] for g in generations["generations"] if g["id"] != generations["active"] and g.get("kept", True)]
        if older:
            answer = self.rules.activate(self.random.choice(older))
            assert answer.status in (200, 404), answer.body     # 404: forgotten meanwhile

    def look(self):
        for path in ("/admin/targets", "/admin/routes", "/admin/generations"):
            self.rules.get(path)


def sample(gateway, traffic, began):
    taken = {"t": round(time.monotonic() - began, 1), "fds": gateway.fds(), "rss_mb": gateway.rss() / 1e6}
    for metric in gateway.metrics():
        if metric.name in SAMPLED:
            taken[metric.name] = taken.get(metric.name, 0) + metric.value
        elif metric.name == "moongate_generation":
            taken["generation"] = metric.value
    return {**taken, **{k: traffic.now[k] for k in ("answers", "events", "problems", "open")}}


def slope(points):
    """Theil and Sen's, of (x, y); thinned out to some 300 points."""
    points = points[::max(1, len(points) // 300)]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2) if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


def gain_of(points):
    """What a line through the points gains from the first to the last."""
    return slope(points) * (points[-1][0] - points[0][0]) if points else 0.0


def judge(samples, since):
    """[(name, first, median, last, gain, band, flat)] of what was sampled after `since` seconds."""
    rows = []
    judged = [s for s in samples if s["t"] >= since]
    opened = max(0.0, gain_of([(s["t"], s.get("open", 0)) for s in judged]))
    for name, (absolute, share, _) in SAMPLED.items():
        points = [(s["t"], s[name]) for s in judged if name in s]
        if len(points) < 8:
            continue
        values = [y for _, y in points]
        median = statistics.median(values)
        gain = gain_of(points)
        band = max(absolute, share * abs(median)) + (3 * opened if name in FOLLOWING else 0)
        rows.append((name, min(values), median, max(values), gain, band, gain <= band))
    return rows


def leftovers(gateway):
    """What is not 0 although all clients have left; waits for it."""
    names = {n for n, (_, _, zero) in SAMPLED.items() if zero}

    def look():
        return {s.name: s.value for s in gateway.metrics() if s.name in names and s.value}
    try:
        wait_until(lambda: not look(), "nothing to be left over", deadline=60, pause=0.2)
    except AssertionError:
        return look()
    return {}


def descriptors_left(gateway, at_start):
    """How many more there are at rest than at the start and than kept connections explain; waits for it to be few."""
    def more():
        kept = gateway.metric("moongate_upstream_connections")
        return gateway.fds() - at_start - kept
    if not any(m.name == "moongate_upstream_connections" for m in gateway.metrics()):
        return 0    # an older program does not tell
    try:
        wait_until(lambda: more() <= 4, "descriptors to be closed", deadline=30, pause=0.2)
    except AssertionError:
        return more()
    return 0


def policy_problems(metrics, answers):
    """What is counted of NEVER, but for policies stopped at their CPU budget, where those are rarer than one of STOPPED_OF."""
    stopped = sum(m.value for m in metrics if m.name == "moongate_policy_kills_total" and m.labels["reason"] == "stretch")
    borne = stopped if stopped <= answers // STOPPED_OF else 0

    def bearable(m):
        return m.value <= borne and m.labels.get("reason", "stretch") in ("stretch", "timeout")
    return [f"{m.name}{m.labels} is {m.value:g}" for m in metrics if m.name in NEVER and m.value and not bearable(m)]


class Soak:
    def __init__(self, options):
        self.options, self.problems, self.samples = options, [], []

    def run(self):
        tools = compile_tools(ROOT / "build/soak")
        plant = {"double": ["--double", "20"], "lose": ["--lose", "20"]}.get(self.options.plant, [])
        self.provider = Provider(tools, plant)
        with tempfile.TemporaryDirectory() as folder:
            libcurl = libcurl_fields(self.options.binary, folder)
            gateway = Gateway(folder, config(self.provider.port, self.provider.flap, self.provider.dead, libcurl), start=False,
                              files={"policies/stamped.lua": LEAKY if self.options.plant == "leak" else POLICY, "lua/stamp.lua": storm.MODULE % 0})
            gateway.binary = pathlib.Path(self.options.binary)
            gateway.start()
            at_start = gateway.fds()
            try:
                self._traffic(tools, gateway)
                left = leftovers(gateway)
                if left:
                    self.problems.append(f"left over with no client there: {left}")
                if more := descriptors_left(gateway, at_start):
                    self.problems.append(f"{more:.0f} descriptors too many, with no client there")
                self.problems += policy_problems(gateway.metrics(), self.traffic.now["answers"])
            finally:
                try:
                    gateway.stop()
                except AssertionError as problem:
                    self.problems.append(str(problem))
                self.counted = self.provider.counters()
                self.provider.stop()
        if self.counted["wrong"] or self.counted["doubled"]:
            self.problems.append(f"the provider got requests that are wrong: {self.counted['wrong']}, too often: {self.counted['doubled']}")

    def _traffic(self, tools, gateway):
        options, began = self.options, time.monotonic()
        traffic = Traffic(tools, gateway, options.seconds, options.rate, options.slots, options.seed)
        changes = Changes(gateway, options.seed)
        next_change = next_sample = next_line = 0.0
        while traffic.process.poll() is None:
            at = time.monotonic() - began
            if at >= next_sample:
                self.samples.append(sample(gateway, traffic, began))
                next_sample = at + options.every
            if at >= next_change and at < options.seconds:
                changes.one()
                next_change = at + options.pace
            if at >= next_line:
                self._progress(traffic, changes)
                next_line = at + options.progress
            if at > options.seconds + 120:
                traffic.process.kill()
                self.problems.append("the clients did not come to an end")
            time.sleep(0.05)
        status = traffic.wait(10)
        if status != 0:
            self.problems.append(f"the clients found {traffic.now['problems']} problems (exit status {status}): see above")
        self.problems += changes.problems
        self.traffic, self.changes = traffic, changes

    def _progress(self, traffic, changes):
        s = self.samples[-1]
        print(f"soak: {s['t']:6.0f} s  {traffic.now['answers']:>8} answers  {traffic.now['events']:>9} events  {traffic.now['open']:>4} open  "
              f"{s['fds']:>4} fds  {s['rss_mb']:6.1f} MB  generation {s.get('generation', 0):.0f}  "
              f"{traffic.now['problems'] + len(changes.problems)} problems", flush=True)

    def report(self):
        now, options = self.traffic.now, self.options
        seconds = max(1.0, now["t"])
        missing = [kind for kind, n in now["kinds"].items() if not n]
        if missing and now["started"] >= 2000:
            self.problems.append(f"nothing was asked of these kinds: {missing}")
        print(f"\n{now['answers']} answers ({now['answers'] / seconds:.0f}/s) and {now['events']} events ({now['bytes'] / 1e6:.0f} MB) checked byte for byte, over "
              f"{now['connections']} connections, in {seconds:.0f} s; {self.counted['requests']} requests at the providers")
        print("  " + ", ".join(f"{kind} {n}" for kind, n in now["kinds"].items()))
        print(f"  changes: {', '.join(f'{name} {n}' for name, n in sorted(self.changes.done.items()))}")
        since = min(300.0, options.seconds / 3)
        rows = judge(self.samples, since) if options.verdict else []
        if rows:
            print(f"\n{'from ' + format(since / 60, '.1f') + ' min on':<34} {'lowest':>10} {'median':>10} {'highest':>10} {'gained':>9} {'band':>8}")
            for name, low, median, high, gain, band, flat in rows:
                scale, unit = (1e-6, " MB") if name.endswith("_bytes") else (1, "")
                print(f"{name + unit:<34} {low * scale:>10.1f} {median * scale:>10.1f} {high * scale:>10.1f} {gain * scale:>+9.1f} {band * scale:>8.1f}"
                      f"  {'flat' if flat else 'GROWS'}")
                if not flat:
                    self.problems.append(f"{name} grows: {gain:+.1f} in the judged part, more than {band:.1f}")
        self._write(rows)
        for problem in self.problems:
            print(f"soak: {problem}", file=sys.stderr)
        print(f"\nsoak: {'FAILED, ' + str(len(self.problems)) + ' problems' if self.problems else 'passed: nothing lost, doubled or out of order'}"
              f"{', all flat' if rows and not self.problems else ''}")
        return 1 if self.problems else 0

    def _write(self, rows):
        if not self.options.out:
            return
        path = pathlib.Path(self.options.out)
        path.parent.mkdir(exist_ok=True)
        with open(path, "w") as out:
            for taken in self.samples:
                out.write(json.dumps(taken) + "\n")
            out.write(json.dumps({"final": self.traffic.now, "provider": self.counted, "problems": self.problems,
                                  "rows": [dict(zip(("name", "lowest", "median", "highest", "gained", "band", "flat"), r)) for r in rows]}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0], epilog=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES", 30)), help="SOAK_MINUTES, 30")
    parser.add_argument("--seconds", type=float, help="instead of minutes; SOAK_SECONDS", default=os.environ.get("SOAK_SECONDS"))
    parser.add_argument("--rate", type=float, default=float(os.environ.get("SOAK_RATE", 500)), help="requests a second that are asked for; SOAK_RATE, 500")
    parser.add_argument("--slots", type=int, default=128, help="client connections")
    parser.add_argument("--seed", type=int, default=1, help="decides the mix")
    parser.add_argument("--every", type=float, default=3, help="seconds between samples")
    parser.add_argument("--pace", type=float, default=1, help="seconds between changes of the rules")
    parser.add_argument("--progress", type=float, default=15, help="seconds between lines")
    parser.add_argument("--binary", default=os.environ.get("MOONGATE_BIN") or str(PLAIN))
    parser.add_argument("--out", default=str(ROOT / "build/soak.jsonl"), help="where samples and result are written, a line each")
    parser.add_argument("--no-verdict", dest="verdict", action="store_false", help="judge no growth: for short runs")
    parser.add_argument("--plant", choices=("double", "lose", "leak"), help="spoil something: the soak has to fail")
    options = parser.parse_args()
    options.seconds = float(options.seconds or options.minutes * 60)
    soak = Soak(options)
    soak.run()
    return soak.report()


if __name__ == "__main__":
    sys.exit(main())
