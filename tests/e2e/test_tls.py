# SPDX-License-Identifier: MIT
"""
TLS on both sides: what clients see of certificates, their choice and their renewal, and how providers are spoken to:
their authority, our certificate, a proxy between. Providers are tried over both transports.
"""
import json
import os
import socket
import ssl
import subprocess
import threading

import openai
import pytest
from support import actions, client
from support.certs import Certs
from support.gateway import ADMIN_TOKEN, BINARY, ROOT
from support.proxy import Proxy
from support.rules import Rules
from support.waiting import wait_until

TRANSPORTS = ["auto", "libcurl"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    certs = Certs(tmp_path_factory.mktemp("pki"))
    certs.root, certs.stranger = certs.ca("root"), certs.ca("stranger")
    certs.here = certs.leaf(certs.root, "here")                        # localhost, 127.0.0.1
    certs.second = certs.leaf(certs.root, "second", "DNS:second.test", "DNS:*.wild.test")
    certs.me = certs.leaf(certs.root, "me", "DNS:me.test")
    return certs


def listen(*identities):
    tls = [identity.lua for identity in identities]
    return {"listen": {"address": "127.0.0.1:0", "tls": tls[0] if len(tls) == 1 else tls}}


@pytest.fixture
def https(lab, pki):
    """https(upstream, …): a gateway whose only listener speaks TLS with the certificate `here`."""
    def make(up, *identities, config=None, **more):
        gateway = lab.failover({"main": up}, config={**listen(*(identities or (pki.here,))), **(config or {})}, **more)
        gateway.tls = pki.root.client()
        return gateway
    return make


def certificate(gateway, context, name):
    """The common name of the certificate that a client asking for this name is shown."""
    with client.Client(gateway.address, tls=context, name=name) as c:
        return dict(pair for names in c.sock.getpeercert()["subject"] for pair in names)["commonName"]


def any_name(context):
    context.check_hostname = False
    return context


# ---- Clients ----

def test_sdk(lab, pki, https):
    """Goal: the openai SDK talks to a https:// base URL whose authority it was given, plain and streamed."""
    gateway = https(lab.upstream(actions.ok("safe"), actions.talk("one ", "two")))
    with openai.OpenAI(base_url=f"https://{gateway.address}/v1", api_key="any", max_retries=0,
                       http_client=openai.DefaultHttpxClient(verify=pki.root.client())) as sdk:
        ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        assert sdk.chat.completions.create(**ask).choices[0].message.content == "safe"
        stream = sdk.chat.completions.create(**ask, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "one two"
    assert [entry["status"] for entry in gateway.log_entries(2)] == [200, 200]


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_versions(lab, pki, https):
    """Goal: TLS 1.2 and 1.3 are spoken, 1.1 is not; ALPN is http/1.1, and who offers h2 only is refused."""
    gateway = https(lab.upstream(actions.ok()))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = pki.root.client()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        with client.Client(gateway.address, tls=context) as c:
            assert c.sock.selected_alpn_protocol() == "http/1.1"
            assert c.request("GET", "/v1/models").read().status == 200
    context = pki.root.client()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError):
        client.Client(gateway.address, tls=context)
    context = pki.root.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        client.Client(gateway.address, tls=context)


def test_server_names(lab, pki, https):
    """Goal: the name that a client asks for picks the certificate, wildcards included; the first is for all others."""
    gateway = https(lab.upstream(actions.ok()), pki.here, pki.second)
    for name, expected in [("localhost", "here"), ("127.0.0.1", "here"), ("second.test", "second"), ("a.wild.test", "second")]:
        assert certificate(gateway, pki.root.client(), name) == expected, name
    for name in ("b.a.wild.test", "elsewhere.test"):
        assert certificate(gateway, any_name(pki.root.client()), name) == "here", name


def test_large_bodies(lab, https):
    """Goal: a megabyte each way arrives whole: records are cut and joined on the way."""
    gateway = https(lab.upstream(actions.echo()))
    body = client.chat_body(filler="xyz" * 400000)
    answer = gateway.chat(body=body)
    assert answer.status == 200 and answer.clean
    assert json.loads(answer.text)["filler"] == body["filler"]


def test_renewal(lab, pki, https):
    """Goal: after a reload new connections get the new certificate, and an open stream goes on; the hash tells them apart."""
    certs = Certs(pki.folder)
    go = threading.Event()

    def slow(call):
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        call.event(b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n')
        call.wait(go)
        call.event(b'data: {"choices":[{"index":0,"delta":{"content":"two"}}]}\n\n')
        call.event(b"data: [DONE]\n\n")
        call.send(b"0\r\n\r\n")

    renewed = certs.leaf(pki.root, "renewal")
    gateway = https(lab.upstream(slow), renewed)
    rules = Rules(gateway)
    before = rules.generations()[1]["hash"]
    with gateway.open_chat() as c:
        answer = c.start()
        answer.chunk()
        certs.leaf(pki.root, "renewal")                # same name, other key and serial
        old = ssl.DER_cert_to_PEM_cert(c.sock.getpeercert(True))
        assert rules.apply() == 2
        with gateway.client() as other:
            new = ssl.DER_cert_to_PEM_cert(other.sock.getpeercert(True))
        assert new != old and new == renewed.cert.read_text()[-len(new):]
        go.set()
        assert answer.rest().clean and b"two" in answer.body
    assert rules.generations()[2]["hash"] != before


def test_bad_renewal(lab, pki, https):
    """Goal: certificates that cannot serve are refused with every reason at once; the one in force goes on; no key is told."""
    certs = Certs(pki.folder)
    mine = certs.leaf(pki.root, "bad-renewal")
    gateway = https(lab.upstream(actions.ok()), mine, pki.second)
    rules = Rules(gateway)
    good = mine.key.read_text()
    mine.key.write_text(pki.me.key.read_text())
    messages = [d["message"] for d in rules.refused()]
    assert any('listen.tls[1].key: ' in m and 'does not belong to the certificate of "localhost"' in m for m in messages), messages
    mine.key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    mine.cert.write_text("nothing")
    messages = [d["message"] for d in rules.refused()]
    assert len(messages) == 2 and "expected a PEM certificate" in messages[0] and "expected a PEM private key" in messages[1], messages
    assert gateway.chat().status == 200
    assert certificate(gateway, pki.root.client(), "localhost") == "bad-renewal"
    for text in (gateway.stderr, gateway.stdout, str(rules.get("/admin/generations"))):
        assert "c2VjcmV0" not in text and good.splitlines()[1] not in text


def test_watched(lab, pki, https):
    """Goal: certificates are watched like sources: a renewal takes effect by itself."""
    certs = Certs(pki.folder)
    mine = certs.leaf(pki.root, "watched")
    gateway = https(lab.upstream(actions.ok()), mine, config={"reload": {"watch": True, "debounce": 0.05}})

    def serial():
        with gateway.client() as c:
            return c.sock.getpeercert()["serialNumber"]
    before = serial()
    certs.leaf(pki.root, "watched")
    wait_until(lambda: serial() != before, "the new certificate to be served")


def test_no_handshake(lab, https):
    """Goal: who speaks plain HTTP is told so, who says nothing or rubbish is cut off in time, and each is counted."""
    gateway = https(lab.upstream(actions.ok()), config={"limits": {"header_time": 0.3}, "log": {"level": "debug"}})
    answer = client.call(gateway.address, "GET", "/v1/models")
    assert answer.status == 400 and "https://" in answer.json()["error"]["message"]
    for first in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x05rubbish"):
        with socket.create_connection(gateway.address.rsplit(":", 1)) as sock:
            sock.settimeout(20)
            sock.sendall(first)
            try:
                while sock.recv(1000):      # an alert may come
                    pass
            except ConnectionResetError:
                pass
    failed = "moongate_tls_handshakes_failed_total"
    assert (gateway.metric(failed, reason="plain_http"), gateway.metric(failed, reason="timeout"),
            gateway.metric(failed, reason="failed")) == (1, 2, 1)
    gateway.wait_log(r"TLS handshake with 127\.0\.0\.1:\d+ failed: plain HTTP")
    assert gateway.chat().status == 200


def test_client_leaves(lab, https):
    """Goal: a client that closes its TLS connection, or just its socket, amid a stream stops the attempt."""
    up = lab.upstream(actions.endless())
    gateway = https(up)
    for politely in (True, False):
        c = gateway.open_chat()
        c.start().chunk()
        call = up.calls[-1]
        if politely:
            c.sock.settimeout(0.01)
            try:
                c.sock.unwrap()
            except (OSError, ssl.SSLError):
                pass
        c.close()
        wait_until(call.finished.is_set, "the upstream call to be cut")
        assert call.ended == "gone"


def test_plain_beside(lab, pki):
    """Goal: plain and TLS listeners stand side by side, and a reload may put TLS on one."""
    gateway = lab.failover({"main": lab.upstream(actions.ok())}, config={
        "listen": ["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": pki.here.lua}]}, start=False).start()
    plain, secure = gateway.addresses
    assert client.call(plain, body=client.chat_body()).status == 200
    assert client.call(secure, body=client.chat_body(), tls=pki.root.client()).status == 200


# ---- Admin ----

def moongate(*words, **env):
    return subprocess.run([BINARY, *words], capture_output=True, text=True, cwd=ROOT,
                          env={"PATH": os.environ["PATH"], "MOONGATE_ADMIN_TOKEN": ADMIN_TOKEN, **env})


def test_admin(lab, pki):
    """Goal: the admin API over TLS, for programs and for the commands, which take the authority as --cacert or variable."""
    gateway = lab.failover({"main": lab.upstream(actions.ok())}, config={
        "admin": {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN, "tls": pki.here.lua}})
    url = f"https://{gateway.admin}"
    answer = client.call(gateway.admin, "GET", "/admin/status", {"Authorization": f"Bearer {ADMIN_TOKEN}"}, tls=pki.root.client())
    assert answer.status == 200
    run = moongate("status", "--admin", url, "--cacert", str(pki.root.cert))
    assert run.returncode == 0, run.stderr
    assert moongate("status", MOONGATE_ADMIN=url, MOONGATE_ADMIN_CACERT=str(pki.root.cert)).returncode == 0
    run = moongate("status", "--admin", url)
    assert run.returncode == 3 and "certificate" in run.stderr, run.stderr
    run = moongate("status", "--admin", url, "--cacert", "/nowhere.pem")
    assert run.returncode == 1 and "/nowhere.pem" in run.stderr
    run = moongate("status", "--admin", url, "--cacert", str(pki.root.key))
    assert run.returncode == 3 and "found a private key" in run.stderr, run.stderr


# ---- What is wrong with a configuration ----

def check(lab, config):
    gateway = lab.gateway({"routes": [], **config})
    run = subprocess.run([BINARY, "check", "-c", gateway.folder / "gateway.lua"], capture_output=True, text=True,
                         env={"PATH": os.environ["PATH"]})
    lab.gateways.remove(gateway)
    return run.returncode, run.stdout + run.stderr


def provider(**fields):
    return {"dialect": "openai", "base_url": "https://127.0.0.1:1/v1", "api_key": "sk-main", **fields}


def test_mistakes(lab, pki):
    """Goal: `check` finds all mistakes about TLS in one run, each at its key, and shows no secret."""
    status, text = check(lab, {
        "listen": ["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": [pki.here.lua, {"cert": str(pki.here.cert), "key": str(pki.me.key)}]}],
        "providers": {
            "a": provider(tls={"ca": "missing.pem", "verfy": True}),
            "b": provider(tls={"cert": str(pki.me.cert)}),
            "c": provider(tls={"ca": str(pki.me.key)}),
            "d": provider(proxy="socks5://u:proxypassword@p:1", transport="curl"),
            "e": provider(tls={"key": pki.me.key.read_text(), "cert": str(pki.me.cert)}),
        }})
    assert status == 1, text
    for expected in ['listen[2].tls[2].key: file', 'does not belong to the certificate of "localhost"',
                     'providers.a.tls.ca: file missing.pem: No such file', 'providers.a.tls.verfy: unknown key; did you mean "verify"?',
                     'providers.b.tls: cert is given without key', 'providers.c.tls.ca: file', 'found a private key',
                     'providers.d.proxy: expected the URL of a proxy', 'providers.d.transport: expected "auto" or "libcurl"',
                     'providers.e.tls.key: expected the path of a PEM file, found what stands in one']:
        assert expected in text, (expected, text)
    assert "proxypassword" not in text and pki.me.key.read_text().splitlines()[1] not in text


