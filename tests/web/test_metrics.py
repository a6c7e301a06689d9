"""What Prometheus is told of the whole shop: the same by every process, whoever did the work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text, update
from starlette.testclient import TestClient

from pipeline import operations
from pipeline.access import Scope
from pipeline.assembly import Application
from pipeline.chain import STEPS
from pipeline.notifications.message import CONFIRMED, SHIPPED
from pipeline.notifications.outbox import UNDO_FAILED
from pipeline.source import Policy
from pipeline.storage import (
    clock,
    counters,
    job_runs,
    notifications,
    processes,
    queues,
    webhook_deliveries,
    webhooks,
)
from pipeline.storage.database import Database
from pipeline.storage.notifications import Pending
from pipeline.storage.sql import now
from pipeline.storage.tables import counters as counted
from pipeline.storage.tables import dispatches
from pipeline.storage.tables import job_runs as runs
from pipeline.storage.tables import notifications as outbox
from pipeline.storage.tables import webhook_deliveries as deliveries
from pipeline.storage.tables import webhook_endpoints as endpoints
from scheduler.table import JOBS
from tests.support import Mill, an_order
from web import metrics
from web.metrics import Shop

Labels = dict[str, str]
FRANCE = {"country": "FR", "postal_code": "75001"}


class Told:
    """An exposition, read as Prometheus reads it."""

    def __init__(self, exposition: str) -> None:
        self.families = {f.name: f for f in text_string_to_metric_families(exposition)}
        self.samples = [s for f in self.families.values() for s in f.samples]

    def value(self, metric: str, **labels: str) -> float:
        """Of the one series that has these labels; 0 if there is none, as if never counted."""
        found = [
            s.value for s in self.samples if s.name == metric and labels.items() <= s.labels.items()
        ]
        assert len(found) <= 1, found
        return found[0] if found else 0.0

    def by(self, metric: str, label: str) -> dict[str, float]:
        return {s.labels[label]: s.value for s in self.samples if s.name == metric}


@pytest.fixture
def told(operator: TestClient, app: FastAPI) -> Callable[[], Told]:
    def ask() -> Told:
        for collector in app.state.exposition._collectors:
            if isinstance(collector, Shop):
                collector._kept.forget()
        answer = operator.get("/metrics")
        assert answer.status_code == 200
        return Told(answer.text)

    return ask


def test_what_is_told_is_what_prometheus_reads_in_either_form(operator: TestClient) -> None:
    plain = operator.get("/metrics")
    openmetrics = operator.get("/metrics", headers={"Accept": "application/openmetrics-text"})

    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")
    ours = [f for name, f in Told(plain.text).families.items() if name.startswith("ordermill_")]
    assert len(ours) > 20
    assert all(family.documentation for family in ours)


def test_orders_are_told_where_they_wait_and_for_how_long(
    shop: Mill, told: Callable[[], Told]
) -> None:
    bulk = shop.source.in_lane("bulk")
    shop.intake.accept_all(shop.source, [an_order(), an_order()])
    shop.intake.accept_all(bulk, [an_order() for _ in range(3)])
    with shop.database.transaction() as tx:
        tx.execute(update(dispatches).where(dispatches.c.lane == 0).values(due_at=now(-90)))
        queues.pause(tx, "pay", "ada")

    found = told()

    waiting = {"queue": "validate", "state": "due"}
    assert found.value("ordermill_queue_orders", **waiting, lane="interactive") == 2
    assert found.value("ordermill_queue_orders", **waiting, lane="bulk") == 3
    age = "ordermill_queue_oldest_due_seconds"
    assert 90 <= found.value(age, queue="validate", lane="interactive") < 120
    assert found.value(age, queue="validate", lane="bulk") < 30
    assert found.by("ordermill_queue_paused", "queue") == {s: float(s == "pay") for s in STEPS}


def test_what_somebody_works_on_is_not_due(shop: Mill, told: Callable[[], Told]) -> None:
    shop.accept()
    with shop.database.transaction() as tx:
        leased = {"lease": "somebody", "leased_until": now(15), "due_at": now(-500)}
        tx.execute(update(dispatches).values(**leased))

    found = told()

    states = {
        state: found.value(
            "ordermill_queue_orders", queue="validate", lane="interactive", state=state
        )
        for state in ("all", "due", "running")
    }
    assert states == {"all": 1, "due": 0, "running": 1}
    age = "ordermill_queue_oldest_due_seconds"
    assert found.value(age, queue="validate", lane="interactive") == 0


def test_orders_on_hold_are_told_by_reason(shop: Mill, told: Callable[[], Told]) -> None:
    careful = shop.another_source("careful", Policy(hold_countries=frozenset({"FR"})))
    shop.intake.accept_all(careful, [an_order(ship_to=FRANCE) for _ in range(2)])
    shop.turn()

    found = told()

    assert found.by("ordermill_orders_on_hold", "reason") == {"country_held": 2}
    assert found.value("ordermill_orders_on_hold_oldest_seconds", reason="country_held") < 60


def test_outcomes_are_told_as_often_as_they_were_recorded(
    shop: Mill, told: Callable[[], Told]
) -> None:
    shop.intake.accept_all(shop.source, [an_order() for _ in range(3)])
    shop.accept(method="pm_card_declined")
    shop.turn()

    found = told()

    outcomes = "ordermill_stage_orders_total"
    assert found.value(outcomes, stage="validate", outcome="advanced") == 4
    assert found.value(outcomes, stage="pay", outcome="rejected") == 1
    assert found.value(outcomes, stage="notify", outcome="advanced") == 3


def test_a_lease_that_ran_out_is_told_with_its_orders(shop: Mill, told: Callable[[], Told]) -> None:
    shop.intake.accept_all(shop.source, [an_order() for _ in range(3)])
    with shop.database.transaction() as tx:
        tx.execute(update(dispatches).values(lease="the dead", leased_until=now(-1)))
    shop.turn()

    found = told()

    lapsed = found.by("ordermill_lease_expired_orders_total", "stage")
    assert lapsed == {step: 3.0 if step == "validate" else 0.0 for step in STEPS}
    assert found.value("ordermill_stage_orders_total", stage="validate", outcome="lapsed") == 0


# --- Counters that only grow --------------------------------------------------------------------------


def _count(database: Database, orders: int, seconds_ago: float) -> None:
    with database.transaction() as tx:
        counters.add(tx, "pay", {"advanced": orders})
        newest = text("(SELECT max(id) FROM counters)")
        tx.execute(update(counted).where(counted.c.id == newest).values(at=now(-seconds_ago)))


def _paid(totals: metrics.Totals, database: Database) -> int:
    with database.snapshot() as tx:
        return totals.read(tx)["pay", "advanced"]


def test_counts_add_up_over_all_that_was_ever_counted(database: Database) -> None:
    totals = metrics.Totals()
    for ago in (0, 60, 400, 4_000, 400_000, 40_000_000):
        _count(database, 1, ago)

    first = _paid(totals, database)
    _count(database, 1, 100)  # committed late: its time is before that of what is known
    _count(database, 1, 0)

    assert (first, _paid(totals, database)) == (6, 8)
    assert _paid(metrics.Totals(), database) == 8


def test_counts_stay_when_counters_are_rolled_up(
    database: Database,
) -> None:
    totals, late = metrics.Totals(), metrics.Totals()
    for _ in range(5):
        _count(database, 2, 3 * 86_400)
    assert (_paid(totals, database), _paid(late, database)) == (10, 10)

    with database.transaction() as tx:
        rolled_up = counters.roll_up(tx, "hour", 2 * 86_400.0)
    late._until -= timedelta(days=3)  # as if it had not been asked since

    assert rolled_up == (5, 1)
    assert (_paid(totals, database), _paid(late, database)) == (10, 10)


def test_what_is_long_committed_is_read_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    between = counters.between
    monkeypatch.setattr(
        counters,
        "between",
        lambda tx, since, until: read.append(since) or between(tx, since, until),
    )
    totals = metrics.Totals()

    _paid(totals, database)
    _paid(totals, database)

    with database.snapshot() as tx:
        lately = clock.read(tx) - timedelta(minutes=7)
    assert read[0] == metrics._EVER
    assert all(since > lately for since in read[1:])


# --- Who is to be told --------------------------------------------------------------------------------


def _endpoint(shop: Mill, name: str, **values: Any) -> None:
    """An endpoint of that id, as it is once `values` were written."""
    with shop.database.transaction() as tx:
        url = f"https://{name}.example"
        webhooks.add(tx, name, shop.source.id, url, ["*"], "seed", None, "test")
        if values:
            tx.execute(update(endpoints).where(endpoints.c.id == name).values(**values))


def _endpoints(shop: Mill) -> None:
    """One in each state, and one more that is well."""
    _endpoint(shop, "well")
    _endpoint(shop, "well-too")
    _endpoint(shop, "failing", failures=3, failing_since=now(-500))
    for name, by in (("disabled", "ada"), ("dead", webhooks.OURSELVES)):
        _endpoint(shop, name, failures=9, failing_since=now(-9_000))
        with shop.database.transaction() as tx:
            webhooks.disable(tx, name, by, "why")


def _deliver(shop: Mill, endpoint: str, **values: Any) -> None:
    with shop.database.transaction() as tx:
        made = webhook_deliveries.add_test(tx, endpoint, "webhook.test")
        tx.execute(update(deliveries).where(deliveries.c.id == made).values(**values))


def test_endpoints_of_webhooks_are_told_by_how_they_are(
    shop: Mill, told: Callable[[], Told]
) -> None:
    _endpoints(shop)

    found = told().by("ordermill_webhook_endpoints", "state")

    assert found == {"enabled": 2, "failing": 1, "disabled": 1, "dead": 1}


def test_who_knows_of_a_dead_endpoint_is_told_no_more(shop: Mill, told: Callable[[], Told]) -> None:
    _endpoints(shop)
    with shop.database.transaction() as tx:
        webhooks.disable(tx, "dead", "ada", "nobody wants it")

    found = told().by("ordermill_webhook_endpoints", "state")

    assert (found["disabled"], found["dead"]) == (2, 0)


def test_an_endpoint_fails_for_as_long_as_nothing_got_there_and_it_is_tried(
    shop: Mill, told: Callable[[], Told]
) -> None:
    before = told().value("ordermill_webhook_failing_seconds")
    _endpoints(shop)

    after = told().value("ordermill_webhook_failing_seconds")

    assert before == 0
    assert 500 <= after < 530


def test_deliveries_that_are_due_are_told_by_how_their_endpoint_is(
    shop: Mill, told: Callable[[], Told]
) -> None:
    _endpoints(shop)
    _deliver(shop, "well", due_at=now(-20))
    _deliver(shop, "well-too", due_at=now(-90))
    _deliver(shop, "well", due_at=now(500))  # tried before, and its time has not come
    _deliver(shop, "well", due_at=now(-900), state="delivered")
    _deliver(shop, "well", due_at=now(-900), state="failed")
    _deliver(shop, "dead", due_at=now(-9_000))

    found = told()

    due = found.by("ordermill_webhook_deliveries_due", "state")
    assert due == {"enabled": 2, "failing": 0, "disabled": 0, "dead": 1}
    age = found.by("ordermill_webhook_oldest_due_seconds", "state")
    assert 90 <= age["enabled"] < 120
    assert 9_000 <= age["dead"] < 9_030
    assert (age["failing"], age["disabled"]) == (0, 0)


def test_the_endpoint_that_is_well_and_furthest_behind_says_how_far_events_were_read(
    shop: Mill, told: Callable[[], Told]
) -> None:
    _endpoint(shop, "failing", failures=1, read_at=now(-9_000))
    nobody = told()
    _endpoint(shop, "quick")
    _endpoint(shop, "slow", read_at=now(-700))

    found = told()

    until = "ordermill_webhook_read_until_timestamp_seconds"
    assert nobody.families[until].samples == []
    assert 690 < time.time() - found.value(until) < 730


def _notify(shop: Mill, channel: str, topic: str, **values: Any) -> None:
    order = shop.accept()
    with shop.database.transaction() as tx:
        notifications.add(tx, [Pending(f"{channel}-{order}", order, channel, topic, "to", 0)])
        mine = outbox.c.order_id == order
        tx.execute(update(outbox).where(mine).values(**values))


def _pending(found: Told) -> dict[str, float]:
    return {
        f"{channel} {attempt}": found.value(
            "ordermill_notifications_pending", channel=channel, attempt=attempt
        )
        for channel in ("email", "page")
        for attempt in ("first", "again")
    }


def test_notifications_are_told_until_they_are_delivered_or_given_up(
    shop: Mill, told: Callable[[], Told]
) -> None:
    _notify(shop, "email", CONFIRMED, attempts=0)
    _notify(shop, "email", CONFIRMED, attempts=1)
    _notify(shop, "email", SHIPPED, attempts=7)
    _notify(shop, "page", UNDO_FAILED, attempts=2)
    _notify(shop, "email", SHIPPED, attempts=1, state="delivered")
    _notify(shop, "page", UNDO_FAILED, attempts=150, state="failed")

    found = _pending(told())

    assert found == {"email first": 1, "email again": 2, "page first": 0, "page again": 1}


A_PAST = (
    """
    INSERT INTO webhook_deliveries
        (endpoint_id, order_id, seq, type, state, attempts, tries, due_at, created_at)
    SELECT 'well', n, 6, 'order.confirmed', 'delivered', 1, 1, now(), now()
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO notifications
        (id, order_id, channel, topic, target, state, attempts, due_at, subject)
    SELECT n, id, 'email', 'order.shipped', 'ada@example.com', 'delivered', 1, now(), n
    FROM orders, generate_series(1, 20000) AS n
    """,
    "ANALYZE webhook_deliveries, notifications",
)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_was_delivered_is_kept_and_never_read(shop: Mill) -> None:
    said: list[tuple[str, Any]] = []
    event.listen(
        shop.database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, values, *_: said.append((statement, values)),
    )
    _endpoint(shop, "well")
    shop.accept()
    plans = []
    with shop.database.transaction() as tx:
        for statement in A_PAST:
            tx.execute(text(statement))
        for read in (webhooks.by_state, notifications.waiting):
            read(tx)
            query, values = said[-1]
            plans.append("\n".join(tx.exec_driver_sql(f"EXPLAIN {query}", values).scalars()))

    assert "Scan using ix_webhook_deliveries_pending" in plans[0]
    assert "Scan using ix_notifications_pending" in plans[1]


# --- Processes and jobs -------------------------------------------------------------------------------


def test_processes_are_told_by_role_and_breakers_by_gateway(
    shop: Mill, told: Callable[[], Told]
) -> None:
    unwell = json.dumps([{"gateway": "sandbox", "breaker": "open"}])
    with shop.database.transaction() as tx:
        processes.seen(tx, "1", "worker", "mill-1", 17, unwell)
        processes.seen(tx, "2", "worker", "mill-2", 17, "[]")

    found = told()

    assert found.by("ordermill_processes", "role") == {"worker": 2, "scheduler": 0, "web": 0}
    assert found.by("ordermill_gateway_breaker_open", "gateway") == {"sandbox": 1}


def _ran(
    database: Database, job: str, state: job_runs.State, ago: float, result: Any = None
) -> None:
    with database.transaction() as tx:
        moment = clock.read(tx) - timedelta(seconds=ago)
        run = job_runs.fire(tx, job, moment, f"token-{ago}", "here", 15.0)
        assert run is not None
        job_runs.finish(tx, run, f"token-{ago}", state, json.dumps(result), None, "")
        times = {"started_at": now(-ago), "finished_at": now(2 - ago)}
        tx.execute(update(runs).where(runs.c.id == run).values(**times))


def test_a_job_is_told_by_how_it_ended_and_when_it_last_did_well(
    shop: Mill, told: Callable[[], Told]
) -> None:
    _ran(shop.database, "poll-gateways", "fine", 500)
    _ran(shop.database, "poll-gateways", "failed", 100)

    found = told()

    job = {"job_name": "poll-gateways"}
    results = {
        result: found.value("ordermill_job_last_result", **job, result=result)
        for result in ("fine", "problem", "failed")
    }
    assert results == {"fine": 0, "problem": 0, "failed": 1}
    ago = time.time() - found.value("ordermill_job_last_success_timestamp_seconds", **job)
    assert 490 < ago < 510
    took = found.value("ordermill_job_last_success_duration_seconds", **job)
    assert took == pytest.approx(2.0, abs=0.1)


def test_what_the_audit_found_stays_told_while_it_is_run_again_or_fails(
    shop: Mill, told: Callable[[], Told]
) -> None:
    def of(broken: int) -> dict[str, Any]:
        return {
            "rules": [{"rule": "captured_once", "broken": broken}, {"rule": "ledger", "broken": 0}]
        }

    _ran(shop.database, "audit", "fine", 900, of(0))
    _ran(shop.database, "audit", "problem", 600, of(2))
    _ran(shop.database, "audit", "failed", 300)

    assert told().by("ordermill_audit_broken", "rule") == {"captured_once": 2, "ledger": 0}


# --- Who may ask, what it costs, and when there is no database -----------------------------------------


def test_only_an_operators_key_with_its_scope_is_told(as_: Callable[..., TestClient]) -> None:
    answers = {
        "no key": TestClient(as_(None).app).get("/metrics").status_code,
        "source": as_("shop").get("/metrics").status_code,
        "another scope": as_(None, Scope.OPERATE).get("/metrics").status_code,
        "metrics": as_(None, Scope.METRICS).get("/metrics").status_code,
    }

    assert answers == {"no key": 401, "source": 403, "another scope": 403, "metrics": 200}


@pytest.fixture
def statements(application: Application) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    engine = application.database.engine
    event.listen(engine, "before_cursor_execute", hear)
    yield said
    event.remove(engine, "before_cursor_execute", hear)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_who_asks_again_at_once_costs_the_database_nothing(
    shop: Mill, application: Application, statements: list[str]
) -> None:
    whole = Shop(application.database, JOBS, application.gateways)
    list(whole.collect())
    first = len([s for s in statements if "SELECT" in s])
    statements.clear()

    list(whole.collect())

    assert 8 <= first <= 14
    assert [s for s in statements if "FROM" in s] == []


def test_orders_and_events_are_never_read(
    shop: Mill, application: Application, statements: list[str]
) -> None:
    """Reading them takes the longer the more there are; their index of what is on hold doesn't."""
    list(Shop(application.database, JOBS, application.gateways).collect())

    of_orders = [s for s in statements if "FROM orders" in s or "FROM events" in s]
    assert len(of_orders) == 1
    assert "held_at IS NOT NULL" in of_orders[0]


