"""The commands and the job that show our books beside the gateways'."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from ordermill.main import app
from pipeline.assembly import Application, assemble
from pipeline.errors import GatewayAway, InvalidInput
from pipeline.payments import settlement_report, window
from pipeline.payments.gateway import BookEntry
from pipeline.payments.sandbox import SandboxGateway
from pipeline.payments.settlement import settle
from pipeline.settings import Settings
from pipeline.storage.database import Database
from scheduler.jobs.reconcile_payments import reconcile_payments
from tests.support import Mill

NOW = ["--under-way", "0"]


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # no .env of another's
    monkeypatch.setenv("ORDERMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORDERMILL_DATABASE_URL", "")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def shop(home: Path, sqlite_template: Path) -> Iterator[Mill]:
    """A home in which three orders were paid, 20.00 EUR each."""
    (home / "ordermill.db").write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{home / 'ordermill.db'}")
    mill = Mill(database, gateway=SandboxGateway(home / "sandbox-gateway.db")).stocked()
    for _ in range(3):
        mill.accept()
    mill.turn()
    yield mill
    database.close()


def alter(shop: Mill, statement: str) -> None:
    with shop.database.transaction() as tx:
        tx.execute(text(statement))


def plant_a_cent(shop: Mill) -> None:
    """In what we say was captured of order 2."""
    alter(
        shop,
        "UPDATE payment_operations SET amount = amount + 1 "
        "WHERE order_id = 2 AND kind = 'capture' AND state = 'succeeded'",
    )


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["payments", *arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


# --- reconcile ------------------------------------------------------------------------------------


def test_books_that_agree_have_no_differences(shop: Mill) -> None:
    result = run("reconcile", *NOW)

    assert result.exit_code == 0
    assert result.stdout == "No differences.\n"
    assert "sandbox, " in result.stderr
    assert "6 operations here, 6 there, 0 differences (0 new)" in result.stderr


def test_a_difference_is_told_with_its_order_and_makes_the_exit_code_1(shop: Mill) -> None:
    plant_a_cent(shop)

    result = run("reconcile", *NOW, "--json")

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["runs"][0]["differences"] == {"amount": 1}
    [difference] = told["differences"]
    assert (difference["kind"], difference["order_id"]) == ("amount", 2)
    assert difference["ours"] == "capture 20.01 EUR"
    assert difference["theirs"] == "capture 20.00 EUR"


def test_all_differences_go_into_the_csv_file(shop: Mill, tmp_path: Path) -> None:
    plant_a_cent(shop)
    alter(shop, "UPDATE payment_operations SET currency = 'USD' WHERE order_id = 3")

    result = run("reconcile", *NOW, "--gateway", "sandbox", "--csv", str(tmp_path / "d.csv"))

    rows = list(csv.DictReader((tmp_path / "d.csv").open()))
    assert result.exit_code == 1
    assert sorted((row["kind"], row["order_id"]) for row in rows) == [
        ("amount", "2"),
        ("currency", "3"),
        ("currency", "3"),
    ]


def test_what_is_younger_than_an_hour_is_not_judged_unless_told_to(shop: Mill) -> None:
    plant_a_cent(shop)

    assert run("reconcile").exit_code == 0
    assert run("reconcile", *NOW).exit_code == 1


def test_only_the_window_is_looked_at(shop: Mill) -> None:
    plant_a_cent(shop)
    yesterday = str(today() - timedelta(days=1))

    result = run("reconcile", *NOW, "--since", yesterday, "--until", str(today()), "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"][0]["operations"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gateway", "manual"], "there is no gateway 'manual' with a list of its own"),
        (["--gateway", "strype"], "there is no gateway 'strype'"),
        (["--since", "yesterday"], "'yesterday' is no time; expected 2026-11-22"),
        (["--since", "2999-01-01", "--until", "2999-01-02"], "nothing to compare from 2999-01-01"),
    ],
)
def test_wrong_use_of_reconcile_is_told(shop: Mill, arguments: list[str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        run("reconcile", *arguments)


# --- settlement -----------------------------------------------------------------------------------


def test_the_settlement_of_today(shop: Mill) -> None:
    result = run("settlement", "--day", str(today()), "--json")

    told = json.loads(result.stdout)
    figures = {row["figure"]: row for row in told["figures"]}
    assert result.exit_code == 0
    assert told["is_explained"] is True
    assert figures["captured"] == {
        "gateway": "sandbox",
        "currency": "EUR",
        "figure": "captured",
        "count": 3,
        "amount": "60.00",
        "gateway_count": 3,
        "gateway_amount": "60.00",
        "difference": "0.00",
        "at_edges": "0.00",
    }
    fees = sum(entry.fee or 0 for entry in shop.gateway.book())
    assert figures["fees"]["gateway_amount"] == f"{fees / 100:.2f}"
    assert figures["net"]["amount"] == f"{(6000 - fees) / 100:.2f}"


def test_a_difference_in_the_settlement_makes_the_exit_code_1(shop: Mill) -> None:
    plant_a_cent(shop)

    result = run("settlement", "--day", str(today()))

    assert result.exit_code == 1
    assert "60.01" in result.stdout


def test_a_day_without_trade_is_told_so(shop: Mill, tmp_path: Path) -> None:
    page, table = tmp_path / "page.html", tmp_path / "table.csv"

    result = run("settlement", "--html", str(page), "--csv", str(table))

    assert (result.exit_code, result.stdout) == (0, "No money moved, and none is open.\n")
    assert "No money moved, and none is open." in page.read_text()
    assert table.read_text().splitlines() == [",".join(settlement_report.COLUMNS)]


def test_the_csv_file_has_a_line_a_figure(shop: Mill, tmp_path: Path) -> None:
    run("settlement", "--day", str(today()), "--csv", str(tmp_path / "s.csv"))

    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [row["figure"] for row in rows] == [
        "captured", "refunded", "disputes lost", "fees", "net", "disputes open", "authorized, open",
    ]  # fmt: skip
    assert rows[0]["amount"] == "60.00"


class Page(HTMLParser):
    """What a page shows, and what it would fetch."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_stands_alone_and_knows_the_dark(shop: Mill, tmp_path: Path) -> None:
    run("settlement", "--day", str(today()), "--html", str(tmp_path / "s.html"))

    content = (tmp_path / "s.html").read_text()
    page = Page(content)
    assert "sandbox, EUR" in page.text
    assert page.text.count("60.00") == 2  # ours and theirs
    assert f"{today()} 00:00 to {today() + timedelta(days=1)} 00:00, UTC" in page.text
    assert page.fetched == []
    assert "script" not in page.tags
    assert "url(" not in content
    assert "prefers-color-scheme: dark" in content


