"""A settlement as rows, for tables, CSV and JSON, and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.formulas import write_table
from pipeline.money import to_text
from pipeline.payments.settlement import Account, Figure, Settlement

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

#: The columns of a row.
COLUMNS = (
    "gateway", "currency", "figure", "count", "amount", "gateway_count", "gateway_amount",
    "difference", "at_edges",
)  # fmt: skip


def rows(settlement: Settlement) -> Iterator[dict[str, Any]]:
    """A row for each figure of each account. Amounts are decimals as text in the account's currency;
    None is what nobody tells."""
    for account in settlement.accounts:
        captured, refunded, lost, net, *standing = account.figures
        for figure in (captured, refunded, lost):
            yield _row(account, figure)
        yield _fees(account)
        yield {**_row(account, net), "count": None, "gateway_count": None}
        for figure in standing:
            yield _row(account, figure)


def _row(account: Account, figure: Figure) -> dict[str, Any]:
    def text(minor: int | None) -> str | None:
        return None if minor is None else to_text(minor, account.currency)

    told = figure.theirs is not None
    values = (
        account.gateway,
        account.currency,
        figure.name,
        figure.ours.count,
        text(figure.ours.amount),
        figure.theirs.count if figure.theirs else None,
        text(figure.theirs.amount) if figure.theirs else None,
        text(figure.difference),
        text(figure.at_edges) if told else None,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _fees(account: Account) -> dict[str, Any]:
    """Fees are the gateway's word alone."""
    told = None if account.fees is None else to_text(account.fees, account.currency)
    row = dict.fromkeys(COLUMNS)
    return {**row, "gateway": account.gateway, "currency": account.currency, "figure": "fees",
            "gateway_amount": told}  # fmt: skip


def write_csv(settlement: Settlement, path: Path) -> None:
    """One line a figure."""
    with path.open("w", newline="", encoding="utf-8") as file:
        write_table(file, COLUMNS, rows(settlement))


def page(settlement: Settlement, zone: tzinfo) -> str:
    """The settlement as one HTML file that needs no other, its times in `zone`."""
    accounts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows(settlement):
        accounts.setdefault((row["gateway"], row["currency"]), []).append(row)
    return _templates.get_template("settlement.html").render(
        since=settlement.since.astimezone(zone),
        until=settlement.until.astimezone(zone),
        made_at=settlement.made_at.astimezone(zone),
        zone=str(zone),
        is_explained=settlement.is_explained,
        accounts=accounts,
    )
