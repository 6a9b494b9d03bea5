# SPDX-License-Identifier: MIT
"""The commands for a running gateway against answers that a test makes up: what is sent, what is shown, every error."""
import json
import os
import pty
import re
import socket
import subprocess

import pytest
from support.fake_admin import FakeAdmin
from support.gateway import BINARY, REPORTS

TOKEN = "secret-of-the-admins"
COMMANDS = ["status", "targets", "routes", "set", "unset", "reload", "generations", "activate", "suspend", "resume"]
SETTINGS = {"route": "chat", "version": 4, "overlay": {"suspend": 60}, "effective": {"suspend": 60}}
APPLIED = {"ok": True, "active": 9, "version": 5, "persistent": True, "warnings": []}
STATUS = {"version": "moongate 0.1.0 (Lua 5.4.4, …)", "uptime": 11520, "generation": 8, "hash": "3f1c09aa52d1e0b7", "draining": False, "workers": 2,
          "loaded_at": "2026-11-21T12:48:22.123Z", "connections": 12, "requests_inflight": 3, "watch": True,
          "reloads": {"applied": 4, "refused": 1, "unchanged": 2, "last_was_refused": True},
          "policies": [{"policy": "failover", "state": "running", "reason": "", "calls": 1204, "errors": 0, "kills": 0},
                       {"policy": "thrifty", "state": "switched_off", "reason": "10 runs in a row failed: boom",
                        "calls": 12, "errors": 10, "kills": 0}]}
GENERATIONS = {"active": 8, "generations": [
    {"id": 8, "hash": "3f1c09aa52d1e0b7", "state": "active", "loaded_at": "2026-11-21T12:48:22.123Z", "who": "SIGHUP",
     "why": "new prices", "references": 3, "memory": 1258291, "calls": 412, "errors": 0, "kills": 0},
    {"id": 7, "hash": "90b2c1d0e4f5a6b7", "state": "draining", "loaded_at": "2026-11-21T09:12:02.000Z", "who": "start",
     "why": "", "references": 1, "memory": 1048576, "calls": 90210, "errors": 2, "kills": 1}],
    "last_refused": {"at": "2026-11-21T12:40:00.000Z", "who": "file watch", "why": "",
                     "diagnostics": [{"file": "gateway.lua", "line": 12, "message": "unknown setting \"suspnd\""}]}}
ROUTE = {"name": "chat", "path": "/v1/*", "models": ["gpt-4o", "gpt-5"], "methods": ["POST"], "policy": "failover",
         "policy_version": 1, "on_error": "plan", "dialect": "openai", "version": 4, "failover": True,
         "schema": {"suspend": {"type": "number", "default": 0, "unit": "s", "help": "a failed target is left alone"},
                    "targets": {"type": "targets", "help": "in order of preference"},
                    "enabled": {"type": "boolean", "default": True, "help": "false: the first target, once"}},
         "settings": {"suspend": {"value": 60, "source": "overlay", "file": 30},
                      "targets": {"value": ["a/m", "b/m"], "source": "file"},
                      "enabled": {"value": True, "source": "default"}}}


@pytest.fixture
def fake():
    made = []

    def start(answers):
        made.append(FakeAdmin(answers))
        return made[-1]
    yield start
    for each in made:
        each.close()


def environment(**more):
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ASAN_OPTIONS": "exitcode=99", **more}


def moongate(*words, admin=None, token=TOKEN, **env):
    """Runs a command; the token is nowhere in what it prints."""
    if admin:
        env["MOONGATE_ADMIN"] = admin.url if isinstance(admin, FakeAdmin) else admin
    if token:
        env["MOONGATE_ADMIN_TOKEN"] = token
    run = subprocess.run([str(BINARY), *words], capture_output=True, text=True, timeout=60, env=environment(**env))
    assert not REPORTS.search(run.stderr) and TOKEN not in run.stdout + run.stderr
    return run


