"""Groups of commands that are imported when they are called.

Each command needs another part of the system, and all parts together take seconds to import.
`--help` needs none of them: a table says what each command is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command, or a group of them, in `module`; `help` is the first paragraph of its own."""

    module: str
    name: str
    help: str

    def load(self, called: str) -> Any:
        found = getattr(import_module(self.module), self.name)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(called)(found)
        return typer.main.get_command(alone)


class _Stub(TyperCommand):
    """Stands for a command until it is called."""

    def __init__(self, called: str, lazy: Lazy) -> None:
        super().__init__(called, help=lazy.help)
        self._lazy = lazy

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        return self._lazy.load(str(self.name)).make_context(info_name, args, *more, **extra)


def group(help: str, commands: Mapping[str, Lazy]) -> typer.Typer:
    """A group of these commands, in this order; others may be declared on it as with Typer."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*commands, *super().list_commands(ctx)]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            lazy = commands.get(cmd_name)
            return _Stub(cmd_name, lazy) if lazy else super().get_command(ctx, cmd_name)

    made = typer.Typer(
        cls=Group,
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    made.callback()(_nothing)
    return made


def _nothing() -> None:
    """A group by itself does nothing. Typer wants to be told so."""
