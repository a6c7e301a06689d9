"""How a price came about, as rows to print: a quote's steps in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from pipeline.money import to_text
from pipeline.pricing import untaxed
from pipeline.typed import is_digits

Row = dict[str, Any]


def explain(steps: Iterable[Mapping[str, Any]], currency: str) -> list[Row]:
    """A row for each amount that a step says, in the order of calculation."""
    return list(rows(steps, currency))


def rows(steps: Iterable[Mapping[str, Any]], currency: str) -> Iterator[Row]:
    """The same, one after another: a long order by many promotions has millions."""
    return (row for step in steps for row in _KINDS[step["step"]](step, currency))


def named(rules: str | None, version: int | None) -> str:
    """Which rules a price is by, in words."""
    if rules is None:
        return "its source's policy, before there were rules"
    return (
        f"{rules}, {'no version of which was there' if version is None else f'version {version}'}"
    )


def _row(step: str, place: object, what: str, minor: int | None, currency: str) -> Row:
    where = f"line {place}" if is_digits(str(place)) else str(place)
    amount = None if minor is None else to_text(minor, currency)
    return {"step": step, "where": where, "what": what, "amount": amount}


def _price(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    what = (
        f"{step['quantity']} × {step['sku']} at {to_text(step['unit_price'], currency)} "
        f"({step['origin']})"
    )
    yield _row("price", step["line"], what, step["unit_price"] * step["quantity"], currency)


def _promotion(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    coupon = f", coupon {step['coupon']}" if step["coupon"] else ""
    for place, share in step["shares"].items():
        what = f"{step['name']} ({step['id']}{coupon})"
        yield _row("promotion", place, what, -share, currency)


def _shipping(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    yield _row(
        "shipping", "shipping", f"{step['name']} ({step['method']})", step["price"], currency
    )


def _shown(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    shown, total = (to_text(step[name], currency) for name in ("shown", "total"))
    if not step["shares"]:
        yield _row("shown", "", f"{shown} was shown, it costs {total}", None, currency)
    for place, share in step["shares"].items():
        what = f"as shown: {shown}, where it would cost {total}"
        yield _row("shown", place, what, -share, currency)


def _tax(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    rates = " + ".join(f"{rate['name']} {_percent(rate['rate'])}" for rate in step["rates"])
    what = f"{step['class']} in {step['zone']}: {rates} of {to_text(step['base'], currency)}"
    yield _row("tax", step["line"], what, step["tax"], currency)


def _exempt(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    yield _row("exempt", "", f"no tax: {step['why']}", None, currency)
    for place, tax in step["taken_off"].items():
        yield _row("exempt", place, "the tax that the price included", -tax, currency)


def _payable(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    least = to_text(step["multiple_of"], currency)
    yield _row("payable", "", f"multiples of {least}: its gateway takes no finer", None, currency)


def _untaxed(step: Mapping[str, Any], currency: str) -> Iterator[Row]:
    for place in step["places"]:
        yield _row("untaxed", place, untaxed.in_words(step), None, currency)


def _percent(rate: str) -> str:
    return f"{(Decimal(rate) * 100).normalize():f} %"


_KINDS = {
    "payable": _payable,
    "price": _price,
    "promotion": _promotion,
    "shipping": _shipping,
    "tax": _tax,
    "shown": _shown,
    "exempt": _exempt,
    "untaxed": _untaxed,
}
