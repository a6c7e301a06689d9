"""What every gateway must do, whoever made it: each rule is tested on each gateway.

The manual gateway moves no money and keeps no book; its few rules are in test_manual.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.payments.gateway import (
    Answer,
    Call,
    Declined,
    Gateway,
    GatewayEvent,
    InvalidEvent,
    Kind,
    Payment,
    Refused,
    RequiresAction,
    Reversal,
    Succeeded,
    capture_key,
    void_key,
)
from tests.payments.houses import House, SandboxHouse, StripeHouse

HOUR = timedelta(hours=1)
KEY = "5f3c9be2f6a54d0d8b8f0a1c2d3e4f50"


@pytest.fixture(params=["sandbox in memory", "sandbox on a file", "stripe"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    if request.param == "stripe":
        return StripeHouse(request.getfixturevalue("proxy"))
    return SandboxHouse(tmp_path / "sandbox.db" if request.param == "sandbox on a file" else None)


@pytest.fixture
def gateway(house: House) -> Gateway:
    return house.gateway


def authorize(amount: int = 5950, key: str = KEY, method: str = "pm_card_visa") -> Call:
    asked_at = datetime.now(UTC)
    return Call("authorize", key, amount, "EUR", method, order_id=1001, asked_at=asked_at)


def capture(parent: str, amount: int = 5950, key: str = capture_key(KEY)) -> Call:
    return Call("capture", key, amount, "EUR", parent=parent, order_id=1001)


def void(parent: str, key: str = void_key(KEY)) -> Call:
    return Call("void", key, 5950, "EUR", parent=parent, order_id=1001)


def refund(parent: str, amount: int, key: str = "a-refund") -> Call:
    return Call("refund", key, amount, "EUR", parent=parent, order_id=1001)


FOLLOW_UPS: dict[Kind, Callable[[str], Call]] = {
    "capture": capture,
    "void": void,
    "refund": lambda parent: refund(parent, 950),
}


def reference(answer: Answer | None) -> str:
    assert isinstance(answer, Succeeded | RequiresAction), answer
    return answer.reference


def kinds(gateway: Gateway) -> list[Kind]:
    return [entry.kind for entry in gateway.book()]


def read(gateway: Gateway, its: str) -> Payment:
    payment = gateway.read(its)
    assert isinstance(payment, Payment), payment
    return payment


@pytest.fixture
def authorized(gateway: Gateway) -> str:
    """The reference of an authorization of 59.50 EUR."""
    return reference(gateway.perform(authorize()))


@pytest.fixture
def captured(gateway: Gateway, authorized: str) -> str:
    """The reference of an authorization of 59.50 EUR, all of it captured."""
    reference(gateway.perform(capture(authorized)))
    return authorized


@pytest.fixture
def waiting(house: House) -> Call:
    """An authorization whose customer must act first."""
    return authorize(method=house.waits)


# Keys


def test_an_authorization_and_its_capture_have_references_of_their_own(
    gateway: Gateway, authorized: str
) -> None:
    assert reference(gateway.perform(capture(authorized))) != authorized


def test_the_same_key_gives_the_same_answer_and_is_done_once(gateway: Gateway) -> None:
    first = gateway.perform(authorize())

    again = gateway.perform(authorize())

    assert again == first
    assert kinds(gateway) == ["authorize"]


@pytest.mark.parametrize("kind", ["capture", "void"])
def test_what_ends_an_authorization_happens_once_under_its_key(
    gateway: Gateway, authorized: str, kind: Kind
) -> None:
    first = gateway.perform(FOLLOW_UPS[kind](authorized))

    again = gateway.perform(FOLLOW_UPS[kind](authorized))

    assert isinstance(first, Succeeded)
    assert again == first
    assert kinds(gateway) == ["authorize", kind]


def test_a_refund_happens_once_under_its_key(gateway: Gateway, captured: str) -> None:
    first = gateway.perform(refund(captured, 950))

    again = gateway.perform(refund(captured, 950))

    assert isinstance(first, Succeeded)
    assert again == first
    assert kinds(gateway) == ["authorize", "capture", "refund"]


def test_a_key_stands_for_one_amount(gateway: Gateway) -> None:
    """Another amount under the key is declined and not booked, whether performed or looked up."""
    gateway.perform(authorize(5950))

    answer = gateway.perform(authorize(9900))

    assert answer == Declined("idempotency_key_reused")
    assert gateway.find(authorize(9900)) == Declined("idempotency_key_reused")
    assert [entry.amount for entry in gateway.book()] == [5950]


# Authorizations


def test_a_declined_card_is_declined_each_time_and_leaves_nothing(house: House) -> None:
    call = authorize(method=house.declined)

    first = house.gateway.perform(call)
    again = house.gateway.perform(call)

    assert isinstance(first, Declined)
    assert again == first
    assert house.gateway.find(call) == first
    assert kinds(house.gateway) == []


def test_nothing_can_not_be_authorized(gateway: Gateway) -> None:
    assert isinstance(gateway.perform(authorize(0)), Declined | Refused)
    assert kinds(gateway) == []


def test_an_authorization_waits_for_its_customer(gateway: Gateway, waiting: Call) -> None:
    """Until she has acted it can't be captured, and isn't in the book."""
    its = reference(gateway.perform(waiting))

    assert gateway.perform(waiting) == RequiresAction(its)
    assert gateway.find(waiting) == RequiresAction(its)
    assert isinstance(gateway.perform(capture(its)), Declined | Refused)
    assert read(gateway, its).status == "requires_action"
    assert kinds(gateway) == []


def test_once_the_customer_has_acted_it_stands(house: House, waiting: Call) -> None:
    gateway = house.gateway
    its = reference(gateway.perform(waiting))

    house.confirm(its)

    assert gateway.perform(waiting) == Succeeded(its)
    assert gateway.find(waiting) == Succeeded(its)
    assert read(gateway, its).status == "authorized"
    assert isinstance(gateway.perform(capture(its)), Succeeded)
    assert kinds(gateway) == ["authorize", "capture"]


def test_a_customer_who_fails_is_declined(house: House, waiting: Call) -> None:
    gateway = house.gateway
    its = reference(gateway.perform(waiting))

    house.fail(its)

    assert isinstance(gateway.perform(waiting), Declined)
    assert isinstance(gateway.find(waiting), Declined)
    assert read(gateway, its).status == "failed"
    assert kinds(gateway) == []


def test_an_authorization_that_waits_can_be_voided_and_then_never_stands(
    gateway: Gateway, waiting: Call
) -> None:
    its = reference(gateway.perform(waiting))

    assert isinstance(gateway.perform(void(its)), Succeeded)

    assert gateway.perform(waiting) == Declined("already_voided")
    assert gateway.find(waiting) == Declined("already_voided")
    assert read(gateway, its).status == "voided"


# Captures and voids


def test_no_more_is_captured_than_was_authorized(gateway: Gateway, authorized: str) -> None:
    too_much = capture(authorized, 5951)

    assert isinstance(gateway.perform(too_much), Declined | Refused)
    assert isinstance(gateway.perform(too_much), Declined | Refused)
    assert gateway.find(too_much) is None
    assert kinds(gateway) == ["authorize"]


def test_an_authorization_is_captured_once_and_the_rest_is_released(
    gateway: Gateway, authorized: str
) -> None:
    gateway.perform(capture(authorized, 5000))

    second = gateway.perform(capture(authorized, 950, "another-capture"))

    assert second == Declined("already_captured")
    assert [entry.amount for entry in gateway.book()] == [5950, 5000]
    assert read(gateway, authorized).captured == 5000


def test_what_is_voided_can_not_be_captured(gateway: Gateway, authorized: str) -> None:
    gateway.perform(void(authorized))

    assert gateway.perform(capture(authorized)) == Declined("already_voided")
    assert kinds(gateway) == ["authorize", "void"]


def test_what_is_captured_can_not_be_voided(gateway: Gateway, captured: str) -> None:
    """Captured money goes back by a refund, never by a void."""
    assert gateway.perform(void(captured)) == Declined("already_captured")
    assert read(gateway, captured).status == "captured"


@pytest.mark.parametrize("kind", ["capture", "void", "refund"])
def test_a_follow_up_needs_an_authorization_that_exists(gateway: Gateway, kind: Kind) -> None:
    call = FOLLOW_UPS[kind]("no-such-reference")

    assert isinstance(gateway.perform(call), Declined)
    assert gateway.find(call) is None


def test_a_dispute_is_not_ours_to_ask_for(gateway: Gateway, captured: str) -> None:
    answer = gateway.perform(Call("dispute", "a-dispute", 5950, "EUR", parent=captured))

    assert answer == Declined("not_ours_to_ask")
    assert read(gateway, captured).reversals == ()


# Refunds


def test_a_charge_is_refunded_in_parts_up_to_what_was_captured(
    gateway: Gateway, authorized: str
) -> None:
    gateway.perform(capture(authorized, 5000))

    parts = [gateway.perform(refund(authorized, n, f"refund-{n}")) for n in (950, 4050)]
    beyond = gateway.perform(refund(authorized, 1, "refund-1"))

    assert [type(part) for part in parts] == [Succeeded, Succeeded]
    assert isinstance(beyond, Declined)
    assert {e.amount for e in gateway.book() if e.kind == "refund"} == {950, 4050}


def test_what_was_not_captured_can_not_be_refunded(gateway: Gateway, authorized: str) -> None:
    assert isinstance(gateway.perform(refund(authorized, 100)), Declined)


# Looking up


def test_what_was_done_is_found_by_its_key(gateway: Gateway, captured: str) -> None:
    given_back = gateway.perform(refund(captured, 950))

    assert gateway.find(authorize()) == Succeeded(captured)
    assert isinstance(gateway.find(capture(captured)), Succeeded)
    assert gateway.find(refund(captured, 950)) == given_back


def test_a_void_is_found_by_its_key(gateway: Gateway, authorized: str) -> None:
    gateway.perform(void(authorized))

    assert isinstance(gateway.find(void(authorized)), Succeeded)


def test_what_never_happened_is_known_not_to_have(gateway: Gateway, authorized: str) -> None:
    """None, not a guess."""
    assert gateway.find(authorize(key="another-key")) is None
    assert gateway.find(capture(authorized)) is None
    assert gateway.find(void(authorized)) is None
    assert gateway.find(refund(authorized, 950)) is None


# Reading


def test_a_payment_is_read_as_it_is(gateway: Gateway, authorized: str) -> None:
    assert gateway.read(authorized) == Payment(
        authorized, KEY, 1001, "authorized", 5950, "EUR", captured=0
    )

    gateway.perform(capture(authorized, 5000))

    assert gateway.read(authorized) == Payment(
        authorized, KEY, 1001, "captured", 5950, "EUR", captured=5000
    )


def test_a_voided_payment_says_so(gateway: Gateway, authorized: str) -> None:
    gateway.perform(void(authorized))

    assert (read(gateway, authorized).status, read(gateway, authorized).captured) == ("voided", 0)


def test_there_is_no_payment_of_a_reference_never_given(gateway: Gateway) -> None:
    assert gateway.read("no-such-reference") is None


def test_a_payment_tells_our_refunds_and_those_of_the_console(house: House, captured: str) -> None:
    ours = reference(house.gateway.perform(refund(captured, 950)))
    theirs = house.refund(captured, 1000)

    reversals = read(house.gateway, captured).reversals

    assert set(reversals) == {
        Reversal("refund", ours, "a-refund", 950, "succeeded"),
        Reversal("refund", theirs, None, 1000, "succeeded"),
    }


def test_a_refund_that_bounces_has_failed_and_leaves_the_book(house: House, captured: str) -> None:
    call = refund(captured, 5950)
    ours = reference(house.gateway.perform(call))

    house.bounce(ours)

    (bounced,) = read(house.gateway, captured).reversals
    assert (bounced.reference, bounced.key, bounced.state) == (ours, call.key, "failed")
    assert "refund" not in kinds(house.gateway)
    assert isinstance(house.gateway.find(call), Declined)


def test_what_bounced_may_be_refunded_again(house: House, captured: str) -> None:
    house.bounce(house.refund(captured, 5950))

    again = house.gateway.perform(refund(captured, 5950))

    assert isinstance(again, Succeeded)


@pytest.mark.parametrize(("won", "state"), [(True, "failed"), (False, "succeeded")])
def test_a_dispute_is_open_until_it_is_won_or_lost(
    house: House, captured: str, won: bool, state: str
) -> None:
    """It succeeds when the money is taken back: only then is it in the book."""
    its = house.dispute(captured, 5950)
    (opened,) = read(house.gateway, captured).reversals
    listed_open = kinds(house.gateway)

    house.close_dispute(its, won=won)

    (closed,) = read(house.gateway, captured).reversals
    assert opened == Reversal("dispute", its, None, 5950, "open")
    assert (closed.reference, closed.state) == (its, state)
    assert "dispute" not in listed_open
    assert ("dispute" in kinds(house.gateway)) == (not won)


# The book


def test_the_book_lists_what_happened_oldest_first(gateway: Gateway, captured: str) -> None:
    """Each operation under our key, with its payment, amount and currency."""
    gateway.perform(refund(captured, 950))

    entries = list(gateway.book())

    assert [(e.kind, e.key, e.amount, e.currency, e.parent) for e in entries] == [
        ("authorize", KEY, 5950, "EUR", captured),
        ("capture", f"{KEY}.capture", 5950, "EUR", captured),
        ("refund", "a-refund", 950, "EUR", captured),
    ]
    assert entries[0].reference == captured
    assert len({entry.reference for entry in entries}) == 3


def test_a_void_is_listed_under_the_key_of_its_authorization(
    gateway: Gateway, authorized: str
) -> None:
    gateway.perform(void(authorized))

    assert [(e.key, e.parent) for e in gateway.book()] == [
        (KEY, authorized),
        (f"{KEY}.void", authorized),
    ]


def test_what_was_done_at_the_gateway_is_listed_under_its_reference(
    house: House, captured: str
) -> None:
    refunded = house.refund(captured, 950)
    disputed = house.dispute(captured, 5000)
    house.close_dispute(disputed, won=False)

    *_, one, other = house.gateway.book()

    assert {(e.kind, e.key, e.reference, e.amount, e.parent) for e in (one, other)} == {
        ("refund", refunded, refunded, 950, captured),
        ("dispute", disputed, disputed, 5000, captured),
    }


def test_the_book_is_read_by_window_of_time(gateway: Gateway, captured: str) -> None:
    now = datetime.now(UTC)

    assert len(list(gateway.book(now - HOUR, now + HOUR))) == 2
    assert len(list(gateway.book(since=now - HOUR))) == 2
    assert len(list(gateway.book(until=now + HOUR))) == 2
    assert list(gateway.book(since=now + HOUR)) == []
    assert list(gateway.book(until=now - HOUR)) == []
    assert all(e.at and now - HOUR < e.at < now + HOUR for e in gateway.book())


def test_a_fee_is_told_of_captures_only(gateway: Gateway, captured: str) -> None:
    authorization, taken = gateway.book()

    assert authorization.fee is None
    assert taken.fee is not None
    assert 0 <= taken.fee < taken.amount


# Events


def test_what_happens_is_told_as_events_with_ids_that_stay(gateway: Gateway, captured: str) -> None:
    since = datetime.now(UTC) - HOUR

    events = list(gateway.events(since))

    assert captured in {event.reference for event in events}
    assert len({event.id for event in events}) == len(events)
    assert list(gateway.events(since)) == events


def test_events_are_told_since_a_moment(gateway: Gateway, captured: str) -> None:
    assert list(gateway.events(datetime.now(UTC) + HOUR)) == []


EVENT = GatewayEvent("evt_1", "payment_intent.succeeded", "pi_1")


def test_a_signed_event_is_believed(house: House) -> None:
    body, headers = house.sign(EVENT, datetime.now(UTC))

    assert house.gateway.verify(body, headers) == EVENT
    assert house.gateway.verify(body, {k.lower(): v for k, v in headers.items()}) == EVENT


def test_an_altered_event_is_refused(house: House) -> None:
    body, headers = house.sign(EVENT, datetime.now(UTC))

    with pytest.raises(InvalidEvent):
        house.gateway.verify(body.replace(b"pi_1", b"pi_2"), headers)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(days=1)])
def test_an_old_event_is_refused(house: House, age: timedelta) -> None:
    body, headers = house.sign(EVENT, datetime.now(UTC) - age)

    with pytest.raises(InvalidEvent):
        house.gateway.verify(body, headers)


@pytest.mark.parametrize("signature", ["", "nonsense", "v1,§", "t=1,v1=", "t=x"])
@pytest.mark.parametrize("body", [b"{}", b"\xff\xfe", b"not JSON"])
def test_what_is_not_signed_is_refused(house: House, signature: str, body: bytes) -> None:
    _, headers = house.sign(EVENT, datetime.now(UTC))
    forged = {name: signature if "ignature" in name else value for name, value in headers.items()}

    with pytest.raises(InvalidEvent):
        house.gateway.verify(body, forged)
    with pytest.raises(InvalidEvent):
        house.gateway.verify(body, {})
