# SPDX-License-Identifier: MIT
"""The commands that speak to a running gateway: the same as the admin API, with tables for people and --json for programs."""
import json
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import actions
from support.gateway import ADMIN_TOKEN
from support.rules import ADMIN, READ_TOKEN, Rules, command
from support.waiting import wait_until

COMMANDS = {
    "status": "/admin/status", "targets": "/admin/targets", "routes": "/admin/routes", "generations": "/admin/generations",
}


@pytest.fixture
def gw(lab):
    gateway = lab.failover({"p": lab.upstream(actions.ok("from p")), "q": lab.upstream(actions.ok("from q"))}, {"suspend": 60},
                           config={"admin": ADMIN, "state_dir": "state"})
    gateway.rules = Rules(gateway)
    return gateway


def done(gateway, *args, **more):
    """A command that has to succeed; returns what it printed."""
    run = command(gateway, *args, **more)
    assert run.returncode == 0, (args, run.returncode, run.stdout, run.stderr)
    return run.stdout


def refused(gateway, *args, status=1, **more):
    """A command that has to end with that status and say why; returns what it said."""
    run = command(gateway, *args, **more)
    assert run.returncode == status, (args, run.returncode, run.stdout, run.stderr)
    assert run.stderr.strip() or run.stdout.strip(), args
    assert "Traceback" not in run.stderr
    return run.stderr + run.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_readings(gw, name):
    """Goal: --json prints the API's answer; without it a table for people that names what there is; neither has colours here."""
    value, wanted = json.loads(done(gw, name, "--json")), gw.rules.get(COMMANDS[name])
    assert set(value) == set(wanted)
    table = done(gw, name)
    assert len(table.splitlines()) >= 2 and not table.lstrip().startswith("{")
    assert {"status": "generation", "targets": "p/p-model", "routes": "chat", "generations": "active"}[name] in table.lower(), table
    assert "\x1b" not in table + done(gw, name, "--json")
    assert done(gw, name, token=READ_TOKEN) != ""


def test_routes_show_settings(gw):
    """Goal: `routes NAME` shows each setting with its value, where it is from, and its help."""
    gw.rules.set({"suspend": 77})
    table = done(gw, "routes", "chat")
    line = next(x for x in table.splitlines() if re.match(r"\s*suspend\b", x))
    assert "77" in line and re.search("overlay|set", line) and "60" in line
    assert re.search(r"request_timeout\s.*default", table)
    assert json.loads(done(gw, "routes", "chat", "--json"))["settings"]["suspend"]["value"] == 77
    refused(gw, "routes", "nobody")


@pytest.mark.parametrize("text, value", [
    ("suspend=12", 12), ("suspend=1.5", 1.5), ('targets=["q/x"]', ["q/x"]), ("enabled=false", False), ("order=round_robin", "round_robin"),
    ('order="weighted"', "weighted"), ('breaker={"failures":5}', {"failures": 5}), ("opt_out_header=x-a=b", "x-a=b")])
def test_set(gw, text, value):
    """Goal: a value is JSON, or a bare string when it is none."""
    done(gw, "set", "chat", text)
    assert gw.rules.settings()["overlay"] == {text.split("=")[0]: value}


def test_set_and_unset(gw):
    """Goal: `set` adds to the overlay, several at once; `unset` takes keys away, or all; the next request obeys."""
    done(gw, "set", "chat", "suspend=5", 'targets=["q/new"]')
    assert gw.chat().trail[0][0] == "q/new"
    done(gw, "set", "chat", "retries=1")
    assert gw.rules.settings()["overlay"] == {"suspend": 5, "targets": ["q/new"], "retries": 1}
    done(gw, "unset", "chat", "targets", "retries")
    assert gw.rules.settings()["overlay"] == {"suspend": 5} and gw.chat().text == "from p"
    value = json.loads(done(gw, "set", "chat", "suspend=6", "--json"))
    assert value["ok"] is True and value["version"] == gw.rules.settings()["version"]
    done(gw, "unset", "chat")
    assert gw.rules.settings()["overlay"] == {}


