"""Endpoints that are slow, redirecting, private, lying or dead: each costs itself, is logged in words,
and nobody else is delayed."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from pipeline.webhooks import dispatcher, exchange, targets, turn
from pipeline.webhooks.endpoints import Webhooks
from pipeline.webhooks.schedule import REST_AFTER
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import Allowed
from tests.webhooks.conftest import LIES, MASTER, Receiver, Teller, until


def only_attempt(teller: Teller, endpoint: str) -> dict[str, Any]:
    [delivery] = teller.log(endpoint)
    [attempt] = delivery["log"]
    return {**attempt, "state": delivery["state"]}


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# --- Slow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/silent", "/drips"])
def test_one_that_takes_too_long_is_cut_off_however_it_does_it(
    teller: Teller, receiver: Receiver, path: str
) -> None:
    endpoint = teller.impatient().endpoint(receiver.url(path))
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert (attempt["state"], attempt["status"]) == ("pending", None)
    assert attempt["error"] == "no answer within 0.5 s"
    assert attempt["ms"] >= 450


def test_a_slow_one_delays_no_other(teller: Teller, receiver: Receiver) -> None:
    teller.pace = replace(teller.pace, limit=600.0)
    slow = [teller.endpoint(receiver.url("/silent")) for _ in range(5)]
    quick = teller.endpoint(receiver.url("/quick"))
    delivering = teller.dispatcher()
    delivering.start()
    try:
        teller.confirmed(30)
        while len(receiver.to("/quick")) < 30:
            time.sleep(0.02)
        answered = [d for each in slow for d in teller.log(each) if d["attempts"]]
    finally:
        receiver.script.over.set()
        delivering.stop(5)

    assert answered == []  # none of them had come to its end by then
    assert teller.states(quick) == ["delivered"] * 30


def test_a_slow_one_has_few_conversations_at_a_time(teller: Teller, receiver: Receiver) -> None:
    teller.impatient().endpoint(receiver.url("/silent"))
    teller.confirmed(30)

    teller.deliver()

    assert turn.STRANDS <= len(receiver.received) < turn.STRANDS + REST_AFTER


def test_ones_with_much_to_be_told_give_their_place_to_those_who_wait(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ENDPOINTS", 1)
    teller.pace = replace(teller.pace, turn=0.05)
    for path in ("/one", "/other"):
        teller.endpoint(receiver.url(path))
    teller.confirmed(200)
    delivering = teller.dispatcher()
    delivering.start()
    try:
        until(lambda: receiver.to("/one") and receiver.to("/other"), patience=240)
        told = [len(receiver.to("/one")), len(receiver.to("/other"))]
        until(lambda: len(receiver.received) == 400, patience=240)
    finally:
        delivering.stop(5)

    assert max(told) < 200


# --- Redirecting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(
    teller: Teller, receiver: Receiver, status: int
) -> None:
    receiver.script.answers["/hook"] = [status]
    receiver.script.headers["location"] = receiver.url("/elsewhere")
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()

    assert [each.path for each in receiver.received] == ["/hook"]
    attempt = only_attempt(teller, endpoint)
    assert attempt["state"] == "pending"
    assert attempt["error"].startswith(f"answered {status} ")
    assert attempt["error"].endswith(
        "redirects are not followed, make an endpoint of where it leads"
    )


# --- Private --------------------------------------------------------------------------------------


def test_a_name_that_means_a_private_address_is_not_called(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = [ip_address("127.0.0.1"), ip_address("10.1.2.3")]
    monkeypatch.setattr(targets, "resolve", lambda host, port: private)
    endpoint = teller.endpoint(f"https://shop.example:{receiver.port}/hook")
    teller.webhooks = Webhooks(Signer(MASTER), Allowed())
    teller.confirmed()

    teller.deliver()

    assert receiver.received == []
    attempt = only_attempt(teller, endpoint)
    assert attempt["error"] == (
        "the target is refused: 127.0.0.1 is not of the public internet; see ORDERMILL_WEBHOOK_ALLOW"
    )


def test_the_address_that_was_looked_at_is_the_one_that_is_called(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another address a moment later: it is asked for once, and not by the client."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> Any:
        asked.append(host)
        return [ip_address("127.0.0.1")]

    def rebound(host: Any, *rest: Any, **options: Any) -> Any:
        assert host in ("127.0.0.1", b"127.0.0.1"), f"{host} was resolved again"
        return original(host, *rest, **options)

    original = socket.getaddrinfo
    monkeypatch.setattr(targets, "resolve", resolve)
    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    teller.endpoint(f"http://rebinding.example:{receiver.port}/hook")
    teller.confirmed(3)

    teller.deliver()

    assert asked == ["rebinding.example"]
    assert [each.headers["host"] for each in receiver.received] == [
        f"rebinding.example:{receiver.port}"
    ] * 3


def test_of_several_addresses_one_that_answers_is_found(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [ip_address("127.0.0.2"), ip_address("127.0.0.1")]
    monkeypatch.setattr(targets, "resolve", lambda host, port: both)
    endpoint = teller.endpoint(f"http://localhost:{receiver.port}/hook")
    teller.confirmed()

    teller.deliver()

    assert only_attempt(teller, endpoint)["state"] == "delivered"


# --- Lying ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "state"),
    [
        ("/garbage", None, "pending"),
        ("/hangs-up", None, "pending"),
        ("/bad-length", None, "pending"),
        ("/short", 200, "delivered"),
        ("/long", 200, "delivered"),
        ("/bad-chunks", 200, "delivered"),
        ("/endless", 200, "delivered"),
        ("/drips-body", 200, "delivered"),
    ],
)
def test_a_lie_is_logged_and_the_status_counts_if_there_was_one(
    teller: Teller, receiver: Receiver, path: str, status: int | None, state: str
) -> None:
    if path == "/drips-body":
        teller.impatient(1.5)
    endpoint = teller.endpoint(receiver.url(path))
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert (attempt["status"], attempt["state"]) == (status, state)
    assert attempt["error"] is not None or path == "/long"
    assert len(attempt["answer"] or "") <= 500


def test_after_a_lie_the_next_is_told_as_if_nothing_had_been(
    teller: Teller, receiver: Receiver
) -> None:
    lying = [teller.endpoint(receiver.url(path)) for path in LIES]
    honest = teller.endpoint(receiver.url("/honest"))
    teller.confirmed(3)

    teller.deliver()

    assert teller.states(honest) == ["delivered"] * 3
    assert all(d["attempts"] for each in lying for d in teller.log(each)[:1])


def test_a_200_with_garbage_is_kept_shortened_printable_and_without_secrets(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.text = b"\x00\x1b[31m<b>4111 1111 1111 1111 password=hunter2 \xff" + b"x" * 9000
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert attempt["state"] == "delivered"
    assert len(attempt["answer"]) == exchange.MOST_KEPT
    assert "\x00" not in attempt["answer"]
    assert "\x1b" not in attempt["answer"]
    assert "4111" not in attempt["answer"]
    assert "hunter2" not in attempt["answer"]


@pytest.mark.parametrize(
    "asked", ["", "-1", "soon", "1e9", "\u00b2", "Mon, 99 Foo 0000 99:99:99 +9999", ",", "0" * 5000]
)
def test_a_retry_after_that_is_none_is_as_if_it_were_not_there(
    teller: Teller, receiver: Receiver, asked: str
) -> None:
    receiver.script.answers["/hook"] = [503]
    receiver.script.headers["retry-after"] = asked
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert (attempt["status"], attempt["state"]) == (503, "pending")


def test_whatever_goes_wrong_with_an_exchange_is_its_failure(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("a defect, password=hunter2")

    monkeypatch.setattr(exchange, "_retry_after", breaks)
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()

    teller.deliver()

    [delivery] = teller.log(endpoint)
    assert len(delivery["log"]) == 1
    assert "hunter2" not in str(delivery["log"])


def test_a_cookie_is_not_given_back(teller: Teller, receiver: Receiver) -> None:
    receiver.script.headers["set-cookie"] = "seen=yes; Path=/"
    teller.endpoint(receiver.url())
    teller.confirmed(20)

    teller.deliver()

    assert len(receiver.received) == 20
    assert not [each for each in receiver.received if "cookie" in each.headers]


def test_a_certificate_is_looked_at_by_the_name(teller: Teller, secure_receiver: Receiver) -> None:
    good = teller.endpoint(secure_receiver.url(host="localhost"))
    teller.confirmed()

    teller.deliver()

    assert only_attempt(teller, good)["state"] == "delivered"


def test_a_certificate_for_another_name_is_not_trusted(
    teller: Teller, secure_receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "resolve", lambda host, port: [ip_address("127.0.0.1")])
    endpoint = teller.endpoint(secure_receiver.url(host="shop.example"))
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert attempt["error"].startswith("the certificate of shop.example is not trusted: ")
    assert secure_receiver.received == []


def test_one_that_speaks_no_tls_is_not_spoken_to(teller: Teller, receiver: Receiver) -> None:
    endpoint = teller.endpoint(receiver.url(host="localhost").replace("http:", "https:"))
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert attempt["error"].startswith("no answer: ")
    assert receiver.received == []


# --- Dead -----------------------------------------------------------------------------------------


def test_where_nobody_listens_the_log_says_so(teller: Teller) -> None:
    endpoint = teller.endpoint(f"http://127.0.0.1:{closed_port()}/hook")
    teller.confirmed()

    teller.deliver()

    attempt = only_attempt(teller, endpoint)
    assert (attempt["state"], attempt["error"]) == (
        "pending", "no answer: All connection attempts failed",
    )  # fmt: skip


def test_a_host_that_there_is_not_is_named(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(targets, "resolve", resolve)
    endpoint = teller.endpoint("https://nowhere.example/hook")
    teller.confirmed()

    teller.deliver()

    assert only_attempt(teller, endpoint)["error"] == (
        "nowhere.example has no address: Name or service not known"
    )


def test_a_name_that_nobody_answers_for_delays_no_other(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    original = targets.resolve

    def resolve(host: str, port: int) -> Any:
        if host.endswith(".example"):
            over.wait()
        return original(host, port)

    monkeypatch.setattr(targets, "resolve", resolve)
    teller.impatient(2.0)
    lost = [teller.endpoint(f"https://lost-{n}.example/hook") for n in range(15)]
    teller.endpoint(receiver.url())
    teller.confirmed()

    try:
        teller.deliver()
    finally:
        over.set()

    assert len(receiver.received) == 1
    assert {only_attempt(teller, each)["error"] for each in lost} == {"no answer within 2 s"}
