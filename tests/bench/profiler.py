#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
make profile: where the time of a small JSON request and of a streamed event goes.

Four looks at the program as bench.py runs it (one worker, the stock policy, the model rewritten), each under the same two loads: perf (which part of
the program, and which system call the kernel works for), callgrind (instructions in user space, the same on every machine and however busy it is),
strace (system calls), and a counter between the program and malloc. A tool that is missing, or that the machine does not let run, is said and left out.
"""
import argparse
import bisect
import collections
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import bench
import callgrind
import proxies

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MALLOC = re.compile(r"^(malloc|calloc|realloc|free|cfree|_int_(malloc|free|realloc)|unlink_chunk|malloc_consolidate|sysmalloc|systrim|"
                    r"tcache_.*|_mid_memalign|alloc_perturb|__libc_(malloc|calloc|realloc|free)|checked_request2size.*|malloc_usable_size)\b")
# What is counted, the load's kind, connections (for tools that slow the program down tenfold: fewer), bytes.
LOADS = {"small JSON request": ("answers", "plain", 16, 4, 400), "streamed event": ("events", "stream", 100, 10, 0)}
LEAVES = re.compile(r"core/base/\w+\.c$|core/net/headers\.c$")   # who asked these for memory is more telling


class Run:
    """A provider and a gateway in front of it; `prefix` runs the gateway under a tool."""

    def __init__(self, tools, binary, folder, prefix=(), env=None):
        self.tools, self.folder = tools, folder
        self.upstream = subprocess.Popen([str(tools / "upstream"), str(bench.RATE)], stdout=subprocess.PIPE, text=True)
        port = int(self.upstream.stdout.readline())
        self.proxy = proxies.moongate(binary, port, folder, prefix, env)
        self.pid = self.proxy.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        self.upstream.kill()
        self.upstream.wait()

    def load(self, name, seconds, slow=True):
        """Answers or events of so many seconds."""
        unit, kind, many, few, amount = LOADS[name]
        conns = few if slow else many
        amount = amount or int(bench.RATE * seconds * 2)   # more than can come in that time: streams flow to the last
        done = subprocess.run([str(self.tools / "load"), str(self.proxy.port), kind, str(conns), str(seconds), str(amount)],
                              capture_output=True, text=True, check=True)
        return max(1, int(re.search(rf'"{unit}":(\d+)', done.stdout)[1]))

    def within(self, addresses):
        """{address in the process: (file, address within it)}"""
        out, bases, maps = {}, {}, []
        for line in pathlib.Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            words = line.split()
            if len(words) > 5 and words[5].startswith("/"):
                start, end = (int(x, 16) for x in words[0].split("-"))
                bases.setdefault(words[5], start - int(words[2], 16))
                maps.append((start, end, words[5]))
        maps.sort()
        for address in addresses:
            at = bisect.bisect(maps, (address, float("inf"))) - 1
            if at >= 0 and address < maps[at][1]:
                out[address] = maps[at][2], address - bases[maps[at][2]]
        return out


def located(addresses):
    """{(file, address within it): (function, source file)}, through addr2line."""
    by_file, out = collections.defaultdict(list), {}
    for file, address in addresses:
        by_file[file].append(address)
    for file, found in by_file.items():
        if not os.path.exists(file):    # [vdso]
            continue
        done = subprocess.run(["addr2line", "-f", "-e", file], input="\n".join(map(hex, found)), capture_output=True, text=True)
        lines = done.stdout.splitlines()
        for address, function, source in zip(found, lines[::2], lines[1::2]):
            out[file, address] = function, source.rsplit(":", 1)[0]
    return out


def part(file, function, source):
    """The component that a function belongs to."""
    name = os.path.basename(file)
    if "moongate" in name:
        folder = re.search(r"core/(?:(\w+)/)?\w+\.[ch]$", source)
        return f"core/{folder[1]}" if folder and folder[1] else "moongate, calls into libraries"
    if MALLOC.match(function):
        return "malloc"
    for prefix, title in (("liblua", "Lua"), ("libevent", "libevent"), ("libcurl", "libcurl"), ("libssl", "OpenSSL"), ("libcrypto", "OpenSSL"), ("libc", "libc"),
                          ("[vdso]", "libc"), ("libm", "libc"), ("vgpreload", "libc"), ("ld-linux", "libc")):
        if name.startswith(prefix):
            return title
    return name or "?"


# perf: time, by sampling.

def sampled(tools, binary, folder, name, seconds):
    """(CPU µs per unit, {part: share}, {function: share}); raises RuntimeError where perf does not work."""
    if not shutil.which("perf"):
        raise RuntimeError("perf is not installed")
    data = folder / "perf.data"
    with Run(tools, binary, folder) as run:
        run.load(name, 0.5)
        recorder = subprocess.Popen(["perf", "record", "-q", "-o", str(data), "-e", "cpu-clock", "-F", "1999", "-g", "-p", str(run.pid), "--", "sleep",
                                     str(seconds)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        before = run.proxy.cpu()
        units = run.load(name, seconds - 0.3, slow=False)
        cost = (run.proxy.cpu() - before) * 1e6 / units
        said = recorder.communicate()[1]
    script = subprocess.run(["perf", "script", "-i", str(data), "-F", "ip,sym,dso"], capture_output=True, text=True).stdout
    stacks = [s.splitlines() for s in script.split("\n\n") if s.strip()]
    if recorder.returncode not in (0, -15) or len(stacks) < 50:
        raise RuntimeError(f"perf recorded {len(stacks)} samples: {said.strip()[:200]}")
    return cost, *shares(stacks)


FRAME = re.compile(r"\s*([0-9a-f]+) (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)\s*$")
CALL = re.compile(r"^_*(?:x64_|se_)?sys_(\w+)$")


def kernel_part(symbols):
    """What the kernel was at work for: symbols of a stack, the innermost first."""
    calls = [found[1] for found in map(CALL.match, symbols) if found]
    if "exit_to_user_mode_loop" in symbols and "schedule" in symbols:
        return "kernel: giving way to other processes"
    if calls:
        return f"kernel: {calls[-1]}"
    return "kernel: interrupts" if any("sysvec" in s for s in symbols) else "kernel: entry, exit, other"


def shares(stacks):
    parts, functions, user = collections.Counter(), collections.Counter(), []
    for stack in stacks:
        frames = [f.groups() for f in map(FRAME.match, stack) if f]
        if not frames:
            continue
        address, symbol, dso = frames[0]
        if "kernel" in dso or dso == "[unknown]":
            parts[kernel_part([s for _, s, _ in frames])] += 1
            functions[f"{symbol} [kernel]"] += 1
        else:
            user.append(((dso, int(address, 16)), symbol))
    found = located({place for place, _ in user})
    for place, symbol in user:
        function, source = found.get(place, (symbol, ""))
        if symbol == "[unknown]":   # a stripped library: the nearest name that addr2line knows would be a wrong one
            symbol = function if source.endswith(".c") else os.path.basename(place[0])
        title = part(place[0], symbol, source)
        parts[title] += 1
        functions[f"{symbol} [{title}]"] += 1
    total = sum(parts.values())
    return {k: n / total for k, n in parts.items()}, {k: n / total for k, n in functions.items()}


# callgrind: instructions, counted.

def counted(tools, binary, folder, name, seconds):
    """(instructions per unit, {part: (own, with what it asks of libc and malloc)}, {function: own}, {function: with all it calls},
    {a function and the helper that it calls: with all that calls})"""
    if not shutil.which("valgrind"):
        raise RuntimeError("valgrind is not installed")
    with Run(tools, binary, folder, callgrind.prefix(folder)) as run:
        run.load(name, 1)
        with callgrind.counting(run.pid):
            units = run.load(name, seconds)
    return instructions(callgrind.Profile.of(folder), units)


def instructions(profile, units):
    own, served = collections.Counter(), collections.Counter()
    functions, whole, helped = collections.Counter(), collections.Counter(), collections.Counter()
    helpers = ("malloc", "libc", "core/base")
    parts = {key: part(f.object, f.name, f.file) for key, f in profile.functions.items()}
    for key, f in profile.functions.items():
        mine = parts[key]
        own[mine] += f.own
        functions[f"{f.name} [{mine}]"] += f.own
        whole[f"{f.name} [{mine}]"] += f.own + sum(f.calls.values())
        for callee, cost in f.calls.items():
            if parts[callee] in ("malloc", "libc") and mine not in ("malloc", "libc"):
                served[mine, parts[callee]] += cost
            if parts[callee] in helpers and mine not in helpers:
                helped[f"{f.name} [{mine}] -> {callee[2]} [{parts[callee]}]"] += cost
    total = sum(own.values()) / units
    table = {p: [n / units, served[p, "malloc"] / units, served[p, "libc"] / units] for p, n in own.items()}
    per = lambda counter: {k: n / units for k, n in counter.items()}  # noqa: E731
    return total, table, per(functions), per(whole), per(helped)


# strace and the malloc counter.

def system_calls(tools, binary, folder, name, seconds):
    """{system call: how often per unit}"""
    if not shutil.which("strace"):
        raise RuntimeError("strace is not installed")
    with Run(tools, binary, folder) as run:
        run.load(name, 0.5)
        out = folder / "strace.out"
        tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "name,calls", "-o", str(out), "-p", str(run.pid)], stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        units = run.load(name, seconds)
        tracer.terminate()
        said = tracer.communicate(timeout=30)[1]
    found = re.findall(r"^\s*(\w+)\s+(\d+)\s*$", out.read_text() if out.exists() else "", re.M)
    if not found:
        raise RuntimeError(f"strace said: {said.strip()[:200]}")
    return {call: int(n) / units for call, n in found if call != "total"}


def allocations(tools, binary, folder, name, seconds):
    """{who asked: (allocations, bytes) per unit}"""
    library, table = tools / "count_malloc.so", folder / "allocations"
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-fno-builtin", "-o", str(library), str(HERE / "count_malloc.c")], check=True)
    with Run(tools, binary, folder, env={"LD_PRELOAD": str(library), "COUNT_MALLOC": str(table)}) as run:
        run.load(name, 0.5)
        before = read_table(table)
        units = run.load(name, seconds)
        after = read_table(table)
        within = run.within({place - 1 for stack in after for place in stack if place})   # a return address: the call stands before it
    found = located(set(within.values()))
    out = collections.defaultdict(lambda: [0, 0])
    for stack, (calls, size) in after.items():
        was = before.get(stack, (0, 0))
        where = asked_by([(within[p - 1][0], *found.get(within[p - 1], ("?", ""))) for p in stack if p - 1 in within])
        out[where][0] += (calls - was[0]) / units
        out[where][1] += (size - was[1]) / units
    return {k: v for k, v in out.items() if v[0] >= 0.005}


def asked_by(frames):
    """Of (file, function, source) from the innermost: the first that is no helper, and the helper."""
    names = [(function, part(file, function, source), bool(LEAVES.search(source))) for file, function, source in frames]
    at = next((n for n, name in enumerate(names) if not name[2]), 0)
    text = " <- ".join(f"{function} [{title}]" for function, title, _ in (names[at - 1:at + 1] if at else names[:1]))
    if names and names[0][1] == "core/policy" and len(names) > 1 and names[1][1] == "Lua":
        return "Lua, through " + text
    return text or "?"


def read_table(path):
    slots = struct.iter_unpack("8Q", path.read_bytes())
    return {slot[1:6]: slot[6:8] for slot in slots if slot[0]}


# The tables.

def print_top(title, values, scale, unit, count):
    print(f"\n  {title}")
    for name, value in sorted(values.items(), key=lambda kv: -kv[1])[:count]:
        print(f"    {value * scale:>9.1f}{unit}  {name}")


def show_load(tools, binary, name, options):
    def look(what, function, seconds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                return function(tools, binary, pathlib.Path(folder), name, seconds)
            except (RuntimeError, subprocess.SubprocessError, OSError) as problem:
                print(f"\n  {what}: left out: {problem}")
                return None
    print(f"\n== one {name}")
    if found := look("perf", sampled, options.seconds + 0.3):
        cost, parts, functions = found
        print(f"\n  CPU {cost:.1f} µs, by part of the program (perf, {options.seconds:g} s; the kernel by the system call it works for)")
        for title, share in sorted(parts.items(), key=lambda kv: -kv[1]):
            if share >= 0.004:
                print(f"    {share * 100:>5.1f} %  {share * cost:>6.2f} µs  {title}")
        print_top("functions with the most time of their own", functions, 100, " %", options.top)
    if found := look("callgrind", counted, options.seconds * 2):
        total, parts, functions, whole, helped = found
        print(f"\n  {total:,.0f} instructions in user space (callgrind)\n    {'own':>9} {'+ malloc':>9} {'+ libc':>9}  for")
        for title, (own, malloc, libc) in sorted(parts.items(), key=lambda kv: -sum(kv[1])):
            if title not in ("malloc", "libc") and own >= total * 0.001:
                print(f"    {own:>9,.0f} {malloc:>9,.0f} {libc:>9,.0f}  {title}")
        print_top("functions with the most instructions of their own", functions, 1, "", options.top)
        ours = {k: v for k, v in whole.items() if "[core" in k and v < total}
        print_top("calls of core/base, libc and malloc from elsewhere with the most instructions", helped, 1, "", options.top * 2)
        print_top("our functions with the most instructions, all they call counted", ours, 1, "", options.top * 2)
    if found := look("strace", system_calls, options.seconds / 2):
        print("\n  system calls: " + ", ".join(f"{k} {v:.2f}" for k, v in sorted(found.items(), key=lambda kv: -kv[1]) if v >= 0.005))
    if found := look("allocations", allocations, options.seconds / 2):
        print(f"\n  {sum(v[0] for v in found.values()):.1f} allocations, {sum(v[1] for v in found.values()):,.0f} bytes, asked for by")
        for where, (calls, size) in sorted(found.items(), key=lambda kv: -kv[1][0])[:options.top * 2]:
            print(f"    {calls:>7.2f}  {size:>9,.0f} bytes  {where}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each look")
    parser.add_argument("--top", type=int, default=12, help="functions in a list")
    parser.add_argument("--load", choices=("plain", "stream"), help="one load only")
    parser.add_argument("--binary", default=os.environ.get("MOONGATE_BIN") or str(ROOT / "build/moongate"))
    options = parser.parse_args()
    tools = bench.compile_tools(ROOT / "build/bench")
    for name, load in LOADS.items():
        if options.load in (None, load[1]):
            show_load(tools, options.binary, name, options)


if __name__ == "__main__":
    main()
