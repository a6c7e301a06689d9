"""The overview drawn for a terminal: what needs a person, each queue, who works. Pure: of what was
read and chosen, for so many columns and lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.overview import Held, Overview, Process, Queue, Series
from web.console.pulse import Beat
from web.console.render import span

Mode = Literal["overview", "held", "help"]
BAD, WARN, GOOD, MUTED = "bold red", "yellow", "green", "dim"

HELP = (
    ("↑ ↓  k j", "choose a queue, or a reason"),
    ("p", "pause the chosen queue, or let it go on; asks first"),
    ("r", "requeue all that is on hold for a reason; asks first"),
    ("o", "what is on hold, why, and what to do about it"),
    ("Esc", "back to the overview"),
    ("?", "this page"),
    ("q", "quit"),
)
_KEYS: dict[Mode, str] = {
    "overview": "q quit  ? help  p pause/resume  r requeue held  o on hold",
    "held": "q quit  ? help  r requeue  Esc back",
    "help": "q quit  Esc back",
}


@dataclass(slots=True)
class View:
    """What is looked at: which page, which queue and reason are chosen, and what is said at the
    bottom: a question (`asks`), or what came of the last action (`says`)."""

    mode: Mode = "overview"
    queue: int = 0
    reason: int = 0
    asks: str | None = None
    says: str = ""


def picture(
    beat: Beat,
    view: View,
    columns: int,
    lines: int | None = None,
    *,
    away: str | None = None,
    every: float | None = None,
) -> RenderableType:
    """The page, of `lines` at the most (None: as long as it is). `away` says that, and since when,
    the database can't be read; `every` is how often it is."""
    top = [_head(beat.now, columns, away, every)]
    foot = _foot(view, columns) if every else []
    room = None if lines is None else max(0, lines - len(top) - len(foot))
    body = _PAGES[view.mode](beat, view, columns, room)
    if room is not None:
        body = [*body[:room], *[Text()] * (room - len(body))]
    return Group(*(_cut(line, columns) for line in [*top, *body, *foot][:lines]))


def _head(now: Overview, columns: int, away: str | None, every: float | None) -> Text:
    if away:
        return Text(f"{away}; this is of {now.at:%H:%M:%S} UTC", BAD)
    head = Text("ordermill", "bold")
    held = sum(each.orders for each in now.held)
    said = f"{held:,} on hold" if held else "none on hold"
    at = f"{now.at:%F %T} UTC" if columns >= 60 else f"{now.at:%T} UTC"
    at += f", every {every:g} s" if every and columns >= 60 else ""
    head.append(f"  {said}", WARN if held else MUTED)
    head.append(at.rjust(max(len(at) + 2, columns - len(head))), MUTED)
    return head


def _foot(view: View, columns: int) -> list[Text]:
    """What is asked or said is whole, over as many lines as it takes."""
    if view.asks:
        return _rendered(Text(f"{view.asks} (y/n)", "reverse"), columns)
    if view.says:
        return _rendered(Text(view.says, "bold"), columns)
    return [Text(_KEYS[view.mode], MUTED)]


# --- The overview -----------------------------------------------------------------------------------


def _overview(beat: Beat, view: View, columns: int, room: int | None) -> list[Text]:
    needs = list(_attention(beat.now))
    queues = _rendered(_queues(beat, view.queue if room else None, columns), columns)
    crew = _crew(beat.now.processes, columns)
    if room is not None:  # queues are whole; of the rest, what needs a person goes first
        left = max(0, room - len(queues) - 2)
        needs = _most(needs, max(1, left - (3 if left >= 8 else 0)))
        crew = _most(crew, max(0, left - len(needs)))
    return [*needs, Text(), *queues, Text(), *crew]


def _attention(now: Overview) -> Iterator[Text]:
    """What needs a person, the worst first."""
    if now.is_calm:
        yield Text("Nothing needs you.", GOOD)
    for role, why in now.missing.items():
        yield Text(f"No {role} is running: {why}; start one: ordermill {role}", BAD)
    for gateway in now.breakers:
        yield Text(f"The gateway {gateway} is unwell: it is left alone, payments wait", BAD)
    for each in now.held:
        oldest = span((now.at - each.oldest).total_seconds())
        yield Text(f"{each.orders:,} on hold: {each.reason}, oldest {oldest}; {each.means}", WARN)
    for queue in now.queues:
        if queue.paused:
            since = span((now.at - queue.paused.paused_at).total_seconds())
            wait = f", {queue.waiting:,} orders wait" if queue.waiting else ""
            yield Text(f"{queue.step} is paused by {queue.paused.paused_by}, {since}{wait}", WARN)
    if now.put_aside:
        yield Text(
            f"{now.put_aside:,} messages could not be read within a day: ordermill refusals ls",
            WARN,
        )
    for run in now.jobs:
        failed = run.state == "failed"
        said = f"{run.job} {'failed' if failed else 'found a problem'}"
        yield Text(f"{said}: {run.error}" if run.error else said, BAD if failed else WARN)


