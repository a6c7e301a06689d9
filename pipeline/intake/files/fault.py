"""What is wrong in a file, and where: in words that let a person mend the file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.problems import Problem

_POSITION = re.compile(r"\.[0-9]+\b")


@dataclass(frozen=True, slots=True)
class Fault:
    """`line` counts from 1; `field` is the file's column, or the field's path where there is none;
    `value` is what stands in the file; `label` is what a summary counts it by."""

    line: int
    field: str
    value: str
    reason: str
    label: str


def label_of(field: str) -> str:
    """lines.3.quantity → lines.quantity: the same fault in another line is the same reason."""
    return _POSITION.sub("", field)


def fault_of(line: int, problem: Problem) -> Fault:
    """A problem with a field that has no column of its own."""
    field = problem.field
    return Fault(line, field, problem.value, problem.expected, label_of(field))
