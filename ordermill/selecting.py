"""Orders by filter, on the command line: the options that `orders ls`, `requeue` and `cancel` share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ordermill.output import one_of
from pipeline.chain import STEPS
from pipeline.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])")


def seconds(written: str | None, option: str = "--older-than") -> float | None:
    """A length of time such as 90s, 30m, 1h or 2d in seconds."""
    if written is None:
        return None
    read = _LENGTH.fullmatch(written)
    if read is None:
        raise InvalidInput(f"{option}: got {written!r}, expected a time such as 30m, 1h or 2d")
    return float(read[1]) * _UNITS[read[2]]


Reason = Annotated[str | None, typer.Option(help="Only orders with this reason.")]
Stage = Annotated[
    str | None,
    typer.Option(parser=one_of(STEPS), metavar="STAGE", help="Only orders at this stage, or undo."),
]
FromSource = Annotated[str | None, typer.Option(help="Only orders of this source.")]
ExternalId = Annotated[
    str | None, typer.Option(help="Only the order the upstream system calls so.")
]
OlderThan = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only orders held (or settled) so long: 30m, 1h, 2d."),
]
Sku = Annotated[
    str | None,
    typer.Option(help="Only orders for this SKU. Slow: every order's document is read."),
]
Email = Annotated[
    str | None,
    typer.Option(help="Only orders of this customer. Slow: every order's document is read."),
]
