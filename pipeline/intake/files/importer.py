"""Importing orders from a file: one verdict each, and figures that add up.

Running it again is safe, and is how one resumes: orders that are there already are duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.intake.accept import Intake, Receipt, Verdict
from pipeline.intake.files.batches import batches
from pipeline.intake.files.fault import label_of
from pipeline.intake.files.interrupt import uninterrupted
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.reader import OrderFile
from pipeline.intake.files.rejects import WriteRejects, reject_file
from pipeline.intake.files.sent import Sent
from pipeline.intake.files.spool import on_disk
from pipeline.intake.files.tally import Progress, count_reason
from pipeline.intake.schema import Document
from pipeline.money import to_minor
from pipeline.source import Source


@dataclass(slots=True)
class Summary:
    """What became of a file's orders: accepted + duplicates + conflicts + rejected = read.

    `rows` are the lines or rows read; `reasons` counts the rejected by their first fault;
    `accepted_value` is Σ quantity × unit_price in minor units by currency, over the accepted and
    the duplicates, of the lines that state a price.
    """

    read: int = 0
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    accepted_value: Counter[str] = field(default_factory=Counter)


def import_orders(
    intake: Intake,
    source: Source,
    path: Path,
    mapping: Mapping | None = None,
    rejects: Path | None = None,
    progress: Callable[[Progress[Summary]], None] = lambda _: None,
) -> Summary:
    """Hand every order in the file to intake: JSON lines, or CSV by a `mapping`.

    `rejects` is a CSV file to write, with a line for each fault of what was rejected or in
    conflict. `path` may be a pipe, or `-` for standard input. `progress` is called after each commit,
    and in the first look at a CSV file. Ctrl-C raises KeyboardInterrupt after the
    commit in hand; a file that can't be read raises InvalidInput, and what was accepted stays.
    """
    summary = Summary()
    if mapping is not None:
        source = _priced_by(source, mapping)

    def on_look(file: OrderFile) -> None:
        progress(Progress(file.done, file.total, summary, is_look=True))

    with (
        on_disk(path) as there,
        OrderFile(there, mapping, on_look) as orders,
        reject_file(rejects, there) as refuse,
    ):
        for batch in batches(orders):
            with uninterrupted():
                _take_in(intake, source, batch, summary, refuse)
            progress(Progress(orders.done, orders.total, summary))
        progress(Progress(orders.total, orders.total, summary))
    return summary


def _priced_by(source: Source, mapping: Mapping) -> Source:
    """The source as the file's mapping has it: it may say what a line without a price means."""
    if mapping.missing_price is None:
        return source
    policy = source.policy.model_copy(update={"missing_price": mapping.missing_price})
    return source.model_copy(update={"policy": policy})


def _take_in(
    intake: Intake, source: Source, batch: Sequence[Sent], summary: Summary, refuse: WriteRejects
) -> None:
    sound = [sent.judgement for sent in batch if isinstance(sent.judgement, Document)]
    receipts = iter(intake.accept_all(source, sound) if sound else [])
    for sent in batch:
        summary.read += 1
        summary.rows += sent.rows
        if isinstance(sent.judgement, Document):
            _count(sent, next(receipts), summary, refuse)
        else:
            summary.rejected += 1
            count_reason(summary.reasons, sent.judgement[0].label)
            refuse(sent.external_id, sent.judgement)


def _count(sent: Sent, receipt: Receipt, summary: Summary, refuse: WriteRejects) -> None:
    match receipt.verdict:
        case Verdict.ACCEPTED:
            summary.accepted += 1
        case Verdict.DUPLICATE:
            summary.duplicates += 1
        case Verdict.CONFLICT:
            summary.conflicts += 1
        case Verdict.REJECTED:  # by a rule that intake has and the schema hasn't
            summary.rejected += 1
            count_reason(summary.reasons, label_of(receipt.problems[0].field))
    if receipt.problems:
        refuse(sent.external_id, [sent.fault(problem) for problem in receipt.problems])
    else:
        summary.accepted_value.update(_value(sent.data))


def _value(order: Any) -> dict[str, int]:
    """Σ quantity × unit_price in minor units by currency; nothing for lines without a price."""
    currency = order["currency"]
    priced = [line for line in order["lines"] if line.get("unit_price") is not None]
    if not priced:
        return {}
    return {currency: sum(n["quantity"] * to_minor(n["unit_price"], currency) for n in priced)}
