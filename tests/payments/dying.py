"""Dying at a chosen point: after a statement, before or after a commit or a call of the gateway.

(Before a statement is after what came before it: nothing has happened in between.)

A process is forked that does the work and kills itself (-9) at its nth point. It shares nothing
with its parent but the files: the parent lets go of its connections first.
"""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from pipeline.payments.gateway import Gateway
from pipeline.storage.database import Database


@dataclass(slots=True)
class Points:
    """The points that a process has passed, by name; it dies at the `fatal`th, if there is one."""

    fatal: int | None = None
    passed: list[str] = field(default_factory=list)

    def pass_by(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, database: Database) -> None:
        """Count the points of every statement and commit from now on."""

        def after(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if not statement.startswith("BEGIN"):  # which does nothing yet
                self.pass_by(f"after {_short(statement)}")

        event.listen(database.engine, "after_cursor_execute", after)
        dialect = database.engine.dialect
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            self.pass_by("before COMMIT")
            commit(connection)
            self.pass_by("after COMMIT")

        dialect.do_commit = do_commit  # type: ignore[method-assign]


class WatchedGateway:
    """A gateway whose calls are points, before and after."""

    def __init__(self, gateway: Gateway, points: Points) -> None:
        self._gateway = gateway
        self._points = points

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._gateway, name)
        if name not in ("perform", "find", "read"):
            return found

        def call(argument: Any) -> Any:
            what = f"{name} {getattr(argument, 'kind', '')}".strip()
            self._points.pass_by(f"before the gateway's {what}")
            answer = found(argument)
            self._points.pass_by(f"after the gateway's {what}")
            return answer

        return call


def points_of(
    database: Database, watcher: Database, scratch: Path, work: Callable[[Points], object]
) -> list[str]:
    """The names of the points that `work` passes, in a process that doesn't die of them."""
    told = scratch / "points"

    def tell() -> None:
        points = Points()
        work(points)
        told.write_text("\n".join(points.passed))

    assert _fork(database, watcher, tell) == 0, "the work fails even if nobody dies"
    return told.read_text().splitlines()


def die_at(
    database: Database, watcher: Database, number: int, work: Callable[[Points], object]
) -> bool:
    """Do `work` on `database` in a process that dies at that point; whether it got there.

    `watcher` is the same database by connections that the process has no use for.
    """
    status = _fork(database, watcher, lambda: work(Points(fatal=number)))
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _fork(database: Database, watcher: Database, act: Callable[[], object]) -> int:
    """Run `act` in a child; its wait status."""
    database.engine.dispose()  # a connection must not be two processes'
    since = _time(watcher)
    child = os.fork()
    if child == 0:
        gc.disable()  # it would look at, and so copy, all that is the parent's
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # nothing of the parent's is flushed, closed or reported twice
    status = os.waitpid(child, 0)[1]
    _await_release(watcher, since)
    return status


_LEFT = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND backend_start >= :since"
)


def _time(database: Database) -> Any:
    if database.is_sqlite:
        return None
    with database.snapshot() as tx:
        return tx.execute(text("SELECT clock_timestamp()")).scalar_one()


def _await_release(database: Database, since: Any) -> None:
    """Until the server has noticed: it holds the dead one's locks for a moment."""
    if database.is_sqlite:
        return
    give_up = time.monotonic() + 10
    while _left(
        database, since
    ):  # a transaction each: in one, the server tells what it told before
        assert time.monotonic() < give_up, "the dead one is still on this database"
        time.sleep(0.001)


def _left(database: Database, since: Any) -> int:
    """Connections of who came after that: of the child, but for the watcher's own."""
    with database.snapshot() as tx:
        return int(tx.execute(_LEFT, {"since": since}).scalar_one())


def without_syncing(database: Database) -> None:
    """Let no commit wait for the disk: what dies here is a process, not the machine."""

    def relax(connection: Any, _record: Any) -> None:
        if database.is_sqlite:
            connection.execute("PRAGMA synchronous = OFF")
        else:
            connection.execute("SET synchronous_commit = off")
            connection.commit()

    event.listen(database.engine, "connect", relax)


def _short(statement: str) -> str:
    return " ".join(statement.split())[:60]
