"""A line of JSON, or why it is none."""

from __future__ import annotations

import json
from typing import Any

from pipeline.intake.files.fault import Fault
from pipeline.intake.files.lines import Line


def parsed(line: Line) -> Any:
    """The JSON value on this line, or a Fault."""
    try:
        return _fault(line, line.broken) if line.broken else json.loads(line.text)
    except (ValueError, RecursionError) as error:
        return _fault(line, f"not JSON: {error}")


def _fault(line: Line, reason: str) -> Fault:
    return Fault(line.number, "line", f"{line.size:,} bytes", reason, "line")
