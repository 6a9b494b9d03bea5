# SPDX-License-Identifier: MIT
"""
The part of `make bench` about reloads: how long one of twenty policies takes under load and whether a request suffers, how long it is from a saved
file to the first request on the new policy, and what a thousand reloads leave in memory.

The load is that of tests/support/storm.py: 700 requests a second asked for, so that more than 500 come, and twenty streams, each answer checked for being of one version, each stream for
being whole. It is a Python program on the gateway's machine, so its share of the processors is in the figures.
"""
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import growth, storm, wire  # noqa: E402
from support.client import Client, chat_body  # noqa: E402
from support.gateway import Gateway  # noqa: E402
from support.rules import ADMIN, Rules  # noqa: E402

POLICIES = 20
EVENTS = 60  # of a stream, at 20 a second: see upstream.c


class Provider:
    """tests/bench/upstream.c, and what one of its streams is."""

    def __init__(self, tools):
        self._process = subprocess.Popen([str(tools / "upstream"), "20"], stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"
        self.base_url = f"http://{self.address}/v1"
        with Client(self.address) as client:
            answer = client.request("POST", "/v1/chat/completions", storm.JSON, wire.dumps(chat_body(True, max_tokens=EVENTS))).read()
            self.stream = bytes(answer.body)

    def stop(self):
        self._process.terminate()
        self._process.wait(10)


def started(folder, binary, config, files):
    gateway = Gateway(folder, {"log": {"access": "off"}, **config}, files=files, start=False)
    gateway.binary = pathlib.Path(binary)
    return gateway.start()


def under_load(folder, binary, provider, reloads, seconds):
    """Reloads, half of them of broken files, under load: the times of those that applied and the number of problems."""
    gateway = started(folder, binary, storm.config(provider.base_url, POLICIES), storm.files(0, POLICIES))
    try:
        with storm.Storm(gateway, rate=700, clients=4, streams=20, policies=POLICIES, stream_body=lambda _: provider.stream,
                         extra={"max_tokens": EVENTS}) as s:
            s.reload(reloads, pace=seconds / reloads)
        try:
            s.check()
        except AssertionError as problem:
            s.problems.append(str(problem))
        print(f"bench: {s.figures}", file=sys.stderr)
        for problem in s.problems[:5]:
            print(f"bench: {problem[:300]}", file=sys.stderr)
        return s.times, len(s.problems)
    finally:
        gateway.stop()


def saved_to_served(folder, binary, provider, rounds, watch):
    """Seconds from the moment a policy's file is in place to the end of the first answer by it, one for each round."""
    config = storm.config(provider.base_url, POLICIES, reload={"watch": watch})
    gateway = started(folder, binary, config, storm.files(0, POLICIES))
    rules, times = Rules(gateway), []
    try:
        with gateway.client() as client:
            for n in range(1, rounds + 1):
                saved = time.monotonic()
                gateway.write("policies/stamped7.lua", storm.POLICY % n)
                if not watch:
                    rules.apply()
                while True:
                    answer = client.request("POST", "/v1/chat/completions", (), chat_body(model="m7")).read()
                    if answer.json()["seen"][0] == n:
                        break
                    if time.monotonic() > saved + 30:
                        raise AssertionError("a saved file was never served")
                    time.sleep(0.001)
                times.append(answer.ended_at - saved)
                time.sleep(0.3 if watch else 0)  # the watch's own pause is over, too
        return times
    finally:
        gateway.stop()


def grown(folder, binary, provider, reloads):
    """Bytes by which the process grew between a tenth of the reloads and all of them."""
    config = {"admin": ADMIN, "providers": {"p": {"dialect": "openai", "base_url": provider.base_url}},
              "routes": [{"name": "chat", "path": "/v1/*", "policy": "own", "settings": {"targets": ["p/m"]}}]}
    gateway = started(folder, binary, config, {"policies/own.lua": growth.POLICY % 0})
    rules = Rules(gateway)
    try:
        with gateway.client() as client:
            def ask(_):
                client.request("POST", "/v1/chat/completions", (), chat_body()).read()
            growth.reload_many(gateway, rules, reloads // 10, between=ask)
            early = gateway.rss()
            growth.reload_many(gateway, rules, reloads - reloads // 10, first=reloads // 10 + 1, between=ask)
        return gateway.rss() - early
    finally:
        gateway.stop()


def row(name, unit, value, bar):
    return {"name": name, "unit": unit, "moongate": value, "bar": bar}


def measure(tools, binary, folder, quick=False):
    """The rows for the bench's table."""
    sys.setswitchinterval(0.0005)  # the load's threads shall not keep the one that measures from measuring
    reloads, seconds, rounds, many = (20, 2, 3, 100) if quick else (200, 20, 20, 1000)
    provider = Provider(tools)
    try:
        times, problems = under_load(folder / "load", binary, provider, reloads, seconds)
        rows = [row(f"reload of {POLICIES} policies under load, median", "ms", statistics.median(times or [0]) * 1e3, "<= 20 ms"),
                row(f"reload of {POLICIES} policies under load, worst", "ms", max(times, default=0) * 1e3, ""),
                row(f"failed requests and streams in {reloads} reloads", "", problems, "0")]
        for name, watch in (("POST /admin/reload", False), ("watch, debounced 0.2 s", True)):
            times = saved_to_served(folder / f"saved{watch}", binary, provider, rounds, watch)
            rows.append(row(f"saved file to first request, {name}", "ms", statistics.median(times) * 1e3, ""))
        rows.append(row(f"memory, {many} reloads over {many // 10}", "MB", grown(folder / "memory", binary, provider, many) / 1e6, "<= 5.2 MB"))
        return rows
    finally:
        provider.stop()
