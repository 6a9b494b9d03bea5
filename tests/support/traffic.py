# SPDX-License-Identifier: MIT
"""
Clients that ask without a pause and count: each on a connection of its own every time, on one that is kept as long as the gateway keeps it, or
for streams. Rates are what the machine gives. What a client must not see is a failure, with its reason: a connection refused or reset, an end
without an answer, a stream that is not whole.
"""
import collections
import threading

from .client import Client, chat_body

WORDS = [f"w{n} " for n in range(12)]
TEXT = "".join(WORDS)


class Traffic:
    """`with Traffic(address, fresh=2, kept=2, streams=2) as t: …`, then t.count[kind] answers and t.failures; `tls`: an ssl.SSLContext."""

    def __init__(self, address, pause=0.002, tls=None, **clients):
        self._address, self._pause, self._tls = address, pause, tls
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.count = collections.Counter()
        self.failures = []
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True)
                         for kind, number in clients.items() for _ in range(number)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _note(self, kind, failure=None):
        with self._lock:
            self.count[kind] += failure is None
            if failure:
                self.failures.append(f"{kind}: {failure}")

    def _run(self, kind):
        ask = getattr(self, "_" + kind)
        held = None
        while not self._over.wait(self._pause):
            try:
                held = ask(held)
                self._note(kind)
            except (OSError, EOFError, AssertionError) as problem:
                held = None
                self._note(kind, f"{type(problem).__name__} {problem}")
        if held:
            held.close()

    def _client(self):
        return Client(self._address, tls=self._tls)

    def _fresh(self, _):
        """Half of them wait a little between connection and request, as clients far away do."""
        with self._client() as client:
            if self.count["fresh"] % 2:
                self._over.wait(0.005)
            client.request("GET", "/v1/models")
            answer = client.read()
            assert answer.status == 200 and answer.clean, (answer.status, answer.ended)

    def _kept(self, client):
        client = client or self._client()
        client.request("POST", "/v1/chat/completions", (), chat_body())
        answer = client.read()
        assert answer.status == 200 and answer.clean, (answer.status, answer.ended)
        if answer.header("connection") != "close":
            return client
        self._note("moved")
        client.close()
        return None

    def _streams(self, _):
        with self._client() as client:
            client.request("POST", "/v1/chat/completions", (), chat_body(True))
            answer = client.start()
            assert answer.status == 200, answer.status
            events = [event.data for event in answer.events()]
            assert answer.clean and events[-1] == "[DONE]", (answer.ended, events[-1:])
            assert all(word in "".join(events) for word in WORDS), events
