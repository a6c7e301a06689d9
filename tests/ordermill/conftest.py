"""Commands run in the test's own process, each test in a home of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill import output
from ordermill.main import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sqlite_template: Path,
) -> Run:
    """Runs a command in a home of its own; its exit code, and what it printed."""
    for name in [name for name in os.environ if name.startswith("ORDERMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ORDERMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output.console, "width", 250)

    def run_it(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ordermill", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    (tmp_path / "home").mkdir()
    shutil.copy(sqlite_template, tmp_path / "home" / "ordermill.db")
    return run_it
