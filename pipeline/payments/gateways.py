"""The gateways there are, by name, and what each says of itself before it is asked anything.

A gateway is a module with a `GatewayKind`, and an entry point of the group `ordermill.gateways`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline import registry
from pipeline.checked import Check
from pipeline.payments.gateway import Gateway
from pipeline.settings import Settings

_GROUP = "gateways"


def _in_single_units(currency: str) -> int:
    return 1


def _nothing_is_missing(settings: Settings, sources: Sequence[str]) -> Iterator[Check]:
    return iter(())


@dataclass(frozen=True, slots=True)
class GatewayKind:
    """`open` makes the gateway; None: the settings name none. `moves_money`: else people record what came
    and what they paid back. Amounts in a currency must be multiples of `step` of its minor units.
    `missing` is what a deployment lacks whose `sources` are paid there."""

    open: Callable[[Settings], Gateway | None]
    moves_money: bool = True
    step: Callable[[str], int] = _in_single_units
    missing: Callable[[Settings, Sequence[str]], Iterable[Check]] = _nothing_is_missing


#: Of a gateway that was there when it was paid, and is not installed any more.
_GONE = GatewayKind(open=lambda settings: None)


def names() -> tuple[str, ...]:
    return registry.names(_GROUP)


def kind(name: str) -> GatewayKind:
    """That of a gateway; payments may be at one that is gone."""
    found: GatewayKind = registry.load(_GROUP, name) if name in names() else _GONE
    return found


def moves_money(name: str) -> bool:
    """Whether it is asked to move it; else people do, and record it."""
    return kind(name).moves_money


def by_hand() -> list[str]:
    """The gateways that move no money."""
    return [name for name in names() if not moves_money(name)]
