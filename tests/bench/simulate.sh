#!/bin/sh
# SPDX-License-Identifier: MIT
# How many requests a second the simulator plays, with the optimized build: a whole gateway each, half of them streams.
set -eu
cd "$(dirname "$0")/../.."
exec python3 -B - <<'END'
import json, resource, subprocess, time
began = time.monotonic()
out = subprocess.run(["build/moongate", "simulate", "tests/bench/simulate.lua", "--json"], check=True, capture_output=True).stdout
wall = time.monotonic() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
n, cpu = json.loads(out)["policies"][0]["requests"], used.ru_utime + used.ru_stime
print(f"simulator: {n} requests, {n / wall:.0f} per second ({n / cpu:.0f} per second of CPU), {used.ru_maxrss // 1024} MiB")
END