def rows(text):
    """The cells of a table's lines, split at two spaces or more."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


# Help and wrong usage.

@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    """Goal: each command explains itself, with an example and where the token comes from."""
    run = moongate(command, "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"Usage: moongate {command}") and f"$ moongate {command}" in run.stdout
    assert "MOONGATE_ADMIN_TOKEN" in run.stdout and "Exit status" in run.stdout
    assert all(len(line) <= 100 for line in run.stdout.split("Example:")[0].splitlines())


def test_usage_is_grouped():
    """Goal: the list of commands says which of them need a running gateway."""
    run = moongate("--help")
    admin = run.stdout.split("Look at a running gateway")[1]
    assert run.returncode == 0 and all(re.search(rf"^  {c} ", admin, re.M) for c in COMMANDS)
    assert re.search(r"Run:\n  serve", run.stdout) and re.search(r"Check and try:\n  check", run.stdout)


@pytest.mark.parametrize("words, said", [
    (["status", "more"], '"more" was not expected'),
    (["set"], "Usage: moongate set ROUTE KEY=VALUE"),
    (["set", "chat"], "something is missing"),
    (["set", "chat", "suspend"], 'found "suspend", expected KEY=VALUE'),
    (["set", "chat", "=3"], "expected KEY=VALUE"),
    (["set", "chat", "a=1", "a=2"], "a is given twice"),
    (["set", "chat", "targets=[a/m]"], "begins like JSON and is none"),
    (["set", "chat", "suspend=null"], "moongate unset"),
    (["activate", "x"], '"x" is no generation\'s number'),
    (["suspend", "a/m", "soon"], '"soon" is no time'),
    (["suspend", "a/m", "-1"], "--help tells"),
    (["suspend", "a/m", "0"], '"0" is no time'),
    (["suspend", "a/m", "1e400"], "is no time"),
    (["status", "--why", "x"], "--why is none of its options"),
    (["status", "--nonsense"], "--help tells"),
    (["resume", "a/m", "--reason", "x"], "--reason is none of its options"),
    (["reload", "--why", "two\nlines"], "one line"),
    (["status", "--admin", "ftp://x"], "no address"),
    (["status", "--admin", ""], "no address"),
    (["status", "--admin", "http://user:pass@127.0.0.1:1"], "--token-file"),
])
def test_wrong_usage(words, said):
    """Goal: wrong usage is status 2 with words that help; nothing is sent."""
    run = moongate(*words, admin="http://127.0.0.1:1" if "--admin" not in words else None)
    assert (run.returncode, run.stdout) == (2, "") and said in run.stderr, run.stderr


# Token and address.

def test_token_comes_from_the_variable_or_a_file(fake, tmp_path):
    """Goal: a token file is read and wins; one that everybody may read is warned about; no token sends none."""
    admin = fake({"GET /admin/targets": {"targets": []}})
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    file.chmod(0o600)
    assert moongate("targets", admin=admin).returncode == 0
    run = moongate("targets", "--token-file", str(file), admin=admin)
    assert (run.returncode, run.stderr) == (0, "")
    file.chmod(0o644)
    run = moongate("targets", "--token-file", str(file), admin=admin)
    assert run.returncode == 0 and "chmod 600" in run.stderr
    assert moongate("targets", admin=admin, token=None).returncode == 0
    assert [h.get("authorization") for _, h, _ in admin.requests] == \
        [f"Bearer {TOKEN}", "Bearer of-the-file", "Bearer of-the-file", None]


@pytest.mark.parametrize("text", [None, "", "\n", "two\nlines-of-it", "x" * 5000, "bell\a"])
def test_token_files_that_hold_none(fake, tmp_path, text):
    """Goal: a token file that is not there or holds no token is an error that names it and shows nothing of it."""
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
    admin = fake({})
    run = moongate("targets", "--token-file", str(file), admin=admin)
    assert run.returncode == 1 and str(file) in run.stderr and "lines-of-it" not in run.stderr
    assert admin.requests == []


def test_address(fake):
    """Goal: --admin wins over the variable, and may stand without scheme and with a slash."""
    admin = fake({"GET /admin/targets": {"targets": []}})
    for given in (admin.url, admin.url + "/", admin.url.removeprefix("http://")):
        run = moongate("targets", "--admin", given, admin="http://127.0.0.1:1")
        assert (run.returncode, run.stdout) == (0, "no target is known yet\n"), run.stderr


# What fails.

@pytest.mark.parametrize("command", [["status"], ["set", "chat", "suspend=1"], ["reload"]])
def test_nobody_there(command):
    """Goal: status 3, with the address and how to say another."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
        run = moongate(*command, admin=url)
    assert (run.returncode, run.stdout) == (3, "")
    assert url in run.stderr and "--admin" in run.stderr and "MOONGATE_ADMIN" in run.stderr