def test_warnings(lab, pki):
    """Goal: what works but is hardly meant is warned of."""
    old = Certs(pki.folder).leaf(pki.root, "old", days=-1)
    old.key.chmod(0o644)
    status, text = check(lab, {**listen(old), "providers": {
        "plain": provider(base_url="http://127.0.0.1:1/v1", tls={"ca": str(pki.root.cert)}),
        "blind": provider(tls={"verify": False})}})
    assert status == 0, text
    for expected in ['listen.tls.cert: the certificate of "localhost" expired on 20', 'chmod 600',
                     'providers.plain.tls: is of no use', 'providers.blind.tls.verify: whoever stands between']:
        assert expected in text, (expected, text)


# ---- Providers ----

@pytest.fixture(params=TRANSPORTS)
def towards(request, lab):
    """towards(upstream, tls): a gateway in front of a provider that speaks TLS, over one of the transports."""
    def make(up, tls=None, options=None, **more):
        fields = {"transport": request.param, **({"tls": tls} if tls else {}), **(options or {})}
        return lab.failover({"main": up}, options=fields, **more)
    return make


def outcome(gateway):
    answer = gateway.chat()
    assert answer.clean
    (_, found, _), = answer.trail
    return answer.status, found


def test_provider(lab, pki, towards):
    """Goal: with its authority a provider is spoken to, plain and streamed, over one connection that is kept."""
    up = lab.upstream(actions.ok("safe"), actions.talk("a", "b"), actions.ok("again"), tls=pki.here.server())
    gateway = towards(up, {"ca": str(pki.root.cert)}, config={"workers": 1})
    assert gateway.chat().text == "safe"
    assert gateway.chat(stream=True).clean
    assert gateway.chat().text == "again"
    assert up.connections == 1 and not up.tls_failures
    assert up.requests[0].header("authorization") == "Bearer sk-provider-main"


