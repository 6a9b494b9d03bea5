# SPDX-License-Identifier: MIT
"""
Checks the signatures of requests as AWS does it (Signature Version 4 in a header), from AWS's description of it:
for scripted upstreams that stand for Bedrock.
"""
import calendar
import hashlib
import hmac
import time
from urllib.parse import quote

from . import actions


class Wrong(Exception):
    """name: of AWS's exception."""

    def __init__(self, name, message):
        super().__init__(message)
        self.name = name


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _parse(authorization):
    """The parts of "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…"."""
    kind, _, rest = authorization.partition(" ")
    if kind != "AWS4-HMAC-SHA256":
        raise Wrong("IncompleteSignatureException", f"not signed: {kind}")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    return parts["Credential"], parts["SignedHeaders"].split(";"), parts["Signature"]


def _canonical(request, names):
    path, _, query = request.target.partition("?")
    pairs = sorted(tuple(pair.partition("=")[::2]) for pair in query.split("&")) if query else []
    lines = [request.method, quote(path, safe="/~-._"), "&".join("=".join(pair) for pair in pairs)]
    for name in names:
        values = request.all(name)
        if not values:
            raise Wrong("SignatureDoesNotMatch", f"{name} is signed, and not sent")
        lines.append(name + ":" + ",".join(" ".join(value.split()) for value in values))
    lines += ["", ";".join(names), hashlib.sha256(request.body).hexdigest()]
    return "\n".join(lines)


class Keys:
    """An account's keys; check() raises Wrong for a request that AWS would not take."""

    def __init__(self, access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                 session_token=None, region="us-east-1", service="bedrock", now=time.time):
        self.access_key, self.secret_key, self.session_token = access_key, secret_key, session_token
        self.region, self.service, self.now = region, service, now

    @property
    def config(self):
        """As providers.*.aws."""
        return {"access_key": self.access_key, "secret_key": self.secret_key, "region": self.region,
                **({"session_token": self.session_token} if self.session_token else {})}

    def signature(self, request, stamp, names):
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        digest = hashlib.sha256(_canonical(request, names).encode()).hexdigest()
        key = ("AWS4" + self.secret_key).encode()
        for part in scope.split("/"):
            key = _hmac(key, part)
        return _hmac(key, "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])).hex()

    def _check_time(self, stamp):
        signed = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
        if abs(signed - self.now()) > 300:
            raise Wrong("InvalidSignatureException", f"Signature expired: {stamp} is now earlier than allowed")

    def check(self, request):
        credential, names, signature = _parse(request.header("authorization") or "")
        stamp = request.header("x-amz-date") or ""
        if request.header("x-amz-security-token") != self.session_token:
            raise Wrong("UnrecognizedClientException", "The security token included in the request is invalid.")
        if credential != f"{self.access_key}/{stamp[:8]}/{self.region}/{self.service}/aws4_request":
            raise Wrong("UnrecognizedClientException", "The security token included in the request is invalid.")
        must = {"host"} | {name.lower() for name, _ in request.headers if name.lower().startswith("x-amz-")}
        if names != sorted(names) or not must <= set(names):
            raise Wrong("SignatureDoesNotMatch", f"signed are {names}, not all of {sorted(must)}")
        self._check_time(stamp)
        if not hmac.compare_digest(self.signature(request, stamp, names), signature):
            raise Wrong("InvalidSignatureException", "The request signature we calculated does not match the "
                        f"signature you provided. {self.secret_key}")


def refuse(name, message, status=403):
    """An error as Bedrock says it."""
    return actions.answer(status, {"message": message}, headers={"x-amzn-ErrorType": name + ":http://internal.example/"})


def signed(keys, action):
    """The action, for requests that are signed with the keys."""
    def act(call):
        try:
            keys.check(call.request)
        except Wrong as wrong:
            refuse(wrong.name, str(wrong))(call)
        else:
            action(call)
    return act