@pytest.mark.parametrize("answer, said", [
    ((401, {"error": {"code": "unauthorised", "message": "m"}}), "refuses the token from MOONGATE_ADMIN_TOKEN"),
    ((403, {"error": {"code": "read_only_token", "message": "m"}}), "admin.token"),
    ((403, {"error": {"code": "other", "message": "not from there"}}), "not from there"),
    ((404, {"error": {"code": "unknown_path", "message": "m"}}), "of this version?"),
    ((404, b"<html>not here</html>"), "of this version?"),
    ((409, {"error": {"code": "busy", "message": "a load is under way"}}), "(409): a load is under way"),
    ((500, b""), "answered with status 500"),
    ((422, {"error": {"code": "bad", "message": "no such setting"}}), "refused: no such setting"),
    ((302, b"", {"Location": "http://127.0.0.1:1/"}), "302"),
    ((200, b"<html>hello</html>"), "none of the admin API's answers"),
    ((200, b"[1]"), "none of the admin API's answers"),
    ((200, b""), "none of the admin API's answers"),
])
def test_failures(fake, answer, said):
    """Goal: every refusal is status 1 with words that say what to do."""
    run = moongate("reload", admin=fake({"POST /admin/reload": answer}))
    assert (run.returncode, run.stdout) == (1, "") and said in run.stderr, run.stderr


def test_no_token_given(fake):
    """Goal: a 401 without a token names the variable to set."""
    admin = fake({"GET /admin/targets": (401, {"error": {"code": "unauthorised", "message": "m"}})})
    run = moongate("targets", admin=admin, token=None)
    assert run.returncode == 1 and "set the variable MOONGATE_ADMIN_TOKEN" in run.stderr


def test_not_http():
    """Goal: something else that listens there is not taken for a gateway."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        process = subprocess.Popen([str(BINARY), "status", "--admin", f"127.0.0.1:{s.getsockname()[1]}"],
                                   stderr=subprocess.PIPE, text=True, env=environment())
        connection, _ = s.accept()
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        connection.close()
        assert "cannot reach" in process.communicate(timeout=60)[1] and process.returncode == 3


def test_refused_load_tells_its_diagnostics(fake):
    """Goal: a refused load prints what moongate check would."""
    refused = {"ok": False, "active": 7, "diagnostics": [{"file": "gateway.lua", "line": 14, "message": "unknown setting"},
                                                         {"file": "state/settings.json", "line": 0, "message": "worse"}],
               "warnings": [{"file": "gateway.lua", "line": 3, "message": "odd"}]}
    run = moongate("reload", admin=fake({"POST /admin/reload": (422, refused)}))
    assert run.returncode == 1
    assert run.stderr.splitlines() == ["gateway.lua:14: error: unknown setting", "state/settings.json: error: worse",
                                       "gateway.lua:3: warning: odd", "moongate: refused: 2 mistakes; generation 7 stays active"]


def test_json_prints_the_answer_as_it_came(fake):
    """Goal: --json is the API's own text, for refusals too; the exit status tells."""
    raw = b'{"targets":[ {"target":"a/m","up":true} ], "other":1.50}'
    run = moongate("targets", "--json", admin=fake({"GET /admin/targets": (200, raw)}))
    assert (run.returncode, run.stdout, run.stderr) == (0, raw.decode() + "\n", "")
    refused = {"ok": False, "active": 7, "diagnostics": []}
    run = moongate("reload", "--json", admin=fake({"POST /admin/reload": (422, refused)}))
    assert run.returncode == 1 and json.loads(run.stdout) == refused


# What is shown.

def test_status(fake):
    """Goal: the status says what runs, on whose word, and which policy is switched off and why."""
    run = moongate("status", admin=fake({"GET /admin/status": STATUS, "GET /admin/generations": GENERATIONS}))
    assert (run.returncode, run.stderr) == (0, "")
    assert "moongate 0.1.0 at http://127.0.0.1:" in run.stdout and "up 3 h 12 min" in run.stdout
    for line in ["generation  8 (3f1c09aa52d1e0b7), loaded 2026-11-21 12:48:22 UTC by SIGHUP",
                 "requests    3 under way on 12 connections, 2 workers",
                 "reloads     4 applied, 1 refused, 2 unchanged; files are watched",
                 "refused     the last load, 2026-11-21 12:40:00 UTC by file watch: 1 mistake; moongate generations tells"]:
        assert line in run.stdout.splitlines(), run.stdout
    assert ["thrifty", "SWITCHED OFF", "12", "10", "0", "10 runs in a row failed: boom"] in rows(run.stdout)
    assert ["failover", "running", "1204", "0", "0", "-"] in rows(run.stdout)


