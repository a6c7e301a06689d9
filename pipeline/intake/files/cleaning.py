"""How a cell becomes a value: a small vocabulary that a mapping names, and countries by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pipeline.places.countries import country_code

Clean = Literal["strip", "collapse", "upper", "lower", "drop_decimal_zero", "drop_apostrophe"]

_DECIMAL_ZERO = re.compile(r"(?<=[0-9])\.0+$")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")

_VOCABULARY: dict[Clean, Callable[[str], str]] = {
    "strip": str.strip,
    "collapse": lambda text: " ".join(text.split()),
    "upper": str.upper,
    "lower": str.lower,
    "drop_decimal_zero": lambda text: _DECIMAL_ZERO.sub("", text),  # "17850.0" → "17850"
    "drop_apostrophe": lambda text: drop_apostrophe(text),
}


def drop_apostrophe(text: str) -> str:
    """ "'02759" → "02759": what a spreadsheet puts before a number that is to stay as it is written."""
    return text.removeprefix("'")


def cleaned(text: str, steps: Iterable[Clean]) -> str:
    """`text` after the named steps, in their order."""
    for step in steps:
        text = _VOCABULARY[step](text)
    return text


def whole_number(text: str) -> int | str:
    """ "6" → 6; what is no whole number stays text, for the schema to refuse as it stands."""
    return int(text) if _WHOLE.fullmatch(text) else text


def separated(text: str) -> list[str]:
    """ "A | B" → ["A", "B"]; what stands between bars and is empty is nothing."""
    return [part.strip() for part in text.split("|") if part.strip()]


def moment(text: str, form: str | None, timezone: str | None) -> str:
    """A time as people write it → with its zone, as orders have it. What is no such time, or names
    no zone where none is known, stays text, for the schema to refuse as it stands. Of an hour that a
    clock shows twice, the first is meant."""
    try:
        at = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
    except ValueError:
        return text
    if at.tzinfo is None and timezone is not None:
        at = at.replace(tzinfo=ZoneInfo(timezone))
    return text if at.tzinfo is None else at.isoformat()


def country_of(written: str, overrides: Mapping[str, str]) -> str:
    """A country's name or code → its code; an unknown one stays as it is, for the schema to refuse."""
    return overrides.get(written) or country_code(written) or written
