"""Commands are imported when they are called: who asks for help or a list waits for nothing else."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ordermill import main, orders
from ordermill.lazy import Lazy

LAZY = {**main.COMMANDS, **{f"orders {name}": lazy for name, lazy in orders.COMMANDS.items()}}
NEVER = {"alembic", "apscheduler", "dramatiq", "fastapi", "httpx", "jinja2", "redis", "stripe"}
LOADED = "import sys; sys.argv[0] = 'ordermill'\nfrom ordermill.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(("called", "lazy"), LAZY.items(), ids=LAZY)
def test_the_table_says_of_a_command_what_it_says_of_itself(called: str, lazy: Lazy) -> None:
    own = inspect.cleandoc(lazy.load(called).help).split("\n\n")[0]

    assert lazy.help == " ".join(own.split())


def test_help_needs_no_part_of_the_system() -> None:
    assert not loaded("--help") & {"sqlalchemy", "pipeline.settings", *NEVER}
    assert not loaded("orders", "--help") & {"sqlalchemy", "pipeline.settings", *NEVER}


def test_a_list_of_orders_needs_the_database_alone(tmp_path: Path) -> None:
    home = str(tmp_path)
    upgraded = subprocess.run(
        [sys.executable, "-m", "ordermill", "db", "upgrade"],
        env={**os.environ, "ORDERMILL_HOME": home}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert upgraded.returncode == 0, upgraded.stderr

    modules = loaded("orders", "ls", home=home)

    assert "sqlalchemy" in modules
    assert not modules & {"pipeline.assembly", "workers.broker", "web", "scheduler", *NEVER}


def loaded(*arguments: str, home: str = "") -> set[str]:
    """The modules that a command has imported by its end."""
    environment = {**os.environ, "ORDERMILL_HOME": home}
    run = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(run.stderr.split())
