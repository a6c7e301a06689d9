"""What happens to orders is told to who wants it: signed, once if all goes well, again if it doesn't."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, update
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.errors import LeaseLost
from pipeline.source import Policy
from pipeline.storage import feed, webhook_deliveries, webhooks
from pipeline.storage.sql import now
from pipeline.storage.tables import events, webhook_endpoints
from pipeline.storage.tables import webhook_deliveries as table
from pipeline.webhooks import endpoints, turn
from pipeline.webhooks.schedule import DEAD_AFTER, REST_AFTER, WAITS, Answer, health
from tests.support import an_order
from tests.webhooks.conftest import Receiver, Teller, until


def test_what_is_told_is_the_event_as_the_feed_tells_it(teller: Teller, receiver: Receiver) -> None:
    endpoint = teller.endpoint(receiver.url())
    [order] = teller.confirmed()

    teller.deliver()

    [told] = receiver.received
    page = feed.read(teller.database, feed.Position(datetime(2000, 1, 1, tzinfo=UTC)), None, 100)
    [event] = [e for e in page.events if e["to_status"] == "confirmed"]
    assert told.id == f"evt_{order}_{event['seq']}"
    assert told.event == {
        "type": "order.confirmed",
        "timestamp": event["at"].isoformat(),
        "data": {**event, "at": event["at"].isoformat()},
    }
    assert told.headers["content-type"] == "application/json"
    [delivery] = teller.log(endpoint)
    assert (delivery["state"], delivery["status"], delivery["error"]) == ("delivered", 200, None)
    [attempt] = delivery["log"]
    assert (attempt["n"], attempt["status"], attempt["answer"]) == (1, 200, "thanks")


def test_who_got_it_can_tell_that_it_is_ours_and_whole(teller: Teller, receiver: Receiver) -> None:
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()
    teller.deliver()
    [told] = receiver.received
    secret = teller.webhooks.secret(teller.kept(endpoint))

    Webhook(secret).verify(told.body, told.headers)

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(told.body.replace(b"web-", b"wEb-"), told.headers)
    other = teller.webhooks.secret(teller.kept(teller.endpoint(receiver.url("/other"))))
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(told.body, told.headers)


def test_the_types_that_are_wanted_are_told_and_no_others(
    teller: Teller, receiver: Receiver
) -> None:
    teller.endpoint(receiver.url("/two"), "order.priced", "order.rejected")
    teller.endpoint(receiver.url("/all"), "*")
    teller.confirmed()
    teller.shop.accept(lines=[("NOTHING", 1)])
    teller.shop.turn()

    teller.deliver()

    told = {path: sorted(e.event["type"] for e in receiver.to(path)) for path in ("/two", "/all")}
    assert told["/two"] == ["order.priced", "order.rejected"]
    assert told["/all"] == [
        "order.confirmed", "order.paid", "order.priced", "order.received", "order.received",
        "order.rejected", "order.reserved", "order.validated",
    ]  # fmt: skip


def test_a_source_is_told_of_its_own_orders_only(teller: Teller, receiver: Receiver) -> None:
    rival = teller.shop.another_source("rival", Policy())
    teller.endpoint(receiver.url("/shop"))
    teller.endpoint(receiver.url("/rival"), source="rival")
    teller.confirmed()
    teller.shop.intake.accept_all(rival, [an_order(external_id="r-1")])
    teller.shop.turn()

    teller.deliver()

    assert [e.event["data"]["source"] for e in receiver.to("/shop")] == ["shop"]
    assert [e.event["data"]["external_id"] for e in receiver.to("/rival")] == ["r-1"]


def test_an_endpoint_is_told_of_what_happens_once_it_is_there_or_since_when_it_asks(
    teller: Teller, receiver: Receiver
) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    teller.confirmed()
    teller.endpoint(receiver.url("/new"))
    teller.endpoint(receiver.url("/since"), since=before)

    teller.deliver()

    assert (len(receiver.to("/new")), len(receiver.to("/since"))) == (0, 1)


def test_events_of_one_order_come_in_their_order(teller: Teller, receiver: Receiver) -> None:
    teller.endpoint(receiver.url(), "*")
    orders = teller.confirmed(20)

    teller.deliver()

    for order in orders:
        told = [e.event["data"] for e in receiver.received]
        assert [e["seq"] for e in told if e["order_id"] == order] == [1, 2, 3, 4, 5, 6]


def test_many_are_told_over_a_few_connections_and_each_once(
    teller: Teller, receiver: Receiver
) -> None:
    endpoint = teller.endpoint(receiver.url())
    orders = teller.confirmed(turn.MOST + 20)  # more than is read at once

    teller.deliver()
    teller.deliver()

    assert len({each.id for each in receiver.received}) == len(receiver.received) == len(orders)
    assert teller.states(endpoint) == ["delivered"] * len(orders)
    assert len(receiver.script.connections) <= 3 * turn.STRANDS


def test_what_fails_is_told_again_later_and_later_under_the_same_id(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.answers["/hook"] = [500, 404, 200]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    waits = []
    for _ in range(3):
        teller.deliver()
        [delivery] = teller.log(endpoint)
        if delivery["due_at"]:
            waits.append((delivery["due_at"] - datetime.now(UTC)).total_seconds())
        teller.let_time_pass()

    assert [round(wait / first) for wait, first in zip(waits, WAITS, strict=False)] == [1, 1]
    assert len({each.id for each in receiver.received}) == 1
    assert [(a["n"], a["status"], a["error"]) for a in delivery["log"]] == [
        (1, 500, "answered 500 Internal Server Error"),
        (2, 404, "answered 404 Not Found"),
        (3, 200, None),
    ]
    assert (delivery["state"], delivery["error"]) == ("delivered", None)


def test_it_is_given_up_after_three_days(teller: Teller, receiver: Receiver) -> None:
    receiver.script.answers["/hook"] = [500]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    for _ in range(len(WAITS) + 3):
        teller.deliver()
        teller.let_time_pass()

    [delivery] = teller.log(endpoint)
    assert (delivery["state"], delivery["attempts"]) == ("failed", len(WAITS) + 1)
    assert len(receiver.received) == len(WAITS) + 1


def test_attempts_are_counted_by_what_became_of_the_delivery(
    teller: Teller, receiver: Receiver
) -> None:
    def counted() -> list[float]:
        states = [{"state": state} for state in ("delivered", "pending", "failed")]
        return [
            REGISTRY.get_sample_value("ordermill_webhook_attempts_total", state) or 0.0
            for state in states
        ]

    receiver.script.answers["/hook"] = [200, 500]
    teller.endpoint(receiver.url())
    before = counted()

    for _ in range(2):
        teller.confirmed()
        teller.deliver()
    for _ in WAITS:
        teller.let_time_pass()
        teller.deliver()

    rise = [after - was for was, after in zip(before, counted(), strict=True)]
    assert rise == [1, len(WAITS), 1]


def test_an_endpoint_that_fails_is_left_alone_and_then_tried_with_one(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.answers["/hook"] = [500]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed(50)

    teller.deliver()
    first = len(receiver.received)
    teller.deliver()
    in_a_row = teller.kept(endpoint).failures
    tired = len(receiver.received)
    teller.deliver()
    resting = len(receiver.received)
    teller.let_time_pass()
    teller.deliver()
    probed = len(receiver.received)
    receiver.script.answers["/hook"] = [200]
    teller.let_time_pass()
    teller.deliver()

    assert REST_AFTER <= first <= REST_AFTER + turn.STRANDS
    assert in_a_row == REST_AFTER
    assert tired <= first + REST_AFTER
    assert (resting, probed) == (tired, tired + 1)
    assert teller.states(endpoint) == ["delivered"] * 50
    assert teller.kept(endpoint).failures == 0


def test_what_fails_side_by_side_is_one_hiccup_and_the_endpoint_does_not_rest(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.answers["/stalls"] = [503]
    endpoint = teller.endpoint(receiver.url("/stalls"))
    teller.confirmed(50)
    dispatcher = teller.dispatcher()
    delivering = threading.Thread(target=dispatcher.deliver)

    delivering.start()
    until(lambda: len(receiver.received) == turn.STRANDS)  # all before the first is answered
    receiver.script.over.set()
    delivering.join()
    hiccup = teller.kept(endpoint)
    failed = len(receiver.received)
    receiver.script.answers["/stalls"] = [200]
    dispatcher.deliver()
    dispatcher.stop(0)

    assert failed >= turn.STRANDS
    assert (hiccup.failures < REST_AFTER, hiccup.rest_until) == (True, None)
    assert teller.kept(endpoint).failures == 0
    assert teller.states(endpoint).count("delivered") == 50 - failed  # these wait for their time


@pytest.mark.parametrize(
    ("before", "answered", "after", "rest"),
    [
        (0, "!!!!!!!!", 1, 0),  # eight at a time
        (0, "!!!!|!!!!", 2, 0),  # and again
        (4, "!!!!!!!!", 5, 5),
        (5, "!", 6, 10),
        (30, "!", 31, 600),
        (7, "!!.", 0, 0),
        (7, "!!.!!", 1, 0),
        (7, ".|!|!", 2, 0),
        (3, "", 3, 0),
    ],
)
def test_failures_in_a_row_are_those_that_began_when_the_one_before_was_known(
    before: int, answered: str, after: int, rest: float
) -> None:
    """`!` fails, `.` gets there; `|` stands where one begins that knows of the failure before."""
    answers, again, knows = [], [], True
    for sign in answered:
        if sign == "|":
            knows = True
            continue
        answers.append(Answer(200 if sign == "." else 500, 1))
        again.append(sign == "!" and knows)
        knows = False

    found = health(before, answers, again)

    assert (found.failures, found.rest) == (after, rest)


def test_who_asks_for_time_is_given_it(teller: Teller, receiver: Receiver) -> None:
    receiver.script.answers["/hook"] = [429]
    receiver.script.headers["retry-after"] = "120"
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()

    [delivery] = teller.log(endpoint)
    kept = teller.kept(endpoint)
    assert 110 < (delivery["due_at"] - datetime.now(UTC)).total_seconds() < 130
    assert kept.rest_until is not None
    assert 110 < (kept.rest_until - datetime.now(UTC)).total_seconds() < 130


@pytest.mark.parametrize("asked", ["99999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_makes_us_wait_for_ever(teller: Teller, receiver: Receiver, asked: str) -> None:
    receiver.script.answers["/hook"] = [503]
    receiver.script.headers["retry-after"] = asked
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()

    [delivery] = teller.log(endpoint)
    assert (delivery["due_at"] - datetime.now(UTC)).total_seconds() <= 86_400


def test_what_is_gone_is_disabled_at_once(teller: Teller, receiver: Receiver) -> None:
    receiver.script.answers["/hook"] = [410]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()
    teller.confirmed()
    teller.let_time_pass()
    teller.deliver()

    kept = teller.kept(endpoint)
    assert kept.disabled_at is not None
    assert (kept.disabled_by, kept.disabled_why) == ("ordermill", "it answered 410 Gone")
    assert len(receiver.received) == 1


def test_what_has_only_failed_for_three_days_is_dead(teller: Teller, receiver: Receiver) -> None:
    receiver.script.answers["/hook"] = [500]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()
    teller.deliver()
    alive = teller.kept(endpoint)
    with teller.database.transaction() as tx:
        tx.execute(update(webhook_endpoints).values(failing_since=now(-DEAD_AFTER - 1)))

    teller.let_time_pass()
    teller.deliver()

    kept = teller.kept(endpoint)
    assert alive.disabled_at is None
    assert (kept.disabled_by, kept.disabled_why) == ("ordermill", "nothing got there for 3 days")


def test_one_that_works_again_is_not_dead(teller: Teller, receiver: Receiver) -> None:
    receiver.script.answers["/hook"] = [500, 200, 500]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()
    teller.deliver()
    with teller.database.transaction() as tx:
        tx.execute(update(webhook_endpoints).values(failing_since=now(-DEAD_AFTER - 1)))
    teller.let_time_pass()
    teller.deliver()
    teller.confirmed()
    teller.deliver()

    kept = teller.kept(endpoint)
    assert (kept.disabled_at, kept.failures) == (None, 1)


def test_who_is_enabled_again_is_told_of_what_was_missed_or_not(
    teller: Teller, receiver: Receiver
) -> None:
    whole, rest = teller.endpoint(receiver.url("/whole")), teller.endpoint(receiver.url("/rest"))
    with teller.database.transaction() as tx:
        for each in (whole, rest):
            endpoints.disable(tx, each, "ada", "it moves house")
    missed = teller.confirmed()
    teller.deliver()
    silent = len(receiver.received)

    with teller.database.transaction() as tx:
        endpoints.enable(tx, whole)
        endpoints.enable(tx, rest, from_now=True)
    new = teller.confirmed()
    teller.deliver()

    assert silent == 0
    assert sorted(e.event["data"]["order_id"] for e in receiver.to("/whole")) == missed + new
    assert [e.event["data"]["order_id"] for e in receiver.to("/rest")] == new


def test_who_is_enabled_from_now_on_is_not_sent_what_was_on_its_way_before(
    teller: Teller, receiver: Receiver
) -> None:
    endpoint = teller.endpoint(receiver.url())
    receiver.script.answers["/hook"] = [500, 200]
    [missed] = teller.confirmed()
    teller.deliver()
    with teller.database.transaction() as tx:
        endpoints.disable(tx, endpoint, "ada", "it moves house")
        endpoints.enable(tx, endpoint, from_now=True)

    [new] = teller.confirmed()
    teller.let_time_pass()
    teller.deliver()

    assert [e.event["data"]["order_id"] for e in receiver.received] == [missed, new]
    assert teller.states(endpoint) == ["failed", "delivered"]
    with teller.database.transaction() as tx:
        assert endpoints.redeliver(tx, endpoint, None) == 1


def test_who_delivers_meanwhile_does_not_take_one_that_is_enabled_from_now_on_back(
    teller: Teller, receiver: Receiver
) -> None:
    endpoint = teller.endpoint(receiver.url())
    with teller.database.transaction() as tx:
        held = webhooks.take(tx, endpoint, "a dispatcher", 60.0)
        assert held is not None
        endpoints.disable(tx, endpoint, "ada", "it moves house")
        endpoints.enable(tx, endpoint, from_now=True)

    with pytest.raises(LeaseLost), teller.database.transaction() as tx:
        webhooks.read_on(tx, endpoint, "a dispatcher", 60.0, held.position)

    assert teller.kept(endpoint).position.at > held.position.at


def test_a_delivery_is_made_again_when_asked_for(teller: Teller, receiver: Receiver) -> None:
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed(2)
    teller.deliver()
    [first, _] = teller.log(endpoint)

    with teller.database.transaction() as tx:
        assert endpoints.redeliver(tx, endpoint, [first["id"], 10_000]) == 1
    teller.deliver()

    again = [e.id for e in receiver.received]
    assert sorted(again) == sorted([*set(again), f"evt_{first['order_id']}_{first['seq']}"])
    assert [len(d["log"]) for d in teller.log(endpoint)] == [2, 1]


def test_all_that_was_given_up_is_made_again_when_asked_for(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.answers["/hook"] = [400]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed(2)
    for _ in range(3 * len(WAITS)):
        teller.let_time_pass()
        teller.deliver()
    given_up = teller.states(endpoint)

    receiver.script.answers["/hook"] = [200]
    with teller.database.transaction() as tx:
        assert endpoints.redeliver(tx, endpoint, None) == 2
    teller.deliver()

    assert given_up == ["failed", "failed"]
    assert teller.states(endpoint) == ["delivered", "delivered"]


def test_a_test_is_told_like_all_else(teller: Teller, receiver: Receiver) -> None:
    endpoint = teller.endpoint(receiver.url())
    with teller.database.transaction() as tx:
        delivery = endpoints.test(tx, endpoint)

    teller.deliver()

    [told] = receiver.received
    assert (told.id, told.event["type"]) == (f"test_{delivery}", "webhook.test")
    assert told.event["data"] == {"endpoint": endpoint}
    Webhook(teller.webhooks.secret(teller.kept(endpoint))).verify(told.body, told.headers)


def test_during_a_rotation_both_secrets_verify_and_then_the_new_one(
    teller: Teller, receiver: Receiver
) -> None:
    endpoint = teller.endpoint(receiver.url())
    old = teller.webhooks.secret(teller.kept(endpoint))
    with teller.database.transaction() as tx:
        new = teller.webhooks.secret(endpoints.rotate(tx, endpoint, overlap=60.0))
    teller.confirmed()
    teller.deliver()
    with teller.database.transaction() as tx:
        tx.execute(update(webhook_endpoints).values(earlier_until=now(-1)))
    teller.confirmed()
    teller.deliver()

    meanwhile, afterwards = receiver.received
    assert old != new
    for secret in (old, new):
        Webhook(secret).verify(meanwhile.body, meanwhile.headers)
    Webhook(new).verify(afterwards.body, afterwards.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(afterwards.body, afterwards.headers)


def test_no_secret_is_in_the_database(teller: Teller, receiver: Receiver) -> None:
    endpoint = teller.endpoint(receiver.url())
    secret = teller.webhooks.secret(teller.kept(endpoint))
    teller.confirmed()
    teller.deliver()

    rows = [
        str(row)
        for table in ("webhook_endpoints", "webhook_deliveries", "webhook_attempts")
        for row in teller.shop.query(f"SELECT * FROM {table}")
    ]

    assert rows
    assert not [row for row in rows if secret in row or secret.removeprefix("whsec_") in row]


def test_the_feed_is_read_no_further_ahead_than_can_be_sent(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "ENOUGH", 10)
    monkeypatch.setattr(turn, "PAGE", 5)
    receiver.script.answers["/hook"] = [500]
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed(40)

    teller.deliver()
    waiting = len(teller.states(endpoint))
    receiver.script.answers["/hook"] = [200]
    for _ in range(10):
        teller.let_time_pass()
        teller.deliver()

    assert waiting < 40
    assert teller.states(endpoint) == ["delivered"] * 40


def test_of_an_order_in_the_archive_the_delivery_says_so(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.answers["/hook"] = [500, 200]
    endpoint = teller.endpoint(receiver.url())
    [order] = teller.confirmed()
    teller.deliver()
    with teller.database.transaction() as tx:
        tx.execute(delete(events).where(events.c.order_id == order))

    teller.let_time_pass()
    teller.deliver()

    [delivery] = teller.log(endpoint)
    assert (delivery["state"], len(receiver.received)) == ("failed", 1)
    assert "its order has gone to the archive" in delivery["error"]


def test_old_deliveries_are_forgotten_with_their_attempts(
    teller: Teller, receiver: Receiver
) -> None:
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed(3)
    teller.deliver()
    [oldest, *_] = teller.log(endpoint)
    with teller.database.transaction() as tx:
        tx.execute(update(table).where(table.c.id == oldest["id"]).values(due_at=now(-100)))

    with teller.database.transaction() as tx:
        assert webhook_deliveries.forget(tx, 50.0, 10) == 1

    assert oldest["id"] not in [d["id"] for d in teller.log(endpoint)]
    [left] = teller.shop.query("SELECT count(*) AS n FROM webhook_attempts")
    assert left.n == 2


def test_a_dispatcher_delivers_by_itself_and_stops_when_told(
    teller: Teller, receiver: Receiver
) -> None:
    teller.endpoint(receiver.url())
    dispatcher = teller.dispatcher()
    dispatcher.start()
    try:
        teller.confirmed()
        give_up = time.monotonic() + 10
        while not receiver.received:
            assert time.monotonic() < give_up
            time.sleep(0.02)
    finally:
        began = time.monotonic()
        dispatcher.stop(5)

    assert time.monotonic() - began < 3
    with teller.database.snapshot() as tx:
        assert webhooks.wanting(tx) == []
