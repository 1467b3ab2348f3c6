"""A proxy that misbehaves, before an S3 server: refuses, resets, truncates, damages and delays as it is told to.

It passes every header on as it came, Host included, so that signatures stay valid.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ANSWERS = {
    "SlowDown": (503, "Please reduce your request rate."),
    "InternalError": (500, "We encountered an internal error."),
    "ExpiredToken": (400, "The provided token has expired."),
    "SignatureDoesNotMatch": (403, "The request signature we calculated does not match."),
    "AccessDenied": (403, "Access Denied"),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
}
"""What an S3 server says, by its code: HTTP status and message."""
SPOILED = ("reset", "lost answer", "break off", "too short", "damage", "another ETag", "drip")
"""Faults of an answer: the connection is reset instead of it, before or after the server has done what was asked, or
after half of its body; half of the body comes as if it were all; a byte of it, each time elsewhere, is another; its
ETag is no MD5 of it; it comes in ten parts with pauses between them."""


@dataclass(frozen=True)
class Request:
    """A request that came: how many there were before, its method, path and query, and whose client it is of."""

    number: int
    method: str
    path: str
    query: str
    agent: str = ""


Decide = Callable[[Request], str | None]
"""Says which fault a request meets: a key of `ANSWERS`, one of `SPOILED`, or none."""


@dataclass
class FaultyProxy:
    """A running proxy.

    Attributes
    ----------
    decide
        May be replaced at any time.
    met
        The fault that each request met, in their order.
    """

    endpoint_url: str
    decide: Decide = field(default=lambda _: None)
    met: list[str | None] = field(default_factory=list)

    def reset(self, decide: Decide) -> None:
        """Forget what was met, and misbehave otherwise from now on."""
        self.met.clear()
        self.decide = decide


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """Run a proxy before the server at ``upstream``, on a port of its own of this machine."""
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def pass_on(self) -> None:
            """Answer a request as it is decided."""
            sent = self._sent()
            path, _, query = self.path.partition("?")
            with counting:
                fault = proxy.decide(
                    Request(len(proxy.met), self.command, path, query, self.headers["User-Agent"] or "")
                )
                proxy.met.append(fault)
            if fault in ANSWERS:
                self._refuse(fault)
            elif fault == "reset":
                self._break()
            else:
                self._answer(sent, fault)

        def _sent(self) -> bytes:
            """The body of the request; pyarrow's come in chunks."""
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while length := int(self.rfile.readline().partition(b";")[0], 16):
                chunks.append(self.rfile.read(length))
                self.rfile.readline()
            while self.rfile.readline().strip():  # what trails
                pass
            return b"".join(chunks)

        def _refuse(self, code: str) -> None:
            status, message = ANSWERS[code]
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def _answer(self, sent: bytes, fault: str | None) -> None:
            server = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=60)
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect", "transfer-encoding"}:
                    server.putheader(name, value)
            if "Transfer-Encoding" in self.headers:
                server.putheader("Content-Length", str(len(sent)))
            server.endheaders(sent)
            answer = server.getresponse()
            body = answer.read()
            if fault == "lost answer":
                server.close()
                return self._break()
            half = body[: len(body) // 2]
            if fault == "too short":
                body = half
            elif fault == "damage" and body:
                at = random.randrange(len(body))
                body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                    is_odd = fault == "another ETag" and name.lower() == "etag"
                    self.send_header(name, f'"{"0123456789abcdef" * 2}"' if is_odd else value)
            announced = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
            if announced is not None:
                self.send_header("Content-Length", announced)
            self.end_headers()
            server.close()
            if fault == "break off":
                self.wfile.write(half)
                self._break()
            elif fault == "drip":
                for start in range(0, len(body), -(-len(body) // 10) or 1):
                    self.wfile.write(body[start : start + (-(-len(body) // 10) or 1)])
                    time.sleep(0.02)
            else:
                self.wfile.write(body)

        def _break(self) -> None:
            """Reset the connection, without the goodbye of TCP."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.pass_on)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Connections that this proxy or its client breaks are no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        server.shutdown()
