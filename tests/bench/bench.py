#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
make bench: Moongate, HAProxy and nginx with Lua, one worker each, in front of the same fast local provider in the same run.

Rounds take turns and figures are compared as ratios, round by round, because absolute ones drift on shared machines; the spread is that of the rounds'
ratios. Instructions are counted under callgrind: only those in user space, but the same however busy the machine is. Reloads (reloads.py) have nothing to be
compared with: they are told as they are. CPU is what the proxy's process used (schedstat, in ns), divided by what it carried. Results are added
to build/bench-history.jsonl and compared with the last ones there (history.py has the rule). Nothing leaves the loopback.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import callgrind
import history
import proxies
import reloads

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RATE = 100  # events per second and stream
NAMES = {"moongate": "Moongate", "haproxy": "HAProxy", "nginx": "nginx+Lua"}

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
            subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(out), str(source),
                            *(["-lssl", "-lcrypto"] if name == "load" else [])], check=True)
    return folder


def load(tools, port, kind, conns, seconds, amount, *more):
    """One run of load.c; its figures."""
    run = subprocess.run([str(tools / "load"), str(port), kind, str(conns), str(seconds), str(amount), *more],
                         capture_output=True, text=True, timeout=seconds + 60)
    result = json.loads(run.stdout) if run.returncode == 0 else sys.exit(f"bench: load failed: {run.stderr}")
    if result["errors"]:
        sys.exit(f"bench: {result['errors']} of {kind} requests failed: {run.stderr[:500]}")
    return result


class Bench:
    def __init__(self, tools, upstream_port, options):
        self.tools, self.upstream, self.options = tools, upstream_port, options

    def load(self, port, *words):
        return load(self.tools, port, *words)

    def tls_load(self, port, *words):
        return load(self.tools, port, *words, "tls")

    def per_unit(self, proxy, unit, *words):
        """CPU microseconds per answer or event."""
        before = proxy.cpu()
        result = self.load(proxy.port, *words)
        return (proxy.cpu() - before) * 1e6 / max(1, result[unit])

    def rounds(self, there, unit, kind, conns, seconds, amount):
        """{name: [µs per unit, one per round]}, rounds interleaved, the first of each thrown away as a warm-up."""
        out = {p.name: [] for p in there}
        for p in there:
            self.load(p.port, kind, conns, 0.5, 10 if unit == "events" else amount)
        for _ in range(self.options.rounds):
            for p in there:
                out[p.name].append(self.per_unit(p, unit, kind, conns, seconds, amount))
        return out

    def latency(self, there, kind, amount):
        """{name: [(p50, p99) added over the direct way, one per round]}"""
        out = {p.name: [] for p in there}
        for _ in range(self.options.rounds):
            direct = self.load(self.upstream, kind, 1, self.options.seconds / 2, amount)
            for p in there:
                got = self.load(p.port, kind, 1, self.options.seconds / 2, amount)
                out[p.name].append((got["p50"] - direct["p50"], got["p99"] - direct["p99"]))
        return out

    def memory(self, proxy, streams=300):
        """Bytes per open stream: what the process grew by while they flow."""
        before = proxy.rss()
        run = subprocess.Popen([str(self.tools / "load"), str(proxy.port), "stream", str(streams), "10", str(RATE * 2)],
                               stdout=subprocess.DEVNULL)
        peak = before
        while run.poll() is None:
            peak = max(peak, proxy.rss())
            time.sleep(0.05)
        return (peak - before) / streams


def row_of(name, unit, values, bar=""):
    """values: {proxy: one value}"""
    return {"name": name, "unit": unit, "bar": bar, **values}


def ratio_row(name, unit, figures, bar):
    """figures: {proxy: [one per round]}"""
    row = row_of(name, unit, {n: statistics.median(v) for n, v in figures.items()}, bar)
    for other, key in (("haproxy", ""), ("nginx", "nginx_")):
        if other in figures:
            ratios = sorted(m / o for m, o in zip(figures["moongate"], figures[other]))
            row[f"{key}ratio"], row[f"{key}spread"] = statistics.median(ratios), [ratios[0], ratios[-1]]
    return row


def latency_rows(title, added, bar):
    for at, name in enumerate(("p50", "p99")):
        own = sorted(pair[at] for pair in added["moongate"])
        row = row_of(f"{title}, {name}", "µs", {n: statistics.median(p[at] for p in pairs) for n, pairs in added.items()}, bar if name == "p99" else "")
        yield {**row, "spread": [own[0], own[-1]]}


