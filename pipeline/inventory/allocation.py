"""Allocation: which units of which location go to which order. All lines of an order, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Level = tuple[str, str]  # (sku, location)


@dataclass(frozen=True, slots=True)
class Demand:
    """What an order needs: (line number, sku, quantity) of each line."""

    order_id: int
    lines: tuple[tuple[int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Allotment:
    """Units of one line taken from one location."""

    order_id: int
    line_no: int
    sku: str
    location: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why an order gets nothing: the SKUs it lacks."""

    skus: tuple[str, ...]


class Shelves:
    """Units that are free, as one demand after another takes its own."""

    def __init__(self, available: Mapping[Level, int]) -> None:
        self._free: dict[str, dict[str, int]] = {}
        for (sku, location), units in sorted(available.items()):
            self._free.setdefault(sku, {})[location] = units

    def take(self, demand: Demand) -> list[Allotment] | Shortage:
        """The units of `demand`: they are free no more. Two lines that share a SKU draw on the
        same units. A demand that can't be met whole takes nothing, so a later, smaller one may
        still be met."""
        short = _short(demand, self._free)
        return Shortage(short) if short else _take(demand, self._free)


def _short(demand: Demand, free: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    needed: dict[str, int] = {}
    for _, sku, quantity in demand.lines:
        needed[sku] = needed.get(sku, 0) + quantity
    return tuple(sku for sku, units in needed.items() if units > sum(free.get(sku, {}).values()))


def _take(demand: Demand, free: dict[str, dict[str, int]]) -> list[Allotment]:
    taken: list[Allotment] = []
    for line_no, sku, quantity in demand.lines:
        for location in _from_fullest_fit(free[sku], quantity):
            units = min(quantity, free[sku][location])
            if units:
                free[sku][location] -= units
                quantity -= units
                taken.append(Allotment(demand.order_id, line_no, sku, location, units))
    return taken


def _from_fullest_fit(locations: Mapping[str, int], quantity: int) -> list[str]:
    """Locations that can serve the whole line first, so that it is split only when it must be."""
    return sorted(locations, key=lambda location: (locations[location] < quantity, location))
