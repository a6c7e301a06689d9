"""A server that is killed in the middle of its work: what it said it had, it has; once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from pipeline.storage.database import Database
from tests.support import Mill, an_order
from tests.web.conftest import MakeKey

CONNECTIONS = 16


@contextmanager
def serving(database: Database, home: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`ordermill web` on the test's database; its port, and its process."""
    port = free_port()
    env = {
        **os.environ,
        "ORDERMILL_HOME": str(home),
        "ORDERMILL_DATABASE_URL": database.url.render_as_string(hide_password=False),
    }
    command = [sys.executable, "-m", "ordermill", "web", "--port", str(port)]
    process = subprocess.Popen(command, env=env)
    try:
        wait_until_ready(port)
        yield port, process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(port: int) -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("it does not come up")


class Client(threading.Thread):
    """Places orders on one connection until it breaks, and writes down what it was told."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.sent: list[dict[str, object]] = []
        self.journal: dict[str, int] = {}

    def place(self, order: dict[str, object]) -> int:
        self._connection.request("POST", "/v1/orders", json.dumps(order), self._headers)
        answer = self._connection.getresponse()
        body = json.loads(answer.read())
        if answer.status in (200, 202):
            self.journal[body["external_id"]] = body["id"]
        return answer.status

    def run(self) -> None:
        try:
            while True:
                self.sent.append(an_order())
                assert self.place(self.sent[-1]) == 202
        except (OSError, http.client.HTTPException):
            return


def test_every_202_of_a_server_that_was_killed_is_there_once(
    database: Database, shop: Mill, make_key: MakeKey, tmp_path: Path
) -> None:
    key = make_key()
    with serving(database, tmp_path / "home") as (port, process):
        clients = [Client(port, key) for _ in range(CONNECTIONS)]
        for client in clients:
            client.start()
        time.sleep(1.5)
        os.kill(process.pid, signal.SIGKILL)
        for client in clients:
            client.join(30)
    journal = {name: number for client in clients for name, number in client.journal.items()}
    kept = dict(shop.query("SELECT external_id, id FROM orders"))

    assert len(journal) > CONNECTIONS
    assert journal.items() <= kept.items()
    # What nobody was told of is one order a connection at the most.
    assert len(kept) - len(journal) <= CONNECTIONS

    # Whoever doesn't know sends it again.
    with serving(database, tmp_path / "home") as (port, _):
        again = Client(port, key)
        unknown = [c.sent[-1] for c in clients if c.sent[-1]["external_id"] not in c.journal]
        answers = {str(o["external_id"]): again.place(o) for o in unknown}
    assert answers == {name: 200 if name in kept else 202 for name in answers}
    everything = [order["external_id"] for client in clients for order in client.sent]
    assert sorted(r[0] for r in shop.query("SELECT external_id FROM orders")) == sorted(everything)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_batch_that_was_cut_short_has_what_it_told_of(
    database: Database, shop: Mill, make_key: MakeKey, tmp_path: Path
) -> None:
    orders = b"".join(json.dumps(an_order()).encode() + b"\n" for _ in range(20_000))
    told = b""
    with serving(database, tmp_path / "home") as (port, process):
        connection = socket.create_connection(("127.0.0.1", port))
        head = (
            f"POST /v1/orders/batch HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(orders)}\r\n"
            f"Content-Type: application/x-ndjson\r\nAuthorization: Bearer {make_key()}\r\n\r\n"
        )

        def send() -> None:
            try:
                connection.sendall(head.encode() + orders)
            except OSError:
                return

        sending = threading.Thread(target=send)
        sending.start()
        while told.count(b'"accepted"') < 1_000:
            told += connection.recv(65_536)
        process.kill()
        try:
            while more := connection.recv(65_536):
                told += more
        except ConnectionError:
            pass
        sending.join()

    accepted = told.count(b'"accepted","id":')
    [(kept,)] = shop.query("SELECT count(*) FROM orders")
    assert 1_000 <= accepted <= kept < 20_000
