"""Countries by the codes and names that people write.

A country is its ISO 3166-1 alpha-2 code, or one of OWN_CODES.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

import pycountry

from pipeline.places.codes import OWN_CODES
from pipeline.places.folding import fold

#: What people write and pycountry doesn't have, or has as another's.
_PEOPLE_WRITE = {
    "AE": "UAE, Emirates",
    "BA": "Bosnia",
    "BL": "St Barthelemy, Saint Barts, St Barts",
    "BN": "Brunei",
    "BQ": "Bonaire, Caribbean Netherlands, Bonaire Saint Eustatius and Saba",
    "CD": "DR Congo, DRC, Democratic Republic of the Congo, Congo Kinshasa",
    "AT": "Oesterreich",
    "CG": "Republic of the Congo, Congo Brazzaville",
    "CI": "Ivory Coast",
    "CN": "PR China, PRC, Mainland China",
    "CV": "Cape Verde",
    "CZ": "Czech Republic, Czechia, Czech Rep",
    "DE": "BRD",
    "EA": "Ceuta, Melilla, Ceuta and Melilla",
    "FK": "Falkland Islands, Falklands",
    "FM": "Micronesia",
    "GB": "UK, Great Britain, Britain, England, Scotland, Wales, U.K., G.B.",
    "GR": "EL, Hellas",
    "HK": "Hong Kong SAR, Hong Kong SAR China",
    "HM": "Heard and McDonald Islands",
    "IC": "Canary Islands, Canaries, Islas Canarias",
    "IE": "Eire, Republic of Ireland, Irish Republic, ROI",
    "KN": "St Kitts and Nevis",
    "KP": "Korea North",
    "KR": "South Korea, Republic of Korea, Korea South",
    "LC": "St Lucia",
    "LY": "Libyan Arab Jamahiriya",
    "MF": "Saint Martin, St Martin",
    "MK": "Macedonia, FYROM, FYR Macedonia, Macedonia the former Yugoslav Republic of",
    "MM": "Burma",
    "MO": "Macau, Macao, Macau SAR, Macao SAR, Macao SAR China",
    "NL": "Holland, Kingdom of the Netherlands",
    "PM": "St Pierre and Miquelon",
    "PN": "Pitcairn Islands",
    "PS": "Palestine, Palestinian Territory, Palestinian Territories",
    "RE": "Reunion, Reunion Island, La Reunion",
    "RU": "Russia, Россия",
    "SH": "Saint Helena, St Helena",
    "SJ": "Svalbard",
    "SX": "Sint Maarten, Saint Martin Dutch part, St Martin Dutch part",
    "SZ": "Swaziland",
    "TL": "East Timor",
    "TR": "Turkey, Turkiye",
    "TW": "Taiwan ROC",
    "UM": "US Minor Outlying Islands, US Outlying Islands",
    "US": "U.S., USA, U.S.A., United States of America, America",
    "VA": "Vatican, Vatican City, Holy See",
    "VC": "St Vincent and the Grenadines, St Vincent and Grenadines",
    "VG": "British Virgin Islands",
    "VI": "US Virgin Islands, Virgin Islands US, USVI",
    "XI": "Northern Ireland, N Ireland, UK Northern Ireland, GB Northern Ireland, GB NIR, "
    "United Kingdom Northern Ireland, Northern Ireland UK, Northern Ireland United Kingdom",
    "XK": "Kosovo, Republic of Kosovo, Kosova, XKX, KOS",
    "ZA": "RSA",
}

#: Whose names for countries are known, too: pycountry's translations.
_LANGUAGES = (
    "de", "fr", "it", "es", "nl", "pl", "pt", "sv", "da", "nb_NO", "fi", "cs", "hu", "ro", "el",
    "tr", "ru", "uk", "ja", "zh_CN", "ko", "ar", "he", "bg", "et", "ga", "hr", "is", "lt", "lv", "mt",
    "sk", "sl", "sr",
)  # fmt: skip


def country_code(written: str) -> str | None:
    """The code of the country that was meant: "DE", "de", "DEU", "Germany", "Deutschland"; "UK" is
    GB and "EL" GR. None if it is no country, or could be two."""
    # Almost always it is the code.
    return written if written in _codes() else _meant(written)


@cache
def _codes() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries) | frozenset(OWN_CODES)


def was_country(code: str) -> bool:
    """Whether `code` is one of ISO 3166-3: a country's, until it left the list."""
    return code in _former_codes()


@cache
def _former_codes() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.historic_countries) - _codes()


#: No country's name is longer.
_MOST_SIGNS = 200


@lru_cache(maxsize=4096)
def _meant(written: str) -> str | None:
    folded = fold(written) if len(written) <= _MOST_SIGNS else ""
    if not folded:
        return None
    code = folded.upper()
    if code in _codes():
        return code
    found = _by_name().get(folded) or _by_translated_name().get(folded)
    return found or _meant_twice(written) or _without_article(written)


#: "United States (US)", as shops' exports have them; "The Gambia", "Bahamas, The".
_TWICE = re.compile(r"([^()]+)\(([^()]+)\)\s*")
_ARTICLE = re.compile(r"\s*the\s+(.+)|(.+),\s*the\s*", re.IGNORECASE)


def _meant_twice(written: str) -> str | None:
    """The country that is named before parentheses and in them alike."""
    found = _TWICE.fullmatch(written)
    codes = {country_code(each) for each in found.groups()} if found else {None}
    return codes.pop() if len(codes) == 1 else None


def _without_article(written: str) -> str | None:
    found = _ARTICLE.fullmatch(written)
    return country_code(found[1] or found[2]) if found else None


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
