"""What a person types, fit to be kept."""

from __future__ import annotations

import re
from typing import overload

from pipeline.cards import holds_card_number
from pipeline.errors import InvalidInput

#: The largest number that both databases keep: no id is larger.
LARGEST = 2**63 - 1


def is_digits(given: str) -> bool:
    """Whether it is a whole number in the digits 0 to 9: Python's own tests take those of any script."""
    return given.isascii() and given.isdecimal()


@overload
def text(field: str, given: str, most: int) -> str: ...
@overload
def text(field: str, given: str | None, most: int) -> str | None: ...
def text(field: str, given: str | None, most: int) -> str | None:
    """`given`, if it is `most` signs at the most, can be printed and holds no card number;
    InvalidInput names the field and what was expected."""
    if given is None:
        return None
    name(field, given, most)
    if holds_card_number(given):
        raise InvalidInput(f"{field}: expected no payment card number")
    return given


def name(field: str, given: str, most: int) -> str:
    """A reference under which somebody else's books know a thing: as `text`, but it may look like a
    card number. One id of thirty does."""
    if not 0 < len(given) <= most or not given.isprintable():
        raise InvalidInput(f"{field}: expected 1 to {most} printable characters")
    return given


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LENGTH = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])")


def seconds(field: str, written: str | None) -> float | None:
    """A length of time such as 90s, 30m, 1h or 2d in seconds; None for none."""
    if not written:
        return None
    read = _LENGTH.fullmatch(written)
    if read is None:
        raise InvalidInput(f"{field}: got {written!r}, expected a time such as 30m, 1h or 2d")
    return float(read[1]) * _UNITS[read[2]]