def policy_cost(tools):
    """The decision alone, in µs, from bench_policy.c; None when the library it needs was not built."""
    library, source, out = ROOT / "build/libmoongate.a", HERE / "bench_policy.c", tools / "bench_policy"
    if not library.exists() or not source.exists():
        return None
    packages = re.search(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], capture_output=True, text=True).stdout.split()
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


def measure(bench, there, options):
    """The rows about the running proxies."""
    idle = {p.name: p.rss() for p in there}
    per_stream = {p.name: bench.memory(p) for p in there}  # before anything else has made the processes grow
    rows = [ratio_row("CPU per small JSON request", "µs",
                      bench.rounds(there, "answers", "plain", 16, options.seconds, 400), "<= 2.0 x"),
            ratio_row(f"CPU per streamed event, {options.streams} streams x {RATE}/s", "µs", bench.rounds(
                there, "events", "stream", options.streams, options.seconds + 5, int(RATE * options.seconds)), "<= 1.3 x"),
            ratio_row("CPU per 200 KB prompt", "µs",
                      bench.rounds(there, "answers", "plain", 4, options.seconds, 200_000), "<= 1.3 x")]
    for title, kind, amount, bar in (("added latency, one client", "plain", 400, ""),
                                     ("added time to first event, one client", "streams", 1, "p99 <= 300 µs")):
        rows += latency_rows(title, bench.latency(there, kind, amount), bar)
    rows.append(row_of("memory, idle", "MB", {n: v / 1e6 for n, v in idle.items()}, "<= 12 MB"))
    rows.append(row_of("memory per open stream", "KB", {n: v / 1e3 for n, v in per_stream.items()}, "<= 40 KB"))
    cost = policy_cost(bench.tools)
    if cost is not None:
        rows.append(row_of("policy decision alone", "µs", {"moongate": cost}, "<= 6 µs"))
    return rows


def tls_rows(tools, options):
    """The same two loads with TLS between client and proxy: kept connections, no handshakes counted."""
    with tempfile.TemporaryDirectory() as name, proxies.provider(tools, RATE) as upstream:
        folder = pathlib.Path(name)
        certificate = proxies.certificate(folder)
        with proxies.running([proxies.haproxy(upstream, folder, certificate=certificate), proxies.nginx(upstream, folder, certificate),
                              proxies.moongate(options.binary, upstream, folder, certificate=certificate)]) as there:
            bench = Bench(tools, upstream, options)
            bench.load = bench.tls_load
            return [ratio_row("CPU per small JSON request, client's side TLS", "µs",
                              bench.rounds(there, "answers", "plain", 16, options.seconds, 400), ""),
                    ratio_row("CPU per streamed event, client's side TLS", "µs", bench.rounds(
                        there, "events", "stream", options.streams, options.seconds + 5, int(RATE * options.seconds)), "")]


def translation_rows(tools, options):
    """What a provider of another dialect costs, against the same path untranslated: OpenAI's client, Anthropic's provider."""
    with tempfile.TemporaryDirectory() as name, proxies.provider(tools, RATE) as upstream:
        folder = pathlib.Path(name)
        with proxies.running([proxies.moongate(options.binary, upstream, folder, name="untouched"),
                              proxies.moongate(options.binary, upstream, folder, name="translated", env={"DIALECT": "anthropic"})]) as there:
            bench = Bench(tools, upstream, options)
            rows = []
            for title, unit, *load in (("small JSON request", "answers", "plain", 16, options.seconds, 400),
                                       ("streamed event", "events", "stream", options.streams, options.seconds + 5, int(RATE * options.seconds)),
                                       ("200 KB prompt", "answers", "plain", 4, options.seconds, 200_000)):
                figures = bench.rounds(there, unit, *load)
                ratios = sorted(t / u for t, u in zip(figures["translated"], figures["untouched"]))
                rows.append({**row_of(f"CPU per translated {title}", "µs", {"moongate": statistics.median(figures["translated"])}),
                             "untouched": statistics.median(figures["untouched"]), "factor": statistics.median(ratios),
                             "spread": [ratios[0], ratios[-1]]})
            return rows


