"""Why rules may compare the gateway's own list with ours on a live system, where orders are paid
meanwhile. The list is read *before* the audit's snapshot is opened; and an operation is committed
as `requested`, then done by the gateway, then committed as `succeeded`.

- A line of the book was done before the snapshot, so the snapshot holds at least its request: what
  it doesn't hold is not ours. If it is `requested` still, its order must be where someone will ask.
- A `succeeded` row may be younger than the book. One that was written before the reading began
  (`book_read_at`, the database's clock) was done before, so the reading met it. Only those are
  asked for; the next audit asks for the others.
- What others do at the gateway (refund, dispute, pay late) is in its book before its events have
  been read. Such lines have a few minutes (`news_since`).
"""

from pipeline.storage.gateway_book import book, load, micros, spooled

__all__ = ["book", "load", "micros", "spooled"]
