"""Orders whose rows stand apart in a file are gathered, and handed over where their last row stands."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

from pipeline.intake.files.groups import Group
from pipeline.intake.files.rows import Row
from pipeline.intake.files.survey import Survey


def gathered(groups: Iterable[Group], survey: Survey) -> Iterator[Group]:
    """Whole orders, of the groups of rows that stand together. In memory is one order at a time;
    the parts of those that are not whole yet lie on disk."""
    with closing(_Shelf(survey)) as shelf:
        for group in groups:
            if not group.key or survey.is_usual(group.key):
                yield group
            elif (parts := survey.parts(group.key)) == 1:
                yield _with_doubt(group, survey)
            else:
                for whole in shelf.put(group, parts):
                    yield _with_doubt(whole, survey)


def _with_doubt(group: Group, survey: Survey) -> Group:
    group.doubt = survey.doubt(group.key)
    return group


class _Shelf:
    """Parts of orders, in a temporary file of SQLite's."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._db = sqlite3.connect("", isolation_level=None)  # "": a file that deletes itself
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE found (hash INTEGER PRIMARY KEY, parts INTEGER)")
        self._db.execute(
            "CREATE TABLE parts (hash INTEGER, key TEXT, line INTEGER, count INTEGER, size INTEGER,"
            " rows TEXT)"
        )
        self._db.execute("CREATE INDEX by_hash ON parts (hash)")

    def put(self, part: Group, parts: int) -> Iterator[Group]:
        """Put a part away; with the last of its `parts` come all, as one."""
        number = self._survey.hash(part.key)
        self._db.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)",
            (number, json.dumps(part.key), part.line, part.count, part.size, json.dumps(part.rows)),
        )
        self._db.execute(
            "INSERT INTO found VALUES (?, 1) ON CONFLICT (hash) DO UPDATE SET parts = parts + 1",
            (number,),
        )
        of = self._db.execute("SELECT parts FROM found WHERE hash = ?", (number,))
        [(put,)] = of.fetchall()
        if put == parts:
            yield from self._whole(number)
            self._db.execute("DELETE FROM parts WHERE hash = ?", (number,))

    def _whole(self, number: int) -> Iterator[Group]:
        group: Group | None = None
        for key, line, count, size, rows in self._db.execute(
            "SELECT key, line, count, size, rows FROM parts WHERE hash = ? ORDER BY key, line",
            (number,),
        ):
            part = Group(
                json.loads(key), line, [Row(*row) for row in json.loads(rows)], count, size
            )
            if group is not None and group.key == part.key:
                group.join(part)
            else:
                if group is not None:
                    yield group
                group = part
        if group is not None:
            yield group

    def close(self) -> None:
        self._db.close()
