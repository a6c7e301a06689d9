"""audit: every rule that must always hold, proved on all there is. It only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.assembly import Application
from pipeline.audit.audit import audit
from scheduler.job import Cron, Job

#: Findings that are kept with the run; `ordermill audit` tells all of them.
MOST_FINDINGS = 100


def prove(app: Application) -> dict[str, Any]:
    """What became of each rule, as the console's page shows it."""
    report = audit(app.database, app.gateways)
    return {
        "clean": report.is_clean,
        "broken": sum(checked.broken for checked in report.rules),
        "rules": [
            {
                "rule": checked.rule.name,
                "says": checked.rule.sentence,
                "checked": checked.checked,
                "broken": checked.broken,
            }
            for checked in report.rules
        ],
        "findings": [asdict(finding) for finding in report.findings[:MOST_FINDINGS]],
    }


def _is_broken(result: Mapping[str, Any]) -> bool:
    return not result["clean"]


JOB = Job(
    "audit",
    Cron("40 3 * * *"),
    "prove every rule of the audit on all there is",
    prove,
    time_limit=7200.0,
    finds_problem=_is_broken,
)