def instruction_rows(tools, binary, upstream, seconds):
    """Instructions in user space of Moongate and HAProxy, under callgrind; none without valgrind."""
    if not shutil.which("valgrind"):
        return []
    rows = []
    for name, unit, kind, conns in (("small JSON request", "answers", "plain", 4), ("streamed event", "events", "stream", 10)):
        values = {}
        for start in (lambda folder, prefix: proxies.moongate(binary, upstream, folder, prefix), lambda folder, prefix: proxies.haproxy(upstream, folder, prefix)):
            with tempfile.TemporaryDirectory() as path, proxies.running([start(pathlib.Path(path), callgrind.prefix(path))]) as there:
                proxy = there[0]
                load(tools, proxy.port, kind, conns, 1, RATE if kind == "stream" else 400)
                with callgrind.counting(proxy.process.pid):
                    units = load(tools, proxy.port, kind, conns, seconds, int(RATE * seconds * 2) if kind == "stream" else 400)[unit]
                values[proxy.name] = callgrind.Profile.of(path).total / max(1, units) / 1000
        rows.append({**row_of(f"instructions per {name}, user space", "k", values), "ratio": values["moongate"] / values["haproxy"],
                     "steady": True})
    return rows


def show(rows):
    names = [n for n in NAMES if any(n in r for r in rows)]
    others = [n for n in ("haproxy", "nginx") if n in names]
    print(f"{'':<48}" + "".join(f"{NAMES[n]:>13}" for n in names) + "".join(f"  {'to ' + NAMES[n] + ' (spread)':<24}" for n in others)
          + f"{'first bar':<15}{'before':>8}")
    for r in rows:
        cells = "".join(f"{r[n]:>10.1f} {r['unit']:<2}" if n in r else f"{'-':>13}" for n in names)
        ratios = ""
        for n in others:
            key = "" if n == "haproxy" else "nginx_"
            spread = "{:.2f} … {:.2f}".format(*r[f"{key}spread"]) if f"{key}spread" in r and f"{key}ratio" in r else ""
            ratios += f"  {format(r[f'{key}ratio'], '6.2f') + ' x  ' + spread if f'{key}ratio' in r else '':<24}"
        if "factor" in r:
            ratios = "{:6.2f} x  {:.2f} … {:.2f}  untranslated: {:.1f} {}".format(r["factor"], *r["spread"], r["untouched"], r["unit"])
        before = f"{r['before']:>8.2f}{'  SLOWER' if r.get('slower') else ''}" if "before" in r else ""
        print((f"{r['name']:<48}{cells}{ratios}{r['bar']:<15}{before}").rstrip())


def compare(tools, options):
    """The rows about the proxies."""
    if not proxies.find("haproxy"):
        sys.exit("bench: haproxy is missing (tests/support/setup.sh bench installs it)")
    with tempfile.TemporaryDirectory() as name, proxies.provider(tools, RATE) as upstream:
        folder = pathlib.Path(name)
        with proxies.running([proxies.haproxy(upstream, folder), proxies.nginx(upstream, folder),
                              proxies.moongate(options.binary, upstream, folder)]) as there:
            if not any(p.name == "nginx" for p in there):
                print("bench: no nginx with Lua here: left out", file=sys.stderr)
            rows = measure(Bench(tools, upstream, options), there, options)
        return rows + ([] if options.quick else instruction_rows(tools, options.binary, upstream, 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0], epilog=history.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it run at all?")
    parser.add_argument("--only", choices=("proxies", "reloads", "instructions", "tls", "translation"), help="one part alone; not added to the history")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--binary", default=os.environ.get("MOONGATE_BIN") or str(ROOT / "build/moongate"))
    parser.add_argument("--history", type=pathlib.Path, default=ROOT / "build/bench-history.jsonl", help="where earlier results are")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when something is slower than before")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.streams = 1, 0.5, 50
    tools = compile_tools(ROOT / "build/bench")
    started, rows = time.monotonic(), []
    if options.only in (None, "proxies"):
        rows += compare(tools, options)
    if options.only == "instructions":
        with proxies.provider(tools, RATE) as upstream:
            rows += instruction_rows(tools, options.binary, upstream, 4)
    if options.only == "tls":
        rows += tls_rows(tools, options)
    if options.only in (None, "translation"):
        rows += translation_rows(tools, options)
    if options.only in (None, "reloads"):
        with tempfile.TemporaryDirectory() as name:
            rows += reloads.measure(tools, options.binary, pathlib.Path(name), options.quick)
    slower = [] if options.quick else history.compare(rows, history.load(options.history))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    result = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit, "rounds": options.rounds,
              "seconds": round(time.monotonic() - started, 1), "load": os.getloadavg()[0], "rows": rows}
    if not options.quick and not options.only:
        history.keep(options.history, result)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(rows)
        print(f"\n{options.rounds} rounds, {result['seconds']} s, load average {result['load']:.1f}")
        if slower:
            print(f"slower than the last runs: {', '.join(slower)}")
    return 1 if slower and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
