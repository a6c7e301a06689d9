"""A command whose COMMIT got no answer looks what became of it, before it says that it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ordermill.main import main
from pipeline.storage import postgres, queues
from pipeline.storage.database import Database
from tests.chaos.lossy_proxy import LossyProxy, lossy_proxy

Command = Callable[[str], tuple[int, str]]


@pytest.fixture
def proxy(postgres_database: Database, postgres_url: str) -> Iterator[LossyProxy]:
    with lossy_proxy(postgres_url) as proxy:
        yield proxy


@pytest.fixture
def command(
    proxy: LossyProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs a command behind the proxy: exit code, and what was printed on standard error."""
    monkeypatch.setenv("ORDERMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORDERMILL_DATABASE_URL", proxy.through)

    def run(words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ordermill", *words.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def paused(database: Database) -> list[str]:
    with database.snapshot() as tx:
        return sorted(queues.paused(tx))


def test_what_was_done_is_said_to_be_done(
    command: Command, proxy: LossyProxy, postgres_database: Database
) -> None:
    proxy.lose_answer_of_commit(1)

    code, told = command("queues pause pay")

    assert proxy.lost == 1
    assert (code, paused(postgres_database)) == (0, ["pay"]), told


def test_what_was_not_done_is_said_to_have_failed(
    command: Command, proxy: LossyProxy, postgres_database: Database
) -> None:
    proxy.lose_commit(1)

    code, told = command("queues pause pay")

    assert proxy.lost == 1
    assert (code, paused(postgres_database)) == (2, [])
    assert "the database failed" in told


def test_what_nobody_can_tell_is_said_to_be_so(
    command: Command, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOOK_FOR", 0.0)
    proxy.lose_answer_of_commit(1)

    code, told = command("queues pause pay")

    assert code == 2
    assert "may have been done, or not" in " ".join(told.split())
