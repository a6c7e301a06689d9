"""alert-dead-webhooks tells of each once; forget-deliveries keeps a month."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from pipeline.errors import DeliveryFailed
from pipeline.notifications.deliver import Courier
from pipeline.notifications.email import FileMailbox
from pipeline.notifications.message import Failed
from pipeline.settings import Settings
from pipeline.storage import webhook_deliveries, webhooks
from pipeline.storage.sql import now
from pipeline.storage.tables import webhook_deliveries as table
from pipeline.webhooks import endpoints
from pipeline.webhooks.endpoints import Webhooks
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import Allowed
from scheduler.jobs import forget_deliveries as forgetting
from scheduler.jobs.alert_dead_webhooks import alert_dead_webhooks
from scheduler.jobs.forget_deliveries import forget_deliveries
from tests.support import Inbox, Mill

DAY = 86_400.0


@pytest.fixture
def shop(mill: Callable[..., Mill]) -> Mill:
    return mill()


def hook(shop: Mill) -> str:
    hooks = Webhooks(Signer("master"), Allowed())
    with shop.database.transaction() as tx:
        url = "https://shop.example/hooks?token=hunter2"
        return hooks.create(tx, shop.source.id, url, "test").id


def found_dead(shop: Mill) -> str:
    endpoint = hook(shop)
    with shop.database.transaction() as tx:
        webhooks.disable(tx, endpoint, webhooks.OURSELVES, "nothing got there for 3 days")
    return endpoint


def run(shop: Mill, sender: Any, to: str = "ada@example.com") -> dict[str, Any]:
    settings = Settings(_env_file=None, alerts_to=to)
    app: Any = SimpleNamespace(
        database=shop.database, settings=settings, courier=Courier(sender, sender)
    )
    return alert_dead_webhooks(app)


def test_an_endpoint_that_was_found_dead_is_told_of_once(shop: Mill) -> None:
    endpoint, inbox = found_dead(shop), Inbox()

    assert [run(shop, inbox)["new"] for _ in range(2)] == [1, 0]

    [mail] = inbox.received
    assert mail.payload["endpoints"] == [
        {"id": endpoint, "source": "shop", "host": "shop.example",
         "why": "nothing got there for 3 days"}
    ]  # fmt: skip


def test_one_that_a_person_disabled_is_not_told_of(shop: Mill) -> None:
    endpoint = hook(shop)
    with shop.database.transaction() as tx:
        endpoints.disable(tx, endpoint, "ada")

    assert run(shop, Inbox()) == {"new": 0}


def test_one_that_dies_again_is_told_of_again(shop: Mill) -> None:
    endpoint, inbox = found_dead(shop), Inbox()
    run(shop, inbox)
    with shop.database.transaction() as tx:
        endpoints.enable(tx, endpoint)
        webhooks.disable(tx, endpoint, webhooks.OURSELVES, "it answered 410 Gone")

    assert run(shop, inbox) == {"new": 1}


def test_while_somebody_is_not_told_all_are_told_again(shop: Mill) -> None:
    class Away(Inbox):
        def send(self, notifications: Any) -> Any:
            return iter([Failed("nobody there")] * len(notifications))

    found_dead(shop)
    with pytest.raises(DeliveryFailed, match=r"ada@example\.com: nobody there"):
        run(shop, Away())

    assert run(shop, Inbox()) == {"new": 1}


def test_where_nobody_is_to_be_told_the_log_has_it(
    shop: Mill, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = found_dead(shop)

    run(shop, Inbox(), to="")

    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert endpoint in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_the_mail_can_be_made(shop: Mill, tmp_path: Any) -> None:
    endpoint = found_dead(shop)

    run(shop, FileMailbox(tmp_path / "mail"))

    [mail] = (tmp_path / "mail").iterdir()
    assert endpoint in mail.read_text()


def test_a_month_of_deliveries_is_kept(shop: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MOST", 2)
    endpoint = hook(shop)
    with shop.database.transaction() as tx:
        made = [webhook_deliveries.add_test(tx, endpoint, "webhook.test") for _ in range(6)]
        old = table.c.id.in_(made[:5])
        tx.execute(update(table).where(old).values(due_at=now(-31 * DAY)))
        tx.execute(update(table).where(table.c.id == made[5]).values(due_at=now(-29 * DAY)))

    app: Any = SimpleNamespace(database=shop.database)

    assert forget_deliveries(app) == {"forgotten": 5}
    with shop.database.snapshot() as tx:
        assert [d["id"] for d in webhook_deliveries.page(tx, endpoint)] == [made[5]]
