"""Lets orders grow old, and has them archived: of those, nothing is on its way any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tests.chaos.crew import Crew
from tests.chaos.journal import Journal
from tests.chaos.records import Records

DAYS = 40
AT_ONCE = 20

#: The tables that tell when, and the columns that do.
_AGES = {"orders": ("id", ("accepted_at", "settled_at")), "events": ("order_id", ("at",))}


@dataclass(slots=True)
class Archivist:
    """`is_told` says whether an order's events up to a number are with all who follow: what is told of
    later isn't there any more once it is archived."""

    records: Records
    crew: Crew
    journal: Journal
    is_told: Callable[[int, int], bool]
    archived: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def archive(self) -> None:
        if not self._lock.acquire(blocking=False):
            return
        try:
            aged = self._age()
            done = self.crew.command("orders", "archive", "--older-than", f"{DAYS - 1}d")
            self.journal.write("archive", ids=aged, code=done.returncode)
            known = {order["id"]: order for order in self.journal.of("order")}
            self.archived.extend(known[each] for each in aged if each in known)
        except DBAPIError:
            pass  # the database is away: they do so another day
        finally:
            self._lock.release()

    def _age(self) -> list[int]:
        """Set back when some orders ended, and all that happened to them."""
        with self.records.writing() as tx:
            chosen = [
                row.id
                for row in tx.execute(text(self._wanted))
                if self.is_told(row.id, row.version)
            ]
            for order_id in chosen[:AT_ONCE]:
                self._set_back(tx, order_id)
            return chosen[:AT_ONCE]

    @property
    def _wanted(self) -> str:
        """Those that are over and were shipped whole, if anything was to be shipped; locked."""
        locked = "" if self.records.is_sqlite else "FOR UPDATE OF orders SKIP LOCKED"
        return f"""
            SELECT id, version FROM orders
            WHERE settled_at IS NOT NULL AND status IN ('confirmed', 'cancelled', 'rejected')
              AND NOT EXISTS (SELECT 1 FROM reservations r WHERE r.order_id = orders.id)
              AND NOT EXISTS (SELECT 1 FROM payment_tasks t WHERE t.order_id = orders.id)
            ORDER BY id LIMIT 200 {locked}
        """  # nothing of it is given

    def _set_back(self, tx: Connection, order_id: int) -> None:
        for table, (key, columns) in _AGES.items():
            changes = ", ".join(f"{column} = {self._earlier(column)}" for column in columns)
            tx.execute(text(f"UPDATE {table} SET {changes} WHERE {key} = :id"), {"id": order_id})

    def _earlier(self, column: str) -> str:
        if self.records.is_sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{DAYS} days')"
        return f"{column} - interval '{DAYS} days'"
