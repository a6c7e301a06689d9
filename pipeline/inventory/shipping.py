"""What leaves for a customer and what comes back, decided purely: which units, or why none."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.inventory.allocation import Allotment


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing is done: a field, the value it had, what was expected."""

    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: got {self.value}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Shipment:
    """What is to leave: units by line number, or (None) all that is left; from one location, or
    (None) wherever they are reserved. `reference` names it within its order, for ever. `capture`
    asks for the money that is due, if nobody has yet."""

    order_id: int
    reference: str
    lines: Mapping[int, int] | None = None
    location: str | None = None
    carrier: str | None = None
    tracking: str | None = None
    capture: bool = False

    @property
    def digest(self) -> str:
        """Of what is to leave, and how: the same again is the same."""
        return digest_of(self.lines, self.location, self.carrier, self.tracking)


@dataclass(frozen=True, slots=True)
class Return:
    """What came back: units by line number. They are put into stock at `location`; None: nowhere."""

    order_id: int
    reference: str
    lines: Mapping[int, int]
    location: str | None
    reason: str | None = None

    @property
    def digest(self) -> str:
        return digest_of(self.lines, self.location, self.reason)


def digest_of(lines: Mapping[int, int] | None, *others: str | None) -> str:
    said = [sorted(lines.items()) if lines is not None else None, *others]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


class Promised:
    """Units that are promised to orders, as one shipment after another takes its own."""

    def __init__(self, held: Iterable[Allotment]) -> None:
        self._held: dict[int, list[Allotment]] = defaultdict(list)
        for each in held:
            self._held[each.order_id].append(each)

    def take(self, shipment: Shipment) -> list[Allotment] | Refused:
        """The units of `shipment`: they are promised no more. One that can't be met takes nothing."""
        held = self._held[shipment.order_id]
        there = [each for each in held if shipment.location in (None, each.location)]
        at = f" at {shipment.location}" if shipment.location else ""
        if shipment.lines is None:
            taken = there or Refused("lines", "all", f"units left to ship{at}, there are none")
        else:
            taken = _units_of(shipment.lines, there, at)
        if not isinstance(taken, Refused):
            self._held[shipment.order_id] = list(_less(held, taken))
        return taken


def _units_of(
    lines: Mapping[int, int], there: Iterable[Allotment], at: str
) -> list[Allotment] | Refused:
    taken = []
    by_line: dict[int, list[Allotment]] = defaultdict(list)
    for each in there:
        by_line[each.line_no].append(each)
    for line_no, units in sorted(lines.items()):
        most = sum(each.quantity for each in by_line[line_no])
        if not 1 <= units <= most:
            expected = f"1 to {most} units, as are left to ship{at}" if most else (
                f"a line with units left to ship{at}"
            )  # fmt: skip
            return Refused(f"lines.{line_no}", str(units), expected)
        for each in by_line[line_no]:
            if some := min(units, each.quantity):
                taken.append(replace(each, quantity=some))
                units -= some
    return taken


def _less(held: Iterable[Allotment], taken: Iterable[Allotment]) -> Iterator[Allotment]:
    gone = {(each.line_no, each.location): each.quantity for each in taken}
    for each in held:
        if left := each.quantity - gone.get((each.line_no, each.location), 0):
            yield replace(each, quantity=left)


def refused_return(back: Return, shipped: Mapping[int, int]) -> Refused | None:
    """Why these units can't have come back; `shipped` are those by line that left and didn't."""
    if not back.lines:
        return Refused("lines", "none", "units of a line")
    for line_no, units in sorted(back.lines.items()):
        most = shipped.get(line_no, 0)
        if not 1 <= units <= most:
            expected = f"1 to {most} units, as were shipped and not returned" if most else (
                "a line with units that were shipped and not returned"
            )  # fmt: skip
            return Refused(f"lines.{line_no}", str(units), expected)
    return None
