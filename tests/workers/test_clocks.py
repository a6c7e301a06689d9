"""A host whose clock is set back or forward an hour while it runs: orders, hints and jobs go on, as they
are due by the database's clock, and it is said whose clock is wrong. The processes are real, the host's
clock is libfaketime's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from glob import glob
from pathlib import Path

import pytest
import redis

from pipeline.check import check
from pipeline.overview import all_processes
from pipeline.settings import Settings
from pipeline.storage.database import Database
from tests.brokers import Server, needs
from tests.support import Mill
from tests.workers.test_process import are, eventually

#: As the commands are started, but that time.sleep, which libfaketime breaks in Python 3.11, waits
#: by the monotonic clock as it does without it.
PROGRAM = """
import sys, threading, time
time.sleep = lambda seconds: threading.Event().wait(seconds)
from ordermill.main import main
sys.argv = ["ordermill", *sys.argv[1:]]
main()
"""
HOUR = 3_600
PATIENCE = 90.0
EVERY = 10  # seconds: the job that is watched is due so often


class Host(Server):
    """A process on a host of its own, whose clock can be set."""

    def __init__(self, role: str, folder: Path, env: Mapping[str, str]) -> None:
        folder.mkdir()
        [library] = glob("/usr/lib/*/faketime/libfaketime.so.1")
        self._clock = folder / "clock"
        self.set_clock(0)
        ours = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": os.getcwd(),
        }
        super().__init__([sys.executable, "-c", PROGRAM, role], folder, {**env, **ours})
        self.role = role

    def set_clock(self, seconds: int) -> None:
        """So far ahead of the time as it is."""
        new = self._clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._clock)

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


@pytest.fixture
def settings(postgres_database: Database, valkey_url: str, tmp_path: Path) -> Settings:
    needs("faketime")
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=postgres_database.url.render_as_string(hide_password=False),
        broker_url=valkey_url,
        webhook_secret="0123456789abcdef0123456789abcdef",
    )


@contextmanager
def hosts(settings: Settings, folder: Path) -> Iterator[dict[str, Host]]:
    env = {
        "ORDERMILL_HOME": str(settings.home),
        "ORDERMILL_DATABASE_URL": settings.database_url,
        "ORDERMILL_BROKER_URL": settings.broker_url,
        "ORDERMILL_WEBHOOK_SECRET": settings.webhook_secret.get_secret_value(),
    }
    with ExitStack() as stack:
        started = {role: Host(role, folder / role, env) for role in ("worker", "scheduler")}
        for each in started.values():
            stack.callback(each.kill)
            each.start()
        yield started


def all_goes_on(shop: Mill) -> None:
    """An order that nobody was told of is confirmed, and a moment that comes from now on is run."""
    [(now,)] = shop.query("SELECT clock_timestamp()")
    order = shop.accept()  # its hint is lost
    eventually(are(shop, [order], "confirmed"), PATIENCE)
    eventually(lambda: moments(shop)[-1:] > [now.replace(tzinfo=None)], PATIENCE)


def moments(shop: Mill) -> list[object]:
    found = shop.query(
        "SELECT fire_at FROM job_runs WHERE job = 'deliver-notifications' "
        "AND state <> 'running' ORDER BY fire_at"
    )
    return [moment.replace(tzinfo=None) for (moment,) in found]


def clocks(database: Database) -> Callable[[], dict[str, int]]:
    def told() -> dict[str, int]:
        with database.snapshot() as tx:
            return {p.role: p.clock for p in all_processes(tx) if p.alive}

    return told


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "roles", [["scheduler"], pytest.param(["worker", "scheduler"], marks=pytest.mark.long)]
)
def test_steps_of_an_hour_change_nothing_and_are_said(
    settings: Settings, postgres_database: Database, tmp_path: Path, roles: list[str]
) -> None:
    shop = Mill(postgres_database).stocked()
    told = clocks(postgres_database)
    with hosts(settings, tmp_path) as started:
        all_goes_on(shop)
        for role in roles:
            for step in (-HOUR, HOUR, 0):
                started[role].set_clock(step)
                eventually(lambda r=role, s=step: abs(told().get(r, -1) - s) < 60, PATIENCE)
                said = [c.found for c in check(settings, postgres_database) if c.name == "clock"]
                assert len(said) == (1 if step else 0)
                all_goes_on(shop)
            log = started[role].log()
            assert "s behind the database's" in log
            assert "s ahead of the database's" in log
            assert "the clock of this host is right again" in log

    early = "SELECT count(*) FROM job_runs WHERE started_at < fire_at"
    twice = "SELECT job, fire_at FROM job_runs GROUP BY job, fire_at HAVING count(*) > 1"
    assert shop.query(early) == [(0,)]
    assert shop.query(twice) == []


def test_the_library_is_what_sets_the_clock(tmp_path: Path) -> None:
    """Without it the test above would prove nothing."""
    needs("faketime")
    host = Host("worker", tmp_path / "host", {})
    host.set_clock(HOUR)
    done = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env=host._env, capture_output=True, text=True, check=True,
    )  # fmt: skip

    now = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(now.stdout) - float(done.stdout) < -HOUR / 2
