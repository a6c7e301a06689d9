"""Whatever goes wrong, no card number and no secret is in the log, nor in any file of the home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.leaky_process import SPILL, SPILLED


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("leaky")


@pytest.fixture(scope="module")
def log(home: Path) -> str:
    """All that the process wrote, until it died of the last thing that went wrong."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORDERMILL_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.workers.leaky_process", home / "home"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**environment, "PYTHONPATH": os.getcwd()},
        cwd=home,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "pay failed on a batch of",
        "RuntimeError: unexpected: card (card number), key sk_live_(hidden), pi_3Mtw_secret_(hidden)",
        "a message on intake is put aside: see `ordermill refusals ls`",
        "job leaky failed",
        "leaky died of it",
        "ValueError: nobody catches this: card (card number)",
        "smtp://shop:(hidden)@mail.invalid with",
    ],
)
def test_the_log_tells_what_went_wrong(log: str, line: str) -> None:
    assert line in log


@pytest.mark.parametrize("secret", SPILLED)
def test_no_secret_is_in_the_log(log: str, secret: str) -> None:
    assert secret not in log


def test_a_command_that_dies_of_a_defect_tells_no_secret(tmp_path: Path) -> None:
    program = f"""
import ordermill.main

@ordermill.main.app.command()
def spill() -> None:
    raise ValueError({SPILL!r})

ordermill.main.main()
"""

    done = subprocess.run(
        [sys.executable, "-c", program, "spill"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )

    assert done.returncode == 1
    assert "ValueError: card (card number), key sk_live_(hidden)" in done.stderr
    # Of what is known by its form alone: the command has read no settings.
    assert [secret for secret in SPILLED if secret in done.stderr + done.stdout] == []


@pytest.mark.parametrize("secret", SPILLED)
def test_no_secret_is_in_any_file_of_the_home(log: str, home: Path, secret: str) -> None:
    files = [file for file in (home / "home").rglob("*") if file.is_file()]
    told = {file.name: file.read_bytes() for file in files}

    assert b"on_hold" in told["ordermill.db"] + told.get("ordermill.db-wal", b"")
    holding = {name for name, content in told.items() if secret.encode() in content}
    assert holding == set()
