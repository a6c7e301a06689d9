"""ordermill top: the overview in a terminal, what its keys do, and that it leaves no trace."""

from __future__ import annotations

import json
import os
import pty
import signal
import termios
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ordermill import terminal
from ordermill.dashboard import View, picture
from ordermill.session import actor
from pipeline.chain import STEPS
from pipeline.overview import HOURS, MINUTES, Held, Overview, Process, Queue, Series
from pipeline.source import Policy
from pipeline.storage.database import Database
from tests.ordermill.conftest import Run
from tests.ordermill.seat import Seat
from tests.support import Mill
from web.console.pulse import Beat

NOW = datetime(2026, 11, 23, 3, 7, 30, tzinfo=UTC)


# --- What is drawn ------------------------------------------------------------------------------------


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def a_beat(**changes: Any) -> Beat:
    """Three in the morning: orders on hold, the payments paused, a scheduler missing."""
    paused = SimpleNamespace(paused_by="operator:ada", paused_at=ago(minutes=12))
    busy = {"validate": (23, 20, 3), "pay": (8_412, 8_412, 0)}
    queues = [
        Queue(
            step, *busy.get(step, (0, 0, 0)), ago(minutes=5) if step in busy else None,
            paused if step == "pay" else None,
        )
        for step in STEPS
    ]  # fmt: skip
    now = Overview(
        NOW,
        [
            Held("country_held", 64, ago(hours=2, minutes=3), "its country is held", "look at it"),
            Held("defect", 1, ago(seconds=40), "a step raised on this order", "mend it, requeue"),
        ],
        queues,
        [
            Process("worker", "mill-1", 4101, ago(hours=9), NOW, True,
                    [{"step": "reserve", "orders": 412, "seconds": 0.4}], ["stripe"]),
            Process("worker", "mill-2", 4102, ago(hours=9), ago(minutes=9), False, [], []),
        ],
        [SimpleNamespace(job="reconcile-stock", id=17, state="problem", error="3 differ")],
    )  # fmt: skip
    minutes = [ago(minutes=n) for n in range(MINUTES)]
    hour = Series(minutes, [n % 7 * 10 for n in range(MINUTES)], [0] * 59 + [2])
    day = Series([ago(hours=n) for n in range(HOURS)], [50_000] * HOURS, [3] * HOURS)
    return Beat(replace(now, **changes), dict.fromkeys(STEPS, hour), dict.fromkeys(STEPS, day))


