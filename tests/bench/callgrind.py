# SPDX-License-Identifier: MIT
"""
Reads what valgrind's callgrind wrote: instructions of each function, and of each call from one function to another.
"""
import re
from collections import defaultdict
from dataclasses import dataclass, field

NAME = re.compile(r"\((\d+)\)(?: (.*))?")


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
