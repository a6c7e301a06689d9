"""Webhooks, posted to a real HTTP server, verified with the library that receivers use."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.errors import ConfigurationError
from pipeline.notifications.message import Delivered, Failed, Notification
from pipeline.notifications.webhook import WebhookSender, derive_secret

MASTER = "a master secret that only we know"
SECRET = derive_secret(MASTER, "web")


class Endpoint(ThreadingHTTPServer):
    """Answers as its path says (/200, /500, /302, /silent, /drip) and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((dict(self.headers), body))
        self.server.connections.add(self.client_address)
        match self.path:
            case "/silent":
                self.server.closing.wait(10)
            case "/drip":
                self._drip()
            case "/302":
                self._answer(302, {"location": self.server.url("/200")})
            case status:
                self._answer(int(status[1:]), {})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        body = b"thanks, a little text" if status != 204 else b""
        self.send_response(status)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b".")
            if self.server.closing.wait(0.05):
                return

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the tests read what was received."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def webhook(url: str, id_: str = "msg_42_confirmed", **payload: Any) -> Notification:
    data = {"order_id": 42, "external_id": "web-1001"} | payload
    return Notification(id_, 42, "web", "webhook", "order.confirmed", url, data)


@pytest.fixture
def sender() -> WebhookSender:
    return WebhookSender(MASTER, timeout=0.5)


def test_a_webhook_is_signed_as_its_receiver_verifies(
    endpoint: Endpoint, sender: WebhookSender
) -> None:
    """A receiver with its source's secret verifies id, time and body, and reads what happened."""
    results = list(sender.send([webhook(endpoint.url("/200"), customer_name="Ada Łovelace")]))

    assert results == [Delivered()]
    ((headers, body),) = endpoint.received
    event = Webhook(SECRET).verify(body, headers)
    assert event["type"] == "order.confirmed"
    assert event["data"] == {
        "order_id": 42,
        "external_id": "web-1001",
        "customer_name": "Ada Łovelace",
    }
    age = datetime.now(UTC) - datetime.fromisoformat(event["timestamp"])
    assert timedelta(0) <= age < timedelta(seconds=5)
    assert headers["webhook-id"] == "msg_42_confirmed"
    assert headers["content-type"] == "application/json"


def test_a_repeated_webhook_keeps_its_id(endpoint: Endpoint, sender: WebhookSender) -> None:
    """What is delivered twice can be told by its id."""
    for _ in range(2):
        list(sender.send([webhook(endpoint.url("/500"))]))

    assert [headers["webhook-id"] for headers, _ in endpoint.received] == ["msg_42_confirmed"] * 2


def test_a_forged_webhook_is_refused(endpoint: Endpoint, sender: WebhookSender) -> None:
    """A changed body, or the secret of another source, doesn't verify."""
    list(sender.send([webhook(endpoint.url("/200"))]))
    ((headers, body),) = endpoint.received

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"web-1001", b"web-6666"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(derive_secret(MASTER, "marketplace")).verify(body, headers)


def test_an_old_webhook_is_refused(endpoint: Endpoint, sender: WebhookSender) -> None:
    """A recorded webhook can't be played again later, nor its time changed."""
    list(sender.send([webhook(endpoint.url("/200"))]))
    ((headers, body),) = endpoint.received
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    old = headers | {"webhook-timestamp": str(int(an_hour_ago.timestamp()))}
    signed = Webhook(SECRET).sign(headers["webhook-id"], an_hour_ago, body.decode())

    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(body, old | {"webhook-signature": signed})
    recent = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 60)}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, recent)


def test_each_source_has_a_secret_of_its_own() -> None:
    """Secrets are derived: stable for a source, different between sources and masters."""
    assert derive_secret(MASTER, "web") == SECRET
    assert derive_secret(MASTER, "marketplace") != SECRET
    assert derive_secret("another master", "web") != SECRET
    assert SECRET.startswith("whsec_")
    assert len(base64.b64decode(SECRET.removeprefix("whsec_"), validate=True)) == 32


