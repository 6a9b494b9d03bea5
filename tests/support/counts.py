# SPDX-License-Identifier: MIT
"""
What a gateway holds: descriptors as the kernel lists them, and connections, requests, attempts, timers, transfers,
generations and Lua references as its own /metrics tell. Taken when it has started and again when a test is over, its
clients and providers closed: whatever has not come back is a leak.
"""
import os
import re
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .client import Client
from .waiting import PATIENCE, wait_until

# Back where they were when nothing is under way.
GAUGES = ("connections", "requests_inflight", "attempts_open", "translations_open", "timers", "slots_inflight",
          "slots_queued", "upstream_transfers", "memory_bytes", "generations", "policy_runs", "policy_coroutines",
          "policy_references", "target_inflight")
IDLE = "upstream_connections"   # may stay open; each accounts for one TCP socket
UNWATCHED = "upstream_connections_libcurl"  # of these; may stay open although the provider has closed
AT_START = {"generations": 1}   # what a gateway holds whose start was not seen; of all else nothing
UNKNOWN = 1000                  # idle connections of a gateway without an admin listener, whose providers go on
LIBCURL_SOCKETS = 2             # a pair for each thread's libcurl, made with the first transfer that needs it
OWN_TCP, PROVIDER_TCP, CLOSED_TCP = "tcp of its own ports", "tcp to providers", "tcp to providers, closed by them"
CLOSE_WAIT = "08"
RESOLVERS = 1                   # each thread's, made with the first name that is looked up
SAMPLE = re.compile(r"^moongate_(\w+)(?:\{[^\n]*\})? (\S+)$", re.MULTILINE)


@dataclass
class Counts:
    gauges: Counter         # name without moongate_ -> value
    descriptors: Counter    # kind -> how many

    def lines(self, other):
        """A table of both, what differs marked."""
        rows = [(f"moongate_{name}", self.gauges[name], other.gauges[name]) for name in (*GAUGES, IDLE, UNWATCHED)]
        kinds = sorted({*self.descriptors, *other.descriptors})
        rows += [(f"descriptors: {kind}", self.descriptors[kind], other.descriptors[kind]) for kind in kinds]
        return "\n".join(f"{'*' if a != b else ' '} {name:50} {a:>6g} {b:>6g}" for name, a, b in rows)


def _tcp_ports(pid):
    """The machine's TCP sockets: inode -> (local port, state)."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return {row[9]: (int(row[1].rpartition(":")[2], 16), row[3]) for row in rows}


def descriptors(pid, own_ports):
    """
    How many of each kind the process has: files by name, pipes, anonymous inodes by type, TCP sockets on its own ports and to
    others, other sockets.
    """
    kinds, tcp = Counter(), _tcp_ports(pid)
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:   # closed meanwhile
            continue
        kind, _, inode = target.partition(":[")
        if kind == "socket":
            port, state = tcp.get(inode[:-1], (None, None))
            kind = CLOSED_TCP if state == CLOSE_WAIT else PROVIDER_TCP
            kind = "socket" if port is None else OWN_TCP if port in own_ports else kind
        elif kind == "anon_inode":
            kind = target
        elif kind.startswith("/"):
            kind = os.path.basename(kind)   # its folder may be renamed by the test
        kinds[kind] += 1
    return kinds


def _gauges(text):
    out = Counter()
    for name, value in SAMPLE.findall(text):
        if name in (*GAUGES, IDLE, UNWATCHED):
            out[name] += float(value)
    return out


def _admin_tls(gateway):
    """A context that takes any certificate, when the admin listener has one."""
    if not gateway.admin_tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def take(gateway):
    """The counts now. The connection that asks is among the descriptors, each time."""
    pid = gateway.process.pid
    ports = {int(address.rpartition(":")[2]) for address in filter(None, (*gateway.addresses, gateway.admin))}
    if not gateway.admin:
        return Counts(Counter(), descriptors(pid, ports))
    with Client(gateway.admin, tls=_admin_tls(gateway)) as client:
        answer = client.request("GET", "/metrics").read()
        assert answer.status == 200, answer.body
        return Counts(_gauges(answer.body.decode()), descriptors(pid, ports))


def left_over(before, now):
    """Names of what is there now and was not before."""
    if before is None:
        return [name for name in GAUGES if now.gauges[name] > AT_START.get(name, 0)]
    found = [name for name in GAUGES if now.gauges[name] > before.gauges[name]]
    allowed = Counter(before.descriptors)
    allowed[PROVIDER_TCP] += now.gauges[IDLE] - before.gauges[IDLE] if now.gauges else UNKNOWN
    allowed[CLOSED_TCP] = now.gauges[UNWATCHED] if now.gauges else 0
    threads = now.descriptors["anon_inode:[eventpoll]"]
    allowed["socket"] += LIBCURL_SOCKETS * threads
    allowed["anon_inode:[eventfd]"] += RESOLVERS * threads
    return found + [kind for kind, count in now.descriptors.items() if count > allowed[kind]]


def check(gateway, before, deadline=PATIENCE):
    """Waits until nothing is left over; fails with both tables."""
    seen = None

    def settled():
        nonlocal seen
        seen = take(gateway)
        return not left_over(before, seen)
    try:
        wait_until(settled, "nothing to be left over", deadline)
    except AssertionError:
        start = before or Counts(Counter(AT_START), Counter())
        raise AssertionError(f"the gateway still holds {', '.join(left_over(before, seen))}, {deadline:g} s after clients and "
                             f"providers were closed (at the start, now):\n{start.lines(seen)}") from None
