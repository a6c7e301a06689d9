"""The commands for locations and safety stock: what they say, and what they refuse."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from ordermill.main import app
from pipeline.errors import InvalidInput
from pipeline.storage.database import Database
from tests.support import MUG, Mill


@pytest.fixture
def cli(database: Database, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    Mill(database).stocked(units=5)
    url = database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("ORDERMILL_DATABASE_URL", url)
    return CliRunner()


def test_a_location_is_set_and_listed(cli: CliRunner) -> None:
    given = ["--country", "DE", "--priority", "10", "--serves", "DE", "--serves", "AT"]

    made = cli.invoke(app, ["stock", "locations", "set", "berlin", *given])
    listed = cli.invoke(app, ["stock", "locations", "ls", "--json"])

    assert made.exit_code == 0, made.output
    assert json.loads(listed.stdout) == [
        {"location": "berlin", "country": "DE", "priority": 10, "serves": "AT DE"}
    ]


def test_safety_stock_is_not_available(cli: CliRunner) -> None:
    made = cli.invoke(app, ["stock", "safety", MUG, "main", "2"])
    shown = cli.invoke(app, ["stock", "show", MUG, "--json"])

    assert made.exit_code == 0, made.output
    (level,) = json.loads(shown.stdout)["levels"]
    assert (level["on_hand"], level["safety"], level["available"]) == (5, 2, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["locations", "set", "berlin", "--country", "XX"],
        ["locations", "set", "berlin", "--serves", "Atlantis"],
        ["locations", "set", "x" * 33],
        ["safety", MUG, "main", "-1"],
    ],
)
def test_what_makes_no_sense_is_refused(cli: CliRunner, arguments: list[str]) -> None:
    assert cli.invoke(app, ["stock", *arguments]).exit_code == 2


def test_safety_stock_is_of_a_product_there_is(cli: CliRunner) -> None:
    refused = cli.invoke(app, ["stock", "safety", "MUG-99", "main", "1"])

    assert isinstance(refused.exception, InvalidInput)
    assert "MUG-99" in str(refused.exception)
