"""Countries by the codes and names that people write.

A country is its ISO 3166-1 alpha-2 code, or one of OWN_CODES.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

import pycountry

from pipeline.places.codes import OWN_CODES
from pipeline.places.folding import fold

#: What people write and pycountry doesn't have, or has as another's.
_PEOPLE_WRITE = {
    "AE": "UAE, Emirates",
    "BA": "Bosnia",
    "BN": "Brunei",
    "CD": "DR Congo, DRC, Democratic Republic of the Congo, Congo Kinshasa",
    "AT": "Oesterreich",
    "CG": "Republic of the Congo, Congo Brazzaville",
    "CI": "Ivory Coast",
    "CV": "Cape Verde",
    "CZ": "Czech Republic, Czechia",
    "EA": "Ceuta, Melilla, Ceuta and Melilla",
    "FK": "Falkland Islands, Falklands",
    "FM": "Micronesia",
    "GB": "UK, Great Britain, Britain, England, Scotland, Wales, U.K., G.B.",
    "GR": "EL, Hellas",
    "IC": "Canary Islands, Canaries, Islas Canarias",
    "IE": "Eire, Republic of Ireland, Irish Republic",
    "KN": "St Kitts and Nevis",
    "KR": "South Korea, Republic of Korea",
    "LC": "St Lucia",
    "MF": "Saint Martin, St Martin",
    "MK": "Macedonia",
    "MM": "Burma",
    "MO": "Macau, Macao",
    "NL": "The Netherlands, Holland",
    "PS": "Palestine",
    "RE": "Reunion, Reunion Island, La Reunion",
    "RU": "Russia, Россия",
    "SX": "Sint Maarten",
    "SZ": "Swaziland",
    "TL": "East Timor",
    "TR": "Turkey, Turkiye",
    "US": "U.S., USA, U.S.A., United States of America, America",
    "VA": "Vatican, Vatican City",
    "VC": "St Vincent and the Grenadines",
    "VG": "British Virgin Islands",
    "VI": "US Virgin Islands, Virgin Islands US",
    "XI": "Northern Ireland",
    "XK": "Kosovo, Republic of Kosovo, Kosova",
}

#: Whose names for countries are known, too: pycountry's translations.
_LANGUAGES = (
    "de", "fr", "it", "es", "nl", "pl", "pt", "sv", "da", "nb_NO", "fi", "cs", "hu", "ro", "el",
    "tr", "ru", "uk", "ja", "zh_CN", "ko", "ar", "he",
)  # fmt: skip


def country_code(written: str) -> str | None:
    """The code of the country that was meant: "DE", "de", "DEU", "Germany", "Deutschland"; "UK" is
    GB and "EL" GR. None if it is no country, or could be two."""
    # Almost always it is the code.
    return written if written in _codes() else _meant(written)


@cache
def _codes() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries) | frozenset(OWN_CODES)


@lru_cache(maxsize=4096)
def _meant(written: str) -> str | None:
    folded = fold(written)
    if not folded:
        return None
    code = folded.upper()
    if code in _codes():
        return code
    return _by_name().get(folded) or _by_translated_name().get(folded)


@cache
def _by_name() -> dict[str, str]:
    """By what people write, then by ISO's codes of three letters and its names in English."""
    found: dict[str, str] = {}
    for code, names in _PEOPLE_WRITE.items():
        for name in names.split(","):
            found[fold(name)] = code
    for country in pycountry.countries:
        for field in ("alpha_3", "numeric", "name", "official_name", "common_name"):
            if its := getattr(country, field, None):
                found.setdefault(fold(its), country.alpha_2)
    return found


@cache
def _by_translated_name() -> dict[str, str]:
    """Names in other languages; one that two countries have in two languages is nobody's."""
    return unambiguous(_translated_names())


def _translated_names() -> Iterator[tuple[str, str]]:
    for language in _LANGUAGES:
        words = gettext.translation("iso3166-1", pycountry.LOCALES_DIR, [language], fallback=True)
        for country in pycountry.countries:
            for name in (country.name, getattr(country, "common_name", country.name)):
                if folded := fold(words.gettext(name)):
                    yield folded, country.alpha_2


def unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs as a dict, without keys that have two values."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            twice.add(key)
    return {key: value for key, value in found.items() if key not in twice}