def test_provider_by_name(lab, pki, towards):
    """Goal: the certificate has to be for the host of base_url, name or address."""
    up = lab.upstream(actions.ok(), tls=pki.here.server(), host="localhost")
    assert outcome(towards(up, {"ca": str(pki.root.cert)})) == (200, "ok")
    up = lab.upstream(actions.ok(), tls=pki.second.server(), host="localhost")
    gateway = towards(up, {"ca": str(pki.root.cert)})
    answer = gateway.chat()
    assert (answer.status, answer.trail[0][1], up.count) == (502, "tls_error", 0)
    detail = gateway.entry(answer)["attempts"][0]["detail"]  # each transport has its own words
    assert "second.test" in detail or "localhost" in detail


def test_untrusted_provider(lab, pki, towards):
    """Goal: another authority, none of ours and an expired certificate are a tls_error, before anything is sent."""
    old = Certs(pki.folder).leaf(pki.root, "old-provider", days=-1)
    for cert, tls in [(pki.here, {"ca": str(pki.stranger.cert)}), (pki.here, None), (old, {"ca": str(pki.root.cert)})]:
        up = lab.upstream(actions.ok(), tls=cert.server())
        assert outcome(towards(up, tls)) == (502, "tls_error"), (cert, tls)
        assert up.count == 0 and wait_until(lambda: up.tls_failures, "the handshake to fail")


