"""An order as a file holds it, judged: a document that intake will take, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.intake.files.fault import Fault, fault_of
from pipeline.intake.schema import Document, InvalidOrder, read_order
from pipeline.problems import Problem

#: A document that can be stored, or at least one fault.
Judgement = Document | list[Fault]


@dataclass(frozen=True, slots=True)
class Sent:
    """`rows` and `size` (bytes) are what it takes in the file from `line` on. `data` is the order
    as JSON would have it, None if none could be made out; `names` are those of its lines'
    products, where the file has them."""

    line: int
    rows: int
    size: int
    external_id: str | None
    judgement: Judgement
    data: Any = None
    names: Sequence[str | None] = ()
    place: Callable[[Problem], Fault] | None = None

    def fault(self, problem: Problem) -> Fault:
        """A problem that intake has with the order, in its place in the file."""
        return self.place(problem) if self.place else fault_of(self.line, problem)


def judge(data: Any, doubts: Sequence[Fault], place: Callable[[Problem], Fault]) -> Judgement:
    """What the schema says of `data`, each problem put in its place in the file; and the doubts
    that the file's own rules have about cells that the schema lets pass."""
    try:
        document = read_order(data)
    except InvalidOrder as error:
        further = Problem("order", f"{error.more:,} more faults", "none")
        found = [place(each) for each in (*error.problems, *([further] if error.more else []))]
        named = {(fault.line, fault.field) for fault in found}
        return found + [doubt for doubt in doubts if (doubt.line, doubt.field) not in named]
    return list(doubts) or document
