"""The manual gateway: what people move, and its answers say nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.payments.gateway import (
    Call,
    Declined,
    InvalidEvent,
    Kind,
    RequiresAction,
    Succeeded,
    Unknown,
)
from pipeline.payments.manual import ManualGateway

GATEWAY = ManualGateway()


def authorize(method: str | None) -> Call:
    return Call("authorize", "a-key", 5950, "EUR", method=method)


def follow_up(kind: Kind) -> Call:
    return Call(kind, f"a-key.{kind}", 5950, "EUR", parent="manual_a-key")


def test_an_invoice_is_goods_first() -> None:
    assert GATEWAY.perform(authorize("invoice")) == Succeeded("manual_a-key")


def test_a_prepaid_order_waits_for_its_money() -> None:
    assert GATEWAY.perform(authorize("prepaid")) == RequiresAction("manual_a-key")


@pytest.mark.parametrize("method", ["pm_card_visa", "", None])
def test_other_methods_are_not_allowed(method: str | None) -> None:
    assert GATEWAY.perform(authorize(method)) == Declined("method_not_allowed")


@pytest.mark.parametrize("kind", ["capture", "refund", "dispute"])
def test_money_is_moved_by_hand(kind: Kind) -> None:
    """It can't be asked for, and what was recorded by hand isn't found here."""
    assert GATEWAY.perform(follow_up(kind)) == Declined("by_hand")
    assert GATEWAY.find(follow_up(kind)) is None


def test_a_void_is_fine_as_nothing_is_held() -> None:
    assert GATEWAY.perform(follow_up("void")) == Succeeded("manual_a-key.void")


@pytest.mark.parametrize("call", [authorize("invoice"), authorize("prepaid"), follow_up("void")])
def test_finding_is_asking_again(call: Call) -> None:
    """No answer of its can be lost: it is the same for ever."""
    assert GATEWAY.find(call) == GATEWAY.perform(call) == ManualGateway().perform(call)


def test_it_keeps_no_book_and_sends_no_events() -> None:
    assert isinstance(GATEWAY.read("manual_a-key"), Unknown)
    assert list(GATEWAY.book()) == []
    assert list(GATEWAY.events(datetime.now(UTC))) == []
    with pytest.raises(InvalidEvent, match="no events"):
        GATEWAY.verify(b"{}", {})
