"""A VIES of the tests' own: a real HTTP server that answers as the Commission's does, or is down, slow,
or lies. Shapes as the service was seen to answer; ids and numbers are made up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Asked = dict[str, str]
#: What is answered to a request: (status, headers, body).
Answer = tuple[int, dict[str, str], bytes]

JSON = {"Content-Type": "application/json"}


def told(asked: Asked, **changes: Any) -> dict[str, Any]:
    """As the service answers about a valid id."""
    return {
        "countryCode": asked["countryCode"],
        "vatNumber": asked["vatNumber"],
        "requestDate": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "valid": True,
        "requestIdentifier": "WAPIAAAAX3lU8bHe" if "requesterNumber" in asked else "",
        "name": "ACME S.A.",
        "address": "1 RUE DES TESTS\n75001 PARIS",
        "traderName": "---",
        "traderNameMatch": "NOT_PROCESSED",
        **changes,
    }


def valid(asked: Asked) -> Answer:
    return 200, JSON, json.dumps(told(asked)).encode()


def invalid(asked: Asked) -> Answer:
    return 200, JSON, json.dumps(told(asked, valid=False, name="---", address="---")).encode()


def error(code: str, status: int = 200) -> Callable[[Asked], Answer]:
    body = json.dumps({"actionSucceed": False, "errorWrappers": [{"error": code}]}).encode()
    return lambda _: (status, JSON, body)


def saying(**changes: Any) -> Callable[[Asked], Answer]:
    return lambda asked: (200, JSON, json.dumps(told(asked, **changes)).encode())


def raw(body: bytes, status: int = 200, **headers: str) -> Callable[[Asked], Answer]:
    return lambda _: (status, {**JSON, **headers}, body)


class Service:
    """Answers by `answer`; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer | None] = valid
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/rest-api"

    def never(self, _: Asked) -> None:
        """Answers nothing for as long as there is a service."""
        self.closing.wait()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(service) -> type[BaseHTTPRequestHandler]:  # noqa: N805 # the handler has its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/rest-api/check-vat-number"
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append(asked)
                answered = service.answer(asked)
                if answered is None:
                    return
                status, headers, body = answered
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                service.asked.append({})
                self.send_error(404)

            def log_message(self, *_: object) -> None: ...

        return Handler
