"""ordermill operators: who may sign in to the console, and what was done by whom."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ordermill.output import AsJson, console, show
from ordermill.session import acting, application
from pipeline.errors import InvalidInput
from pipeline.operators import Role, hash_password, valid_name, valid_role
from pipeline.storage import operators as storage
from pipeline.storage import operators_log
from pipeline.typed import LARGEST

operators = typer.Typer(
    help="Who may sign in to the console, and what was done by whom.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The operator's name.")]
ItsRole = Annotated[str, typer.Option("--role", help="viewer, operator or admin.")]


@operators.command("create")
def create(name: Name, role: ItsRole = Role.VIEWER) -> None:
    """Make an operator. The password is asked for or, from a pipe, read from the first line."""
    name, wanted = valid_name(name), valid_role(role)
    password = hash_password(_password())
    with application() as app, acting(app, "operator.create", name, role=wanted) as act:
        storage.create(act.tx, name, wanted, password)
    console.print(f"Operator {name} is made: {wanted}.")


@operators.command("ls")
def ls(json: AsJson = False) -> None:
    """List operators: role, since when, last seen, whether disabled."""
    with application() as app, app.database.snapshot() as tx:
        found = storage.all_operators(tx)
    names = ("name", "role", "created_at", "seen_at", "disabled_at")
    rows = [{name: getattr(r, name) for name in names} for r in found]
    show(rows, json, empty="There is no operator. Make one: ordermill operators create NAME")


@operators.command("set-role")
def set_role(name: Name, role: ItsRole) -> None:
    """Change what an operator may do. He is signed out everywhere."""
    wanted = valid_role(role)
    with application() as app, acting(app, "operator.set-role", name, role=wanted) as act:
        storage.change(act.tx, name, role=wanted)
    console.print(f"Operator {name} is {wanted} now, and signed out.", markup=False)


@operators.command("disable")
def disable(name: Name) -> None:
    """Let an operator sign in no more. He is signed out everywhere; what he did stays in the log."""
    with application() as app, acting(app, "operator.disable", name) as act:
        storage.disable(act.tx, name)
    console.print(f"Operator {name} is disabled, and signed out.", markup=False)


@operators.command("password")
def password(name: Name) -> None:
    """Set an operator's password; one who was disabled may sign in again. He is signed out
    everywhere."""
    new = hash_password(_password())
    with application() as app, acting(app, "operator.password", name) as act:
        storage.change(act.tx, name, password=new, disabled_at=None)
    console.print(f"Operator {name} has a new password, and is signed out.", markup=False)


@operators.command("log")
def log(
    by: Annotated[str | None, typer.Option(help="Only what this name did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this: requeue, refund, …")] = None,
    target: Annotated[str | None, typer.Option(help="Only to this order, SKU, queue, …")] = None,
    before: Annotated[
        int | None, typer.Option(max=LARGEST, help="Continue an earlier page: only ids below.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: AsJson = False,
) -> None:
    """List what operators did, in the console, by commands and with keys; the newest first."""
    with application() as app, app.database.snapshot() as tx:
        found = operators_log.page(
            tx, limit, before=before, operator=by, action=action, target=target
        )
    rows = found if json else [{**entry, "detail": _told(entry["detail"])} for entry in found]
    show(rows, json, empty="Nobody has done anything yet, or nothing that was asked for.")


def _told(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in detail.items() if value is not None)


def _password() -> str:
    """Asked for twice at a terminal; never an argument, which others could read."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    given = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != given:
        raise InvalidInput("password: the two differ")
    return given
