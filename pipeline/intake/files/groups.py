"""The rows of one order, wherever they stand in a file, with a bound on what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.intake.files.rows import Row
from pipeline.intake.schema import MOST_BYTES, MOST_LINES

#: A row's order key; empty where it has none that can be read.
KeyOf = Callable[[Row], str]


@dataclass(slots=True)
class Group:
    """The rows of one order, or a single row without a key. `count` and `size` (bytes) go on when
    rows are no longer kept. `parts` is where in `rows` each part of them begins that stands apart
    in the file; `doubt` is the line of a row that can't be read and may be one of them."""

    key: str
    line: int
    rows: list[Row] = field(default_factory=list)
    count: int = 0
    size: int = 0
    parts: list[int] = field(default_factory=lambda: [0])
    doubt: int | None = None

    @property
    def is_too_large(self) -> bool:
        return self.count > MOST_LINES or self.size > MOST_BYTES

    def add(self, row: Row) -> None:
        self._count(1, row.size)
        if not self.is_too_large:
            self.rows.append(row)

    def join(self, part: Group) -> None:
        """Add rows that stand further below."""
        self._count(part.count, part.size)
        if not self.is_too_large:
            self.parts.append(len(self.rows))
            self.rows.extend(part.rows)

    def _count(self, rows: int, size: int) -> None:
        self.count += rows
        self.size += size
        if self.is_too_large:
            self.rows.clear()
            self.parts = [0]

    def repeated(self) -> Row | None:
        """The first row of a part all of whose rows stand in another part, too: the file may hold
        the order twice, or the order may have two such lines."""
        if len(self.parts) == 1:
            return None
        ends = [*self.parts[1:], len(self.rows)]
        parts = [self.rows[start:end] for start, end in zip(self.parts, ends, strict=True)]
        where: dict[tuple[str, ...], set[int]] = {}
        for n, part in enumerate(parts):
            for row in part:
                where.setdefault(tuple(row.cells), set()).add(n)
        for n in reversed(range(len(parts))):
            among = sorted((where[tuple(row.cells)] for row in parts[n]), key=len)
            if among and len(set.intersection(*among)) > 1:
                return parts[n][0]
        return None


def group_rows(rows: Iterable[Row], key_of: KeyOf) -> Iterator[Group]:
    """Consecutive rows with the same key; a row without one stands alone."""
    group: Group | None = None
    for row in rows:
        key = key_of(row)
        if group is None or not key or key != group.key:
            if group is not None:
                yield group
            group = Group(key, row.line)
        group.add(row)
    if group is not None:
        yield group