@dataclass(frozen=True, slots=True)
class _Row:
    """What a queue's row is made of."""

    queue: Queue
    beat: Beat

    @property
    def oldest(self) -> str:
        return _since(self.beat.now.at, self.queue.oldest)

    def through(self, *, hour: bool) -> int:
        return self.beat.throughput(self.queue.step, hour=hour)

    def failed(self, *, hour: bool) -> int:
        return self.beat.failures(self.queue.step, hour=hour)


#: Columns of the queues: heading, from how wide a terminal on it is shown, what it has.
_COLUMNS: tuple[tuple[str, int, Callable[[_Row], str | Text]], ...] = (
    ("waiting", 0, lambda row: _n(row.queue.waiting)),
    ("due", 60, lambda row: _n(row.queue.due)),
    ("in hand", 0, lambda row: _n(row.queue.running)),
    ("oldest", 0, lambda row: row.oldest),
    ("hour", 50, lambda row: _n(row.through(hour=True))),
    ("failed", 50, lambda row: _failed(row.failed(hour=True))),
    ("day", 70, lambda row: _n(row.through(hour=False))),
    ("failed", 70, lambda row: _failed(row.failed(hour=False))),
    ("last hour", 110, lambda row: Text(spark(row.beat.hour[row.queue.step]), "blue")),
)


def _queues(beat: Beat, chosen: int | None, columns: int) -> Table:
    shown = [column for column in _COLUMNS if columns >= column[1]]
    table = Table(box=None, header_style=MUTED, pad_edge=False, padding=(0, 2 if columns > 90 else 1, 0, 0))  # fmt: skip
    table.add_column("  queue", no_wrap=True)
    for heading, _, _ in shown:
        table.add_column(heading, justify="left" if heading == "last hour" else "right", no_wrap=True)  # fmt: skip
    for n, queue in enumerate(beat.now.queues):
        name = f"{'>' if n == chosen else ' '} {queue.step}"
        style = WARN if queue.paused else ""
        row = _Row(queue, beat)
        cells = (cell(row) for _, _, cell in shown)
        table.add_row(Text(name, "bold" if n == chosen else ""), *cells, style=style)
    return table