def target(**facts):
    return {"target": "a/m", "up": True, "suspended_for": 0, "reason": "", "breaker": "closed", "inflight": 0,
            "ewma_first_token": 0, "ewma_total": 0, "successes": 0, "failures": 0, "last_error": "", **facts}


@pytest.mark.parametrize("facts, state", [
    ({}, "up"),
    ({"suspended_for": 11.2, "reason": "rate_limited"}, "suspended 12 s: rate_limited"),
    ({"suspended_for": 0.2}, "suspended 1 s"),
    ({"suspended_for": 600}, "suspended 10 min"),
    ({"suspended_for": 3e8, "until_resumed": True, "reason": "by hand"}, "suspended until resumed: by hand"),
    ({"breaker": "open"}, "breaker open"),
    ({"up": False, "breaker": "half_open"}, "down, breaker half_open"),
])
def test_state_of_a_target(fake, facts, state):
    """Goal: all that speaks against asking a target is in one column."""
    run = moongate("targets", admin=fake({"GET /admin/targets": {"targets": [target(**facts)]}}))
    assert rows(run.stdout)[1][:2] == ["a/m", state], run.stdout


def test_targets_are_aligned_by_what_is_seen(fake):
    """Goal: columns stand below each other, whatever letters a name is made of; times and counts read well."""
    names = ["a/gpt", "über/größe", "阿里/通义", "e\u0301/m"]
    facts = [target(target=n, ewma_first_token=0.312, ewma_total=2.14, successes=120, failures=3) for n in names]
    run = moongate("targets", admin=fake({"GET /admin/targets": {"targets": facts}}))
    lines = run.stdout.splitlines()
    assert rows(run.stdout)[1] == ["a/gpt", "up", "0", "312 ms", "2.1 s", "120", "3", "-"]

    def column(line):
        seen = line[:line.index("up  ")]
        return sum(2 if "\u2e80" < c < "\ua4cf" else 0 if c == "\u0301" else 1 for c in seen)
    assert len({column(line) for line in lines[1:]} | {lines[0].index("state")}) == 1, run.stdout


def test_terminal_sequences_are_not_passed_on(fake):
    """Goal: what a provider or a file put into an answer cannot steer the reader's terminal."""
    evil = "x\x1b]0;owned\x07\x9b31m\u202ey\r\n"
    admin = fake({"GET /admin/targets": {"targets": [target(target=evil, last_error=evil)]},
                  "POST /admin/reload": (422, {"ok": False, "diagnostics": [{"file": evil, "line": 1, "message": evil}]}),
                  "POST /admin/targets/a/m/resume": (404, {"error": {"code": "unknown_target", "message": evil}})})
    for words in (["targets"], ["reload"], ["resume", "a/m"]):
        run = moongate(*words, admin=admin)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", run.stdout + run.stderr), words
        assert "owned" in run.stdout + run.stderr


def test_routes(fake):
    """Goal: the list names what was set; one route shows value, source, unit and meaning of each setting."""
    admin = fake({"GET /admin/routes": {"routes": [ROUTE, {"name": "raw", "path": "/raw", "policy": "custom",
                                                           "failover": None, "settings": {}}]},
                  "GET /admin/routes/chat": ROUTE})
    run = moongate("routes", admin=admin)
    assert rows(run.stdout)[1:] == [["chat", "/v1/*", "gpt-4o, gpt-5", "failover 1", "on", "suspend"],
                                    ["raw", "/raw", "any", "custom", "-", "-"]]
    run = moongate("routes", "chat", admin=admin)
    assert run.stdout.startswith("chat: /v1/*, policy failover, version 4 of its settings\n")
    assert rows(run.stdout)[2:] == [["suspend", "60", "set (file: 30)", "s", "a failed target is left alone"],
                                    ["targets", '["a/m","b/m"]', "file", "-", "in order of preference"],
                                    ["enabled", "true", "default", "-", "false: the first target, once"]]


