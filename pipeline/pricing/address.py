"""Where an order goes, as rules compare it: what of its address is known, and what it may be.

Whether a place that rules name fits has three answers: True, False and, of an address that can't be
told, None.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pipeline.places.addressing import facts
from pipeline.places.codes import OWN_CODES, whole_country
from pipeline.places.folding import fold
from pipeline.places.postal import UNKNOWN, Postal, postal_code, postal_prefix
from pipeline.places.regions import region_code, regions_at, within
from pipeline.places.territories import (
    MEMBER_STATES,
    Territory,
    territories_of,
    territory_called,
)

Answer = bool | None


def any_of(answers: Iterable[Answer]) -> Answer:
    found: Answer = False
    for answer in answers:
        if answer:
            return True
        found = None if answer is None else found
    return found


def all_of(*answers: Answer) -> Answer:
    return False if False in answers else None if None in answers else True


def region_named(country: str, written: str) -> str:
    """A region of the rules, as `Destination.lies_in` asks for it: its code in `country`, or "=north"
    for a name of the rules' own."""
    return region_code(_regions_are_of(country), written) or f"={fold(written)}"


def lying_within(country: str, region: str) -> tuple[str, ...]:
    """`region_named` and those that it lies in, the smallest first."""
    return (region,) if region.startswith("=") else within(_regions_are_of(country), region)


@dataclass(frozen=True, slots=True)
class Unclear:
    """An address that can't be told, where that makes a difference: the field that is missing or not
    understood, and where it may be, as far as the rules have names for it."""

    field: str
    problem: str
    choices: Sequence[str] = ()

    @property
    def detail(self) -> dict[str, Any]:
        told: dict[str, Any] = {"field": self.field, "problem": self.problem}
        return {**told, "zones": list(self.choices)} if self.choices else told


#: Names of zones that are told; there may be thousands.
_MOST_CHOICES = 10


def unclear(sent: Destination, by_region: bool, choices: Iterable[str] = ()) -> Unclear:
    """What is wrong with `sent`. `by_region`: it is the region that was asked for."""
    told = list(dict.fromkeys(choices))[:_MOST_CHOICES]
    if sent.is_beside_its_territory:
        return Unclear("postal_code", "contradicts the country", told)
    if len(sent.readings()) > 1:
        return Unclear("region", "contradicts the postal code", told)
    name = "region" if by_region else "postal_code"
    written = getattr(sent, name)
    return Unclear(name, "is missing" if written is None else "is not known there", told)


