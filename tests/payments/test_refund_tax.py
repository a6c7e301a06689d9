"""What a refund is made of: its net and its tax, as a credit note needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.payments.account import OBSERVED, Operation
from pipeline.payments.refund_tax import Split, splits
from pipeline.payments.refunds import CancelledLine, Part, share
from pipeline.pricing.quote import Quote, QuotedLine, QuotedShipping


def line(quantity: int, net: int, tax: int) -> QuotedLine:
    return QuotedLine("A", quantity, 0, 0, "0.2", net, tax, net + tax)


def quote(*lines: QuotedLine, shipping: tuple[int, int] | None = None) -> Quote:
    sent = shipping and QuotedShipping("post", sum(shipping), 0, *shipping, sum(shipping))
    net = sum(each.net for each in lines) + (shipping[0] if shipping else 0)
    tax = sum(each.tax for each in lines) + (shipping[1] if shipping else 0)
    return Quote(lines, sent or None, net, tax, net + tax, True, "half_up", "line")


def refund(key: str, amount: int, state: Any = "requested", **more: Any) -> Operation:
    return Operation(1, key, "refund", state, amount, "EUR", "sandbox", **more)


def told(of: Quote, *written: Operation, **parts: list[Part]) -> dict[str, tuple[int, int]]:
    return {key: (s.net, s.tax) for key, s in splits(of, (), written, parts).items()}


#: 10 × 23.90 with 20 % included and 25 % off.
GBP = quote(line(10, 14937, 2988))


def test_refunds_by_lines_have_the_tax_of_their_shares_and_come_to_the_line_s() -> None:
    first, second = refund("a", 5377), refund("b", 12548)

    found = told(GBP, first, second, a=[Part(1, 3, 5377)], b=[Part(1, 7, 12548)])

    assert found == {"a": (4481, 896), "b": (10456, 2092)}
    assert [sum(each) for each in zip(*found.values(), strict=True)] == [14937, 2988]


def test_unit_by_unit_they_come_to_net_and_tax_to_the_cent() -> None:
    amounts, before = [], 0
    for n in range(1, 11):
        amounts.append(share(GBP.lines[0], n, before, 1))
        before += amounts[-1]
    written = [refund(str(n), amount) for n, amount in enumerate(amounts)]
    parts = {str(n): [Part(1, 1, amount)] for n, amount in enumerate(amounts)}

    found = told(GBP, *written, **parts)

    assert [sum(each) for each in zip(*found.values(), strict=True)] == [14937, 2988]
    assert {tax for _, tax in found.values()} <= {298, 299}


def test_a_line_has_its_own_rate_and_shipping_its_own() -> None:
    of = quote(line(1, 1000, 190), line(1, 1000, 70), shipping=(500, 95))
    written = [refund("a", 1070), refund("b", 595), refund("c", 1190)]

    found = told(of, *written, a=[Part(2, 1, 1070)], b=[Part(0, 1, 595)], c=[Part(1, 1, 1190)])

    assert found == {"a": (1000, 70), "b": (500, 95), "c": (1000, 190)}


def test_of_an_amount_the_tax_is_the_share_that_the_rest_holds() -> None:
    of = quote(line(1, 1000, 190), line(1, 1000, 70))

    found = told(of, refund("a", 1070), refund("b", 595), refund("c", 595), a=[Part(2, 1, 1070)])

    assert found == {"a": (1000, 70), "b": (500, 95), "c": (500, 95)}


def test_what_was_told_of_a_refund_stays_whatever_becomes_of_others() -> None:
    first, second = refund("a", 33), refund("b", 34)
    before = told(GBP, first, second)

    after = told(GBP, first, second, replace(first, state="failed"), refund("c", 17891))

    assert {key: after[key] for key in ("a", "b")} == before
    assert [b + c for b, c in zip(after["b"], after["c"], strict=True)] == [14937, 2988]


def test_one_that_the_bank_sent_back_is_free_to_be_refunded_again() -> None:
    whole = refund("a", 17925)
    bounced = replace(whole, state="failed", code=OBSERVED)

    found = told(
        GBP, whole, replace(whole, state="succeeded"), bounced, refund("b", 17925, "succeeded")
    )

    assert found == {"a": (14937, 2988), "b": (14937, 2988)}


def test_what_was_cancelled_before_it_was_paid_is_no_part_of_the_rest() -> None:
    of = quote(line(1, 1000, 190), line(1, 1000, 70))
    cancelled = [CancelledLine(2, "A", 1, 1070, 1070)]

    assert splits(of, cancelled, [refund("a", 1190)], {}) == {"a": Split(1000, 190)}


@pytest.mark.parametrize("tax", [0, 2000])
def test_without_tax_or_of_nothing_but_tax_a_refund_is_so_too(tax: int) -> None:
    of = quote(line(2, 2000 - tax, tax))

    assert told(of, refund("a", 700), refund("b", 1300)) == {
        "a": (0, 700) if tax else (700, 0),
        "b": (0, 1300) if tax else (1300, 0),
    }


@st.composite
def stories(draw: st.DrawFn) -> tuple[Quote, list[Operation], dict[str, list[Part]]]:
    """An order, refunded wholly: by lines, by amounts, some of which failed, and then the rest."""
    of = quote(
        *(
            line(draw(st.integers(1, 9)), draw(st.integers(0, 5_000)), draw(st.integers(0, 2_000)))
            for _ in range(draw(st.integers(1, 4)))
        ),
        shipping=draw(st.none() | st.tuples(st.integers(0, 900), st.integers(0, 200))),
    )
    step = draw(st.sampled_from([1, 10]))  # of what gateways take
    left, gone = of.total, dict.fromkeys(range(1, len(of.lines) + 1), (0, 0))
    written: list[Operation] = []
    parts: dict[str, list[Part]] = {}
    for n in range(draw(st.integers(0, 12))):
        key, number = f"r{n}", draw(st.integers(0, len(of.lines)))
        amount = draw(st.integers(1, max(1, left)))
        if number:
            its, (units, before) = of.lines[number - 1], gone[number]
            more = draw(st.integers(0, its.quantity - units))
            amount = share(its, units + more, before, step)
            parts[key] = [Part(number, more, amount)]
        if not 0 < amount <= left:
            continue
        written.append(refund(key, amount))
        if draw(st.booleans()):
            written.append(refund(key, amount, draw(st.sampled_from(["succeeded", "failed"]))))
        if written[-1].state != "failed":
            left -= amount
            if number:
                gone[number] = (units + more, before + amount)
    if left:
        written.append(refund("rest", left))
    return of, written, parts


@given(stories())
def test_refunds_that_come_to_all_of_an_order_have_its_net_and_its_tax(story: Any) -> None:
    of, written, parts = story

    found = splits(of, (), written, parts)

    failed = {op.key for op in written if op.state == "failed"}
    standing = [split for key, split in found.items() if key not in failed]
    amounts = {op.key: op.amount for op in written}
    assert all(s.net >= 0 and s.tax >= 0 and s.net + s.tax == amounts[k] for k, s in found.items())
    assert (sum(s.net for s in standing), sum(s.tax for s in standing)) == (of.net, of.tax)
