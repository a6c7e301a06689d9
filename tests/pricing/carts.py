"""Carts, rules and quotes in few words. Amounts are minor units."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.engine import price
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.rules import Rules
from pipeline.pricing.ruleset import RuleSet

MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def line(sku: str, unit_price: int, quantity: int = 1, **facts: Any) -> CartLine:
    """Units of a SKU; `categories` may be any collection."""
    facts["categories"] = frozenset(facts.get("categories", ()))
    return CartLine(sku, quantity, unit_price, **facts)


def cart(*lines: CartLine, **facts: Any) -> Cart:
    """A cart of someone in Berlin who buys on Monday at noon, in euros."""
    usual = {"currency": "EUR", "at": MONDAY_NOON, "source": "shop", "country": "DE"}
    return Cart(lines=lines, **{**usual, **facts})


def ruled(**given: Any) -> RuleSet:
    """The rules as they would be read from YAML."""
    return RuleSet(Rules.model_validate(given))


def quoted(bought: Cart, **rules: Any) -> Quote:
    found = price(bought, ruled(**rules))
    assert isinstance(found, Quote), found
    return found


def refused(bought: Cart, **rules: Any) -> NotPriced:
    found = price(bought, ruled(**rules))
    assert isinstance(found, NotPriced), found
    return found


def promotion(effect: str, id: str = "p", **given: Any) -> dict[str, Any]:
    """A promotion; what is none of its own fields is the effect's."""
    own = {"target", "lines", "when", "priority", "group", "last"}
    return {
        "id": id,
        "name": id.title(),
        "effect": {"type": effect, **{k: v for k, v in given.items() if k not in own}},
        **{k: v for k, v in given.items() if k in own},
    }


def discounts(quote: Quote) -> list[int]:
    """What was taken off each line, in the cart's order."""
    return [line.discount for line in quote.lines]


def taxes(quote: Quote) -> list[int]:
    """The tax of each line in the cart's order, then that of shipping, if there is any."""
    return [part.tax for part in (*quote.lines, quote.shipping) if part is not None]


def taxed(rate: str | float, country: str = "*", **other: str | float) -> dict[str, Any]:
    """Tax rules: one zone, the standard rate, and those of other classes."""
    classes = {"standard": rate, **other}
    rates = {name: [{"name": "VAT", "rate": each}] for name, each in classes.items()}
    return {"zones": [{"name": "all", "country": country, "rates": rates}]}


def shipped(price: Any, **rate: Any) -> dict[str, Any]:
    """Shipping rules: one method, the default, with one rate."""
    tax = rate.pop("tax", "standard")
    price = price if isinstance(price, dict) else {"EUR": price}
    return {
        "default": "post",
        "methods": {"post": {"name": "Post", "tax": tax, "rates": [{**rate, "price": price}]}},
    }


def explained(quote: Quote, step: str) -> list[dict[str, Any]]:
    """The steps of one kind, without their `step`."""
    return [
        {name: value for name, value in each.items() if name != "step"}
        for each in quote.steps
        if each["step"] == step
    ]


def applied(quote: Quote) -> list[str]:
    """The ids of the promotions that were applied, in order."""
    return [each["id"] for each in explained(quote, "promotion")]
