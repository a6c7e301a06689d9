"""Times in rules: what can be meant by them, and what can't."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.engine import price
from pipeline.pricing.quote import Quote
from pipeline.pricing.rules import Conditions, Rules
from pipeline.pricing.ruleset import RuleSet


@pytest.mark.parametrize("field", ["valid_from", "valid_until"])
@pytest.mark.parametrize("number", [20261123, 2026, "20261123", 1764201600, 1.5, True])
def test_a_bare_number_is_no_time(field: str, number: Any) -> None:
    """It would be taken for seconds since 1970, and the promotion for one of that year."""
    with pytest.raises(ValidationError, match=rf"{field}\n.*such as 2026-11-23T08:00"):
        Conditions.model_validate({field: number})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-23", datetime(2026, 11, 23)),
        (date(2026, 11, 23), datetime(2026, 11, 23)),
        (datetime(2026, 11, 23, 8), datetime(2026, 11, 23, 8)),
        ("2026-11-23T08:00Z", datetime(2026, 11, 23, 8, tzinfo=UTC)),
    ],
)
def test_a_date_is_its_first_moment(written: Any, meant: datetime) -> None:
    assert Conditions.model_validate({"valid_from": written}).valid_from == meant


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize(
    ("when", "total"),
    [
        ({"valid_from": "0001-01-01"}, 0),
        ({"valid_from": "9999-12-31T23:59:59"}, 100),
        ({"valid_until": "0001-01-01"}, 100),
        ({"valid_until": "9999-12-31T23:59:59"}, 0),
    ],
)
def test_the_ends_of_the_calendar_are_times_in_every_zone(
    timezone: str, when: dict[str, str], total: int
) -> None:
    free = {"id": "f", "name": "F", "effect": {"type": "percent", "percent": 100}, "when": when}
    now = datetime(2026, 11, 23, tzinfo=UTC)

    rules = RuleSet(Rules.model_validate({"timezone": timezone, "promotions": [free]}))
    found = price(Cart("EUR", now, "web", (CartLine("A", 1, 100),), "DE"), rules)

    assert isinstance(found, Quote)
    assert found.total == total
