"""ordermill check, audit: what is wrong with the deployment, and with the data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ordermill.output import AsJson, errors, show, show_json
from ordermill.session import application, bare_database
from pipeline.settings import load_settings


def audit(json: AsJson = False) -> None:
    """Prove the invariants on the data there is. Exit code 1 if one doesn't hold."""
    from pipeline.audit.audit import audit as run_audit  # each needs much that the other doesn't

    with application() as opened:
        report = run_audit(opened.database, opened.gateways)
    rows = [
        {
            "state": "FAILED" if checked.broken else "ok",
            "rule": checked.rule.name,
            "checked": checked.checked,
            "broken": checked.broken,
            "says": checked.rule.sentence if json or checked.broken else None,
        }
        for checked in report.rules
    ]
    if json:
        show_json(
            {
                "clean": report.is_clean,
                "rules": rows,
                "findings": list(map(asdict, report.findings)),
            }
        )
    else:
        show(rows, False, empty="")
        for finding in report.findings:
            errors.print(f"{finding.rule}: {finding.what}", markup=False)
    raise typer.Exit(0 if report.is_clean else 1)


def check(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Instead: of the orders of so long (12h, 30d), how many this version would refuse "
            "or let wait, and why. Exit code 1 if there are any.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what is wrong with this deployment, and how to mend it. Exit code 1 on an error."""
    from pipeline.check import check as run_check

    if since is not None:
        from ordermill.forecast import show_forecast

        show_forecast(since, json)
    settings = load_settings()
    with bare_database() as database:
        found = run_check(settings, database)
    show(
        [{"level": c.level, "what": c.name, "found": c.found, "mend": c.mend} for c in found],
        json,
        empty="",
    )
    raise typer.Exit(1 if any(c.level == "error" for c in found) else 0)
