"""Postgres loses its primary under load, or stands behind a pooler: every 202 is there once, and nobody is
charged twice. The long form: `pytest -m long tests/chaos/test_failover.py -s`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from benchmarks.servers import postgres
from pipeline import check_postgres
from pipeline.storage.database import Database
from tests.chaos import pooler
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.failover import Senders, Shop, Verdict, judge, running_shop

#: Seconds that an asynchronous standby has received nothing for when it takes over.
BEHIND = 0.5

short_or_long = pytest.mark.parametrize(
    ("orders", "failovers"),
    [
        pytest.param(120, 1, marks=[pytest.mark.chaos, pytest.mark.timeout(300)]),
        pytest.param(5_000, 3, marks=[pytest.mark.long, pytest.mark.timeout(1_500)]),
    ],
)


def _sent_while(
    shop: Shop, orders: int, fault: Callable[[], None], times: int, *, may_lose: bool = False
) -> Verdict:
    """The verdict on orders that are sent while a fault strikes, at even distances."""
    senders = Senders(shop, orders, pause=0.02)
    senders.start()
    for n in range(1, times + 1):
        while senders.accepted < orders * n // (times + 1):
            time.sleep(0.05)
        fault()
    last_fault = time.monotonic()
    senders.join()
    found = judge(shop, senders.journal, last_fault, may_lose=may_lose)
    print(found)
    return found


def _fail_over(servers: Cluster) -> None:
    begun = time.monotonic()
    servers.fail_over()
    print(f"failed over in {time.monotonic() - begun:.1f} s")
    servers.rewind()


def _said_of_standbys(servers: Cluster) -> list[tuple[str, str]]:
    database = Database(servers.url)
    found = [(f[1], f[2]) for f in check_postgres.look(database) if f[0] == "standby"]
    database.close()
    return found


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("synchronous", [True, False])
def test_check_warns_of_a_standby_that_would_lose_orders_or_that_commits_wait_for(
    synchronous: bool,
) -> None:
    with cluster(synchronous=synchronous) as servers:
        there = _said_of_standbys(servers)
        servers.standby.kill()
        servers.await_no_standby()
        away = _said_of_standbys(servers)

    if synchronous:
        assert there == []
        assert away == [("error", "is away: every commit waits for one of *")]
    else:
        assert [level for level, _ in there + away] == ["warning", "warning"]
        assert "is asynchronous" in there[0][1]


@short_or_long
def test_a_standby_takes_over_and_nothing_is_lost(orders: int, failovers: int) -> None:
    with cluster(synchronous=True) as servers, running_shop(servers.url, orders) as shop:
        found = _sent_while(shop, orders, lambda: _fail_over(servers), failovers)

        assert found.problems == []
        assert found.lost == 0


@pytest.mark.long
@pytest.mark.timeout(1_500)
def test_an_asynchronous_standby_loses_the_newest_and_nobody_is_charged_twice() -> None:
    def fault() -> None:
        servers.fall_behind()
        time.sleep(BEHIND)
        _fail_over(servers)

    with cluster(synchronous=False) as servers, running_shop(servers.url, 5_000) as shop:
        found = _sent_while(shop, 5_000, fault, 3, may_lose=True)

        assert found.problems == []
        checked = subprocess.run(
            [sys.executable, "-m", "ordermill", "check"],
            env=shop.environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert "is asynchronous" in checked.stdout


@pytest.mark.skipif(not pooler.is_installed(), reason="needs pgbouncer")
@pytest.mark.parametrize(
    "orders",
    [
        pytest.param(200, marks=[pytest.mark.chaos, pytest.mark.timeout(900)]),
        pytest.param(5_000, marks=[pytest.mark.long, pytest.mark.timeout(1_500)]),
    ],
)
def test_behind_a_pooler_nothing_is_amiss(orders: int) -> None:
    with (
        postgres(fsync="off") as url,
        pooler.pooler(url, size=10) as through,
        running_shop(through, orders) as shop,
    ):
        found = _sent_while(shop, orders, lambda: None, 0)

        assert found.problems == []
        assert set(found.answers) <= {"200", "202"}
