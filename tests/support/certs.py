# SPDX-License-Identifier: MIT
"""
Certificates for tests, made by the openssl command (which Debian's ca-certificates brings): authorities and what
they sign, as files, and the contexts of Python's ssl that go with them.
"""
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cert:
    cert: Path      # PEM, with its private key in `key`
    key: Path

    @property
    def lua(self):
        """As a configuration names it."""
        return {"cert": str(self.cert), "key": str(self.key)}

    def server(self, demand=None):
        """A server's context; `demand`: the authority whose certificate a client must show."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if demand:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(demand.cert)
        return context

    def client(self):
        """A client's context that trusts this authority and nothing else."""
        return ssl.create_default_context(cafile=self.cert)


def _openssl(*words):
    run = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


class Certs:
    """Certs(folder): authorities by `ca(name)`, certificates by `leaf(ca, name, "DNS:a.test", …)`."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def _files(self, name):
        return Cert(self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def ca(self, name):
        made = self._files(name)
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                 "-subj", f"/CN={name}", "-keyout", made.key, "-out", made.cert)
        return made

    def leaf(self, ca, name, *names, days=30):
        """days < 0: expired; the certificate's own names are "DNS:…" and "IP:…"."""
        made = self._files(name)
        request, extra = made.cert.with_suffix(".csr"), made.cert.with_suffix(".ext")
        extra.write_text(f"subjectAltName={','.join(names or ('DNS:localhost', 'IP:127.0.0.1'))}\n")
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial",
                 "-days", days, "-extfile", extra, "-out", made.cert)
        return made