def test_an_empty_master_secret_is_refused() -> None:
    """Without a secret anyone could sign, so the deployer is told."""
    with pytest.raises(ConfigurationError, match="empty secret"):
        WebhookSender("")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_delivered(endpoint: Endpoint, sender: WebhookSender, status: int) -> None:
    """The receiver may choose among the ways to say yes."""
    assert list(sender.send([webhook(endpoint.url(f"/{status}"))])) == [Delivered()]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "400 Bad Request"),
        (410, "410 Gone"),
        (500, "500 Internal Server Error"),
        (503, "503 Service Unavailable"),
        (599, "599"),
    ],
)
def test_anything_else_failed(
    endpoint: Endpoint, sender: WebhookSender, status: int, words: str
) -> None:
    """An error of the receiver fails that webhook, not the next, and is told."""
    results = list(
        sender.send([webhook(endpoint.url(f"/{status}")), webhook(endpoint.url("/200"))])
    )

    assert results == [Failed(f"127.0.0.1 answered {words}"), Delivered()]


def test_a_redirect_is_not_followed(endpoint: Endpoint, sender: WebhookSender) -> None:
    """A signed order goes where the operator said, and nowhere else."""
    (result,) = sender.send([webhook(endpoint.url("/302"))])

    assert result == Failed(
        "127.0.0.1 answered 302 Found; redirects are not followed, set the URL it leads to"
    )
    assert len(endpoint.received) == 1


def test_a_silent_endpoint_is_given_up_and_the_rest_is_not_tried(
    endpoint: Endpoint, sender: WebhookSender
) -> None:
    """One time-out is enough to know that an endpoint is away."""
    began = time.monotonic()

    first, second = sender.send([webhook(endpoint.url("/silent"))] * 2)

    assert first == Failed("no answer: timed out")
    assert second == Failed("not tried, as the endpoint is away: no answer: timed out")
    assert time.monotonic() - began < 2


def test_a_body_that_never_ends_is_not_waited_for(
    endpoint: Endpoint, sender: WebhookSender
) -> None:
    """The status says it was delivered; an answer that drips on for a minute is cut off."""
    began = time.monotonic()

    results = list(sender.send([webhook(endpoint.url("/drip"))]))

    assert results == [Delivered()]
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "ftp://127.0.0.1/", "not a URL", "http://[", "http://a\nb/", ""],
)
def test_a_url_that_can_not_be_reached_fails_in_words(sender: WebhookSender, url: str) -> None:
    """A closed port or a mistyped URL is a result, never an exception."""
    (result,) = sender.send([webhook(url)])

    assert isinstance(result, Failed)
    assert result.error


@pytest.mark.parametrize("id_", ["msg\r\nx-admin: yes", "mßg"])
def test_an_id_can_not_make_headers(endpoint: Endpoint, sender: WebhookSender, id_: str) -> None:
    """An id with a line break, or none that a header can carry, is not sent."""
    (result,) = sender.send([webhook(endpoint.url("/200"), id_=id_)])

    assert isinstance(result, Failed)
    assert endpoint.received == []


def test_what_json_can_not_say_fails_in_words(endpoint: Endpoint, sender: WebhookSender) -> None:
    """A payload that isn't JSON is a result, never an exception."""
    first, second = sender.send(
        [webhook(endpoint.url("/200"), when=datetime.now(UTC)), webhook(endpoint.url("/200"))]
    )

    assert isinstance(first, Failed)
    assert "datetime" in first.error
    assert second == Delivered()


def test_connections_are_used_again(endpoint: Endpoint, sender: WebhookSender) -> None:
    """A batch to one endpoint doesn't connect for each webhook."""
    results = list(sender.send([webhook(endpoint.url("/200"), id_=f"msg_{n}") for n in range(5)]))

    assert results == [Delivered()] * 5
    assert len(endpoint.connections) == 1
    assert [json.loads(body)["type"] for _, body in endpoint.received] == ["order.confirmed"] * 5
