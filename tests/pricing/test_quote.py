"""What an order costs: prices others agree on, and sums that hold whatever the policy."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pricing.quote import PricedLine, Quote, largest_remainder, quote

MODES = ["half_up", "half_even"]
LEVELS = ["unit", "line", "document"]


def quoted(
    *lines: tuple[int, int],
    rate: str,
    includes_tax: bool = False,
    mode: str = "half_up",
    level: str = "line",
) -> Quote:
    """The quote for (quantity, unit price) lines."""
    return quote(
        [PricedLine(f"SKU-{n}", *line) for n, line in enumerate(lines)],
        Decimal(rate),
        includes_tax=includes_tax,
        rounding_mode=mode,
        rounding_level=level,
    )


# --- Prices others agree on -----------------------------------------------------------------------


@pytest.mark.parametrize(("level", "total"), [("unit", 387), ("line", 386), ("document", 386)])
def test_three_times_1_08_at_19_percent(level: str, total: int) -> None:
    assert quoted((3, 108), rate="0.19", level=level).total == total


@pytest.mark.parametrize(("gross", "rate", "tax"), [(3000, "0.19", 479), (2000, "0.07", 131)])
def test_a_german_price_holds_its_tax(gross: int, rate: str, tax: int) -> None:
    found = quoted((1, gross), rate=rate, includes_tax=True)

    assert (found.net, found.tax, found.total) == (gross - tax, tax, gross)


def test_rates_that_add_up_to_15_percent_make_20_00_cost_23_00() -> None:
    assert quoted((1, 2000), rate="0.15").total == 2300


def test_an_item_of_140292_net_costs_168350_at_20_percent() -> None:
    assert quoted((1, 140292), rate="0.20").total == 168350


@pytest.mark.parametrize(("mode", "tax"), [("half_up", 3), ("half_even", 2)])
def test_a_half_is_rounded_as_the_source_wants(mode: str, tax: int) -> None:
    assert quoted((1, 25), rate="0.1", mode=mode).tax == tax


@pytest.mark.parametrize(
    ("gross", "rate", "mode", "tax"),
    [(3, "0.2", "half_up", 1), (3, "0.2", "half_even", 0), (14, "0.12", "half_up", 2)],
)
def test_a_half_inside_a_price_is_a_half(gross: int, rate: str, mode: str, tax: int) -> None:
    """3 at 20 % holds 0.5, though a sixth has no end in decimals."""
    assert quoted((1, gross), rate=rate, mode=mode, includes_tax=True).tax == tax


@pytest.mark.parametrize(
    ("level", "taxes"), [("unit", [20, 10]), ("line", [20, 10]), ("document", [20, 9])]
)
def test_the_document_is_rounded_once_where_lines_are_rounded_each(
    level: str, taxes: list[int]
) -> None:
    found = quoted((1, 195), (1, 95), rate="0.1", level=level)

    assert [line.tax for line in found.lines] == taxes


def test_no_rate_is_no_tax() -> None:
    found = quoted((2, 1000), rate="0")

    assert (found.net, found.tax, found.total, found.lines[0].tax_rate) == (2000, 0, 2000, "0")


def test_a_gift_costs_nothing() -> None:
    assert quoted((1, 0), rate="0.19", level="document").total == 0


def test_a_rate_is_kept_as_it_is_written() -> None:
    assert quoted((1, 100), rate="0.190").lines[0].tax_rate == "0.19"


# --- Splitting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (299, [4300, 1400, 2300], [161, 52, 86]),
        (299, [1, 1, 1], [100, 100, 99]),
        (10, [0, 0], [5, 5]),
        (1, [1, 1], [1, 0]),
        (5, [1, 0], [5, 0]),
        (0, [3, 4], [0, 0]),
        (7, [1], [7]),
    ],
)
def test_a_total_is_split_by_largest_remainder_ties_to_the_first(
    total: int, weights: list[int], shares: list[int]
) -> None:
    assert largest_remainder(total, [Decimal(w) for w in weights]) == shares


weights = st.lists(st.decimals(0, 10**9, places=4), min_size=1, max_size=30)


@given(total=st.integers(0, 10**12), weights=weights)
def test_shares_sum_to_the_total_and_miss_the_exact_share_by_less_than_one(
    total: int, weights: list[Decimal]
) -> None:
    shares = largest_remainder(total, weights)

    whole = sum(weights)
    exact = [total * w / whole if whole else Decimal(total) / len(weights) for w in weights]
    assert sum(shares) == total
    assert all(abs(s - e) < 1 for s, e in zip(shares, exact, strict=True))


# --- Whatever the policy --------------------------------------------------------------------------

amounts = st.tuples(st.integers(1, 10_000), st.integers(0, 10**9))
rates = st.sampled_from(["0", "0.07", "0.19", "0.2", "0.12", "0.0825", "0.15", "0.055", "1"])
policies = st.fixed_dictionaries(
    {
        "rate": rates,
        "includes_tax": st.booleans(),
        "mode": st.sampled_from(MODES),
        "level": st.sampled_from(LEVELS),
    }
)


@given(lines=st.lists(amounts, min_size=1, max_size=20), policy=policies)
def test_lines_sum_to_the_order(lines: list[tuple[int, int]], policy: dict[str, str]) -> None:
    found = quoted(*lines, **policy)

    assert found.net == sum(line.net for line in found.lines)
    assert found.tax == sum(line.tax for line in found.lines)
    assert found.total == sum(line.gross for line in found.lines) == found.net + found.tax
    assert all(line.net + line.tax == line.gross for line in found.lines)


@given(lines=st.lists(amounts, min_size=1, max_size=20), policy=policies)
def test_the_price_stated_is_the_price_of_the_line(
    lines: list[tuple[int, int]], policy: dict[str, str]
) -> None:
    found = quoted(*lines, **policy)

    stated = [line.gross if policy["includes_tax"] else line.net for line in found.lines]
    assert stated == [quantity * price for quantity, price in lines]


@given(lines=st.lists(amounts, min_size=1, max_size=20), policy=policies)
def test_no_amount_of_any_line_is_negative(
    lines: list[tuple[int, int]], policy: dict[str, str]
) -> None:
    found = quoted(*lines, **policy)

    assert min(min(line.net, line.tax, line.gross) for line in found.lines) >= 0


@given(lines=st.lists(amounts, min_size=1, max_size=20), policy=policies)
def test_the_same_order_always_costs_the_same(
    lines: list[tuple[int, int]], policy: dict[str, str]
) -> None:
    assert quoted(*lines, **policy) == quoted(*lines, **policy)


def rounded(exact: Fraction, mode: str) -> int:
    """To whole minor units, by the definition of the mode."""
    if mode == "half_even":
        return round(exact)
    return floor(exact + Fraction(1, 2))


@given(lines=st.lists(amounts, min_size=1, max_size=20), policy=policies)
def test_the_tax_is_that_of_exact_fractions_rounded_where_and_as_the_policy_says(
    lines: list[tuple[int, int]], policy: dict[str, str]
) -> None:
    found = quoted(*lines, **policy)

    rate, mode = Fraction(policy["rate"]), policy["mode"]
    share = rate / (1 + rate) if policy["includes_tax"] else rate
    by_level = {
        "unit": sum(n * rounded(price * share, mode) for n, price in lines),
        "line": sum(rounded(n * price * share, mode) for n, price in lines),
        "document": rounded(sum(n * price for n, price in lines) * share, mode),
    }
    assert found.tax == by_level[policy["level"]]
