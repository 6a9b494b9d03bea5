# SPDX-License-Identifier: MIT
"""Wrong configurations: every mistake at once, each with file, line and nearest name, status 1, nothing started."""
import re
import socket
import subprocess

import pytest
from conftest import provider_config
from support import actions
from support.gateway import BINARY, ROOT, Raw

GOOD = """return {
  listen = "127.0.0.1:0",
  providers = {
    p = { dialect = "openai", base_url = "http://127.0.0.1:9/v1", api_key = "sk-secret-of-p" },
  },
  routes = {
    { name = "chat", path = "/v1/*", policy = "failover", settings = { targets = { "p/m" } } },
  },
}
"""


def refuse(lab, config, **options):
    """Starts a gateway that must refuse: status 1, not ready. Returns what it said."""
    gw = lab.gateway(config, **options)
    gw.start(wait=False)
    assert gw.wait_exit() == 1, gw.stderr
    gw.checked = True
    gw.check_reports()
    assert "listening on" not in gw.stderr and not re.search(r"\bready\b", gw.stderr)
    return gw.stderr + gw.stdout


def line_of(text, part):
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def assert_says(said, file, line, *words):
    """One line of what was said names file:line and all the words."""
    found = [t for t in said.splitlines() if (f"{file}:{line}" in t or f"{file}\":{line}" in t)
             and all(w in t for w in words)]
    assert found, f"no line with {file}:{line} and {words} in:\n{said}"


def test_the_good_one_starts(lab):
    """Goal: the configuration that the others are made from is right."""
    lab.gateway(GOOD).start()