def drawn(beat: Beat, view: View, columns: int, lines: int | None, **options: Any) -> list[str]:
    console = Console(width=columns, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(picture(beat, view, columns, lines, every=2.0, **options), end="")
    return console.export_text().rstrip("\n").split("\n")


def test_a_terminal_of_80_by_24_has_it_all() -> None:
    frame = drawn(a_beat(), View(queue=2), 80, 24)

    assert "\n".join(line.rstrip() for line in frame) == FRAME


FRAME = """\
ordermill  65 on hold                         2026-11-23 03:07:30 UTC, every 2 s
No scheduler is running: retries and jobs that are due may stay where they are;…
The gateway stripe is unwell: it is left alone, payments wait
64 on hold: country_held, oldest 2 h 03; its country is held
1 on hold: defect, oldest 40 s; a step raised on this order
pay is paused by operator:ada, 12 min, 8,412 orders wait
reconcile-stock found a problem: 3 differ

  queue        waiting   due in hand oldest  hour failed    day failed
  validate          23    20       3  5 min 1,740      2 1,200k     72
  price              0     0       0      – 1,740      2 1,200k     72
> pay            8,412 8,412       0  5 min 1,740      2 1,200k     72
  reserve            0     0       0      – 1,740      2 1,200k     72
  notify             0     0       0      – 1,740      2 1,200k     72
  undo_pay           0     0       0      – 1,740      2 1,200k     72
  undo_reserve       0     0       0      – 1,740      2 1,200k     72

  process    host     pid  does now
  worker     mill-1  4101  reserve: 412 orders for 0.4 s  leaves stripe alone
  worker     mill-2  4102  gone



q quit  ? help  p pause/resume  r requeue held  o on hold"""


@pytest.mark.parametrize("mode", ["overview", "held", "help"])
@pytest.mark.parametrize(
    ("columns", "lines"), [(80, 24), (40, 24), (80, 12), (24, 8), (200, 60), (1, 1)]
)
def test_every_page_fits_every_terminal(mode: Any, columns: int, lines: int) -> None:
    frame = drawn(a_beat(), View(mode=mode), columns, lines)

    assert max(map(len, frame)) <= columns
    assert len(frame) <= lines


def test_on_a_narrow_terminal_what_waits_stays_and_the_past_goes() -> None:
    frame = "\n".join(drawn(a_beat(), View(), 40, 24))

    assert all(each in frame for each in ("waiting", "in hand", "oldest", "8,412"))
    assert "failed" not in frame


def test_on_a_short_terminal_queues_stay_and_the_rest_is_counted() -> None:
    frame = drawn(a_beat(), View(), 80, 14)

    assert sum(any(f" {step} " in line for step in STEPS) for line in frame) == len(STEPS)
    assert any("… and" in line for line in frame)


def test_when_nothing_is_the_matter_it_says_so() -> None:
    beat = a_beat()
    queues = [replace(queue, paused=None) for queue in beat.now.queues]
    crew = [Process(role, "mill-1", 1, NOW, NOW, True, [], []) for role in ("worker", "scheduler")]
    calm = a_beat(held=[], queues=queues, processes=crew, jobs=[])

    frame = "\n".join(drawn(calm, View(), 80, 24))

    assert "Nothing needs you." in frame
    assert "none on hold" in frame


def test_what_others_wrote_does_not_steer_the_terminal() -> None:
    job = SimpleNamespace(job="audit", id=1, state="failed", error="\x1b[2J\nboo")
    held = [Held("\x1b]0;pwned\x07", 1, NOW, "\r\x1b[H", "x")]

    for mode in ("overview", "held"):
        frame = drawn(a_beat(jobs=[job], held=held), View(mode=mode), 80, 24)  # type: ignore[arg-type]
        assert not set("\x1b\x07\r") & set("".join(frame))


def test_while_the_database_is_away_the_last_picture_stays_and_says_of_when_it_is() -> None:
    frame = drawn(a_beat(), View(), 80, 24, away="The database is away since 03:08:00 UTC")

    assert frame[0] == "The database is away since 03:08:00 UTC; this is of 03:07:30 UTC"
    assert any("8,412" in line for line in frame)


# --- At a terminal ------------------------------------------------------------------------------------


@pytest.fixture
def sit(database: Database, tmp_path: Path) -> Iterator[Callable[..., Seat]]:
    """Sits down at a terminal where a command runs on the test's database."""
    taken: list[Seat] = []

    def make(*arguments: str, size: tuple[int, int] = (80, 24)) -> Seat:
        url = database.url.render_as_string(hide_password=False).replace("+psycopg", "")
        env = {"ORDERMILL_HOME": str(tmp_path / "home"), "ORDERMILL_DATABASE_URL": url}
        taken.append(Seat(*arguments, env=env, size=size))
        return taken[-1]

    yield make
    for seat in taken:
        seat.close()


@pytest.fixture
def shop(database: Database) -> Mill:
    """Two orders on hold, as they go to France."""
    mill = Mill(database, policy=Policy(hold_countries=frozenset({"FR"}))).stocked()
    for _ in range(2):
        mill.accept(ship_to={"country": "FR", "postal_code": "75001"})
    mill.turn()
    return mill


def log(shop: Mill) -> list[tuple[str, ...]]:
    return [
        tuple(row)
        for row in shop.query("SELECT operator, action, outcome FROM operators_log ORDER BY id")
    ]


def test_it_shows_steers_and_leaves(sit: Callable[..., Seat], shop: Mill) -> None:
    seat = sit("top", "--interval", "0.5")
    seat.see("2 on hold: country_held", "> validate")

    seat.press("j\x1b[B")
    seat.see("> pay")
    seat.press("p")
    seat.see("Pause pay? Nothing more is taken from it")
    seat.press("x")
    seat.see("Nothing was done.")
    seat.press("py")
    seat.see("pay is paused.", f"pay is paused by {actor()}")
    seat.press("py")
    seat.see("pay goes on.", without="is paused by")
    seat.press("o")
    seat.see("> country_held", "to do: look at it")
    seat.press("r")
    seat.see("Requeue 2 on hold for country_held? (y/n)")
    seat.press("y")
    seat.see("2 put back to work.", "No order is on hold.")
    seat.press("?")
    seat.see("requeue all that is on hold for a reason")
    seat.press("q")

    assert (seat.ended(), seat.is_as_before) == (0, True)
    shop.turn()
    assert shop.status(1) == "confirmed"
    assert log(shop) == [
        (actor(), action, "done") for action in ("queue.pause", "queue.resume", "requeue.all")
    ]
    [requeued] = shop.query("SELECT actor FROM events WHERE order_id = 1 AND kind = 'requeued'")
    assert requeued.actor == actor()


on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@on_sqlite
@pytest.mark.parametrize(
    ("how", "code"), [("\x03", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_however_it_ends_the_terminal_is_as_it_was(
    sit: Callable[..., Seat], shop: Mill, how: str | signal.Signals, code: int
) -> None:
    seat = sit("top")
    seat.see("2 on hold")

    if isinstance(how, str):
        seat.press(how)
    else:
        seat.process.send_signal(how)

    assert (seat.ended(), seat.is_as_before) == (code, True)


@on_sqlite
def test_it_follows_the_terminals_size_and_outlives_the_databases_absence(
    sit: Callable[..., Seat], shop: Mill, database: Database
) -> None:
    seat = sit("top", "--interval", "0.5")
    seat.see("2 on hold", "failed")

    seat.resize(44, 16)
    small = seat.see("waiting", without="failed")
    with database.transaction() as tx:
        tx.exec_driver_sql("ALTER TABLE dispatches RENAME TO gone")
    seat.see("The database is away since")
    with database.transaction() as tx:
        tx.exec_driver_sql("ALTER TABLE gone RENAME TO dispatches")
    seat.see("2 on hold", without="is away")
    seat.press("q")

    assert len(small) == 16
    assert max(map(len, small)) <= 44
    assert seat.ended() == 0


def test_an_error_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with os.fdopen(slave, "r+b", buffering=0) as raw, open(slave, "w", closefd=False) as out:
        monkeypatch.setattr("sys.stdin", raw)
        monkeypatch.setattr("sys.stdout", out)
        handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGWINCH)]

        with pytest.raises(ZeroDivisionError), terminal.opened():
            _ = len(during := termios.tcgetattr(slave)) / 0

        assert during != before
        assert termios.tcgetattr(slave) == before
        assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGWINCH)] == handlers
    os.close(master)


# --- For scripts --------------------------------------------------------------------------------------


def test_without_a_terminal_it_looks_once(run: Run) -> None:
    code, told = run("top")

    assert code == 0
    assert "No worker is running" in told
    assert all(step in told for step in STEPS)
    assert "\x1b" not in told
    assert "? help" not in told


def test_a_program_gets_json(run: Run) -> None:
    run("queues", "pause", "pay")

    told = json.loads(run("top", "--json")[1])

    paused = {queue["queue"]: queue["paused"] for queue in told["queues"]}
    assert paused == {**dict.fromkeys(STEPS), "pay": actor()}
    assert (told["calm"], list(told["missing"])) == (False, ["worker", "scheduler"])
    assert told["queues"][0]["hour"] == {"through": 0, "failed": 0}


def test_an_interval_that_makes_no_sense_is_wrong_use(run: Run) -> None:
    assert run("top", "--interval", "0")[0] == 2
