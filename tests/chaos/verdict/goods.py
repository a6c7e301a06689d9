"""Units and coupons: the ledger beside its totals, what orders hold, and who was served first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.shop import COUPON, ONCE, SCARCE
from tests.chaos.verdict.case import OVER, Case

#: Who came so shortly before another may have begun to wait after it was served.
AT_THE_SAME_TIME = timedelta(seconds=2)


def goods(case: Case) -> Iterator[str]:
    yield from _totals(case)
    yield from _on_hand(case)
    yield from _receipts(case)
    yield from _held(case)
    yield from _coupons(case)
    yield from _overtaken(case)


def _totals(case: Case) -> Iterator[str]:
    moved, promised, reserved = Counter[str](), Counter[str](), Counter[str]()
    for row in case.rows.movements:
        moved[row["sku"]] += row["quantity"]
        promised[row["sku"]] += row["promised"]
    for row in case.rows.reservations:
        reserved[row["sku"]] += row["quantity"]
    for row in case.rows.levels:
        sku = row["sku"]
        if row["on_hand"] != moved[sku]:
            yield f"{sku}: on hand {row['on_hand']}, the ledger says {moved[sku]}"
        if not row["reserved"] == promised[sku] == reserved[sku]:
            yield (
                f"{sku}: reserved {row['reserved']}, promised {promised[sku]}, "
                f"held by orders {reserved[sku]}"
            )


def _on_hand(case: Case) -> Iterator[str]:
    """What was there, what came in by the journal, and what left."""
    there = Counter(case.shop.opening)
    for entry in case.journal.of("receipt"):
        there[entry["sku"]] += entry["units"]
    for row in case.rows.shipped:
        there[row["sku"]] -= row["units"]
    for row in case.rows.levels:
        if row["on_hand"] != there[row["sku"]]:
            yield f"{row['sku']}: on hand {row['on_hand']}, should be {there[row['sku']]}"


def _receipts(case: Case) -> Iterator[str]:
    posted = Counter(
        (row["sku"], row["quantity"]) for row in case.rows.movements if row["kind"] == "adjustment"
    )
    told = Counter((entry["sku"], entry["units"]) for entry in case.journal.of("receipt"))
    if posted != told:
        yield f"receipts: posted and not told {posted - told}, told and not posted {told - posted}"


def _held(case: Case) -> Iterator[str]:
    """A confirmed order holds what is yet to be shipped; one that is over holds nothing."""
    holds: defaultdict[int, Counter[str]] = defaultdict(Counter)
    gone: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for row in case.rows.reservations:
        holds[row["order_id"]][row["sku"]] += row["quantity"]
    for row in (*case.rows.shipped, *case.rows.cancelled_lines):
        gone[row["order_id"]][row["sku"]] += row["units"]
    for order_id, row in case.rows.orders.items():
        if order_id not in case.sent:
            continue
        ordered = case.ordered(order_id)
        if row["status"] == "confirmed" and holds[order_id] + gone[order_id] != ordered:
            yield f"order {order_id} of {ordered} holds {holds[order_id]}, gone {gone[order_id]}"
        if row["status"] in OVER and (holds[order_id] or gone[order_id]):
            yield f"order {order_id} is {row['status']}, and holds {holds[order_id]}"
    waiting = {row["order_id"] for row in case.rows.backorders}
    for order_id in waiting:
        if (status := case.rows.orders[order_id]["status"]) in (*OVER, "confirmed"):
            yield f"order {order_id} is {status}, and waits for stock"


def _coupons(case: Case) -> Iterator[str]:
    used = Counter(row["code"] for row in case.rows.redemptions)
    totals = {row["code"]: row["used"] for row in case.rows.uses if row["customer"] == ""}
    for code in (COUPON, ONCE):
        if used[code] != totals.get(code, 0):
            yield f"{code} was used {used[code]} times, its total says {totals.get(code, 0)}"
    if used[COUPON] > case.shop.limit:
        yield f"{COUPON} was used {used[COUPON]} times, and may be {case.shop.limit} times"
    customers = Counter(
        (_source(case, row), row["customer"])
        for row in case.rows.redemptions
        if row["code"] == ONCE
    )
    for customer, times in customers.items():
        if times > 1:
            yield f"{customer} used {ONCE} {times} times"
    has = {(row["order_id"], row["code"]) for row in case.rows.redemptions}
    for order_id, row in case.rows.orders.items():
        for code in case.sent.get(order_id, {"coupons": []})["coupons"]:
            if row["status"] in OVER and (order_id, code) in has:
                yield f"order {order_id} is {row['status']}, and uses {code}"
            if row["status"] == "confirmed" and (order_id, code) not in has:
                yield f"order {order_id} has {code}, and its use isn't counted"


def _source(case: Case, row: dict[str, Any]) -> str:
    return str(case.rows.orders[row["order_id"]]["source"])


def _overtaken(case: Case) -> Iterator[str]:
    """Nobody takes a SKU that an order accepted earlier waits for."""
    began = _began_to_wait(case)
    for sku in SCARCE:
        taken: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in case.rows.movements:
            if row["sku"] == sku and row["promised"] > 0:
                taken[int(row["reference"].split()[1])].append(row)
        newest = sorted((rows[-1]["id"], order_id) for order_id, rows in taken.items())
        for last, order_id in newest:
            if order_id not in began or case.rows.orders[order_id]["status"] != "confirmed":
                continue
            since = began[order_id] + AT_THE_SAME_TIME
            for other, rows in taken.items():
                if other > order_id and any(
                    row["id"] < last and _moment(row["at"]) > since for row in rows
                ):
                    yield f"order {other} got {sku} before order {order_id}, which waited for it"
                    break


def _began_to_wait(case: Case) -> dict[int, datetime]:
    """Since when each order waited for stock, of those that did so once and were never held; of those
    that were set back to be archived, the times tell nothing."""
    began = {}
    aged = {each for entry in case.journal.of("archive") for each in entry["ids"]}
    for order_id, events in case.rows.events.items():
        if order_id in aged:
            continue
        waits = [
            each
            for each in events
            if each["to_status"] == "backordered" and each["from_status"] != "backordered"
        ]
        was_held = any(each["to_status"] == "on_hold" for each in events)
        if len(waits) == 1 and not was_held:
            began[order_id] = _moment(waits[0]["at"])
    return began


def _moment(at: Any) -> datetime:
    """A moment as either database, or the archive, has it."""
    read = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return read if read.tzinfo else read.replace(tzinfo=UTC)
