# SPDX-License-Identifier: MIT
"""
An HTTP proxy for tests: CONNECT, and absolute URLs for plain HTTP. Names lead where `hosts` says, else to the loopback.
"""
import base64
import socket
import threading


class Proxy:
    """Proxy(password="…"): without it in Proxy-Authorization the answer is 407. `asked`: request lines, `heads`: whole heads."""

    def __init__(self, password=None, refuse=None):
        self._password, self._refuse = password, refuse
        self.asked, self.heads = [], []
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(65536)
                if not data:
                    return
                head += data
            self._answer(sock, head)
        except OSError:
            pass
        finally:
            sock.close()

    def _answer(self, sock, head):
        text = head.decode("latin-1")
        method, target, _ = text.split("\r\n")[0].split(" ")
        self.asked.append(f"{method} {target}")
        self.heads.append(text)
        token = base64.b64encode((self._password or "").encode()).decode()
        if self._password and f"proxy-authorization: basic {token}".lower() not in text.lower():
            sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"p\"\r\n"
                         b"Content-Length: 0\r\n\r\n")
        elif self._refuse:
            sock.sendall(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\n\r\n" % self._refuse)
        else:
            port = int(target.removeprefix("http://").split("/")[0].rsplit(":", 1)[1])
            far = socket.create_connection(("127.0.0.1", port))
            self._open += [sock, far]
            if method == "CONNECT":
                sock.sendall(b"HTTP/1.1 200 Connection established\r\nX-Of-The-Proxy: 1\r\n\r\n")
            else:
                far.sendall(head)
            other = threading.Thread(target=self._pass_on, args=(far, sock), daemon=True)
            other.start()
            self._pass_on(sock, far)
            other.join()
            far.close()

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self._listener.close()
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
