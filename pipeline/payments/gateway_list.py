"""A gateway's own list for a window of time, read as far as it takes to be compared with our rows.

- The two clocks differ, and gateways tell whole seconds: the list is read for EDGE more than the
  window on either side.
- An operation asked for before the window and answered within it stands on the list where it was
  done: should one of ours be missing, the list is read on back to when the first operation of its
  order was asked for, as nothing can have been done before.
- The list is read before our rows are (pipeline.storage.gateway_book says why that is right).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import chain
from typing import IO, Any

from pipeline.payments.gateway import Gateway
from pipeline.payments.gateways import moves_money
from pipeline.storage import gateway_book
from pipeline.storage import reconciliation as storage
from pipeline.storage.database import Database

EDGE = timedelta(minutes=15)


def keeps_list(gateway: Gateway) -> bool:
    """Whether there is anything to compare with: what no machine moves is in no book but ours."""
    return moves_money(gateway.name)


@contextmanager
def listed(
    database: Database, gateway: Gateway, within: Mapping[str, Any]
) -> Iterator[Iterable[str]]:
    """The list for the window of a storage.reconciliation scope, as pages for gateway_book.load.

    Raises GatewayAway if it can't be read to its end.
    """
    begin, end = within["since"] - EDGE, within["until"] + EDGE
    with ExitStack() as files:

        def read(since: Any, until: Any) -> IO[str]:
            entries = gateway.book(since, until)
            return files.enter_context(gateway_book.spooled(gateway.name, entries))

        parts = [read(begin, end)]
        with database.snapshot() as tx:
            gateway_book.load(tx, parts[0], begin)
            first = storage.first_asked(tx, within)
        if first is not None and first - EDGE < begin:
            parts.append(read(first - EDGE, begin))
        parts[0].seek(0)
        yield chain.from_iterable(parts)
