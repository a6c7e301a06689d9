"""The gateway's book beside what was sold: nobody paid twice, too much, or for nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.chaos.verdict.case import OVER, Case

Line = dict[str, Any]
PREFIX = "sbx_"


def money(case: Case) -> Iterator[str]:
    yield from _both_know(case)
    about = defaultdict(list)
    order_of = {row["key"]: row["order_id"] for row in case.rows.operations}
    for line in case.book:
        about[order_of.get(line["key"], line["order_id"])].append(line)
    for order_id, row in case.rows.orders.items():
        if order_id in case.sent:
            yield from _charged(case, order_id, row["status"], about[order_id])
            yield from _quoted(case, order_id)
    for row in case.rows.tasks:
        yield f"order {row['order_id']}: {row['key']} was asked for and is not done"


def _both_know(case: Case) -> Iterator[str]:
    """What the gateway did we know of, and the other way round."""
    ours = {row["key"]: row for row in case.rows.operations if row["state"] == "succeeded"}
    for line in case.book:
        row = ours.get(line["key"])
        if row is None:
            yield f"the gateway did {line['kind']} {line['key']}, and we don't know"
        elif any(row[what] != line[what] for what in ("kind", "amount", "currency")):
            yield f"the gateway did {line}, and we have {row}"
    theirs = {line["key"] for line in case.book}
    for key, row in ours.items():
        if key not in theirs:
            yield f"order {row['order_id']}: {row['kind']} {key} is not in the gateway's book"


def _charged(case: Case, order_id: int, status: str, lines: list[Line]) -> Iterator[str]:
    sums = {kind: _sum(lines, kind) for kind in ("capture", "refund")}
    captures = sum(line["kind"] == "capture" for line in lines)
    if captures > 1:
        yield f"order {order_id} was charged {captures} times"
    if status == "confirmed":
        if sums["capture"] != case.price(order_id):
            yield f"order {order_id} costs {case.price(order_id)}, and was charged {sums['capture']}"
        yield from _given_back(case, order_id, sums["refund"])
    elif status in OVER and sums["capture"] != sums["refund"]:
        yield f"order {order_id} is {status}: charged {sums['capture']}, refunded {sums['refund']}"
    if status in OVER or status == "confirmed":
        yield from _left_open(order_id, lines)


def _left_open(order_id: int, lines: list[Line]) -> Iterator[str]:
    """An authorization that is neither captured nor voided blocks a customer's money."""
    ended = {line["parent"] for line in lines if line["kind"] in ("capture", "void")}
    for line in lines:
        if line["kind"] == "authorize" and PREFIX + line["key"] not in ended:
            yield f"order {order_id}: {line['key']} is still authorized"


def _given_back(case: Case, order_id: int, refunded: int) -> Iterator[str]:
    """Of a sale that stands: what was asked for, each key once; more only if a part was cancelled."""
    asked = _asked(case).get(order_id, 0)
    is_part = any(row["order_id"] == order_id for row in case.rows.cancelled_lines)
    if refunded != asked and not (is_part and refunded >= asked):
        yield f"order {order_id}: refunds of {asked} were asked for, {refunded} was refunded"


def _asked(case: Case) -> dict[int, int]:
    """Minor units by order, of refunds that were answered 202; each key once."""
    if (known := case.__dict__.get("_asked")) is None:
        amounts = {
            (entry["id"], entry["name"]): int(Decimal(entry["body"]["amount"]) * 100)
            for entry in case.journal.of("refunds")
            if entry["status"] == 202
        }
        known = case.__dict__["_asked"] = {}
        for (order_id, _), amount in amounts.items():
            known[order_id] = known.get(order_id, 0) + amount
    return known


def _quoted(case: Case, order_id: int) -> Iterator[str]:
    total = _quotes(case).get(order_id)
    if total is not None and total != case.price(order_id):
        yield f"order {order_id} costs {case.price(order_id)}, and was quoted {total}"


def _quotes(case: Case) -> dict[int, int]:
    if (known := case.__dict__.get("_quotes")) is None:
        known = {row["order_id"]: row["total"] for row in case.rows.quotes}
        case.__dict__["_quotes"] = known
    return known


def _sum(lines: list[Line], kind: str) -> int:
    return sum(line["amount"] for line in lines if line["kind"] == kind)
