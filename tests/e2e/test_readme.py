# SPDX-License-Identifier: MIT
"""
Everything that README.md shows is done here, and so are the commands of the examples' and the policies' READMEs.

A page's commands run one after the other in one shell, in a copy of the tree, and what they print has to be what the page
shows. Times, ids and lengths may differ, JSON may be ordered otherwise, and `…` stands for anything (alone on a line: for
any lines). Lines of the gateway's own log, which come to the same terminal whenever they like, are looked for where the page
shows them and passed over where it does not. Ports are exchanged for free ones. In README.md a comment before each block,
`<!-- test: … -->`, which readers do not see, says what is done with it.
"""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from support import actions
from support.gateway import BINARY, REPORTS, ROOT
from support.waiting import PATIENCE, wait_until

README = (ROOT / "README.md").read_text()
POLICIES = (ROOT / "policies/README.md").read_text()
PAGES = ["README.md", "core/README.md", "policies/README.md", "examples/README.md",
         *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "examples").glob("*/README.md"))]
PORTS = ["8000", "8080", "8081", "8443", "9090"]
LOG_LINE = re.compile(r"TIME (debug|info|warn|error) |\S+:\d+: (error|warning): ")


# What is on a page.

@dataclass
class Block:
    text: str
    line: int
    what: list = field(default_factory=list)  # the words after "test:"


def fenced(page):
    """The ``` blocks of a page, with what the comment before each says."""
    found = []
    for match in re.finditer(r"(?:<!-- test: (.*?) -->\n)?^```\w*\n(.*?)^```$", page, re.M | re.S):
        found.append(Block(match[2], page[:match.start(2)].count("\n") + 1, (match[1] or "").split()))
    return found


def indented(page):
    """The blocks of a page that are indented by four spaces."""
    parts = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.M)
    return [re.sub(r"^    ", "", part, flags=re.M).strip("\n") + "\n" for part in parts if part.strip()]


def steps(text):
    """The commands of a block with what each prints. Lines before the first `$ ` are commands whose output is not shown."""
    found, more = [], False
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif not found or found[-1][1] is None:
            found += [(line, None)] if line else []
        elif more:
            found[-1] = (found[-1][0] + "\n" + line, [])
        else:
            found[-1][1].append(line)
        more = (more or line.startswith("$ ")) and line.endswith("\\")
    return found


def of_kind(kind):
    return [b for b in fenced(README) if b.what[:1] == [kind]]


# Comparing what is shown with what came.

VARIES = [(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
          (r"^Date: .*", "Date: DATE"), (r"mg-[0-9a-f]{16}", "ID"), (r"\b[0-9a-f]{16}\b", "HASH"),
          (r"\b\d+ms\b", "Nms"), (r'("created"|"\w*_?ms"|"suspended_for"|"ewma_\w+"):[\d.]+', r"\1:N"),
          (r"\b\d+(\.\d+)? (ms|s|min|KiB|MiB)(?=[ :]|$)", "N"),
          (r"^Content-Length: \d+", "Content-Length: N"), (r"\d+ workers?\b", "N workers"), (r"process \d+", "process N"), (r"[ \t]+", " ")]


def canonical(line):
    for pattern, instead in VARIES:
        line = re.sub(pattern, instead, line.strip())
    return line


def ordered(line):
    """JSON, also that of an event, with its fields in order."""
    head, _, tail = line.rpartition("data: ")
    try:
        return head + json.dumps(json.loads(re.sub(r":N\b", ":0", tail)), sort_keys=True)
    except ValueError:
        return line


def same(shown, came):
    if "…" in shown:
        return re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), came) is not None
    return ordered(shown) == ordered(came)


def matches(shown, came):
    """Do the lines that came agree with the lines shown? Both canonical."""
    if not shown:
        return all(LOG_LINE.match(line) for line in came)
    if shown[0] == "…":
        return any(matches(shown[1:], came[i:]) for i in range(len(came) + 1))
    if not came:
        return False
    return (same(shown[0], came[0]) and matches(shown[1:], came[1:])
            or LOG_LINE.match(came[0]) is not None and matches(shown, came[1:]))


def lines_of(text, loosen=None):
    lines = [canonical(line) for line in text.splitlines()]
    return [loosen(line) if loosen else line for line in lines if line]


# Running a page.

def free_ports():
    """A free port for each that the pages name, from below the range that other tests get theirs from."""
    found = {}
    for port in PORTS:
        while port not in found:
            candidate = random.randrange(20000, 32000)
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", candidate))
                except OSError:
                    continue
            if str(candidate) not in found.values():
                found[port] = str(candidate)
    return found


