# SPDX-License-Identifier: MIT
"""
What earlier runs of `make bench` found on this machine, and whether this one is slower.

A figure (the ratio to HAProxy, or of translated to untouched, where there is one, otherwise, and for instructions, Moongate's own value) is slower when it is above the median of the last five runs by more than
the greatest of: the range of those runs' figures, half the spread of this run's rounds, and 5 %. Three runs have to be there; one for instructions, which repeat.
"""
import json
import os
import platform
import statistics

LAST = 5
FIRST = 3   # no verdict on fewer


def machine():
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors"


def figure(row):
    return row.get("moongate") if row.get("steady") else row.get("ratio", row.get("factor", row.get("moongate")))


def load(path):
    """Earlier results of this machine, oldest first."""
    if not path.exists():
        return []
    results = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [r for r in results if r.get("machine", machine()) == machine()]


def compare(rows, results):
    """Puts `before` (the median of the last runs) and `slower` into the rows; returns the names of the slower ones."""
    slower = []
    for row in rows:
        earlier = [f for r in results[-LAST:] for e in r["rows"] if e["name"] == row["name"] and (f := figure(e)) is not None]
        if not earlier or figure(row) is None:
            continue
        row["before"] = statistics.median(earlier)
        low, high = row.get("spread", (0, 0))
        margin = max(max(earlier) - min(earlier), (high - low) / 2, 0.05 * abs(row["before"]))
        if len(earlier) < FIRST and not row.get("steady"):
            continue
        row["slower"] = figure(row) > row["before"] + margin
        if row["slower"]:
            slower.append(row["name"])
    return slower


def keep(path, result):
    with open(path, "a") as history:
        history.write(json.dumps({**result, "machine": machine()}) + "\n")
