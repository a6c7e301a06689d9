"""A batch is delivered at once: whoever is slow or broken delays and breaks only itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.notifications.deliver import STRANDS, Courier
from pipeline.notifications.email import FileMailbox
from pipeline.notifications.message import Channel, Delivered, Delivery, Failed, Notification
from pipeline.notifications.webhook import WebhookSender


def notification(target: str, n: int = 1, channel: Channel = "webhook") -> Notification:
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
    batch = [
        notification(f"https://shop-{n % 3}.example/hook", n, "email" if n % 4 == 0 else "webhook")
        for n in range(40)
    ]

    results = Courier(Scripted(echo), Scripted(echo)).deliver(batch)

    assert results == [Failed(each.id) for each in batch]


def test_an_empty_batch_has_no_results() -> None:
    """Nothing to tell, nobody told."""
    assert Courier(Scripted(echo), Scripted(echo)).deliver([]) == []


def test_an_endpoint_sees_few_conversations_at_a_time() -> None:
    """A hundred webhooks for one host are dealt out to a handful of strands."""
    webhooks = Scripted(delivered)
    batch = [notification(f"https://shop.example/hook/{n}", n) for n in range(100)]

    Courier(Scripted(delivered), webhooks).deliver(batch)

    assert len(webhooks.conversations) == STRANDS
    assert sum(map(len, webhooks.conversations)) == 100


def test_a_sender_that_breaks_fails_only_what_it_had_in_hand() -> None:
    """A defect in one channel is a result for its notifications; the other channel delivers."""

    def broken(_: Notification) -> Delivery:
        raise KeyError("a defect")

    batch = [notification("https://shop.example"), notification("ada@example.com", 2, "email")]

    results = Courier(Scripted(delivered), Scripted(broken)).deliver(batch)

    assert results == [Failed("the sender broke: KeyError('a defect')"), Delivered()]


def test_what_was_delivered_before_a_defect_stays_delivered() -> None:
    """A result that is known isn't taken back."""

    def breaks_on_mondays(each: Notification) -> Delivery:
        if each.order_id == STRANDS:
            raise KeyError("a defect")
        return Delivered()

    batch = [notification("https://shop.example", n) for n in range(STRANDS + 1)]

    results = Courier(Scripted(delivered), Scripted(breaks_on_mondays)).deliver(batch)

    assert [type(result) for result in results] == [Delivered] * STRANDS + [Failed]


def test_a_sender_that_hangs_does_not_hold_up_the_batch() -> None:
    """At the deadline what is open has failed, what was done counts, and the next batch goes on."""
    release = threading.Event()

    def hangs(each: Notification) -> Delivery:
        if "slow" in each.target:
            release.wait(10)
        return Delivered()

    courier = Courier(Scripted(delivered), Scripted(hangs), size=2, deadline=0.3)
    slow = notification("https://slow.example/hook")
    quick = notification("https://quick.example/hook")

    began = time.monotonic()
    results = courier.deliver([slow, quick])
    after = courier.deliver([quick, quick])
    took = time.monotonic() - began
    release.set()

    assert results == [Failed("no answer within 0.3 s"), Delivered()]
    assert after == [Delivered(), Delivered()]
    assert took < 2


def test_what_was_called_late_is_not_sent_behind_our_back() -> None:
    """It is written down as failed and sent again later: sending it now would send it twice."""
    sent: list[str] = []

    def slow(each: Notification) -> Delivery:
        time.sleep(0.15)
        sent.append(each.target)
        return Delivered()

    letters = [notification("https://slow.example", n) for n in range(STRANDS * 5)]
    results = Courier(Scripted(delivered), Scripted(slow), deadline=0.2).deliver(letters)
    told = results.count(Delivered())
    time.sleep(0.5)

    assert 0 < told < len(letters)
    assert len(sent) <= told + STRANDS  # those on their way at the deadline


@pytest.mark.parametrize("target", ["http://[", "nonsense", ""])
def test_a_target_that_is_no_url_fails_alone(target: str) -> None:
    """A mistyped URL is a result like any other."""
    courier = Courier(Scripted(delivered), WebhookSender("secret"))

    first, second = courier.deliver([notification(target), notification("a@b.example", 2, "email")])

    assert isinstance(first, Failed)
    assert second == Delivered()


class _Handler(BaseHTTPRequestHandler):
    """Notes when it was told of an order; the slow ones among them are never answered."""

    told: dict[str, float]
    over: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.told[self.headers["webhook-id"]] = time.monotonic()
        if self.path == "/slow":
            self.over.wait(10)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the test reads what was told."""


@pytest.fixture
def told() -> dict[str, float]:
    return {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = (
        64  # with the default of 5, a burst waits a second for its SYN to be resent
    )


@pytest.fixture
def port(told: dict[str, float]) -> Iterator[int]:
    over = threading.Event()
    handler = type("Handler", (_Handler,), {"told": told, "over": over})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_slow_endpoint_does_not_delay_the_others(
    tmp_path: Path, port: int, told: dict[str, float]
) -> None:
    """An endpoint hangs until the time-out; mails and all other webhooks are through by then."""
    courier = Courier(FileMailbox(tmp_path), WebhookSender("secret", timeout=3))
    slow = [notification(f"http://localhost:{port}/slow", n) for n in range(20)]
    quick = [notification(f"http://127.0.0.1:{port}/quick", n) for n in range(20, 40)]
    mails = [notification("ada@example.com", n, "email") for n in range(20)]

    began = time.monotonic()
    results = courier.deliver(slow + quick + mails)
    took = time.monotonic() - began

    assert [type(result) for result in results] == [Failed] * 20 + [Delivered] * 40
    assert all(told[each.id] - began < 2.7 for each in quick)
    assert len(list(tmp_path.glob("*.eml"))) == 20
    assert 3 <= took < 9
