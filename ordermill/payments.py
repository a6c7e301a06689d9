"""ordermill payments: the money, all orders together."""

from __future__ import annotations

import typer

from ordermill.after_sale import record_refund
from ordermill.books import reconcile, settlement

payments = typer.Typer(help="The money: our books and the gateways'.", no_args_is_help=True)
payments.command("reconcile")(reconcile)
payments.command("settlement")(settlement)
payments.command("record-refund")(record_refund)
