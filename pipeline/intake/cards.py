"""Payment card numbers in free text: they must not get in, so they have to be told from other digits."""

from __future__ import annotations

import re

#: The numbers that the networks issue today, by prefix and length.
_BRANDS = re.compile(
    r"4\d{15}(\d{3})?"  # Visa
    r"|(5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(6011|65\d{2}|64[4-9]\d)\d{12}"  # Discover
    r"|35(2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14}(\d{3})?"  # UnionPay
)
_DIGITS = re.compile(r"\d+(?:[ -]\d+)*")


def holds_card_number(text: str) -> bool:
    """Whether `text` holds a number of a network's form with the right check digit, written in
    one or in groups."""
    return any(
        _BRANDS.fullmatch(number) and _fits_check_digit(number)
        for run in _DIGITS.findall(text)
        for number in _spans(re.split("[ -]", run))
    )


def _spans(groups: list[str]) -> list[str]:
    """All numbers that neighbouring groups of digits make up, of the length of a card's."""
    return [
        number
        for first in range(len(groups))
        for last in range(first + 1, min(len(groups), first + 8) + 1)
        if 14 <= len(number := "".join(groups[first:last])) <= 19
    ]


def _fits_check_digit(number: str) -> bool:
    """Luhn: from the right, every second digit doubled, less 9 where that exceeds 9."""
    digits = [int(c) for c in reversed(number)]
    return sum(d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(digits)) % 10 == 0
