"""What every gateway must do, whoever made it: each rule is tested on each gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.payments.gateway import Answer, BookEntry, Call, Declined, Gateway, Kind, Succeeded
from pipeline.payments.sandbox import SandboxGateway

GATEWAYS = ("sandbox in memory", "sandbox on a file")


@pytest.fixture(params=GATEWAYS)
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Gateway:
    on_a_file = request.param == "sandbox on a file"
    return SandboxGateway(tmp_path / "sandbox.db" if on_a_file else None)


def authorize(amount: int = 5950, key: str = "web-1001/authorize") -> Call:
    return Call("authorize", key, amount, "EUR", method="pm_card_visa")


def follow_up(kind: Kind, amount: int, parent: str, key: str | None = None) -> Call:
    return Call(kind, key or f"web-1001/{kind}", amount, "EUR", parent=parent)


def reference(answer: Answer) -> str:
    assert isinstance(answer, Succeeded), answer
    return answer.reference


@pytest.fixture
def authorized(gateway: Gateway) -> str:
    """The reference of an authorization of 59.50 EUR."""
    return reference(gateway.perform(authorize()))


@pytest.fixture
def captured(gateway: Gateway, authorized: str) -> str:
    """The reference of an authorization of 59.50 EUR, all of it captured."""
    reference(gateway.perform(follow_up("capture", 5950, authorized)))
    return authorized


def test_operations_that_succeed_have_references_of_their_own(
    gateway: Gateway, authorized: str
) -> None:
    """An authorization and its capture can be told apart by the gateway's reference."""
    capture = gateway.perform(follow_up("capture", 5950, authorized))

    assert reference(capture) != authorized


def test_the_same_key_gives_the_same_answer_and_is_done_once(gateway: Gateway) -> None:
    """Asking again under a key repeats the answer and does nothing."""
    first = gateway.perform(authorize())

    again = gateway.perform(authorize())

    assert again == first
    assert len(list(gateway.book())) == 1


def test_a_capture_asked_for_twice_is_taken_once(gateway: Gateway, captured: str) -> None:
    """A capture repeated under its key succeeds again without more money being taken."""
    again = gateway.perform(follow_up("capture", 5950, captured))

    assert isinstance(again, Succeeded)
    assert [entry.kind for entry in gateway.book()] == ["authorize", "capture"]


def test_a_key_used_for_another_amount_is_declined(gateway: Gateway) -> None:
    """A key stands for one amount; another one under it is refused and not booked."""
    gateway.perform(authorize(5950))

    answer = gateway.perform(authorize(9900))

    assert answer == Declined("idempotency_key_reused")
    assert [entry.amount for entry in gateway.book()] == [5950]


def test_no_more_is_captured_than_was_authorized(gateway: Gateway, authorized: str) -> None:
    """A capture above the authorized amount is declined."""
    answer = gateway.perform(follow_up("capture", 5951, authorized))

    assert isinstance(answer, Declined)
    assert gateway.find(follow_up("capture", 5951, authorized)) is None


def test_a_second_capture_can_not_exceed_the_rest(gateway: Gateway, authorized: str) -> None:
    """Two captures under two keys never take more than was authorized."""
    gateway.perform(follow_up("capture", 5950, authorized, "web-1001/capture-1"))

    answer = gateway.perform(follow_up("capture", 5950, authorized, "web-1001/capture-2"))

    assert isinstance(answer, Declined)
    assert [entry.kind for entry in gateway.book()] == ["authorize", "capture"]


def test_a_refused_capture_stays_refused(gateway: Gateway, authorized: str) -> None:
    """A decline by a guard is repeated under its key like any other answer."""
    first = gateway.perform(follow_up("capture", 9999, authorized))

    assert gateway.perform(follow_up("capture", 9999, authorized)) == first


def test_a_charge_is_refunded_in_parts_up_to_what_was_captured(
    gateway: Gateway, captured: str
) -> None:
    """Partial refunds succeed until they add up to the capture; one cent more is declined."""
    parts = [gateway.perform(follow_up("refund", n, captured, f"refund-{n}")) for n in (950, 5000)]

    beyond = gateway.perform(follow_up("refund", 1, captured, "refund-1"))

    assert all(isinstance(part, Succeeded) for part in parts)
    assert isinstance(beyond, Declined)


def test_what_was_not_captured_can_not_be_refunded(gateway: Gateway, authorized: str) -> None:
    """A refund of an authorization that was never captured is declined."""
    assert isinstance(gateway.perform(follow_up("refund", 100, authorized)), Declined)


def test_an_uncaptured_authorization_can_be_voided_and_is_then_void(
    gateway: Gateway, authorized: str
) -> None:
    """A void gives the authorization up: it can't be captured any more."""
    void = gateway.perform(follow_up("void", 5950, authorized))

    capture = gateway.perform(follow_up("capture", 5950, authorized))

    assert isinstance(void, Succeeded)
    assert isinstance(capture, Declined)


def test_a_captured_authorization_can_not_be_voided(gateway: Gateway, captured: str) -> None:
    """Captured money goes back by a refund, never by a void."""
    assert isinstance(gateway.perform(follow_up("void", 5950, captured)), Declined)


@pytest.mark.parametrize("kind", ["capture", "void", "refund"])
def test_a_follow_up_needs_an_authorization_that_exists(gateway: Gateway, kind: Kind) -> None:
    """Nothing is captured, voided or refunded under a reference the gateway never gave."""
    assert isinstance(gateway.perform(follow_up(kind, 100, "no-such-reference")), Declined)


def test_a_lost_answer_is_found_by_our_reference(gateway: Gateway, authorized: str) -> None:
    """What was done is found under the key that we sent, with the gateway's reference."""
    assert gateway.find(authorize()) == Succeeded(authorized)


def test_what_never_happened_is_not_found(gateway: Gateway) -> None:
    """A key that the gateway never saw is known to be unknown: None, not a guess."""
    assert gateway.find(authorize(key="web-1002/authorize")) is None


def test_the_book_lists_what_happened_oldest_first(gateway: Gateway, captured: str) -> None:
    """The gateway's own list has each operation with our key, kind, amount and currency."""
    refund = reference(gateway.perform(follow_up("refund", 950, captured)))

    entries = list(gateway.book())

    assert [(entry.kind, entry.key, entry.amount) for entry in entries] == [
        ("authorize", "web-1001/authorize", 5950),
        ("capture", "web-1001/capture", 5950),
        ("refund", "web-1001/refund", 950),
    ]
    assert entries[-1] == BookEntry("refund", "web-1001/refund", refund, 950, "EUR")
