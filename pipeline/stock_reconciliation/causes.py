"""What probably happened: a sentence for each difference, from what else is known about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipeline.stock_reconciliation.act import SUPERSEDED
from pipeline.storage.stock_differences import Evidence

LEVEL = "the level's reserved units were changed behind our back"
UNKNOWN = "nothing that is known explains it: a loss, a find, or a miscount"


def cause(difference: Any, known: Evidence) -> str:
    """Pure. `difference` is a row of stock_differences."""
    match difference.kind:
        case "count":
            return _of_count(difference, known)
        case "ledger":
            return _of_ledger(difference.found - difference.expected, known)
        case "reserved" if known.order_id:
            return f"reservations were changed behind our back: see order {known.order_id}"
        case "reserved":
            return LEVEL
        case "promised":
            return _of_promised(difference.found - difference.expected, known)
        case "over":
            return "a reservation of an order that may have none, put there behind our back"
        case _:
            return "reservations of the order were changed behind our back"


def _of_count(difference: Any, known: Evidence) -> str:
    if difference.done == SUPERSEDED:
        return "the count is older than the last one that was posted"
    if known.books_differ:
        return "the books themselves differ here: rows were changed behind our back"
    if known.mirror is not None:
        return f"moved to or from {known.mirror} without a transfer: as many differ there"
    if known.near is None:
        return UNKNOWN
    kind, units, when = known.near
    told = f"a {kind} of {abs(units)} units, written at {when:%Y-%m-%d %H:%M:%S}"
    if when > difference.at:
        return f"{told}, had been done on the shelf before the count"
    return f"{told}, was not done on the shelf yet at the count"


def _of_ledger(units: int, known: Evidence) -> str:
    if known.half and known.half == -units:
        return f"one half of a transfer of {abs(units)} units is missing from the ledger"
    if known.doubled is not None:
        return _alone(units, known.doubled)
    return "on hand, or the ledger, was changed behind our back"


def _of_promised(units: int, known: Evidence) -> str:
    if known.reservations_differ:
        return LEVEL
    if known.doubled is not None:
        return _alone(units, known.doubled)
    return "reservations in the ledger were changed behind our back"


def _alone(units: int, doubled: tuple[str, datetime]) -> str:
    kind, when = doubled
    return f"a {kind} of {abs(units)} units of {when:%Y-%m-%d %H:%M:%S} stands in the ledger alone"
