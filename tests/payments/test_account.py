"""An order's operations folded: what is authorized, captured, on its way back, in dispute, open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.payments.account import (
    OBSERVED,
    Operation,
    PaymentStatus,
    State,
    fold,
    follow_up,
    latest_of,
)
from pipeline.payments.gateway import Kind, Payment, Reversal, capture_key, void_key
from pipeline.payments.observed import authorization_of, observed

AUTHORIZE = Operation(7, "a", "authorize", "requested", 1000, "EUR", "sandbox", age=100.0)


def rows(*operations: tuple[Kind, int, str] | tuple[Kind, int, str, str]) -> list[Operation]:
    """Rows of (kind, amount, states separated by spaces, key), in the order they were written."""
    written = []
    for kind, amount, states, *key in operations:
        for state in states.split():
            named = key[0] if key else kind
            reference = f"ref-{named}" if state in ("pending", "succeeded") else None
            base = replace(AUTHORIZE, kind=kind, key=named, amount=amount, reference=reference)
            written.append(replace(base, state=state))
    return written


PAID: list[tuple[Kind, int, str]] = [
    ("authorize", 1000, "requested succeeded"),
    ("capture", 1000, "requested succeeded"),
]

STATUSES: list[tuple[PaymentStatus, list[tuple[Kind, int, str]]]] = [
    ("none", []),
    ("none", [("authorize", 1000, "requested")]),
    ("none", [("authorize", 1000, "requested pending")]),
    ("none", [("authorize", 1000, "requested failed")]),
    ("authorized", [("authorize", 1000, "requested succeeded")]),
    ("authorized", [("authorize", 1000, "requested unknown succeeded"), ("capture", 9, "requested")]),
    ("none", [("authorize", 1000, "requested succeeded"), ("void", 1000, "requested succeeded")]),
    ("authorized", [("authorize", 1000, "requested succeeded"), ("void", 1000, "requested")]),
    ("captured", PAID),
    ("captured", [("authorize", 1000, "requested succeeded"), ("capture", 400, "requested succeeded")]),
    ("captured", [*PAID, ("refund", 400, "requested")]),
    ("captured", [*PAID, ("refund", 400, "requested failed")]),
    ("partially_refunded", [*PAID, ("refund", 400, "requested succeeded")]),
    ("refunded", [*PAID, ("refund", 1000, "requested succeeded")]),
    ("disputed", [*PAID, ("dispute", 1000, "pending")]),
    ("disputed", [*PAID, ("dispute", 300, "pending succeeded")]),
    ("captured", [*PAID, ("dispute", 1000, "pending failed")]),
]  # fmt: skip


@pytest.mark.parametrize(("status", "operations"), STATUSES)
def test_the_payment_status_is_derived(
    status: PaymentStatus, operations: list[tuple[Kind, int, str]]
) -> None:
    assert fold(rows(*operations)).status == status


def test_what_is_on_its_way_back_or_in_dispute_can_not_be_refunded_again() -> None:
    account = fold(
        rows(
            *PAID,
            ("refund", 100, "requested succeeded", "r1"),
            ("refund", 200, "requested unknown", "r2"),
            ("refund", 999, "requested failed", "r3"),
            ("dispute", 300, "pending", "d1"),
            ("dispute", 50, "pending succeeded", "d2"),
            ("dispute", 77, "pending failed", "d3"),
        )
    )

    assert (account.captured, account.refunded, account.returning) == (1000, 100, 200)
    assert (account.disputed, account.lost) == (350, 50)
    assert account.refundable == 1000 - 100 - 200 - 350
    assert account.held == 1000 - 100 - 50
    assert account.owed == account.held - 200


def test_an_operation_that_has_not_ended_is_open_with_the_age_of_its_request() -> None:
    young = replace(AUTHORIZE, state="unknown", age=1.0)

    [found] = fold([AUTHORIZE, young]).open

    assert (found.key, found.state, found.age) == ("a", "unknown", 100.0)


def test_one_that_waits_for_its_customer_is_pending_with_its_reference() -> None:
    waiting = replace(AUTHORIZE, state="pending", reference="pay-1")
    unanswered = replace(AUTHORIZE, state="unknown")

    for written in ([AUTHORIZE, waiting], [AUTHORIZE, waiting, unanswered]):
        pending = fold(written).pending

        assert pending is not None
        assert (pending.state, pending.reference) == ("pending", "pay-1")


@pytest.mark.parametrize("order", [["failed", "succeeded"], ["succeeded", "failed"]])
def test_what_was_found_to_have_happened_has_happened_whatever_we_believed(
    order: list[State],
) -> None:
    capture = follow_up(AUTHORIZE, "capture", 1000, "a.capture")

    account = fold([capture, *(replace(capture, state=state) for state in order)])

    assert (account.captured, account.open) == (1000, ())


def test_what_others_did_at_the_gateway_is_none_of_our_open_operations() -> None:
    theirs = replace(AUTHORIZE, kind="refund", key="re_1", reference="re_1", state="pending")

    account = fold([*rows(*PAID), theirs])

    assert (account.open, account.returning) == ((), 1000)


# --- What a reading tells -------------------------------------------------------------------------


def payment(status: str, captured: int = 0, *reversals: Reversal, key: str = "a") -> Payment:
    return Payment("pay-1", key, 7, status, 1000, "EUR", captured, reversals)  # type: ignore[arg-type]


def news(written: list[Operation], told: Payment) -> list[tuple[str, str, str, int]]:
    """What reading `told` adds: (kind, key, state, amount). Reading it again adds nothing."""
    authorization = authorization_of(written, told)
    assert authorization is not None
    found = observed(written, authorization, told)
    assert observed([*written, *found], authorization, told) == []
    assert {op.code for op in found} <= {OBSERVED}
    return [(op.kind, op.key, op.state, op.amount) for op in found]


REQUESTED = [AUTHORIZE, follow_up(AUTHORIZE, "capture", 1000, capture_key("a"))]
AUTHORIZED = [*REQUESTED, replace(AUTHORIZE, state="succeeded", reference="pay-1")]
CAPTURED = [*AUTHORIZED, replace(REQUESTED[1], state="succeeded", reference="ch-1")]
VOIDING = [*AUTHORIZED, follow_up(AUTHORIZE, "void", 1000, void_key("a"))]


@pytest.mark.parametrize(
    ("written", "told", "added"),
    [
        (REQUESTED, payment("requires_action"), [("authorize", "a", "pending", 1000)]),
        (REQUESTED, payment("authorized"), [("authorize", "a", "succeeded", 1000)]),
        (REQUESTED, payment("failed"), []),
        (REQUESTED, payment("voided"), []),
        (
            REQUESTED,
            payment("captured", 1000),
            [("authorize", "a", "succeeded", 1000), ("capture", "a.capture", "succeeded", 1000)],
        ),
        (AUTHORIZED, payment("authorized"), []),
        (AUTHORIZED, payment("captured", 600), [("capture", "a.capture", "succeeded", 600)]),
        (AUTHORIZED, payment("voided"), [("void", "a.void", "succeeded", 1000)]),
        (VOIDING, payment("voided"), [("void", "a.void", "succeeded", 1000)]),
        (
            VOIDING,
            payment("captured", 1000),
            [("capture", "a.capture", "succeeded", 1000), ("void", "a.void", "failed", 1000)],
        ),
        (CAPTURED, payment("captured", 1000), []),
    ],
)
def test_a_reading_adds_what_we_did_not_know(
    written: list[Operation], told: Payment, added: list[tuple[str, str, str, int]]
) -> None:
    assert news(written, told) == added


def test_a_refund_or_dispute_made_at_the_gateway_goes_by_its_name_there() -> None:
    told = payment(
        "captured",
        1000,
        Reversal("refund", "re_1", None, 300, "succeeded"),
        Reversal("refund", "re_2", None, 200, "open"),
        Reversal("refund", "re_3", None, 100, "failed"),
        Reversal("dispute", "du_1", None, 500, "open"),
    )

    assert news(CAPTURED, told) == [
        ("refund", "re_1", "succeeded", 300),
        ("refund", "re_2", "pending", 200),
        ("dispute", "du_1", "pending", 500),
    ]


@pytest.mark.parametrize(("state", "becomes"), [("succeeded", "succeeded"), ("failed", "failed")])
def test_a_dispute_that_was_open_ends(state: str, becomes: str) -> None:
    known = Operation(7, "du_1", "dispute", "pending", 500, "EUR", "sandbox", "du_1")
    told = payment("captured", 1000, Reversal("dispute", "du_1", None, 500, state))  # type: ignore[arg-type]

    assert news([*CAPTURED, known], told) == [("dispute", "du_1", becomes, 500)]


@pytest.mark.parametrize("told", ["open", "failed"])
def test_what_we_know_to_have_ended_is_not_news(told: str) -> None:
    ended = [follow_up(AUTHORIZE, "refund", 300, "r1")]
    ended.append(replace(ended[0], state="failed"))
    late = payment("captured", 1000, Reversal("refund", "re_1", "r1", 300, told))  # type: ignore[arg-type]

    assert news([*CAPTURED, *ended], late) == []


def returned() -> list[Operation]:
    """300 that were captured were refunded."""
    asked = follow_up(AUTHORIZE, "refund", 300, "r1")
    return [*CAPTURED, asked, replace(asked, state="succeeded", reference="re_1")]


def reading(state: str) -> Payment:
    return payment("captured", 1000, Reversal("refund", "re_1", "r1", 300, state))  # type: ignore[arg-type]


def test_a_refund_that_bounces_is_news_once_and_gave_nothing_back() -> None:
    written = returned()

    told = observed(written, AUTHORIZE, reading("failed"))

    assert [(op.key, op.state, op.code) for op in told] == [("r1", "failed", OBSERVED)]
    for known in ([*written, *told], [*written[:-1], *told, written[-1]]):
        account = fold(known)
        assert (account.refunded, account.bounced, account.owed) == (0, 300, 1000)
        assert observed(known, AUTHORIZE, reading("failed")) == []


def test_one_that_bounced_and_is_told_to_have_succeeded_again_is_no_news() -> None:
    written = returned()
    written += observed(written, AUTHORIZE, reading("failed"))

    assert observed(written, AUTHORIZE, reading("succeeded")) == []


def test_a_refund_of_ours_is_not_taken_for_another_s() -> None:
    ours = follow_up(AUTHORIZE, "refund", 300, "r1")
    on_its_way = payment("captured", 1000, Reversal("refund", "re_1", "r1", 300, "open"))
    done = payment("captured", 1000, Reversal("refund", "re_1", "r1", 300, "succeeded"))

    assert news([*CAPTURED, ours], on_its_way) == []
    assert news([*CAPTURED, ours], done) == [("refund", "r1", "succeeded", 300)]


def test_a_payment_that_is_not_of_these_operations_is_recognized() -> None:
    assert authorization_of(CAPTURED, payment("captured", key="another shop's")) is None


def test_one_row_an_operation_as_it_stands() -> None:
    assert [(op.key, op.state) for op in latest_of(CAPTURED)] == [
        ("a", "succeeded"),
        ("a.capture", "succeeded"),
    ]
