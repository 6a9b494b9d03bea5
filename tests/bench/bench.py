#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
make bench: Moongate and HAProxy, one worker each, in front of the same fast local provider in the same run.

Rounds alternate between the two and figures are compared as ratios, because absolute ones drift on shared machines. Reloads (reloads.py) have
nothing to be compared with: they are told as they are.
CPU is what the proxy's process used (schedstat, in ns), divided by what it carried. Results are added to
build/bench-history.jsonl. Needs haproxy and a C compiler; nothing leaves the loopback.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import reloads

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RATE = 100  # events per second and stream

HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    option http-no-delay
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    server upstream 127.0.0.1:{upstream}
"""

# bench_policy.c asks for the first of these.
POLICY = """
return {
  listen = "127.0.0.1:0",
  providers = {
    p = { dialect = "openai", base_url = "http://127.0.0.1:9/v1" },
    q = { dialect = "openai", base_url = "http://127.0.0.1:9/v1" },
  },
  routes = {
    { name = "chat", path = "/v1/chat/completions", policy = "failover",
      settings = { targets = { "p/gpt-4o", "q/gpt-4o" }, first_packet_timeout = 10, suspend = 30 } },
  },
}
"""


def compile_tools(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("upstream", "load"):
        source, out = HERE / f"{name}.c", folder / name
        if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(out), str(source)], check=True)
    return folder


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """A proxy's process. What it used of the CPU is the sum over its threads."""

    def __init__(self, name, command, port=None, env=None, folder=None):
        self.name = name
        log = open(folder / f"{name}.log", "w+")
        self.process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=log)
        self.log = pathlib.Path(log.name)
        self.port = port or self.wait(self.announced)
        self.wait(self.accepts)

    def wait(self, condition):
        end = time.monotonic() + 15
        while not (value := condition()):
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"bench: {self.name} did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        return value

    def announced(self):
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text())
        return found and int(found[1])

    def accepts(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def cpu(self):
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Bench:
    def __init__(self, tools, upstream_port, options):
        self.tools, self.upstream, self.options = tools, upstream_port, options

    def load(self, port, kind, conns, seconds, amount):
        run = subprocess.run([str(self.tools / "load"), str(port), kind, str(conns), str(seconds), str(amount)],
                             capture_output=True, text=True, timeout=seconds + 60)
        result = json.loads(run.stdout) if run.returncode == 0 else sys.exit(f"bench: load failed: {run.stderr}")
        if result["errors"]:
            sys.exit(f"bench: {result['errors']} of {kind} requests failed: {run.stderr[:500]}")
        return result

    def per_unit(self, proxy, unit, *load):
        """CPU microseconds per answer or event."""
        before = proxy.cpu()
        result = self.load(proxy.port, *load)
        return (proxy.cpu() - before) * 1e6 / max(1, result[unit])

    def rounds(self, proxies, unit, *load):
        """{name: [µs per unit, one per round]}, rounds interleaved, the first of each thrown away as a warm-up."""
        out = {p.name: [] for p in proxies}
        for p in proxies:
            self.load(p.port, load[0], load[1], 0.5, 10 if unit == "events" else load[3])
        for _ in range(self.options.rounds):
            for p in proxies:
                out[p.name].append(self.per_unit(p, unit, *load))
        return out

    def latency(self, proxies, kind, amount):
        """{name: (p50, p99) added over the direct way}, the median of the rounds."""
        pairs = {p.name: [] for p in proxies}
        for _ in range(self.options.rounds):
            direct = self.load(self.upstream, kind, 1, self.options.seconds / 2, amount)
            for p in proxies:
                got = self.load(p.port, kind, 1, self.options.seconds / 2, amount)
                pairs[p.name].append((got["p50"] - direct["p50"], got["p99"] - direct["p99"]))
        return {name: [statistics.median(x) for x in zip(*got)] for name, got in pairs.items()}

    def memory(self, proxy, streams=300):
        """Bytes per open stream: what the process grew by while they flow."""
        before = proxy.rss()
        load = subprocess.Popen([str(self.tools / "load"), str(proxy.port), "stream", str(streams), "10", str(RATE * 2)],
                                stdout=subprocess.DEVNULL)
        peak = before
        while load.poll() is None:
            peak = max(peak, proxy.rss())
            time.sleep(0.05)
        return (peak - before) / streams


def ratio_row(name, unit, figures, bar):
    pairs = list(zip(figures["moongate"], figures["haproxy"]))
    ratios = sorted(m / h for m, h in pairs)
    return {"name": name, "unit": unit, "moongate": statistics.median(figures["moongate"]),
            "haproxy": statistics.median(figures["haproxy"]), "ratio": statistics.median(ratios),
            "spread": [ratios[0], ratios[-1]], "bar": bar}


def policy_cost(tools):
    """The decision alone, in µs, from bench_policy.c; None when the library it needs was not built."""
    library, source, out = ROOT / "build/libmoongate.a", HERE / "bench_policy.c", tools / "bench_policy"
    if not library.exists() or not source.exists():
        return None
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "lua5.4", "libcurl", "libevent_pthreads", "libcjson", "libssl", "libcrypto", "zlib"],
                           capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", f"-I{ROOT / 'core'}", str(source), str(library), *flags,
                    "-levent", "-lm", "-pthread", "-o", str(out)], check=True)
    config = tools / "policy" / "gateway.lua"
    config.parent.mkdir(exist_ok=True)
    config.write_text(POLICY)
    run = subprocess.run([str(out), str(config), str(ROOT)], capture_output=True, text=True, timeout=120)
    found = re.search(r"^policy_us ([\d.]+)$", run.stdout, re.M)
    if not found:
        print(f"bench: bench_policy ended with {run.returncode}: {run.stderr.strip()}", file=sys.stderr)
    return float(found[1]) if found else None


