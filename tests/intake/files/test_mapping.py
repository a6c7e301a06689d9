"""A mapping is strict: what is wrong in it is named by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.cleaning import cleaned, country_of, separated, whole_number
from pipeline.intake.files.mapping import load_mapping
from tests.intake.files.helpers import MAPPING


def test_a_mapping_reads_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(MAPPING)

    mapping = load_mapping(path)

    assert mapping.order_key == "Order"
    assert mapping.line.sku.clean == ("strip", "upper")
    assert mapping.csv.delimiter == ","


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('order_key = "Order"', "", "order_key is missing"),
        ('value = "EUR"', "value = 1", "order.currency.value: got 1, expected"),
        ('value = "EUR"', 'valeu = "EUR"', "there is no key order.currency.valeu"),
        ('value = "EUR"', 'value = "EUR", column = "Sku"', "exactly one of column and value"),
        ('"upper"', '"shout"', "line.sku.clean.1: got 'shout', expected"),
        ('EIRE = "IE"', 'EIRE = "XX"', "countries.EIRE: got 'XX', expected a country"),
        ('starts_with = "C"', "", "exactly one of starts_with and equals"),
        ("[order]", '[csv]\nencoding = "utf-17"\n[order]', "csv.encoding: got 'utf-17', expected"),
        ("[order]", '[csv]\nencoding = "utf-16"\n[order]', "convert the file first"),
        ("[order]", '[csv]\ndelimiter = ";;"\n[order]', "csv.delimiter: got ';;', expected"),
        ("[order]", "[order", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(
    tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(MAPPING.replace(right, wrong))

    with pytest.raises(InvalidInput) as refused:
        load_mapping(path)

    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be read: No such file"):
        load_mapping(tmp_path / "none.toml")


def test_cells_are_cleaned_in_the_order_of_the_words() -> None:
    assert cleaned(" 85123a ", ["strip", "upper"]) == "85123A"
    assert cleaned("  RED   MUG ", ["collapse", "lower"]) == "red mug"
    assert cleaned("17850.0", ["drop_decimal_zero"]) == "17850"
    assert cleaned("17850.50", ["drop_decimal_zero"]) == "17850.50"


def test_only_whole_numbers_become_numbers() -> None:
    assert [whole_number(text) for text in ("6", "-6", "6.5", "1e3", "9" * 5000)] == [
        6, -6, "6.5", "1e3", "9" * 5000,
    ]  # fmt: skip


def test_several_values_in_a_cell_are_separated_by_bars() -> None:
    assert separated("TEN| FIVE |") == ["TEN", "FIVE"]


def test_countries_go_by_name_or_code_and_the_mapping_has_the_last_word() -> None:
    names = ["United Kingdom", "EIRE", "de", "FRA", "Atlantis"]

    codes = [country_of(name, {"EIRE": "IE", "de": "AT"}) for name in names]

    assert codes == ["GB", "IE", "AT", "FR", "Atlantis"]
