"""Payment card numbers in free text: they must neither get in nor out, so they have to be told from
other digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import decimal

from stdnum import luhn

#: The numbers that the networks issue today, by prefix and length.
_BRANDS = re.compile(
    r"4\d{15}(\d{3})?"  # Visa
    r"|(5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|(5018|5020|5038|58\d{2}|6304|67\d{2})\d{12}"  # Maestro
    r"|3[47]\d{13}"  # American Express
    r"|(6011|65\d{2}|64[4-9]\d)\d{12}"  # Discover
    r"|3(0[0-5]|[689]\d)\d{11}(\d{2})?"  # Diners Club
    r"|35(2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14}(\d{3})?"  # UnionPay
    r"|220[0-4]\d{12}"  # Mir
)
_SHORTEST, _LONGEST = 14, 19
#: Digits, alone or in groups: what people put between groups is one sign, or a space on each side.
_RUN = re.compile(r"\d+(?:[\s\-.\u2010-\u2015/_]{1,3}\d+)*")
_GROUP = re.compile(r"\d+")


def holds_card_number(text: str) -> bool:
    """Whether `text` holds a number of a network's form with the right check digit, written in
    one or in groups."""
    return next(_found(text), None) is not None


def mask_card_numbers(text: str) -> str:
    """`text` with each such number replaced by "(card number)"."""
    parts, end = [], 0
    for start, stop in _found(text):
        if start >= end:
            parts += [text[end:start], "(card number)"]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _found(text: str) -> Iterator[tuple[int, int]]:
    """Where in `text` such numbers stand, from left to right; they may overlap."""
    plain = text if text.isascii() else "".join(map(_as_ascii, text))
    for run in _RUN.finditer(plain):
        if run.end() - run.start() >= _SHORTEST:
            groups = [group.span() for group in _GROUP.finditer(plain, *run.span())]
            yield from _numbers(plain, groups)


def _numbers(text: str, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Neighbouring groups of digits that make up a card's number, as (start, stop)."""
    for first in range(len(groups)):
        number = ""
        for start, stop in groups[first : first + 8]:
            number += text[start:stop]
            if len(number) > _LONGEST:
                break
            if _BRANDS.fullmatch(number) and luhn.is_valid(number):
                yield groups[first][0], stop


def _as_ascii(sign: str) -> str:
    """A digit of any script as 0 to 9, so that １ or ١ is no way around."""
    value = decimal(sign, None)
    return sign if value is None else str(value)
