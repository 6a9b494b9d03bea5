# SPDX-License-Identifier: MIT
"""reload.watch: an edited file is loaded by itself, however the editor saves; broken ones change nothing."""
import os
import re
import signal
import threading
import time

import pytest
from support import actions, wire
from support.gateway import Raw
from support.waiting import wait_steady, wait_until

POLICY = """return {
  name = "own", version = 1, settings = {},
  handle = function(req, settings)
    return req:respond { json = { version = "%s" } }
  end,
}
"""


@pytest.fixture
def gw(lab):
    gateway = lab.gateway({"reload": {"watch": True, "debounce": 0.1},
                           "providers": {"p": {"dialect": "openai", "base_url": "http://127.0.0.1:9/v1"}},
                           "routes": [{"name": "r", "path": "/v1/*", "policy": "own"}]}, policies={"own": POLICY % "one"})
    gateway.start()
    gateway.wait_log("file watch: on")
    return gateway


def version(gw):
    return gw.chat().json()["version"]


def reloads(gw):
    return sum(gw.metric("moongate_reloads_total", result=r) for r in ("applied", "refused"))


def becomes(gw, word):
    wait_until(lambda: version(gw) == word, f"version {word}")


def in_place(path, text):
    path.write_text(text)


def atomically(path, text):
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_text(text)
    os.rename(fresh, path)


def like_vim(path, text):
    (path.parent / "4913").touch()
    (path.parent / "4913").unlink()
    swap = path.parent / f".{path.name}.swp"
    swap.touch()
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    path.write_text(text)
    backup.unlink()
    swap.unlink()


def like_emacs(path, text):
    lock = path.parent / f".#{path.name}"
    os.symlink("me@here.1:2", lock)
    path.with_name(f"#{path.name}#").write_text("half of " + text)
    path.with_name(path.name + "~").write_text(path.read_text())
    path.write_text(text)
    path.with_name(f"#{path.name}#").unlink()
    lock.unlink()


@pytest.mark.parametrize("save", [in_place, atomically, like_vim, like_emacs])
def test_editors(gw, save):
    """Goal: each way of saving is seen, again and again, and logged with who."""
    for word in ("two", "three", "four"):
        save(gw.folder / "policies/own.lua", POLICY % word)
        becomes(gw, word)
    gw.wait_log(r"is in force \(file watch\)")


def test_many_quick_edits_are_few_reloads(gw):
    """Goal: edits that follow each other are loaded together; the last one counts."""
    before, times = reloads(gw), []
    for n in range(100):
        atomically(gw.folder / "policies/own.lua", POLICY % f"v{n}")
        times.append(time.monotonic())
    becomes(gw, "v99")
    pauses = sum(b - a > 0.05 for a, b in zip(times, times[1:]))  # a stalled test is no quick edit
    assert wait_steady(lambda: reloads(gw)) - before <= 20 + pauses  # 100 at once, were it not for the debounce


def test_broken_then_fixed(gw):
    """Goal: a broken file is refused with its line while the last good one serves; the fix is loaded by itself."""
    after = len(gw.stderr)
    atomically(gw.folder / "policies/own.lua", "return {\n  handle = = 1\n}\n")
    gw.wait_log(r"reload refused: .*own\.lua:2", after=after)
    assert version(gw) == "one"
    atomically(gw.folder / "policies/own.lua", POLICY % "fixed")
    becomes(gw, "fixed")


def test_other_files_cause_nothing(gw):
    """Goal: logs, notes and tests beside the sources are no reason to load."""
    before = reloads(gw), gw.metric("moongate_reloads_total", result="unchanged")
    (gw.folder / "policies/own_test.lua").write_text("-- a test")
    (gw.folder / "notes.txt").write_text("x")
    (gw.folder / "policies/README").write_text("x")
    atomically(gw.folder / "policies/own.lua", POLICY % "two")
    becomes(gw, "two")
    assert wait_steady(lambda: reloads(gw)) == before[0] + 1 and gw.metric("moongate_reloads_total", result="unchanged") == before[1]


def test_new_module_in_a_new_folder(gw):
    """Goal: a module in a folder that did not exist is seen, as are its later edits."""
    (gw.folder / "lua/mine").mkdir(parents=True)
    atomically(gw.folder / "lua/mine/words.lua", 'return { word = "from a module" }\n')
    atomically(gw.folder / "policies/own.lua", 'local words = require "mine.words"\n' + POLICY.replace('"%s"', "words.word"))
    becomes(gw, "from a module")
    atomically(gw.folder / "lua/mine/words.lua", 'return { word = "edited" }\n')
    becomes(gw, "edited")


def test_a_rotated_secret(lab):
    """Goal: a key that file() reads is watched where it lies."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, options={"api_key": Raw('file("secrets/key")')}, files={"secrets/key": "sk-in-file-1\n"},
                      config={"reload": {"watch": True, "debounce": 0.05}})
    gw.wait_log("file watch: on")
    atomically(gw.folder / "secrets/key", "sk-in-file-2\n")
    wait_until(lambda: gw.chat().status == 200 and up.requests[-1].header("authorization") == "Bearer sk-in-file-2")


def test_switched_off_and_on(gw):
    """Goal: a reload switches the watch off, and then only a signal loads; and on again."""
    text = (gw.folder / "gateway.lua").read_text()
    atomically(gw.folder / "gateway.lua", text.replace('["watch"] = true', '["watch"] = false'))
    gw.wait_log("file watch: off")
    before = wait_steady(lambda: reloads(gw))
    atomically(gw.folder / "policies/own.lua", POLICY % "unseen")
    time.sleep(0.5)
    assert version(gw) == "one" and reloads(gw) == before
    atomically(gw.folder / "gateway.lua", text)
    gw.signal(signal.SIGHUP)
    becomes(gw, "unseen")
    wait_until(lambda: len(re.findall("file watch: on", gw.stderr)) == 2)
    atomically(gw.folder / "policies/own.lua", POLICY % "seen")
    becomes(gw, "seen")


def test_streams_survive_watched_reloads(lab):
    """Goal: a save in the middle of a stream breaks nothing of it."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up}, config={"reload": {"watch": True, "debounce": 0.02}})
    gw.wait_log("file watch: on")
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        for n in range(3):
            after = len(gw.stderr)
            path = gw.folder / "gateway.lua"
            atomically(path, path.read_text() + f"-- edit {n}\n")
            gw.wait_log("is in force", after=after)
        gate.set()
        rest = answer.events()
    assert wire.text_of([first, *rest]) == "one two" and answer.clean