def measure(bench, moongate, haproxy, options):
    both = [haproxy, moongate]
    idle = {p.name: p.rss() for p in both}
    per_stream = {p.name: bench.memory(p) for p in both}  # before anything else has made the processes grow
    rows = [ratio_row("CPU per small JSON request", "µs",
                      bench.rounds(both, "answers", "plain", 16, options.seconds, 400), "<= 2.0 x")]
    rows.append(ratio_row(f"CPU per streamed event, {options.streams} streams x {RATE}/s", "µs", bench.rounds(
        both, "events", "stream", options.streams, options.seconds + 5, int(RATE * options.seconds)), "<= 1.3 x"))
    rows.append(ratio_row("CPU per 200 KB prompt", "µs",
                          bench.rounds(both, "answers", "plain", 4, options.seconds, 200_000), "<= 1.3 x"))
    for title, kind, amount, bar in (("added latency, one client", "plain", 400, ""),
                                     ("added time to first event, one client", "streams", 1, "p99 <= 300 µs")):
        added = bench.latency(both, kind, amount)
        for at, name in enumerate(("p50", "p99")):
            rows.append({"name": f"{title}, {name}", "unit": "µs", "moongate": added["moongate"][at],
                         "haproxy": added["haproxy"][at], "bar": bar if name == "p99" else ""})
    rows.append({"name": "memory, idle", "unit": "MB", "bar": "<= 12 MB", **{n: v / 1e6 for n, v in idle.items()}})
    rows.append({"name": "memory per open stream", "unit": "KB", "bar": "<= 40 KB",
                 **{n: v / 1e3 for n, v in per_stream.items()}})
    cost = policy_cost(bench.tools)
    if cost is not None:
        rows.append({"name": "policy decision alone", "unit": "µs", "moongate": cost, "bar": "<= 6 µs"})
    return rows


def show(rows):
    print(f"{'':<50} {'Moongate':>12} {'HAProxy':>12} {'ratio':>7} {'spread':>13}  first bar")
    for r in rows:
        cells = [f"{r[p]:.1f} {r['unit']}" if p in r else "-" for p in ("moongate", "haproxy")]
        ratio = f"{r['ratio']:.2f}" if "ratio" in r else ""
        spread = "{:.2f} … {:.2f}".format(*r["spread"]) if "spread" in r else ""
        print(f"{r['name']:<50} {cells[0]:>12} {cells[1]:>12} {ratio:>7} {spread:>13}  {r['bar']}")


def compare(tools, options):
    """The rows about both proxies."""
    haproxy_binary = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not haproxy_binary:
        sys.exit("bench: haproxy is missing (tests/support/setup.sh bench installs it)")
    running = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            upstream = subprocess.Popen([str(tools / "upstream"), str(RATE)], stdout=subprocess.PIPE, text=True)
            running.append(upstream)
            upstream_port = int(upstream.stdout.readline())
            port = free_port()
            (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream_port))
            haproxy = Proxy("haproxy", [haproxy_binary, "-db", "-f", str(folder / "haproxy.cfg")], port, folder=folder)
            running.append(haproxy.process)
            moongate = Proxy("moongate", [options.binary, "serve", "-c", str(HERE / "gateway.lua")], folder=folder,
                             env={"LISTEN": "127.0.0.1:0", "UPSTREAM": f"http://127.0.0.1:{upstream_port}/v1"})
            running.append(moongate.process)
            return measure(Bench(tools, upstream_port, options), moongate, haproxy, options)
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it run at all?")
    parser.add_argument("--only", choices=("proxies", "reloads"), help="one part alone; not added to the history")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--binary", default=os.environ.get("MOONGATE_BIN") or str(ROOT / "build/moongate"))
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.streams = 1, 0.5, 50
    tools = compile_tools(ROOT / "build/bench")
    started = time.monotonic()
    rows = [] if options.only == "reloads" else compare(tools, options)
    if options.only != "proxies":
        with tempfile.TemporaryDirectory() as name:
            rows += reloads.measure(tools, options.binary, pathlib.Path(name), options.quick)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    result = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit, "rounds": options.rounds,
              "seconds": round(time.monotonic() - started, 1), "load": os.getloadavg()[0], "rows": rows}
    if not options.quick and not options.only:
        with open(ROOT / "build/bench-history.jsonl", "a") as history:
            history.write(json.dumps(result) + "\n")
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(rows)
        print(f"\n{options.rounds} rounds, {result['seconds']} s, load average {result['load']:.1f}")


if __name__ == "__main__":
    main()
