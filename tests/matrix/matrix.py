# SPDX-License-Identifier: MIT
"""
The matrix of issue "any client, any provider": official SDKs, unchanged, against every provider dialect. One gateway, pretend providers that are strict
about what they are sent (support/providers) and one that others wrote (aimock), one process per SDK. Prints a table, writes it as markdown to build/matrix.md, which
README.md has to show, and closes with "N passed, N failed, N skipped".

  matrix.py [--direct] [--client ID]… [--provider NAME]… [--case NAME]… [--show]

--direct leaves the gateway out: each SDK speaks to the provider of its own dialect, which proves the harness. --show prints what each failing cell asked, and which cells took longest.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/matrix")]

import cells as matrix_cells  # noqa: E402
import table  # noqa: E402
from judge import judge  # noqa: E402
from support.gateway import Gateway  # noqa: E402
from support.providers import plays  # noqa: E402
from support.providers.provider import provider  # noqa: E402

KEY = "client-secret"
OWN = {"openai": "openai", "responses": "responses", "anthropic": "anthropic", "gemini": "gemini"}    # dialect: the provider asked directly
ONLY_THROUGH = ("credential", "cut stream", "overloaded stream")     # what the gateway makes of them is judged
BEGINS, ENDS = "<!-- build/matrix.md: make test holds this to it -->", "<!-- end of build/matrix.md -->"
PROCESSES = 3
PATIENCE = 600      # for one SDK's process; only a hang needs it


def config(roots):
    """roots: {(provider's name, aimock): where it listens}."""
    def filled(value, root):
        if isinstance(value, dict):
            return {k: filled(v, root) for k, v in value.items()}
        return value.replace("{root}", root) if isinstance(value, str) else value
    named = {("aimock-" if aimock else "") + name: (name, root) for (name, aimock), root in roots.items()}
    return {
        "keys": [{"name": "app", "secret": KEY}],
        "providers": {full: filled(matrix_cells.PROVIDERS[name][1], root) for full, (name, root) in named.items()},
        "routes": [{"name": full, "path": "/v1*", "models": [f"{full}--*"], "policy": "failover", "settings": {"targets": [full]}} for full in named],
    }


class Aimock:
    """aimock as a process; what it says is what the plays say."""

    def __init__(self):
        calls = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in plays.CALLS]
        said = {"text": {"text": plays.TEXT}, "call": {"calls": calls[:1]},
                "conversation": {"text": "Let me look.", "calls": calls, "then": "There are moss and 3 doors, and 41 stones."}}
        self.process = subprocess.Popen(["node", str(ROOT / "tests/matrix/aimock.mjs"), json.dumps(said)], env=environment(), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        assert "listening on" in line, f"aimock did not start: {line}"
        self.root = line.split()[-1]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def environment():
    """For the SDKs' processes: no key and no proxy of the machine's."""
    env = {**os.environ, "NO_PROXY": "*", "MOONGATE_CLIENTS": os.environ.get("MOONGATE_CLIENTS", str(ROOT / "build/clients"))}
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        env.pop(name, None)
    return env


def command(client):
    here = ROOT / "tests/matrix"
    return [sys.executable, str(here / "clients.py"), client.name] if client.language == "py" else ["node", str(here / "clients.mjs"), client.name]


def play(client, mine, base, key):
    """Runs one SDK's cells; {cell's number: what it saw}."""
    job = {"base": base, "key": key, "cells": [{"id": n, "cell": cell.id, "model": cell.model, "case": cell.case["name"]} for n, cell in enumerate(mine)]}
    try:
        done = subprocess.run(command(client), input=json.dumps(job), env=environment(), capture_output=True, text=True, timeout=PATIENCE)
        out, problem = done.stdout, f"the SDK's program ended with {done.returncode}: {done.stderr[-2000:]}"
    except subprocess.TimeoutExpired as late:
        out, problem = (late.stdout or b"").decode(), f"the SDK's program hung for {PATIENCE} s"
    seen = {}
    for line in out.splitlines():
        if line.startswith("{"):
            value = json.loads(line)
            seen[value["id"]] = {**value["seen"], "seconds": value["seconds"]}
    return [seen.get(n, {"error": {"type": "nothing", "status": None, "message": problem}}) for n in range(len(mine))]


def settle(cell, calls):
    """The record of an aborted call is waited for: the provider notices a moment later."""
    if cell.case.get("abort"):
        for call in calls:
            call.finished.wait(30)
    return calls


def run(chosen, base_of, upstream):
    """[(cell, problem, what was seen, the provider's calls)] of all chosen cells, some SDKs at a time."""
    clients = list(dict.fromkeys(cell.client for cell in chosen))
    results, slots = {}, threading.Semaphore(PROCESSES)

    def one(client):
        with slots:
            mine = [cell for cell in chosen if cell.client is client]
            base, key = base_of(client)
            results[client] = list(zip(mine, play(client, mine, base, key)))
    threads = [threading.Thread(target=one, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = {}
    for call in upstream.calls:
        asked.setdefault(plays.cell_of(call.request), []).append(call)
    out = []
    for client in clients:
        for cell, seen in results[client]:
            calls = settle(cell, asked.get(cell.id, []))
            out.append((cell, verdict(cell, seen, calls), seen, calls))
    return out


def verdict(cell, seen, calls):
    try:
        return judge(cell, seen, calls)
    except (KeyError, TypeError, IndexError, AttributeError) as missing:
        return f"{missing!r} in {seen!r:.400}"


def with_gateway(chosen):
    upstream = provider()
    aimock = Aimock() if any(cell.aimock for cell in chosen) else None
    roots = {(c.provider, c.aimock): aimock.root if c.aimock else f"http://{upstream.address}" for c in chosen}
    with tempfile.TemporaryDirectory() as folder:
        try:
            gateway = Gateway(folder, config(roots))
            results = run(chosen, lambda client: (f"http://{gateway.address}", KEY), upstream)
        finally:
            upstream.stop()
            if aimock:
                aimock.stop()
        gateway.check_counts()
        gateway.stop()
    return results


def directly(chosen):
    """Cells of clients that speak the provider's own dialect, without a gateway between."""
    upstream = provider()
    chosen = [c for c in chosen if not c.aimock and OWN.get(c.client.dialect) == c.provider and c.case["name"] not in ONLY_THROUGH]
    try:
        return run(chosen, lambda client: (f"http://{upstream.address}", f"sk-{OWN[client.dialect]}"), upstream)
    finally:
        upstream.stop()


def report(results, show):
    plain = [(cell, problem) for cell, problem, _, _ in results]
    print(table.text(plain))
    for cell, problem, seen, calls in results:
        if problem:
            print(f"\nFAILED: {cell.client.title} -> {'aimock, ' if cell.aimock else ''}{cell.provider}, {cell.case['name']}: {problem}")
            for call in calls if show else ():
                print(f"  asked: {call.request.method} {call.request.target} {call.request.body.decode(errors='replace')[:1500]}")
            if show:
                print(f"  seen: {json.dumps(seen)[:1500]}")
    for cell, _, seen, calls in sorted(results, key=lambda r: -r[2].get("seconds", 0))[:20] if show else ():
        print(f"{seen.get('seconds', 0):7.2f} s, {len(calls)} calls: {cell.id} {cell.case['name']}")
    failed = sum(1 for _, problem in plain if problem)
    return len(plain) - failed, failed


def stale_readme(results):
    """Why README.md does not show this table, or None."""
    found = re.search(rf"{re.escape(BEGINS)}\n(.*?){re.escape(ENDS)}", (ROOT / "README.md").read_text(), re.S)
    if not found:
        return f"README.md has no lines {BEGINS!r} and {ENDS!r}, with build/matrix.md between them"
    return None if found[1].strip() == table.markdown(results).strip() else "README.md shows another table than build/matrix.md"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--show", action="store_true")
    for name in ("client", "provider", "case"):
        parser.add_argument(f"--{name}", action="append")
    args = parser.parse_args()
    clients = [c for c in matrix_cells.CLIENTS if not args.client or c.id in args.client]
    providers = [p for p in matrix_cells.PROVIDERS if not args.provider or p in args.provider]
    chosen = matrix_cells.cells(clients, providers, args.case)
    results = directly(chosen) if args.direct else with_gateway(chosen)
    passed, failed = report(results, args.show)
    if not (args.direct or args.client or args.provider or args.case):
        plain = [(cell, problem) for cell, problem, _, _ in results]
        (ROOT / "build/matrix.md").write_text(table.markdown(plain))
        stale = stale_readme(plain)
        print(f"FAILED: {stale}" if stale else "README.md shows this table.")
        passed, failed = (passed, failed + 1) if stale else (passed + 1, failed)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
