"""Who holds a lease works; who lost it changes nothing. The database's clock decides, on both databases."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, update

from pipeline.audit.audit import audit
from pipeline.chain import STAGES
from pipeline.engine.claim import Batch, claim
from pipeline.engine.engine import Limits
from pipeline.engine.leases import Leases
from pipeline.errors import LeaseLost
from pipeline.storage import clock, dispatches, tables
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]
LEASE = 0.6


def test_a_batch_is_anothers_once_its_lease_has_run_out(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    late = _claim(shop)
    shop.expire_leases()

    holder = _claim(shop)

    assert holder.dispatch_ids == late.dispatch_ids
    assert holder.token != late.token
    with shop.database.transaction() as tx:
        assert not dispatches.finish(tx, late.dispatch_ids, late.token)
        assert dispatches.finish(tx, holder.dispatch_ids, holder.token)


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_that_slept_through_its_lease_changes_nothing(
    mill: MakeMill, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    shop = mill(serves=[]).stocked()
    orders = [r.order_id for r in shop.intake.accept_all(shop.source, [an_order(), an_order()])]
    for earlier in STAGES[: STAGES.index(stage)]:
        shop.engine.work(earlier)
    by_the_other: list[Any] = []

    def overtaken() -> None:
        _overtake(shop, stage)
        by_the_other.extend([*map(shop.timeline, orders), _dispatches(shop)])

    _while_called(shop, stage, overtaken)
    shop.engine.work(stage)

    assert [*map(shop.timeline, orders), _dispatches(shop)] == by_the_other
    assert str(LeaseLost("")).partition("  ")[2] in caplog.text
    shop.turn()
    assert [shop.status(o) for o in orders] == ["confirmed"] * 2
    assert sorted(e.kind for e in shop.gateway.book()) == ["authorize"] * 2 + ["capture"] * 2
    assert audit(shop.database, shop.gateways).is_clean


def test_a_defect_found_after_the_lease_was_lost_changes_nothing(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    orders = [r.order_id for r in shop.intake.accept_all(shop.source, [an_order(), an_order()])]

    def overtaken_and_broken() -> None:
        _overtake(shop, "validate")
        raise RuntimeError("a defect of ours")

    _while_called(shop, "validate", overtaken_and_broken)
    shop.engine.work("validate")

    assert [(d.step, json.loads(d.order_ids)) for d in _dispatches(shop)] == [("price", orders)]
    shop.turn()
    assert [shop.status(o) for o in orders] == ["confirmed"] * 2


def test_an_attempt_is_counted_before_the_work(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    seen: list[tuple[int, int]] = []

    _while_called(
        shop, "validate", lambda: seen.extend((d.attempts, d.deaths) for d in _dispatches(shop))
    )
    shop.engine.work("validate")

    assert seen == [(1, 0)]


def test_a_lease_that_ran_out_is_counted_as_a_death(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    _claim(shop)
    shop.expire_leases()

    taken_over = _claim(shop)

    assert taken_over.deaths == 1
    assert [o.attempt for o in taken_over.orders] == [2]


def test_what_somebody_works_on_is_nobody_elses(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    _claim(shop)

    with shop.database.transaction() as tx:
        assert claim(tx, "validate", 500, LEASE) is None


def test_a_slow_step_keeps_its_lease(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    leases = Leases(shop.database, LEASE)
    batch = _claim(shop)

    leases.start()
    with leases.kept(batch.token, 60.0, batch):
        time.sleep(3 * LEASE)
        is_free = _is_free(shop)
    leases.stop()

    assert not is_free


def test_a_hung_step_loses_its_lease_at_its_time_limit(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    leases = Leases(shop.database, LEASE)
    batch = _claim(shop)

    leases.start()
    with leases.kept(batch.token, LEASE, batch):
        time.sleep(3 * LEASE)
        is_free = _is_free(shop)
    leases.stop()

    assert is_free


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_host_whose_clock_is_wrong_expires_nobodys_lease(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    shop = mill().stocked()
    shop.accept()
    _claim(shop, seconds=15.0)

    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)
    order = shop.accept()
    with shop.database.transaction() as tx:
        mine = claim(tx, "validate", 500, 15.0)

        now = clock.read(tx)

    assert mine is not None
    assert [o.id for o in mine.orders] == [order]
    assert [round((d.leased_until - now).total_seconds()) for d in _dispatches(shop)] == [15, 15]


def _claim(shop: Mill, seconds: float = LEASE) -> Batch:
    with shop.database.transaction() as tx:
        batch = claim(tx, "validate", 500, seconds)
    assert batch is not None
    return batch


def _is_free(shop: Mill) -> bool:
    with shop.database.transaction() as tx:
        return claim(tx, "validate", 500, LEASE) is not None


def _dispatches(shop: Mill) -> list[Any]:
    with shop.database.snapshot() as tx:
        return list(tx.execute(select(tables.dispatches).order_by(tables.dispatches.c.id)))


def _while_called(shop: Mill, stage: str, happens: Callable[[], object]) -> None:
    """Let something happen while `stage` calls out, once: no transaction is open then."""
    step = shop.engine.steps[stage]
    call = step.call

    def called_once(plan: Any) -> Any:
        step.call = call  # type: ignore[method-assign]
        happens()
        return call(plan)

    step.call = called_once  # type: ignore[method-assign]


def _overtake(shop: Mill, stage: str) -> None:
    """Another worker finds the lease run out, takes the batch, and gets it recorded."""
    shop.expire_leases()
    while not shop.engine.work(stage):  # the holder may just have renewed it
        shop.expire_leases()


def test_what_waits_behind_a_suspect_is_taken_while_its_process_can_not_be_alone(
    mill: MakeMill,
) -> None:
    """A suspect is worked on by a process that does nothing else; one that hangs never will."""
    shop = mill(limits=Limits(batch=1, lease_seconds=0.2)).stocked()
    suspect, other = shop.accept(), shop.accept()
    with shop.database.transaction() as tx:
        first = select(func.min(tables.dispatches.c.id)).scalar_subquery()
        tx.execute(
            update(tables.dispatches).where(tables.dispatches.c.id == first).values(deaths=2)
        )

    with shop.engine._solitude.among_others():  # something of ours that doesn't end
        taken = shop.engine.work("validate")

    assert taken == 1
    assert (shop.status(suspect), shop.status(other)) == ("received", "confirmed")
