"""The rules: one a file, and all of them here, in the order they are told."""

from pipeline.audit.rule import Rule
from pipeline.audit.rules import (
    accepted_once,
    accepted_whole,
    book_is_ours,
    captured_once,
    dispatch_size,
    dispatches_name_the_unsettled,
    in_one_dispatch,
    ledger,
    money_in_bounds,
    money_returned,
    no_orphans,
    not_oversold,
    one_capture_in_the_book,
    operations_end_once,
    ours_in_the_book,
    promises,
    quote_adds_up,
    settled_at,
    stock_held,
    stock_returned,
    timeline,
)

RULES: tuple[Rule, ...] = (
    # An order that was accepted is never lost.
    accepted_whole.RULE,
    accepted_once.RULE,
    no_orphans.RULE,
    in_one_dispatch.RULE,
    dispatches_name_the_unsettled.RULE,
    dispatch_size.RULE,
    timeline.RULE,
    settled_at.RULE,
    # Every cent is accounted for, nobody is charged twice.
    quote_adds_up.RULE,
    captured_once.RULE,
    money_in_bounds.RULE,
    money_returned.RULE,
    operations_end_once.RULE,
    ours_in_the_book.RULE,
    book_is_ours.RULE,
    one_capture_in_the_book.RULE,
    # Every unit is accounted for, no unit is sold twice.
    stock_held.RULE,
    stock_returned.RULE,
    ledger.RULE,
    promises.RULE,
    not_oversold.RULE,
)