def test_unverified_provider(lab, pki, towards):
    """Goal: verify = false takes any certificate."""
    up = lab.upstream(actions.ok(), tls=pki.second.server())
    assert outcome(towards(up, {"verify": False})) == (200, "ok")


def test_client_certificate(lab, pki, towards):
    """Goal: a provider that demands a certificate gets ours; without one it is a tls_error, not an empty answer."""
    up = lab.upstream(actions.ok(), tls=pki.here.server(demand=pki.root))
    ca = {"ca": str(pki.root.cert)}
    assert outcome(towards(up, {**ca, **pki.me.lua})) == (200, "ok")
    assert up.handshakes[0][2] == "me"
    assert outcome(towards(up, ca)) == (502, "tls_error")
    assert up.count == 1


def test_changed_client_certificate(lab, pki, towards):
    """Goal: after a reload the next connection shows the new certificate; no connection of the old one is used."""
    certs = Certs(pki.folder)
    mine = certs.leaf(pki.root, "first-me", "DNS:me.test")
    up = lab.upstream(actions.ok(), tls=pki.here.server(demand=pki.root))
    gateway = towards(up, {"ca": str(pki.root.cert), **mine.lua}, config={"workers": 1})
    assert gateway.chat().status == 200
    other = certs.leaf(pki.root, "second-me", "DNS:me.test")
    mine.cert.write_text(other.cert.read_text())
    mine.key.write_text(other.key.read_text())
    Rules(gateway).apply()
    assert gateway.chat().status == 200
    assert [h[2] for h in up.handshakes] == ["first-me", "second-me"]
    gateway.write("gateway.lua", (gateway.folder / "gateway.lua").read_text() + "\n-- the same\n")
    Rules(gateway).apply()
    assert gateway.chat().status == 200
    assert len(up.handshakes) == 2      # nothing about TLS changed: the connection serves on


