"""Pages: whoever is on call is called, at least once, and learns nothing of the customer."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from sqlalchemy import update

from pipeline.errors import ConfigurationError
from pipeline.notifications import outbox
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import Delivered, Failed, Notification
from pipeline.notifications.pager import LogPager, Pager
from pipeline.storage import notifications
from pipeline.storage.sql import now
from pipeline.storage.tables import notifications as table
from tests.payments.shop import MakeMill
from tests.support import Inbox, Mill

PAGE = Notification(
    "n-1", 7, "shop", "page", "order.undo_failed", "operators",
    {"external_id": "web-7", "customer_name": "Ada Lovelace"},
)  # fmt: skip


class Receiver(BaseHTTPRequestHandler):
    answers: ClassVar[list[int]] = []
    received: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.append(json.loads(body))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    """A webhook that Apprise calls: its URL, and what it got."""

    class Fresh(Receiver):
        answers: ClassVar[list[int]] = []
        received: ClassVar[list[dict[str, str]]] = []

    server = HTTPServer(("127.0.0.1", 0), Fresh)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"json://127.0.0.1:{server.server_port}/", Fresh
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_page_names_the_order_and_where_to_look_and_nothing_of_the_customer(
    receiver: tuple[str, type[Receiver]],
) -> None:
    url, got = receiver

    [delivery] = Pager(url).send([PAGE])

    assert delivery == Delivered()
    [page] = got.received
    assert page["title"] == "Ordermill: order 7: undo failed"
    assert "web-7 of shop" in page["message"]
    assert "ordermill orders show 7" in page["message"]
    assert "Ada" not in json.dumps(page)


def test_one_that_was_not_taken_has_failed(receiver: tuple[str, type[Receiver]]) -> None:
    url, got = receiver
    got.answers = [500]

    [delivery] = Pager(url).send([PAGE])

    assert isinstance(delivery, Failed)


def test_all_who_are_named_are_called(receiver: tuple[str, type[Receiver]]) -> None:
    url, got = receiver

    list(Pager(f"{url}one, {url}two").send([PAGE]))

    assert len(got.received) == 2


def test_what_is_no_address_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigurationError, match="ORDERMILL_PAGER") as refused:
        Pager("gibberish-with-a-secret-key")

    assert "secret" not in str(refused.value)


def test_where_nobody_is_to_be_called_it_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    [delivery] = LogPager().send([PAGE])

    assert delivery == Delivered()
    [record] = caplog.records
    assert (record.levelno, "Order 7" in record.message) == (logging.ERROR, True)


# --- At least once --------------------------------------------------------------------------------


def deliver(shop: Mill, courier: Courier) -> list[str]:
    """What the job does; the states of the pages then."""
    with shop.database.transaction() as tx:
        pending, _ = notifications.take_due(tx, 100, 120.0)
        messages = outbox.messages(tx, pending, {})
    deliveries = courier.deliver(messages)
    with shop.database.transaction() as tx:
        outbox.write(tx, pending, deliveries)
    query = "SELECT state FROM notifications WHERE channel = 'page'"
    return [row.state for row in shop.query(query)]


class Broken(Inbox):
    def send(self, notifications: object) -> Iterator[Failed]:
        yield Failed("no answer")


def test_a_page_is_sent_by_the_job_and_sent_again_until_it_is_taken(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept()
    shop.turn()
    with shop.database.transaction() as tx:
        outbox.page(tx, [order], outbox.UNDO_FAILED)
    called = Inbox()

    first = deliver(shop, Courier(Inbox(), Broken()))
    with shop.database.transaction() as tx:
        tx.execute(update(table).values(due_at=now()))
    then = deliver(shop, Courier(Inbox(), called))

    assert (first, then) == (["pending"], ["delivered"])
    assert [page.order_id for page in called.received] == [order]
