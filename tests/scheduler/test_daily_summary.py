"""daily-summary: what yesterday brought, by source; to whom it is mailed and posted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from pipeline import operations
from pipeline.errors import DeliveryFailed
from pipeline.notifications import broadcast as module
from pipeline.notifications.deliver import Courier
from pipeline.notifications.email import FileMailbox
from pipeline.notifications.message import Failed, Notification
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import clock
from scheduler.jobs.daily_summary import daily_summary
from tests.support import Inbox, Mill

MakeMill = Callable[..., Mill]
DAY = timedelta(days=1)


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    """Yesterday: two orders confirmed, one of them refunded in part, one rejected, one held; and
    one of the day before. Nothing at the other source."""
    shop = mill(policy=Policy(hold_over={"EUR": 10_000})).stocked()
    shop.another_source("quiet", Policy())
    old = shop.accept()
    shop.turn()
    shift(shop, 1)
    good = [shop.accept() for _ in range(2)]
    shop.accept(lines=[("NO-SUCH", 1)])
    shop.accept(lines=[("TEE-01", 10)])
    shop.turn()
    refund(shop, good[0])
    shift(shop, 1)
    assert shop.status(old) == "confirmed"
    return shop


def refund(shop: Mill, order: int) -> None:
    with shop.database.transaction() as tx:
        operations.refund(tx, order, "ada", amount=500)
    shop.payment_tasks.run()


def shift(shop: Mill, days: int) -> None:
    """As if all that is there had happened so many days earlier."""
    columns = {
        "orders": ("accepted_at", "settled_at"),
        "payment_operations": ("at",),
    }
    with shop.database.transaction() as tx:
        for table, names in columns.items():
            for name in names:
                shifted = (
                    f"strftime('%Y-%m-%d %H:%M:%f000', {name}, '-{days} days')"
                    if shop.database.is_sqlite
                    else f"{name} - INTERVAL '{days} days'"
                )
                tx.execute(text(f"UPDATE {table} SET {name} = {shifted}"))


def application(shop: Mill, courier: Courier | None = None, **settings: Any) -> Any:
    return SimpleNamespace(
        database=shop.database,
        courier=courier or Courier(Inbox(), Inbox()),
        settings=Settings(_env_file=None, **settings),
    )


def test_it_tells_what_came_in_how_it_ended_and_what_moved(shop: Mill) -> None:
    with shop.database.snapshot() as tx:
        yesterday = clock.read(tx) - DAY

    told = daily_summary(application(shop))

    quiet, busy = told["sources"]
    oldest = busy["on_hold"]["amount_over_limit"].pop("oldest")
    assert (told["day"], told["orders"], told["on_hold"]) == (f"{yesterday:%Y-%m-%d}", 4, 1)
    assert busy == {
        "name": "shop", "orders": 4, "confirmed": 2, "rejected": {"unknown_sku": 1},
        "cancelled": {}, "on_hold": {"amount_over_limit": {"orders": 1}},
        "captured": {"EUR": "40.00"}, "refunded": {"EUR": "5.00"},
    }  # fmt: skip
    assert oldest.startswith(f"{yesterday:%Y-%m-%d}")
    assert quiet == {
        "name": "quiet", "orders": 0, "confirmed": 0, "rejected": {}, "cancelled": {},
        "on_hold": {}, "captured": {}, "refunded": {},
    }  # fmt: skip


def test_what_is_on_hold_for_long_is_told_every_day(shop: Mill) -> None:
    shift(shop, 30)

    told = daily_summary(application(shop))

    assert (told["orders"], told["on_hold"]) == (0, 1)


def test_it_is_mailed_to_whoever_is_to_have_it(shop: Mill, tmp_path: Path) -> None:
    courier = Courier(FileMailbox(tmp_path / "mail"), Inbox())

    daily_summary(application(shop, courier, summary_to="ada@example.com, bob@example.com"))

    files = (tmp_path / "mail").iterdir()
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    assert {mail["To"] for mail in mails} == {"ada@example.com", "bob@example.com"}
    assert mails[0]["Subject"].endswith(", 4 orders in, 1 on hold")
    for kind in ("plain", "html"):
        body = mails[0].get_body([kind])
        assert body is not None
        assert "40.00 EUR" in body.get_content()
        assert "amount_over_limit" in body.get_content()


def test_it_is_posted_where_that_is_set(shop: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[dict[str, str]] = []

    class Service:
        def notify(self, **what: str) -> bool:
            posted.append(what)
            return True

    monkeypatch.setattr(module, "open_apprise", lambda urls, setting: Service())

    daily_summary(application(shop, summary_urls="json://localhost/summary"))

    [post] = posted
    assert post["title"].startswith("Ordermill: ")
    assert "confirmed  2" in post["body"]


def test_without_either_its_result_is_all(shop: Mill) -> None:
    inbox = Inbox()

    told = daily_summary(application(shop, Courier(inbox, inbox)))

    assert told["orders"] == 4
    assert inbox.received == []


def test_what_does_not_arrive_is_a_failure_that_names_who_has_not_got_it(shop: Mill) -> None:
    class Away(Inbox):
        def send(self, notifications: Sequence[Notification]) -> Any:
            return iter([Failed("nobody there")] * len(notifications))

    app = application(shop, Courier(Away(), Away()), summary_to="ada@example.com")

    with pytest.raises(DeliveryFailed, match=r"ada@example\.com: nobody there"):
        daily_summary(app)


def test_a_post_that_fails_is_a_failure_that_tells_no_url(
    shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def notify(self, **what: str) -> bool:
            return False

    monkeypatch.setattr(module, "open_apprise", lambda urls, setting: Away())

    with pytest.raises(DeliveryFailed) as failed:
        daily_summary(application(shop, summary_urls="json://user:password@localhost"))

    assert "ORDERMILL_SUMMARY_URLS" in str(failed.value)
    assert "password" not in str(failed.value)
