"""The sandbox's two books are one: whatever is asked of both, they say the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.payments.sandbox_book import Act, FileBook, Line, MemoryBook, reference

STANDS = Line("stands", "authorize", 5, "EUR")
WAITS = Line("waits", "authorize", 5, "EUR", waits=True)
PARENTS = [reference(line.key) for line in (STANDS, WAITS)]

#: What may follow on the two, most of it within bounds, or else nothing would ever come of it.
follow_ups = st.builds(
    Line,
    key=st.just(""),
    kind=st.sampled_from([act for act in get_args(Act) if act != "authorize"]),
    amount=st.sampled_from([5, 5, 5, 4, 3, 2, 1, 1, 6, 0, -1]),
    currency=st.sampled_from(["EUR"] * 20 + ["USD"]),
    parent=st.sampled_from(PARENTS * 8 + [None, "stands", "sbx_nobody"]),
    decline=st.sampled_from([None] * 20 + ["card_declined"]),
)


def history(*acts: tuple[Act, int]) -> list[Line]:
    return [Line("", kind, amount, "EUR", PARENTS[0]) for kind, amount in acts]


@settings(max_examples=200, deadline=None)
@given(st.lists(follow_ups, min_size=8, max_size=25), st.sets(st.integers(1, 24), max_size=2))
@example(history(("capture", 5), ("dispute", 4), ("refund", 2), ("refund", 1)), set())
@example(history(("capture", 5), ("refund", 3), ("dispute", 5), ("dispute", 1)), set())
@example(history(("void", 5), ("late_capture", 5), ("late_capture", 5), ("refund", 5)), set())
def test_both_books_say_the_same(asked: list[Line], repeated: set[int]) -> None:
    """`repeated` are those that are asked under the key of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        memory, file = MemoryBook(), FileBook(Path(folder) / "book.db")

        for line in (STANDS, WAITS):
            assert memory.record(line) == file.record(line)
        for n, line in enumerate(asked):
            keyed = replace(line, key=f"key-{n - (n in repeated)}")
            assert memory.record(keyed) == file.record(keyed)

        for parent in PARENTS:
            assert memory.about(parent) == file.about(parent)
        assert list(memory.lines(0, None)) == list(file.lines(0, None))
