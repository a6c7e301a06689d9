"""Which schema a database has, which one this code was written for, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from pipeline.errors import CodeOutdated, SchemaOutdated

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a database has: its revision (None: it is empty), and the schemas that code may
    have been written for and work on it."""

    revision: str | None
    serves: frozenset[str]

    @property
    def is_newer(self) -> bool:
        """Whether it was made by code that is newer than this."""
        return self.revision is not None and self.revision not in _known()

    @property
    def serves_this_code(self) -> bool:
        wanted = wanted_schema()
        return self.revision == wanted or (self.is_newer and wanted in self.serves)


def found(connection: Connection) -> str | None:
    """The revision the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    at = connection.execute(text("SELECT version_num FROM alembic_version"))
    return at.scalars().one_or_none()


def read(connection: Connection) -> Schema:
    revision = found(connection)
    if not inspect(connection).has_table("schema_serves"):  # it is older than 0017
        return Schema(revision, frozenset())
    served = connection.execute(text("SELECT code_schema FROM schema_serves"))
    return Schema(revision, frozenset(served.scalars()))


def require(schema: Schema) -> None:
    """Raise SchemaOutdated or CodeOutdated unless it serves this code."""
    if schema.serves_this_code:
        return
    if schema.is_newer:
        raise CodeOutdated(schema.revision or "", wanted_schema(), sorted(schema.serves))
    raise SchemaOutdated(schema.revision, wanted_schema())


@cache
def wanted_schema() -> str:
    """The revision that this version of the code was written for."""
    return max(_known())


@cache
def _known() -> frozenset[str]:
    """Each migration's file begins with its revision, of four digits."""
    return frozenset(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
