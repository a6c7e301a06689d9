"""A rule set made ready to price by: amounts in minor units, rates as exact ratios, times in UTC."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.pricing import shipping, zones
from pipeline.pricing.candidates import Promotions
from pipeline.pricing.coupons import Coupons
from pipeline.pricing.minor import Minor
from pipeline.pricing.rounding import DIVIDE
from pipeline.pricing.rules import Rules
from pipeline.pricing.tax import Taxes


@dataclass(frozen=True, slots=True)
class Offers:
    """What names amounts, in one currency."""

    promotions: Promotions
    methods: shipping.Methods


class RuleSet:
    """`rules` compiled; make one for each version and keep it. Safe to share between threads. `zone`
    is what was kept of their time zone (`zones.kept`)."""

    def __init__(self, rules: Rules, zone: str | None = None) -> None:
        self.rules = rules
        self.zone = zones.named(rules.timezone, zone)
        self.divide = DIVIDE[rules.rounding.mode]
        self.coupons = Coupons(rules.coupons, self.zone)
        self.taxes = Taxes(rules, self.divide)
        self.default_shipping = rules.shipping.default
        self.includes_tax = rules.includes_tax
        self.rounding_mode = rules.rounding.mode
        self.rounding_level = rules.rounding.level
        #: Whether a promotion asks if this is the customer's first order.
        self.asks_first_order = any(p.when.first_order for p in rules.promotions)
        self._offers: dict[tuple[str, int], Offers] = {}

    def offers(self, currency: str, step: int = 1) -> Offers:
        """Promotions and shipping in steps of so many minor units of `currency`, compiled when they
        are first asked for."""
        found = self._offers.get((currency, step))
        if found is None:
            minor = Minor(currency, step, self.divide)
            found = self._offers[currency, step] = Offers(
                Promotions(self.rules, minor, self.zone, self.divide),
                shipping.methods(self.rules.shipping, minor),
            )
        return found
