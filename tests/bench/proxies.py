# SPDX-License-Identifier: MIT
"""
The proxies that are compared: each a process with one worker in front of the same provider, its configuration as users would write it.

HAProxy forwards and changes nothing. nginx changes the model in Lua as its users do: the body is read, decoded with cjson and encoded again.
Moongate changes the model by its failover policy.
"""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent

HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    option http-no-delay
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend in
    bind 127.0.0.1:{port}{tls}
    default_backend out
backend out
    server upstream 127.0.0.1:{upstream}
"""

NGINX = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 1m;
    client_max_body_size 64m;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    init_by_lua_block {{ cjson = require "cjson" }}
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port}{tls}
        location / {{
            access_by_lua_block {{
                ngx.req.read_body()
                local body = cjson.decode(ngx.req.get_body_data())
                body.model = "bench-model"
                ngx.req.set_body_data(cjson.encode(body))
            }}
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer sk-bench";
            proxy_buffering off;
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """A proxy's process. What it used of the CPU is the sum over its threads and its children's."""

    def __init__(self, name, command, port=None, env=None, folder=None):
        self.name = name
        log = open(folder / f"{name}.log", "w+")
        self.process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=log)
        self.log = pathlib.Path(log.name)
        self.port = port or self.wait(self.announced)
        self.wait(self.accepts)

    def wait(self, condition):
        end = time.monotonic() + 60
        while not (value := condition()):
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"bench: {self.name} did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        return value

    def announced(self):
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text())
        return found and int(found[1])

    def accepts(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def processes(self):
        """The process and its children: the one that serves is the last."""
        main = self.process.pid
        return [main, *map(int, pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split())]

    def cpu(self):
        total = 0
        for pid in self.processes():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss(self):
        """Of the process that serves, in bytes."""
        status = pathlib.Path(f"/proc/{self.processes()[-1]}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def certificate(folder):
    """A self-signed certificate with its key: the folder's cert.pem, key.pem, and both.pem for HAProxy."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")], check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return folder


def moongate(binary, upstream, folder, prefix=(), env=None, certificate=None, name="moongate"):
    config = HERE / "gateway.lua"
    if certificate:
        text, config = config.read_text(), certificate / "gateway.lua"
        config.write_text(text.replace('env("LISTEN")', '{ { address = env("LISTEN"), tls = { cert = "cert.pem", key = "key.pem" } } }', 1))
    return Proxy(name, [*prefix, binary, "serve", "-c", str(config)], folder=folder,
                 env={"LISTEN": "127.0.0.1:0", "UPSTREAM": f"http://127.0.0.1:{upstream}/v1", **(env or {})})


def haproxy(upstream, folder, prefix=(), certificate=None):
    """None where it is not installed."""
    binary, port, config = find("haproxy"), free_port(), folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, upstream=upstream, tls=f" ssl crt {certificate}/both.pem" if certificate else ""))
    return binary and Proxy("haproxy", [*prefix, binary, "-db", "-f", str(config)], port, folder=folder)


def nginx(upstream, folder, certificate=None):
    """None where it, or its Lua module, is not installed."""
    binary, modules = find("nginx"), pathlib.Path("/usr/lib/nginx/modules")
    if not binary or not (modules / "ngx_http_lua_module.so").exists():
        return None
    port, config = free_port(), folder / "nginx.conf"
    tls = f" ssl; ssl_certificate {certificate}/cert.pem; ssl_certificate_key {certificate}/key.pem;" if certificate else ";"
    config.write_text(NGINX.format(port=port, upstream=upstream, folder=folder, modules=modules, user="user root;" if os.getuid() == 0 else "", tls=tls))
    return Proxy("nginx", [binary, "-p", str(folder), "-c", str(config), "-e", "stderr"], port, folder=folder)


@contextlib.contextmanager
def provider(tools, rate):
    """upstream.c with streams of so many events a second; its port."""
    process = subprocess.Popen([str(tools / "upstream"), str(rate)], stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(proxies):
    """The proxies that there are; ends them."""
    there = [p for p in proxies if p]
    try:
        yield there
    finally:
        for proxy in reversed(there):
            proxy.stop()
