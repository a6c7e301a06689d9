"""The audit's tests plant what our constraints forbid, so their schema has none but the keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Index, MetaData, PrimaryKeyConstraint, UniqueConstraint, text

from pipeline.storage.database import Database
from pipeline.storage.tables import metadata

SCHEMA = "unguarded"


def _unguarded() -> MetaData:
    """Our tables without checks and foreign keys; what was unique has an index one can drop."""
    copy = MetaData()
    for table in metadata.sorted_tables:
        bare = table.to_metadata(copy)
        for constraint in list(bare.constraints):
            if isinstance(constraint, UniqueConstraint):
                names = [column.name for column in constraint.columns]
                Index(f"one_{bare.name}", *(bare.c[name] for name in names), unique=True)
            if not isinstance(constraint, PrimaryKeyConstraint):
                bare.constraints.remove(constraint)
        for column in bare.columns:
            for key in list(column.foreign_keys):
                column.foreign_keys.remove(key)
    return copy


UNGUARDED = _unguarded()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ordermill.db'}")
    UNGUARDED.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    separator = "&" if "?" in postgres_url else "?"
    database = Database(f"{postgres_url}{separator}options=-csearch_path%3D{SCHEMA}")
    with database.transaction() as tx:
        tx.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
        tx.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        UNGUARDED.create_all(tx)
    yield database
    with database.transaction() as tx:
        tx.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
    database.close()
