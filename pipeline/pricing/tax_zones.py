"""Which tax zone an address is in: the most specific that fits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from pipeline.places.codes import OWN_CODES
from pipeline.places.folding import fold
from pipeline.places.postal import postal_prefix
from pipeline.places.territories import territories_of, territory_called
from pipeline.pricing import rules
from pipeline.pricing.address import (
    Answer,
    Destination,
    Unclear,
    all_of,
    lying_within,
    region_named,
    unclear,
)


@dataclass(frozen=True, slots=True)
class TaxRate:
    """What a class of goods is taxed at in a zone: amount × numerator ÷ denominator is the exact
    tax, included in the amount or on top of it. `text` is the rate as a fraction, "0.19"; `parts`
    say by name what adds up to it. Two are equal if they amount to the same."""

    rate: Decimal
    text: str = field(compare=False)
    numerator: int = field(compare=False)
    denominator: int = field(compare=False)
    parts: Sequence[Mapping[str, str]] = field(compare=False)

    @classmethod
    def of(cls, given: Sequence[rules.TaxRate], includes_tax: bool) -> TaxRate:
        rate = sum((Decimal(part.rate) for part in given), Decimal(0))
        numerator, denominator = rate.as_integer_ratio()
        return cls(
            rate,
            f"{rate.normalize():f}",
            numerator,
            denominator + numerator if includes_tax else denominator,
            [{"name": part.name, "rate": part.rate} for part in given],
        )


@dataclass(frozen=True, slots=True)
class Zone:
    """Two are the same if their names and rates are: then it doesn't matter in which an address is."""

    name: str
    rates: Mapping[str, TaxRate]
    given: rules.TaxZone = field(compare=False)


#: Addresses whose zone is kept: people order again, and neighbours do.
_MOST_FOUND = 16_384


class Zones:
    """The tax zones of a rule set. What they say of one country is compiled when it is first asked."""

    def __init__(self, zones: Iterable[rules.TaxZone], includes_tax: bool) -> None:
        self._given: dict[str, list[tuple[rules.TaxZone, Zone]]] = {}
        for given in zones:
            rates = {name: TaxRate.of(r, includes_tax) for name, r in given.rates.items() if r}
            self._given.setdefault(given.country, []).append(
                (given, Zone(given.name, rates, given))
            )
        self._compiled: dict[str, _Country] = {}
        self._found: dict[Destination, Zone | Unclear | None] = {}

    def __bool__(self) -> bool:
        return bool(self._given)

    def called(self, name: str) -> Zone | None:
        """The zone of that name; the first, if there are more."""
        return next((z for its in self._given.values() for _, z in its if z.name == name), None)

    def of_country(self, country: str) -> Zone | None:
        """The zone of a country as such, or else of everywhere: not of a region or postal codes."""
        bare = (
            zone
            for name in (country, "*")
            for given, zone in self._given.get(name, ())
            if given.region is None and given.postal_prefix is None
        )
        return next(bare, None)

    def find(self, sent: Destination) -> Zone | Unclear | None:
        """Longest postal prefix first, then one with the region, the smaller first, then one with
        the territory or country. Unclear if that depends on what nobody can tell."""
        here = self._in(sent.country)
        if not here.may_differ:
            sent = Destination(sent.country)  # all its addresses are in one zone
        if sent not in self._found:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[sent] = self._look_for(sent)
        return self._found[sent]

    def _in(self, country: str) -> _Country:
        here = self._compiled.get(country)
        if here is None:
            here = self._compiled[country] = _Country(country, self._given)
        return here

    def _look_for(self, sent: Destination) -> Zone | Unclear | None:
        found = [self._in(each.country).zone(each) for each in sent.readings()]
        if all(each == found[0] for each in found):
            return found[0]
        names = [name for each in found for name in _names(each)]
        return unclear(sent, by_region=True, choices=names)


def _names(found: Zone | Unclear | None) -> Sequence[str]:
    if isinstance(found, Unclear):
        return found.choices
    return [found.name] if found else []


