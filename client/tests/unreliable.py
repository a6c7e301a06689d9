"""A proxy before the API that is as bad as networks are, and worse."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal[
    "none",
    "cut before",  # the connection is cut; the API was not asked
    "cut after",  # it was asked, and did what it was asked; nobody hears of it
    "cut within",  # half of the answer comes
    "away",  # 503 with Retry-After; not asked
    "away after",  # 502, in HTML; asked all the same
    "away for long",  # 503, and it will be for ten minutes; not asked
    "too many",  # 429
    "slow",  # asked, and answered when the client has long hung up
]
#: Of 26 requests in a row, 11 go well.
BAD: Sequence[Fault] = (
    "none", "cut after", "cut before", "none", "away after", "none", "cut within", "too many",
    "none", "away", "slow", "cut after", "none",
    "none", "cut before", "away after", "none", "cut after", "none", "away", "cut within",
    "none", "too many", "none", "cut after", "none",
)  # fmt: skip


class Unreliable:
    """The proxy at `url`. `happened` counts the faults; `only`: what happens to whatever comes, until
    it is None."""

    def __init__(self, upstream: str, faults: Sequence[Fault], slow: float) -> None:
        self.happened = Counter[Fault]()
        self.only: Fault | None = None
        self.slow = slow
        self.stopping = threading.Event()
        self._upstream = urlsplit(upstream).netloc
        self._faults = itertools.cycle(faults)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._serving.start()

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()

    def next_fault(self) -> Fault:
        with self._lock:
            fault: Fault = self.only or next(self._faults)
            self.happened[fault] += 1
            return fault

    def forward(self, method: str, path: str, headers: Any, body: bytes) -> Any:
        """What the API answers: status, headers, body."""
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        kept = {name: value for name, value in headers.items() if name.lower() != "connection"}
        connection.request(method, path, body, {**kept, "Connection": "close"})
        answer = connection.getresponse()
        read = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return read

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are written apart

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with suppress(OSError):  # the client has hung up
                    self._answer(body, proxy.next_fault())

            do_GET = do_POST  # noqa: N815

            def _answer(self, body: bytes, fault: Fault) -> None:
                if fault == "cut before":
                    self._cut()
                elif fault == "away":
                    self._reply(503, [("Retry-After", "0")], b"{}")
                elif fault == "away for long":
                    self._reply(503, [("Retry-After", "600")], b"{}")
                elif fault == "too many":
                    self._reply(429, [("Retry-After", "0")], b"{}")
                else:
                    answer = proxy.forward(self.command, self.path, self.headers, body)
                    self._spoil(fault, *answer)

            def _spoil(self, fault: Fault, status: int, headers: Any, body: bytes) -> None:
                if fault == "cut after":
                    self._cut()
                elif fault == "away after":
                    self._reply(502, [], b"<html>Bad gateway</html>")
                elif fault == "cut within":
                    self._reply(status, headers, body, cut=True)
                elif fault == "slow":
                    proxy.stopping.wait(proxy.slow)
                    self._cut()
                else:
                    self._reply(status, headers, body)

            def _reply(self, status: int, headers: Any, body: bytes, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)
                if cut:
                    self._cut()

            def _cut(self) -> None:
                self.close_connection = True

            def log_message(self, *_: Any) -> None: ...

        return Handler


@contextmanager
def unreliable(
    upstream: str, faults: Sequence[Fault] = BAD, slow: float = 0.5
) -> Iterator[Unreliable]:
    proxy = Unreliable(upstream, faults, slow)
    try:
        yield proxy
    finally:
        proxy.close()
