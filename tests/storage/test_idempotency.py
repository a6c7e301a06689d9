"""What was done under an Idempotency-Key is done once, and what failed is not done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from pipeline.assembly import Application
from pipeline.storage.database import Database
from pipeline.storage.idempotency import KeyReused, once
from pipeline.storage.sql import now
from pipeline.storage.tables import idempotency as table
from scheduler.jobs.forget_answers import DAYS, forget_answers


def do(database: Database, owner: str = "a", key: str = "k", digest: str = "d") -> str:
    """Ask for something under a key; whether it was done, or had been."""
    done = []
    with database.transaction() as tx:
        once(tx, owner, key, digest, lambda: done.append(1) or {"n": 1})  # type: ignore[func-returns-value]
    return "done" if done else "repeated"


def test_the_same_again_is_answered_and_not_done(database: Database) -> None:
    assert [do(database) for _ in range(3)] == ["done", "repeated", "repeated"]


def test_keys_are_their_owners(database: Database) -> None:
    assert do(database, owner="a") == do(database, owner="b") == "done"


def test_another_request_under_the_key_is_refused(database: Database) -> None:
    do(database)

    with pytest.raises(KeyReused, match="k was given with another request"):
        do(database, digest="other")


def test_what_failed_was_not_done(database: Database) -> None:
    def fail() -> dict[str, int]:
        raise ValueError

    with pytest.raises(ValueError), database.transaction() as tx:  # noqa: PT011
        once(tx, "a", "k", "d", fail)

    assert do(database, digest="other") == "done"


def test_of_those_who_come_at_once_one_does_it(database: Database) -> None:
    gate = threading.Barrier(6)

    def come(_: int) -> str:
        gate.wait(30)
        return do(database)

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(come, range(6))) == ["done"] + ["repeated"] * 5


def test_answers_are_kept_for_a_week(database: Database) -> None:
    do(database, key="old")
    do(database, key="new")
    with database.transaction() as tx:
        old = update(table).where(table.c.key == "old")
        tx.execute(old.values(at=now(-DAYS * 86_400.0 - 60)))

    class App:
        def __init__(self) -> None:
            self.database = database

    app: Application = App()  # type: ignore[assignment]
    assert forget_answers(app) == {"forgotten": 1}
    assert (do(database, key="old"), do(database, key="new")) == ("done", "repeated")
