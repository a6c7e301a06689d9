"""Payment operations are added by stages, tasks and what gateways tell, often of the same orders at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.payments.account import Operation
from pipeline.storage import payments
from pipeline.storage.database import Database
from tests.support import Mill, an_order

ORDERS, ROUNDS = 500, 10


def test_whoever_adds_the_same_in_another_order_waits_in_no_ring(
    postgres_database: Database,
) -> None:
    mill = Mill(postgres_database).stocked()
    documents = [an_order() for _ in range(ORDERS)]
    made = [r.order_id for r in mill.intake.accept_all(mill.source, documents) if r.order_id]
    assert len(made) == ORDERS

    def add(operations: Sequence[Operation]) -> None:
        with postgres_database.transaction() as tx:
            payments.add(tx, operations)

    for number in range(ROUNDS):
        told = [
            Operation(order, f"{order} {number}", "authorize", "requested", 100, "USD", "sandbox")
            for order in made
        ]
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(add, (told, told[::-1]))) == [None, None]

    with postgres_database.snapshot() as tx:
        assert {len(rows) for rows in payments.read(tx, made).values()} == {ROUNDS}
