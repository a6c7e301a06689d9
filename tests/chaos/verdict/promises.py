"""What was answered holds: each order is there once, and what was asked of it was done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.verdict.case import OVER, Case

#: Of the orders, by the methods, the gateway's rate, scarce products and coupons, and cancellations.
PLAUSIBLE_REFUSALS = (0.01, 0.5)
ENOUGH = 300


def promises(case: Case) -> Iterator[str]:
    yield from _answered_wrongly(case)
    yield from _lost(case)
    yield from _cancelled(case)
    yield from _shipped(case)
    yield from _refunded(case)
    yield from _implausible(case)


def _answered_wrongly(case: Case) -> Iterator[str]:
    for entry in case.journal.of("wrong"):
        yield entry["what"]
    for entry in case.journal.of("500"):
        yield f"{entry['call']} was answered 500: {entry['said']}"


def _lost(case: Case) -> Iterator[str]:
    stored = {row["external_id"]: order_id for order_id, row in case.rows.orders.items()}
    answered = {order["external_id"]: order_id for order_id, order in case.sent.items()}
    if len(stored) != len(case.rows.orders):
        yield "an external id is there twice"
    for name, order_id in sorted(set(answered.items()) ^ set(stored.items())):
        yield f"{name}: answered as {answered.get(name)}, stored as {stored.get(name)} ({order_id})"


def _cancelled(case: Case) -> Iterator[str]:
    """Who was told that an order will be cancelled finds it cancelled, or shipped before."""
    for order_id in {e["id"] for e in case.journal.of("cancel") if e["status"] == 202}:
        status = case.rows.orders.get(order_id, {"status": "lost"})["status"]
        if status not in OVER and order_id not in case.shipped_orders:
            yield f"order {order_id} was to be cancelled, and is {status}"


def _shipped(case: Case) -> Iterator[str]:
    made = Counter((row["order_id"], row["reference"]) for row in case.rows.shipments)
    told = {
        (entry["id"], entry["name"])
        for entry in case.journal.of("fulfilments")
        if entry["status"] in (200, 201)
    }
    for name, times in made.items():
        if times > 1:
            yield f"shipment {name} was made {times} times"
    if missing := told - made.keys():
        yield f"shipments that were answered and are not there: {sorted(missing)}"
    if untold := made.keys() - told:
        yield f"shipments that nobody was told of: {sorted(untold)}"
    for order_id in case.shipped_orders:
        if (status := case.rows.orders[order_id]["status"]) != "confirmed":
            yield f"order {order_id} was shipped, and is {status}"


def _refunded(case: Case) -> Iterator[str]:
    """One request for each key that was answered 202, and the same answer each time."""
    answers: dict[tuple[int, str], set[str]] = {}
    for entry in case.journal.of("refunds"):
        if entry["status"] == 202:
            told = str(sorted(entry["body"].items(), key=str))
            answers.setdefault((entry["id"], entry["name"]), set()).add(told)
    for name, told in answers.items():
        if len(told) > 1:
            yield f"refund {name} was answered in {len(told)} ways: {sorted(told)}"
    asked = Counter(order_id for order_id, _ in answers)
    for order_id, times in asked.items():
        events = case.rows.events[order_id]
        requested = sum(
            each["kind"] == "refund_requested" and each["actor"] != "engine" for each in events
        )
        is_part_cancelled = any(each["kind"] == "part_cancelled" for each in events)
        if requested != times and not is_part_cancelled:
            yield f"order {order_id}: {times} refunds were answered, {requested} requested"


def _implausible(case: Case) -> Iterator[str]:
    """If nothing or all was refused, this was no trial."""
    found = Counter(row["status"] for row in case.rows.orders.values())
    if found.total() < ENOUGH:
        return
    refused = (found["rejected"] + found["cancelled"]) / found.total()
    low, high = PLAUSIBLE_REFUSALS
    if not low <= refused <= high:
        yield f"{refused:.1%} of the orders were refused"
