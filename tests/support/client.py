# SPDX-License-Identifier: MIT
"""
A raw HTTP/1.1 client that shows what other clients hide: each chunk as it came, whether an answer
ended cleanly, was cut or was reset, interim answers, and requests that are wrong on purpose.
"""
import json
import re
import socket
import struct
import time
import weakref
from dataclasses import dataclass, field

from .waiting import PATIENCE

EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass
class Event:
    """One event of an event stream."""
    raw: bytes
    at: float

    def _field(self, name):
        lines = re.split(r"\r\n|\n|\r", self.raw.decode())
        return [line[len(name) + 1:].removeprefix(" ") for line in lines if line.startswith(name + ":")]

    @property
    def data(self):
        return "\n".join(self._field("data"))

    @property
    def name(self):
        return "".join(self._field("event")[-1:])

    @property
    def done(self):
        return self.data == "[DONE]"

    @property
    def error(self):
        """The error object, when this is an error event."""
        try:
            value = json.loads(self.data)
        except ValueError:
            return None
        return value.get("error") if isinstance(value, dict) else None


@dataclass
class Response:
    client: "Client"
    status: int
    reason: str
    version: str
    headers: list
    framing: str                 # none, length, chunked, close
    started_at: float
    interim: list = field(default_factory=list)    # statuses of the 1xx answers before it
    body: bytearray = field(default_factory=bytearray)   # what has been read so far
    chunks: list = field(default_factory=list)
    ended: str = ""              # "" = not yet; clean, cut, reset
    ended_at: float = 0.0
    _scanned: int = 0
    _left: int = 0

    def header(self, name):
        found = self.all(name)
        return found[0] if found else None

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def json(self):
        return json.loads(self.body)

    @property
    def clean(self):
        return self.ended == "clean"

    @property
    def text(self):
        """The content of a completion."""
        return self.json()["choices"][0]["message"]["content"]

    @property
    def trail(self):
        """x-moongate-attempts as a list of (target, outcome, status)."""
        value = self.header("x-moongate-attempts")
        out = []
        for item in (value or "").split(","):
            if item:
                target, rest = item.strip().rsplit("=", 1)
                outcome, status, ms = rest.split(":")
                assert re.fullmatch(r"\d+ms", ms), value
                out.append((target, outcome, int(status)))
        return out

    def _end(self, how):
        self.ended, self.ended_at = how, time.monotonic()
        return b""

    def chunk(self):
        """The next piece of the body as it arrived; b"" once it has ended (see .ended)."""
        if self.ended:
            return b""
        try:
            data = getattr(self, "_chunk_" + self.framing)()
        except ConnectionResetError:
            return self._end("reset")
        except EOFError:
            return self._end("clean" if self.framing == "close" else "cut")
        if data:
            self.body += data
            self.chunks.append(data)
        return data

    def _chunk_none(self):
        return self._end("clean")

    def _chunk_close(self):
        return self.client.some()

    def _chunk_length(self):
        if not self._left:
            return self._end("clean")
        data = self.client.some(self._left)
        self._left -= len(data)
        return data

    def _chunk_chunked(self):
        size = int(self.client.line(), 16)
        if size == 0:
            while self.client.line():
                pass
            return self._end("clean")
        data = self.client.exactly(size)
        if self.client.exactly(2) != b"\r\n":
            raise AssertionError("chunk without its end")
        return data

    def rest(self):
        """Reads the body to its end, however it ends."""
        while not self.ended:
            self.chunk()
        return self

    def next_event(self):
        """The next event of a stream, or None when it has ended."""
        while True:
            found = EVENT_END.search(self.body, self._scanned)
            if found:
                raw = self.body[self._scanned:found.end()]
                self._scanned = found.end()
                return Event(raw, time.monotonic())
            if self.ended:
                return None
            self.chunk()

    def events(self):
        """All events still to come."""
        out = []
        while (event := self.next_event()) is not None:
            out.append(event)
        return out


OPEN = weakref.WeakSet()    # clients that nobody has closed yet


