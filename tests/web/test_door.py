"""A connection has to say something: silent ones stop nobody, and none is kept for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from benchmarks.ports import free_port
from ordermill.processes import WebProcess, running
from pipeline import access
from pipeline.access import OF_SOURCES
from pipeline.settings import Settings
from pipeline.storage.database import Database
from tests.support import Mill, an_order
from web import door
from web.door import Door, serving

HEAD = b"GET /quick HTTP/1.1\r\nHost: shop\r\n"
LONG_AGO = 60.0


class App:
    """Answers at once, or (/slow) when it is let; tells who asked."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.in_hand += 1
        if scope["path"] == "/slow":
            import asyncio

            while not self.go_on.is_set():
                await asyncio.sleep(0.005)
        if scope["path"] == "/body":
            while (await receive()).get("more_body"):
                pass
        if scope["path"] == "/hold":
            time.sleep(0.5)  # nobody is served meanwhile
        size = 50_000_000 if scope["path"] == "/large" else 0
        body = scope["client"][0].encode() + bytes(size)
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-length", str(len(body)).encode())]})  # fmt: skip
        await send({"type": "http.response.body", "body": body})
        self.in_hand -= 1


@contextmanager
def served(app: Any, proxies: str = "127.0.0.1") -> Iterator[int]:
    listening, protocol = socket.create_server(("127.0.0.1", 0)), serving()
    config = uvicorn.Config(
        Door(app, proxies, protocol), http=protocol, ws="none", proxy_headers=False, log_config=None,
        lifespan="off", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def port(app: App) -> Iterator[int]:
    with served(app) as found:
        yield found
        app.go_on.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE", 1.0)
    monkeypatch.setattr(door, "UNREAD", 1.0)


def call(port: int, sent: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=LONG_AGO)
    made.sendall(sent)
    return made


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes it, without another answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def received(connection: socket.socket) -> int:
    """Bytes that come until it is closed, or cut."""
    whole = 0
    with suppress(ConnectionError):
        while part := connection.recv(1 << 20):
            whole += len(part)
    return whole


def answer(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        more = connection.recv(65_536)
        if not more:
            break
        found += more
    return found


def trickle(connection: socket.socket, byte: bytes) -> None:
    """A byte now and again, until the other side has enough of it."""
    connection.settimeout(0.05)
    for _ in range(1200):
        try:
            connection.sendall(byte)
            if connection.recv(65_536) == b"":
                return
        except TimeoutError:
            continue
        except ConnectionError:
            return
    raise AssertionError("it is never closed")


# What is closed


@pytest.mark.parametrize("sent", [b"", b"G", HEAD, b"POST /quick HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_connection_that_sends_no_whole_head_is_closed(
    impatient: None, port: int, sent: bytes
) -> None:
    assert is_closed(call(port, sent))


@pytest.mark.parametrize("begun", [b"", HEAD + b"X-Slow: "])
def test_a_byte_now_and_again_keeps_no_connection(impatient: None, port: int, begun: bytes) -> None:
    trickle(call(port, begun), b"a")


def test_a_second_request_has_no_more_time_than_the_first(impatient: None, port: int) -> None:
    connection = call(port, HEAD + b"\r\n")
    assert b"200" in answer(connection)

    trickle(connection, b"G")


def test_what_is_left_of_a_body_that_was_answered_is_not_waited_for(
    impatient: None, port: int
) -> None:
    connection = call(port, b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert b"200" in answer(connection)

    trickle(connection, b"a")


def test_a_client_that_does_not_read_is_not_kept(impatient: None, port: int, app: App) -> None:
    connection = call(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    wait(lambda: app.in_hand == 0)  # it is in the server's buffers
    time.sleep(2.0)

    assert received(connection) < 50_000_000


# What is not


def test_a_client_that_reads_slowly_has_its_last_answer_whole(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PATIENCE", 0.2)
    slow = call(port, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    begun = len(slow.recv(1 << 16))
    time.sleep(1.0)  # longer than a silent client has

    assert begun + received(slow) > 50_000_000


def test_a_request_that_takes_its_time_is_waited_for(impatient: None, port: int, app: App) -> None:
    connection = call(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(2.0)
    app.go_on.set()

    assert b"200" in answer(connection)


def test_requests_one_after_the_other_keep_their_connection(port: int) -> None:
    connection = call(port)
    for _ in range(8):
        connection.sendall(HEAD + b"\r\n")
        assert b"200" in answer(connection)


def test_two_requests_in_one_piece_are_both_answered(port: int) -> None:
    connection = call(port, (HEAD + b"\r\n") * 2)
    found = b""
    while found.count(b"200 OK") < 2:
        found += connection.recv(65_536)


# A length that is told twice


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\nCONTENT-LENGTH: 0\r\n",
    ],
)
def test_a_length_that_is_told_twice_is_refused_and_nothing_after_it_is_read(
    port: int, app: App, lengths: bytes
) -> None:
    smuggled = b"POST /quick HTTP/1.1\r\nHost: x\r\n" + lengths + b"\r\n0\r\n\r\n" + HEAD + b"\r\n"
    connection = call(port, smuggled)

    found = b""
    while part := connection.recv(65_536):
        found += part

    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1
    assert b"connection: close" in found.lower()


# Room


def test_the_longest_silent_one_makes_room(
    port: int, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    monkeypatch.setattr(door, "MOST_CONNECTIONS", 5)
    busy = call(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    wait(lambda: app.in_hand == 1)
    silent = [call(port) for _ in range(8)]

    assert b"200" in answer(call(port, HEAD + b"\r\n"))
    assert [is_closed(each) for each in silent[:4]] == [True] * 4
    app.go_on.set()
    assert b"200" in answer(busy)


def test_requests_in_hand_have_a_limit_and_a_look_at_the_process_has_none(
    port: int, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    monkeypatch.setattr(door, "MOST_REQUESTS", 3)
    slow = [call(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3)]
    wait(lambda: app.in_hand == 3)

    refused = httpx.get(f"http://127.0.0.1:{port}/quick")
    alive = httpx.get(f"http://127.0.0.1:{port}/healthz")
    app.go_on.set()

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["type"].endswith("/unavailable")
    assert alive.status_code == 200
    assert all(b"200" in answer(each) for each in slow)
    assert httpx.get(f"http://127.0.0.1:{port}/quick").status_code == 200


WITHOUT_BODY = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
UNREAD = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("sent", [WITHOUT_BODY, UNREAD * 2], ids=["sends no body", "doesn't read"])
def test_a_request_whose_client_is_silent_makes_room(
    port: int, monkeypatch: pytest.MonkeyPatch, app: App, sent: bytes
) -> None:
    monkeypatch.setattr(door, "MOST_REQUESTS", 3)
    silent = [call(port, sent)]
    wait(lambda: app.in_hand == 1)
    silent += [call(port, sent) for _ in range(2)]
    wait(lambda: app.in_hand == 3)

    assert httpx.get(f"http://127.0.0.1:{port}/quick").status_code == 200
    received(silent[0])  # until it is cut off
    for other in silent[1:]:
        other.close()


def test_a_client_that_goes_on_sending_is_not_silent(
    port: int, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    monkeypatch.setattr(door, "MOST_REQUESTS", 2)
    first = call(port, WITHOUT_BODY)
    wait(lambda: app.in_hand == 1)
    second = call(port, WITHOUT_BODY)
    wait(lambda: app.in_hand == 2)
    first.sendall(b"x" * 50)
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200  # it has come by then

    assert httpx.get(f"http://127.0.0.1:{port}/quick").status_code == 200
    assert is_closed(second)
    first.sendall(b"x" * 50)
    assert b"200" in answer(first)


def test_many_that_come_at_once_make_room_each(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_CONNECTIONS", 5)
    monkeypatch.setattr(door, "PATIENCE", LONG_AGO)  # it isn't for that that they are closed
    held_up = call(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    made = [held_up, *(call(port) for _ in range(8))]

    wait(lambda: sum(_is_cut(each) for each in made) >= 4)


def _is_cut(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(65_536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def by(client: str) -> bytes:
    return f"GET /slow HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n".encode()


def get(port: int, client: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}/quick", headers={"X-Forwarded-For": client})


def test_behind_a_proxy_that_is_named_each_client_has_its_share(
    port: int, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    monkeypatch.setattr(door, "MOST_OF_ONE", 2)
    greedy = [call(port, by(f"2001:db8::{n}")) for n in (1, 2)]
    wait(lambda: app.in_hand == 2)

    third, other = get(port, "2001:db8::3"), get(port, "198.51.100.7")
    app.go_on.set()

    assert (third.status_code, third.headers["retry-after"]) == (429, "1")
    assert (other.status_code, other.text) == (200, "198.51.100.7")
    assert all(b"200" in answer(each) for each in greedy)
    assert get(port, "2001:db8::3").status_code == 200


def test_of_a_proxy_that_nobody_named_no_header_is_believed_and_no_share_is_its_own(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_OF_ONE", 2)
    with served(app, proxies="10.0.0.1") as port:
        for n in range(3):
            call(port, by(f"198.51.100.{n}"))
        wait(lambda: app.in_hand == 3)
        found = get(port, "198.51.100.9")
        app.go_on.set()

    assert (found.status_code, found.text) == (200, "127.0.0.1")


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_AGO
    while not until():
        assert time.monotonic() < end
        time.sleep(0.005)


# All of it


def test_500_silent_connections_stop_nobody(sqlite_database: Database, tmp_path: Path) -> None:
    mill = Mill(sqlite_database).stocked()
    with sqlite_database.transaction() as tx:
        key = access.create(tx, "till", "test", source="shop", scopes=OF_SOURCES)
    url = sqlite_database.url.render_as_string(hide_password=False)
    settings = Settings(
        _env_file=None, home=tmp_path / "home", database_url=url, sandbox_book="memory"
    )
    port = free_port()
    with running(WebProcess(settings, "127.0.0.1", port)), ExitStack() as stack:
        for n in range(505):
            stack.enter_context(call(port, HEAD if n % 2 else b""))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LONG_AGO) as shopper:
            alive = shopper.get("/healthz")
            placed = shopper.post(
                "/v1/orders", json=an_order(), headers={"Authorization": f"Bearer {key}"}
            )
            signing_in = shopper.get("/console/sign-in")

    assert [alive.status_code, placed.status_code, signing_in.status_code] == [200, 202, 200]
    assert mill.query("SELECT count(*) FROM orders") == [(1,)]
