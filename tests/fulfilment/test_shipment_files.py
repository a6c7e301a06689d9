"""Shipments from a carrier's or a warehouse's file: one verdict a line, and again changes nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.shipments import import_shipments
from pipeline.intake.files.tally import Tally
from tests.fulfilment.shop import MakeMill, levels, progress, seen, shelved, sold
from tests.payments.shop import booked, findings
from tests.support import MUG, TEE, Mill


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    """Three orders for two mugs and a shirt: one, two, three."""
    shop = shelved(mill, (MUG, "main", 10), (TEE, "main", 10), capture="later")
    for name in ("one", "two", "three"):
        sold(shop, [(MUG, 2), (TEE, 1)], external_id=name)
    return shop


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "rejects.csv"


def take_in(shop: Mill, tmp_path: Path, text: str, name: str = "shipped.csv", **how: Any) -> Tally:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return import_shipments(shop.database, path, "ada", tmp_path / "rejects.csv", **how)


def refusals(rejects: Path) -> list[tuple[str, ...]]:
    """In order of the lines."""
    with rejects.open(encoding="utf-8") as file:
        return sorted((tuple(row) for row in list(csv.reader(file))[1:]), key=lambda r: int(r[0]))


def figures(tally: Tally) -> tuple[int, int, int, int]:
    return tally.read, tally.accepted, tally.skipped, tally.rejected


GOOD = """\
source,external_id,id,lines,carrier,tracking
shop,one,,1=1|2=1,DHL,JD01
,,2,,DHL,JD02
shop,one,,1=1,DHL,JD03
"""


def test_orders_are_named_by_source_and_external_id_or_by_id(shop: Mill, tmp_path: Path) -> None:
    tally = take_in(shop, tmp_path, GOOD)

    assert figures(tally) == (3, 3, 0, 0)
    assert [progress(shop, n) for n in (1, 2, 3)] == ["fulfilled", "fulfilled", "unfulfilled"]
    assert [s["tracking"] for s in seen(shop, 1)["shipments"]] == ["JD01", "JD03"]
    assert findings(shop) == []


def test_the_same_file_again_changes_nothing(shop: Mill, tmp_path: Path) -> None:
    take_in(shop, tmp_path, GOOD)
    before = (levels(shop), shop.timeline(1), shop.timeline(2))

    tally = take_in(shop, tmp_path, GOOD)

    assert figures(tally) == (3, 0, 3, 0)
    assert (levels(shop), shop.timeline(1), shop.timeline(2)) == before


def test_each_line_has_its_verdict_and_those_refused_are_told_apart(
    shop: Mill, tmp_path: Path, rejects: Path
) -> None:
    tally = take_in(
        shop, tmp_path,
        "source,external_id,id,lines,location,tracking,reference\n"
        "shop,one,,1=3,,T1,\n"
        "shop,nobody,,,,T2,\n"
        "web,one,,,,T3,\n"
        ",,77,,,T4,\n"
        "shop,two,,1=x,,T5,\n"
        "shop,two,,1=1|1=1,,T5,\n"
        "shop,two,2,,,T6,\n"
        "shop,,,,,T7,\n"
        "shop,two,,,,,\n"
        "shop,two,,1=1,,T9,\n"
        "shop,two,,1=2,,T9,\n"
        "shop,three,,,north,T10,\n"
        "shop,three,,,,,P-11\n",
    )  # fmt: skip

    assert figures(tally) == (13, 2, 0, 11)
    assert refusals(rejects) == [
        ("2", "one", "lines.1", "3", "1 to 2 units, as are left to ship"),
        ("3", "nobody", "external_id", "nobody", "an order of that source"),
        ("4", "one", "external_id", "one", "an order of that source"),
        ("5", "", "order", "77", "an order there is"),
        ("6", "two", "lines.1", '"x"', "a valid integer, unable to parse string as an integer"),
        ("7", "two", "lines", '"1=1|1=1"', "units by line, each line once, such as 1=2|3=1"),
        ("8", "two", "external_id", '"two"', "an external_id with its source, or an id"),
        ("9", "", "external_id", "null", "an external_id with its source, or an id"),
        ("10", "two", "reference", "null", "a reference, or a tracking number"),
        ("12", "two", "reference", "T9", "one under which nothing else was shipped"),
        ("13", "three", "lines", "all", "units left to ship at north, there are none"),
    ]
    assert sum(tally.reasons.values()) == 11
    assert [progress(shop, n) for n in (1, 2, 3)] == ["unfulfilled", "partial", "fulfilled"]


def test_lines_of_json_say_the_same(shop: Mill, tmp_path: Path) -> None:
    rows = [
        {"source": "shop", "external_id": "one", "lines": {"1": 1}, "tracking": "JD01"},
        {"id": 2, "reference": "P-2", "location": "main"},
        {"id": 3, "reference": "P-3", "weight": 7},
    ]

    tally = take_in(shop, tmp_path, "\n".join(map(json.dumps, rows)), "shipped.jsonl")

    assert figures(tally) == (3, 2, 0, 1)
    assert [progress(shop, n) for n in (1, 2, 3)] == ["partial", "fulfilled", "unfulfilled"]


def test_the_money_that_is_due_is_asked_for_with_them(shop: Mill, tmp_path: Path) -> None:
    take_in(shop, tmp_path, GOOD, capture=True)
    shop.payment_tasks.run()

    assert (booked(shop)["capture"], findings(shop)) == (8000, [])


def test_a_tracking_number_that_looks_like_a_cards_is_one_all_the_same(
    shop: Mill, tmp_path: Path
) -> None:
    tally = take_in(shop, tmp_path, "id,tracking\n1,4242424242424242\n")

    assert figures(tally) == (1, 1, 0, 0)


def test_a_file_with_a_column_that_is_none_is_refused(shop: Mill, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the file has weight; its columns can be external_id"):
        take_in(shop, tmp_path, "id,weight\n1,7\n")
