"""Orders by filter, on the command line: the options that `orders ls`, `requeue` and `cancel` share."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import one_of
from pipeline import typed
from pipeline.chain import STEPS


def seconds(written: str | None, option: str = "--older-than") -> float | None:
    return typed.seconds(option, written)


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
