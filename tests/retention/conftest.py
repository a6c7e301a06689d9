"""Commands on the test's database."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill import output
from ordermill.main import main
from pipeline.storage.database import Database

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def command(
    database: Database,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs a command on the test's database: exit code, and what was printed."""
    url = database.url.render_as_string(hide_password=False)
    for name, value in (("HOME", str(home)), ("DATABASE_URL", url)):
        monkeypatch.setenv(f"ORDERMILL_{name}", value)
    monkeypatch.setattr(output.console, "width", 300)

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ordermill", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run
