"""Alerts and the dashboard ask for what is told, and say what to do; `make promtool` checks them as
Prometheus would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from starlette.testclient import TestClient

from tests.support import Mill

DOCS = Path(__file__).parents[2] / "docs"
ALERTS, DASHBOARD = DOCS / "telemetry" / "alerts.yaml", DOCS / "telemetry" / "dashboard.json"

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def rules() -> list[dict[str, Any]]:
    return [rule for group in YAML(typ="safe").load(ALERTS)["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    """What the dashboard's panels ask for, as Grafana would send it."""
    board = json.loads(DASHBOARD.read_text("utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return [query.replace("$__rate_interval", "5m").replace("$job", ".*") for query in found]


def told(operator: TestClient) -> set[str]:
    """Every name that a query may use."""
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    families = text_string_to_metric_families(operator.get("/metrics").text)
    return {f.name + ending for f in families for ending in endings.get(f.type, [""])}


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:ordermill|process)_\w+", expression))


def slugs(page: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@on_sqlite
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_told(operator: TestClient, rule: dict[str, Any]) -> None:
    wanted = asked(rule["expr"])

    assert wanted
    assert wanted <= told(operator)


@on_sqlite
def test_the_dashboard_asks_for_what_is_told(operator: TestClient) -> None:
    wanted = set().union(*map(asked, queries()))

    assert len(wanted) > 15
    assert wanted <= told(operator)


@on_sqlite
def test_all_that_is_told_of_the_shop_is_looked_at(operator: TestClient) -> None:
    looked_at = set().union(*map(asked, queries()), *(asked(rule["expr"]) for rule in rules()))
    ours = {
        name.removesuffix("_bucket") for name in told(operator) if name.startswith("ordermill_")
    }
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in looked_at}

    assert {re.sub(r"_(sum|count)$", "", name) for name in ours} <= seen


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_the_matter_and_what_to_do(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["do"].endswith(".")
    assert anchor in set(slugs(DOCS.parent / page))


@on_sqlite
@pytest.mark.promtool
def test_promtool_finds_nothing(operator: TestClient, shop: Mill, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: apt-get install --no-install-recommends prometheus"
    shop.accept()
    shop.turn()
    of_the_dashboard = [{"record": f"panel:{n}", "expr": q} for n, q in enumerate(queries())]
    panels = tmp_path / "panels.yaml"
    panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": of_the_dashboard}]}))

    def run(*arguments: str | Path, given: str = "") -> None:
        done = subprocess.run(
            [promtool, *arguments], input=given, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")

    run("check", "metrics", given=operator.get("/metrics").text)
    run("check", "rules", ALERTS)
    run("check", "rules", panels)
    run("test", "rules", DOCS / "telemetry" / "alerts_test.yaml")
