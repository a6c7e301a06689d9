"""A gateway that is away for a night, and 5,000 orders that wait for it: what is written meanwhile.

    python -m benchmarks.outage --hours 10

Each look begins when the one before is over, on a real Postgres. The rows that Postgres counted are
printed for each table. `--looks` makes fewer looks than the night has, and multiplies what they wrote.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from sqlalchemy import text

from benchmarks.servers import postgres
from pipeline.payments.gateway import Answer, Call, Unavailable
from pipeline.payments.sandbox import SandboxGateway
from pipeline.stages.payment_step import AWAY_LOOK
from pipeline.storage.database import Database
from tests.support import Mill, an_order

_WRITTEN = text("""
    SELECT relname AS name, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_del AS deleted
    FROM pg_stat_user_tables ORDER BY relname
""")


class Away(SandboxGateway):
    """Answers nothing until it is well again."""

    is_well = False

    def perform(self, call: Call) -> Answer:
        return super().perform(call) if self.is_well else Unavailable("connection refused")


def written(database: Database) -> dict[str, tuple[int, int, int]]:
    """By table: rows inserted, updated and deleted so far."""
    database.engine.dispose()  # a connection tells what it did when it ends, else now and then
    time.sleep(1.2)
    with database.engine.connect() as connection:
        found = connection.execute(_WRITTEN).all()
    return {r.name: (r.inserted, r.updated, r.deleted) for r in found}


def told(before: dict[str, Any], after: dict[str, Any], times: float) -> None:
    for name, counts in after.items():
        found = [round((b - a) * times) for a, b in zip(before[name], counts, strict=True)]
        if any(found):
            print(
                f"  {name:16} {found[0]:>12,} inserted {found[1]:>12,} updated {found[2]:>12,} deleted"
            )


def count(shop: Mill, kind: str) -> int:
    return int(shop.query("SELECT count(*) FROM events WHERE kind = :kind", kind=kind)[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--looks", type=int, help="fewer than the night has")
    asked = parser.parse_args()
    night = round(asked.hours * 3600 / AWAY_LOOK)
    looks = min(night, asked.looks or night)
    with postgres() as url:
        database = Database(url)
        database.upgrade()
        gateway = Away(None)
        shop = Mill(database, gateway=gateway).stocked(units=10 * asked.orders)
        for _ in range(asked.orders):
            shop.intake.accept(shop.source, an_order())
        shop.turn(impatient=False)
        before = written(database)
        began = time.monotonic()
        for _ in range(looks):
            shop.make_due()
            while shop.engine.work("pay"):
                pass
        took = (time.monotonic() - began) / looks
        print(f"{asked.orders:,} orders, {night:,} looks each ({looks:,} made, {took:.2f} s each):")
        told(before, written(database), night / looks)
        print(f"events that tell of it: {count(shop, 'retried'):,}")
        gateway.is_well = True
        shop.turn()
        print(
            f"confirmed afterwards: {len(shop.query('SELECT 1 FROM orders WHERE settled_at IS NOT NULL')):,}"
        )
        database.close()


if __name__ == "__main__":
    main()
