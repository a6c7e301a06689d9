"""An upstream system and its policies: which lane and chain, whose prices, which tax, what is held."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Rate = Decimal
PricePolicy = Literal["catalogue", "as_sold"]


class Policy(BaseModel):
    """What an operator sets for a source; stored as JSON, every field with a sensible default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lane: Literal["interactive", "bulk"] = "interactive"
    chain: Literal["capture_first", "reserve_first"] = "capture_first"
    gateway: Literal["sandbox"] = "sandbox"
    price_policy: PricePolicy = Field(
        default="catalogue", description="catalogue: our prices; as_sold: those the order states"
    )
    prices_include_tax: bool = False
    tax_rates: dict[str, Rate] = Field(
        default_factory=dict,
        description='rate by ISO country code, "*" for all others; empty means no tax at all',
    )
    rounding_mode: Literal["half_up", "half_even"] = "half_up"
    rounding_level: Literal["unit", "line", "document"] = "line"
    hold_over: dict[str, int] = Field(
        default_factory=dict,
        description="orders whose total exceeds this many minor units, by currency, wait for a person",
    )
    hold_countries: frozenset[str] = Field(
        default=frozenset(), description="orders to these countries wait for a person"
    )
    email: bool = Field(default=True, description="mail the customer when the order is confirmed")
    webhook_url: str | None = Field(default=None, description="told of every confirmed order")

    def tax_rate(self, country: str) -> Rate | None:
        """The rate for `country` as a fraction (0.19), or None where the policy knows none."""
        if not self.tax_rates:
            return Decimal(0)
        return self.tax_rates.get(country, self.tax_rates.get("*"))


class Source(BaseModel):
    """A source as the engine knows it."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    policy: Policy
