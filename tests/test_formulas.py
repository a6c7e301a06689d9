"""No CSV that we write holds a cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

import ordermill
import pipeline
import web
from pipeline.formulas import as_it_was, defused, write_rows, write_table

FORMULAS = [
    "=1+1", "=cmd|'/C calc'!A0", "+cmd|'/C calc'!A0", "-2+3+cmd|'/C calc'!A0", "@SUM(1+1)",
    " =1+1", "\t=1+1", "\r=1+1", "\n=1+1", "\tx", "\u00a0=1+1", "\uff1d1+1", "\uff0b1", "\uff0d1+1",
    "\uff20SUM(1)", "+49 30 1234", "-", "--1", "-1e5+2", "+1,2", "-\u0661",
]  # fmt: skip


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_begins_like_a_formula_is_a_text_and_can_be_had_back(cell: str) -> None:
    assert defused(cell) == f"'{cell}"
    assert as_it_was(defused(cell)) == cell


@pytest.mark.parametrize(
    "cell", ["", "web-1", "'tis", "a=b", "-5", "+5", "-12.50", "12", -5, 1.5, None, True, "ä", "'"]
)
def test_what_is_no_formula_stays_as_it_is(cell: object) -> None:
    assert defused(cell) is cell
    assert as_it_was(str(cell)) == str(cell)


def test_rows_and_tables_are_written_so() -> None:
    rows, table = io.StringIO(), io.StringIO()

    write_rows(rows, [("line", "value"), (1, "=1+1")])
    write_table(table, ["sku", "n"], [{"n": -2, "sku": "@SUM(A1)"}])

    assert list(csv.reader(rows.getvalue().splitlines())) == [["line", "value"], ["1", "'=1+1"]]
    assert list(csv.reader(table.getvalue().splitlines())) == [["sku", "n"], ["'@SUM(A1)", "-2"]]


def test_nobody_else_writes_csv() -> None:
    homes = [Path(str(package.__file__)).parent for package in (pipeline, ordermill, web)]
    writing = re.compile(r"csv\.(writer|DictWriter)")

    found = [f.name for home in homes for f in home.rglob("*.py") if writing.search(f.read_text())]

    assert found == ["formulas.py"]