def close_all():
    """Closes what tests have left open, also under threads that still read from it."""
    for client in list(OPEN):
        try:
            client.sock.shutdown(socket.SHUT_RDWR)
        except OSError:     # it was never connected, or the gateway has gone
            pass
        client.close()


class Client:
    """One connection to the gateway; `tls`: an ssl.SSLContext, `name`: who the gateway has to be."""

    def __init__(self, address, timeout=PATIENCE, rcvbuf=None, tls=None, name=None):
        host, port = address.rsplit(":", 1)
        self.host = address
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect((host, int(port)))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name or host)
        self._buffer = b""
        OPEN.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Sending.

    def send(self, data):
        """Sends what can be sent: the gateway may refuse and close before it has read everything."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def request_bytes(self, method, target, headers=(), body=None, chunked=False):
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        names = {n.lower() for n, _ in fields}
        if "host" not in names:
            fields.insert(0, ("Host", self.host))
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            if "content-type" not in names:
                fields.append(("Content-Type", "application/json"))
        if chunked:
            fields.append(("Transfer-Encoding", "chunked"))
            step = 65536
            parts = [body[i:i + step] for i in range(0, len(body), step)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
        elif body is not None and "content-length" not in names:
            fields.append(("Content-Length", len(body)))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n"
        return head.encode("latin-1") + (body or b"")

    def request(self, *args, **kwargs):
        """Sends a request; arguments of request_bytes."""
        return self.send(self.request_bytes(*args, **kwargs))

    # Reading.

    def _fill(self):
        data = self.sock.recv(262144)
        if not data:
            raise EOFError()
        self._buffer += data

    def line(self):
        while (at := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        out, self._buffer = self._buffer[:at], self._buffer[at + 2:]
        return out

    def exactly(self, length):
        while len(self._buffer) < length:
            self._fill()
        out, self._buffer = self._buffer[:length], self._buffer[length:]
        return out

    def some(self, most=1 << 30):
        if not self._buffer:
            self._fill()
        out, self._buffer = self._buffer[:most], self._buffer[most:]
        return out

    def start(self, head_request=False):
        """Reads an answer's head. EOFError or ConnectionResetError when there is none."""
        interim = []
        while True:
            version, status, *reason = self.line().decode("latin-1").split(" ", 2)
            started = time.monotonic()
            headers = []
            while line := self.line():
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name, value.strip()))
            if int(status) >= 200:
                break
            interim.append(int(status))
        low = {n.lower(): v for n, v in headers}
        if head_request or int(status) in (204, 304):
            framing = "none"
        elif "transfer-encoding" in low:
            assert low["transfer-encoding"].lower() == "chunked" and "content-length" not in low, headers
            framing = "chunked"
        else:
            framing = "length" if "content-length" in low else "close"
        return Response(self, int(status), "".join(reason), version, headers, framing, started, interim,
                        _left=int(low.get("content-length", 0)))

    def read(self, head_request=False):
        """Reads a whole answer, to whichever end it comes."""
        return self.start(head_request).rest()

    def at_end(self):
        """Reads on; True when the gateway closes (or resets) without another byte."""
        try:
            self._fill()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def close(self):
        OPEN.discard(self)
        self.sock.close()

    def abort(self):
        """Leaves with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def chat_body(stream=False, model="m", **fields):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
    if stream:
        body["stream"] = True
    return body


def call(address, method="POST", target="/v1/chat/completions", headers=(), body=None, tls=None, **more):
    """One request on a connection of its own, answer read to its end."""
    with Client(address, tls=tls) as client:
        started = time.monotonic()
        response = client.request(method, target, headers, body, **more).read(method == "HEAD")
        response.elapsed = time.monotonic() - started
        return response


def assert_openai_error(response, status=None, code=None):
    """The answer is an error of the OpenAI shape; returns the error object."""
    if status is not None:
        assert response.status == status, (response.status, response.body)
    assert response.clean, response.ended
    assert (response.header("content-type") or "").startswith("application/json"), response.headers
    error = response.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and error["type"]
    if code is not None:
        assert error["code"] == code, error
    return error
