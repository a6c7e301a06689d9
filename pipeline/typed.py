"""What a person types, fit to be kept."""

from __future__ import annotations

from typing import overload

from pipeline.cards import holds_card_number
from pipeline.errors import InvalidInput


@overload
def text(field: str, given: str, most: int) -> str: ...
@overload
def text(field: str, given: str | None, most: int) -> str | None: ...
def text(field: str, given: str | None, most: int) -> str | None:
    """`given`, if it is `most` signs at the most, can be printed and holds no card number;
    InvalidInput names the field and what was expected."""
    if given is None:
        return None
    if not 0 < len(given) <= most or not given.isprintable():
        raise InvalidInput(f"{field}: expected 1 to {most} printable characters")
    if holds_card_number(given):
        raise InvalidInput(f"{field}: expected no payment card number")
    return given
