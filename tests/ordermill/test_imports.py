"""The commands that read files: from standard input as well, and with exit codes a script can use."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.intake.files.helpers import MAPPING, csv_file, row
from tests.support import an_order

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def shop(run: Run, tmp_path: Path) -> Run:
    (tmp_path / "shop.toml").write_text(MAPPING)
    assert run("sources", "set", "shop", "--set", "price_policy=as_sold")[0] == 0
    return run


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("rows", "options", "code"),
    [
        ([row("1"), row("2", qty="0")], [], 0),
        ([row("1"), row("2", qty="0")], ["--strict"], 1),
        ([row("1", qty="0"), row("2", qty="0")], [], 1),
        ([], [], 0),
    ],
)
def test_the_exit_code_is_1_if_all_was_refused_and_if_strict_if_anything_was(
    shop: Run, tmp_path: Path, rows: list[str], options: list[str], code: int
) -> None:
    path = csv_file(tmp_path, *rows)

    found, _ = shop(
        "import", path, "--source", "shop", "--mapping", tmp_path / "shop.toml", *options
    )

    assert found == code


def test_products_that_are_all_refused_exit_with_1(shop: Run, tmp_path: Path) -> None:
    path = csv_file(tmp_path, "MUG-01,Mug,EUR,dear", header="sku,name,currency,price")

    assert shop("products", "import", path)[0] == 1


def test_orders_come_from_standard_input_though_they_are_read_twice(
    shop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path, row("1"), row("2"), row("1", sku="CAP"))
    typed(monkeypatch, path.read_text())

    code, printed = shop(
        "import", "-", "--source", "shop", "--mapping", tmp_path / "shop.toml", "--json"
    )

    assert code == 0
    assert (json.loads(printed)["accepted"], json.loads(printed)["rows"]) == (2, 3)


def test_json_lines_products_and_stock_come_from_standard_input(
    shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop("sources", "set", "web")
    for line, command in (
        ({"sku": "MUG-01", "name": "Mug"}, ("products", "import", "-")),
        ({"sku": "MUG-01", "location": "main", "quantity": 3}, ("stock", "import", "-")),
        (an_order(), ("import", "-", "--source", "web")),
    ):
        typed(monkeypatch, json.dumps(line) + "\n")

        code, printed = shop(*command, "--json")

        assert (code, json.loads(printed)["accepted"]) == (0, 1)


def test_products_and_stock_take_a_mapping(shop: Run, tmp_path: Path) -> None:
    (tmp_path / "german.toml").write_text('[csv]\ndelimiter = ";"\ndecimal = ","\n')
    products = csv_file(tmp_path, "MUG-01;Tasse;EUR;12,50", header="sku;name;currency;price")
    stock = csv_file(tmp_path, "MUG-01;main;5", header="sku;location;quantity", name="stock.csv")

    for command, path in (("products", products), ("stock", stock)):
        code, printed = shop(
            command, "import", path, "--mapping", tmp_path / "german.toml", "--json"
        )
        assert (code, json.loads(printed)["accepted"]) == (0, 1)


def test_a_file_of_the_wrong_kind_is_one_error_that_names_it(shop: Run, tmp_path: Path) -> None:
    path = tmp_path / "order.xml"
    path.write_text("<?xml version='1.0'?>\n<Order>\n</Order>\n")

    code, printed = shop("import", path, "--source", "shop")

    assert code == 2
    assert "is XML" in printed