CASES = {
    "unknown key": ("listen =", "lisen =", ["lisen", "listen"]),
    "unknown provider key": ("base_url =", "base_ulr =", ["base_ulr", "base_url"]),
    "unknown route key": ("policy =", "polcy =", ["polcy", "policy"]),
    "wrong type": ('"127.0.0.1:0"', "8080", ["listen"]),
    "unknown dialect": ('"openai"', '"opnai"', ["opnai", "openai"]),
    "bad address": ('"127.0.0.1:0"', '"127.0.0.1:99999"', ["99999"]),
    "bad url": ("http://127.0.0.1:9/v1", "ftp://127.0.0.1:9/v1", ["base_url"]),
    "bad path": ('"/v1/*"', '"v1/*"', ["path", "v1/*"]),
    "unknown policy": ('policy = "failover"', 'policy = "failovr"', ["failovr", "failover"]),
    "unknown target": ('"p/m"', '"pp/m"', ["pp", "p"]),
    "unknown setting": ("targets =", "target =", ["target", "targets"]),
    "bad setting": ('{ "p/m" }', '{ "p/m" }, suspend = "long"', ["suspend"]),
    "setting below its minimum": ('{ "p/m" }', '{ "p/m" }, suspend = -1', ["suspend"]),
    "unknown order": ('{ "p/m" }', '{ "p/m" }, order = "lised"', ["lised", "listed"]),
    "unknown trigger": ('{ "p/m" }', '{ "p/m" }, trigger = "eror"', ["eror", "error"]),
    "unknown outcome in a trigger": ('{ "p/m" }', '{ "p/m" }, trigger = { "backnd" }', ["backnd", "backend"]),
    "bad on_error": ('policy = "failover"', 'policy = "failover", on_error = "deni"', ["deni", "deny"]),
    "number out of range": ('api_key =', 'max_inflight = -3, api_key =', ["max_inflight"]),
    "two kinds of keys": ('api_key =', 'api_keys = { { name = "a", secret = "sk-pool-one" } }, api_key =',
                          ["providers.p.api_keys: there is an api_key beside it"]),
    "keys of one name": ('api_key = "sk-secret-of-p"', 'api_keys = { { name = "a", secret = "sk-pool-1" }, { name = "a", secret = "sk-pool-2" } }',
                         ["providers.p.api_keys[2].name", '"a" is also the name of api_keys[1]']),
    "keys of one secret": ('api_key = "sk-secret-of-p"', 'api_keys = { { name = "a", secret = "sk-secret-of-p" }, { name = "b", secret = "sk-secret-of-p" } }',
                           ["providers.p.api_keys[2].secret: it is also the secret of api_keys[1]"]),
    "no keys": ('api_key = "sk-secret-of-p"', "api_keys = {}", ["providers.p.api_keys: expected at least one key"]),
    "keys without names": ('api_key = "sk-secret-of-p"', 'api_keys = { "sk-secret-of-p" }', ["providers.p.api_keys[1]", "expected a table, found a string"]),
    "misspelt key": ('api_key = "sk-secret-of-p"', 'api_keys = { { name = "a", secert = "sk-secret-of-p" } }', ["secert", "secret"]),
    "too many keys": ('api_key = "sk-secret-of-p"', "api_keys = (function() local t = {} for i = 1, 33 do t[i] = "
                      '{ name = "k" .. i, secret = "sk-pool-" .. i } end return t end)()', ["at most 32 entries, found 33"]),
    "unknown target of a public name": ('policy =', 'models = { fast = { "p/m", "q/m" } }, policy =', ["routes[1].models.fast[2]", "q"]),
    "public name without a model": ('policy =', 'models = { fast = "p" }, policy =', ["routes[1].models.fast", "needs a model"]),
    "pattern with targets": ('policy =', 'models = { ["gpt-*"] = "p/m" }, policy =', ["gpt-*", "a pattern cannot have targets"]),
    "keys setting": ('{ "p/m" }', '{ "p/m" }, keys = { order = "rund_robin" }', ["rund_robin", "round_robin"]),
    "auth unknown": ('api_key =', 'auth = "beaer", api_key =', ["beaer", "bearer"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_mistake(lab, case):
    """Goal: the mistake is named with file, line, what was found, and the nearest valid name."""
    old, new, words = CASES[case]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    said = refuse(lab, text)
    assert_says(said, "gateway.lua", line_of(text, new.splitlines()[0]), *words)
    assert "sk-secret-of-p" not in said


def test_every_mistake_at_once(lab):
    """Goal: mistakes of all kinds in one file are all reported by one run."""
    text = GOOD.replace("listen =", "lisen =").replace("base_url =", "base_ulr =").replace(
        "settings = {", 'settings = { suspnd = 3, order = "lised", retries = "x",').replace("p/m", "q/m")
    said = refuse(lab, text)
    for word, line in (("lisen", 2), ("base_ulr", 4), ("suspnd", 7), ("lised", 7), ("retries", 7), ("q", 7)):
        assert_says(said, "gateway.lua", line, word)


def test_missing_fields(lab):
    """Goal: what is required and missing is named."""
    said = refuse(lab, 'return {\n listen = "127.0.0.1:0",\n providers = { p = { dialect = "openai" } },\n'
                       ' routes = { { name = "a", path = "/v1/*", policy = "failover", settings = {} } } }\n')
    assert "base_url" in said and "targets" in said


@pytest.mark.parametrize("text,words", [
    ("return {\n  listen = = 1,\n}\n", ["gateway.lua:2"]),
    ("return {\n  listen = nothing.at.all,\n}\n", ["gateway.lua:2"]),
    ('local x = 1\nerror("on purpose")\n', ["gateway.lua:2", "on purpose"]),
    ("while true do end\n", ["gateway.lua"]),
    ("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(100000) end\n", ["gateway.lua"]),
    ("x = 1\n", ["gateway.lua"]),
    ("return 7\n", ["gateway.lua", "table"]),
    ("\x1bLua bytecode", ["gateway.lua"]),
    ('return { listen = env("NOT_SET_ANYWHERE") }\n', ["gateway.lua:1", "NOT_SET_ANYWHERE"]),
    ('return {\n listen = file("no-such-file") }\n', ["gateway.lua:2", "no-such-file"]),
    ('return {\n listen = os.getenv("HOME") }\n', ["gateway.lua:2"]),
], ids=["syntax", "nil-index", "error", "endless", "memory", "no-return", "number", "bytecode", "env", "file", "os"])
def test_lua_that_fails(lab, text, words):
    """Goal: a file that does not yield a table is refused with file and, where there is one, line."""
    said = refuse(lab, text)
    assert all(word in said for word in words), said


def test_no_file(tmp_path):
    """Goal: a file that is not there is named."""
    done = subprocess.run([str(BINARY), "serve", "-c", str(tmp_path / "none.lua")], cwd=ROOT, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1 and "none.lua" in done.stderr


def test_default_file_name(tmp_path):
    """Goal: without -c it is gateway.lua in the current directory."""
    done = subprocess.run([str(BINARY), "serve"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "gateway.lua" in done.stderr


def test_env_and_file(lab):
    """Goal: env() and file() put secrets in from outside; a default stands in for what is not set."""
    up = lab.upstream(actions.ok())
    config = provider_config({"p": up})
    config["providers"]["p"]["api_key"] = Raw('env("KEY_OF_P")')
    config["keys"] = [{"name": "app", "secret": Raw('file("app.key")')},
                      {"name": "b", "secret": Raw('env("NOT_SET", "the-default")')}]
    config["routes"] = [{"name": "a", "path": "/v1/*", "policy": "failover", "settings": {"targets": ["p/m"]}}]
    gw = lab.gateway(config, env={"KEY_OF_P": "sk-from-env"}, files={"app.key": "secret-from-file"}).start()
    assert gw.chat(headers={"x-api-key": "secret-from-file"}).status == 200
    assert gw.chat(headers={"x-api-key": "the-default"}).status == 200
    assert up.requests[0].all("authorization") == ["Bearer sk-from-env"]


@pytest.mark.parametrize("name,text,words", [
    ("own", "return {\n  name = 'own', version = 1,\n  handle = = 3,\n}\n", ["own.lua:3"]),
    ("own", "local x = nil\nlocal y = x.z\nreturn {}\n", ["own.lua:2"]),
    ("own", "return { name = 'own', version = 1 }\n", ["own.lua", "handle"]),
    ("own", "return 3\n", ["own.lua"]),
    ("own", "while true do end\n", ["own.lua"]),
    ("own", "require 'no_such_module'\nreturn {}\n", ["own.lua", "no_such_module"]),
    ("own", "return { name = 'own', version = 1, settings = { a = { type = 'numbr' } }, handle = function() end }\n",
     ["own.lua", "numbr", "number"]),
    ("own", "global_of_mine = 1\nreturn {}\n", ["own.lua:1", "global_of_mine"]),
], ids=["syntax", "runtime", "no-handle", "no-table", "endless", "no-module", "bad-schema", "global"])
def test_policies_that_do_not_load(lab, name, text, words):
    """Goal: a policy that does not load is reported with its file and line, and nothing starts."""
    said = refuse(lab, {**provider_config({"p": lab.refusing()}), "routes": [
        {"name": "r", "path": "/v1/*", "policy": name}]}, policies={name: text})
    assert all(word in said for word in words), said


def own_schema(kind):
    return ("return { name = 'own', version = 1, settings = { a = " + kind + " },\n"
            "  handle = function(req, settings) return req:respond { json = { a = settings.a } } end }\n")


def with_setting(up, value):
    return {**provider_config({"p": up}),
            "routes": [{"name": "r", "path": "/v1/*", "policy": "own", "settings": {"a": value}}]}


@pytest.mark.parametrize("kind,good,bad", [
    ("{ type = 'boolean', required = true }", True, 1),
    ("{ type = 'integer', required = true, min = 1, max = 3 }", 2, 4),
    ("{ type = 'integer', required = true }", 2, 2.5),
    ("{ type = 'number', required = true }", 2.5, "2.5"),
    ("{ type = 'string', required = true }", "x", 1),
    ("{ type = 'enum', values = { 'x', 'y' }, required = true }", "y", "z"),
    ("{ type = 'list', of = { type = 'string' }, required = true }", ["x"], [1]),
    ("{ type = 'table', fields = { b = { type = 'number', default = 7 } }, required = true }", {"b": 8}, {"c": 8}),
    ("{ type = 'target', required = true }", "p/m", "q/m"),
])
def test_settings_are_checked_against_the_schema(lab, kind, good, bad):
    """Goal: each type of a schema takes what it should, and refuses the rest by name."""
    up, policies = lab.refusing(), {"own": own_schema(kind)}
    said = refuse(lab, with_setting(up, bad), policies=policies)
    assert re.search(r"gateway\.lua.*\ba\b", said)
    gw = lab.gateway(with_setting(up, good), policies=policies).start()
    assert gw.chat().json() == {"a": good}


def test_tables_in_part_are_completed(lab):
    """Goal: a table given in part gets its other defaults; so does one left out."""
    text = own_schema("{ type = 'table', fields = { b = { type = 'number', default = 7 },"
                      " c = { type = 'string', default = 'x' } } }")
    gw = lab.gateway(with_setting(lab.refusing(), {"b": 1}), policies={"own": text}).start()
    assert gw.chat().json() == {"a": {"b": 1, "c": "x"}}


def test_open_to_the_world_is_refused(lab):
    """Goal: without client keys only loopback may be listened on."""
    said = refuse(lab, GOOD.replace("127.0.0.1:0", "0.0.0.0:0"))
    assert "keys" in said or "loopback" in said


def test_admin_on_the_world_needs_a_token(lab):
    """Goal: the admin listener refuses a non-loopback address without a token."""
    said = refuse(lab, GOOD.replace("providers =", 'admin = { listen = "0.0.0.0:0" },\n  providers ='))
    assert "token" in said


def test_address_in_use(lab):
    """Goal: an address that is taken ends the start with status 1 and names it."""
    taken = socket.create_server(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % taken.getsockname()[1]
    gw = lab.gateway(GOOD.replace("127.0.0.1:0", address))
    gw.start(wait=False)
    assert gw.wait_exit() == 1
    gw.checked = True
    gw.check_reports()
    assert address in gw.stderr and not re.search(r"\bready\b", gw.stderr)
    taken.close()


def test_duplicates(lab):
    """Goal: two routes or two keys of one name, and two keys of one secret, are mistakes."""
    up = lab.refusing()
    one = {"name": "same", "path": "/v1/*", "policy": "failover", "settings": {"targets": ["p/m"]}}
    said = refuse(lab, {**provider_config({"p": up}), "routes": [one, one]})
    assert "same" in said
    said = refuse(lab, {**provider_config({"p": up}), "routes": [one],
                        "keys": [{"name": "twice", "secret": "secret-abcdefgh"}, {"name": "twice", "secret": "secret-other"}]})
    assert "twice" in said and "secret-abcdefgh" not in said


def test_max_attempts_that_cut_targets_off_warn(lab):
    """Goal: max_attempts below what is configured is a warning, and the gateway starts."""
    gw = lab.failover({"p": lab.refusing(), "q": lab.refusing()}, {"max_attempts": 1})
    assert gw.wait_log("max_attempts")


def test_lua_helper_matches_lua(lab):
    """Goal: what the tests write as Lua is read back as it was meant."""
    text = own_schema("{ type = 'string', required = true }")
    value = 'é "quoted" \\ back\nline\ttab \x7f \u2028'
    gw = lab.gateway(with_setting(lab.refusing(), value), policies={"own": text}).start()
    assert gw.chat().json() == {"a": value}