@dataclass(frozen=True, slots=True)
class Destination:
    """An address. `country` is a code; region and postal code are as they were written."""

    country: str
    region: str | None = None
    postal_code: str | None = None
    #: What its postal code begins with, where that is all that is known.
    prefix: str | None = None

    # --- What is known of it ----------------------------------------------------------------------

    @property
    def postal(self) -> Postal:
        if self.prefix is not None:
            return Postal(postal_prefix(self.country, self.prefix), whole=False)
        found = postal_code(self.country, self.postal_code)
        named = territory_called(self.country)
        if named is None or not named.postal:
            return found
        if found.code and any(map(found.begins, named.postal)):
            return found
        # It is in that territory, whatever the code says.
        return Postal(named.postal[0], whole=False) if len(named.postal) == 1 else UNKNOWN

    @property
    def territory(self) -> Territory | None:
        """The one that it is in for certain: by its country's code, else by its postal code, or by
        its region where that can't be told."""
        named = territory_called(self.country)
        if named is not None:
            return named
        possible = territories_of(self.country)
        if not possible:
            return None
        postal = self.postal
        if postal.code:
            return next((t for t in possible if any(map(postal.begins, t.postal))), None)
        code = self._region_code
        lies_in = within(self.country, code) if code else ()
        return next((t for t in possible if not set(t.regions).isdisjoint(lies_in)), None)

    @property
    def regions(self) -> Collection[str] | None:
        """It is in one of these, or in none if there are none; None: nobody knows."""
        if self.region is not None and (code := self._region_code) is not None:
            return (code,)
        territory = self.territory
        if territory is not None:
            return territory.regions
        return None if self.region else regions_at(self.country, self.postal) or None

    def readings(self) -> Sequence[Destination]:
        """The address; or, if its region and its postal code can't both be right, or its country and
        its postal code, each alone."""
        return _readings(self)

    @property
    def is_beside_its_territory(self) -> bool:
        """Whether it is sent with a territory's own code, and a postal code of elsewhere in the
        country that this is written with: Northern Ireland's, and London's."""
        named = territory_called(self.country)
        if named is None or self.postal_code is None:
            return False
        found = postal_code(named.of, self.postal_code)
        its = [p for t in territories_of(named.of) if t.code == self.country for p in t.postal]
        return bool(found.code and its) and not any(found.begins(p) is not False for p in its)

    def _contradicts_itself(self) -> bool:
        """Whether its region lies where its postal code does not, as far as anybody knows."""
        code = self._region_code
        if code is None:
            return False
        if facts(self.country).get("sub_zips"):
            at = regions_at(self.country, self.postal)
            if at and not any(_overlap(self.country, code, each) for each in at):
                return True
        possible, postal = territories_of(self.country), self.postal
        if not possible or not postal.code:
            return False
        by_postal = next((t for t in possible if any(map(postal.begins, t.postal))), None)
        if by_postal is not None:
            its = by_postal.regions
            return bool(its) and not any(_overlap(self.country, code, each) for each in its)
        lies_in = within(self.country, code)
        by_region = next((t for t in possible if not set(t.regions).isdisjoint(lies_in)), None)
        return by_region is not None and not any(
            postal.begins(p) is not False for p in by_region.postal
        )

    @property
    def vat_area(self) -> str | None:
        """The member state of the EU whose area for VAT on goods it is in; XI for Northern Ireland,
        FR for Monaco; None outside."""
        territory = self.territory
        if territory is None:
            return self.country if self.country in MEMBER_STATES else None
        if not territory.in_eu:
            return None
        return territory.taxed_as if territory.taxed_as in MEMBER_STATES else territory.code

    @property
    def taxed_as(self) -> str:
        """The country, or territory, whose tax is charged there."""
        territory = self.territory
        if territory is None:
            return self.country
        return territory.taxed_as or territory.code or territory.name

    # --- Whether a place of the rules fits --------------------------------------------------------

    def is_in(self, country: str) -> Answer:
        """Whether it is in a country, or territory, by whichever of its names: the code it was sent
        with, the country that this is a part of, or what its postal code or region says."""
        if country in (self.country, whole_country(self.country)):
            return True
        if (territory := self.territory) is not None:
            return country == territory.code
        # Of a territory that ISO doesn't know people write the country.
        its_own = OWN_CODES.get(country) == self.country
        named = territory_called(country) if its_own else None
        if named is None:
            return False
        if self.postal.code:
            return any_of(map(self.postal.begins, named.postal))
        return any_of(map(self._lies_in, named.regions))

    def is_written_with(self, country: str) -> Answer:
        """Whether addresses there may be written with `country`: Réunion's with France."""
        territory = self.territory
        return (territory is not None and country == territory.of) or self.is_in(country)

    def is_taxed_in(self, country: str) -> Answer:
        """Whether the tax of a country, or territory, is charged there."""
        territory = self.territory
        if territory is None:
            return self.is_in(country)
        return country in (territory.code, territory.taxed_as)

    def begins(self, prefix: str) -> Answer:
        """Whether its postal code begins with `prefix`."""
        postal = self.postal
        answer = postal.begins(prefix)
        if answer is None and facts(self.country).get("sub_zips") and self.regions:
            at = regions_at(self.country, Postal(prefix))
            pairs = [(each, mine) for each in at for mine in self.regions]
            if pairs and not any(_overlap(self.country, *pair) for pair in pairs):
                return False
        return answer

    def lies_in(self, region: str, *, of_any_country: bool = False) -> Answer:
        """Whether it lies in a region of the rules, as `region_named` has it. `of_any_country`: they
        don't say whose region it is; a country that has none of that name is not meant."""
        if not region.startswith("="):
            return self._lies_in(region)
        if self.region is not None and region == f"={fold(self.region)}":
            return True
        return False if of_any_country or self.regions is not None else None

    def _lies_in(self, region: str) -> Answer:
        mine = self.regions
        if mine is None:
            return None
        answers = {_is_within(_regions_are_of(self.country), each, region) for each in mine}
        return (answers.pop() if len(answers) == 1 else None) if answers else False

    @property
    def _region_code(self) -> str | None:
        return region_code(_regions_are_of(self.country), self.region)


@lru_cache(maxsize=16_384)
def _readings(sent: Destination) -> Sequence[Destination]:
    if sent.is_beside_its_territory:
        whole = getattr(territory_called(sent.country), "of", sent.country)
        return replace(sent, postal_code=None), replace(sent, country=whole)
    if sent.region is None or not sent._contradicts_itself():
        return (sent,)
    return replace(sent, postal_code=None), replace(sent, region=None)


def _regions_are_of(country: str) -> str:
    """Whose regions an address names that is sent with `country`: France's for Réunion."""
    named = territory_called(country)
    return country if named is None else named.of


def _is_within(country: str, mine: str, region: str) -> Answer:
    if region in within(country, mine):
        return True
    return None if mine in within(country, region) else False


def _overlap(country: str, one: str, other: str) -> bool:
    return one in within(country, other) or other in within(country, one)
