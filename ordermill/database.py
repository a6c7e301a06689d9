"""ordermill db: the schema."""

from __future__ import annotations

import typer

from ordermill.output import AsJson, console, show_json
from ordermill.session import bare_database
from pipeline.storage.database import wanted_schema

db = typer.Typer(help="The database schema.", no_args_is_help=True)


@db.command("upgrade")
def upgrade() -> None:
    """Bring the schema to what this version needs. Safe to run at every deployment."""
    with bare_database() as database:
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