def test_refused_settings(gw):
    """Goal: exit status 1, and the diagnostics in words; nothing of the command is applied."""
    said = refused(gw, "set", "chat", "retries=1", "suspent=5")
    assert "suspend" in said, said
    assert "suspend" in refused(gw, "set", "chat", "suspend=soon")
    refused(gw, "set", "nobody", "suspend=5")
    value = json.loads(command(gw, "set", "chat", "suspend=-1", "--json").stdout)
    assert value["ok"] is False and value["diagnostics"]
    assert gw.rules.settings()["overlay"] == {} and gw.rules.active == 1


def test_reload_generations_activate(gw):
    """Goal: reload, the list of generations and a rollback, all from the shell."""
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace("p/p-model", "p/edited"))
    assert "2" in done(gw, "reload", "--why", "a better model")
    table = done(gw, "generations")
    assert "a better model" in table and gw.chat().trail[0][0] == "p/edited"
    done(gw, "activate", 1)
    assert gw.chat().trail[0][0] == "p/p-model" and gw.rules.active == 1
    done(gw, "activate", 2)
    assert gw.chat().trail[0][0] == "p/edited"
    refused(gw, "activate", 99)
    gw.write("gateway.lua", text.replace('["suspend"]', '["suspent"]'))
    said = refused(gw, "reload")
    assert re.search(r"gateway\.lua:\d+", said) and "suspend" in said
    assert json.loads(command(gw, "reload", "--json").stdout)["ok"] is False


def test_suspend_and_resume(gw):
    """Goal: a target goes out, for a while or for good, and comes back."""
    done(gw, "suspend", "p/p-model", 300, "--reason", "maintenance tonight")
    assert gw.chat().text == "from q" and "maintenance tonight" in gw.facts("p/p-model")["reason"]
    assert "maintenance" in done(gw, "targets")
    done(gw, "resume", "p/p-model")
    assert gw.chat().text == "from p"
    done(gw, "suspend", "p/p-model")
    assert gw.facts("p/p-model")["suspended_for"] > 86400
    done(gw, "resume", "p/p-model", "--json")
    refused(gw, "suspend", "nobody/x", 5)


WRONG = [("status", "more"), ("status", "--nonsense"), ("set",), ("set", "chat"), ("set", "chat", "suspend"), ("set", "chat", "=5"), ("unset",),
         ("activate",), ("activate", "x"), ("suspend",), ("resume",), ("suspend", "p/m", "soon"), ("reload", "--why"), ("generations", "1", "2"),
         ("status", "--admin"), ("status", "--admin", "ftp://127.0.0.1")]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_usage(gw, args):
    """Goal: exit status 2, a word on what is wrong, and nothing changed."""
    refused(gw, *args, status=2)
    assert gw.rules.active == 1 and gw.rules.settings()["overlay"] == {}


def test_gateway_that_cannot_be_reached(lab, gw):
    """Goal: exit status 3, with the address; in bounded time also from one that accepts and says nothing."""
    nobody = lab.refusing()
    for args in (("status",), ("set", "chat", "suspend=5"), ("reload",)):
        assert nobody.address in refused(gw, *args, status=3, admin=f"http://{nobody.address}")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        refused(gw, "status", status=3, admin="http://127.0.0.1:%d" % mute.getsockname()[1], timeout=90)


def test_tokens(gw):
    """Goal: a wrong or read-only token is told in words with exit status 1; a token comes from the environment or a file, never from an argument."""
    assert re.search("token", refused(gw, "status", token="wrong"))
    assert re.search("token", refused(gw, "status", token=None))
    assert re.search("read", refused(gw, "set", "chat", "suspend=5", token=READ_TOKEN))
    gw.write("token.txt", ADMIN_TOKEN + "\n")
    done(gw, "status", "--token-file", gw.folder / "token.txt", token=None)
    refused(gw, "status", "--token", ADMIN_TOKEN, status=2, token=None)
    missing = command(gw, "status", "--token-file", gw.folder / "nowhere.txt", token=None)
    assert missing.returncode in (1, 2) and "nowhere.txt" in missing.stderr


