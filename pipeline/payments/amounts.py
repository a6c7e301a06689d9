"""The steps in which gateways take the amounts of a currency. Pure: pricing asks before it promises.

Stripe's page on currencies (https://docs.stripe.com/currencies) says how it counts: in hundredths,
but some currencies whole and some in thousandths, of which the last digit must be 0. ISK and UGX
are counted in hundredths though they have none any more.
"""

from __future__ import annotations

from math import gcd

from pipeline.money import exponent
from pipeline.payments import gateways
from pipeline.payments.account import Operation

#: How many decimal places Stripe counts with, where it isn't two.
_STRIPE_COUNTS_WHOLE = frozenset(
    {
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV",
        "XAF", "XOF", "XPF",
    }
)  # fmt: skip
_STRIPE_COUNTS_THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
#: What Stripe takes are multiples of so many of its units, where it isn't one.
_STRIPE_STEPS = dict.fromkeys(_STRIPE_COUNTS_THOUSANDTHS, 10) | {"ISK": 100, "UGX": 100}


def step(gateway: str | None, currency: str) -> int:
    """The minor units of which amounts in `currency` must be multiples for `gateway` to take them."""
    return 1 if gateway is None else gateways.kind(gateway).step(currency)


def step_of(operation: Operation | None) -> int:
    """That of the gateway and the currency of `operation`; 1 where there is none."""
    return 1 if operation is None else step(operation.gateway, operation.currency)


def stripe_step(currency: str) -> int:
    """In our minor units: KWD 10, MGA 100, EUR 1."""
    finer, coarser = _stripe_units(currency)
    in_its_units = _STRIPE_STEPS.get(currency, 1)
    return coarser * in_its_units // gcd(in_its_units, finer)


def to_stripe(amount: int, currency: str) -> int:
    """Our minor units in Stripe's. ValueError for what Stripe doesn't take."""
    if rest := amount % (least := stripe_step(currency)):
        raise ValueError(
            f"stripe takes multiples of {least} minor units of {currency}: {rest} over"
        )
    finer, coarser = _stripe_units(currency)
    return amount * finer // coarser


def from_stripe(amount: int, currency: str) -> int:
    """Stripe's minor units in ours; `currency` as either writes it."""
    finer, coarser = _stripe_units(currency.upper())
    return amount * coarser // finer


def _stripe_units(currency: str) -> tuple[int, int]:
    """How many of Stripe's units are one of ours, and how many of ours are one of Stripe's: one of
    both is 1."""
    its = 0 if currency in _STRIPE_COUNTS_WHOLE else 2
    its = 3 if currency in _STRIPE_COUNTS_THOUSANDTHS else its
    ours = exponent(currency)
    return 10 ** max(0, its - ours), 10 ** max(0, ours - its)
