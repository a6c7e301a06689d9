"""A standby that takes over may lack what the primary wrote last, though the gateway did what it asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import operations
from pipeline.payments.sandbox import SandboxGateway
from pipeline.storage.database import Database
from tests.support import Mill, an_order


@pytest.fixture
def gateway() -> SandboxGateway:
    return SandboxGateway(None)


@pytest.fixture
def copy(sqlite_database: Database, tmp_path: Path) -> Iterator[Any]:
    """Makes a copy of the database as it is now: a standby that receives nothing more."""
    opened = []

    def make() -> Database:
        path = tmp_path / f"standby-{len(opened)}.db"
        with sqlite_database.engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            raw.execute(f"VACUUM INTO '{path}'")
        opened.append(Database(f"sqlite:///{path}"))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def done(gateway: SandboxGateway) -> Counter[str]:
    return Counter(line.kind for line in gateway.book())


def test_an_order_is_charged_once_though_nobody_knows_of_it(
    sqlite_database: Database, copy: Any, gateway: SandboxGateway
) -> None:
    before = Mill(sqlite_database, gateway=gateway, serves=["validate", "price"]).stocked()
    order = before.accept()
    before.turn()
    standby = Mill(copy(), gateway=gateway)

    Mill(sqlite_database, gateway=gateway).turn()
    standby.expire_leases()
    standby.turn()

    assert standby.status(order) == "confirmed"
    assert done(gateway) == {"authorize": 1, "capture": 1}


def test_an_order_that_was_lost_and_is_sent_again_is_charged_once(
    sqlite_database: Database, copy: Any, gateway: SandboxGateway
) -> None:
    shop = Mill(sqlite_database, gateway=gateway).stocked()
    standby = Mill(copy(), gateway=gateway)
    order = an_order()

    shop.send(order)
    shop.turn()
    standby.accept()  # another order takes the number that the lost one had
    standby.send(order)
    standby.turn()

    assert standby.query("SELECT status FROM orders") == [("confirmed",)] * 2
    assert done(gateway) == {"authorize": 2, "capture": 2}


def test_money_goes_back_once(
    sqlite_database: Database, copy: Any, gateway: SandboxGateway
) -> None:
    shop = Mill(sqlite_database, gateway=gateway).stocked()
    order = shop.accept()
    shop.turn()
    standby = Mill(copy(), gateway=gateway)

    for each in (shop, standby):
        with each.database.transaction() as tx:
            operations.cancel(tx, order, "ada")
        each.turn()

    assert (shop.status(order), standby.status(order)) == ("cancelled", "cancelled")
    assert done(gateway) == {"authorize": 1, "capture": 1, "refund": 1}


def test_shops_that_call_their_orders_alike_are_told_apart(
    sqlite_database: Database, postgres_database: Database, gateway: SandboxGateway
) -> None:
    order = an_order()

    for database in (sqlite_database, postgres_database):
        shop = Mill(database, gateway=gateway).stocked()
        shop.send(order)
        shop.turn()

    assert done(gateway) == {"authorize": 2, "capture": 2}
