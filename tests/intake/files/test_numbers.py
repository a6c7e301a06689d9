"""Numbers as people write them: what can be read in two ways is not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.levels import StockMapping, import_stock
from pipeline.intake.files.mapping import load
from pipeline.intake.files.numbers import Numbers
from pipeline.intake.files.products import ProductMapping, import_products
from tests.intake.files.helpers import csv_file, faults, is_sound, mapping, read, row, written
from tests.support import Mill

MakeMill = Callable[..., Mill]

GERMAN = Numbers(",", ".", ("€", "EUR"))
ENGLISH = Numbers(".", ",", ("$",))


@pytest.mark.parametrize(
    ("numbers", "written", "meant"),
    [
        (GERMAN, "12,50", "12.50"),
        (GERMAN, "1.299,00", "1299.00"),
        (GERMAN, "1.299", "1299"),
        (GERMAN, "1299", "1299"),
        (GERMAN, " 12,50 € ", "12.50"),
        (GERMAN, "12,50\u00a0EUR", "12.50"),
        (GERMAN, "-€ 12,50", "-12.50"),
        (GERMAN, "€-12,50", "-12.50"),
        (GERMAN, "+3", "3"),
        (GERMAN, "1.234.567,8", "1234567.8"),
        (GERMAN, "12.50", None),
        (GERMAN, "1.2345,00", None),
        (GERMAN, "12,50 $", None),
        (GERMAN, "1,299,00", None),
        (GERMAN, "--1", None),
        (GERMAN, "12,", None),
        (GERMAN, "١٢", None),
        (GERMAN, "", None),
        (ENGLISH, "$1,433.66", "1433.66"),
        (ENGLISH, "1.433,66", None),
        (Numbers(","), "1.299", None),
        (Numbers(",", " "), "1\u202f299,00", "1299.00"),
        (Numbers(".", "'"), "1'299.00", "1299.00"),
    ],
)
def test_a_number_is_read_as_the_mapping_says_or_not_at_all(
    numbers: Numbers, written: str, meant: str | None
) -> None:
    assert numbers.plain(written) == meant


FORM = '[csv]\ndecimal = ","\nthousands = "."\ncurrency_signs = ["€"]\n'
GERMAN_ORDERS = mapping(
    **{
        "[order]": f"{FORM}[order]",
        'quantity = {column = "Qty"}': 'quantity = {column = "Qty", clean = ["drop_decimal_zero"]}',
    }
)


def test_prices_and_quantities_of_orders_are_read_so(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1", qty="1.000", price="12,50 €"), row("2", qty="2,0"))
    path.write_text(path.read_text("utf-8").replace("10.00", '"1.299,00"'), "utf-8")

    first, second = read(path, GERMAN_ORDERS)

    assert first.data["lines"] == [{"sku": "MUG-01", "quantity": 1000, "unit_price": "12.50"}]
    assert second.data["lines"] == [{"sku": "MUG-01", "quantity": 2, "unit_price": "1299.00"}]


def test_what_is_not_written_so_is_a_fault_at_its_cell(tmp_path: Path) -> None:
    path = csv_file(tmp_path, row("1", price="12.50"), row("2", price="1,00"), row("3", price="0"))

    wrong, right, free = read(path, GERMAN_ORDERS)

    (fault,) = faults(wrong)
    assert (fault.line, fault.field, fault.value) == (2, "Price", "12.50")
    assert "1.299,00 €" in fault.reason
    assert is_sound(right)
    assert faults(free)[0].reason == "more than 0"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ('decimal = "."\nthousands = "."', "csv: .*thousands: another character than decimal"),
        ('decimal = ";"', "csv.decimal"),
        ('quote = "no"', "csv.quote"),
        ('quote = ","', "quote: another character than the delimiter"),
    ],
)
def test_a_form_that_can_t_be_is_refused(tmp_path: Path, form: str, said: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(f"[csv]\n{form}\n")

    with pytest.raises(InvalidInput, match=said):
        load(path, StockMapping)


def test_products_take_a_mapping_a_delimiter_and_an_encoding(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill()
    path = tmp_path / "artikel.txt"
    path.write_bytes(
        "Artikel;Tasse;Preis\nMUG-01;Tässchen;1.299,00 €\nX;Y;12.50\n".encode("cp1252")
    )
    (tmp_path / "m.toml").write_text(
        '[csv]\ndelimiter = ";"\nencoding = "cp1252"\ndecimal = ","\nthousands = "."\n'
        'currency_signs = ["€"]\n[product]\nsku = {column = "Artikel"}\nname = {column = "Tasse"}\n'
        'currency = {value = "EUR"}\nprice = {column = "Preis"}\n'
    )
    rejects = tmp_path / "rejects.csv"

    tally = import_products(shop.database, path, rejects, load(tmp_path / "m.toml", ProductMapping))

    assert (tally.read, tally.accepted, tally.reasons) == (2, 1, {"price": 1})
    assert shop.query("SELECT sku, name FROM products") == [("MUG-01", "Tässchen")]
    assert shop.query("SELECT amount FROM prices") == [(129900,)]
    assert [(line["line"], line["field"], line["value"]) for line in written(rejects)] == [
        ("3", "Preis", "12.50")
    ]


def test_a_mapping_that_says_only_how_the_file_is_written_leaves_columns_their_own_names(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill()
    path = csv_file(tmp_path, "MUG-01;Mug;EUR;12,50", header="sku;name;currency;price")
    (tmp_path / "m.toml").write_text('[csv]\ndelimiter = ";"\ndecimal = ","\n')

    import_products(shop.database, path, mapping=load(tmp_path / "m.toml", ProductMapping))

    assert shop.query("SELECT amount FROM prices") == [(1250,)]


def test_stock_takes_a_mapping_a_delimiter_and_an_encoding(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    import_products(shop.database, csv_file(tmp_path, "MUG-01,Mug", header="sku,name"))
    path = csv_file(tmp_path, "MUG-01\t1.200\tFach 7", header="Artikel\tMenge\tOrt", name="s.tsv")
    (tmp_path / "m.toml").write_text(
        '[csv]\ndelimiter = "\\t"\nthousands = "."\ndecimal = ","\n[stock]\n'
        'sku = {column = "Artikel"}\nquantity = {column = "Menge"}\nlocation = {value = "main"}\n'
        'reason = {column = "Ort"}\n'
    )
    by = load(tmp_path / "m.toml", StockMapping)

    tally = import_stock(shop.database, path, "ada", mapping=by)

    assert tally.accepted == 1
    assert shop.query("SELECT location, on_hand FROM stock_levels") == [("main", 1200)]
    assert import_stock(shop.database, path, "ada", mapping=by).skipped == 1
