"""The commands that reconcile, hold and release stock, and the job."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]
PRODUCTS = Path(__file__).parents[2] / "docs" / "examples" / "products.csv"


@pytest.fixture
def shop(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A home with ten mugs."""
    monkeypatch.chdir(tmp_path)
    assert run("products", "import", PRODUCTS)[0] == 0
    assert run("stock", "adjust", "MUG-01", "+10", "--reason", "found")[0] == 0
    return run


def counts(path: Path, units: int) -> Path:
    path.write_text(f"sku,units,counted_at\nMUG-01,{units},{datetime.now(UTC).isoformat()}\n")
    return path


def test_books_that_agree_exit_with_0(shop: Run) -> None:
    assert shop("stock", "reconcile")[0] == 0


def test_a_count_that_differs_exits_with_1_and_is_told(shop: Run, tmp_path: Path) -> None:
    code, printed = shop("stock", "reconcile", "--feed", counts(tmp_path / "c.csv", 7))

    assert code == 1
    assert "1 counts, 0 refused; 1 differences (1 new), 0 earlier ones cleared" in printed
    assert "a find, or a miscount" in printed


def test_json_has_the_figures_and_each_difference(shop: Run, tmp_path: Path) -> None:
    file = counts(tmp_path / "c.csv", 7)

    shop("stock", "reconcile", "--feed", file, "--json", "-o", tmp_path / "told.json")

    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["differences"], told["kinds"]) == (1, {"count": 1})
    [found] = told["found"]
    assert (found["sku"], found["difference"], found["done"]) == ("MUG-01", -3, "reported")


def test_csv_goes_to_standard_output(shop: Run, tmp_path: Path) -> None:
    _, printed = shop("stock", "reconcile", "--feed", counts(tmp_path / "c.csv", 7), "--csv")

    assert printed.startswith("sku,location,kind,order,expected,found,difference,at,cause,done")
    assert "MUG-01,main,count,,10,7,-3," in printed


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self._in = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._in = tag == "td"

    def handle_data(self, data: str) -> None:
        if self._in:
            self.cells.append(data)
            self._in = False


def test_the_page_holds_every_difference_and_no_markup_of_others(shop: Run, tmp_path: Path) -> None:
    file = counts(tmp_path / "<b>c.csv", 7)

    shop("stock", "reconcile", "--feed", file, "--html", "-o", tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text()
    read = Cells()
    read.feed(page)
    assert read.cells[:6] == ["MUG-01", "main", "count", "10", "7", "-3"]
    assert "&lt;b&gt;c.csv" in page
    assert "<b>" not in page


def test_the_policy_and_the_tolerance_can_be_given(shop: Run, tmp_path: Path) -> None:
    file = tmp_path / "counts.jsonl"
    count = {"sku": "MUG-01", "location": "attic", "units": 3, "counted_at": "2026-01-01"}
    file.write_text(json.dumps(count))

    shop("stock", "reconcile", "--feed", file, "--policy", "adjust", "--tolerance", 3)

    levels = json.loads(shop("stock", "show", "--json")[1])
    assert [(level["location"], level["on_hand"]) for level in levels] == [
        ("attic", 3), ("main", 10),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--csv", "--html"], "exclude each other"),
        (["--policy", "guess"], "is none of report, adjust, hold"),
        (["--feed", "nowhere.csv"], "can't be read"),
        (["--rejects", "r.csv"], "expected --feed too"),
        (["-o", "no/such/file", "--csv"], "can't be written"),
    ],
)
def test_what_can_not_be_is_refused(shop: Run, arguments: list[str], said: str) -> None:
    code, printed = shop("stock", "reconcile", *arguments)

    assert (code, said in printed) == (2, True), printed


def test_a_level_is_held_and_released_by_hand(shop: Run) -> None:
    held = json.loads(shop("stock", "hold", "MUG-01", "--json")[1])
    released = json.loads(shop("stock", "release", "MUG-01", "--json")[1])

    assert (held[0]["held"], held[0]["available"]) == (True, 0)
    assert (released[0]["held"], released[0]["available"]) == (False, 10)
    assert "requeue --reason sku_held --sku MUG-01" in shop("stock", "release", "MUG-01")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["NONE"], "there is no product 'NONE'"),
        (["MUG-01", "--location", "x"], "expected one where"),
    ],
)
def test_what_is_not_there_can_not_be_held(shop: Run, arguments: list[str], said: str) -> None:
    code, printed = shop("stock", "hold", *arguments)

    assert (code, said in printed) == (2, True)


def test_the_job_reads_the_folder_that_is_set_and_finds_a_problem_once(
    shop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drop").mkdir()
    file = counts(tmp_path / "drop" / "c.csv", 7)
    os.utime(file, (time.time() - 60,) * 2)
    monkeypatch.setenv("ORDERMILL_STOCK_FEED", str(tmp_path / "drop"))

    codes = [shop("jobs", "run", "reconcile-stock")[0] for _ in range(2)]

    assert codes == [1, 0]
    assert (tmp_path / "drop" / "done" / "c.csv").exists()


def test_a_feed_that_is_away_fails_the_job(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_STOCK_FEED", "http://u:secret@127.0.0.1:9/counts")

    code, printed = shop("jobs", "run", "reconcile-stock")

    assert code == 1
    assert "no answer: ConnectError" in printed
    assert "secret" not in printed
