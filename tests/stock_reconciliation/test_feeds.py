"""Where counts come from: a folder, each file once; a URL, each answer once; and in which words a
line, a file or a server is refused."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.errors import FeedAway, InvalidInput
from pipeline.intake.files.mapping import load
from pipeline.settings import Settings
from pipeline.stock_reconciliation import configured
from pipeline.stock_reconciliation.act import Plan
from pipeline.stock_reconciliation.configured import reconcile_configured
from pipeline.stock_reconciliation.counts import CountMapping
from pipeline.stock_reconciliation.download import download, name_of
from pipeline.stock_reconciliation.feeds import waiting
from pipeline.stock_reconciliation.reconcile import Reconciled, feed_of, reconcile
from tests.stock_reconciliation.support import HEADER, counted, differences, now, on_hand, run
from tests.support import MUG, TEE, Mill

MakeMill = Callable[..., Mill]


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    return mill().stocked(units=10)


def read(shop: Mill, tmp_path: Path, feed: object, **settings: Any) -> Reconciled:
    made = Settings(_env_file=None, home=tmp_path / "home", stock_feed=str(feed), **settings)
    return reconcile_configured(shop.database, made, Plan(made.stock_policy, made.stock_tolerance))


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def rejects(path: Path) -> list[tuple[str, ...]]:
    with path.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


# --- Lines ----------------------------------------------------------------------------------------


def test_a_bad_line_has_a_verdict_and_costs_itself_alone(shop: Mill, tmp_path: Path) -> None:
    then = now(shop)
    file = counted(
        tmp_path, (MUG, "main", 9, then), ("NONE", "main", 1, then), (TEE, "main", -1, then),
        (TEE, "main", 1, "yesterday"), (TEE, "main", 1, 20261123), (TEE, "main", 1, ""),
        (MUG, "main", 8, then), (TEE, "main", 1, then + timedelta(hours=1)),
    )  # fmt: skip
    feed = feed_of(file, rejects=tmp_path / "rejects.csv")

    found = reconcile(shop.database, Plan(), [feed])

    refused = rejects(tmp_path / "rejects.csv")
    assert sorted((line, field) for line, _, field, *_ in refused) == [
        ("3", "sku"), ("4", "units"), ("5", "counted_at"), ("6", "counted_at"), ("7", "counted_at"),
        ("8", "sku"), ("9", "counted_at"),
    ]  # fmt: skip
    assert (feed.tally.read, feed.tally.accepted, feed.tally.rejected) == (8, 1, 7)
    assert (found.total, found.is_clean) == (1, False)


def test_json_lines_do_and_the_location_is_main_where_none_is_told(
    shop: Mill, tmp_path: Path
) -> None:
    file = tmp_path / "counts.jsonl"
    file.write_text(f'{{"sku": "{MUG}", "units": 9, "counted_at": "{now(shop).isoformat()}"}}\n')

    run(shop, file)

    assert differences(shop) == [("count", MUG, "main", 10, 9)]


def test_a_mapping_says_which_column_is_which_field(shop: Mill, tmp_path: Path) -> None:
    file, mapping = tmp_path / "lager.csv", tmp_path / "lager.toml"
    file.write_text(f"Artikel;Bestand;Zeit\n {MUG.lower()} ;9.0;{now(shop).isoformat()}\n")
    mapping.write_text(
        '[csv]\ndelimiter = ";"\n[count]\n'
        'sku = { column = "Artikel", clean = ["strip", "upper"] }\n'
        'units = { column = "Bestand", clean = ["drop_decimal_zero"] }\n'
        'counted_at = { column = "Zeit" }\n'
    )

    reconcile(shop.database, Plan(), [feed_of(file, load(mapping, CountMapping))])

    assert differences(shop) == [("count", MUG, "main", 10, 9)]


def test_of_a_file_that_breaks_off_nothing_is_used(shop: Mill, tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(f"sku,units\n{MUG},9\n")

    found = run(shop, file, policy="adjust", tolerance=5)

    assert found.feeds[0].refused is not None
    assert "counted_at" in found.feeds[0].refused
    assert (found.is_clean, on_hand(shop, MUG)) == (False, 10)


# --- A folder -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "drop"
    made.mkdir()
    return made


def settled(path: Path) -> Path:
    """As if it had been there for a minute."""
    then = time.time() - 60
    os.utime(path, (then, then))
    return path


def test_a_file_is_read_once_and_moved_to_done(shop: Mill, folder: Path, tmp_path: Path) -> None:
    settled(counted(folder, (MUG, "main", 9, now(shop))))

    runs = [read(shop, tmp_path, folder) for _ in range(2)]

    assert [found.counts for found in runs] == [1, 0]
    assert names(folder) == {"done/counts.csv"}
    assert differences(shop) == [("count", MUG, "main", 10, 9)]


def test_the_same_counts_under_another_name_are_not_read_again(
    shop: Mill, folder: Path, tmp_path: Path
) -> None:
    first = settled(counted(folder, (MUG, "main", 9, now(shop))))
    settled(folder / first.rename(folder / "a.csv").name)
    content = (folder / "a.csv").read_bytes()
    read(shop, tmp_path, folder)
    (folder / "a.csv").write_bytes(content)
    settled(folder / "a.csv")

    found = read(shop, tmp_path, folder)

    assert found.counts == 0
    assert len(names(folder)) == 2
    assert all(name.startswith("done/") for name in names(folder))


def test_a_file_that_may_still_be_written_is_left_alone(folder: Path) -> None:
    for name in ("growing.csv", ".hidden.csv", "a.csv.part", "b.csv.TMP"):
        (folder / name).write_text(HEADER)
    for name in (".hidden.csv", "a.csv.part", "b.csv.TMP"):
        settled(folder / name)

    assert list(waiting(folder)) == []

    settled(folder / "growing.csv")
    assert [path.name for path in waiting(folder)] == ["growing.csv"]


def test_what_is_refused_of_a_file_lies_beside_it(shop: Mill, folder: Path, tmp_path: Path) -> None:
    settled(counted(folder, (MUG, "main", 9, now(shop)), ("NONE", "main", 1, now(shop))))

    read(shop, tmp_path, folder)

    assert names(folder) == {"done/counts.csv", "done/counts.csv.rejects.csv"}
    assert [row[:4] for row in rejects(folder / "done" / "counts.csv.rejects.csv")] == [
        ("3", "NONE", "sku", "NONE")
    ]


@pytest.mark.parametrize("content", [b"sku,units\nMUG-01,1\n", b"", b"\x1f\x8bbroken"])
def test_a_file_that_can_not_be_read_goes_to_refused_with_why(
    shop: Mill, folder: Path, tmp_path: Path, content: bytes
) -> None:
    (folder / "counts.csv").write_bytes(content)
    settled(folder / "counts.csv")

    read(shop, tmp_path, folder)

    assert names(folder) == {"refused/counts.csv", "refused/counts.csv.rejects.csv"}
    [(*_, why)] = rejects(folder / "refused" / "counts.csv.rejects.csv")
    assert why


def test_a_file_that_was_read_by_a_run_that_died_before_it_moved_it_is_moved(
    shop: Mill, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(counted(folder, (MUG, "attic", 3, now(shop))))

    def dying(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(configured, "put_away", dying)
        with pytest.raises(KeyboardInterrupt):
            read(shop, tmp_path, folder, stock_policy="adjust", stock_tolerance=5)

    found = read(shop, tmp_path, folder, stock_policy="adjust", stock_tolerance=5)

    assert (found.counts, on_hand(shop, MUG, "attic")) == (0, 3)
    assert names(folder) == {"done/counts.csv"}


def test_a_folder_that_is_not_there_is_named(shop: Mill, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"ORDERMILL_STOCK_FEED: .*nowhere can't be read"):
        read(shop, tmp_path, tmp_path / "nowhere")


# --- A URL ----------------------------------------------------------------------------------------


class Warehouse(BaseHTTPRequestHandler):
    """A server of counts, well or ill."""

    status: ClassVar[int] = 200
    kind: ClassVar[str] = "text/csv; charset=utf-8"
    body: ClassVar[bytes] = b""
    etag: ClassVar[str] = '"one"'
    pause: ClassVar[float] = 0.0
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("if-none-match"))
        if self.headers.get("if-none-match") == self.etag:
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(self.status)
        self.send_header("content-type", self.kind)
        self.send_header("etag", self.etag)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        for start in range(0, len(self.body), 10):
            time.sleep(self.pause)
            try:
                self.wfile.write(self.body[start : start + 10])
            except OSError:
                return

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def warehouse() -> Iterator[tuple[str, type[Warehouse]]]:
    class Fresh(Warehouse):
        asked: ClassVar[list[str | None]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/counts?key=k", Fresh
    server.shutdown()
    serving.join()
    server.server_close()


def body(shop: Mill, units: int) -> bytes:
    return f"{HEADER}\n{MUG},main,{units},{now(shop).isoformat()}\n".encode()


def test_an_answer_is_read_once_by_its_etag(
    shop: Mill, tmp_path: Path, warehouse: tuple[str, type[Warehouse]]
) -> None:
    url, server = warehouse
    server.body = body(shop, 9)

    runs = [read(shop, tmp_path, url) for _ in range(2)]
    server.body, server.etag = body(shop, 8), '"two"'
    runs.append(read(shop, tmp_path, url))

    assert [found.counts for found in runs] == [1, 0, 1]
    assert server.asked == [None, '"one"', '"one"']
    assert differences(shop) == [("count", MUG, "main", 10, 8)]
    assert names(tmp_path / "home" / "stock-feed") == set()
    assert [r.name for r in shop.query("SELECT DISTINCT name FROM stock_feeds")] == [
        "127.0.0.1/counts"
    ]


def test_the_same_counts_under_another_etag_are_read_once_too(
    shop: Mill, tmp_path: Path, warehouse: tuple[str, type[Warehouse]]
) -> None:
    url, server = warehouse
    server.body = body(shop, 9)
    read(shop, tmp_path, url)
    server.etag = '"two"'

    counts = [read(shop, tmp_path, url).counts for _ in range(2)]

    assert (counts, server.asked) == ([0, 0], [None, '"one"', '"two"'])


def test_an_answer_that_a_run_that_died_has_left_is_read_by_the_next(
    shop: Mill, tmp_path: Path, warehouse: tuple[str, type[Warehouse]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url, server = warehouse
    server.body = body(shop, 9)

    def dying(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(configured, "reconcile", dying)
        with pytest.raises(KeyboardInterrupt):
            read(shop, tmp_path, url)
    server.status = 500

    found = read(shop, tmp_path, url)

    assert (found.away is not None, found.counts) == (True, 0)
    server.status = 200
    assert read(shop, tmp_path, url).counts == 1


@pytest.mark.parametrize(
    ("ill", "limits", "said"),
    [
        ({"status": 500}, {}, "answered 500, expected 200"),
        ({"status": 302}, {}, "redirects are not followed, set the URL it leads to"),
        ({"kind": "text/html"}, {}, "content of type 'text/html', expected text/csv or"),
        ({"body": b"x" * 2_000}, {"most": 1_000}, "answered more than 1,000 bytes"),
        ({"body": b"x" * 100, "pause": 0.5}, {"silence": 0.1}, "no answer: ReadTimeout"),
        ({"body": b"x" * 2_000, "pause": 0.05}, {"patience": 0.2}, "not done with its answer in time"),
    ],
)  # fmt: skip
def test_a_server_that_is_ill_is_told_of_without_its_secrets(
    tmp_path: Path, warehouse: tuple[str, type[Warehouse]], ill: dict[str, Any],
    limits: dict[str, Any], said: str,
) -> None:  # fmt: skip
    url, server = warehouse
    for name, value in ill.items():
        setattr(server, name, value)

    with pytest.raises(FeedAway) as away:
        download(url, tmp_path, **limits)

    assert said in str(away.value)
    assert "secret" not in str(away.value)
    assert names(tmp_path) == set()


def test_a_server_that_is_not_there_holds_up_nothing_else(shop: Mill, tmp_path: Path) -> None:
    with shop.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE stock_levels SET on_hand = 11 WHERE sku = 'MUG-01'")

    found = read(shop, tmp_path, "http://127.0.0.1:9/counts")

    assert (found.total, found.away) == (1, "127.0.0.1/counts: no answer: ConnectError")
    assert name_of("https://u:p@x.example/a?key=k") == "x.example/a"