A_MONTH_OF_RUNS = """
    INSERT INTO job_runs (job, fire_at, state, attempt)
    SELECT job, now() - hours * interval '1 hour', 'fine', 1
    FROM unnest(ARRAY['audit', 'settle', 'archive']) AS job, generate_series(1, 720) AS hours
"""


def test_the_last_run_of_a_job_is_found_by_an_index_on_moments(
    postgres_database: Database,
) -> None:
    said: list[tuple[str, Any]] = []
    event.listen(
        postgres_database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, values, *_: said.append((statement, values)),
    )
    with postgres_database.transaction() as tx:
        tx.execute(text(A_MONTH_OF_RUNS))
        tx.execute(text("ANALYZE job_runs"))
        job_runs.ended(tx, ["audit"], well=True)
        query, values = said[-1]
        plan = "\n".join(tx.exec_driver_sql(f"EXPLAIN {query}", values).scalars())

    assert "Index Scan Backward using" in plan


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_while_the_database_is_away_that_is_what_is_told(
    application: Application, monkeypatch: pytest.MonkeyPatch, shop: Mill
) -> None:
    from sqlalchemy.exc import DisconnectionError

    def away(*_: Any) -> Any:
        raise DisconnectionError("the database is away")

    whole = Shop(application.database, JOBS, application.gateways)
    monkeypatch.setattr(clock, "read", away)

    names = {m.name: [s.value for s in m.samples] for m in whole.collect()}

    assert names == {"ordermill_database_up": [0.0]}


