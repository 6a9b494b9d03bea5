# SPDX-License-Identifier: MIT
"""
The matrix of issue "any client, any provider": official SDKs, unchanged, against every provider dialect. One gateway, pretend providers that are strict
about what they are sent (support/providers), one process per SDK. Prints a table, writes it as markdown to build/matrix.md, and closes with
"N passed, N failed, N skipped".

  matrix.py [--direct] [--client ID]… [--provider NAME]… [--case NAME]… [--show]

--direct leaves the gateway out: each SDK speaks to the provider of its own dialect, which proves the harness. --show prints what each failing cell asked, and which cells took longest.
"""
import argparse
import json
import os
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
PROCESSES = 3
PATIENCE = 600      # for one SDK's process; only a hang needs it


def config(root, providers):
    def filled(value):
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else value.replace("{root}", root) if isinstance(value, str) else value
    return {
        "keys": [{"name": "app", "secret": KEY}],
        "providers": {name: filled(matrix_cells.PROVIDERS[name][1]) for name in providers},
        "routes": [{"name": name, "path": "/v1*", "models": [f"{name}--*"], "policy": "failover", "settings": {"targets": [name]}} for name in providers],
    }


def command(client):
    here = ROOT / "tests/matrix"
    return [sys.executable, str(here / "clients.py"), client.name] if client.language == "py" else ["node", str(here / "clients.mjs"), client.name]


def play(client, mine, base, key):
    """Runs one SDK's cells; {cell's number: what it saw}."""
    job = {"base": base, "key": key, "cells": [{"id": n, "cell": cell.id, "model": cell.model, "case": cell.case["name"]} for n, cell in enumerate(mine)]}
    env = {**os.environ, "NO_PROXY": "*", "MOONGATE_CLIENTS": os.environ.get("MOONGATE_CLIENTS", str(ROOT / "build/clients"))}
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        env.pop(name, None)
    try:
        done = subprocess.run(command(client), input=json.dumps(job), env=env, capture_output=True, text=True, timeout=PATIENCE)
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
        return judge(cell.client, cell.provider, cell.case, seen, calls)
    except (KeyError, TypeError, IndexError, AttributeError) as missing:
        return f"{missing!r} in {seen!r:.400}"


def with_gateway(chosen):
    upstream = provider()
    providers = list(dict.fromkeys(cell.provider for cell in chosen))
    with tempfile.TemporaryDirectory() as folder:
        try:
            gateway = Gateway(folder, config(f"http://{upstream.address}", providers))
            results = run(chosen, lambda client: (f"http://{gateway.address}", KEY), upstream)
        finally:
            upstream.stop()
        if os.environ.get("MATRIX_LOG"):
            Path(os.environ["MATRIX_LOG"]).write_text(gateway.stderr + gateway.stdout)
        gateway.check_counts()
        gateway.stop()
    return results


def directly(chosen):
    """Cells of clients that speak the provider's own dialect, without a gateway between."""
    upstream = provider()
    chosen = [c for c in chosen if OWN.get(c.client.dialect) == c.provider and c.case["name"] not in ONLY_THROUGH]
    try:
        return run(chosen, lambda client: (f"http://{upstream.address}", f"sk-{OWN[client.dialect]}"), upstream)
    finally:
        upstream.stop()


def report(results, show):
    plain = [(cell, problem) for cell, problem, _, _ in results]
    print(table.text(plain))
    for cell, problem, seen, calls in results:
        if problem:
            print(f"\nFAILED: {cell.client.title} -> {cell.provider}, {cell.case['name']}: {problem}")
            for call in calls if show else ():
                print(f"  asked: {call.request.method} {call.request.target} {call.request.body.decode(errors='replace')[:1500]}")
            if show:
                print(f"  seen: {json.dumps(seen)[:1500]}")
    for cell, _, seen, calls in sorted(results, key=lambda r: -r[2].get("seconds", 0))[:20] if show else ():
        print(f"{seen.get('seconds', 0):7.2f} s, {len(calls)} calls: {cell.id} {cell.case['name']}")
    failed = sum(1 for _, problem in plain if problem)
    return len(plain) - failed, failed


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
        (ROOT / "build/matrix.md").write_text(table.markdown([(cell, problem) for cell, problem, _, _ in results]))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
