"""A message that nobody can read is put aside at once and in sight; good ones behind it go on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from pipeline import retention
from pipeline.redaction import HIDDEN
from pipeline.settings import Settings
from pipeline.storage import refusals
from scheduler.jobs.forget_messages import forget_messages
from tests.support import Mill, an_order
from tests.workers.test_process import (
    are,
    dead_letters,
    enqueue,
    eventually,
    running,
    send,
    worker_of,
)
from workers.messages import MOST_KEPT, Unreadable, kept, read
from workers.process import WorkerProcess

CARD = "4111 1111 1111 1111"


def well_formed(**changes: Any) -> dict[str, Any]:
    return {
        "queue_name": "intake",
        "actor_name": "accept_orders",
        "args": ["shop", []],
        "kwargs": {},
        "options": {"redis_message_id": "x"},
        "message_id": "y",
        "message_timestamp": 1,
        **changes,
    }


UNREADABLE = {
    b"not json": "it is no JSON",
    b"": "it is no JSON",
    b"\xff\xfe\x00": "it is no JSON",
    b"[]": "it is a list in JSON, expected an object",
    b"null": "it is a NoneType in JSON, expected an object",
    b"{}": "queue_name: got nothing, expected a value",
    b"[" * 200_000: "it is nested too deeply",
    b"9" * 5_000: "it is no JSON",
    json.dumps(well_formed(queue_name="pay")).encode(): "queue_name: got 'pay', expected intake",
    json.dumps(well_formed(actor_name="put_aside")).encode(): "actor_name: got 'put_aside'",
    json.dumps(well_formed(args="shop")).encode(): 'args: got "shop"',
    json.dumps(well_formed(more=1)).encode(): "more: got",
    json.dumps(well_formed(args=["shop"])).encode(): "args: missing a required argument",
    json.dumps(well_formed(args=[7, []])).encode(): "source: got 7, expected the name of a source",
    json.dumps(well_formed(args=["shop", {"a": 1}])).encode(): "expected a list of orders",
    json.dumps(well_formed(kwargs={"ada": 1})).encode(): "args: got an unexpected keyword",
}  # fmt: skip


def put(worker: WorkerProcess, body: bytes, queue: str = "intake", name: str = "odd") -> None:
    """As another language writes it: the bytes, then the id."""
    client = worker.broker.client
    client.hset(f"ordermill:{queue}.msgs", name, body)
    client.rpush(f"ordermill:{queue}", name)


def put_aside(shop: Mill) -> list[Any]:
    with shop.database.snapshot() as tx:
        return [r for r in refusals.latest(tx, 100) if r.queue is not None]


def left(worker: WorkerProcess) -> int:
    """Messages that a server still has anywhere."""
    client = worker.broker.client
    return sum(client.hlen(name) for name in client.keys("ordermill:*.msgs"))


def test_each_kind_is_put_aside_once_with_what_is_wrong_and_good_orders_behind_it_go_on(
    settings: Settings, shop: Mill
) -> None:
    worker = worker_of(settings)
    for n, body in enumerate(UNREADABLE):
        put(worker, body, name=f"odd-{n}")
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()])

    with running(worker):
        confirmed = "SELECT count(*) FROM orders WHERE status = 'confirmed'"
        eventually(lambda: shop.query(confirmed) == [(len(UNREADABLE),)])
        eventually(lambda: len(put_aside(shop)) == len(UNREADABLE))
        eventually(lambda: left(worker) == 0)

    whys = [json.loads(r.problems)[0] for r in put_aside(shop)]
    for wanted in UNREADABLE.values():
        found = next(why for why in whys if wanted in why)
        whys.remove(found)
    assert whys == []
    assert {r.queue for r in put_aside(shop)} == {"intake"}
    assert len(put_aside(shop)) == len(UNREADABLE)
    assert dead_letters(worker) == 0


def test_an_id_without_bytes_and_bytes_under_another_id_are_no_loop(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.redis_broker.HEARTBEAT_TIMEOUT", 200)
    worker = worker_of(settings)
    worker.broker.client.rpush("ordermill:intake", "nothing-there")
    put(worker, json.dumps(well_formed(args=["shop", [an_order()]])).encode(), name="z")

    with running(worker):
        eventually(lambda: shop.query("SELECT status FROM orders") == [("confirmed",)])
        eventually(lambda: len(put_aside(shop)) == 1)
        eventually(lambda: left(worker) == 0)
        assert not worker.broker.client.smembers(worker.broker.fetched("intake"))

    assert "its JSON is not in the hash" in put_aside(shop)[0].problems


def test_one_on_the_queue_of_a_step_is_put_aside_too(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)
    put(worker, b"not json", "pay")

    with running(worker):
        orders = send(worker, shop)
        eventually(are(shop, orders, "confirmed"))
        eventually(lambda: [r.queue for r in put_aside(shop)] == ["pay"])


def test_an_order_that_provokes_a_defect_is_put_aside_alone(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(settings)
    accept_all = worker.app.intake.accept_all

    def accept(source: Any, orders: Any) -> Any:
        if any(order["external_id"] == "web-bad" for order in orders):
            raise RuntimeError("a defect")
        return accept_all(source, orders)

    monkeypatch.setattr(type(worker.app.intake), "accept_all", lambda _, s, o: accept(s, o))
    batch = [an_order(), an_order(), an_order(external_id="web-bad"), an_order()]

    with running(worker):
        enqueue(worker, "intake", "accept_orders", "shop", batch)
        eventually(lambda: shop.query("SELECT count(*) FROM orders") == [(3,)])
        eventually(lambda: len(put_aside(shop)) == 1)

    [kept_of_it] = put_aside(shop)
    assert "a defect: RuntimeError" in kept_of_it.problems
    assert "web-bad" in kept_of_it.message
    assert batch[0]["external_id"] not in kept_of_it.message
    assert dead_letters(worker) == 0


def test_no_customer_is_in_the_log_of_a_message_that_failed(
    settings: Settings, shop: Mill, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.set_level("DEBUG", "dramatiq")
    worker = worker_of(settings)

    with running(worker):
        put(worker, b'{"email": "ada@example.com"}')
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()], "ada@example.com")
        eventually(lambda: len(put_aside(shop)) == 2)

    assert "put aside" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_what_is_kept_has_no_card_no_secret_nothing_that_a_terminal_obeys_and_is_bounded() -> None:
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in CARD)
    body = f"{CARD} {escaped} om_live_0123456789ab_secret \x1b[2J\x00".encode() + b"\xff" * 200_000

    text_ = kept(body)

    assert "4111" not in text_
    assert text_.count("(card number)") == 2
    assert HIDDEN in text_
    assert not any(sign in text_ for sign in "\x00\x1b")
    assert len(text_) == MOST_KEPT
    assert "1111" not in kept(b" " * (MOST_KEPT - 8) + CARD.encode())


def test_a_sender_can_not_delay_or_chain_a_message() -> None:
    body = json.dumps(well_formed(options={"eta": 1e15, "pipe_target": {}, "on_failure": "pay"}))

    assert read("intake", "accept_orders", body.encode()).options == {}


@pytest.mark.parametrize("timestamp", ["Infinity", "NaN", "1e400", "-1"])
def test_numbers_that_are_none_are_refused(timestamp: str) -> None:
    body = json.dumps(well_formed()).replace(
        '"message_timestamp": 1', f'"message_timestamp": {timestamp}'
    )

    with pytest.raises(Unreadable):
        read("intake", "accept_orders", body.encode())


# --- Forgetting it --------------------------------------------------------------------------------


def keep(shop: Mill, message: str) -> None:
    with shop.database.transaction() as tx:
        refusals.put_aside(tx, "intake", "it is no JSON", message, len(message))


def test_erasing_an_order_erases_messages_that_name_its_address_or_its_id(
    settings: Settings, shop: Mill
) -> None:
    order = shop.accept(external_id="web-77", method="pm_card_chargeDeclined")
    shop.turn()
    for message in ("{ADA@example.com", "{'external_id': 'web-77'", "{somebody else"):
        keep(shop, message)

    done = retention.erase(shop.database, [order], settings.mails, "test")

    assert done.erased == [order]
    assert [r.message for r in put_aside(shop)] == ["{somebody else", "(erased)", "(erased)"]


@pytest.mark.parametrize(
    ("external_id", "its_own", "another_s"),
    [
        ("17", '{"external_id": "17", "total": 1', '{"external_id": "x", "total": "17.00"'),
        ("17", '{"external_id":17,', '{"external_id":170,'),
        ("17", r'"{\"external_id\": \"17\"', "at 12:17:17"),
        ("A_1", "{'external_id': 'A_1'", "{'external_id': 'AB1'"),
        ("web_77%", "no JSON: web_77%", "no JSON: webX77, 100"),
    ],
)
def test_erasing_an_order_leaves_messages_that_name_another(
    settings: Settings, shop: Mill, external_id: str, its_own: str, another_s: str
) -> None:
    """A message that can't be read is all there is of an order for a week."""
    order = shop.accept(external_id=external_id, method="pm_card_chargeDeclined")
    shop.turn()
    for message in (its_own, another_s):
        keep(shop, message)

    retention.erase(shop.database, [order], settings.mails, "test")

    assert [r.message for r in put_aside(shop)] == [another_s, "(erased)"]


def test_of_a_message_that_is_cut_off_no_half_of_a_card_number_is_kept() -> None:
    """Escaped characters shrink, so that the cut lies far before what may be kept."""
    head = b"\\u0442" * 10_000
    number = CARD.replace(" ", "").encode()
    halves = [
        kept(head + b"x" * (65_000 - len(head) - shown) + number + b"x" * 2_000)
        for shown in range(16)
    ]

    assert [text for text in halves if "4111" in text] == []


def test_after_a_week_the_bytes_go_and_that_it_came_stays(shop: Mill) -> None:
    keep(shop, "old")
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE refusals SET at = '2020-01-01 00:00:00.000000'"))
    keep(shop, "new")

    assert forget_messages(shop) == {"forgotten": 1}  # type: ignore[arg-type] # it has the database
    assert [r.message for r in put_aside(shop)] == ["new", None]
    assert forget_messages(shop) == {"forgotten": 0}  # type: ignore[arg-type]
