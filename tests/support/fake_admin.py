# SPDX-License-Identifier: MIT
"""
An admin API that answers what a test says: for answers that a real gateway gives seldom (a change by somebody else between
two calls) or never (terminal sequences, no JSON, another version of the API).
"""
import http.server
import json
import threading


class FakeAdmin:
    """
    answers: {"GET /admin/status": answer}, an answer being a JSON value, or (status, value[, headers]), or a list of
    these, the last of which repeats. A value that is bytes goes out as it is.
    """

    def __init__(self, answers):
        self.answers = {call: list(a) if isinstance(a, list) else [a] for call, a in answers.items()}
        self.requests = []  # (call, headers, body)
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_call(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                call = f"{self.command} {self.path}"
                fake.requests.append((call, {k.lower(): v for k, v in self.headers.items()}, body))
                status, value, headers = fake._answer(call)
                text = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
                self.send_response(status)
                for name, field in {"Content-Type": "application/json", "Content-Length": len(text), **headers}.items():
                    self.send_header(name, str(field))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = handle_call

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _answer(self, call):
        queue = self.answers.get(call)
        if not queue:
            return 404, {"error": {"code": "unknown_path", "message": f"no answer for {call}"}}, {}
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if not isinstance(answer, tuple):
            return 200, answer, {}
        return answer if len(answer) == 3 else (*answer, {})

    def sent(self, call):
        """The headers and JSON of the only request of this kind."""
        (_, headers, body), = [r for r in self.requests if r[0] == call]
        return headers, json.loads(body) if body else None

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