class Terminal:
    """A shell in a copy of the tree, where `moongate` is the program under test."""

    def __init__(self, scratch, loosen=None, **env):
        self.tree, self.loosen, self.ports = scratch / "tree", loosen, free_ports()
        (self.tree / "build").mkdir(parents=True)
        (self.tree / "build/moongate").symlink_to(BINARY)
        shutil.copytree(ROOT / "examples", self.tree / "examples")
        for path in [*self.tree.glob("examples/**/*.lua"), self.tree / "examples/ask.sh"]:
            path.write_text(self.to_free(path.read_text()))
        self._log = scratch / "terminal"
        self._said = self._count = 0
        tools = scratch / "bin"
        tools.mkdir()
        self.sanitized = b"__asan_init" in BINARY.read_bytes()
        if self.sanitized:  # what is linked to a library of this kind has to be of it, too
            (tools / "cc").write_text(f'#!/bin/sh\nexec {shutil.which("cc")} -fsanitize=address,undefined "$@"\n')
            (tools / "cc").chmod(0o755)
        env = {"PATH": f"{tools}:{self.tree}/build:{os.environ['PATH']}", "HOME": str(scratch), "LANG": "C.UTF-8",
               "ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1", **env}
        with open(self._log, "ab") as log:
            self._shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.tree,
                                           env=env, start_new_session=True, text=True)

    def to_free(self, text):
        return re.sub(r"(?<=127\.0\.0\.1:)(" + "|".join(PORTS) + r")\b", lambda m: self.ports[m[0]], text)

    def output(self):
        text = self._log.read_text(errors="replace")
        for port, mine in self.ports.items():
            text = text.replace(f"127.0.0.1:{mine}", f"127.0.0.1:{port}")
        return text

    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_free(text))

    def run(self, text):
        for command, shown in steps(text):
            self.step(command, shown)

    def step(self, command, shown):
        """Runs a command and waits until it has ended and has printed what is shown (None: whatever)."""
        shown = None if shown is None else lines_of("\n".join(shown), self.loosen)
        if re.match(r"sleep \d+; ", command):  # for what is shown first; it may have come already
            command, awaited = command.partition("; ")[2], shown.pop(0)
            wait_until(lambda: awaited in lines_of(self.output()), awaited)
        self._count += 1
        self._shell.stdin.write(f"{self.to_free(command)}\nprintf '\\n@@done {self._count}\\n'\n")
        self._shell.stdin.flush()
        if re.search(r"moongate serve|\./embed", command) and command.endswith("&"):
            self._await_listening(command)
        try:
            wait_until(lambda: self._ended(shown), "the output", PATIENCE * 2)
        except AssertionError:
            came = "\n".join(self._came()[0])
            raise AssertionError(f"$ {command}\n--- shown:\n" + "\n".join(shown or []) + f"\n--- came:\n{came}") from None
        self._said = self._came()[2]

    def _came(self):
        """What was printed since the last step, without the mark of its end; is it there? how long is all output?"""
        text = self.output()
        mark = f"@@done {self._count}\n"
        return lines_of(text[self._said:].replace(mark, ""), self.loosen), mark in text, len(text)

    def _ended(self, shown):
        came, ended, _ = self._came()
        return ended and (shown is None or matches(shown, came))

    def port_of(self, command):
        """The port, as the page has it, that a command listens on."""
        address = re.search(r"LISTEN=127\.0\.0\.1:(\d+)", command)
        return address[1] if address else "8080"

    def _await_listening(self, command):
        port = int(self.ports[self.port_of(command)])

        def listening():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listening, f"{command} to listen")

    def close(self):
        """Ends what runs; nothing of it may have made a sanitizer's report."""
        try:
            if self._shell.poll() is None:
                self._shell.communicate("kill $(jobs -p) 2>/dev/null\nwait\nexit\n", PATIENCE * 2)
        finally:
            try:
                os.killpg(self._shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for log in [self._log, *self.tree.glob("**/*.log")]:
            found = REPORTS.search(log.read_text(errors="replace"))
            assert not found, log.read_text(errors="replace")[found.start():][:4000]


@pytest.fixture
def terminal(tmp_path):
    made = []

    def start(**options):
        made.append(Terminal(tmp_path, **options))
        return made[-1]
    yield start
    for each in made:
        each.close()


# README.md

def test_every_block_is_tested():
    """Goal: no block of the README is without a test."""
    known = {"demo", "make-test", "run", "file", "python", "embed", "figures"}  # figures: of a run by hand
    assert [f"line {b.line}" for b in fenced(README) if b.what[:1] == [] or b.what[0] not in known] == []
    assert README.count("```") == 2 * len(fenced(README)) and len(fenced(README)) > 8


def test_opens_with_two_commands():
    """Goal: `make demo` and `make test` come before all else."""
    assert [steps(b.text)[0][0] for b in fenced(README)[:2]] == ["make demo", "make test"]


def test_walk(terminal):
    """Goal: a reader who does all of it from the top sees what the README shows, the SDK and the policy included."""
    shell = terminal()
    for block in fenced(README):
        if block.what[0] == "file":
            shell.write(f"gate/{block.what[1]}", block.text)
        elif block.what[0] == "run":
            shell.run(block.text)
        elif block.what[0] == "python":
            shell.write("sdk.py", block.text)
            shown = re.search(r"print\(.*\)  # (.*)$", block.text, re.M)[1]
            shell.step(f"{sys.executable} ../sdk.py", [shown])


def test_embed(terminal):
    """Goal: installed as shown, from what is built already, the embedding program is built as shown, and answers."""
    block, = of_kind("embed")
    shell = terminal()
    build = shell.tree.parent / "install"
    shutil.copytree(BINARY.parent / "obj", build / "obj")  # of which PREFIX compiles two files again
    for command, shown in steps(block.text):
        if command.startswith("make install"):
            command += f" -C {ROOT} BUILD={build} SANITIZE={int(shell.sanitized)}"
        shell.step(command, shown)


def test_demo_prints_what_is_shown():
    """Goal: the demo's output has the shape shown. (test_demo.py tests the demo itself.)"""
    block, = of_kind("demo")
    (_, shown), = steps(block.text)
    run = subprocess.run([ROOT / "examples/demo/demo.sh"], env={**os.environ, "MOONGATE": str(BINARY), "DEMO_ONCE": "1"},
                         capture_output=True, text=True, timeout=120)
    until = [i for i, line in enumerate(shown) if line.startswith("Everything is still up")][0]

    def portless(text):
        return lines_of(re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text))
    assert matches(portless("\n".join(shown[:until])), portless(run.stdout)), run.stdout
    script = (ROOT / "examples/demo/demo.sh").read_text()
    for line in shown[until:]:
        assert line == "…" or re.sub(r"http://127\.0\.0\.1:\d+/v1", "$url", line).rstrip("\\") in script, line