def test_generations(fake):
    """Goal: the active one is marked; the last refused load is told with its diagnostics."""
    run = moongate("generations", admin=fake({"GET /admin/generations": GENERATIONS}))
    table, refused = run.stdout.split("\n\n")
    assert rows(table)[1:] == [
        ["*", "8", "3f1c09aa52d1e0b7", "active", "2026-11-21 12:48:22 UTC", "SIGHUP", "new prices", "3", "1.2 MiB", "412", "0", "0"],
        ["7", "90b2c1d0e4f5a6b7", "draining", "2026-11-21 09:12:02 UTC", "start", "-", "1", "1.0 MiB", "90210", "2", "1"]]
    assert refused == 'last refused: 2026-11-21 12:40:00 UTC by file watch\n  gateway.lua:12: unknown setting "suspnd"\n'


def test_colours_only_for_terminals(fake):
    """Goal: colours on a terminal, none with NO_COLOR, with TERM=dumb or in a pipe."""
    admin = fake({"GET /admin/targets": {"targets": [target()]}})

    def on_terminal(**env):
        primary, secondary = pty.openpty()
        subprocess.run([str(BINARY), "targets", "--admin", admin.url], stdout=secondary, timeout=60, check=True,
                       env=environment(**env))
        os.close(secondary)
        return os.read(primary, 10000).decode()
    assert "\x1b[32mup\x1b[0m" in on_terminal(TERM="xterm")
    assert "\x1b" not in on_terminal(TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in on_terminal(TERM="dumb")
    assert "\x1b" not in moongate("targets", admin=admin).stdout


# What is sent.

def test_set_changes_what_it_read(fake):
    """Goal: set reads, changes and writes back under the version it read; JSON is JSON, all else is text."""
    admin = fake({"GET /admin/routes/chat/settings": SETTINGS, "PUT /admin/routes/chat/settings": APPLIED})
    run = moongate("set", "chat", "retries=2", "trigger=any", 'targets=["a/m","b/m"]', "breaker=false", "note=", "x=1=2",
                   "--why", "größer", admin=admin)
    assert (run.returncode, run.stderr) == (0, "")
    headers, body = admin.sent("PUT /admin/routes/chat/settings")
    assert body == {"suspend": 60, "retries": 2, "trigger": "any", "targets": ["a/m", "b/m"], "breaker": False, "note": "",
                    "x": "1=2"}
    assert headers["if-match"] == '"4"' and headers["content-type"] == "application/json"
    assert headers["x-moongate-why"].encode("latin-1").decode() == "größer"
    assert run.stdout.splitlines()[0] == "chat: retries = 2"
    assert run.stdout.splitlines()[-1] == "generation 9 is active (version 5 of the settings of chat)"


def test_set_replaces_a_setting_that_was_set(fake):
    """Goal: a key that was set already gets the new value, once."""
    admin = fake({"GET /admin/routes/chat/settings": SETTINGS,
                  "PUT /admin/routes/chat/settings": {**APPLIED, "persistent": False,
                                                      "warnings": [{"file": "f", "line": 1, "message": "odd"}]}})
    run = moongate("set", "chat", "suspend=5", admin=admin)
    assert admin.sent("PUT /admin/routes/chat/settings")[1] == {"suspend": 5}
    assert run.returncode == 0 and "f:1: warning: odd" in run.stderr and "state_dir" in run.stderr


def test_conflict(fake):
    """Goal: a change made meanwhile is told with its version and where to look; nothing is tried again."""
    admin = fake({"GET /admin/routes/chat/settings": SETTINGS,
                  "PUT /admin/routes/chat/settings": (412, {"error": {"code": "version", "message": "m"}, "version": 5})})
    run = moongate("set", "chat", "suspend=5", admin=admin)
    assert (run.returncode, run.stdout) == (1, "")
    assert "changed meanwhile: now version 5; look at it with moongate routes chat" in run.stderr
    assert len(admin.requests) == 2


def test_unset(fake):
    """Goal: one key is dropped where it is, several are written back without; each under the version that was read."""
    url = "/admin/routes/chat/settings"
    admin = fake({f"GET {url}": {**SETTINGS, "overlay": {"suspend": 60, "retries": 1, "order": "fastest"}},
                  f"PUT {url}": APPLIED, f"DELETE {url}": APPLIED, f"DELETE {url}/suspend": APPLIED})
    run = moongate("unset", "chat", "suspend", admin=admin)
    assert run.returncode == 0 and "chat: suspend is no longer set" in run.stdout
    assert admin.sent(f"DELETE {url}/suspend")[0]["if-match"] == '"4"'
    run = moongate("unset", "chat", "suspend", "order", admin=admin)
    headers, body = admin.sent(f"PUT {url}")
    assert run.returncode == 0 and body == {"retries": 1} and headers["if-match"] == '"4"'
    run = moongate("unset", "chat", admin=admin)
    assert run.returncode == 0 and "nothing is set any more" in run.stdout
    assert "if-match" not in admin.sent(f"DELETE {url}")[0]


def test_unset_of_what_is_not_set(fake):
    """Goal: a mistyped key does not seem to have worked."""
    admin = fake({"GET /admin/routes/chat/settings": {**SETTINGS, "overlay": {"suspend": 60, "retries": 1}}})
    run = moongate("unset", "chat", "retries", "suspnd", admin=admin)
    assert run.returncode == 1 and "suspnd is not set for chat; set are: suspend retries" in run.stderr
    assert len(admin.requests) == 1


def test_hidden_secrets_are_not_written_back(fake):
    """Goal: a value that the API shows masked is never replaced by its mask."""
    overlay = {"targets": [{"target": "a/m", "headers": {"x-key": "***"}}], "suspend": 60}
    admin = fake({"GET /admin/routes/chat/settings": {**SETTINGS, "overlay": overlay},
                  "PUT /admin/routes/chat/settings": APPLIED})
    run = moongate("set", "chat", "suspend=5", admin=admin)
    assert run.returncode == 1 and "targets is set to something with a secret" in run.stderr and len(admin.requests) == 1
    assert moongate("set", "chat", 'targets=["a/m"]', admin=admin).returncode == 0
    assert admin.sent("PUT /admin/routes/chat/settings")[1] == {"suspend": 60, "targets": ["a/m"]}


def test_names_are_escaped(fake):
    """Goal: whatever stands in a name is a part of the path, never a query or another path."""
    admin = fake({"POST /admin/targets/a/m%3Ax%3Fy%20%C3%BC%25/resume": {"ok": True}})
    assert moongate("resume", "a/m:x?y ü%", admin=admin).returncode == 0
    run = moongate("routes", "a?b", admin=admin)
    assert run.returncode == 1 and admin.requests[-1][0] == "GET /admin/routes/a%3Fb"


@pytest.mark.parametrize("words, body, said", [
    ([], {}, "is suspended until moongate resume"),
    (["90"], {"seconds": 90}, "is suspended for 90 s"),
    (["10m", "--reason", "noon", "--group"], {"seconds": 600, "reason": "noon", "group": True}, "is suspended for 10 min"),
])
def test_suspend(fake, words, body, said):
    """Goal: seconds, reason and group are sent as given, and no seconds as none."""
    admin = fake({"POST /admin/targets/a/m/suspend": {"ok": True, "target": "a/m", "suspended_for": body.get("seconds", 3e8),
                                                           "until_resumed": "seconds" not in body, "persistent": False}})
    run = moongate("suspend", "a/m", *words, admin=admin)
    assert run.returncode == 0 and said in run.stdout and ("state_dir" in run.stderr) == (not words)
    assert admin.sent("POST /admin/targets/a/m/suspend")[1] == body


def test_reload_and_activate(fake):
    """Goal: both tell the generation that is active now; a reload that changed nothing says so."""
    admin = fake({"POST /admin/reload": [{"ok": True, "active": 9, "changed": True}, {"ok": True, "active": 9, "changed": False}],
                  "POST /admin/generations/3/activate": {"ok": True, "active": 3},
                  "POST /admin/generations/4/activate": (404, {"error": {"code": "unknown_generation", "message": "none kept"}})})
    assert moongate("reload", "--why", "w", admin=admin).stdout == "generation 9 is active\n"
    assert admin.requests[-1][1]["x-moongate-why"] == "w"
    assert moongate("reload", admin=admin).stdout == "nothing changed: generation 9 stays active\n"
    assert moongate("activate", "3", admin=admin).stdout == "generation 3 is active\n"
    run = moongate("activate", "4", admin=admin)
    assert run.returncode == 1 and "none kept" in run.stderr and "moongate generations shows" in run.stderr
