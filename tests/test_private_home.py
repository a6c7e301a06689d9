"""The home is its owner's alone: orders, mails, keys and hashes of passwords lie in it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.check import check
from pipeline.opening import open_database
from pipeline.settings import Settings
from pipeline.storage.database import Database


def open_home(home: Path) -> int:
    """Its mode, once a process has opened it."""
    open_database(Settings(_env_file=None, home=home)).close()
    return stat.S_IMODE(home.stat().st_mode)


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    assert open_home(tmp_path / "deep" / "home") == 0o700


@pytest.mark.parametrize("holds", [None, "ordermill.db", "webhook-secret"])
def test_a_home_that_others_could_look_into_is_closed(tmp_path: Path, holds: str | None) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    if holds:
        (home / holds).touch()

    assert open_home(home) == 0o700


def test_a_folder_that_is_used_for_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    tmp_path.chmod(0o755)

    assert open_home(tmp_path) == 0o755


def test_where_somebody_works_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)

    assert open_home(tmp_path) == 0o755


def test_check_says_that_others_can_look_into_it(tmp_path: Path, sqlite_database: Database) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = Settings(_env_file=None, home=home)
    home.chmod(0o750)

    (found,) = [c for c in check(settings, sqlite_database) if c.name == "home"]
    home.chmod(0o700)

    assert (found.level, found.mend) == ("warning", f"`chmod 700 {home}`")
    assert "home" not in [c.name for c in check(settings, sqlite_database)]
