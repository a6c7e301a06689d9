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
    done = "is current already" if before == wanted_schema() else f"is now at {wanted_schema()}"
    console.print(f"The schema {done}.")


@db.command("current")
def current(json: AsJson = False) -> None:
    """Show the schema's version, and which one is needed. Exit code 1 if they differ."""
    with bare_database() as database:
        found = database.schema_version()
    if json:
        show_json({"found": found, "needed": wanted_schema()})
    else:
        console.print(f"found {found or 'nothing'}, needed {wanted_schema()}")
    raise typer.Exit(0 if found == wanted_schema() else 1)