def spark(series: Series, width: int = 20) -> str:
    """What came through, as a line of bars."""
    size = max(1, len(series.through) // width)
    sums = [sum(series.through[n : n + size]) for n in range(0, len(series.through), size)]
    most = max(1, *sums)
    return "".join("▁▂▃▄▅▆▇█"[-(-7 * each // most)] if each else " " for each in sums)


def _crew(processes: Sequence[Process], columns: int) -> list[Text]:
    if not processes:
        return [Text("No process was seen lately. Start everything: ordermill up", BAD)]
    table = Table(box=None, header_style=MUTED, pad_edge=False, padding=(0, 2, 0, 0))
    wide = columns >= 60
    table.add_column("  process", min_width=11, no_wrap=True)
    if wide:
        table.add_column("host", no_wrap=True)
        table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("does now", no_wrap=True)
    for each in sorted(processes, key=lambda p: (not p.alive, p.role, p.started_at)):
        where = [each.host, str(each.pid)] if wide else []
        style = "" if each.alive else MUTED
        table.add_row(f"  {each.role}", *where, _does(each), style=style)
    return _rendered(table, columns)


def _does(process: Process) -> Text:
    if not process.alive:
        return Text("gone", BAD)
    doing = "; ".join(f"{d['step']}: {d['orders']:,} orders for {d['seconds']} s" for d in process.doing)  # fmt: skip
    told = Text(doing or "nothing", "" if doing else MUTED)
    for gateway in process.breakers:
        told.append(f"  leaves {gateway} alone", BAD)
    if process.clock:
        told.append(
            f"  clock {abs(process.clock):,} s {'ahead' if process.clock > 0 else 'behind'}", BAD
        )
    return told


# --- Further pages ----------------------------------------------------------------------------------


def _held(beat: Beat, view: View, columns: int, room: int | None) -> list[Text]:
    held = beat.now.held
    if not held:
        return [Text("No order is on hold.", GOOD)]
    table = Table(box=None, header_style=MUTED, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in (("  on hold for", "left"), ("orders", "right"), ("oldest", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for n, each in enumerate(held):
        name = Text(f"{'>' if n == view.reason else ' '} {each.reason}", "bold" if n == view.reason else "")  # fmt: skip
        table.add_row(name, f"{each.orders:,}", _since(beat.now.at, each.oldest))
    rows = _rendered(table, columns)
    told = list(_wrapped(held[min(view.reason, len(held) - 1)], columns))
    if room is not None and len(rows) + len(told) + 1 > room:
        most = max(2, room - len(told) - 1)
        first = max(1, min(view.reason - most + 3, len(rows) - most + 1))
        rows = [rows[0], *rows[first : first + most - 1]]
    return [*rows, Text(), *told]


def _wrapped(each: Held, columns: int) -> Iterator[Text]:
    for what, said in (("means", each.means), ("to do", each.do)):
        yield from _rendered(Text(f"{what}: {said}"), max(20, columns))


def _help(_: Beat, __: View, ___: int, ____: int | None) -> list[Text]:
    return [Text.assemble((f"  {key:10}", "bold"), does) for key, does in HELP]


_PAGES: dict[Mode, Callable[[Beat, View, int, int | None], list[Text]]] = {
    "overview": _overview,
    "held": _held,
    "help": _help,
}


# --- For programs -----------------------------------------------------------------------------------


def as_json(beat: Beat) -> dict[str, Any]:
    """The same for programs."""
    now = beat.now
    return {
        "at": now.at,
        "calm": now.is_calm,
        "missing": now.missing,
        "breakers": now.breakers,
        "held": [
            {"reason": h.reason, "orders": h.orders, "oldest": h.oldest, "means": h.means, "do": h.do}
            for h in now.held
        ],
        "put_aside": now.put_aside,
        "jobs": [{"job": r.job, "run": r.id, "state": r.state, "error": r.error} for r in now.jobs],
        "queues": [
            {
                "queue": q.step, "waiting": q.waiting, "due": q.due, "running": q.running,
                "oldest": q.oldest, "paused": q.paused.paused_by if q.paused else None,
                "hour": {"through": beat.throughput(q.step), "failed": beat.failures(q.step)},
                "day": {
                    "through": beat.throughput(q.step, hour=False),
                    "failed": beat.failures(q.step, hour=False),
                },
            }
            for q in now.queues
        ],
        "processes": [
            {
                "role": p.role, "host": p.host, "pid": p.pid, "started_at": p.started_at,
                "seen_at": p.seen_at, "alive": p.alive, "doing": p.doing, "breakers": p.breakers,
                "version": p.version, "code_schema": p.code_schema, "clock": p.clock,
            }
            for p in now.processes
        ],
    }  # fmt: skip


# --- Lines and figures ------------------------------------------------------------------------------


def _rendered(shown: RenderableType, columns: int) -> list[Text]:
    """As lines, each a Text."""
    console = Console(width=columns, file=io.StringIO())
    lines = console.render_lines(shown, console.options, pad=False)
    made = [Text.assemble(*((s.text, s.style or "") for s in line)) for line in lines]
    for line in made:
        line.rstrip()
    return made


def _most(lines: list[Text], most: int) -> list[Text]:
    """The first of them; the last line says how many more there are."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Text(f"… and {len(lines) - most + 1} more", MUTED)][:most]


def _cut(line: Text, columns: int) -> Text:
    """To the terminal's width; what others wrote must not steer it."""
    line = line.copy()
    line.no_wrap = True
    line.plain = "".join(sign if sign.isprintable() else " " for sign in line.plain)
    line.truncate(columns, overflow="ellipsis")
    return line


def _since(now: datetime, then: datetime | None) -> str:
    return "–" if then is None else span(max(0.0, (now - then).total_seconds()))


def _n(orders: int) -> str:
    """At most six signs, whatever a shop sells."""
    if orders < 100_000:
        return f"{orders:,}"
    if orders < 10_000_000:
        return f"{orders / 1000:,.0f}k"
    return f"{orders / 1_000_000:,.0f}M"


def _failed(orders: int) -> Text:
    return Text(_n(orders), BAD if orders else MUTED)
