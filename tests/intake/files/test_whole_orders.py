"""An order is whole, or it is not taken in: wherever its rows stand, whatever can't be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.importer import import_orders
from pipeline.intake.files.lines import Line, TextFile
from pipeline.intake.files.reader import OrderFile
from pipeline.intake.files.sent import Sent
from pipeline.source import Policy
from tests.intake.files.helpers import csv_file, faults, is_sound, mapping, read, row
from tests.support import Mill

MakeMill = Callable[..., Mill]


def verdicts(orders: list[Sent]) -> dict[str | None, bool]:
    return {each.external_id: is_sound(each) for each in orders}


def units(sent: Sent) -> list[tuple[str, int]]:
    return [(line["sku"], line["quantity"]) for line in sent.data["lines"]]


def test_rows_of_an_order_that_stand_apart_are_one_order(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, row("1"), row("2"), row("1", sku="TEE-01", qty="1"), row("3"), row("1", sku="CAP")
    )

    second, third, first = read(path, mapping())

    assert units(first) == [("MUG-01", 2), ("TEE-01", 1), ("CAP", 2)]
    assert (first.line, first.rows) == (2, 3)
    assert verdicts([first, second, third]) == {"1": True, "2": True, "3": True}


def test_they_are_confirmed_with_all_their_lines_and_their_whole_value(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=Policy(price_policy="as_sold"))
    path = csv_file(
        tmp_path,
        row("1001", price="12.50"),
        row("1002", qty="1", price="12.50"),
        row("1001", sku="TEE-01", qty="1", price="19.90"),
    )

    summary = import_orders(shop.intake, shop.source, path, mapping())

    assert (summary.read, summary.accepted, summary.conflicts) == (2, 2, 0)
    assert summary.accepted_value == {"EUR": 4490 + 1250}


def test_a_bad_row_below_rejects_the_rows_above_that_are_of_its_order(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("2"), row("1", sku="TEE-01", qty="none"))

    second, first = read(path, mapping())

    assert [(fault.line, fault.field) for fault in faults(first)] == [(4, "Qty")]
    assert is_sound(second)


def test_rows_are_one_order_if_their_keys_become_the_same_external_id(tmp_path: Path) -> None:
    ours = mapping(
        **{"[order]": '[order]\nexternal_id = {column = "Order", clean = ["drop_decimal_zero"]}'}
    )
    path = csv_file(tmp_path, row("1"), row("2"), row("1.0", sku="TEE-01"))

    _, first = read(path, ours)

    assert (first.external_id, len(first.data["lines"])) == ("1", 2)


def test_an_order_that_a_file_holds_twice_is_rejected_for_nobody_knows_how_much_it_is(
    tmp_path: Path,
) -> None:
    path = csv_file(
        tmp_path, row("1"), row("1", sku="CAP"), row("2"), row("1", sku="CAP"), row("1")
    )

    second, first = read(path, mapping())

    (fault,) = faults(first)
    assert (fault.line, fault.field, fault.value, fault.label) == (5, "order", "1", "repeated")
    assert is_sound(second)


def test_parts_of_an_order_that_only_share_a_row_are_both_its_rows(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, row("1"), row("1", sku="CAP"), row("2"), row("1"), row("1", sku="TEE-01")
    )

    _, first = read(path, mapping())

    assert units(first) == [("MUG-01", 2), ("CAP", 2), ("MUG-01", 2), ("TEE-01", 2)]


def test_an_order_of_too_many_rows_that_stand_apart_is_rejected_with_their_number(
    tmp_path: Path,
) -> None:
    path = csv_file(tmp_path, *[row(str(n % 2), sku=f"S{n}") for n in range(20_004)])

    zero, one = read(path, mapping())

    assert faults(zero)[0].value.startswith("10,002 rows")
    assert faults(one)[0].value.startswith("10,002 rows")


def test_a_row_without_a_key_rejects_the_order_above_and_the_one_below(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("2"), row(""), row("3"), row("4"))

    first, second, nobodys, third, fourth = read(path, mapping())

    assert is_sound(first)
    assert is_sound(fourth)
    assert (nobodys.external_id, nobodys.rows) == (None, 1)
    assert [(f.line, f.field, f.reason) for f in faults(nobodys)] == [(4, "Order", "an order key")]
    for beside in (second, third):
        assert [(fault.line, fault.field) for fault in faults(beside)] == [(4, "row")]


def test_each_row_without_a_key_is_a_rejection_and_they_reject_those_about_them_all(
    tmp_path: Path,
) -> None:
    path = csv_file(tmp_path, row(""), row("1"), row("2"), row(""), row(""), row("3"))

    orders = read(path, mapping())

    assert [(each.external_id, is_sound(each)) for each in orders] == [
        (None, False), ("1", False), ("2", False), (None, False), (None, False), ("3", False),
    ]  # fmt: skip


def test_an_order_is_rejected_for_a_row_below_it_even_if_it_had_been_read_long_before(
    tmp_path: Path,
) -> None:
    path = csv_file(tmp_path, row("1"), row("2"), row("3"), "1,CAP", row("4"), row("5"))

    orders = verdicts(read(path, mapping()))

    # The row may lack its key as well, so those beside it may be the ones it belongs to.
    assert orders == {"1": False, "2": True, "3": False, "4": False, "5": True}


KEY_LAST = mapping(**{'"Order"': '"Country"', '"Country", clean': '"Order", clean'})


@pytest.mark.parametrize(
    "broken",
    [
        "Germany,MUG-01,2,10.00,17,18,A",  # a cell too many before the key
        "Germany,MUG-01,2,10.00,A",  # one is missing before it
        'Germany,"MUG"-01,2,10.00,17,A',  # a quote before it
    ],
)
def test_the_order_is_found_that_a_row_belongs_to_whose_fault_stands_before_its_key(
    tmp_path: Path, broken: str
) -> None:
    def keyed(key: str) -> str:
        return row("Germany", country=key)

    path = csv_file(tmp_path, keyed("A"), keyed("B"), keyed("C"), broken, keyed("D"), keyed("E"))

    orders = verdicts(read(path, KEY_LAST))

    assert (orders["A"], orders["C"], orders["D"]) == (False, False, False)
    assert (orders["B"], orders["E"]) == (True, True)


def test_a_byte_that_can_t_be_read_in_the_key_rejects_the_orders_beside_it(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("2"), row("2x"), row("3"), row("4"))
    path.write_bytes(path.read_bytes().replace(b"2x", b"2\xff"))

    first, second, nobodys, third, fourth = read(path, mapping())

    assert [is_sound(each) for each in (first, second, nobodys, third, fourth)] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_a_byte_that_can_t_be_read_elsewhere_rejects_its_own_order_only(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("2", sku="CAFx"), row("3"))
    path.write_bytes(path.read_bytes().replace(b"CAFx", b"CAF\xff"))

    assert verdicts(read(path, mapping())) == {"1": True, "2": False, "3": True}


def test_a_text_in_quotes_is_no_row_though_it_holds_a_bad_byte(tmp_path: Path) -> None:
    note = "Best\n6\xff\n9999,MUG-01,100,0.01,17,Germany"
    path = csv_file(tmp_path, row("1", sku=note), row("2"))
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))

    assert verdicts(read(path, mapping())) == {"1": False, "2": True}


def test_rows_that_end_in_a_carriage_return_are_never_lost_within_another_s(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("2") + "\r" + row("3"), row("4"), row("3", sku="CAP"))

    assert verdicts(read(path, mapping())) == {"1": True, "2": False, "4": True, "3": False}


def test_a_mapping_can_pass_over_rows_that_are_no_order_s(tmp_path: Path) -> None:
    ours = mapping(
        **{
            "[[reject]]": '[[skip]]\ncolumn = "Order"\nstarts_with = "Total"\n'
            '[[skip]]\ncolumn = "Order"\nequals = ""\n[[reject]]'
        }
    )
    path = csv_file(tmp_path, row("1"), "Total,2", ",,2", row("1", sku="CAP"), "Total 9 records")

    (sent,) = read(path, ours)

    assert units(sent) == [("MUG-01", 2), ("CAP", 2)]


def test_a_file_that_grows_while_it_is_read_is_told_of(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1"), row("2"))

    with OrderFile(path, mapping()) as orders:
        found = iter(orders)
        next(found)
        with path.open("a") as file:
            file.write(row("1", sku="CAP") + "\n")

        with pytest.raises(InvalidInput, match="changed while it was read"):
            next(found)


def test_lines_are_numbered_as_in_the_file_when_it_is_read_again(tmp_path: Path) -> None:
    file = TextFile(csv_file(tmp_path, row("1")))
    first: list[Line] = list(file)

    file.rewind()

    assert list(file) == first
    file.close()
