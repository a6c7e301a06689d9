"""Money: integer minor units, in the currency's own exponent (ISO 4217)."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cache

from iso4217 import Currency

from pipeline.errors import InvalidInput


@cache
def exponent(currency: str) -> int:
    """How many decimal places `currency` has: JPY 0, USD 2, KWD 3. Unknown codes raise InvalidInput."""
    try:
        places = Currency(currency).exponent
    except ValueError:
        places = None
    if places is None:
        raise InvalidInput(f"{currency!r} is not an ISO 4217 currency with minor units")
    return places


def to_minor(amount: str | Decimal, currency: str) -> int:
    """'2.55' GBP → 255. More decimal places than the currency has raise InvalidInput."""
    try:
        minor = Decimal(amount).scaleb(exponent(currency))
    except InvalidOperation:
        raise InvalidInput(f"{amount!r} is not a decimal number") from None
    if not minor.is_finite() or minor != minor.to_integral_value():
        raise InvalidInput(
            f"{amount!r} has more decimal places than {currency} ({exponent(currency)})"
        )
    return int(minor)


def to_text(minor: int, currency: str) -> str:
    """255 GBP → '2.55'."""
    places = exponent(currency)
    if places == 0:
        return str(minor)
    whole, fraction = divmod(abs(minor), 10**places)
    return f"{'-' if minor < 0 else ''}{whole}.{fraction:0{places}}"
