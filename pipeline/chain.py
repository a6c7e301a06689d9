"""The chains: which stages an order travels, in which order, and from which status to which.

Open this file first. What a stage does is in `stages/<name>.py`; how a batch of orders gets
through a stage without losing or doubling anything is in `engine/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.order import Status

UNDO = "undo_"


@dataclass(frozen=True, slots=True)
class Link:
    """One stage in a chain. `leaves_effects`: it has an undo that must run if the order fails later."""

    stage: str
    source: Status
    target: Status
    leaves_effects: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    links: tuple[Link, ...]
    _positions: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        positions = {link.stage: position for position, link in enumerate(self.links)}
        object.__setattr__(self, "_positions", positions)

    def link(self, stage: str) -> Link:
        return self.links[self._position(stage)]

    def after(self, stage: str) -> str | None:
        """The stage that follows, or None at the end of the chain."""
        rest = self.links[self._position(stage) + 1 :]
        return rest[0].stage if rest else None

    def undo_from(self, stage: str | None, *, inclusive: bool) -> str | None:
        """The first step of undoing an order that failed at `stage` (None: it was through).

        `inclusive` counts the stage itself among those that may have had an effect.
        """
        position = len(self.links) if stage is None else self._position(stage) + inclusive
        effects = [link.stage for link in self.links[:position] if link.leaves_effects]
        return UNDO + effects[-1] if effects else None

    def undo_after(self, step: str) -> str | None:
        """The undo that follows the undo `step`, or None when all is undone."""
        return self.undo_from(step.removeprefix(UNDO), inclusive=False)

    def _position(self, stage: str) -> int:
        return self._positions[stage]


CAPTURE_FIRST = Chain(
    "capture_first",
    (
        Link("validate", Status.RECEIVED, Status.VALIDATED),
        Link("price", Status.VALIDATED, Status.PRICED),
        Link("pay", Status.PRICED, Status.PAID, leaves_effects=True),
        Link("reserve", Status.PAID, Status.RESERVED, leaves_effects=True),
        Link("notify", Status.RESERVED, Status.CONFIRMED),
    ),
)

RESERVE_FIRST = Chain(
    "reserve_first",
    (
        Link("validate", Status.RECEIVED, Status.VALIDATED),
        Link("price", Status.VALIDATED, Status.PRICED),
        Link("reserve", Status.PRICED, Status.RESERVED, leaves_effects=True),
        Link("pay", Status.RESERVED, Status.PAID, leaves_effects=True),
        Link("notify", Status.PAID, Status.CONFIRMED),
    ),
)

CHAINS = {chain.name: chain for chain in (CAPTURE_FIRST, RESERVE_FIRST)}

#: (chain, step) of orders that are being undone, and whose payment has been by then: whatever money
#: comes now, no undo gives it back.
PAYMENT_UNDONE = frozenset(
    (chain.name, UNDO + link.stage)
    for chain in CHAINS.values()
    for link in chain.links[: [link.stage for link in chain.links].index("pay")]
    if link.leaves_effects
)

#: Every step there is: the stages and the undo of those that leave effects. Each has its queue.
STAGES = tuple(link.stage for link in CAPTURE_FIRST.links)
UNDOS = tuple(UNDO + link.stage for link in CAPTURE_FIRST.links if link.leaves_effects)
STEPS = STAGES + UNDOS
FIRST_STAGE = STAGES[0]