class _Country:
    """The zones that addresses sent with one country may be in."""

    def __init__(
        self, country: str, given: Mapping[str, Sequence[tuple[rules.TaxZone, Zone]]]
    ) -> None:
        self._country = country
        self._by_prefix: dict[str, _ByRegion] = {}
        names = _names_of(country)
        for name in names:
            for its, zone in given.get(name, ()):
                prefix = postal_prefix(country, its.postal_prefix) if its.postal_prefix else ""
                region = region_named(country, its.region) if its.region else None
                by_region = self._by_prefix.setdefault(prefix, _ByRegion(country))
                by_region.add(region, name, zone)
        self._prefixes = sorted(self._by_prefix)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)
        #: Whether where in the country it is makes a difference; else nobody need know.
        self.tells_apart = (
            self._prefixes not in ([], [""])
            or any(each.tells_apart for each in self._by_prefix.values())
            or any(name in given and OWN_CODES.get(name) == country for name in names)
        )
        #: Whether its addresses may be in several zones, be it by territory.
        self.may_differ = (
            self.tells_apart
            or bool(territories_of(country))
            or territory_called(country) is not None
        )

    def zone(self, sent: Destination) -> Zone | Unclear | None:
        may_be: list[Zone] = []
        by_region = False
        for prefix, begins in self._fitting(sent):
            for region, name, zone, lies_in in self._by_prefix[prefix].fitting(sent):
                if prefix or region:
                    fits = all_of(begins, lies_in, name == "*" or sent.is_written_with(name))
                else:
                    fits = name == "*" or sent.is_taxed_in(name)
                if fits is None and zone not in may_be:
                    may_be.append(zone)
                    by_region |= begins is True and lies_in is None
                elif fits:
                    if may_be in ([], [zone]):
                        return zone
                    return unclear(sent, by_region, [each.name for each in (*may_be, zone)])
        return unclear(sent, by_region, [each.name for each in may_be]) if may_be else None

    def _fitting(self, sent: Destination) -> Iterator[tuple[str, Answer]]:
        """The prefixes that its postal code has, or may have, the longest first."""
        if self._lengths == [0]:
            yield "", True
            return
        postal = sent.postal
        if not postal.whole:
            yield from self._longer(sent, postal.code)
        for length in self._lengths:
            if length <= len(postal.code) and (prefix := postal.code[:length]) in self._by_prefix:
                yield prefix, True

    def _longer(self, sent: Destination, code: str) -> Iterator[tuple[str, Answer]]:
        """Prefixes that go on where what is known of the postal code ends."""
        start = bisect_left(self._prefixes, code)
        possible = []
        for prefix in self._prefixes[start:]:
            if not prefix.startswith(code):
                break
            if len(prefix) > len(code):
                possible.append(prefix)
        for prefix in sorted(possible, key=len, reverse=True):
            if (answer := sent.begins(prefix)) is not False:
                yield prefix, answer


class _ByRegion:
    """The zones that name one postal prefix, or none."""

    def __init__(self, country: str) -> None:
        self._country = country
        self._zones: dict[str | None, list[tuple[str, Zone]]] = {}
        #: By a region, those that are parts of it.
        self._parts: dict[str, list[str]] = {}

    def add(self, region: str | None, country: str, zone: Zone) -> None:
        if region is not None and region not in self._zones:
            for larger in lying_within(self._country, region)[1:]:
                self._parts.setdefault(larger, []).append(region)
        self._zones.setdefault(region, []).append((country, zone))

    @property
    def tells_apart(self) -> bool:
        return any(region is not None for region in self._zones)

    def fitting(self, sent: Destination) -> Iterator[tuple[str | None, str, Zone, Answer]]:
        """Those that name the region that it lies in, or may lie in, the smallest first; then those
        that name none."""
        if self.tells_apart:
            for region in self._candidates(sent):
                for name, zone in self._zones[region]:
                    answer = sent.lies_in(region, of_any_country=name == "*")
                    if answer is not False:
                        yield region, name, zone, answer
        for name, zone in self._zones.get(None, ()):
            yield None, name, zone, True

    def _candidates(self, sent: Destination) -> Iterable[str]:
        """Not all of them, where it is known which it is."""
        mine = sent.regions
        if mine is not None and len(mine) == 1:
            (code,) = mine
            own = [] if sent.region is None else [f"={fold(sent.region)}"]
            near = [*self._parts.get(code, ()), *lying_within(self._country, code), *own]
            return [region for region in near if region in self._zones]
        named = [region for region in self._zones if region is not None]
        return sorted(named, key=lambda each: -len(lying_within(self._country, each)))


def _names_of(country: str) -> list[str]:
    """What rules may call where an address goes that is sent with this country, the narrowest first:
    territories in it, itself, what it is a territory of, everywhere."""
    codes = [each.code for each in territories_of(country) if each.code]
    named = territory_called(country)
    return list(dict.fromkeys([*codes, country, *([named.of] if named else []), "*"]))
