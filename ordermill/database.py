"""ordermill db: the schema."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, errors, show_json
from ordermill.session import bare_database
from pipeline.assembly import gateway_choice
from pipeline.payments.choice import mend
from pipeline.settings import load_settings
from pipeline.source import Policy
from pipeline.storage import sources as storage
from pipeline.storage.database import Database
from pipeline.storage.schema_version import wanted_schema

db = typer.Typer(help="The database schema.", no_args_is_help=True)


@db.command("upgrade")
def upgrade(
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't ask, though orders of a source will wait.")
    ] = False,
) -> None:
    """Bring the schema to what this version needs. Safe to run at every deployment. It asks first if
    there are sources whose orders would wait, as nobody would be paid."""
    with bare_database() as database:
        _ask_about_unpaid(database, yes)
        before = database.schema_version()
        database.upgrade()
        after = database.schema()
    if after.is_newer:
        done = f"is at {after.revision} already, which is newer and serves this version"
    elif before == after.revision:
        done = "is current already"
    else:
        done = f"is now at {after.revision}"
    console.print(f"The schema {done}.")


def _ask_about_unpaid(database: Database, yes: bool) -> None:
    choice = gateway_choice(load_settings())
    with database.snapshot() as tx:
        named = storage.named_gateways(tx)
    # Of an older schema the rest of a policy may be none.
    lacks = {
        name: choice.lack(name, Policy.model_construct(gateway=g)) for name, g in named.items()
    }
    waiting = {name: lack for name, lack in lacks.items() if lack}
    for name, lack in waiting.items():
        errors.print(f"{lack}: its orders will wait. Then {mend(name)}.", markup=False)
    if waiting and not yes:
        typer.confirm("Go on (--yes: without this question)?", abort=True, err=True)


@db.command("current")
def current(json: AsJson = False) -> None:
    """Show the schema's version, which one this code was written for, and the code that it serves.
    Exit code 1 if this code may not work on it."""
    with bare_database() as database:
        found = database.schema()
    serves = sorted(found.serves)
    if json:
        show_json({"found": found.revision, "needed": wanted_schema(), "serves": serves})
    else:
        served = f", serves code for {', '.join(serves)}" if serves else ""
        console.print(f"found {found.revision or 'nothing'}, needed {wanted_schema()}{served}")
    raise typer.Exit(0 if found.serves_this_code else 1)
