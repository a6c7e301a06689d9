"""Coupons: which codes an order may give, and whether they were of use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from pipeline.pricing.basket import Basket
from pipeline.pricing.codes import meant
from pipeline.pricing.period import Period
from pipeline.pricing.quote import NotPriced
from pipeline.pricing.rules import Coupon


class Coupons:
    """The coupons of a rule set, by code; codes are compared as those mean them who give them."""

    def __init__(self, coupons: Iterable[Coupon], zone: ZoneInfo) -> None:
        self._by_code = {
            coupon.code: (coupon, Period.of(coupon.valid_from, coupon.valid_until, zone))
            for coupon in coupons
        }
        # Where two codes mean the same, the first is meant by what is neither of them to the letter.
        self._by_meaning = {meant(c): found for c, found in reversed(self._by_code.items())}

    def find(self, code: str) -> Coupon | None:
        """The coupon that `code` means, however it was typed."""
        found = self._found(code)
        return None if found is None else found[0]

    def _found(self, code: str) -> tuple[Coupon, Period] | None:
        return self._by_code.get(code.upper()) or self._by_meaning.get(meant(code))

    def admit(self, given: Sequence[str], at: datetime) -> list[Coupon] | NotPriced:
        """The coupons of the codes given, each once, if all exist and are valid at `at` (UTC)."""
        admitted = {}
        for code in given:
            if not meant(code):
                continue
            found = self._found(code)
            if found is None:
                return NotPriced("coupon_unknown", {"coupon": code})
            coupon, period = found
            if at not in period:
                return NotPriced("coupon_expired", {"coupon": code})
            admitted[coupon.code] = coupon
        return list(admitted.values())


def used_codes(coupons: Sequence[Coupon], basket: Basket) -> tuple[str, ...] | NotPriced:
    """The codes of which a promotion was applied. All must have been of use: that a better one of
    its group was applied instead is use enough, though it isn't used."""
    for coupon in coupons:
        if basket.content.isdisjoint(coupon.promotions):
            return NotPriced("coupon_not_applicable", {"coupon": coupon.code})
    return tuple(c.code for c in coupons if not basket.applied.isdisjoint(c.promotions))
