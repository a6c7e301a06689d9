"""What is no order is refused, and every bad field is named: what was sent, what was expected."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import redaction
from pipeline.intake.schema import Document, InvalidOrder, read_order
from pipeline.problems import Problem

ORDER: dict[str, Any] = {
    "external_id": "web-1001",
    "currency": "EUR",
    "customer": {"email": "ada@example.com", "name": "Ada"},
    "ship_to": {"country": "DE", "postal_code": "10115"},
    "lines": [{"sku": "MUG-01", "quantity": 2}],
    "payment": {"method": "pm_card_visa"},
}
CARD = "4111111111111111"
GOOD = {"sku": "MUG-01", "quantity": 1}


def order(**changes: Any) -> dict[str, Any]:
    """The order above with `changes`; `a__b` is field b of a, `lines__0__sku` of the first line."""
    changed = copy.deepcopy(ORDER)
    for path, value in changes.items():
        *parents, last = path.split("__")
        found: Any = changed
        for parent in parents:
            found = found[int(parent)] if parent.isdigit() else found.setdefault(parent, {})
        found[int(last) if last.isdigit() else last] = value
    return changed


def problems(data: Any) -> list[Problem]:
    with pytest.raises(InvalidOrder) as refused:
        read_order(data)
    return refused.value.problems


def fields(data: Any) -> list[str]:
    return sorted(problem.field for problem in problems(data))


# --- Good orders ----------------------------------------------------------------------------------


def test_the_smallest_order_is_read() -> None:
    document = read_order(ORDER)

    assert (document.external_id, document.currency) == ("web-1001", "EUR")
    assert json.loads(document.body) == ORDER


def test_the_same_content_has_the_same_digest_however_it_is_written() -> None:
    backwards = dict(reversed(ORDER.items()))
    spelt_out = order(bill_to=None, metadata={}, customer__id=None)

    assert {read_order(o).digest for o in (ORDER, backwards, spelt_out)} == {
        read_order(ORDER).digest
    }


@pytest.mark.parametrize(
    "changes",
    [{"lines__0__quantity": 3}, {"ship_to__city": "Berlin"}, {"metadata": {"campaign": "may"}}],
)
def test_another_content_has_another_digest(changes: dict[str, Any]) -> None:
    assert read_order(order(**changes)).digest != read_order(ORDER).digest


@pytest.mark.parametrize(
    ("currency", "price", "minor"),
    [("EUR", "2.55", 255), ("EUR", "2.5", 250), ("JPY", "255", 255), ("KWD", "2.555", 2555)],
)
def test_a_price_as_sold_is_kept_in_minor_units(currency: str, price: str, minor: int) -> None:
    document = read_order(order(currency=currency, lines__0__unit_price=price))

    assert json.loads(document.body)["lines"][0]["unit_price"] == minor


def test_coupons_a_shipping_method_a_group_and_a_vat_id_may_be_told() -> None:
    told = order(
        coupons=["ten", "FIVE"], shipping_method="post", customer__group="trade",
        customer__vat_id="DE136695976",
    )  # fmt: skip

    assert json.loads(read_order(told).body) == told


@pytest.mark.parametrize(
    "written",
    [
        "DE136695976",
        "de 136 695 976",
        "DE-136.695.976",
        "ＤＥ１３６６９５９７６",
        "DE136695976\u200b\n",
    ],
)
def test_a_vat_id_has_one_form_however_it_is_written(written: str) -> None:
    document = read_order(order(customer__vat_id=written))

    assert json.loads(document.body)["customer"]["vat_id"] == "DE136695976"


def test_a_vat_id_whose_check_digit_is_wrong_is_refused_with_what_was_expected() -> None:
    [problem] = problems(order(customer__vat_id="DE136695977"))

    assert problem == Problem(
        "customer.vat_id", '"DE136695977"', "a VAT id of an EU country, such as DE136695976"
    )


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-09T09:30:00Z", "2026-11-09T10:30:00+01:00", "2026-11-09 10:30+0100",
        "2026-11-09T09:30:00.0000000+00:00", "2026-11-09T23:30:00.000+14:00",
    ],
)  # fmt: skip
def test_a_moment_has_one_form_however_it_is_written(written: str) -> None:
    document = read_order(order(placed_at=written))

    assert json.loads(document.body)["placed_at"] == "2026-11-09T09:30:00+00:00"
    assert document.placed_at == datetime(2026, 11, 9, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(("currency", "minor"), [("EUR", 1250), ("KWD", 12500)])
def test_the_total_is_kept_in_minor_units(currency: str, minor: int) -> None:
    document = read_order(order(currency=currency, total="12.5"))

    assert (json.loads(document.body)["total"], document.total) == (minor, minor)


def test_a_total_finer_than_the_currency_is_refused() -> None:
    assert problems(order(currency="JPY", total="12.5")) == [
        Problem("total", '"12.5"', "'12.5' has more decimal places than JPY (0)")
    ]


def test_a_bad_coupon_is_named_by_its_place() -> None:
    assert fields(order(coupons=["TEN", "", "x" * 129])) == ["coupons.1", "coupons.2"]


@pytest.mark.parametrize(
    "pasted", ["SAVE20\n", "\tSAVE20", "SAVE20\r\n", "SAVE20\u2028", "\vSAVE20"]
)
def test_a_line_break_that_is_pasted_along_with_a_coupon_is_no_part_of_it(pasted: str) -> None:
    found = read_order(order(coupons=[pasted]))

    assert json.loads(found.body)["coupons"] == ["SAVE20"]


@pytest.mark.parametrize("harmful", ["SAVE\n20", "SAVE20\x00", "\x1bSAVE20", "\n"])
def test_other_controls_in_a_coupon_are_refused(harmful: str) -> None:
    assert fields(order(coupons=[harmful])) == ["coupons.0"]


# --- Bad fields -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["voucher", "customer__age", "ship_to__planet", "lines__0__colour", "payment__cvc"]
)
def test_an_unknown_field_is_refused_by_name(field: str) -> None:
    assert problems(order(**{field: "x"})) == [
        Problem(field.replace("__", "."), '"x"', "no such field")
    ]


@pytest.mark.parametrize("field", ["external_id", "currency", "customer", "ship_to", "lines"])
def test_a_missing_field_is_named(field: str) -> None:
    lacking = {name: value for name, value in ORDER.items() if name != field}

    assert problems(lacking) == [Problem(field, "nothing", "a value")]


BAD = {
    "external_id": ["", "x" * 129, 1001, "web\n1001", "web\x001001", "\ud800"],
    "currency": ["EURO", "eur", "ZZZ", 978],
    "customer__email": ["ada", "ada@", "ada@example", "@example.com", "a b@example.com"],
    "ship_to__country": ["D", "XX", "Atlantis", "", 49],
    "lines": [[], "MUG-01", {}],
    "lines__0__sku": ["", "x" * 65, "MUG\t01", None],
    "lines__0__quantity": [0, -1, 1_000_001, "2", 2.0, 1.5, True, None],
    "lines__0__unit_price": ["", "1,50", "-1.00", "1e3", "1.00000", "1" * 13, " 1", 1.5, 100],
    "total": ["12,50", "-1.00", "1e3", "12.50000", 12.5, 1250],
    "placed_at": [
        "2026-11-09",
        "2026-11-09T10:30:00",
        "20261109T103000Z",
        "2026-11-31T10:30:00Z",
        "2026-11-09T10:30:60Z",
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T23:59:59Z",
        "yesterday",
        1794220200,
        "1794220200",
        "2026-W46-1T10:30:00Z",
        "９999-11-09T10:30:00Z",
    ],
    "payment__method": ["", None, "pm\x1b[2J"],
    "coupons": ["TEN", ["TEN"] * 11, None],
    "shipping_method": [1, "x" * 129],
    "customer__group": [1, "x" * 129],
    "customer__vat_id": ["DE", "DE123456789", "GB123456789", "136695976", 136695976, "x" * 33],
    "customer__name": ["x" * 256, "Ada\x07", "Ada\u202eadA"],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [pytest.param(p, v, id=f"{p}-{str(v)[:12]!r}") for p, values in BAD.items() for v in values],
)
def test_a_bad_value_is_refused_with_its_field(path: str, value: Any) -> None:
    found = problems(order(**{path: value}))

    assert [problem.field for problem in found] == [path.replace("__", ".")]
    assert all(problem.value and problem.expected for problem in found)


def test_every_bad_field_is_named_at_once_with_what_was_sent_and_what_expected() -> None:
    bad = order(
        currency="EURO", ship_to__country="XX", lines__0__quantity=0, customer__email="ada", vip=1
    )

    found = {p.field: (p.value, p.expected) for p in problems(bad)}

    assert found.keys() == {
        "currency", "ship_to.country", "lines.0.quantity", "customer.email", "vip",
    }  # fmt: skip
    assert found["currency"] == ('"EURO"', "an ISO 4217 currency code such as EUR")
    assert found["ship_to.country"] == (
        '"XX"',
        "a country, by its ISO 3166-1 code or its name, such as DE",
    )
    assert found["lines.0.quantity"][0] == "0"
    assert found["vip"] == ("1", "no such field")


@pytest.mark.parametrize(("currency", "price"), [("EUR", "2.555"), ("JPY", "0.5")])
def test_a_price_finer_than_the_currency_is_refused(currency: str, price: str) -> None:
    [problem] = problems(order(currency=currency, lines__0__unit_price=price))

    assert problem.field == "lines.0.unit_price"
    assert currency in problem.expected


def test_every_price_finer_than_the_currency_is_named_beside_all_else_that_is_wrong() -> None:
    lines = [{"sku": "MUG-01", "quantity": 1, "unit_price": price} for price in ("0.001", "0.002")]

    assert fields(order(lines=lines)) == ["lines.0.unit_price", "lines.1.unit_price"]
    assert fields(order(lines=lines, vip=1)) == ["lines.0.unit_price", "lines.1.unit_price", "vip"]


@pytest.mark.parametrize("data", [None, [], "order", 1, True])
def test_what_is_no_object_is_no_order(data: Any) -> None:
    [problem] = problems(data)

    assert problem.field == "order"


def test_a_long_value_is_cut_short_where_it_is_shown() -> None:
    [problem] = problems(order(voucher="x" * 10_000))

    assert len(problem.value) == 80


# --- Size -----------------------------------------------------------------------------------------


def test_ten_thousand_lines_are_an_order_and_one_more_is_none() -> None:
    line = {"sku": "MUG-01", "quantity": 1}

    assert isinstance(read_order(order(lines=[line] * 10_000)), Document)
    assert fields(order(lines=[line] * 10_001)) == ["lines"]


def test_fifty_metadata_are_an_order_and_one_more_is_none() -> None:
    def metadata(n: int) -> dict[str, str]:
        return {f"key-{i}": "value" for i in range(n)}

    assert isinstance(read_order(order(metadata=metadata(50))), Document)
    assert fields(order(metadata=metadata(51))) == ["metadata"]


def test_an_order_of_more_than_two_million_bytes_is_refused() -> None:
    lines = [{"sku": f"{n:04}" + "📦" * 60, "quantity": 1} for n in range(10_000)]

    [problem] = problems(order(lines=lines))

    assert problem.field == "order"
    assert problem.expected == "at most 2,000,000 bytes"


# --- Card numbers ---------------------------------------------------------------------------------

FREE_TEXT = [
    "customer__name", "customer__id", "customer__email", "ship_to__street",
    "ship_to__city", "ship_to__region", "ship_to__postal_code", "bill_to__street",
    "payment__method", "metadata__note", "voucher", "shipping_method",
    "customer__group", "customer__vat_id", "coupons__0",
]  # fmt: skip


def refusal(data: Any) -> str:
    """All that is said of a refused order."""
    with pytest.raises(InvalidOrder) as refused:
        read_order(data)
    return f"{refused.value} {refused.value.problems} {refused.value.external_id}"


@pytest.mark.parametrize("field", FREE_TEXT)
def test_a_card_number_is_refused_wherever_text_may_stand_and_never_echoed(field: str) -> None:
    value = f"{CARD}@example.com" if field == "customer__email" else CARD
    data = order(bill_to={"country": "DE"}, coupons=["TEN"], **{field: value})

    assert CARD not in refusal(data)


def test_a_card_number_as_the_name_of_a_field_is_not_echoed() -> None:
    assert CARD not in refusal(order(**{CARD: "x"}))
    assert CARD not in refusal(order(metadata={CARD: "x"}))


@pytest.mark.parametrize("value", [int(CARD), [CARD], {"number": CARD}])
def test_a_card_number_inside_something_else_is_not_echoed(value: Any) -> None:
    assert CARD not in refusal(order(card=value))
    assert CARD not in refusal(order(payment=value))


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "my card is 5555555555554444, thanks",
        "378282246310005",
        "6011111111111117",
        "4111 1111 1111 1111 12/27",
        "no. 1 4111111111111111",
        "4111111111111111 123",
    ],
)
def test_a_card_number_is_seen_however_it_is_written(text: str) -> None:
    [problem] = problems(order(metadata={"note": text}))

    assert problem.field == "metadata.note"
    assert problem.value.count("…") == 1


@pytest.mark.parametrize(
    "text", ["4111111111111112", "411111111111", "10115 Berlin", "+49 30 901820"]
)
def test_other_numbers_are_fine(text: str) -> None:
    assert isinstance(read_order(order(metadata={"note": text})), Document)


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("external_id", "302-4936852-0000000"),  # a marketplace's
        ("external_id", "5123456789002"),  # a shop system's
        ("lines__0__sku", "4006381334112"),  # a GTIN
    ],
)
def test_a_number_that_no_card_has_is_fine_even_if_its_check_digit_happens_to_fit(
    field: str, number: str
) -> None:
    assert isinstance(read_order(order(**{field: number})), Document)


@settings(max_examples=50)
@given(number=st.integers(4 * 10**14, 5 * 10**14 - 1))
def test_every_number_that_could_be_a_card_is_refused(number: int) -> None:
    digits = str(number)
    doubled = [int(d) * 2 - 9 * (int(d) > 4) for d in digits[::2]]
    check = -(sum(doubled) + sum(map(int, digits[1::2]))) % 10

    assert fields(order(payment__method=f"{digits}{check}")) == ["payment.method"]


# --- How much is said of it -----------------------------------------------------------------------


def refused(data: Any) -> InvalidOrder:
    with pytest.raises(InvalidOrder) as raised:
        read_order(data)
    return raised.value


def test_a_hundred_problems_are_named_and_the_others_counted() -> None:
    found = refused(order(lines=[{}] * 10_000))

    assert [(p.field, p.value) for p in found.problems] == [
        (f"lines.{n}.{name}", "nothing") for n in range(50) for name in ("sku", "quantity")
    ]
    assert found.more == 19_900
    assert str(found).endswith("; and 19,900 more")


def test_what_is_wrong_beside_the_lines_is_named_before_them() -> None:
    found = refused(order(currency="EURO", colour="red", lines=[GOOD] * 9_000 + [{}] * 1_000))

    assert [p.field for p in found.problems[:4]] == [
        "currency", "colour", "lines.9000.sku", "lines.9000.quantity",
    ]  # fmt: skip
    assert (len(found.problems), found.more) == (100, 1_902)


def test_a_hundred_and_no_more_is_as_it_was() -> None:
    found = refused(order(lines=[{}] * 50))

    assert (len(found.problems), found.more) == (100, 0)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("order", {f"x{n}": 1 for n in range(190_000)}),
        ("metadata", {"metadata": {f"x{n}": 1 for n in range(150_000)}}),
        ("lines.1", {"lines": [{"sku": "a", "quantity": 1}, {f"x{n}": 1 for n in range(101)}]}),
        ("customer", {"customer": {f"x{n}": 1 for n in range(101)}}),
    ],
)
def test_an_object_with_very_many_names_is_refused_as_a_whole(field: str, change: Any) -> None:
    (found,) = refused(order(**change)).problems

    assert found.field == field
    assert found.expected == "at most 100"


@pytest.mark.parametrize("piece", ["://:", "4 ", "4242 ", "a@", "\\", "\u0000", "[", "\ud800"])
def test_no_more_of_a_wrong_value_is_looked_at_than_is_shown(
    piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[int]()
    mask = redaction.mask_card_numbers
    monkeypatch.setattr(
        redaction,
        "mask_card_numbers",
        lambda text, card: seen.append(len(text)) or mask(text, card),
    )
    long = piece * (1_900_000 // len(piece))

    found = refused(order(external_id=long, currency=[long], placed_at={"a": {"b": long}}))

    assert {p.field for p in found.problems} == {"external_id", "currency", "placed_at"}
    assert all(len(p.value) <= 80 for p in found.problems)
    assert max(seen) < 2_000
    assert len(found.external_id or "") <= 128
