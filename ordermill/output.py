"""Printing: a table for people, JSON for programs; the same rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import IO, Annotated, Any

import typer
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

# A sentence is wrapped by the terminal, not by us: a command in it must stay one to be copied.
# Into a pipe or a file, lines are as long as they need be.
console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 300)
errors = Console(stderr=True, soft_wrap=True)

#: Columns that may be broken over lines when the terminal is narrow; all others stay whole.
PROSE = frozenset(
    {"says", "found", "mend", "detail", "policy", "problems", "result", "error", "cause"}
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """A parser for an argument that must be one of `names`."""
    known = list(names)

    def parse(given: str) -> str:
        if given not in known:
            raise typer.BadParameter(f"{given!r} is none of {', '.join(known)}")
        return given

    return parse


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, *, empty: str) -> None:
    """Print rows; `empty` is what to say, and to do, when there are none."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        console.print(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, value in rows[0].items():
        number = isinstance(value, int) and not isinstance(value, bool)
        prose = name in PROSE
        justify: JustifyMethod = "right" if number else "left"
        table.add_column(name, justify=justify, no_wrap=not prose, overflow="fold")
    for row in rows:
        # As Text: what upstream systems send may look like markup.
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(table)


def show_json(value: Any, file: IO[str] | None = None) -> None:
    typer.echo(json.dumps(value, default=str, indent=2), file)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    return str(value)
