"""ordermill check --since: which of the last orders would now wait, or be refused."""

from __future__ import annotations

import typer

from ordermill.held import progressing
from ordermill.output import console, show, show_json
from ordermill.session import bare_database
from pipeline.assembly import gateway_choice
from pipeline.errors import InvalidInput
from pipeline.forecast import End, Finding, Forecast, forecast
from pipeline.settings import load_settings
from pipeline.storage import recent_orders
from pipeline.typed import seconds

_ENDS: dict[End, str] = {
    "refused": "would be refused",
    "rejected": "would be rejected",
    "on_hold": "would wait",
}


def show_forecast(since: str, json: bool) -> None:
    """Print what would become of the orders accepted in the time `since`. Exit code 1 if one of them
    would not go its way."""
    length = seconds("--since", since)
    if not length:
        raise InvalidInput(f"--since: got {since!r}, expected a time such as 12h or 30d")
    with bare_database() as database:
        database.require_schema()
        with database.snapshot() as tx:
            number = recent_orders.count(tx, length)
        with progressing("look at", number) as on_progress:
            found = forecast(database, length, on_progress, gateway_choice(load_settings()))
    if json:
        show_json(_as_json(found))
    else:
        _tell(found, since)
    raise typer.Exit(1 if found.findings else 0)


def _as_json(found: Forecast) -> dict[str, object]:
    return {
        "looked_at": found.looked_at,
        "unknown": found.unknown,
        "findings": [
            {"end": f.fate.end, "reason": f.fate.reason, "orders": f.orders,
             "sources": sorted(f.sources), "examples": f.examples}
            for f in found.findings
        ],
    }  # fmt: skip


def _tell(found: Forecast, since: str) -> None:
    if found.findings:
        show([_row(finding) for finding in found.findings], False, empty="")
    stopped = sum(finding.orders for finding in found.findings)
    console.print(
        f"{found.looked_at:,} orders of the last {since} were looked at: "
        f"{stopped:,} would now wait or be refused."
    )
    if found.unknown:
        console.print(f"{found.unknown:,} of them are erased, so nobody can tell for these.")
    if found.findings:
        console.print(
            "docs/changes.md says what changed, docs/operating.md what to do about a hold."
        )


def _row(finding: Finding) -> dict[str, object]:
    return {
        "what": _ENDS[finding.fate.end],
        "orders": finding.orders,
        "sources": ", ".join(sorted(finding.sources)),
        "such as": ", ".join(map(str, finding.examples)),
        "says": finding.fate.reason,
    }
