"""Over files made of orders, whatever was done to their rows: an order is accepted whole, or not."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.intake.accept import Intake, Receipt, Verdict
from pipeline.intake.files.importer import Summary, import_orders
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.reader import OrderFile
from pipeline.intake.schema import Document
from pipeline.source import Policy, Source
from tests.intake.files.helpers import written

SHOP = Source(id=1, name="shop", policy=Policy(price_policy="as_sold"))
#: Where the key stands: before all that may be wrong, in the midst of it, behind it.
LAYOUTS = ("Order,Title,Sku,Qty,Price", "Title,Sku,Order,Qty,Price", "Title,Sku,Qty,Price,Order")


def ours(layout: str) -> Mapping:
    columns = {name: {"column": name} for name in layout.split(",")}
    return Mapping.model_validate(
        {
            "order_key": "Order",
            "order": {
                "currency": {"value": "EUR"},
                "ship_to": {"country": {"value": "DE"}},
                "payment": {"method": {"value": "invoice"}},
            },
            "line": {
                "sku": columns["Sku"], "quantity": columns["Qty"], "unit_price": columns["Price"],
            },
        }
    )  # fmt: skip


@dataclass
class RowOf:
    """A row as its order meant it, and as it stands in the file. `is_lost`: its key can't be read,
    or can't be known to be its key. `is_bad`: its order must not go on."""

    order: str
    sku: str
    quantity: int
    cents: int
    text: str = ""
    is_lost: bool = False
    is_bad: bool = False


@dataclass
class File:
    layout: str
    rows: list[RowOf] = field(default_factory=list)
    content: bytes = b""


class Remembers(Intake):
    """Takes in what it does not have, and keeps it here."""

    def __init__(self) -> None:
        self.taken: dict[str, Document] = {}

    def accept_all(self, source: Source, batch: Sequence[Any]) -> list[Receipt]:
        return [self._accept(document) for document in batch]

    def _accept(self, document: Document) -> Receipt:
        there = self.taken.setdefault(document.external_id, document)
        verdict = Verdict.ACCEPTED if there is document else Verdict.DUPLICATE
        assert there.digest == document.digest, "one order in two parts"
        return Receipt(verdict, document.external_id, 1)


TITLES = st.sampled_from(["Mug", "Mug, blue", "two\nlines", '6" ruler', "", "a, b\nc, d", "é"])
#: Quotes that no writer of CSV would leave so.
STRAY = ['"Big mug', 'Ruler 12"', '"', 'a "b" c"', '"Big "mug']
KEYS = ["1", "2", "12", "1001", "1001-A", "A7"]


@st.composite
def files(draw: st.DrawFn) -> File:
    layout = draw(st.sampled_from(LAYOUTS))
    rows = [
        RowOf(order, f"S{n}", draw(st.integers(1, 9)), draw(st.integers(1, 99)))
        for n, order in enumerate(draw(st.lists(st.sampled_from(KEYS), max_size=14)))
    ]
    if draw(st.booleans()):
        rows.sort(key=lambda row: row.order)  # most exports; else shuffled
    for row in rows:
        damage = draw(st.sampled_from(["none"] * 6 + ["quote", "byte", "blank", "cut", "cell"]))
        _write(draw, layout, row, damage)
    if layout == LAYOUTS[0] and len(rows) > 1 and draw(st.booleans()):
        _break_off(*rows[(n := draw(st.integers(0, len(rows) - 2))) : n + 2])
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join([layout, *(row.text for row in rows)]) + draw(st.sampled_from(["", end]))
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return File(layout, rows, bom + text.encode().replace(b"\x01", b"\xff"))


def _write(draw: st.DrawFn, layout: str, row: RowOf, damage: str) -> None:
    names = layout.split(",")
    cells = {
        "Order": row.order, "Title": draw(TITLES), "Sku": row.sku, "Qty": str(row.quantity),
        "Price": f"{row.cents / 100:.2f}",
    }  # fmt: skip
    row.is_bad = damage not in ("none", "quote")
    if damage == "blank":
        cells["Order"], row.is_lost = draw(st.sampled_from(["", " "])), True
    if damage == "byte":
        where = draw(st.sampled_from(names))
        cells[where] += "\x01"
        row.is_lost = where == "Order"
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells[name] for name in names)
    row.text = out.getvalue()
    if damage == "quote":  # unquoted, as it stands
        cells["Title"] = draw(st.sampled_from(STRAY))
        row.text = ",".join(cells[name] for name in names)
    if damage in ("cut", "cell"):
        _tear(draw, names, cells, row, damage)


