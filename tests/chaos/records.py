"""The database as it is, in plain SQL: what the verdict and the gauges read, and nothing of ours between."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from sqlalchemy.engine import Engine

BUSY_SECONDS = 30

Row = dict[str, Any]


class Records:
    """A database by its URL, Postgres or SQLite."""

    def __init__(self, url: str) -> None:
        made = make_url(url)
        self.is_sqlite = made.get_backend_name() == "sqlite"
        driver = "sqlite" if self.is_sqlite else "postgresql+psycopg"
        arguments: dict[str, Any] = (
            {"timeout": BUSY_SECONDS, "isolation_level": None} if self.is_sqlite else {}
        )
        self._engine: Engine = create_engine(
            made.set(drivername=driver), poolclass=NullPool, connect_args=arguments
        )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction; on SQLite it has the file's lock from the start."""
        with self._engine.begin() as tx:
            if self.is_sqlite:
                tx.exec_driver_sql("BEGIN IMMEDIATE")
            yield tx

    def rows(self, sql: str) -> list[Row]:
        with self._engine.connect() as tx:
            return [dict(row._mapping) for row in tx.execute(text(sql))]

    def number(self, sql: str) -> int:
        with self._engine.connect() as tx:
            return int(tx.execute(text(sql)).scalar_one() or 0)

    def snapshot(self) -> Snapshot:
        """All that the verdict asks about, as of one moment."""
        engine = self._engine
        if not self.is_sqlite:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as tx:
            if self.is_sqlite:
                tx.exec_driver_sql("BEGIN")
            found = {
                name: [dict(row._mapping) for row in tx.execute(text(sql))]
                for name, sql in _READ.items()
            }
        return Snapshot(**found)


_READ = {
    "live": "SELECT o.*, s.name AS source FROM orders o JOIN sources s ON s.id = o.source_id",
    "archived": "SELECT a.*, s.name AS source FROM archived_orders a "
    "JOIN sources s ON s.id = a.source_id",
    "live_events": "SELECT * FROM events ORDER BY order_id, seq",
    "operations": "SELECT * FROM payment_operations ORDER BY order_id, at",
    "tasks": "SELECT * FROM payment_tasks",
    "dispatches": "SELECT * FROM dispatches",
    "levels": "SELECT * FROM stock_levels",
    "movements": "SELECT * FROM stock_movements ORDER BY id",
    "reservations": "SELECT * FROM reservations",
    "backorders": "SELECT * FROM backorders",
    "shipments": "SELECT * FROM shipments",
    "shipped": "SELECT * FROM shipment_lines",
    "cancelled_lines": "SELECT * FROM cancelled_lines",
    "redemptions": "SELECT * FROM coupon_redemptions",
    "uses": "SELECT * FROM coupon_uses",
    "deliveries": "SELECT * FROM webhook_deliveries",
    "quotes": "SELECT * FROM quotes",
}


@dataclass(slots=True)
class Snapshot:
    """Every row there is of these tables. `orders` and `events` have those of the archive, too."""

    live: list[Row]
    archived: list[Row]
    live_events: list[Row]
    operations: list[Row]
    tasks: list[Row]
    dispatches: list[Row]
    levels: list[Row]
    movements: list[Row]
    reservations: list[Row]
    backorders: list[Row]
    shipments: list[Row]
    shipped: list[Row]
    cancelled_lines: list[Row]
    redemptions: list[Row]
    uses: list[Row]
    deliveries: list[Row]
    quotes: list[Row]
    orders: dict[int, Row] = field(init=False, default_factory=dict)
    events: dict[int, list[Row]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        events = defaultdict(list)
        for row in self.live_events:
            events[row["order_id"]].append(row)
        self.orders = {row["id"]: row for row in self.live}
        for row in self.archived:
            body = json.loads(row["body"])
            if row["id"] in self.orders or row["id"] in events:
                raise AssertionError(f"order {row['id']} is live, and in the archive")
            self.orders[row["id"]] = {**body["orders"][0], "source": row["source"]}
            events[row["id"]] = sorted(body["events"], key=lambda each: each["seq"])
            self.quotes.extend(body["quotes"] or ())  # of none Postgres makes a null
        self.events = dict(events)
