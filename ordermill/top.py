"""ordermill top: the overview in the terminal, live, with keys."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from ordermill import queues, terminal
from ordermill.dashboard import View, as_json, picture
from ordermill.output import AsJson, console, show_json
from ordermill.session import actor, application
from ordermill.terminal import Terminal
from pipeline.assembly import Application
from pipeline.bulk import Errand, Tally
from pipeline.errors import OrdermillError
from pipeline.storage.database import Database
from pipeline.storage.selection import Found, Selection, find
from scheduler.table import JOBS
from web.console.pulse import Beat, Pulse

#: Columns of what goes into a pipe or a file.
WIDE = 120


def top(
    interval: Annotated[
        float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="How often it looks.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print it, and end.")] = False,
    json: AsJson = False,
) -> None:
    """Show what needs a person, each queue, and who works, live; ? lists the keys.

    Without a terminal, as --once. What is done by keys is in the operators' log, in your name.
    """
    with application() as app:
        pulse = Pulse(app.database, tuple(JOBS))
        if json:
            show_json(as_json(pulse.beat()))
        elif once or not terminal.is_there():
            columns = console.width if console.is_terminal else WIDE
            console.print(picture(pulse.beat(), View(), columns), width=columns)
        else:
            first = pulse.beat()  # what is wrong from the beginning is told as by any command
            with _quiet(), terminal.opened() as there, watching(app.database, pulse, first, interval, there.wake) as watch:  # fmt: skip
                Top(app, there, watch).run()


@contextmanager
def _quiet() -> Iterator[None]:
    """What libraries log to standard error would be written across the picture."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class Watch:
    """Looks at the database from a thread of its own, so that keys are answered while it hangs."""

    def __init__(
        self,
        database: Database,
        pulse: Pulse,
        first: Beat,
        interval: float,
        wake: Callable[[], None],
    ) -> None:
        self.beat = first
        self.interval = interval
        self.away: str | None = None
        self.defect: Exception | None = None
        self._database, self._pulse, self._wake = database, pulse, wake
        self._asked = threading.Event()
        self._over = False

    def look(self) -> None:
        """Look now: something has just been changed."""
        self._asked.set()

    def stop(self) -> None:
        self._over = True
        self._asked.set()

    def run(self) -> None:
        while self.defect is None:
            if self._asked.wait(self.interval):
                self._asked.clear()
                self._pulse.forget()
            if not self._over:
                self._look()
            if self._over:  # the terminal is no longer ours
                return
            self._wake()

    def _look(self) -> None:
        try:
            self.beat, self.away = self._pulse.beat(), None
        except Exception as error:  # what is no outage ends it all, where it can be told
            if not self._database.is_disconnect(error):
                self.defect = error
            elif self.away is None:
                self.away = f"The database is away since {datetime.now(UTC):%H:%M:%S} UTC"