def _break_off(first: RowOf, second: RowOf) -> None:
    """The first breaks off within a quote, and the second has one that closes it."""
    first.text, first.is_lost, first.is_bad = f'{first.order},"Big mug', True, True
    rest = f"{second.sku},{second.quantity},{second.cents / 100:.2f}"
    second.text, second.is_lost, second.is_bad = f'{second.order},Ruler 12",{rest}', False, True


def _tear(
    draw: st.DrawFn, names: list[str], cells: dict[str, str], row: RowOf, damage: str
) -> None:
    """Take away the row's beginning or end (a delimiter with it), or a cell, or put one in."""
    row.is_lost = True  # nobody can know which cells are missing
    found = [cells[name] for name in names]
    if damage == "cut" and draw(st.booleans()):
        found = found[: draw(st.integers(0, len(found) - 1))]
        found[-1:] = [cell[: draw(st.integers(0, 3))] for cell in found[-1:]]
    elif damage == "cut":
        found = found[draw(st.integers(1, len(found))) :]
        found[:1] = [cell[draw(st.integers(0, 3)) :] for cell in found[:1]]
    elif draw(st.booleans()):
        found[1:1] = ["more"]
    else:
        del found[draw(st.integers(0, len(found) - 1))]
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(found)
    row.text = out.getvalue()
    if not row.text.strip(', "\n'):
        row.text = "torn"  # a row of which nothing is left leaves nothing to find


def check(file: File) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, rejects = Path(folder) / "orders.csv", Path(folder) / "rejects.csv"
        path.write_bytes(file.content)
        shop = Remembers()

        first = import_orders(shop, SHOP, path, ours(file.layout), rejects)
        again = import_orders(shop, SHOP, path, ours(file.layout))

        with OrderFile(path, ours(file.layout)) as orders:
            keys = [sent.external_id for sent in orders]
        _adds_up(first, again, keys)
        assert bool(written(rejects)) == bool(first.rejected)
    _accepted_whole(file, shop)


def _adds_up(first: Summary, again: Summary, keys: list[str | None]) -> None:
    readable = {key for key in keys if key}
    without = sum(not key for key in keys)
    assert first.accepted + first.rejected + first.duplicates == len(readable) + without
    assert first.conflicts == first.duplicates == 0
    assert (again.duplicates, again.rejected) == (first.accepted, first.rejected)
    assert again.accepted_value == first.accepted_value


def _accepted_whole(file: File, shop: Remembers) -> None:
    for order, document in shop.taken.items():
        its = [row for row in file.rows if row.order == order]
        # A row that lost its key, and stands with none of its order's, is nobody's.
        whole = [row for row in its if not row.is_lost]
        assert not [row for row in whole if row.is_bad]
        assert not [row for row in its if row.is_lost and _stands_beside(file.rows, row, order)]
        lines = Counter((row.sku, row.quantity, row.cents) for row in whole)
        assert Counter(_lines(document)) == lines


def _stands_beside(rows: list[RowOf], row: RowOf, order: str) -> bool:
    at = next(n for n, each in enumerate(rows) if each is row)
    above = next((r for r in reversed(rows[:at]) if not r.is_lost), None)
    below = next((r for r in rows[at + 1 :] if not r.is_lost), None)
    return any(beside is not None and beside.order == order for beside in (above, below))


def _lines(document: Document) -> list[tuple[str, int, int]]:
    lines = json.loads(document.body)["lines"]
    return [(line["sku"], line["quantity"], line["unit_price"]) for line in lines]


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(files())
@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
def test_an_order_is_accepted_whole_or_refused_whole(file: File) -> None:
    check(file)


@pytest.mark.long
@given(files())
@settings(max_examples=20_000, deadline=None, suppress_health_check=QUIET)
def test_an_order_is_accepted_whole_or_refused_whole_at_length(file: File) -> None:
    check(file)
