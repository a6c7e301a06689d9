"""A small shop's export: orders as CSV rows under a mapping, or as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.intake.files.fault import Fault
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.reader import OrderFile
from pipeline.intake.files.sent import Sent

HEADER = "Order,Sku,Qty,Price,Customer,Country"

MAPPING = """
order_key = "Order"
[order]
currency = {value = "EUR"}
customer.id = {column = "Customer", clean = ["strip", "drop_decimal_zero"]}
ship_to.country = {column = "Country", clean = ["strip"]}
payment.method = {value = "invoice"}
[line]
sku = {column = "Sku", clean = ["strip", "upper"]}
quantity = {column = "Qty"}
unit_price = {column = "Price", positive = true}
[countries]
EIRE = "IE"
[[reject]]
column = "Order"
starts_with = "C"
reason = "cancellation"
"""


def mapping(**replaced: str) -> Mapping:
    """The mapping above, with texts replaced."""
    text = MAPPING
    for old, new in replaced.items():
        text = text.replace(old, new)
    return Mapping.model_validate(tomllib.loads(text))


def row(order: str = "1", **changes: str) -> str:
    """One CSV row of an order: two mugs at 10.00."""
    cells = {"sku": "MUG-01", "qty": "2", "price": "10.00", "customer": "17", "country": "Germany"}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([order, *{**cells, **changes}.values()])
    return text.getvalue().removesuffix("\n")


def csv_file(folder: Path, *rows: str, header: str = HEADER, name: str = "orders.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def json_file(folder: Path, *orders: Any, name: str = "orders.jsonl") -> Path:
    path = folder / name
    lines = [order if isinstance(order, str) else json.dumps(order) for order in orders]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def read(path: Path, by: Mapping | None = None) -> list[Sent]:
    with OrderFile(path, by) as orders:
        return list(orders)


def faults(sent: Sent) -> Sequence[Fault]:
    assert isinstance(sent.judgement, list), "the order is sound"
    return sent.judgement


def is_sound(sent: Sent) -> bool:
    return not isinstance(sent.judgement, list)


def written(path: Path) -> list[dict[str, str]]:
    """The lines of a reject file (or any CSV with a header)."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
