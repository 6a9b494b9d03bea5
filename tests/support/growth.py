# SPDX-License-Identifier: MIT
"""Reloading again and again with changed content, and what the process is afterwards: memory, threads, descriptors."""
import os
from dataclasses import dataclass

POLICY = """local failover = require "moongate.failover"
local version = %d
return {
  name = "own", version = 1, settings = failover.settings, check = failover.check,
  handle = function(req, settings)
    local answer = failover.run(req, settings)
    return version and answer
  end,
}
"""
MIB = 1024 * 1024


@dataclass
class Size:
    rss: int
    threads: int
    fds: int

    def __str__(self):
        return f"{self.rss / MIB:.1f} MiB, {self.threads} threads, {self.fds} descriptors"


def size(gateway):
    return Size(gateway.rss(), len(os.listdir(f"/proc/{gateway.process.pid}/task")), gateway.fds())


def reload_many(gateway, rules, times, first=1, between=lambda n: None):
    """`times` reloads of policies/own.lua, its content new each time, with between(n) after each; returns the last content's number."""
    for n in range(first, first + times):
        gateway.write("policies/own.lua", POLICY % n)
        rules.apply()
        between(n)
    return first + times - 1
