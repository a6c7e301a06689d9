"""python -m benchmarks.pricing: how many order lines a second one core prices, by promotions.

Three-line carts of a shop with a thousand SKUs in fifty categories; two tax rates, included, and
shipping. The promotions are of all kinds. Rounds go through all cases, one after another, so that
a host that slows down for a while slows all of them down.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.engine import price
from pipeline.pricing.quote import Quote
from pipeline.pricing.rules import Rules
from pipeline.pricing.ruleset import RuleSet

ROUNDS = 5
#: How long a case is measured in a round.
SECONDS = 0.5
CARTS, LINES, SKUS, CATEGORIES = 1_000, 3, 1_000, 50

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`restricted` promotions are for some SKUs or a category; otherwise each could apply to all."""

    name: str
    promotions: int
    restricted: bool


CASES = (
    Case("no promotions", 0, restricted=True),
    Case("20, few could apply", 20, restricted=True),
    Case("200, few could apply", 200, restricted=True),
    Case("200, all could apply", 200, restricted=False),
)


@dataclass(frozen=True)
class Measured:
    """Rates are the median, lowest and highest of all rounds, on one core. `applied` is the mean
    number of promotions that took something off a cart."""

    name: str
    promotions: int
    applied: float
    lines_per_second: float
    slowest: float
    fastest: float


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> Json:
    """The figures of all cases, as JSON."""
    carts = _carts()
    shops = {case.name: RuleSet(Rules.model_validate(_rules(case))) for case in CASES}
    rates: dict[str, list[float]] = {case.name: [] for case in CASES}
    with _garbage_as_in_workers():
        for _ in range(rounds):
            for case in CASES:
                rates[case.name].append(_rate(carts, shops[case.name], seconds))
    measured = [
        _measured(case, _applied(carts, shops[case.name]), rates[case.name]) for case in CASES
    ]
    return {"lines_a_cart": LINES, "rounds": rounds, "cases": [asdict(each) for each in measured]}


def as_table(figures: Json) -> Table:
    title = f"Order lines priced a second on one core, {figures['lines_a_cart']} lines a cart"
    table = Table(title=title, box=SIMPLE, padding=0)
    table.add_column("promotions", no_wrap=True)
    for heading in ("applied a cart", "lines/s", "from", "to"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in figures["cases"]:
        cells = (each["lines_per_second"], each["slowest"], each["fastest"])
        table.add_row(each["name"], f"{each['applied']:.1f}", *(f"{cell:,.0f}" for cell in cells))
    return table


@contextmanager
def _garbage_as_in_workers() -> Iterator[None]:
    """Collected as seldom as in workers/process.py."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def _rate(carts: Sequence[Cart], rules: RuleSet, seconds: float) -> float:
    """Lines a second of the processor's time, which is that of one core: others' load is not ours."""
    priced, started = 0, time.process_time()
    while True:
        for first in range(0, len(carts), 50):
            for cart in carts[first : first + 50]:
                price(cart, rules)
            priced += 50
            taken = time.process_time() - started
            if taken > seconds:
                return LINES * priced / taken


def _applied(carts: Sequence[Cart], rules: RuleSet) -> float:
    sample = carts[:100]
    return sum(_applied_to(price(cart, rules)) for cart in sample) / len(sample)


def _applied_to(quote: object) -> int:
    if not isinstance(quote, Quote):
        raise TypeError(f"a cart of the benchmark was not priced: {quote}")
    return sum(step["step"] == "promotion" for step in quote.steps)


def _measured(case: Case, applied: float, rates: Sequence[float]) -> Measured:
    middle, slowest, fastest = (round(pick(rates)) for pick in (median, min, max))
    return Measured(case.name, case.promotions, applied, middle, slowest, fastest)


# --- The shop -------------------------------------------------------------------------------------


def _carts() -> list[Cart]:
    random = Random(1)
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    return [
        Cart(
            "EUR",
            at,
            "shop",
            tuple(_line(sku, random) for sku in random.sample(range(SKUS), LINES)),
            "DE",
            postal_code="10115",
        )
        for _ in range(CARTS)
    ]


def _line(sku: int, random: Random) -> CartLine:
    return CartLine(
        _sku(sku),
        random.randint(1, 4),
        random.randint(199, 9_999),
        categories=frozenset({_category(sku % CATEGORIES)}),
        tax_class="reduced" if sku % 3 == 0 else "standard",
        weight=random.randint(50, 2_000),
    )


def _sku(number: int) -> str:
    return f"SKU-{number:04}"


def _category(number: int) -> str:
    return f"category-{number}"


def _rules(case: Case) -> Json:
    rates = {
        "standard": [{"name": "VAT", "rate": "0.19"}],
        "reduced": [{"name": "VAT", "rate": "0.07"}],
    }
    return {
        "includes_tax": True,
        "tax": {"zones": [{"name": "Germany", "country": "DE", "rates": rates}]},
        "shipping": {
            "default": "post",
            "methods": {
                "post": {
                    "name": "Post",
                    "rates": [
                        {"countries": ["DE"], "from_value": {"EUR": 100}, "price": {"EUR": 0}},
                        {"countries": ["DE"], "price": {"EUR": "4.90"}},
                    ],
                }
            },
        },
        "promotions": list(_promotions(case)),
    }


def _promotions(case: Case) -> Iterator[Json]:
    random = Random(2)
    for n in range(case.promotions):
        effect, target = _EFFECTS[n % len(_EFFECTS)](n), "lines"
        if n % 10 == 9:
            effect, target = {"type": "percent", "percent": 1}, "order"
        yield {
            "id": f"p{n:03}",
            "name": f"Promotion {n}",
            "target": target,
            "effect": effect,
            "lines": _selector(n, random) if case.restricted else {},
        }


def _selector(n: int, random: Random) -> Json:
    """Some SKUs; every tenth promotion a whole category."""
    if n % 10 == 0:
        return {"categories": [_category(random.randrange(CATEGORIES))]}
    return {"skus": [_sku(sku) for sku in random.sample(range(SKUS), 5)]}


_EFFECTS: Sequence[Callable[[int], Json]] = (
    lambda n: {"type": "percent", "percent": 1 + n % 3},
    lambda n: {"type": "fixed", "amount": {"EUR": "0.05"}},
    lambda n: {"type": "percent", "percent": 2, "cap": {"EUR": "1.50"}},
    lambda n: {"type": "tiered_by_quantity", "tiers": [{"from": 3, "percent": 1}]},
    lambda n: {"type": "buy_get", "buy": 4, "get": 1, "percent": 10},
)


if __name__ == "__main__":
    Console().print(as_table(measure()))
