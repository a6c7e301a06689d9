"""A batch is delivered at once: whoever is slow or broken delays and breaks only itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from pipeline.notifications.deliver import STRANDS, Courier
from pipeline.notifications.message import Channel, Delivered, Delivery, Failed, Notification


def notification(target: str, n: int = 1, channel: Channel = "page") -> Notification:
    payload = {
        "order_id": n,
        "external_id": f"web-{n}",
        "customer_name": "Ada",
        "currency": "EUR",
        "lines": [],
        "shipping": None,
        "totals": dict.fromkeys(("net", "tax", "shipping", "discount", "gross"), "0.00"),
    }
    return Notification(f"msg_{n}_{channel}", n, "web", channel, "order.confirmed", target, payload)


class Scripted:
    """A sender that answers as it is told to and remembers its conversations."""

    def __init__(self, answer: Callable[[Notification], Delivery]) -> None:
        self._answer = answer
        self.conversations: list[list[str]] = []

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        self.conversations.append([each.target for each in notifications])
        for each in notifications:
            yield self._answer(each)


def delivered(_: Notification) -> Delivery:
    return Delivered()


def echo(each: Notification) -> Delivery:
    return Failed(each.id)


def test_results_come_in_input_order() -> None:
    """Each notification has its result at its own place, whatever was finished first."""
    batch = [notification("operators", n, "email" if n % 4 == 0 else "page") for n in range(40)]

    results = Courier(Scripted(echo), Scripted(echo)).deliver(batch)

    assert results == [Failed(each.id) for each in batch]


def test_an_empty_batch_has_no_results() -> None:
    """Nothing to tell, nobody told."""
    assert Courier(Scripted(echo), Scripted(echo)).deliver([]) == []


def test_a_mail_server_sees_few_conversations_at_a_time() -> None:
    """A hundred mails are dealt out to a handful of strands."""
    mails = Scripted(delivered)
    batch = [notification("ada@example.com", n, "email") for n in range(100)]

    Courier(mails).deliver(batch)

    assert len(mails.conversations) == STRANDS
    assert sum(map(len, mails.conversations)) == 100


def test_a_sender_that_breaks_fails_only_what_it_had_in_hand() -> None:
    """A defect in one channel is a result for its notifications; the other channel delivers."""

    def broken(_: Notification) -> Delivery:
        raise KeyError("a defect")

    batch = [notification("operators"), notification("ada@example.com", 2, "email")]

    results = Courier(Scripted(delivered), Scripted(broken)).deliver(batch)

    assert results == [Failed("the sender broke: KeyError('a defect')"), Delivered()]


def test_what_was_delivered_before_a_defect_stays_delivered() -> None:
    """A result that is known isn't taken back."""

    def breaks_on_mondays(each: Notification) -> Delivery:
        if each.order_id == STRANDS:
            raise KeyError("a defect")
        return Delivered()

    batch = [notification("operators", n) for n in range(STRANDS + 1)]

    results = Courier(Scripted(delivered), Scripted(breaks_on_mondays)).deliver(batch)

    assert [type(result) for result in results] == [Delivered] * STRANDS + [Failed]


def test_a_sender_that_hangs_does_not_hold_up_the_batch() -> None:
    """At the deadline what is open has failed, what was done counts, and the next batch goes on."""
    release = threading.Event()

    def hangs(each: Notification) -> Delivery:
        release.wait()
        return Delivered()

    courier = Courier(Scripted(delivered), Scripted(hangs), size=2, deadline=0.3)
    slow = notification("operators")
    quick = notification("ada@example.com", 2, "email")

    try:
        results = courier.deliver([slow, quick])
        after = courier.deliver([quick, quick])
    finally:
        release.set()

    assert results == [Failed("no answer within 0.3 s"), Delivered()]
    assert after == [Delivered(), Delivered()]


def test_what_was_called_late_is_not_sent_behind_our_back() -> None:
    """It is written down as failed and sent again later: sending it now would send it twice."""
    sent: list[str] = []
    release = threading.Event()

    def slow_after_the_first(each: Notification) -> Delivery:
        if each.id != letters[0].id:
            release.wait()
        sent.append(each.id)
        return Delivered()

    letters = [notification("operators", n) for n in range(STRANDS * 10)]
    courier = Courier(Scripted(delivered), Scripted(slow_after_the_first), deadline=2.0)
    try:
        results = courier.deliver(letters)
    finally:
        release.set()
    told = results.count(Delivered())
    time.sleep(0.3)  # for what would be sent behind our back

    assert told == 1
    assert len(sent) <= told + STRANDS  # those on their way at the deadline