def test_tests_print_what_is_shown():
    """Goal: each line shown of `make test` is one that run_tests.sh prints, and no failure is shown as the normal thing."""
    block, = of_kind("make-test")
    (_, shown), = steps(block.text)
    script = (ROOT / "tests/support/run_tests.sh").read_text()
    for line in shown:
        count = re.fullmatch(r"( *)\d+ passed, 0 failed(, 0 skipped)?", line)
        assert line == "…" or count or f'echo "{line}"' in script, line
    assert re.fullmatch(r"\d+ passed, 0 failed, 0 skipped", shown[-1])


def table(page, heading):
    """The rows of the table below a heading, without its head."""
    part = page.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line.startswith("| `")]
    assert rows
    return rows


def test_settings_are_those_of_the_policy():
    """Goal: the short table names settings that exist, with the defaults that the policies' README tells."""
    whole = {row[0].strip("| "): row[1] for row in table(POLICIES, "Settings of `failover`")}
    for name, default, *_ in table(README, "Failover settings"):
        assert whole.get(name.strip("| ")) == default, name


# All pages.

def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    """Goal: each link of a page leads to a file, and to a heading where it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name) if name else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES)
def test_named_commands(page):
    """Goal: make targets, subcommands and scripts of this tree that a page names exist."""
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / page).read_text()
    for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", text):
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)*)", makefile, re.M)
        assert recipe, f"make {target}"
        for script in re.findall(r"^\t@(\w[\w./-]+\.sh)", recipe[1], re.M):
            assert os.access(ROOT / script, os.X_OK), f"make {target} runs {script}"
    for script in re.findall(r"`(?:lua5\.4 )?(tests/[\w./-]+)", text):
        assert (ROOT / script).exists(), script
    usage = subprocess.run([BINARY, "--help"], capture_output=True, text=True).stdout
    for command in re.findall(r"(?:^|`|\$ |/)moongate ([a-z]+)", text, re.M):
        assert re.search(rf"^ +{command} ", usage, re.M), f"moongate {command}"


def test_tour_names_every_file():
    """Goal: a reader of core/README.md meets each file of the source, a header by way of its source file, and no file that is gone."""
    named = set(re.findall(r"\w+\.(?:[ch]|json)\b", (ROOT / "core/README.md").read_text()))
    there = {path.name for path in (ROOT / "core").rglob("*.[ch]")}
    assert [name for name in sorted(there) if not named & {name, name[:-1] + "c", name[:-1] + "h"}] == []
    assert {name for name in named if name[-1] != "n"} - there - {"x.h", "x.c", "lua.h", "curl.h", "cJSON.h"} == set()


# The examples' pages, as they stand: each in front of the pretend providers.

def rotation(line):
    """Which provider comes first depends on when the probes come: who answered in the end is all that is compared."""
    return re.sub(r"^x-moongate-attempts: .*=ok:200:Nms$", "x-moongate-attempts: …ok:200:Nms", line)


@pytest.mark.parametrize("name, options", [
    ("pretend-providers", {}), ("fallback-pairs", {}), ("throttled-to-mini", {}), ("ordered-backups", {}),
    ("switchable-models", {}), ("resilient-rotation", {"loosen": rotation, "HEALTH_INTERVAL": "0.2"})])
def test_example_page(name, options, terminal):
    """Goal: the commands of the page, one after the other, print what it shows."""
    shell = terminal(**options)
    ran = 0
    for block in indented((ROOT / f"examples/{name}/README.md").read_text()):
        for command, shown in steps(block):
            if "moongate serve" in command:  # the access log on the terminal is not what the pages are about
                command = command.removesuffix("&") + " > /dev/null &"
            command = re.sub(r"\$\(pgrep -f [\w-]+\)", "$!", command)  # there are other gateways on this machine
            shell.step(command, shown)
            ran += 1
    assert ran > 3


def test_examples_are_all_listed():
    """Goal: the list of examples is complete, and each with a page has it tested here."""
    page = (ROOT / "examples/README.md").read_text()
    folders = [p.name for p in (ROOT / "examples").iterdir() if p.is_dir()]
    assert [name for name in folders if f"| [{name}](" not in page] == []


# policies/README.md: settings pass `moongate check`, and policies load.

CONFIG = """return {
  listen = "127.0.0.1:0",
  providers = { %s },
  routes = { { name = "chat", path = "/v1/*", policy = "%s", settings = { %s } } },
}
"""


def check(folder, policy="failover", settings='targets = { "a/m" }', files=()):
    """moongate check of a folder with providers of all names that the pages use."""
    names = ["a", "b", "openai", "azure", "spare", "google"]
    providers = ", ".join(f'{n} = {{ dialect = "openai", base_url = "http://127.0.0.1:9/v1" }}' for n in names)
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "gateway.lua").write_text(CONFIG % (providers, policy, settings))
    for name, text in files:
        (folder / name).write_text(text)
    run = subprocess.run([BINARY, "check"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, settings + run.stderr
    return run.stdout


def shown_settings():
    """Settings in blocks, and those within the text that name targets, a trigger or a clock."""
    blocks = [b for b in indented(POLICIES) if b.startswith("settings = {")]
    inline = [s for s in re.findall(r"`([^`]+)`", POLICIES.replace("\n", " "))
              if re.match(r"(targets|trigger) = ", s)]
    return [b[b.index("{") + 1:b.rindex("}")] for b in blocks] + inline


@pytest.mark.parametrize("settings", shown_settings(), ids=lambda s: " ".join(s.split())[:40])
def test_settings_shown_pass(settings, tmp_path):
    """Goal: the settings of each worked example are accepted as they stand."""
    check(tmp_path, settings=settings if "targets =" in settings else 'targets = { "a/m" }, ' + settings)


def test_target_tables_shown_pass(tmp_path):
    """Goal: the entries of `targets` that the page shows as tables are accepted."""
    entries = re.findall(r"`(\{ (?:target|order) = .*?\})`", POLICIES.replace("\n", " "))
    assert len(entries) >= 2
    for entry in entries:
        check(tmp_path, settings=f"targets = {{ {entry} }}")


def shown_policies():
    """The policies that the page shows, by what they open with; a handler alone is put into a policy."""
    whole = [b for b in indented(POLICIES) if "return {" in b and "…" not in b]
    handlers = [b for b in indented(POLICIES) if re.search(r"^handle = function", b, re.M)]
    assert len(whole) >= 1 and len(handlers) >= 2
    for handler in handlers:
        before, _, rest = handler.partition("handle = ")
        whole.append(f'local failover = require "moongate.failover"\n{before}\n'
                     f'return {{ name = "shown", version = 1, settings = failover.settings, handle = {rest.strip()} }}\n')
    return whole


@pytest.mark.parametrize("policy", shown_policies(), ids=["refusals", "effort", "loop"])
def test_policies_shown_answer(policy, lab):
    """Goal: each policy of the page serves a request, and goes on to the next target when the first is broken."""
    main, spare = lab.upstream(actions.fail(500)), lab.upstream(actions.ok("from the spare"))
    gateway = lab.failover({"main": main, "spare": spare}, policy="shown",
                           policies={"shown": re.sub(r'name = "\w+"', 'name = "shown"', policy)})
    answer = gateway.chat(headers=[("x-effort", "low")])
    assert (answer.status, answer.text) == (200, "from the spare")
    assert [target for target, _, _ in answer.trail] == ["main/main-model", "spare/spare-model"]
