# SPDX-License-Identifier: MIT
"""
The commands for a running gateway against one: what they show is what it does, and what they change is changed. What a
gateway gives seldom or never is in test_cli_fake.py.
"""
import json
import re
import subprocess

import pytest
from support import actions
from support.gateway import ADMIN_TOKEN, BINARY, REPORTS

READ_TOKEN = "read-token-of-the-tests"


class Shell:
    """Runs moongate against a gateway as an admin would."""

    def __init__(self, gateway, token=ADMIN_TOKEN):
        self.env = {"MOONGATE_ADMIN": gateway.admin, "MOONGATE_ADMIN_TOKEN": token, "LANG": "C.UTF-8",
                    "ASAN_OPTIONS": "exitcode=99"}

    def __call__(self, *words, status=0):
        run = subprocess.run([str(BINARY), *words], capture_output=True, text=True, timeout=60, env=self.env)
        assert not REPORTS.search(run.stderr), run.stderr
        assert run.returncode == status, (words, run.stdout, run.stderr)
        assert not any(secret in run.stdout + run.stderr for secret in (ADMIN_TOKEN, READ_TOKEN, "sk-provider"))
        return run.stdout if status == 0 else run.stderr

    def json(self, *words):
        return json.loads(self(*words, "--json"))


def table(text):
    """The rows of the table that `text` ends with, as {title: cell}."""
    lines = text.rstrip("\n").rsplit("\n\n", 1)[-1].splitlines()
    titles = [(m.start(), m[0]) for m in re.finditer(r"\S+( \S+)*", lines[0])]
    cells = [re.split(r" {2,}", line.strip()) for line in lines[1:]]
    return [dict(zip([t for _, t in titles], row)) for row in cells]


@pytest.fixture
def gw(lab, tmp_path):
    up = lab.upstream(actions.ok("one"), actions.fail(500), actions.ok("one"))
    admin = {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN, "read_token": READ_TOKEN}
    return lab.failover({"p": up, "q": lab.upstream(actions.ok("two"))}, {"suspend": 30},
                        config={"admin": admin, "state_dir": str(tmp_path / "state")})


def test_status(gw):
    """Goal: the status tells generation, load and policies of the gateway that runs."""
    text = Shell(gw)("status")
    about = Shell(gw).json("status")
    assert f"({about['hash']})" in text and re.search(r"generation +1 .*loaded \d{4}-\d\d-\d\d .* by start", text)
    assert "0 under way" in text and f"at http://{gw.admin}" in text and "files are not watched" in text
    row, = table(text)
    assert (row["policy"], row["state"]) == ("failover", "running")


def test_a_policy_that_is_switched_off_stands_out(lab):
    """Goal: a policy that keeps failing is shown as switched off, with the reason."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, 'error("boom")')
    for _ in range(12):
        gw.chat()
    text = Shell(gw)("status")
    row, = table(text.split("\n\nA policy that is switched off")[0])
    assert row["state"] == "SWITCHED OFF" and int(row["errors"]) >= 10 and "boom" in text


def test_targets(gw):
    """Goal: states and counts are those that the gateway's requests left."""
    shell = Shell(gw)
    assert [gw.chat().text for _ in range(2)] == ["one", "two"]
    rows = {row["target"]: row for row in table(shell("targets"))}
    assert re.fullmatch(r"suspended (2\d|30) s: server_error", rows["p/p-model"]["state"])
    assert (rows["p/p-model"]["ok"], rows["p/p-model"]["failed"], rows["p/p-model"]["last error"]) == ("1", "1", "server_error 500")
    assert rows["q/q-model"]["state"] == "up" and rows["q/q-model"]["ok"] == "1"
    assert shell.json("targets")["targets"][0]["target"] in rows


def test_suspend_and_resume(gw):
    """Goal: a target that an admin suspends is not asked until it is resumed."""
    shell = Shell(gw)
    assert shell("suspend", "p/p-model", "10m", "--reason", "until noon") == "p/p-model is suspended for 10 min\n"
    rows = {row["target"]: row for row in table(shell("targets"))}
    assert re.fullmatch(r"suspended (10|9) min: until noon", rows["p/p-model"]["state"])
    assert gw.chat().text == "two"
    assert shell("resume", "p/p-model") == "p/p-model is no longer suspended\n"
    assert gw.chat().text == "one"
    assert shell("suspend", "p/p-model") == "p/p-model is suspended until moongate resume\n"
    states = {row["target"]: row["state"] for row in table(shell("targets"))}
    assert states["p/p-model"].startswith("suspended until resumed")
    assert "moongate targets shows" in shell("suspend", "nobody/m", status=1)


