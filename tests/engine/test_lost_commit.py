"""A commit whose answer is lost has happened; whoever waited for the answer can't know. Postgres only."""

from collections.abc import Iterator

import pytest

from pipeline.audit.audit import audit
from pipeline.intake.accept import Verdict
from pipeline.source import Policy
from pipeline.storage.database import Database
from tests.chaos.lossy_proxy import LossyProxy, lossy_proxy
from tests.support import Mill, an_order

#: The first is the claim's, then one record a stage: the batch is carried on.
COMMITS_OF_A_CHAIN = range(1, 7)


@pytest.fixture
def proxy(postgres_database: Database, postgres_url: str) -> Iterator[LossyProxy]:
    with lossy_proxy(postgres_url) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(proxy: LossyProxy) -> Iterator[Database]:
    database = Database(proxy.through)
    yield database
    database.close()


@pytest.mark.parametrize("chain", ["capture_first", "reserve_first"])
@pytest.mark.parametrize("number", COMMITS_OF_A_CHAIN)
def test_a_lost_answer_doubles_nothing_and_loses_nothing(
    proxy: LossyProxy, behind_proxy: Database, number: int, chain: str
) -> None:
    shop = Mill(behind_proxy, policy=Policy(chain=chain)).stocked()
    orders = [r.order_id for r in shop.intake.accept_all(shop.source, [an_order(), an_order()])]

    proxy.lose_answer_of_commit(number)
    _work(shop)
    assert proxy.lost == 1
    shop.expire_leases()
    shop.turn()

    assert [shop.status(order) for order in orders] == ["confirmed"] * 2
    assert sorted(e.kind for e in shop.gateway.book()) == ["authorize"] * 2 + ["capture"] * 2
    assert shop.query("SELECT step, order_ids FROM dispatches") == []
    assert _audit(shop) == []


def test_an_intake_whose_answer_was_lost_has_accepted(
    proxy: LossyProxy, behind_proxy: Database
) -> None:
    shop = Mill(behind_proxy).stocked()
    order = an_order()

    proxy.lose_answer_of_commit(1)
    with pytest.raises(Exception) as lost:  # noqa: PT011 - whatever the driver calls it
        shop.send(order)
    again = shop.send(order)
    once_more = shop.send(order)

    assert behind_proxy.is_disconnect(lost.value)
    assert [again.verdict, once_more.verdict] == [Verdict.DUPLICATE] * 2
    assert again.order_id == once_more.order_id
    assert shop.query("SELECT id FROM orders") == [(again.order_id,)]
    assert _audit(shop) == []


def _work(shop: Mill) -> None:
    """As an actor does: what the database's absence interrupts is left to the lease."""
    try:
        shop.engine.work("validate")
    except Exception as error:
        if not shop.database.is_disconnect(error):
            raise


def _audit(shop: Mill) -> list[str]:
    return [f"{f.rule}: {f.what}" for f in audit(shop.database, shop.gateways).findings]
