"""Payment card numbers in free text: they must neither get in nor out, so they have to be told from
other digits.

Whatever is no letter and no digit may stand between the digits of one number: people write them in
groups, digit by digit, with points, bars and line breaks. Ids (an order's, a SKU, a reference, a
tracking number) are not free text: one in thirty of 16 digits looks like a card's number, so nothing
that is an id passes here on its way in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from unicodedata import numeric

from stdnum import ean

#: The numbers that the networks issue today, by prefix and length.
_BRANDS = re.compile(
    r"4\d{15}(\d{3})?"  # Visa
    r"|5\d{15}"  # Mastercard, Maestro and many national ones
    r"|(50|5[678]|6[0-57])\d{14,17}"  # Maestro, Discover, UnionPay, RuPay, Elo, Hipercard
    r"|(222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard, second series
    r"|3[47]\d{13}"  # American Express
    r"|3(0[0-5]\d|095|[689]\d\d)\d{10}(\d{2})?"  # Diners Club
    r"|35(2[89]|[3-8]\d)\d{12}|(2131|1800)\d{11}"  # JCB
    r"|81\d{14}(\d{3})?"  # UnionPay
    r"|220[0-5]\d{12}"  # Mir
    r"|(8600|9490|9792|9860)\d{12}"  # Uzcard, South Korea's, Troy, Humo
    r"|1354\d{11}"  # UATP
)
#: Visa issues these no more. What begins as a country's telephone numbers do is one of those.
_OLD_VISA = re.compile(r"42[24-9]\d{10}")
_SHORTEST, _LONGEST = 13, 19
#: What any of them begins with, so that other digits are passed over fast.
_BEGINS = re.compile(r"4|5|6[0-57]|2[1-7]|3[04-9]|8[16]|9[478]|1[38]")
#: Each digit twice, and the two digits of that added up.
_DOUBLED = str.maketrans("0123456789", "0246813579")
_MOST_GROUPS = 8  # in which numbers of uneven groups are written
#: Digits with up to so many signs between them that are neither letters nor digits. Each sign can
#: be matched in one way only, so the time is linear.
_RUN = re.compile(r"\d+(?:[^\dA-Za-z]{1,8}\d+)*")
_GROUP = re.compile(r"\d+")
#: Month and year, and perhaps the security code, written on without a space.
_EXPIRY = re.compile(r"(0[1-9]|1[0-2])(20)?\d\d(\d{3,4})?")
_LONGEST_EXPIRY = 10
#: What is full of digits and known by its form: UUIDs, Amazon's order ids, dates, times of day.
_KNOWN = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?=[0-9-]{0,35}[A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|\d{3}-\d{7}-\d{7}"
    r"|(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])(?P<between>[./-])(?:0?[1-9]|1[0-2])(?P=between)(?:19|20)\d\d"
    r"|(?:[01]?\d|2[0-4]):[0-5]\d"
    r")(?![0-9A-Za-z])"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def holds_card_number(text: str) -> bool:
    """Whether `text` holds a number of a network's form with the right check digit, however it is
    written."""
    return len(text) >= _SHORTEST and next(_found(text), None) is not None


def mask_card_numbers(text: str, mask: Callable[[str], str] = lambda _: "(card number)") -> str:
    """`text` with each such number, as it stands there, replaced by what `mask` makes of it."""
    if len(text) < _SHORTEST:
        return text
    spans: list[tuple[int, int]] = []
    for start, stop in _found(text):
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    parts, end = [], 0
    for start, stop in spans:
        parts += [text[end:start], mask(text[start:stop])]
        end = stop
    return "".join([*parts, text[end:]])


def shape(number: str) -> str:
    """A card's number so that people know it again and nobody can use it: 4242…4242."""
    digits = _GROUP.findall(_plain(number))
    run = "".join(digits)
    return f"{run[:4]}…{run[-4:]}"


def _found(text: str) -> Iterator[tuple[int, int]]:
    """Where in `text` such numbers stand, by their beginning; they may overlap."""
    plain = _plain(text)
    if any(_is_long(run) for run in _RUN.finditer(plain)):
        plain = _KNOWN.sub(lambda known: "x" * len(known[0]), plain)
        for run in _RUN.finditer(plain):
            if _is_long(run):
                yield from _numbers(plain, run.span())


def _is_long(run: re.Match[str]) -> bool:
    return run.end() - run.start() >= _SHORTEST


def _numbers(text: str, run: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Neighbouring groups of digits that make up a card's number, as (start, stop). More than
    eight are all as long as the first, but perhaps for the last: 1 2 3 … 10 11 are other numbers."""
    groups = [group.span() for group in _GROUP.finditer(text, *run)]
    digits, at = "".join(_GROUP.findall(text, *run)), 0
    for first, (begin, end) in enumerate(groups):
        size = end - begin
        if _BEGINS.match(digits, at):
            length, are_even = 0, True
            for n, (start, stop) in enumerate(groups[first : first + _LONGEST], start=1):
                length += stop - start
                if length > _LONGEST or not (n <= _MOST_GROUPS or are_even):
                    break
                are_even = are_even and stop - start == size
                is_one = n <= _MOST_GROUPS or stop - start <= size
                if is_one and length >= _SHORTEST and _is_card(digits[at : at + length]):
                    yield begin, stop
            may_have_expiry = _SHORTEST + 4 <= size <= _LONGEST + _LONGEST_EXPIRY
            if may_have_expiry and (before := _before_expiry(text[begin:end])):
                yield begin, begin + before
        at += size


def _is_card(number: str) -> bool:
    if _BRANDS.fullmatch(number):
        return _has_check_digit(number)
    return (
        _OLD_VISA.fullmatch(number) is not None
        and _has_check_digit(number)
        and not ean.is_valid(number)
    )


def _has_check_digit(number: str) -> bool:
    """By the formula of Luhn. stdnum's takes eight times as long, and a text of nothing but digits,
    each by itself, asks it thousands of times."""
    every_other = number[-2::-2].translate(_DOUBLED)
    return sum(map(int, number[-1::-2] + every_other)) % 10 == 0


def _before_expiry(digits: str) -> int | None:
    """How many of `digits` are a card's number, if the rest of them say until when it is valid."""
    for length in range(_LONGEST, _SHORTEST - 1, -1):
        if _EXPIRY.fullmatch(digits, length) and _is_card(digits[:length]):
            return length
    return None


def _plain(text: str) -> str:
    """Sign by sign: digits of any script, in circles or raised, as 0 to 9, so that １ or ① is no
    way around; other letters as x; whatever else as a space."""
    return text if text.isascii() else _NOT_ASCII.sub(lambda sign: _as_ascii(sign[0]), text)


def _as_ascii(sign: str) -> str:
    value = numeric(sign, -1.0)
    if value in range(10):
        return str(int(value))
    return "x" if sign.isalnum() else " "
