"""Endpoints that behave as they are told to, and a shop that tells them."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from pipeline.storage import webhook_deliveries, webhooks
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import webhook_deliveries as deliveries
from pipeline.storage.tables import webhook_endpoints
from pipeline.storage.webhooks import Endpoint
from pipeline.webhooks.dispatcher import Dispatcher
from pipeline.webhooks.endpoints import Webhooks
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import parse_allowed
from pipeline.webhooks.turn import Pace
from tests.support import Mill

MASTER = "a master secret that only we know"
CERTIFICATE = Path(__file__).parents[1] / "notifications" / "localhost.pem"
#: What each lying path sends for an answer, byte by byte; then it hangs up.
LIES = {
    "/garbage": b"\x00\xff\x17 this is no HTTP\r\n\r\n",
    "/hangs-up": b"",
    "/short": b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nso little",
    "/long": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok, and much more than that",
    "/bad-length": b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n",
    "/bad-chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nnope\r\n",
}


#: Seconds that a test waits for what must happen.
PATIENCE = 30.0


def until(is_so: Callable[[], Any], patience: float = PATIENCE) -> None:
    give_up = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Script:
    """What every connection shares. `answers` are statuses by path, the last one for ever."""

    received: list[Received] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    text: bytes = b"thanks"
    stalls_after: int = 0  # answers of /stalls; the next ones come when it is over
    stalled: Iterator[int] = field(default_factory=itertools.count)
    connections: set[Any] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.script.received.append(Received(self.path, headers, body))
        self.script.connections.add(self.client_address)
        with suppress(OSError):
            match self.path:
                case "/silent":
                    self.script.over.wait(20)
                    self._hang_up()  # else the client waits on, to the end of its patience
                case "/stalls":
                    self._stall()
                case "/drips":
                    self._drip(b"HTTP/1.1 200 OK\r\nx-")
                case "/drips-body":
                    self._drip(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                case "/endless":
                    self._flood()
                case path if path in LIES:
                    self.wfile.write(LIES[path])
                    self._hang_up()
                case _:
                    self._answer()

    def _answer(self) -> None:
        planned = self.script.answers.setdefault(self.path, [200])
        status = planned.pop(0) if len(planned) > 1 else planned[0]
        self.send_response(status)
        text = b"" if status == 204 else self.script.text
        for name, value in {**self.script.headers, "content-length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def _stall(self) -> None:
        if next(self.script.stalled) >= self.script.stalls_after:
            self.script.over.wait(20)
        self._answer()

    def _drip(self, beginning: bytes) -> None:
        self.wfile.write(beginning)
        while not self.script.over.wait(0.05):
            self.wfile.write(b"x")
        self._hang_up()

    def _flood(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.script.over.is_set():
            self.wfile.write(b"more " * 1000)
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the test reads what was received."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who is cut off in the middle has not failed."""


class Receiver:
    """An HTTP server, and what it received; with TLS by the certificate of localhost."""

    def __init__(self, *, tls: bool = False) -> None:
        self.script = Script()
        handler = type("Handler", (_Handler,), {"script": self.script})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    @property
    def received(self) -> list[Received]:
        return self.script.received

    def to(self, path: str) -> list[Received]:
        return [each for each in self.received if each.path == path]

    def close(self) -> None:
        self.script.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def secure_receiver() -> Iterator[Receiver]:
    made = Receiver(tls=True)
    yield made
    made.close()


class Teller:
    """A shop with endpoints; a dispatcher that is turned by the test's hand."""

    def __init__(self, shop: Mill, *, allow: str = "127.0.0.1, localhost", limit: float = 10.0):
        self.shop = shop
        self.webhooks = Webhooks(Signer(MASTER), parse_allowed(allow))
        self.pace = Pace(look=0.05, limit=limit)
        self.tls = ssl.create_default_context(cafile=str(CERTIFICATE))

    @property
    def database(self) -> Database:
        return self.shop.database

    def dispatcher(self) -> Dispatcher:
        hooks = self.webhooks
        return Dispatcher(self.database, hooks.signer, hooks.allowed, pace=self.pace, tls=self.tls)

    def impatient(self, limit: float = 0.5) -> Teller:
        """It waits no longer than that for an answer."""
        self.pace = replace(self.pace, limit=limit)
        return self

    def endpoint(self, url: str, *types: str, source: str | None = None, **options: Any) -> str:
        """Make an endpoint; told of what is confirmed, if nothing else is said."""
        source_id = self.shop.source.id if source is None else self.source_id(source)
        with self.database.transaction() as tx:
            made = self.webhooks.create(
                tx, source_id, url, "test", types=types or ["order.confirmed"], **options
            )
        return made.id

    def source_id(self, name: str) -> int:
        [row] = self.shop.query("SELECT id FROM sources WHERE name = :name", name=name)
        return int(row.id)

    def deliver(self) -> None:
        """All that is due now, and no more."""
        dispatcher = self.dispatcher()
        dispatcher.deliver()
        dispatcher.stop(0)

    def let_time_pass(self) -> None:
        """As if the time of every retry had come, and endpoints had rested."""
        with self.database.transaction() as tx:
            tx.execute(
                update(deliveries).where(deliveries.c.state == "pending").values(due_at=now())
            )
            tx.execute(update(webhook_endpoints).values(rest_until=None))

    def kept(self, endpoint_id: str) -> Endpoint:
        with self.database.snapshot() as tx:
            return webhooks.one(tx, endpoint_id)

    def log(self, endpoint_id: str) -> list[dict[str, Any]]:
        """Its deliveries, the oldest first, each with its attempts under `log`."""
        with self.database.snapshot() as tx:
            found = webhook_deliveries.page(tx, endpoint_id, most=1000)
            return [webhook_deliveries.one(tx, endpoint_id, d["id"]) for d in reversed(found)]

    def states(self, endpoint_id: str) -> list[str]:
        return [delivery["state"] for delivery in self.log(endpoint_id)]

    def confirmed(self, orders: int = 1) -> list[int]:
        """Orders that are placed and confirmed."""
        made = [self.shop.accept() for _ in range(orders)]
        self.shop.turn()
        return made


@pytest.fixture
def teller(mill: Callable[..., Mill]) -> Teller:
    return Teller(mill().stocked(units=10_000))
