"""Why an order is on hold is said in words, for every reason that the code can give."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pipeline
from ordermill import orders
from ordermill.payments import payments
from pipeline.hold_reasons import HOLD_REASONS, hold_of
from pipeline.payments.gateway import Declined
from pipeline.source import Policy
from pipeline.storage import views
from tests.support import Mill
from tests.test_operations import Gateway, cancel

MakeMill = Callable[..., Mill]
COMMANDS = {
    "orders": set(orders.COMMANDS),
    "payments": {c.name or c.callback.__name__ for c in payments.registered_commands if c.callback},
}
#: Of what has no price these never will have one, whoever sold it.
FINAL = {"unknown_sku", "no_price"}
BASES = {name.partition("/")[0] for name in HOLD_REASONS}


def given_by_the_code() -> set[str]:
    """The reasons that stand in the source: of holds, of retries that are given up in the end, and of
    what has no price but may yet have one."""
    files = Path(pipeline.__file__).parent.rglob("*.py")
    calls = (
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return {reason for call in calls for reason in holding(call)}


def holding(call: ast.Call) -> Iterator[str]:
    named = {k.arg: ast.unparse(k.value) for k in call.keywords}
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    never = "burns" in named and named["burns"] == "False"
    never |= len(call.args) > 3 and ast.unparse(call.args[3]) == "False"
    holds = name == "Hold" or (name == "Retry" and not never) or name == "NotPriced"
    if holds:
        reason = call.args[0]
        assert isinstance(reason, ast.Constant), f"a reason that can't be read: {ast.unparse(call)}"
        if reason.value not in FINAL:
            yield reason.value


def test_the_table_has_every_reason_that_the_code_can_give_and_no_other() -> None:
    assert given_by_the_code() == BASES


def test_the_operators_page_has_every_reason() -> None:
    page = (Path(pipeline.__file__).parents[1] / "docs" / "operating.md").read_text("utf-8")

    assert [reason for reason in sorted(BASES) if f"| `{reason}` |" not in page] == []


@pytest.mark.parametrize("name", HOLD_REASONS)
def test_each_command_is_one_of_ours_for_that_order(name: str) -> None:
    group, command, order, *_ = HOLD_REASONS[name].command.removeprefix("ordermill ").split()

    assert (command in COMMANDS[group], order) == (True, "{id}")


def test_a_reason_of_another_version_is_told_as_it_is() -> None:
    assert hold_of(7, "from_the_past", [])["command"] == "ordermill orders requeue 7"


def told(shop: Mill, order: int) -> dict[str, object]:
    with shop.database.snapshot() as tx:
        found = views.one(tx, order)
    return hold_of(order, found["reason"], found["events"])


def test_it_is_told_with_the_detail_of_the_event_and_the_orders_own_command(
    mill: MakeMill,
) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1})).stocked()
    order = shop.accept()
    shop.turn()

    hold = told(shop, order)

    assert hold["means"] == "its total is over its source's hold_over"
    assert hold["detail"] == {"total": "20.00", "limit": "0.01"}
    assert hold["command"] == f"ordermill orders requeue {order}"


def test_what_was_paid_by_hand_is_paid_back_by_hand(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn()
    gateway.refuses["refund"] = Declined("by_hand")
    cancel(shop, order)
    shop.turn()

    assert told(shop, order)["command"] == (
        f"ordermill payments record-refund {order} --reference TRANSFER"
    )
