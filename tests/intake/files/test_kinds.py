"""A file of the wrong kind is named, instead of hundreds of bad lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.levels import import_stock
from pipeline.intake.files.products import import_products
from tests.intake.files.helpers import csv_file, json_file, mapping, read
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]

FOREIGN = [
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<Order/>', "XML"),
    (b"<html><body>Not found</body></html>", "XML or HTML"),
    (b"ISA*00*          *00*          *01*000123456      *ZZ*PARTNER~\n", r"EDI \(X12\)"),
    (b"\xef\xbb\xbfISA|00|          |00|", r"EDI \(X12\)"),
    (b"UNA:+.? '\nUNB+UNOA:4+1:8'", r"EDI \(EDIFACT\)"),
    (b"UNB+UNOC:3+1:14'", r"EDI \(EDIFACT\)"),
    (b"STX=ANA:1+5000000000000'", r"EDI \(TRADACOMS\)"),
    (b"PK\x03\x04\x14\x00\x06\x00\x08\x00[Content_Types].xml", "an Excel workbook"),
    (b"PK\x03\x04\x14\x00\x00\x00orders.csv", "a zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
    (b"%PDF-1.7\n", "PDF"),
    ("Order,Sku\n".encode("utf-16"), "UTF-16; convert it first: iconv"),
]


@pytest.mark.parametrize(("content", "named"), FOREIGN, ids=[named for _, named in FOREIGN])
@pytest.mark.parametrize("by", [None, mapping()], ids=["as JSON lines", "as CSV"])
def test_it_is_named_whatever_it_was_taken_for(
    tmp_path: Path, by: object, content: bytes, named: str
) -> None:
    path = tmp_path / "orders.txt"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=f"is {named}"):
        read(path, by)  # type: ignore[arg-type]


@pytest.mark.parametrize("indent", [None, 2])
def test_json_that_is_not_one_object_a_line_is_named(tmp_path: Path, indent: int | None) -> None:
    array = tmp_path / "array.json"
    array.write_text(json.dumps([an_order(), an_order()], indent=indent))
    with pytest.raises(InvalidInput, match="is a JSON array; write one object a line"):
        read(array)

    pretty = tmp_path / "pretty.json"
    pretty.write_text(json.dumps(an_order(), indent=2))
    with pytest.raises(InvalidInput, match="is JSON over several lines"):
        read(pretty)


def test_csv_without_a_mapping_and_json_with_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is CSV, it seems; say by a mapping"):
        read(csv_file(tmp_path, "1;MUG", header="Order;Sku", name="orders.txt"))

    with pytest.raises(InvalidInput, match="is JSON, which needs no mapping"):
        read(json_file(tmp_path, an_order()), mapping())


def test_a_gzipped_file_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "orders.gz"
    path.write_bytes(gzip.compress(b'<?xml version="1.0"?>'))

    with pytest.raises(InvalidInput, match="is XML"):
        read(path)


def test_products_and_stock_are_looked_at_as_orders_are(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    xml = tmp_path / "products.csv"
    xml.write_bytes(b"<products/>")
    pretty = tmp_path / "stock.jsonl"
    pretty.write_text('{\n  "sku": "MUG-01"\n}\n')

    with pytest.raises(InvalidInput, match="is XML"):
        import_products(shop.database, xml)
    with pytest.raises(InvalidInput, match="is JSON over several lines"):
        import_stock(shop.database, pretty, "ada")
