# SPDX-License-Identifier: MIT
"""
A scripted provider on plain sockets.

An Upstream listens on a free port of the loopback. Each request it receives is recorded and answered
by the next action of its script; the last action repeats. An action is a function of one Call, which
sends bytes, waits and ends the connection as it likes; the functions in support/actions.py make the
usual ones. Nothing here parses answers or helps the peer: what an action sends is what goes out.
"""
import json
import os
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class PeerGone(Exception):
    """The gateway has closed its side."""


class Stopped(Exception):
    """The test is over."""


@dataclass
class Request:
    number: int            # 1-based, over all connections of the upstream
    connection: int        # 1-based number of the connection it came on
    method: str
    target: str
    version: str
    headers: list          # (name, value) in the order received
    body: bytes
    raw_head: bytes
    at: float              # monotonic time when the head was complete
    whole_at: float = 0.0  # … and the body

    def header(self, name):
        found = self.all(name)
        return found[0] if found else None

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def json(self):
        return json.loads(self.body)

    @property
    def path(self):
        return self.target.split("?", 1)[0]


@dataclass
class Connection:
    number: int
    sock: socket.socket
    opened_at: float
    closed_at: float = 0.0      # when the peer's close was noticed; 0 = not yet
    buffer: bytes = b""
    surplus: bytes = b""        # what came when nothing more was expected


@dataclass
class Call:
    """One request being answered. Methods block; they raise PeerGone or Stopped."""
    request: Request
    conn: Connection
    upstream: "Upstream"
    bytes_sent: int = 0
    events_sent: int = 0
    ended: str = ""             # kept, fin, rst, gone, stopped
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def peer_closed_at(self):
        return self.conn.closed_at

    def _poll(self, timeout, write=False):
        poller = select.poll()
        poller.register(self.conn.sock, GONE | (select.POLLOUT if write else 0))
        poller.register(self.upstream.stop_pipe[0], select.POLLIN)
        ready = dict(poller.poll(None if timeout is None else max(0, timeout) * 1000))
        if self.upstream.stop_pipe[0] in ready:
            raise Stopped()
        flags = ready.get(self.conn.sock.fileno(), 0)
        if flags & GONE:
            self._gone()
        return bool(flags & select.POLLOUT)

    def _gone(self):
        self.conn.closed_at = self.conn.closed_at or time.monotonic()
        raise PeerGone()

    def send(self, data, one_by_one=False):
        """Sends all of data, counting what the kernel took; one_by_one: a write for every byte."""
        view = memoryview(data)
        while view:
            if not self._poll(None, write=True):
                continue
            try:
                n = self.conn.sock.send(view[:1] if one_by_one else view[:262144])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except OSError:
                self._gone()
            self.bytes_sent += n
            view = view[n:]

    def event(self, data, one_by_one=False, chunked=True):
        """Sends one event, in a chunk of its own."""
        if chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.send(data, one_by_one)
        self.events_sent += 1

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._poll(left)

    def wait(self, gate):
        """Waits for a threading.Event or Semaphore that the test holds."""
        take = gate.wait if isinstance(gate, threading.Event) else None
        while not (take(0.005) if take else gate.acquire(timeout=0.005)):
            self._poll(0)

    def stall(self):
        """Says nothing more until the peer leaves."""
        while True:
            self._poll(None)

    def fin(self):
        self.ended = "fin"

    def rst(self):
        self.conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.ended = "rst"