def test_what_stands_in_rows_is_escaped_on_the_page(shop: Mill) -> None:
    alter(shop, "UPDATE payment_operations SET gateway = '<b>&'")

    made = settle(shop.database, shop.gateways, *window.day(str(today())))

    content = settlement_report.page(made, UTC)
    assert "<b>" not in content
    assert "<b>&, EUR" in Page(content).text


def test_a_gateway_that_is_gone_is_told_of_without_a_comparison(shop: Mill) -> None:
    alter(shop, "UPDATE payment_operations SET gateway = 'acquired' WHERE order_id = 1")
    shop.gateway = SandboxGateway(None)

    made = settle(shop.database, {}, *window.day(str(today())))

    of_it = next(a for a in made.accounts if a.gateway == "acquired")
    assert (of_it.captured.ours.amount, of_it.captured.theirs) == (2000, None)
    assert made.is_explained


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--day", "2026-13-01"], "'2026-13-01' is no day"),
        (["--day", "2026-11-01", "--since", "2026-11-01"], "exclude each other"),
        (["--since", "2026-11-01"], "belong together"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], "is not before"),
        (["--timezone", "Mars/Phobos"], "there is no time zone 'Mars/Phobos'"),
        (["--gateway", "strype"], "there is no gateway 'strype'"),
    ],
)
def test_wrong_use_of_settlement_is_told(shop: Mill, arguments: list[str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        run("settlement", *arguments)


# --- Windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-11-22", "UTC", 24),
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-10-25", "UTC", 24),
    ],
)
def test_a_day_is_as_long_as_it_is_where_it_is(day: str, zone: str, hours: int) -> None:
    since, until = window.day(day, window.zone(zone))

    assert until - since == timedelta(hours=hours)
    assert since.tzinfo is UTC
    assert since.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") == f"{day} 00:00"


