"""alert-low-stock: each product that has run low is told of once, until it has recovered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import stocktaking
from pipeline.errors import DeliveryFailed
from pipeline.notifications import broadcast
from pipeline.notifications.deliver import Courier
from pipeline.notifications.email import FileMailbox
from pipeline.notifications.message import Failed, Notification
from pipeline.settings import Settings
from pipeline.storage import catalogue
from scheduler.jobs import alert_low_stock as module
from scheduler.jobs.alert_low_stock import alert_low_stock
from tests.support import MUG, TEE, Inbox, Mill

MakeMill = Callable[..., Mill]


class Alerted:
    """A shop with ten of each; mugs are low at four."""

    def __init__(self, shop: Mill) -> None:
        self.shop = shop
        self.inbox = Inbox()
        self.point(4)

    def point(self, units: int | None) -> None:
        with self.shop.database.transaction() as tx:
            assert catalogue.set_reorder_point(tx, MUG, units)

    def move(self, units: int, location: str = "main") -> None:
        with self.shop.database.transaction() as tx:
            stocktaking.adjust(tx, (MUG, location), units, "why", "ada")

    def run(self, courier: Courier | None = None, **settings: str) -> dict[str, Any]:
        made = Settings(_env_file=None, **{"alerts_to": "ada@example.com", **settings})
        app: Any = SimpleNamespace(
            database=self.shop.database, settings=made,
            courier=courier or Courier(self.inbox, self.inbox),
        )  # fmt: skip
        return alert_low_stock(app)

    def told(self) -> list[list[str]]:
        """The SKUs of each mail."""
        return [[p["sku"] for p in mail.payload["products"]] for mail in self.inbox.received]


@pytest.fixture
def shop(mill: MakeMill) -> Alerted:
    return Alerted(mill().stocked(units=10))


def test_a_product_that_falls_to_its_reorder_point_is_told_of_once(shop: Alerted) -> None:
    results = [shop.run()]
    shop.move(-6)
    results += [shop.run(), shop.run()]
    shop.move(-1)
    results.append(shop.run())

    assert [(r["low"], r["new"]) for r in results] == [(0, 0), (1, 1), (1, 0), (1, 0)]
    assert shop.told() == [[MUG]]


def test_it_is_told_of_again_after_it_had_recovered(shop: Alerted) -> None:
    for units in (-6, 1, -1):
        shop.move(units)
        shop.run()

    assert shop.told() == [[MUG], [MUG]]


def test_what_is_available_elsewhere_counts_too(shop: Alerted) -> None:
    shop.move(3, "cellar")
    shop.move(-6)

    assert shop.run()["low"] == 0


def test_units_promised_to_orders_are_not_available(shop: Alerted) -> None:
    shop.shop.accept(lines=[(MUG, 6)])
    shop.shop.turn()

    assert shop.run()["new"] == 1


def test_without_a_reorder_point_nothing_is_low(shop: Alerted) -> None:
    shop.point(None)
    shop.move(-10)

    assert shop.run()["low"] == 0


def test_what_is_not_sold_is_not_low(shop: Alerted) -> None:
    shop.move(-6)
    with shop.shop.database.transaction() as tx:
        catalogue.put(tx, [catalogue.ProductIn(MUG, "Mug", False, False, {})])

    assert shop.run()["low"] == 0


def test_an_import_that_says_nothing_of_it_leaves_the_reorder_point(shop: Alerted) -> None:
    shop.move(-6)
    with shop.shop.database.transaction() as tx:
        goods = catalogue.ProductIn(TEE, "Tee", True, False, {}, reorder_point=10)
        catalogue.put(tx, [catalogue.ProductIn(MUG, "Mug", True, False, {}), goods])

    assert shop.run()["new"] == 2


def test_a_telling_that_fails_is_done_again(shop: Alerted) -> None:
    class Away(Inbox):
        def send(self, notifications: Sequence[Notification]) -> Any:
            return iter([Failed("nobody there")] * len(notifications))

    shop.move(-6)
    with pytest.raises(DeliveryFailed, match=r"ada@example\.com: nobody there"):
        shop.run(Courier(Away(), Away()))

    assert shop.run()["new"] == 1
    assert shop.told() == [[MUG]]


def test_it_is_told_again_if_we_die_before_that_is_written(
    shop: Alerted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    shop.move(-6)
    with monkeypatch.context() as patch:
        patch.setattr(module.stock_alerts, "tell", dying)
        with pytest.raises(KeyboardInterrupt):
            shop.run()

    shop.run()

    assert shop.told() == [[MUG], [MUG]]


def test_it_is_posted_where_that_is_set(shop: Alerted, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[dict[str, str]] = []

    class Service:
        def notify(self, **what: str) -> bool:
            posted.append(what)
            return True

    monkeypatch.setattr(broadcast, "open_apprise", lambda urls, setting: Service())
    shop.move(-6)

    shop.run(alerts="json://localhost/alerts", alerts_to="")

    [post] = posted
    assert post["title"] == "Ordermill: 1 product has run low"
    assert "MUG-01  Mug-01: 4 available, reorder at 4" in post["body"]


def test_the_mail_can_be_made(shop: Alerted, tmp_path: Any) -> None:
    shop.move(-6)

    shop.run(Courier(FileMailbox(tmp_path / "mail"), Inbox()))

    [mail] = (tmp_path / "mail").iterdir()
    assert "reorder at 4" in mail.read_text()
