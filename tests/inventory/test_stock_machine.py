"""Whatever happens to a shop's stock, in whatever order, and whoever dies of it: stock_machine.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pipeline.assembly import assemble
from pipeline.settings import Settings
from pipeline.storage import backorders
from pipeline.storage.database import Database
from tests.inventory.stock_machine import StockMachine
from tests.inventory.stock_world import World

Run = Callable[..., int]
COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "stateful_step_count": 50,
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),  # to explain takes minutes
}


class Nobody:
    def announce(self, step: str, dispatch_id: int) -> None:
        """Nobody listens."""


def a_machine(database: Database, home: Path) -> Iterator[Run]:
    """Runs it on a database, for so many examples; how many steps were made."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MOST", "SPARE"):  # so that they are as they were in the end
            patch.setattr(backorders, name, getattr(backorders, name))
        world = World(database)
        url = database.url.render_as_string(hide_password=False)
        told = Settings(_env_file=None, home=home, database_url=url)
        app = assemble(told, Nobody(), gateways=world.mill.gateways)

        def run(**limits: Any) -> int:
            machine = type("Machine", (StockMachine,), {"world": world, "app": app})
            run_state_machine_as_test(machine, settings=settings(**COMMON, **limits))
            steps = int(machine.steps - machine.examples)  # the beginning is none
            print(f"{steps} steps in {machine.examples} examples, {world.trap.deaths} deaths")
            return steps

        yield run
        app.close()


@pytest.fixture
def on_sqlite(sqlite_database: Database, tmp_path: Path) -> Iterator[Run]:
    yield from a_machine(sqlite_database, tmp_path / "home")


@pytest.fixture
def on_postgres(postgres_database: Database, tmp_path: Path) -> Iterator[Run]:
    yield from a_machine(postgres_database, tmp_path / "home")


# The same steps each time: what a machine that runs the tests finds, everyone can run again.


@pytest.mark.timeout(1200)
def test_2_000_steps_leave_no_stock_wrong(on_sqlite: Run) -> None:
    assert on_sqlite(max_examples=80, derandomize=True) >= 2_000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nor_do_10_000(on_sqlite: Run) -> None:
    assert on_sqlite(max_examples=360, derandomize=True) >= 10_000


@pytest.mark.timeout(600)
def test_nor_do_some_on_postgres(on_postgres: Run) -> None:
    assert on_postgres(max_examples=25, derandomize=True) >= 500


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nor_do_100_000_other_steps(on_sqlite: Run) -> None:
    assert on_sqlite(max_examples=4_000) >= 100_000
