"""Whole minor units from an exact ratio: the one place where pricing rounds.

A share of an amount is a numerator and a denominator until here, so a half is a half, though a
sixth has no end in decimals.
"""

from __future__ import annotations

from collections.abc import Callable

#: (numerator ≥ 0, denominator > 0) → the quotient in whole units.
Divide = Callable[[int, int], int]


def half_up(numerator: int, denominator: int) -> int:
    """5 ÷ 2 → 3."""
    return (2 * numerator + denominator) // (2 * denominator)


def half_down(numerator: int, denominator: int) -> int:
    """5 ÷ 2 → 2, 7 ÷ 2 → 3: a half is left out, more than half is not."""
    return (2 * numerator + denominator - 1) // (2 * denominator)


def half_even(numerator: int, denominator: int) -> int:
    """5 ÷ 2 → 2, 7 ÷ 2 → 4."""
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


#: By the rounding mode of the rules.
DIVIDE: dict[str, Divide] = {"half_up": half_up, "half_down": half_down, "half_even": half_even}
