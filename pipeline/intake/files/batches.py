"""Batches of what a file holds: one commit each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

#: Orders (or lines) in a commit; measured elsewhere: more gain nothing, and a dispatch holds as many.
MOST_ITEMS = 500

#: Large orders: what a batch holds in memory is some ten times its bytes in the file.
MOST_BYTES = 4_000_000


class Sized(Protocol):
    @property
    def size(self) -> int:
        """Bytes in the file."""


T = TypeVar("T", bound=Sized)


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of at most so many items and (but for the last item) so many bytes, in order."""
    batch: list[T] = []
    size = 0
    for item in items:
        batch.append(item)
        size += item.size
        if len(batch) == MOST_ITEMS or size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
