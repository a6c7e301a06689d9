"""Postal codes as they are compared: which code was meant, however it was typed, and how much of it
is certain."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

from pipeline.places.addressing import facts
from pipeline.places.codes import whole_country
from pipeline.places.territories import territories_of

#: What people write before a code that goes abroad, beside the country's own two letters.
_VEHICLES = {
    "AT": "A", "BE": "B", "CH": "CH", "DE": "D", "ES": "E", "FI": "FIN", "FR": "F", "HU": "H",
    "IT": "I", "LI": "FL", "LU": "L", "NO": "N", "PT": "P", "SE": "S", "SI": "SLO",
}  # fmt: skip

_BRITISH = r"[A-Z]{1,2}\d[A-Z\d]?"
#: The beginning of a code that people give for the whole: it says where, as far as it goes.
_SHORT = {
    "BR": r"\d{5}", "CA": r"[A-Z]\d[A-Z]", "GB": _BRITISH, "GG": _BRITISH, "IE": r"[A-Z]\d[\dW]",
    "IM": _BRITISH, "JE": _BRITISH, "NL": r"[1-9]\d{3}", "PT": r"\d{4}",
}  # fmt: skip


#: What a spreadsheet makes of a code that it takes for a number: 1067.0, 1067,0.
_AS_NUMBER = re.compile(r"\s*(\d+)[.,]0{1,2}\s*")


@dataclass(frozen=True, slots=True)
class Postal:
    """A code in capitals, digits and letters only. `whole`: nothing follows; else it is what the
    code begins with, and of one that nobody can know, nothing."""

    code: str
    whole: bool = True

    def begins(self, prefix: str) -> bool | None:
        """Whether the code begins with `prefix`; None: it may."""
        if self.code.startswith(prefix):
            return True
        return None if not self.whole and prefix.startswith(self.code) else False


UNKNOWN = Postal("", whole=False)


@lru_cache(maxsize=16_384)
def postal_code(country: str, written: str | None) -> Postal:
    """The code that was meant in `country`. UNKNOWN if it is missing, or none of that country's;
    where a country has no postal codes, what was written counts as it is."""
    its = _codes_of(whole_country(country))
    number = _AS_NUMBER.fullmatch(written) if written else None
    code = compact(number[1] if number else written) if written else ""
    if its.pattern is None:
        return Postal(code) if code or not its.exist else UNKNOWN
    if not code:
        return UNKNOWN
    for candidate in its.readings(code):
        if its.pattern.fullmatch(candidate):
            return Postal(its.bare(candidate), whole=not its.goes_on(candidate))
    short = its.bare(code)
    return Postal(short, whole=False) if its.short and its.short.fullmatch(short) else UNKNOWN


@lru_cache(maxsize=16_384)
def postal_prefix(country: str, written: str) -> str:
    """A prefix that rules name, as `postal_code` has codes of that country."""
    return _codes_of(whole_country(country)).bare(compact(written))


class _Codes:
    """How a country's codes look: `pattern` without spaces and hyphens, None where any will do."""

    def __init__(self, country: str) -> None:
        known = facts(country)
        self.exist = "%Z" in known.get("fmt", "%Z")
        self.pattern = re.compile(_without_marks(known["zip"])) if "zip" in known else None
        self.short = re.compile(_SHORT[country]) if country in _SHORT else None
        # Five digits of a code that may have nine.
        self.goes_on = re.compile(
            r"\d{5}" if r"(\d{4})" in known.get("zip", "") else "$^"
        ).fullmatch
        ahead = [country, compact(known.get("postprefix", "")), _VEHICLES.get(country, "")]
        # F-98000 is MC-98000; but IM1 1AA is a code of Britain's as it stands.
        within = [t for t in territories_of(country) if t.code and t.postal[0].isdigit()]
        ahead += [str(each.code) for each in within]
        # Where codes are known by such letters (IM1 1AA), they stay.
        stay = country in ("GG", "IM", "JE")
        letters = "|".join(re.escape(each) for each in ahead if each)
        self._ahead = re.compile("$^" if stay else f"(?:{letters})(?=\\d)")
        self._country = country

    def readings(self, code: str) -> tuple[str, ...]:
        """What may be meant: the code as it is, without the country before it, with it."""
        bare = self.bare(code.split("CEDEX")[0])
        return code, bare, self._country + bare

    def bare(self, code: str) -> str:
        """Without the country before it, if digits follow: LV-1010 and D-10115, never IM1 1AA."""
        return self._ahead.sub("", code, count=1) if self._ahead.match(code) else code


@cache
def _codes_of(country: str) -> _Codes:
    return _Codes(country)


def compact(written: str) -> str:
    """Letters and digits, in capitals and of ASCII: Arabic and full-width digits are digits."""
    if written.isascii() and written.isalnum():
        return written.upper()
    signs = []
    for sign in unicodedata.normalize("NFKC", written).upper():
        digit = unicodedata.decimal(sign, None)
        if digit is not None:
            signs.append(str(digit))
        elif sign.isalnum():
            signs.append(sign)
    return "".join(signs)


def _without_marks(pattern: str) -> str:
    r"""The regular expression without the spaces and hyphens between signs:
    \d{3} ?\d{2} → \d{3}\d{2}."""
    parts = re.findall(r"\\.|\[[^]]*\]\??|[ -]\??|.", pattern)
    return "".join(part for part in parts if part.strip(" -?[]\\") or part == "?" or part == "]")
