"""Money: integer minor units, in the exponent that its currency was recorded with.

The list of ISO 4217 says how many decimal places a currency has, and each release of it may drop
one (HRK, BGN) or change it. Amounts that were written stay as they are. So the list is asked at
intake, and what it says of a currency is recorded with the shop's data (storage/currencies.py):
from then on the record counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from iso4217 import Currency

from pipeline.errors import InvalidInput

#: Minor units that an amount has at the most: a price, a line, a total. Sixteen digits are
#: every price that a document can state, and the amounts of hundreds of orders as large as that
#: still sum to less than the 64 bits of a database's integers.
MOST_AMOUNT = 10**16 - 1

_EXACT = Context(prec=100, traps=[InvalidOperation, Overflow, Inexact])

_recorded: dict[str, int] = {}
_read_again: list[Callable[[], Mapping[str, int]]] = []


def listed() -> dict[str, int]:
    """The currencies of today's list that have minor units, each with its exponent."""
    return {c.code: c.exponent for c in Currency if c.exponent is not None}


_LISTED = listed()


def is_listed(currency: str) -> bool:
    """Whether today's list has it: what comes in anew may be in it."""
    return currency in _LISTED


def is_known(currency: str) -> bool:
    """Whether it is listed, or on record from when it was: an order in it may be here already."""
    return currency in _LISTED or currency in _recorded


def go_by(recorded: Mapping[str, int], read_again: Callable[[], Mapping[str, int]]) -> None:
    """From now on the exponents are those `recorded`. `read_again` reads the record once more: a
    process with a newer list may have added to it."""
    _recorded.update(recorded)
    _read_again[:] = [read_again]


def exponent(currency: str) -> int:
    """How many decimal places `currency` has: JPY 0, USD 2, KWD 3. InvalidInput for a code that is
    neither recorded nor listed."""
    for known in (_recorded, _LISTED):
        if (places := known.get(currency)) is not None:
            return places
    for read in _read_again:
        _recorded.update(read())
    if currency not in _recorded:
        raise InvalidInput(f"{currency!r} is not an ISO 4217 currency with minor units")
    return _recorded[currency]


def to_minor(amount: str | Decimal, currency: str) -> int:
    """'2.55' GBP → 255. InvalidInput for more decimal places than the currency has, and for more
    than MOST_AMOUNT."""
    if isinstance(amount, str) and (not amount.isascii() or "_" in amount):
        raise InvalidInput(f"{amount!r} is not a decimal number in digits 0 to 9")
    try:
        minor = Decimal(amount).scaleb(exponent(currency), _EXACT)
    except InvalidOperation:
        raise InvalidInput(f"{amount!r} is not a decimal number") from None
    except ArithmeticError:  # no number that anybody means
        raise InvalidInput(f"{amount!r} has more digits than can be kept") from None
    if not minor.is_finite():
        raise InvalidInput(f"{amount!r} is not a decimal number")
    if abs(minor) > MOST_AMOUNT:
        raise InvalidInput(f"{amount!r} is more than can be kept: {most_text(currency)}")
    if minor != minor.to_integral_value():
        raise InvalidInput(
            f"{amount!r} has more decimal places than {currency} ({exponent(currency)})"
        )
    return int(minor)


def most_text(currency: str) -> str:
    """MOST_AMOUNT as people write it, with its currency."""
    return f"{to_text(MOST_AMOUNT, currency)} {currency}"


def to_text(minor: int, currency: str) -> str:
    """255 GBP → '2.55'."""
    places = exponent(currency)
    if places == 0:
        return str(minor)
    whole, fraction = divmod(abs(minor), 10**places)
    return f"{'-' if minor < 0 else ''}{whole}.{fraction:0{places}}"
