"""Quoting is a property of the format: a quote within a title never glues two orders into one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.errors import InvalidInput
from pipeline.intake.files.levels import StockRow
from pipeline.intake.files.lines import TextFile
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.products import ProductRow
from pipeline.intake.files.records import read_records
from pipeline.intake.files.shipments import ShipmentRow
from pipeline.stock_reconciliation.counts import CountRow
from tests.intake.files.helpers import csv_file, faults, is_sound, mapping, read

HEADER = "Order,Title,Sku,Qty,Price,Country"


def titled(delimiter: str = "\t", quote: str | None = None) -> Mapping:
    form = f"[csv]\ndelimiter = {delimiter!r}\n".replace("'", '"')
    form += f"quote = '{quote}'\n" if quote else ""
    customer = 'customer.id = {column = "Customer", clean = ["strip", "drop_decimal_zero"]}\n'
    return mapping(**{"[order]": f"{form}[order]", customer: ""})


def file_of(folder: Path, *rows: str, delimiter: str = "\t") -> Path:
    lines = [line.replace(",", delimiter) for line in (HEADER, *rows)]
    return csv_file(folder, *lines[1:], header=lines[0])


GLUED = ('A,"Big mug,MUG,1,10.00,US', 'B,Ruler 12",RULER,3,99.00,CA')


def test_quotes_are_text_in_a_file_with_tabs(tmp_path: Path) -> None:
    first, second = read(file_of(tmp_path, *GLUED), titled())

    assert first.data["lines"] == [{"sku": "MUG", "quantity": 1, "unit_price": "10.00"}]
    assert first.data["ship_to"] == {"country": "US"}
    assert second.data["lines"] == [{"sku": "RULER", "quantity": 3, "unit_price": "99.00"}]


def test_quotes_are_text_wherever_the_mapping_says_so(tmp_path: Path) -> None:
    first, second = read(file_of(tmp_path, *GLUED, delimiter=";"), titled(";", "none"))

    assert (first.data["lines"][0]["sku"], second.data["lines"][0]["sku"]) == ("MUG", "RULER")


def test_another_character_can_enclose_cells(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'A,|Mug, 12" and\nlarge|,MUG,1,10.00,US', delimiter=",")

    (sent,) = read(path, titled(",", "|"))

    assert is_sound(sent)
    assert sent.rows == 1


@pytest.mark.parametrize(
    "rows",
    [
        GLUED,
        ('A,"Big mug,MUG,1,10.00,US', "B,Mug,MUG,1,10.00,DE", 'C,Ruler 12",RULER,3,99.00,CA'),
        ('A,"Big mug,MUG,1,10.00,US', "", "junk", 'C,Ruler 12",RULER,3,99.00,CA'),
        ('A,"Big, blue mug,MUG,1,10.00,US', 'C,Ruler, steel 12",RULER,3,99.00,CA'),
        ('A,"Big mug,MUG,1,10.00,US', 'C,Ruler 12",RULER,3,99.00,"CA"'),
    ],
    ids=["two", "three", "blank and short lines", "commas in the titles", "a quoted cell"],
)
def test_rows_that_a_quote_makes_one_of_are_all_rejected_by_name(
    tmp_path: Path, rows: tuple[str, ...]
) -> None:
    path = file_of(tmp_path, *rows, "D,Cup,CUP,1,5.00,US", "D,Tea,TEA,1,5.00,US", delimiter=",")

    *glued, last = read(path, titled(","))

    named = {sent.external_id for sent in glued}
    assert named >= {line.split(",")[0] for line in rows if line}
    assert not any(map(is_sound, glued))
    assert 'quote = "none"' in faults(glued[0])[0].reason
    assert faults(glued[0])[0].reason.startswith("a quote makes one row of lines 2 to ")
    assert last.external_id == "D"


def test_other_rows_of_an_order_that_a_quote_has_swallowed_are_rejected_with_it(
    tmp_path: Path,
) -> None:
    rows = ("B,Mug,MUG,1,10.00,DE", "D,Cup,CUP,1,5.00,US", "E,Cup,CUP,1,5.00,US", *GLUED)

    orders = read(file_of(tmp_path, *rows, delimiter=","), titled(","))

    assert {sent.external_id: is_sound(sent) for sent in orders} == {
        "A": False, "B": False, "D": True, "E": True,
    }  # fmt: skip


def test_a_cell_in_quotes_may_span_lines_and_hold_commas(tmp_path: Path) -> None:
    title = '"A mug, blue\nwith a handle, and\n, well, a bottom"'
    path = file_of(tmp_path, f"A,{title},MUG,1,10.00,US", "B,Mug,MUG,1,10.00,DE", delimiter=",")

    assert all(map(is_sound, read(path, titled(","))))


@pytest.mark.parametrize(
    "rows",
    [
        ('1001,"Big mug', '1002,Ruler 12",RULER,3,99.00,CA'),
        ('1001,"Big', "1002,Mug,MUG,1,10.00,DE", '1003,Ruler 12",RULER,3,99.00,CA'),
        ('web-1001,"Big mug', 'web-1002,Ruler 12",RULER,3,99.00,CA'),
        ('1001,"Big mug,MUG,1,10.00,US', 'uler 12",RULER,3,99.00,CA'),
        ('1001,"Big mug,MUG,1,10.00,US', '",RULER,3,99.00,CA'),
    ],
    ids=[
        "broken off",
        "with a row between",
        "small letters",
        "without its beginning",
        "only its end",
    ],
)
def test_a_row_that_broke_off_in_a_quote_is_not_glued_to_one_that_ends_with_one(
    tmp_path: Path, rows: tuple[str, ...]
) -> None:
    path = file_of(
        tmp_path,
        "1,Tea,TEA,1,5.00,US",
        *rows,
        "9,Tea,TEA,1,5.00,US",
        "99,Tea,TEA,1,5.00,US",
        delimiter=",",
    )

    orders = read(path, titled(","))

    sound = {sent.external_id for sent in orders if is_sound(sent)}
    assert sound <= {"1", "9", "99"}
    assert "99" in sound
    assert any(
        "a quote makes one row" in f.reason
        for sent in orders
        if not is_sound(sent)
        for f in faults(sent)
    )


@pytest.mark.parametrize(
    "title",
    [
        "A mug\nblue, large",
        "A mug\n12cm, blue",
        "Sizes:\n12, 14",
        "Ships to:\n10 High Street, London",
        "A mug, blue, large, round, new\nand good",
        "a, b\nc, d",
        "first\nsecond\nthird, and last",
        "\n",
        "tall,\nand wide",
        'of 12"\nand 14"',
    ],
)
@pytest.mark.parametrize("order", ["1001", "web-1001", "A", "166-3956054-8266764"])
def test_a_text_of_several_lines_is_no_row(tmp_path: Path, title: str, order: str) -> None:
    quoted = title.replace('"', '""')
    path = file_of(
        tmp_path, f'{order},"{quoted}",MUG,1,10.00,US', "Z,Tea,TEA,1,5.00,US", delimiter=","
    )

    assert [is_sound(sent) for sent in read(path, titled(","))] == [True, True]


def test_a_file_with_tabs_whose_cells_stand_in_quotes_is_refused_with_the_setting_s_name(
    tmp_path: Path,
) -> None:
    path = file_of(tmp_path, "A,Mug,MUG,1,10.00,US", 'B,"Mug",MUG,1,10.00,US')

    with pytest.raises(InvalidInput, match=r'line 3: .*\[csv\].*quote = "none"'):
        read(path, titled())

    assert [len(read(path, titled(quote=said))) for said in ('"', "none")] == [2, 2]


def test_such_a_cell_far_below_rejects_its_order(tmp_path: Path) -> None:
    many = [f"{n},{'x' * 900},MUG,1,10.00,US" for n in range(1200)]
    path = file_of(tmp_path, *many, 'B,"Mug",MUG,1,10.00,US')

    *good, last = read(path, titled())

    assert all(map(is_sound, good))
    assert "[csv]" in faults(last)[0].reason


@pytest.mark.parametrize(
    ("model", "header", "first", "last"),
    [
        (StockRow, "sku,reason,location,quantity", 'A,"Big,main,1', 'B,12",main,3'),
        (ProductRow, "sku,name,currency,price", 'A,"Big,EUR,1.00', 'B,Ruler 12",EUR,3.00'),
        (ShipmentRow, "external_id,carrier,source,tracking", 'A,"DHL,web,T1', 'B,UPS",web,T2'),
        (CountRow, "sku,location,units,counted_at", 'A,"x,1,2026-11-01', 'B,y",3,2026-11-02'),
    ],
    ids=["stock", "products", "shipments", "counts"],
)
def test_no_file_s_rows_are_glued(
    tmp_path: Path, model: type[BaseModel], header: str, first: str, last: str
) -> None:
    path = csv_file(tmp_path, first, last, header=header)

    records = list(read_records(TextFile(path), path, model))

    assert [(record.line, record.value) for record in records] == [(2, None), (3, None)]
    assert all("a quote makes one row" in record.faults[0].reason for record in records)
