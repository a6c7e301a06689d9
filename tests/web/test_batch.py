"""Orders in a stream: a verdict a line while lines still come, in bounded memory, at the client's pace."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import uvicorn
from fastapi import FastAPI
from httpx import Response
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from pipeline.assembly import Application
from tests.support import Mill, an_order
from tests.web.conftest import MakeKey
from web.api import batch
from web.streams import Lines

HEADERS = {"Content-Type": "application/x-ndjson"}


def post(client: TestClient, content: bytes) -> Response:
    return client.post("/v1/orders/batch", content=content, headers=HEADERS)


def lines_of(*orders: Any) -> bytes:
    return b"".join(json.dumps(order).encode() + b"\n" for order in orders)


def verdicts(answer: Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


# --- What becomes of a line -----------------------------------------------------------------------


def test_each_line_has_a_verdict_in_the_order_sent(client: TestClient, shop: Mill) -> None:
    one, other = an_order(external_id="a"), an_order(external_id="b")
    bad = an_order(external_id="c", currency="EURO")

    told = verdicts(post(client, lines_of(one, other, one, {**other, "currency": "USD"}, bad)))

    assert [(v["line"], v["external_id"], v["verdict"], v.get("id")) for v in told] == [
        (1, "a", "accepted", 1),
        (2, "b", "accepted", 2),
        (3, "a", "duplicate", 1),
        (4, "b", "conflict", 2),
        (5, "c", "rejected", None),
    ]
    assert told[4]["errors"] == [
        {
            "field": "currency",
            "value": '"EURO"',
            "expected": "an ISO 4217 currency code such as EUR",
        }
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{", "not JSON"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b"\xff", "not UTF-8"),
        (b"[]", ""),
        (b"x" * 2_000_001, "a shorter one"),
    ],
)
def test_a_line_that_is_no_order_spoils_no_other(
    client: TestClient, line: bytes, expected: str
) -> None:
    told = verdicts(post(client, lines_of(an_order()) + line + b"\n\n" + lines_of(an_order())))

    assert [(v["line"], v["verdict"]) for v in told] == [
        (1, "accepted"),
        (2, "rejected"),
        (4, "accepted"),
    ]
    assert expected in told[1]["errors"][0]["expected"]


@pytest.mark.parametrize("sign", ["a", "ﬃ", "\U0001f9f0", '"', "\\", "\u0000"])
def test_a_verdict_is_a_kilobyte_at_the_most_whatever_is_wrong(
    client: TestClient, shop: Mill, sign: str
) -> None:
    long = sign * 500
    bad = [
        {**an_order(), "lines": [{}] * 10_000},
        {long + str(n): long for n in range(90)},
        {f"x{n}": 1 for n in range(20_000)},
        {**an_order(), "external_id": long, "currency": long, "payment": {"method": long}},
        {**an_order(), "external_id": sign * 128, "currency": long},
    ]

    answer = post(client, lines_of(*bad))
    told = verdicts(answer)

    assert [(v["line"], v["verdict"]) for v in told] == [(n, "rejected") for n in range(1, 6)]
    assert max(map(len, answer.content.splitlines())) <= 1_000
    assert all(v["errors"][0]["expected"] for v in told)
    assert len(told[0]["errors"]) + told[0]["more_errors"] == 20_000
    assert len(told[1]["errors"]) + told[1]["more_errors"] >= 90


def test_the_last_line_needs_no_newline_and_no_lines_are_no_verdicts(client: TestClient) -> None:
    assert len(verdicts(post(client, lines_of(an_order(), an_order()).rstrip()))) == 2
    assert verdicts(post(client, b"")) == []


def test_they_go_in_the_bulk_lane(client: TestClient, shop: Mill) -> None:
    post(client, lines_of(an_order()))
    client.post("/v1/orders", json=an_order())

    assert shop.query("SELECT lane FROM orders ORDER BY id") == [(1,), (0,)]


def test_another_media_type_is_refused(client: TestClient) -> None:
    assert client.post("/v1/orders/batch", json=an_order()).status_code == 415


def test_while_the_database_is_away_nothing_is_accepted(
    client: TestClient, application: Application, shop: Mill
) -> None:
    client.get("/v1/orders")

    def refuse(_: Any) -> None:
        raise OperationalError("SELECT", {}, OSError("gone"))

    event.listen(application.database.engine, "begin", refuse)
    answer = post(client, lines_of(an_order()))
    event.remove(application.database.engine, "begin", refuse)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


# --- Cutting lines --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_they_are_cut(size: int) -> None:
    text = b"one\n\nthree is too long\nfour\nfive"
    lines = Lines(most=6)

    found = [x for at in range(0, len(text), size) for x in lines.feed(text[at : at + size])]
    found += lines.end()

    assert found == [(1, b"one"), (2, b""), (3, None), (4, b"four"), (5, b"five")]


# --- As a stream, over a socket -------------------------------------------------------------------


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    )
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        time.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    serving.join()


class Sender:
    """A client that sends and reads when the test says so."""

    def __init__(self, port: int, key: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(30)
        self.socket.sendall(
            b"POST /v1/orders/batch HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-ndjson\r\nAuthorization: Bearer " + key.encode()
            + b"\r\n\r\n"
        )  # fmt: skip
        self._read = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def send_until_it_stalls(self, data: bytes, most: int) -> int:
        """How many bytes went."""
        for n in range(most):
            try:
                self.send(data)
            except TimeoutError:
                return n * len(data)
        raise AssertionError("it never stalled")

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def read_until(self, is_there: Callable[[bytes], bool]) -> bytes:
        while not is_there(self._read):
            more = self.socket.recv(65_536)
            assert more, self._read[-500:]
            self._read += more
        return self._read


def test_verdicts_come_while_lines_are_still_sent(port: int, make_key: MakeKey) -> None:
    sender = Sender(port, make_key())

    sender.send(lines_of(an_order(external_id="first")))
    first = sender.read_until(lambda read: b'"accepted"' in read)
    sender.send(lines_of(an_order(external_id="second")))
    sender.end()
    both = sender.read_until(lambda read: read.endswith(b"0\r\n\r\n"))

    assert b"second" not in first
    assert both.count(b'"accepted"') == 2


def test_when_the_client_hangs_up_what_was_told_stays(
    port: int, make_key: MakeKey, shop: Mill
) -> None:
    sender = Sender(port, make_key())
    sender.send(lines_of(*(an_order() for _ in range(20))))
    sender.read_until(lambda read: read.count(b'"accepted"') == 20)
    sender.send(lines_of(an_order())[:20])

    sender.socket.close()
    time.sleep(0.3)

    assert shop.query("SELECT count(*) FROM orders") == [(20,)]


def test_when_the_database_goes_away_the_answer_is_cut_without_an_end(
    port: int, make_key: MakeKey, application: Application, shop: Mill
) -> None:
    sender = Sender(port, make_key())
    sender.send(lines_of(an_order()))
    sender.read_until(lambda read: b'"accepted"' in read)

    def refuse(_: Any) -> None:
        raise OperationalError("SELECT", {}, OSError("gone"))

    event.listen(application.database.engine, "begin", refuse)
    sender.send(lines_of(an_order()))
    rest = sender.socket.recv(65_536)
    event.remove(application.database.engine, "begin", refuse)

    assert rest == b""
    assert shop.query("SELECT count(*) FROM orders") == [(1,)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("lane", "rests"), [("interactive", True), ("bulk", False)])
def test_beside_shoppers_a_batch_leaves_half_of_the_time_to_them(
    application: Application, shop: Mill, monkeypatch: pytest.MonkeyPatch, lane: str, rests: bool
) -> None:
    rested: list[float] = []

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    intake, lines = application.intake, [(1, b"[]")]
    monkeypatch.setattr(batch.asyncio, "sleep", rest)
    asyncio.run(batch._take_in_turn(intake, shop.source, lines))
    alone = len(rested)

    intake.accept(shop.source.in_lane(lane), an_order())
    asyncio.run(batch._take_in_turn(intake, shop.source, lines))

    assert alone == 0
    assert (len(rested) == 1 and rested[0] > 0) == rests


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_source_sends_a_few_batches_at_once_and_no_more(
    port: int, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_STREAMS", 2)
    first, second = (Sender(port, make_key()) for _ in range(2))
    for sender in (first, second):
        sender.send(lines_of(an_order()))
        sender.read_until(lambda read: b'"accepted"' in read)

    third, rival = Sender(port, make_key()), Sender(port, make_key("rival"))
    third.read_until(lambda read: read.startswith(b"HTTP/1.1 429 "))
    rival.send(lines_of(an_order()))
    rival.read_until(lambda read: b'"accepted"' in read)
    first.end()
    first.read_until(lambda read: read.endswith(b"0\r\n\r\n"))
    fourth = Sender(port, make_key())
    fourth.send(lines_of(an_order()))

    assert fourth.read_until(lambda read: b'"accepted"' in read)
    for sender in (second, rival, fourth):
        sender.socket.close()


def test_who_sends_nothing_is_not_waited_for(
    port: int, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "PATIENCE", 0.05)
    sender = Sender(port, make_key())

    assert sender.read_until(lambda read: b"nothing came" in read).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_who_does_not_read_is_not_read_from(port: int, make_key: MakeKey, shop: Mill) -> None:
    sender = Sender(port, make_key())
    sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sender.socket.settimeout(2)
    bad = b"[" + b" " * 100 + b"]\n"  # cheap to refuse

    sent = sender.send_until_it_stalls(bad * 1000, 1000)

    assert sent < 50_000_000  # what the buffers between us hold
    sender.socket.settimeout(30)
    assert sender.read_until(lambda read: read.count(b'"rejected"') >= 1000)
    sender.socket.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_memory_does_not_grow_with_the_number_of_lines(
    port: int, make_key: MakeKey, shop: Mill
) -> None:
    sender, process = Sender(port, make_key()), psutil.Process()
    lines, peaks, told = 100_000, [], Counter[str]()

    def send() -> None:
        line = b"[" + b" " * 250 + b"]\n"  # no order: what is measured is the stream
        for _ in range(lines // 1000):
            sender.send(line * 1000)
        sender.end()

    sending = threading.Thread(target=send)
    sending.start()
    tail = b""
    while not tail.endswith(b"0\r\n\r\n"):
        more = sender.socket.recv(65_536)
        assert more
        told["rejected"] += (tail[-9:] + more).count(b'"rejected"')
        tail = (tail + more)[-20:]
        peaks.append(process.memory_info().rss)
    sending.join()

    assert told["rejected"] == lines
    early = max(peaks[: len(peaks) // 5])
    assert max(peaks) - early < 15_000_000
