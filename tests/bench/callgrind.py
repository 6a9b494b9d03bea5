# SPDX-License-Identifier: MIT
"""
Counts instructions with valgrind's callgrind, and reads what it wrote: of each function, and of each call from one function to another.
"""
import contextlib
import pathlib
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field

NAME = re.compile(r"\((\d+)\)(?: (.*))?")


def prefix(folder):
    """Goes before a command: it runs under callgrind, which counts nothing yet."""
    return ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=yes", f"--callgrind-out-file={folder}/callgrind.out"]


def control(pid, *words):
    done = subprocess.run(["callgrind_control", *words, str(pid)], capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or "OK" not in done.stdout:
        raise RuntimeError(f"callgrind_control {words}: {done.stdout} {done.stderr}".strip())


@contextlib.contextmanager
def counting(pid):
    """Counts what the process does meanwhile; then Profile.of(folder) can be read."""
    control(pid, "-i", "on")
    yield
    control(pid, "-i", "off")
    control(pid, "-d", "counted")


@dataclass
class Function:
    name: str
    file: str
    object: str
    own: int = 0
    calls: dict = field(default_factory=lambda: defaultdict(int))   # key of the callee -> instructions in it and below


class Profile:
    """`functions`: (object, file, name) -> Function."""

    def __init__(self, paths):
        self.functions = {}
        for path in paths:
            self._read(path)

    @classmethod
    def of(cls, folder):
        """Of a program that ran under prefix(folder)."""
        return cls(sorted(pathlib.Path(folder).glob("callgrind.out.*")))

    @property
    def total(self):
        return sum(f.own for f in self.functions.values())

    def _read(self, path):
        self._names = {"ob": {}, "fl": {}, "fn": {}}
        here, there, call = {"ob": "", "fl": "", "fn": ""}, {}, False
        for line in open(path, errors="replace"):
            key, is_set, value = line.rstrip("\n").partition("=")
            if is_set and key in ("ob", "fl", "fn"):
                here[key] = self._name(key, value)
            elif is_set and key in ("fi", "fe"):     # inlined from elsewhere: it is the function's own all the same
                self._name("fl", value)
            elif is_set and key in ("cob", "cfi", "cfl", "cfn"):
                kind = {"cob": "ob", "cfi": "fl", "cfl": "fl", "cfn": "fn"}[key]
                there[kind] = self._name(kind, value)
            elif is_set and key == "calls":
                call = True
            elif line[:1] in "+-*0123456789" and line.strip():
                cost = int(line.split()[-1])
                caller = self._function(here)
                if call:
                    callee = {**here, **there}
                    self._function(callee)
                    caller.calls[self._key(callee)] += cost
                    call, there = False, {}
                else:
                    caller.own += cost

    def _name(self, kind, value):
        number, name = NAME.match(value).groups()
        if name is not None:
            self._names[kind][number] = name
        return self._names[kind][number]

    @staticmethod
    def _key(names):
        return names["ob"], names["fl"], names["fn"].split("'")[0]

    def _function(self, names):
        key = self._key(names)
        if key not in self.functions:
            self.functions[key] = Function(key[2], key[1], key[0])
        return self.functions[key]
