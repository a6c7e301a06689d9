"""CSV: rows that share a key are one order, and every fault is found at its cell."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.fault import Fault
from tests.intake.files.helpers import (
    HEADER,
    csv_file,
    faults,
    is_sound,
    mapping,
    read,
    row,
)


def test_rows_that_share_a_key_are_one_order(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("1", sku="tee-01 ", qty="1"), row("2", customer=""))

    first, second = read(path, mapping())

    assert first.data == {
        "external_id": "1",
        "currency": "EUR",
        "customer": {"id": "17"},
        "ship_to": {"country": "DE"},
        "payment": {"method": "invoice"},
        "lines": [
            {"sku": "MUG-01", "quantity": 2, "unit_price": "10.00"},
            {"sku": "TEE-01", "quantity": 1, "unit_price": "10.00"},
        ],
    }
    assert (first.line, first.rows) == (2, 2)
    assert second.data["customer"] == {}
    assert is_sound(first)
    assert is_sound(second)


PRICED = {
    "[line]": 'coupons = {column = "Coupons"}\nshipping_method = {column = "By"}\n'
    'customer.group = {column = "Group"}\ncustomer.vat_id = {column = "VAT"}\n[line]',
}  # fmt: skip
PRICED_HEADER = f"{HEADER},Coupons,By,Group,VAT"


def test_what_pricing_wants_to_know_can_be_mapped(tmp_path: Path) -> None:
    rows = [row("1") + ",TEN| five ,post,trade,DE 136 695 976", row("2") + ",,,,"]
    path = csv_file(tmp_path, *rows, header=PRICED_HEADER)

    told, untold = read(path, mapping(**PRICED))

    assert is_sound(told)
    assert (told.data["coupons"], told.data["shipping_method"]) == (["TEN", "five"], "post")
    assert told.data["customer"] == {"id": "17", "group": "trade", "vat_id": "DE 136 695 976"}
    assert is_sound(untold)
    assert "coupons" not in untold.data


def test_a_bad_coupon_or_vat_id_is_a_fault_at_its_cell(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1") + f",TEN|{'x' * 129},,,DE123", header=PRICED_HEADER)

    found = faults(read(path, mapping(**PRICED))[0])

    assert sorted((fault.line, fault.field) for fault in found) == [(2, "Coupons"), (2, "VAT")]


SHOWN = {
    "[line]": 'total = {column = "Total"}\nplaced_at = {column = "At", clean = ["strip"], '
    'format = "%d.%m.%Y %H:%M", timezone = "Europe/Berlin"}\n[line]',
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("09.11.2026 10:30", "2026-11-09T10:30:00+01:00"),
        ("09.07.2026 10:30", "2026-07-09T10:30:00+02:00"),
        ("25.10.2026 02:30", "2026-10-25T02:30:00+02:00"),  # twice: the first is meant
    ],
)
def test_the_total_and_the_moment_can_be_mapped(tmp_path: Path, written: str, read_as: str) -> None:
    path = csv_file(tmp_path, row() + f",12.50,{written} ", header=f"{HEADER},Total,At")

    (told,) = read(path, mapping(**SHOWN))

    assert is_sound(told)
    assert (told.data["total"], told.data["placed_at"]) == ("12.50", read_as)


def test_a_moment_that_can_not_be_read_is_a_fault_at_its_cell(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row() + ",12.50,11/09/26", header=f"{HEADER},Total,At")

    (fault,) = faults(read(path, mapping(**SHOWN))[0])

    assert fault == Fault(
        2, "At", "11/09/26", "a time with its zone, such as 2026-11-09T10:30:00+01:00", "placed_at"
    )


def test_a_moment_without_a_zone_is_a_fault_where_the_mapping_names_none(tmp_path: Path) -> None:
    by = mapping(**{"[line]": 'placed_at = {column = "At"}\n[line]'})
    rows = [row("1") + ",2026-11-09T10:30:00", row("2") + ",2026-11-09T10:30:00Z"]

    unknown, known = read(csv_file(tmp_path, *rows, header=f"{HEADER},At"), by)

    assert [fault.field for fault in faults(unknown)] == ["At"]
    assert is_sound(known)


def test_every_fault_names_line_column_value_and_what_was_expected(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(), row(qty="two", price="0.0", country="Atlantis"))

    (sent,) = read(path, mapping())
    found = faults(sent)

    assert Fault(3, "Qty", "two", "a valid integer", "lines.quantity") in found
    assert Fault(3, "Price", "0.0", "more than 0", "lines.unit_price") in found
    assert (
        Fault(3, "Country", "Atlantis", "DE, as in the order's rows above", "ship_to.country")
        in found
    )


def test_an_unknown_country_is_shown_as_it_stands_in_the_file(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(country="Atlantis "))

    (fault,) = faults(read(path, mapping())[0])

    assert (fault.line, fault.field, fault.value) == (2, "Country", "Atlantis ")
    assert "ISO 3166-1" in fault.reason


def test_an_empty_cell_of_a_field_that_must_be_there_is_a_fault(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(sku="  "))

    (fault,) = faults(read(path, mapping())[0])

    assert fault == Fault(2, "Sku", "  ", "a value", "lines.sku")


def test_a_price_finer_than_the_currency_is_a_fault_at_its_cell(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(), row(price="1.999"))

    (fault,) = faults(read(path, mapping())[0])

    assert (fault.line, fault.field, fault.value) == (3, "Price", "1.999")
    assert "more decimal places than EUR" in fault.reason


def test_of_a_card_number_the_shape_is_shown(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(customer="4242 4242 4242 4242"))

    (fault,) = faults(read(path, mapping())[0])

    assert (fault.field, fault.value) == ("Customer", "4242…4242")


def test_a_rule_rejects_the_order_with_its_reason_and_nothing_else(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("C1", qty="-2"))

    assert faults(read(path, mapping())[0]) == [
        Fault(2, "Order", "C1", "cancellation", "cancellation")
    ]


def test_a_rule_can_ask_for_equality(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1", sku="POST"), row("2", sku="POSTER"))
    rule = {'column = "Order"\n': 'column = "Sku"\n', 'starts_with = "C"': 'equals = "POST"'}

    first, second = read(path, mapping(**rule))

    assert faults(first)[0].reason == "cancellation"
    assert is_sound(second)


def test_fields_of_the_order_may_stand_in_its_first_row_only(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(), row(customer="", country=""))

    (sent,) = read(path, mapping())

    assert is_sound(sent)
    assert sent.data["customer"] == {"id": "17"}


def test_rows_that_disagree_about_their_order_reject_it(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row(customer="17"), row(customer="18.0"))

    assert faults(read(path, mapping())[0]) == [
        Fault(3, "Customer", "18.0", "17, as in the order's rows above", "customer.id")
    ]


@pytest.mark.parametrize(
    "broken", ["2,MUG-01,2", "2,MUG-01,2,10.00,17,Germany,x", '2,"a"b,2,1,1,x']
)
def test_a_row_that_is_not_whole_rejects_its_order_only(tmp_path: Path, broken: str) -> None:
    path = csv_file(tmp_path, row("1"), row("2"), broken, row("2"), row("3"))

    first, second, third = read(path, mapping())

    assert is_sound(first)
    assert is_sound(third)
    assert (second.rows, faults(second)[0].line, faults(second)[0].field) == (3, 4, "row")


def test_a_quote_that_is_never_closed_costs_its_own_order_only(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), '2,"MUG-01,2,10.00,17,Germany', *map(row, "3456"))

    orders = read(path, mapping())

    assert [(each.external_id, is_sound(each)) for each in orders] == [
        ("1", True), ("2", False), ("3", True), ("4", True), ("5", True), ("6", True),
    ]  # fmt: skip


def test_a_quoted_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1", customer="17\n"), row("2"))

    first, second = read(path, mapping())

    assert is_sound(first)
    assert (second.line, second.external_id) == (4, "2")


def test_a_byte_that_is_not_of_the_encoding_rejects_its_order_and_tells_where(
    tmp_path: Path,
) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes("\n".join([HEADER, row("1", sku="CAFÉ"), row("2")]).encode("cp1252"))

    first, second = read(path, mapping())

    assert faults(first)[0].reason == "not utf-8 at byte 6"
    assert is_sound(second)


def test_delimiter_and_encoding_are_the_mapping_s(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    text = "\r\n".join([HEADER, row("1", sku="CAFÉ")]).replace(",", ";")
    path.write_bytes(text.encode("cp1252"))
    ours = mapping(**{"[order]": '[csv]\ndelimiter = ";"\nencoding = "cp1252"\n[order]'})

    (sent,) = read(path, ours)

    assert sent.data["lines"][0]["sku"] == "CAFÉ"
    assert sent.data["ship_to"] == {"country": "DE"}


def test_gzip_a_byte_order_mark_and_blank_rows_make_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv.gz"
    text = "\n".join([HEADER, "", row("1"), ",,,,,", row("1"), ""])
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))

    (sent,) = read(path, mapping())

    assert (is_sound(sent), sent.rows) == (True, 2)


def test_an_order_of_a_thousand_lines_is_one_order(tmp_path: Path) -> None:
    path = csv_file(tmp_path, *[row("1", sku=f"S{n}") for n in range(1000)])

    (sent,) = read(path, mapping())

    assert is_sound(sent)
    assert len(sent.data["lines"]) == 1000


def test_an_order_of_too_many_rows_is_rejected_with_its_size(tmp_path: Path) -> None:
    path = csv_file(tmp_path, *[row("1")] * 10_001, row("2"))

    first, second = read(path, mapping())

    assert faults(first)[0].value.startswith("10,001 rows")
    assert is_sound(second)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Order,Sku,Qty,Price,Customer", "no column named 'Country'"),
        (f"{HEADER},Sku", "two columns named 'Sku'"),
    ],
)
def test_a_file_without_the_mapping_s_columns_is_refused(
    tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(csv_file(tmp_path, header=header), mapping())


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.touch()

    with pytest.raises(InvalidInput, match="empty"):
        read(path, mapping())


def test_csv_wants_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is CSV: say by a mapping"):
        read(csv_file(tmp_path, row()))
