"""Allocation: which units of which location go to which order.

All lines of an order, or none; an order that waits may take what there is of them first, and the
rest later, if it can from where it has units already. An order is served by one location if any has all of it, however many have a part: the first, by
the strategy's ranking of locations. Only else is it spread: line by line, each from the first
location that has the whole line; and only a line that none has whole is split into units.

    priority          locations by their priority, the lowest number first
    nearest           those in the order's country, then those that serve it, then the others;
                      by priority among equals
    fewest_shipments  as priority; an order that must be spread goes to as few locations as can be
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice
from typing import Literal

from pipeline.places.codes import whole_country

Level = tuple[str, str]  # (sku, location)
Strategy = Literal["priority", "fewest_shipments", "nearest"]

#: Sets of locations that `fewest_shipments` tries before it takes the one `priority` would.
MOST_SETS = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """A location: its country ("" unknown), its rank (lower goes first), the countries it is meant
    for (None: all). What it serves is a preference of `nearest`, never a ban."""

    country: str = ""
    priority: int = 100
    serves: frozenset[str] | None = None


ANYWHERE = Place()


@dataclass(frozen=True, slots=True)
class Demand:
    """What an order needs: (line number, sku, quantity) of each line; where, and how it is served.
    `at` are the locations where it has units already: these go first, before any strategy."""

    order_id: int
    lines: tuple[tuple[int, str, int], ...]
    country: str = ""
    strategy: Strategy = "priority"
    at: frozenset[str] = frozenset()

    @property
    def needed(self) -> dict[str, int]:
        """Units by SKU: two lines may share one."""
        found: dict[str, int] = {}
        for _, sku, quantity in self.lines:
            found[sku] = found.get(sku, 0) + quantity
        return found


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
    """Why an order can't be served whole: the units it lacks, by SKU."""

    units: Mapping[str, int]

    @property
    def skus(self) -> tuple[str, ...]:
        return tuple(self.units)


class Shelves:
    """Units that are free, as one demand after another takes its own."""

    def __init__(
        self, available: Mapping[Level, int], places: Mapping[str, Place] | None = None
    ) -> None:
        self._places = places or {}
        self._free: dict[str, dict[str, int]] = {}
        for (sku, location), units in available.items():
            if units > 0:  # fewer than none: what is kept as safety stock was taken
                self._free.setdefault(sku, {})[location] = units

    def free(self, sku: str) -> int:
        """Units of `sku` that nobody has taken, wherever they are."""
        return sum(self._free.get(sku, {}).values())

    def take(self, demand: Demand, withheld: Collection[str] = ()) -> list[Allotment] | Shortage:
        """The units of `demand`: they are free no more. Two lines that share a SKU draw on the
        same units; of a SKU that is `withheld` there are none. A demand that can't be met whole
        takes nothing, so a later, smaller one may still be met."""
        needed = demand.needed
        lacking = {
            sku: units if sku in withheld else units - self.free(sku)
            for sku, units in needed.items()
            if sku in withheld or units > self.free(sku)
        }
        if lacking:
            return Shortage(lacking)
        return self._take(demand, needed)

    def take_part(self, demand: Demand, short: Shortage) -> list[Allotment]:
        """The units of `demand` but for those that it is `short` of; its first lines come first."""
        needed = demand.needed
        there = {sku: units - short.units.get(sku, 0) for sku, units in needed.items()}
        lines: list[tuple[int, str, int]] = []
        for line_no, sku, quantity in demand.lines:
            units = min(quantity, there[sku])
            there[sku] -= units
            if units:
                lines.append((line_no, sku, units))
        part = replace(demand, lines=tuple(lines))
        return self._take(part, part.needed) if lines else []

    def _take(self, demand: Demand, needed: Mapping[str, int]) -> list[Allotment]:
        taken = list(self._from(self._chosen(demand, needed), demand))
        for each in taken:
            self._free[each.sku][each.location] -= each.quantity
        return taken

    def _chosen(self, demand: Demand, needed: Mapping[str, int]) -> Sequence[str]:
        """The locations to take from, in order: one where one has all."""
        ranked = self._ranked(demand, needed)
        widest = len(ranked) if demand.strategy == "fewest_shipments" else 2
        sets = chain.from_iterable(combinations(ranked, n) for n in range(1, widest))
        tried = islice(sets, len(ranked) + MOST_SETS)
        return next((found for found in tried if self._have(found, needed)), ranked)

    def _have(self, locations: Sequence[str], needed: Mapping[str, int]) -> bool:
        """Whether these together have all."""
        return all(
            sum(self._free[sku].get(location, 0) for location in locations) >= units
            for sku, units in needed.items()
        )

    def _ranked(self, demand: Demand, skus: Iterable[str]) -> list[str]:
        """Locations that have any of it, by the demand's strategy."""
        having = {x for sku in skus for x, units in self._free[sku].items() if units}

        def rank(location: str) -> tuple[bool, int, int, str]:
            place = self._places.get(location, ANYWHERE)
            distance = _distance(place, demand.country) if demand.strategy == "nearest" else 0
            return location not in demand.at, distance, place.priority, location

        return sorted(having, key=rank)

    def _from(self, locations: Sequence[str], demand: Demand) -> Iterator[Allotment]:
        left = {(sku, x): n for sku in demand.needed for x, n in self._free[sku].items()}
        for line_no, sku, quantity in demand.lines:
            whole = [x for x in locations if left.get((sku, x), 0) >= quantity]
            for location in whole[:1] or locations:
                units = min(quantity, left.get((sku, location), 0))
                if units:
                    left[sku, location] -= units
                    quantity -= units
                    yield Allotment(demand.order_id, line_no, sku, location, units)


def _distance(place: Place, country: str) -> int:
    """Northern Ireland (XI) is in the United Kingdom, and is served as it is."""
    whole = whole_country(country)
    if whole_country(place.country) == whole:
        return 0
    return 1 if place.serves is None or not place.serves.isdisjoint((country, whole)) else 2
