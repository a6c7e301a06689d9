"""Numbers are written in the digits 0 to 9: those of other scripts look alike to no other program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ordermill
import pipeline
import web
from ordermill.after_sale import _line
from pipeline.errors import InvalidInput
from pipeline.intake.schema import InvalidOrder, read_order
from pipeline.money import to_minor
from pipeline.pricing.rules import Rules
from pipeline.typed import is_digits, seconds
from tests.support import an_order

ONE = ["\u0661", "\u0967", "\uff11", "\u06f1", "\U0001d7cf"]


@pytest.mark.parametrize("one", ONE)
def test_no_other_digits_are_taken(one: str) -> None:
    priced = {"sku": "MUG-01", "quantity": 1, "unit_price": f"{one}.00"}

    assert not is_digits(one)
    with pytest.raises(InvalidInput, match="digits 0 to 9"):
        to_minor(f"{one}.00", "EUR")
    with pytest.raises(InvalidInput):
        seconds("--since", f"{one}d")
    with pytest.raises(InvalidInput):
        _line(f"{one}=1")
    with pytest.raises(InvalidOrder, match="unit_price"):
        read_order(an_order() | {"lines": [priced]})
    with pytest.raises(InvalidOrder, match="total"):
        read_order(an_order(total=f"{one}.00"))
    with pytest.raises(ValueError, match="rate"):
        Rules.model_validate(
            {"tax": {"zones": [{"name": "DE", "country": "DE",
                                "rates": {"standard": [{"name": "VAT", "rate": f"0.{one}"}]}}]}}
        )  # fmt: skip


def test_digits_are_not_grouped_by_underscores() -> None:
    with pytest.raises(InvalidInput):
        to_minor("1_000", "EUR")


#: Here digits of other scripts are meant: card numbers are found however they are written.
KNOW_BETTER = {"cards.py", "postal.py", "typed.py"}


def test_no_pattern_and_no_test_takes_other_digits_unawares() -> None:
    homes = [Path(str(package.__file__)).parent for package in (pipeline, ordermill, web)]
    files = [f for home in homes for f in home.rglob("*.py") if f.name not in KNOW_BETTER]
    unaware = re.compile(r"\.is(digit|decimal|numeric)\(\)|\\d")

    found = [
        f"{file.name}:{number}: {line.strip()}"
        for file in files
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if unaware.search(line) and "ASCII" not in line and "isascii" not in line
    ]

    assert found == []
