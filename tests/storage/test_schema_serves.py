"""The schema names the code that may work on it, so that an upgrade need not stop what still can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.check import check
from pipeline.errors import CodeOutdated, SchemaOutdated
from pipeline.settings import Settings
from pipeline.storage import processes
from pipeline.storage.database import Database
from pipeline.storage.schema_version import wanted_schema
from pipeline.storage.upgrade import migrations
from pipeline.version import VERSION

NEWER = "9999"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ordermill.db'}")
    database.upgrade()
    yield database
    database.close()


def made_newer(database: Database, *serves: str) -> None:
    """As newer code would leave the schema behind."""
    with database.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = :newer"), {"newer": NEWER})
        tx.execute(text("DELETE FROM schema_serves"))
        for served in (*serves, NEWER):
            tx.execute(text("INSERT INTO schema_serves VALUES (:served)"), {"served": served})


def schema_check(database: Database, tmp_path: Path) -> tuple[str, str]:
    settings = Settings(home=tmp_path, database_url=str(database.url))
    (found,) = [each for each in check(settings, database) if each.name == "schema"]
    return found.level, found.found


def test_a_schema_that_was_upgraded_serves_the_code_that_upgraded_it(shop: Database) -> None:
    shop.require_schema()

    assert shop.schema().serves == set(migrations().get_revision(wanted_schema()).module.serves)


def test_a_newer_schema_that_names_this_code_is_worked_on(shop: Database) -> None:
    made_newer(shop, wanted_schema())

    shop.require_schema()


def test_a_newer_schema_that_does_not_name_this_code_is_refused(shop: Database) -> None:
    made_newer(shop, "9998")

    with pytest.raises(CodeOutdated, match=f"9999 .*9998, 9999; .*{wanted_schema()}: install"):
        shop.require_schema()


def test_an_upgrade_by_older_code_leaves_a_newer_schema_as_it_is(shop: Database) -> None:
    made_newer(shop, wanted_schema())

    shop.upgrade()

    assert shop.schema().revision == NEWER


def test_an_upgrade_by_code_that_is_not_served_is_refused(shop: Database) -> None:
    made_newer(shop)

    with pytest.raises(CodeOutdated):
        shop.upgrade()


@pytest.mark.parametrize("revision", ["0016", None])
def test_an_older_schema_asks_for_an_upgrade(tmp_path: Path, revision: str | None) -> None:
    database = Database(f"sqlite:///{tmp_path / 'older.db'}")
    if revision is not None:
        with database.transaction() as tx:
            tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            tx.execute(text("INSERT INTO alembic_version VALUES (:at)"), {"at": revision})

    with pytest.raises(SchemaOutdated, match="run `ordermill db upgrade`"):
        database.require_schema()
    database.close()


def test_a_migration_s_file_begins_with_its_revision() -> None:
    for script in migrations().walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")
    assert wanted_schema() == migrations().get_current_head()


def test_every_migration_names_itself_and_older_ones_that_it_serves() -> None:
    since = [script for script in migrations().walk_revisions() if script.revision >= "0017"]

    for script in since:
        assert script.module.serves[-1] == script.revision, script.path
        assert list(script.module.serves) == sorted(set(script.module.serves)), script.path
        assert min(script.module.serves) >= "0017", script.path


def test_check_shows_the_schema_and_the_code_that_it_serves(shop: Database, tmp_path: Path) -> None:
    level, found = schema_check(shop, tmp_path)

    assert level == "ok"
    assert f"this is {VERSION}, written for {wanted_schema()}" in found


def test_check_says_that_the_code_is_too_old_for_the_schema(shop: Database, tmp_path: Path) -> None:
    made_newer(shop)

    level, found = schema_check(shop, tmp_path)

    assert level == "error"
    assert found.startswith(f"is at {NEWER}, newer than this version")


def test_check_shows_which_versions_run(shop: Database, tmp_path: Path) -> None:
    with shop.transaction() as tx:
        processes.seen(tx, "1", "worker", "mill-1", 17, json.dumps([]))
        processes.seen(tx, "2", "worker", "mill-2", 17, json.dumps([]))
        tx.execute(text("UPDATE processes SET version = NULL WHERE id = '2'"))

    found = {each.name: each.found for each in check(Settings(home=tmp_path), shop)}

    assert found["worker"] == (
        "1 running: a version that doesn't say which it is; "
        f"1 running: version {VERSION}, written for schema {wanted_schema()}"
    )