@contextmanager
def watching(
    database: Database, pulse: Pulse, first: Beat, interval: float, wake: Callable[[], None]
) -> Iterator[Watch]:
    watch = Watch(database, pulse, first, interval, wake)
    # A daemon: a database that gives no answer keeps nobody from leaving.
    thread = threading.Thread(target=watch.run, name="top", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join(0.5)


class Top:
    """Answers keys, and draws what is watched, until somebody has had enough."""

    def __init__(self, app: Application, there: Terminal, watch: Watch) -> None:
        self._app = app
        self._there = there
        self._watch = watch
        self._view = View()
        self._do: Callable[[], str] | None = None  # what a yes would do; what came of it

    def run(self) -> None:
        while True:
            if self._watch.defect:
                raise self._watch.defect
            try:
                self._draw()
                key = self._there.key(self._watch.interval)
                if key is not None and not self._press(key):
                    return
            except (EOFError, KeyboardInterrupt):
                return

    def _draw(self) -> None:
        columns, lines = self._there.size()
        beat, view = self._watch.beat, self._view
        view.reason = max(0, min(view.reason, len(beat.now.held) - 1))
        self._there.draw(
            picture(beat, view, columns, lines, away=self._watch.away, every=self._watch.interval)
        )

    def _press(self, key: str) -> bool:
        """Whether to go on."""
        view = self._view
        if self._do is not None:
            self._answer(key)
            return True
        view.says = ""
        match key:
            case "q":
                return False
            case "?":
                view.mode = "help"
            case "o":
                view.mode = "held"
            case "escape":
                view.mode = "overview"
            case "down" | "j":
                self._choose(1)
            case "up" | "k":
                self._choose(-1)
            case "p" if view.mode == "overview":
                self._ask_pause()
            case "r" if view.mode != "help":
                self._ask_requeue()
        return True

    def _choose(self, by: int) -> None:
        view, now = self._view, self._watch.beat.now
        if view.mode == "held" and now.held:
            view.reason = (view.reason + by) % len(now.held)
        elif view.mode == "overview":
            view.queue = (view.queue + by) % len(now.queues)

    # --- What is done: asked first ---

    def _ask(self, question: str, do: Callable[[], str]) -> None:
        self._view.asks, self._do = question, do

    def _answer(self, key: str) -> None:
        do, self._do, self._view.asks = self._do, None, None
        if key not in ("y", "Y") or do is None:
            self._view.says = "Nothing was done."
            return
        self._view.says = self._tried(do)
        self._watch.look()

    def _tried(self, do: Callable[[], str]) -> str:
        try:
            return do()
        except OrdermillError as error:
            return str(error)
        except Exception as error:  # an outage is said on the screen, all else is raised again
            if not self._app.database.is_disconnect(error):
                raise
            return "The database is away: whether it was done shows once it is back."

    def _ask_pause(self) -> None:
        queue = self._watch.beat.now.queues[self._view.queue]
        if queue.paused:
            self._ask(f"Let {queue.step} go on?", lambda: self._start(queue.step))
        else:
            question = f"Pause {queue.step}? Nothing more is taken from it; what is in hand is finished."  # fmt: skip
            self._ask(question, lambda: self._stop(queue.step))

    def _stop(self, step: str) -> str:
        done = queues.stop(self._app, step)
        return f"{step} is paused." if done else f"{step} was paused already."

    def _start(self, step: str) -> str:
        done = queues.start(self._app, step)
        return f"{step} goes on." if done else f"{step} was not paused."

    def _ask_requeue(self) -> None:
        view, held = self._view, self._watch.beat.now.held
        if not held:
            view.says = "No order is on hold."
        elif view.mode == "overview" and len(held) > 1:
            view.mode, view.says = "held", "Choose a reason, then r."
        else:
            reason = held[view.reason if view.mode == "held" else 0].reason
            view.says = self._tried(lambda: self._count(reason))

    def _count(self, reason: str) -> str:
        """Ask about those that are on hold at this moment: later ones are not among them."""
        with self._app.database.snapshot() as tx:
            found = find(tx, Selection(reason=reason))
        if not found.orders:
            return "None is on hold for that any more."
        question = f"Requeue {found.orders:,} on hold for {reason}?"
        self._ask(question, lambda: self._requeue(found, reason))
        return ""

    def _requeue(self, found: Found, reason: str) -> str:
        """As `orders requeue --reason` does."""
        drawn = 0.0

        def progress(tally: Tally) -> None:
            nonlocal drawn
            if time.monotonic() - drawn > 0.2:
                self._view.says = f"{tally.moved:,} of {tally.found:,} put back to work…"
                self._draw()
                drawn = time.monotonic()

        with self._app.database.transaction() as tx:
            errand = Errand.begun(tx, "requeue", found, actor(), {"reason": reason})
        tally = errand.run(
            self._app.database, actor(), self._app.engine.announce, progress=progress
        )
        skipped = f" {tally.skipped:,} had been changed by somebody else." if tally.skipped else ""
        return f"{tally.moved:,} put back to work.{skipped}"