class Upstream:
    """
    Upstream(action, …): the actions of successive calls. `on(path, action, …)` gives a path its own
    script, whose calls are counted in `calls_to(path)` and not in `calls`. With `tls`, an ssl.SSLContext, it speaks
    TLS, under the host name `host` (which has to lead here); handshakes that fail are in `tls_failures`.
    """

    def __init__(self, *script, sndbuf=None, tls=None, host="127.0.0.1"):
        self._scripts = {None: list(script)}
        self._taken = {None: 0}
        self._lock = threading.Lock()
        self._all = []              # (script key, Call)
        self._connections = []
        self._sndbuf = sndbuf
        self._tls = tls
        self.tls_failures = []
        self.handshakes = []        # (TLS version, resumed, subject of the client's certificate)
        self.unread = 0             # connections closed without being read
        self.problems = []          # what broke in the script itself
        self.stop_pipe = os.pipe()
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.base_url = f"{'https' if tls else 'http'}://{host}:{self.port}/v1"
        self._spawn(self._accept)

    def on(self, path, *script):
        with self._lock:
            self._scripts[path] = list(script)
            self._taken[path] = 0
        return self

    def script(self, *script):
        """Replaces the script of all other paths, from the next call on."""
        with self._lock:
            self._scripts[None] = list(script)
            self._taken[None] = 0

    def forget(self):
        """Empties the record of calls."""
        with self._lock:
            self._all = []

    @property
    def calls(self):
        with self._lock:
            return [call for key, call in self._all if key is None]

    def calls_to(self, path):
        with self._lock:
            return [call for key, call in self._all if key == path]

    @property
    def requests(self):
        return [call.request for call in self.calls]

    @property
    def count(self):
        return len(self.calls)

    @property
    def connections(self):
        with self._lock:
            return len(self._connections)

    @property
    def open_connections(self):
        with self._lock:
            return sum(1 for c in self._connections if not c.closed_at)

    @property
    def surplus(self):
        with self._lock:
            return b"".join(c.surplus for c in self._connections)

    def _spawn(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _wait_readable(self, sock):
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        poller.register(self.stop_pipe[0], select.POLLIN)
        if self.stop_pipe[0] in dict(poller.poll()):
            raise Stopped()

    def _accept(self):
        try:
            while True:
                self._wait_readable(self._listener)
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._sndbuf:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._sndbuf)
                with self._lock:
                    conn = Connection(len(self._connections) + 1, sock, time.monotonic())
                    self._connections.append(conn)
                self._spawn(self._serve, conn)
        except Stopped:
            pass

    def _next(self, key):
        script = self._scripts[key]
        index = min(self._taken[key], len(script) - 1)
        self._taken[key] += 1
        return script[index]

    def _take_unread(self):
        """Takes the next action when it is one that closes without reading."""
        with self._lock:
            script, taken = self._scripts[None], self._taken[None]
            if script and getattr(script[min(taken, len(script) - 1)], "unread", False):
                self.unread += 1
                return self._next(None)
        return None

    @staticmethod
    def _let_read(conn):
        """Ends so that the peer can read what was said last: with its bytes unread there would be a reset."""
        conn.sock = socket.socket(fileno=conn.sock.detach())
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.settimeout(20)
            while conn.sock.recv(65536):
                pass
        except OSError:
            pass

    def _shake(self, conn):
        """False when the handshake failed."""
        try:
            conn.sock.settimeout(20)
            conn.sock = self._tls.wrap_socket(conn.sock, server_side=True, do_handshake_on_connect=False)
            conn.sock.do_handshake()
            conn.sock.settimeout(None)
        except OSError as problem:
            self.tls_failures.append(str(problem))
            self._let_read(conn)
            return False
        peer = dict(pair for names in (conn.sock.getpeercert() or {}).get("subject", ()) for pair in names)
        self.handshakes.append((conn.sock.version(), conn.sock.session_reused, peer.get("commonName")))
        return True

    def _serve(self, conn):
        try:
            if self._tls and not self._shake(conn):
                return
            while True:
                action = self._take_unread()
                if action:
                    action(conn)
                    return
                request = self._read_request(conn)
                if request is None or not self._answer(conn, request):
                    return
        except (Stopped, PeerGone, OSError):
            pass
        except Exception as problem:     # a broken script must not look like a quiet provider
            self.problems.append(repr(problem))
        finally:
            conn.sock.close()
            conn.closed_at = conn.closed_at or time.monotonic()

    def _answer(self, conn, request):
        with self._lock:
            key = request.path if request.path in self._scripts else None
            request.number = len(self._all) + 1
            call = Call(request, conn, self)
            self._all.append((key, call))
            action = self._next(key)
        conn.sock.setblocking(False)
        try:
            action(call)
            call.ended = call.ended or "kept"
        except PeerGone:
            call.ended = "gone"
        except Stopped:
            call.ended = "stopped"
            raise
        finally:
            conn.sock.setblocking(True)
            call.finished.set()
        return call.ended == "kept"

    # Reading requests: as little as a provider needs, and strict enough to notice nonsense.

    def _more(self, conn):
        self._wait_readable(conn.sock)
        data = conn.sock.recv(262144)
        if not data:
            conn.closed_at = time.monotonic()
            raise PeerGone()
        return data

    def _until(self, conn, mark):
        while (at := conn.buffer.find(mark)) < 0:
            conn.buffer += self._more(conn)
        out, conn.buffer = conn.buffer[:at], conn.buffer[at + len(mark):]
        return out

    def _exactly(self, conn, length):
        parts, have = [conn.buffer], len(conn.buffer)
        while have < length:
            parts.append(self._more(conn))
            have += len(parts[-1])
        data = b"".join(parts)
        conn.buffer = data[length:]
        return data[:length]

    def _read_request(self, conn):
        head = self._until(conn, b"\r\n\r\n")
        at = time.monotonic()
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        request = Request(0, conn.number, method, target, version, headers, b"", head, at)
        if request.header("transfer-encoding"):
            request.body = self._chunked_body(conn)
        else:
            request.body = self._exactly(conn, int(request.header("content-length") or 0))
        request.whole_at = time.monotonic()
        conn.surplus = conn.buffer
        return request

    def _chunked_body(self, conn):
        body = []
        while size := int(self._until(conn, b"\r\n").split(b";")[0], 16):
            body.append(self._exactly(conn, size))
            self._until(conn, b"\r\n")
        while self._until(conn, b"\r\n"):
            pass
        return b"".join(body)

    def stop(self):
        os.write(self.stop_pipe[1], b"x")
        for thread in list(self._threads):
            thread.join(10)
        self._listener.close()
        for end in self.stop_pipe:
            os.close(end)
        assert not self.problems, f"the upstream's script failed: {self.problems}"


class Refusing:
    """A port that nobody listens on and that nobody else can be given meanwhile."""

    def __init__(self):
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._sock.getsockname()[1]
        self.base_url = f"http://{self.address}/v1"
        self.count = 0

    def stop(self):
        self._sock.close()


class BlackHole:
    """A port that swallows SYNs: a listener whose queue of pending connections is full."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.base_url = f"http://{self.address}/v1"
        self.count = 0
        self._fill = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self._listener.getsockname())
            self._fill.append(sock)

    def stop(self):
        for sock in self._fill + [self._listener]:
            sock.close()