def test_admin_by_option(gw):
    """Goal: --admin names the gateway and counts more than MOONGATE_ADMIN, with or without a slash at its end."""
    for form in (f"http://{gw.admin}", f"http://{gw.admin}/"):
        done(gw, "status", "--admin", form, admin="http://127.0.0.1:1")


def test_answers_that_lie(lab, gw):
    """Goal: what answers there and is no gateway is told; no crash, no claim of success."""
    for body in (b"", b"<html>", b"[]", b"null", b'{"ok":', b'{"generation":[{}]}', b'"' + b"x" * 5_000_000 + b'"'):
        up = lab.upstream(actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body))
        for args in (("targets",), ("set", "chat", "suspend=5"), ("generations",)):
            run = command(gw, *args, admin=f"http://{up.address}")
            assert run.returncode in (1, 3) and run.stderr, (body[:40], args, run.returncode, run.stdout)


def test_text_from_the_gateway_is_harmless(gw):
    """Goal: control characters in what is shown do not reach the terminal."""
    gw.rules.call("POST", "/admin/targets/p/p-model/suspend", {"seconds": 60, "reason": "a\x1b[31mred\x07\nline"})
    table = done(gw, "targets")
    assert "\x1b" not in table and "\x07" not in table


def test_conflict_is_told(gw):
    """Goal: `set` while somebody else changes the same route: each command either applied or was told a conflict; no change is lost unseen."""
    with ThreadPoolExecutor(6) as pool:
        names = ["suspend", "retries", "deadline", "request_timeout", "idle_timeout", "max_attempts"]
        runs = list(pool.map(lambda name: command(gw, "set", "chat", f"{name}=5"), names))
    applied = {name: 5 for name, run in zip(names, runs) if run.returncode == 0}
    assert gw.rules.settings()["overlay"] == applied
    for run in runs:
        assert run.returncode in (0, 1)
        assert run.returncode == 0 or re.search("conflict|changed", run.stderr + run.stdout)


def test_unset_gets_an_overlay_out_of_the_way(lab):
    """Goal: the way out that a refused reload names works as it stands, and `moongate reload` passes then."""
    text = """return {
  name = "own", version = 1,
  settings = { %s = { type = "integer", default = 1, help = "of the test" } },
  handle = function(req, settings) return req:respond { json = { value = settings.%s } } end,
}
"""
    gw = lab.gateway({"admin": ADMIN, "state_dir": "state", "providers": {}, "routes": [{"name": "chat", "path": "/v1/*", "policy": "own"}]},
                     policies={"own": text % ("size", "size")}).start()
    done(gw, "set", "chat", "size=5")
    gw.write("policies/own.lua", text % ("width", "width"))
    said = refused(gw, "reload")
    advice = re.search(r"moongate (unset chat \w+)", said)
    assert advice, said
    done(gw, *advice[1].split())
    done(gw, "reload")
    assert gw.chat().json() == {"value": 1}


def test_output_to_a_closed_pipe(gw):
    """Goal: a reader that leaves early is no crash."""
    command_line = f"'{gw.binary}' routes chat | head -n 1"
    run = subprocess.run(["sh", "-c", command_line], capture_output=True, text=True, timeout=60,
                         env={"PATH": "/usr/bin:/bin", "MOONGATE_ADMIN": f"http://{gw.admin}", "MOONGATE_ADMIN_TOKEN": ADMIN_TOKEN})
    assert "Sanitizer" not in run.stderr
    wait_until(lambda: gw.chat().status == 200)