def test_routes(gw):
    """Goal: a route's settings are shown with value, source, unit and meaning."""
    shell = Shell(gw)
    row, = table(shell("routes"))
    assert (row["route"], row["path"], row["failover"], row["set here"]) == ("chat", "/v1/*", "on", "-")
    rows = {row["setting"]: row for row in table(shell("routes", "chat"))}
    assert rows["suspend"]["value"] == "30" and rows["suspend"]["source"] == "file" and rows["suspend"]["unit"] == "s"
    assert rows["retries"]["source"] == "default" and "tries" in rows["retries"]["meaning"]
    assert rows["targets"]["value"] == '["p/p-model","q/q-model"]'
    assert "moongate routes shows" in shell("routes", "nothing", status=1)


def test_set_and_unset(gw):
    """Goal: a setting put over the file's counts for the next request and survives a restart, until it is taken back."""
    shell = Shell(gw)
    text = shell("set", "chat", 'targets=["q/q-model"]', "suspend=5", "--why", "p is dear")
    assert 'chat: targets = ["q/q-model"]\nchat: suspend = 5\n' in text and "generation 2 is active (version 1" in text
    assert gw.chat().text == "two"
    rows = {row["setting"]: row for row in table(shell("routes", "chat"))}
    assert rows["suspend"]["value"] == "5" and rows["suspend"]["source"] == "set (file: 30)"
    assert "chat" in shell("set", "chat", "retries=1") and shell.json("routes", "chat")["version"] == 2
    gw.stop()
    gw.checked = False
    gw.folder.joinpath("stderr").unlink()
    gw.start()
    shell = Shell(gw)
    assert gw.chat().text == "two" and table(shell("routes"))[0]["set here"] == "retries, suspend, targets"
    shell("unset", "chat", "targets")
    assert gw.chat().text == "one"
    assert "nothing is set any more" in shell("unset", "chat")
    assert table(shell("routes"))[0]["set here"] == "-"
    assert "is not set" in shell("unset", "chat", "suspend", status=1)


def test_set_refused(gw):
    """Goal: what the policy's schema does not take is told and changes nothing."""
    shell = Shell(gw)
    said = shell("set", "chat", "suspnd=5", status=1)
    assert 'did you mean "suspend"?' in said and "refused: 1 mistake; generation 1 stays active" in said
    assert shell.json("routes", "chat")["version"] == 0
    assert "moongate routes shows" in shell("set", "nothing", "suspend=5", status=1)


def test_reload_generations_activate(gw):
    """Goal: loads are told with who and why, a refused one with its mistakes, and an earlier one can be had back."""
    shell = Shell(gw)
    assert shell("reload") == "nothing changed: generation 1 stays active\n"
    good = gw.folder.joinpath("gateway.lua").read_text()
    gw.write("gateway.lua", good.replace('"p/p-model"', '"q/q-model"').replace('["suspend"] = 30', '["suspend"] = 31'))
    assert shell("reload", "--why", "p is dear") == "generation 2 is active\n"
    assert gw.chat().text == "two"
    assert re.search(r"^\* +2  \w{16}  active .* admin 127\.0\.0\.1:\d+ +p is dear ", shell("generations"), re.M)
    assert re.search(r"^ +1  \w{16}  (kept|draining) .* start ", shell("generations"), re.M)
    gw.write("gateway.lua", good.replace('["suspend"]', '["suspnd"]'))
    said = shell("reload", status=1)
    assert re.search(r"gateway\.lua:\d+: error: .*suspnd", said) and "generation 2 stays active" in said
    assert re.search(r"last refused: .* by admin .*\n  .*gateway\.lua:\d+: .*suspnd", shell("generations"))
    assert "refused     the last load" in shell("status")
    gw.write("gateway.lua", good.replace('"p/p-model"', '"q/q-model"').replace('["suspend"] = 30', '["suspend"] = 31'))
    assert shell("reload") == "nothing changed: generation 2 stays active\n"
    assert "the last load" not in shell("status") and "last refused:" in shell("generations")
    assert shell("activate", "1", "--why", "back") == "generation 1 is active\n"
    assert gw.chat().text == "one"
    assert re.search(r"^\* +1 ", shell("generations"), re.M)
    assert "moongate generations shows" in shell("activate", "77", status=1)


def test_tokens(gw):
    """Goal: the read token looks and does not change; a wrong one does neither."""
    reader, stranger = Shell(gw, READ_TOKEN), Shell(gw, "wrong")
    assert "failover" in reader("status")
    for words in (["suspend", "p/p-model"], ["set", "chat", "suspend=1"], ["reload"]):
        assert "admin.token" in reader(*words, status=1)
    assert "refuses the token from MOONGATE_ADMIN_TOKEN" in stranger("targets", status=1)
    assert not gw.suspended("p/p-model")


def test_stopped_gateway(gw):
    """Goal: a gateway that is gone is status 3."""
    shell = Shell(gw)
    gw.stop()
    assert f"cannot reach the gateway's admin API at http://{gw.admin}" in shell("status", status=3)
