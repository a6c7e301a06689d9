"""What holds for every order under every rules, and that two implementations agree on all of it.

`ORDERMILL_PRICING_ROUNDS=50 python -m pytest tests/pricing/test_properties.py -k agree` looks at
50 times as many orders.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import datetime
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.money import to_minor
from pipeline.pricing.cart import Cart
from pipeline.pricing.engine import price
from pipeline.pricing.prices import ListPrice, choose
from pipeline.pricing.quote import NotPriced, Quote, QuotedLine, QuotedShipping
from pipeline.pricing.rules import FixedOff, PercentOff, Promotion, Rules
from pipeline.pricing.ruleset import RuleSet
from tests.pricing import reference
from tests.pricing.strategies import MOMENTS, Scenario, idle_promotions, list_prices, scenarios

#: Rounds and not more examples in one: Hypothesis remembers all it has drawn in a round.
ROUNDS = int(os.environ.get("ORDERMILL_PRICING_ROUNDS", "1"))

a_few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(a_few, max_examples=400)


def answer(cart: Cart, rules: Rules) -> Quote | NotPriced:
    return price(cart, RuleSet(rules))


def quoted(cart: Cart, rules: Rules) -> Quote:
    """The quote; what is not priced is no example."""
    found = answer(cart, rules)
    assume(isinstance(found, Quote))
    assert isinstance(found, Quote)
    return found


def parts(quote: Quote) -> list[QuotedLine | QuotedShipping]:
    return [*quote.lines, *([quote.shipping] if quote.shipping else [])]


def outcome(found: Quote | NotPriced) -> tuple[object, ...]:
    """All of an answer but how it is explained."""
    if isinstance(found, NotPriced):
        return (found.reason, found.final)
    return (replace(found, steps=()),)


@pytest.mark.parametrize("nth", range(ROUNDS))
@many
@given(scenario=scenarios)
def test_engine_and_reference_agree(scenario: Scenario, nth: int) -> None:
    """Two implementations, one page: each amount, used coupon and reason is the same."""
    assert outcome(answer(*scenario)) == outcome(reference.price(*scenario))


@pytest.mark.parametrize("nth", range(ROUNDS))
@many
@given(scenario=scenarios, step=st.sampled_from([10, 100]))
def test_engine_and_reference_agree_where_a_gateway_takes_no_single_units(
    scenario: Scenario, step: int, nth: int
) -> None:
    cart = replace(scenario.cart, step=step)

    found = answer(cart, scenario.rules)

    assert outcome(found) == outcome(reference.price(cart, scenario.rules))
    if isinstance(found, Quote):
        parts = [*found.lines, *([found.shipping] if found.shipping else [])]
        amounts = [n for x in (*parts, found) for n in (x.net, x.tax)] + [p.gross for p in parts]
        assert all(amount % step == 0 for amount in [*amounts, found.total])
        assert found.net + found.tax == found.total == sum(p.gross for p in parts)


@a_few
@given(
    list_prices,
    st.integers(1, 4),
    st.sampled_from([None, "trade", "vip"]),
    st.sampled_from(MOMENTS),
)
def test_engine_and_reference_choose_the_same_price(
    prices: list[ListPrice], quantity: int, group: str | None, at: datetime
) -> None:
    """Of a catalogue's prices the same one counts, whatever the order in which they are read."""
    expected = reference.unit_price(prices, quantity, group, at)

    assert choose(prices, quantity, group, at) == expected
    assert choose(prices[::-1], quantity, group, at) == expected


@a_few
@given(scenarios)
def test_lines_and_shipping_sum_to_the_totals(scenario: Scenario) -> None:
    """Net, tax and total of the order are those of its lines and shipping, to the minor unit."""
    found = quoted(*scenario)

    assert found.net == sum(part.net for part in parts(found))
    assert found.tax == sum(part.tax for part in parts(found))
    assert found.total == sum(part.gross for part in parts(found))


@a_few
@given(scenarios)
def test_net_and_tax_are_the_gross(scenario: Scenario) -> None:
    """Net + tax = gross, on each line, on shipping and on the order."""
    found = quoted(*scenario)

    assert all(part.net + part.tax == part.gross for part in parts(found))
    assert found.net + found.tax == found.total


@a_few
@given(scenarios)
def test_what_is_paid_for_a_line_is_its_price_less_its_discount(scenario: Scenario) -> None:
    """Unit price × quantity − discount is the gross if prices include tax, else the net; only who
    is exempt from a tax that prices include pays less, and no tax."""
    found = quoted(*scenario)

    for part, whole in zip(parts(found), wholes(found), strict=True):
        amount = whole - part.discount
        if not found.includes_tax:
            assert part.net == amount
        elif part.gross != amount:
            assert part.gross < amount
            assert found.tax == 0


def wholes(quote: Quote) -> list[int]:
    """Lines and shipping before discounts."""
    lines = [line.unit_price * line.quantity for line in quote.lines]
    return lines + ([quote.shipping.price] if quote.shipping else [])


@a_few
@given(scenarios)
def test_nothing_is_negative(scenario: Scenario) -> None:
    """No line, shipping or total has an amount below zero."""
    found = quoted(*scenario)

    assert min(found.net, found.tax, found.total) >= 0
    assert all(min(p.net, p.tax, p.gross, p.discount) >= 0 for p in parts(found))


@a_few
@given(scenarios)
def test_no_discount_exceeds_what_it_is_taken_from(scenario: Scenario) -> None:
    """A line is discounted by its price at most, and so is shipping."""
    found = quoted(*scenario)

    assert all(p.discount <= whole for p, whole in zip(parts(found), wholes(found), strict=True))


