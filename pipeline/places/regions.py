"""Regions (states, provinces, counties) by the codes and names that people write.

A region is its code of ISO 3166-2 without the country: NY, BY, 13. Its names are those of
pycountry, in several languages, and those that Google's forms offer, in the country's own script.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

import pycountry

from pipeline.places.addressing import facts_in_its_languages, subdivisions
from pipeline.places.codes import whole_country
from pipeline.places.countries import country_code, unambiguous
from pipeline.places.folding import folds
from pipeline.places.postal import Postal

#: Names in these are looked at only for what is in none of the country's own languages, nor English.
_OTHER_LANGUAGES = ("de", "fr", "it", "es", "nl", "pl", "pt", "ru", "sv", "uk", "ja", "zh_CN")

#: What people write and the two libraries don't have.
_PEOPLE_WRITE = {
    "AE": {"RK": "RAK", "UQ": "UAQ"},
    "AR": {"C": "CABA, Capital Federal"},
    "AT": {"1": "Bgld", "2": "Carinthia", "3": "Lower Austria, NÖ", "4": "Upper Austria, OÖ",
           "6": "Styria", "7": "Tyrol", "9": "Vienna"},
    "BE": {"VLG": "Flanders", "WAL": "Wallonia", "BRU": "Brussels"},
    "CA": {"ON": "Ont", "QC": "Que, PQ", "BC": "B C", "AB": "Alta", "NL": "Newfoundland, Nfld",
           "PE": "PEI", "NT": "NWT", "SK": "Sask", "MB": "Man"},
    "CH": {"GE": "Geneva", "GR": "Grisons", "LU": "Lucerne", "BE": "Bern", "SG": "St Gallen"},
    "DE": {"BY": "Bavaria", "HE": "Hesse", "MV": "Mecklenburg-Western Pomerania",
           "NI": "Lower Saxony, Nds", "NW": "North Rhine-Westphalia, NRW",
           "RP": "Rhineland-Palatinate, RLP", "SN": "Saxony", "ST": "Saxony-Anhalt",
           "TH": "Thuringia"},
    "ES": {"AN": "Andalusia", "AR": "Aragon", "CL": "Castile and Leon", "CM": "Castilla-La Mancha",
           "CN": "Canary Islands, Canaries, Islas Canarias", "CT": "Catalonia",
           "PM": "Balearic Islands, Balearics, Baleares, Mallorca, Menorca, Ibiza",
           "EX": "Extremadura", "GA": "Galicia",
           "GC": "Gran Canaria, Las Palmas de Gran Canaria, Lanzarote, Fuerteventura",
           "NA": "Navarre", "PV": "Basque Country, Euskadi",
           "TF": "Tenerife, La Gomera, El Hierro, La Palma", "VC": "Valencia Region"},
    "FI": {"01": "Åland, Aland Islands, Ahvenanmaa"},
    "FR": {"20R": "Corsica", "75C": "75", "BRE": "Brittany", "NOR": "Normandy", "974": "Reunion",
           "971": "Guadeloupe", "972": "Martinique", "973": "French Guiana", "976": "Mayotte",
           "PAC": "PACA"},
    "GB": {"NIR": "NI, N Ireland, Ulster, Co Antrim, Co Armagh, Co Down, Co Fermanagh, "
                  "Co Londonderry, Co Derry, Co Tyrone"},
    "GR": {"69": "Mount Athos, Agio Oros, Agion Oros, Άγιο Όρος", "I": "Attica, Αττική",
           "M": "Crete"},
    "IN": {"OD": "Orissa", "PY": "Pondicherry", "UK": "Uttaranchal", "CG": "Chattisgarh",
           "DL": "New Delhi, NCT of Delhi", "JK": "J&K"},
    "IT": {"21": "Piedmont", "23": "Val d'Aosta", "25": "Lombardy", "52": "Tuscany",
           "75": "Apulia", "82": "Sicily", "88": "Sardinia", "RM": "Rome", "MI": "Milan",
           "NA": "Naples", "TO": "Turin", "VE": "Venice", "FI": "Florence",
           "BZ": "Südtirol, Alto Adige, South Tyrol", "RE": "Reggio nell'Emilia"},
    "MX": {"CMX": "CDMX, DF, Distrito Federal", "MEX": "Edo de Mexico, Edomex",
           "BCN": "Baja California Norte", "ROO": "Q Roo"},
    "MY": {"01": "Johore", "04": "Malacca", "14": "KL, WP Kuala Lumpur"},
    "NL": {"NH": "North Holland", "ZH": "South Holland", "NB": "North Brabant"},
    "PT": {"11": "Lisbon", "13": "Oporto", "20": "Azores, Açores", "30": "Madeira"},
    "RU": {"MOW": "Moscow", "SPE": "Saint Petersburg, St Petersburg"},
    "US": {"AL": "Ala", "AZ": "Ariz", "AR": "Ark", "CA": "Calif, Cal", "CO": "Colo", "CT": "Conn",
           "DC": "Washington DC", "DE": "Del", "FL": "Fla", "ID": "Ida", "IL": "Ill", "IN": "Ind",
           "KS": "Kan, Kans", "MA": "Mass", "MI": "Mich", "MN": "Minn", "MS": "Miss",
           "MT": "Mont", "NE": "Neb, Nebr", "NV": "Nev", "NM": "N Mex",
           "NC": "N Carolina, N Car", "ND": "N Dakota, N Dak", "OK": "Okla", "OR": "Ore, Oreg",
           "PA": "Penna, Penn", "SC": "S Carolina, S Car", "SD": "S Dakota, S Dak",
           "TN": "Tenn", "TX": "Tex", "WA": "Washington State, Wash", "WI": "Wis, Wisc",
           "WV": "W Virginia, W Va, West Va", "WY": "Wyo", "AA": "Armed Forces Americas",
           "AE": "Armed Forces Europe", "AP": "Armed Forces Pacific"},
}  # fmt: skip

#: What people write before or after a region's name, beside its kind in pycountry.
_KINDS = ("State", "Province", "Region", "Prefecture", "Oblast")
_PARTS = re.compile(r"[,()/]|\s[-\u2013]\s")
_COUNTIES = re.compile(r"^(?:Co\.?|County)\s+", re.IGNORECASE)


@lru_cache(maxsize=8192)
def region_code(country: str, written: str | None) -> str | None:
    """The code of the region of `country` that was meant: NY for "ny", "New York", "N.Y.", "US-NY".
    None if it is missing, unknown, or could be two."""
    return _regions_of(whole_country(country)).meant(written) if written else None


def within(country: str, region: str) -> tuple[str, ...]:
    """The region and those that it lies in, by their codes, the smallest first."""
    return _regions_of(whole_country(country)).within(region)


@lru_cache(maxsize=8192)
def regions_at(country: str, postal: Postal) -> frozenset[str]:
    """The regions whose postal codes begin as this one; none if nobody knows."""
    return _regions_of(whole_country(country)).at(postal.code) if postal.code else frozenset()


@dataclass(frozen=True, slots=True)
class _Region:
    code: str
    names: frozenset[str]
    kind: str = ""


class _Regions:
    """The regions of one country."""

    def __init__(self, country: str) -> None:
        self._country = country
        listed = list(_listed(country))
        parents = {code: parent for code, _, _, parent in listed if parent}
        # The only part of a region is the same place (Madrid): one code stands for both.
        children: dict[str, list[str]] = {}
        for code, parent in parents.items():
            children.setdefault(parent, []).append(code)
        self._same = {parent: its[0] for parent, its in children.items() if len(its) == 1}
        self._parents = {c: p for c, p in parents.items() if p not in self._same}
        regions = [_Region(code, _names(name), kind) for code, name, kind, _ in listed]
        forms = [each for known in facts_in_its_languages(country) for each in subdivisions(known)]
        codes = {each.code for each in regions}
        self._names: dict[str, str] = {}
        self._know((key, code) for code in codes for key in self._code_keys(code))
        self._know((key, each.code) for each in regions for key in _keys(each.names, each.kind))
        # The forms have some codes that ISO 3166-2 has replaced since: what is the same by name is one.
        named = [(self._listed_as(code, names), code, names) for code, names, _ in forms]
        self._know((key, now) for now, _, names in named for key in _keys(names))
        self._know((key, now) for now, code, _ in named for key in self._code_keys(code))
        self._know(
            (key, code)
            for code, names in _PEOPLE_WRITE.get(country, {}).items()
            for key in _keys(name.strip() for name in names.split(","))
        )
        self._know(self._translated("en", with_kinds=True))
        self._postal = [
            (self._one(now), re.compile(pattern))
            for (now, *_), (*_, pattern) in zip(named, forms, strict=True)
            if pattern
        ]

    def meant(self, written: str) -> str | None:
        keys = sorted(folds(written))
        for key in keys:
            if key in self._names:
                return self._names[key]
        others = self._in_other_languages() if keys else {}
        found = next((others[key] for key in keys if key in others), None)
        return found or self._meant_twice(written)

    def _meant_twice(self, written: str) -> str | None:
        """Of "Texas (TX)", "NY - New York" or "CA, USA": the one region that all parts name."""
        parts = [part for part in _PARTS.split(written) if part.strip()]
        if len(parts) < 2:
            return None
        regions = {self.meant(p) for p in parts if country_code(p.strip()) != self._country}
        return regions.pop() if len(regions) == 1 else None

    def within(self, region: str) -> tuple[str, ...]:
        found = [region]
        while (parent := self._parents.get(found[-1])) is not None and parent not in found:
            found.append(parent)
        return tuple(found)

    def at(self, code: str) -> frozenset[str]:
        return frozenset([region for region, pattern in self._postal if pattern.match(code)])

    def _one(self, code: str) -> str:
        return self._same.get(code, code)

    def _listed_as(self, code: str, names: set[str]) -> str:
        """The code that pycountry has for what the forms call so, or else theirs."""
        known = {self._names[key] for name in names for key in folds(name) if key in self._names}
        return known.pop() if len(known) == 1 else code

    def _code_keys(self, code: str) -> set[str]:
        return folds(code) | folds(self._country + code)

    def _know(self, names: Iterable[tuple[str, str]]) -> None:
        """Names beside those that are known already; of a region and a part of it that share one,
        the part has it."""
        found: dict[str, set[str]] = {}
        for key, code in names:
            found.setdefault(key, set()).add(self._one(code))
        for key, codes in found.items():
            smallest = [c for c in codes if codes <= set(self.within(c))]
            if smallest:
                self._names.setdefault(key, smallest[0])

    def _translated(self, language: str, *, with_kinds: bool = False) -> Iterator[tuple[str, str]]:
        words = gettext.translation("iso3166-2", pycountry.LOCALES_DIR, [language], fallback=True)
        for each in _of_pycountry(self._country):
            names = _names(words.gettext(each.name))
            keys = _keys(names, each.type) if with_kinds else set().union(*map(folds, names))
            for key in keys:
                yield key, self._one(_suffix(each.code))

    @cache  # noqa: B019 - regions are made once a country, and kept
    def _in_other_languages(self) -> dict[str, str]:
        return unambiguous(
            pair for language in _OTHER_LANGUAGES for pair in self._translated(language)
        )


@cache
def _regions_of(country: str) -> _Regions:
    return _Regions(country)


def _of_pycountry(country: str) -> list[Any]:
    found: Any = pycountry.subdivisions.get(country_code=country)  # type: ignore[no-untyped-call]
    return sorted(found or (), key=attrgetter("code"))


def _listed(country: str) -> Iterator[tuple[str, str, str, str | None]]:
    """Code, name, kind and the code of the region that it lies in."""
    for each in _of_pycountry(country):
        parent = each.parent_code
        yield _suffix(each.code), each.name, each.type, _suffix(parent) if parent else None


def _suffix(code: str) -> str:
    return str(code).partition("-")[2] or str(code)


def _names(written: str) -> frozenset[str]:
    """The names in one: "Lugo [Lugo]", "Araba/Álava", "Navarra, Comunidad Foral de"."""
    found = {written}
    for part in re.split(r"[\[\]()/;]", written):
        name, comma, ahead = (piece.strip() for piece in part.partition(","))
        found |= {part, name, f"{ahead} {name}"} if comma else {part}
    return frozenset(name.strip() for name in found if name.strip())


def _keys(names: Iterable[str], kind: str = "") -> set[str]:
    """How names fold, alone and with the kind that people write with them."""
    found: set[str] = set()
    for name in names:
        plain = _COUNTIES.sub("", name)
        found |= folds(name) | folds(plain)
        if plain != name:
            found |= folds(f"Co {plain}") | folds(f"County {plain}")
        for each in {kind, *_KINDS} - {""}:
            found |= folds(f"{each} of {plain}") | folds(f"{plain} {each}")
    return found
