"""POST /v1/gateways/{name}/events: kept and done is 204, anything else a problem that says why."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from httpx import Response
from sqlalchemy import text

from pipeline.assembly import Application
from pipeline.payments.gateway import GatewayEvent
from pipeline.payments.sandbox import SandboxGateway
from pipeline.storage.database import Database
from tests.support import Mill
from web import bodies
from web.api.gateway_events import LONGEST
from web.app import create_app


@pytest.fixture
def client(application: Application) -> Iterator[httpx.Client]:
    """A client of the app behind a real server."""
    server = uvicorn.Server(uvicorn.Config(create_app(application), port=0, log_config=None))
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    serving.join()


def paid(shop: Mill) -> str:
    """The gateway's name for the payment of a confirmed order."""
    shop.accept()
    shop.turn()
    return next(iter(shop.gateway.book())).reference


def post(client: httpx.Client, signed: tuple[bytes, dict[str, str]], name: str = "sandbox") -> Response:  # fmt: skip
    body, headers = signed
    return client.post(f"/v1/gateways/{name}/events", content=body, headers=headers)


def assert_problem(answer: Response, status: int, detail: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in body["detail"]


def kept(shop: Mill) -> list[Any]:
    return shop.query("SELECT event_id, outcome FROM gateway_events")


def test_an_event_is_taken_in_and_acted_on(
    client: httpx.Client, gateway: SandboxGateway, shop: Mill
) -> None:
    reference = paid(shop)
    gateway.refund_at_gateway(reference, 700)

    answer = post(client, gateway.sign(GatewayEvent("evt_1", "payment.refunded", reference)))

    assert (answer.status_code, answer.content) == (204, b"")
    assert kept(shop) == [("evt_1", "observed")]
    assert shop.timeline(1)[-1] == "refunded"


def test_the_same_event_again_is_accepted_and_changes_nothing(
    client: httpx.Client, gateway: SandboxGateway, shop: Mill
) -> None:
    reference = paid(shop)
    gateway.refund_at_gateway(reference, 700)
    event = GatewayEvent("evt_1", "payment.refunded", reference)

    answers = [post(client, gateway.sign(event)).status_code for _ in range(3)]

    assert answers == [204] * 3
    assert shop.timeline(1).count("refunded") == 1


def test_a_forged_event_is_a_problem_and_is_not_kept(
    client: httpx.Client, gateway: SandboxGateway, shop: Mill
) -> None:
    event = GatewayEvent("evt_1", "payment.refunded", paid(shop))

    forged = post(client, SandboxGateway(None).sign(event))
    unsigned = post(client, (b"{}", {}))

    for answer in (forged, unsigned):
        assert_problem(answer, 400, "this is no event of the sandbox")
    assert kept(shop) == []


def test_an_unknown_gateway_is_not_found_and_those_there_are_are_named(
    client: httpx.Client, gateway: SandboxGateway
) -> None:
    answer = post(client, gateway.sign(GatewayEvent("evt_1", "x", "y")), name="paypal")

    assert_problem(answer, 404, "no gateway named 'paypal'; expected sandbox")


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "streamed"])
def test_a_body_that_is_too_long_is_refused(client: httpx.Client, declared: bool) -> None:
    body = b"x" * (LONGEST + 1)
    content = body if declared else iter([body[:600_000], body[600_000:]])

    answer = client.post("/v1/gateways/sandbox/events", content=content)

    assert_problem(answer, 413, "longer than 1,000,000 bytes")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/gateways/sandbox/events", 405)])  # fmt: skip
def test_what_there_is_not_is_a_problem_too(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    assert_problem(client.request(method, path), status, "")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_while_the_database_can_not_be_used_the_gateway_is_asked_to_come_again(
    client: httpx.Client, gateway: SandboxGateway, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(text("DROP TABLE gateway_events"))

    answer = post(client, gateway.sign(GatewayEvent("evt_1", "x", "sbx_nobody")))

    assert_problem(answer, 503, "the database can't be used just now")
    assert answer.headers["retry-after"] == "5"


def test_a_defect_tells_nothing_of_itself(
    client: httpx.Client, gateway: SandboxGateway, application: Application
) -> None:
    def break_down(reference: str) -> None:
        raise RuntimeError("sk_live_secret")

    gateway.verify = break_down  # type: ignore[method-assign,assignment]

    answer = post(client, gateway.sign(GatewayEvent("evt_1", "x", "y")))

    assert_problem(answer, 500, "a defect; the log has it")
    assert "secret" not in answer.text


def begin_to_post(client: httpx.Client) -> socket.socket:
    """A request whose body stops after the first bytes."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    connection.settimeout(10)
    connection.sendall(
        b"POST /v1/gateways/sandbox/events HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nabc"
    )
    return connection


def test_a_body_that_does_not_come_is_not_waited_for(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.05)

    with begin_to_post(client) as connection:
        answer = connection.recv(10_000)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_hangs_up_is_no_defect(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    begin_to_post(client).close()
    time.sleep(0.2)

    assert client.get("/healthz").status_code == 200
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_it_says_that_it_is_alive(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