def test_providers_share_nothing(lab, pki, towards):
    """Goal: two providers at one address with different TLS use connections of their own."""
    up = lab.upstream(actions.ok(), tls=pki.here.server())
    up.options = {}
    gateway = towards(up, start=False)
    config = {"workers": 1, "providers": {
        "strict": provider(base_url=up.base_url, tls={"ca": str(pki.stranger.cert)}),
        "right": provider(base_url=up.base_url, tls={"ca": str(pki.root.cert)})},
        "routes": [{"name": n, "path": f"/v1/{n}/*", "policy": "failover", "settings": {"targets": [f"{n}/m"]}}
                   for n in ("strict", "right")]}
    gateway.write_config(config)
    gateway.start()
    assert gateway.chat(target="/v1/right/chat/completions").status == 200
    answer = gateway.chat(target="/v1/strict/chat/completions")
    assert (answer.status, answer.trail[0][1]) == (502, "tls_error")
    assert up.count == 1


def test_probes(lab, pki, towards):
    """Goal: health probes use the provider's TLS: with the wrong authority it is down."""
    health = {"health": {"interval": 0.1, "down": 1}}
    up = lab.upstream(actions.ok(), tls=pki.here.server())
    gateway = towards(up, {"ca": str(pki.root.cert)}, options=health)
    wait_until(lambda: gateway.metric("moongate_probes_ok_total") > 0, "a probe to succeed")
    gateway = towards(up, {"ca": str(pki.stranger.cert)}, options=health)
    gateway.wait_log("provider main is down: .*tls_error")


def test_plain_on_a_tls_port(lab, towards):
    """Goal: a provider that speaks no TLS at its https:// address is a tls_error."""
    def plain(conn):
        conn.sock.settimeout(20)
        conn.sock.recv(1000)
        conn.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    plain.unread = True
    up = lab.upstream(plain)
    up.base_url = up.base_url.replace("http://", "https://")
    assert outcome(towards(up, {"verify": False})) == (502, "tls_error")


# ---- Proxies ----

def test_proxy(lab, pki):
    """Goal: https goes through CONNECT with the proxy's password, which the provider never sees; keys never reach the proxy."""
    up = lab.upstream(actions.ok(), actions.talk("a", "b"), tls=pki.here.server(), host="localhost")
    proxy = lab.keep(Proxy(password="user:pass/word"))
    gateway = lab.failover({"main": up}, options={"tls": {"ca": str(pki.root.cert)},
                                                   "proxy": f"http://user:pass%2Fword@{proxy.address}"})
    assert gateway.chat().status == 200
    assert gateway.chat(stream=True).clean
    assert set(proxy.asked) == {f"CONNECT localhost:{up.port}"}
    assert all("sk-provider" not in head for head in proxy.heads)
    assert all(not request.header("proxy-authorization") for request in up.requests)


def test_proxy_for_plain(lab):
    """Goal: http goes through the proxy as an absolute URL."""
    up, proxy = lab.upstream(actions.ok()), lab.keep(Proxy())
    gateway = lab.failover({"main": up}, options={"proxy": f"http://{proxy.address}"})
    assert gateway.chat().status == 200
    assert proxy.asked == [f"POST {up.base_url}/chat/completions"]


def test_proxy_that_refuses(lab, pki):
    """Goal: a wrong password, a refusal and no proxy at all are a connect_error; the password is in no log and no answer."""
    up = lab.upstream(actions.ok(), tls=pki.here.server())
    for proxy in (lab.keep(Proxy(password="user:right")), lab.keep(Proxy(refuse=503)), lab.refusing()):
        gateway = lab.failover({"main": up}, options={"tls": {"ca": str(pki.root.cert)},
                                                       "proxy": f"http://user:wrong-one@{proxy.address}"},
                               config={"log": {"level": "debug"}})
        answer = gateway.chat()
        assert (answer.status, answer.trail[0][1]) == (502, "connect_error")
        gateway.log_entries(1)
        for text in (gateway.stderr, gateway.stdout, answer.body.decode()):
            assert "wrong-one" not in text
    assert up.count == 0


def test_environment_is_ignored(lab, pki, towards):
    """Goal: proxies of the environment are not used, and no_proxy does not switch off a configured one."""
    up, proxy = lab.upstream(actions.ok(), tls=pki.here.server()), lab.keep(Proxy())
    env = {"https_proxy": f"http://{lab.refusing().address}", "ALL_PROXY": "http://127.0.0.1:1", "no_proxy": "*"}
    tls = {"ca": str(pki.root.cert)}
    assert outcome(towards(up, tls, env=env)) == (200, "ok")
    assert outcome(towards(up, tls, options={"proxy": f"http://{proxy.address}"}, env=env)) == (200, "ok")
    assert len(proxy.asked) == 1
