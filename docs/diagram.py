"""Draws docs/status.md from the table of legal moves. Run `python -m docs.diagram` after a change."""

from __future__ import annotations

from pathlib import Path

from pipeline.order import SETTLED, TRANSITIONS, Status

PAGE = Path(__file__).with_name("status.md")

HEAD = """\
# The status of an order

Every legal move, for both chains. Drawn from `TRANSITIONS` in `pipeline/order.py` by
`python -m docs.diagram`; a test keeps the two the same.

`on_hold` waits for a person and goes on from where it was held. `rejected` was refused before
anything was done for it; `cancelled` had what was done for it undone, and comes back only if it
had expired unpaid and its money arrives after all. *Why* an order is where it is stands in its
reason, beside the status.
"""


def render() -> str:
    """The page: its text and the diagram, in Mermaid."""
    return f"{HEAD}\n```mermaid\n{diagram()}\n```\n"


def diagram() -> str:
    begin = f"    [*] --> {Status.RECEIVED}"
    moves = [
        f"    {source} --> {target}"
        for source in Status
        for target in Status
        if target in TRANSITIONS[source]
    ]
    ends = [f"    {status} --> [*]" for status in Status if _is_over(status)]
    return "\n".join(["stateDiagram-v2", begin, *moves, *ends])


def _is_over(status: Status) -> bool:
    return status in SETTLED and status is not Status.ON_HOLD


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
