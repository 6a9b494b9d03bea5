# SPDX-License-Identifier: MIT
"""
Load from outside Python: crowd.c (thousands of streams and their provider), and small C programs and shims that a test compiles for itself.
Figures of memory and behaviour under LD_PRELOAD belong to the plain -O2 build: a sanitizer has memory and interceptors of its own.
"""
import os
import re
import resource
import subprocess
from pathlib import Path

from .gateway import ROOT

SUPPORT = ROOT / "tests/support"
HEADROOM = 1500         # descriptors of a gateway that are not for streams, see DESCRIPTORS_APART and MAX_IDLE_UPSTREAM in limits.h


def compiled(name, folder, *options):
    """Compiles tests/support/NAME.c; the path of the program, or of the shared object when options say so."""
    out = Path(folder) / name
    subprocess.run([os.environ.get("CC", "cc").split()[-1], "-O2", "-D_GNU_SOURCE", *options, "-o", str(out), str(SUPPORT / f"{name}.c")],
                   check=True)
    return out


def shim(name, folder):
    """A library for LD_PRELOAD."""
    return compiled(name, folder, "-shared", "-fPIC", "-ldl")


def limit(name):
    """A maximum of core/base/limits.h, in its own unit, where it is written as a plain number or in KIB or MIB."""
    text = (ROOT / "core/base/limits.h").read_text().replace("\\\n", " ")
    found = re.search(rf"#define {name}\s+(?:(KIB|MIB)\()?(\d+)", text)
    assert found, f"limits.h has no plain {name}"
    return int(found[2]) * {"KIB": 1 << 10, "MIB": 1 << 20, None: 1}[found[1]]


def streams_possible(wanted):
    """As many as wanted, or as the hard limit of descriptors allows: each takes two here and two in the gateway."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, (hard - HEADROOM) // 2)


class Crowd:
    """crowd.c as a process; its provider is at base_url."""

    def __init__(self, folder):
        self._process = subprocess.Popen([str(compiled("crowd", folder))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.base_url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"

    def tell(self, command):
        """Gives a command; its answer's number. Fails with the crowd's own words."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert not answer.startswith("failed") and answer, f"{command}: {answer or 'the crowd is gone'}"
        return int(answer.split()[1])

    def open(self, gateway, count):
        return self.tell(f"open {gateway.address.rsplit(':', 1)[1]} {count}")

    def stop(self):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