@pytest.mark.parametrize(
    ("written", "zone", "utc"),
    [
        ("2026-11-22", "UTC", "2026-11-22T00:00"),
        ("2026-11-22T10:30", "Europe/Berlin", "2026-11-22T09:30"),
        ("2026-11-22T10:30Z", "Europe/Berlin", "2026-11-22T10:30"),
        ("2026-11-22T10:30+05:00", "UTC", "2026-11-22T05:30"),
    ],
)
def test_a_moment_without_an_offset_is_meant_in_the_zone(written: str, zone: str, utc: str) -> None:
    assert window.moment(written, window.zone(zone)).isoformat().startswith(utc)


# --- The job --------------------------------------------------------------------------------------


class Gateway(SandboxGateway):
    """A sandbox that was there weeks ago, whose list is short of a cent, or can't be read."""

    def __init__(self, book: Path) -> None:
        super().__init__(book)
        self.age = timedelta()
        self.falsify: dict[str, Any] = {}
        self.is_away = False
        self.windows: list[tuple[datetime, datetime]] = []

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        assert since is not None
        assert until is not None
        self.windows.append((since, until))
        if self.is_away:
            raise GatewayAway("the sandbox's book can't be read")
        for entry in super().book():
            assert entry.at is not None
            if since <= entry.at - self.age < until:
                yield replace(entry, at=entry.at - self.age, **self.falsify.get(entry.kind, {}))


@pytest.fixture
def gateway(home: Path) -> Gateway:
    return Gateway(home / "sandbox-gateway.db")


@pytest.fixture
def application(shop: Mill, home: Path, gateway: Gateway) -> Iterator[Application]:
    settings = Settings(_env_file=None, home=home)
    opened = assemble(settings, shop, gateways={**shop.gateways, "sandbox": gateway})
    yield opened
    opened.close()


def age(shop: Mill, gateway: Gateway, by: timedelta) -> None:
    """As if all of it had happened so long ago."""
    gateway.age = by
    alter(shop, f"UPDATE payment_operations SET at = '{_written(datetime.now(UTC) - by)}'")
    for entry in SandboxGateway.book(gateway):
        assert entry.at is not None
        at = _written(entry.at - by)
        alter(shop, f"UPDATE payment_differences SET at = '{at}' WHERE key = '{entry.key}'")


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def test_the_job_compares_the_last_two_days_until_an_hour_ago(
    shop: Mill, application: Application, gateway: Gateway
) -> None:
    age(shop, gateway, timedelta(hours=5))

    told = reconcile_payments(application)

    [(since, until)] = gateway.windows
    assert told == {"sandbox": {"differences": 0, "new": 0, "cleared": 0}}
    assert round((until - since) / timedelta(minutes=1)) == 2 * 24 * 60 + 2 * 15
    assert timedelta(minutes=44) < datetime.now(UTC) - until < timedelta(minutes=46)


def test_a_difference_is_looked_at_again_until_it_is_cleared(
    shop: Mill, application: Application, gateway: Gateway
) -> None:
    age(shop, gateway, timedelta(hours=40))
    gateway.falsify = {"capture": {"amount": 1999}}
    first = reconcile_payments(application)
    age(shop, gateway, timedelta(days=9))

    second = reconcile_payments(application)
    gateway.falsify = {}
    third = reconcile_payments(application)

    assert [told["sandbox"]["differences"] for told in (first, second, third)] == [3, 3, 0]
    assert [told["sandbox"]["new"] for told in (first, second, third)] == [3, 0, 0]
    assert third["sandbox"]["cleared"] == 3


def test_no_difference_is_looked_at_for_ever(
    shop: Mill, application: Application, gateway: Gateway
) -> None:
    age(shop, gateway, timedelta(hours=40))
    gateway.falsify = {"capture": {"amount": 1999}}
    reconcile_payments(application)
    alter(shop, "UPDATE payment_differences SET at = '2001-01-01 00:00:00.000000'")
    gateway.windows.clear()

    reconcile_payments(application)

    since = min(since for since, _ in gateway.windows)
    assert timedelta(days=29) < datetime.now(UTC) - since < timedelta(days=31)


def test_a_gateway_that_is_away_fails_the_job_after_the_others_were_compared(
    shop: Mill, application: Application, gateway: Gateway, home: Path
) -> None:
    other = Gateway(home / "other-book.db")
    other.name = "stripe"
    gateway.is_away = True
    application.gateways["stripe"] = other  # type: ignore[index]

    with pytest.raises(GatewayAway, match=r"sandbox: the sandbox's book can't be read; .*stripe"):
        reconcile_payments(application)

    assert len(other.windows) == 1