def test_requests_are_told_by_their_route_and_never_by_what_was_asked(
    client: TestClient, told: Callable[[], Told], shop: Mill
) -> None:
    order = shop.accept()
    before = told()

    client.get(f"/v1/orders/{order}")
    client.get("/v1/orders/999")
    client.get("/ada@example.com")
    client.get("/console/orders/7")
    client.request("BREW", "/v1/orders/1")
    found = told()

    def rise(**labels: str) -> float:
        requests = "ordermill_http_requests_total"
        return found.value(requests, **labels) - before.value(requests, **labels)

    route = "/v1/orders/{order_id}"
    assert rise(method="GET", route=route, status="200") == 1
    assert rise(method="GET", route=route, status="404") == 1
    assert rise(method="GET", route="none", status="404") == 1
    assert rise(method="GET", route="/console/orders/{order_id}", status="303") == 1
    assert {s.labels.get("method") for s in found.samples} <= {
        None, "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "other",
    }  # fmt: skip
    assert "ada@example.com" not in str(found.samples)


def test_no_series_is_an_orders_or_a_persons_own(
    shop: Mill, told: Callable[[], Told], client: TestClient
) -> None:
    told()  # which is a request, too
    first, later = [], []
    for new in (first, later):
        for _ in range(3):
            client.post("/v1/orders", json=an_order())
        unwanted = shop.accept()
        with shop.database.transaction() as tx:
            operations.cancel(tx, unwanted, "test")
        shop.turn()
        new += [(s.name, *s.labels.items()) for s in told().samples]

    assert set(later) == set(first)