@a_few
@given(scenarios)
def test_no_promotion_takes_off_more_than_it_may(scenario: Scenario) -> None:
    """A percentage is within its cap, a fixed amount off the order or shipping within that amount."""
    found = quoted(*scenario)

    for step in found.steps:
        if step["step"] == "promotion":
            promotion = next(p for p in scenario.rules.promotions if p.id == step["id"])
            most = limit(promotion, scenario.cart.currency)
            assert most is None or sum(step["shares"].values()) <= most


def limit(promotion: Promotion, currency: str) -> int | None:
    """The most that it may take off, if it says."""
    match promotion.effect:
        case PercentOff(cap=cap) if cap is not None:
            return to_minor(cap[currency], currency)
        case FixedOff(amount=amount) if promotion.target != "lines":
            return to_minor(amount[currency], currency)
    return None


@a_few
@given(scenarios)
def test_the_shares_of_the_steps_are_the_discounts(scenario: Scenario) -> None:
    """What the explanation says was taken off is what was taken off each line and shipping."""
    found = quoted(*scenario)

    explained: Counter[str] = Counter()
    for step in found.steps:
        if step["step"] in ("promotion", "shown"):
            explained.update(step["shares"])
    names = [str(n) for n in range(1, len(found.lines) + 1)] + ["shipping"]
    taken_off = dict(zip(names, [part.discount for part in parts(found)], strict=False))
    assert explained == Counter(taken_off) + Counter()  # without those of zero


@a_few
@given(scenarios, st.integers(0, 110))
def test_what_is_charged_as_shown_is_what_was_shown_and_never_more_than_it_costs(
    scenario: Scenario, percent: int
) -> None:
    whole = quoted(replace(scenario.cart, shown=None), scenario.rules)
    shown = whole.total * percent // 100

    found = quoted(replace(scenario.cart, shown=shown, as_shown=True), scenario.rules)

    assert found.total == min(whole.total, shown)
    assert all(0 <= now.net <= was.net for now, was in zip(parts(found), parts(whole), strict=True))


@a_few
@given(scenarios)
def test_a_total_that_nobody_decided_to_charge_changes_no_amount(scenario: Scenario) -> None:
    cart = replace(scenario.cart, as_shown=False)

    untold = answer(replace(cart, shown=None), scenario.rules)

    assert outcome(answer(cart, scenario.rules)) == outcome(untold)


@a_few
@given(scenarios)
def test_the_taxes_of_the_steps_are_the_taxes(scenario: Scenario) -> None:
    """What the explanation says is owed on each line and on shipping is what it is taxed."""
    found = quoted(*scenario)

    explained: Counter[str] = Counter()
    for step in found.steps:
        if step["step"] == "tax":
            explained[str(step["line"])] += step["tax"]
    names = [str(n) for n in range(1, len(found.lines) + 1)] + ["shipping"]
    taxes = dict(zip(names, [part.tax for part in parts(found)], strict=False))
    assert explained + Counter() == Counter(taxes) + Counter()


@a_few
@given(scenarios, st.randoms())
def test_the_order_of_lines_never_matters(scenario: Scenario, chance: Random) -> None:
    """The same goods in another order cost the same, on each line."""
    cart, rules = scenario
    shuffled = list(cart.lines)
    chance.shuffle(shuffled)

    found = answer(cart, rules)
    again = answer(replace(cart, lines=tuple(shuffled)), rules)

    assert outcome(regardless_of_order(found)) == outcome(regardless_of_order(again))


def regardless_of_order(found: Quote | NotPriced) -> Quote | NotPriced:
    if isinstance(found, NotPriced):
        return found
    return replace(found, lines=tuple(sorted(found.lines, key=repr)))


@a_few
@given(scenarios, st.randoms())
def test_the_order_in_which_rules_are_written_never_matters(
    scenario: Scenario, chance: Random
) -> None:
    """Promotions, coupons and tax zones have their order from what they say."""
    cart, rules = scenario
    shuffled = rules.model_copy(
        update={
            "promotions": in_any_order(rules.promotions, chance),
            "coupons": in_any_order(rules.coupons, chance),
            "tax": rules.tax.model_copy(update={"zones": in_any_order(rules.tax.zones, chance)}),
        }
    )

    assert answer(cart, shuffled) == answer(cart, rules)


def in_any_order(items: tuple[object, ...], chance: Random) -> tuple[object, ...]:
    shuffled = list(items)
    chance.shuffle(shuffled)
    return tuple(shuffled)


@a_few
@given(scenarios)
def test_pricing_twice_gives_the_same(scenario: Scenario) -> None:
    """A rule set keeps nothing of the orders it priced: quote and explanation are the same again."""
    rules = RuleSet(scenario.rules)
    first = price(scenario.cart, rules)
    price(replace(scenario.cart, currency="USD", as_sold=True, coupons=()), rules)

    assert price(scenario.cart, rules) == first == answer(*scenario)


@a_few
@given(scenarios, idle_promotions, st.integers(0, 6))
def test_a_promotion_that_does_not_apply_changes_nothing(
    scenario: Scenario, idle: Promotion, position: int
) -> None:
    """Neither amounts nor explanation tell that there was one more."""
    cart, rules = scenario
    with_idle = [*rules.promotions[:position], idle, *rules.promotions[position:]]

    more = rules.model_copy(update={"promotions": tuple(with_idle)})

    assert answer(cart, more) == answer(cart, rules)
