"""Who follows what happens: an endpoint for webhooks, and a mirror of the feed."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.chaos.caller import Caller, NeverAnsweredError
from tests.chaos.journal import Journal

LOOK_EVERY = 0.5
PAGE = 500

#: An event by its order and number.
Name = tuple[int, int]


class Sink:
    """Takes webhooks, unless it is told to answer 503. `received` counts each event by name."""

    def __init__(self) -> None:
        self.received: Counter[Name] = Counter()
        self.refused = 0
        self._lock = threading.Lock()
        self._status = 200
        handler = type("Handler", (_Handler,), {"sink": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="sink", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, status: int) -> None:
        self._status = status

    def take(self, body: bytes) -> int:
        """The status to answer with."""
        status = self._status
        with self._lock:
            if status != 200:
                self.refused += 1
                return status
            data = json.loads(body)["data"]
            self.received[data["order_id"], data["seq"]] += 1
        return status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A header and a body apart would wait for each other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    sink: Sink

    def do_POST(self) -> None:
        status = self.sink.take(self.rfile.read(int(self.headers["content-length"])))
        self.send_response_only(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass(slots=True)
class Mirror:
    """Reads the feed of all sources to its end, again and again. `events` are by name: (kind, status
    they led to). One that comes twice is wrong."""

    caller: Caller
    journal: Journal
    events: dict[Name, tuple[str, str | None]] = field(default_factory=dict)
    _cursor: str | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                if not self._read_page():
                    time.sleep(LOOK_EVERY)
            except NeverAnsweredError as error:
                self.journal.wrong(str(error))

    def _read_page(self) -> bool:
        """Whether there is more."""
        place = f"&cursor={self._cursor}" if self._cursor else "&since=2000-01-01T00:00:00Z"
        answer = self.caller.call("GET", f"/v1/events?limit={PAGE}{place}")
        if answer.status != 200:
            self.journal.wrong(f"the feed was answered {answer}")
            return False
        for event in answer.body["items"]:
            self._take(event)
        self._cursor = answer.body["next"]
        return bool(answer.body["more"])

    def _take(self, event: dict[str, Any]) -> None:
        name = event["order_id"], event["seq"]
        if name in self.events:
            self.journal.wrong(f"the feed told event {name} twice")
        self.events[name] = event["kind"], event["to_status"]


@dataclass(frozen=True, slots=True)
class Told:
    """What every follower has by now."""

    sink: Sink
    mirror: Mirror

    def has(self, order_id: int, up_to: int) -> bool:
        """All events of an order up to that number."""
        names = [(order_id, seq) for seq in range(1, up_to + 1)]
        return all(name in self.mirror.events and name in self.sink.received for name in names)
