"""Migrations, by Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from pipeline.storage.schema_version import MIGRATIONS, wanted_schema


def to_newest(connection: Connection) -> None:
    """Run the migrations that the database lacks, and let it name the code that it serves."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.execute(text("DELETE FROM schema_serves"))
    connection.execute(
        text("INSERT INTO schema_serves (code_schema) VALUES (:served)"),
        [{"served": each} for each in _served_by_the_newest()],
    )


def migrations() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())


def _served_by_the_newest() -> tuple[str, ...]:
    served: tuple[str, ...] = migrations().get_revision(wanted_schema()).module.serves
    return served


def alembic_config() -> Config:
    """Where the migrations are; `attributes["connection"]` is the database to be upgraded."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
