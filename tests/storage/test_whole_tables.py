"""What compares whole tables takes seconds among millions, whatever Postgres expects to find in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from pipeline.audit.audit import audit
from pipeline.stock_reconciliation.reconcile import Plan, reconcile
from pipeline.storage.database import whole_tables
from tests.support import Mill

pytestmark = pytest.mark.parametrize("database", ["postgres"], indirect=True)
MakeMill = Callable[..., Mill]


@pytest.mark.parametrize(
    "compare",
    [
        lambda shop: audit(shop.database, shop.gateways),
        lambda shop: reconcile(shop.database, Plan()),
    ],
    ids=["audit", "reconciliation"],
)
def test_no_line_is_looked_up_for_an_order(
    mill: MakeMill, compare: Callable[[Mill], object]
) -> None:
    shop = mill().stocked()
    seen: list[str] = []

    def asked(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "order_lines" in statement and "cancelled_lines" in statement:
            with connection.connection.cursor() as another:
                seen.append(another.execute("SHOW enable_nestloop").fetchone()[0])

    event.listen(shop.database.engine, "before_cursor_execute", asked)
    compare(shop)

    assert seen
    assert set(seen) == {"off"}


def test_it_is_over_when_they_are_compared(mill: MakeMill) -> None:
    with mill().database.snapshot() as tx:
        with whole_tables(tx):
            meanwhile = tx.exec_driver_sql("SHOW enable_nestloop").scalar_one()
        afterwards = tx.exec_driver_sql("SHOW enable_nestloop").scalar_one()

    assert (meanwhile, afterwards) == ("off", "on")
