"""The command that sets a source's policy: it changes what is given, and says what it changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str]]


def policy(run: Run, name: str = "web") -> dict[str, Any]:
    """What it sets."""
    rows = json.loads(run("sources", "ls", "--json")[1])
    return dict(json.loads(next(row["policy"] for row in rows if row["source"] == name)))


def changes(run: Run, *arguments: object) -> list[tuple[str, str, str]]:
    code, printed = run("sources", "set", "web", *arguments, "--json")
    assert code == 0, printed
    return [(c["field"], c["was"], c["now"]) for c in json.loads(printed)["changes"]]


def test_what_is_not_given_stays_as_it_was(run: Run) -> None:
    changes(run, "--set", "lane=bulk", "--set", 'hold_over={"EUR": 100}')

    changed = changes(run, "--set", "lane=interactive", "--set", "email=false")

    assert changed == [("lane", '"bulk"', '"interactive"'), ("email", "true", "false")]
    assert policy(run) == {"hold_over": {"EUR": 100}, "email": False}


def test_reset_goes_back_to_the_default(run: Run) -> None:
    changes(run, "--set", "lane=bulk", "--set", "email=false")

    changed = changes(run, "--reset", "lane")

    assert changed == [("lane", '"bulk"', '"interactive"')]
    assert policy(run) == {"email": False}


def test_a_whole_file_replaces_all(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('hold_countries = ["DE"]', "utf-8")
    changes(run, "--set", "lane=bulk")

    changed = changes(run, "--replace", path)

    assert changed == [("lane", '"bulk"', '"interactive"'), ("hold_countries", "[]", '["DE"]')]
    assert policy(run) == {"hold_countries": ["DE"]}


def test_it_says_what_changed_or_that_nothing_did(run: Run) -> None:
    made = run("sources", "set", "web")[1]
    first = run("sources", "set", "web", "--set", "lane=bulk")[1]
    again = run("sources", "set", "web", "--set", "lane=bulk")[1]

    assert "All has its default." in made
    assert ["lane", '"interactive"', '"bulk"'] in [line.split() for line in first.splitlines()]
    assert "Its policy is as it was." in again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "lane"], "--set: got 'lane', expected KEY=VALUE"),
        (["--set", "line=bulk"], "--set: got 'line', expected one of lane, chain,"),
        (["--reset", "line"], "--reset: got 'line', expected one of lane, chain,"),
        (["--set", "lane=bulk", "--reset", "lane"], "--reset lane: expected another field"),
        (
            ["--set", "lane=fast"],
            "the policy of web is wrong: lane: got \"fast\", expected 'interactive' or 'bulk'",
        ),
        (
            ["--set", "payment_expires_after=0", "--set", 'rules=""'],
            "payment_expires_after: got 0, expected greater than 0; "
            'rules: got "", expected at least 1 character',
        ),
    ],
)
def test_what_can_not_be_is_refused_by_field_value_and_what_was_expected(
    run: Run, arguments: list[str], said: str
) -> None:
    changes(run, "--set", "lane=bulk")

    code, printed = run("sources", "set", "web", *arguments)

    assert (code, said in printed) == (2, True), printed
    assert policy(run) == {"lane": "bulk"}


def test_settings_that_can_not_be_are_named_with_value_and_what_was_expected(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERMILL_BATCH", "0")
    monkeypatch.setenv("ORDERMILL_LOG_LEVEL", "LOUD")

    code, printed = run("sources", "ls")

    assert code == 2
    assert 'ORDERMILL_BATCH: got "0", expected greater than 0' in printed
    assert "ORDERMILL_LOG_LEVEL: got \"LOUD\", expected 'DEBUG', 'INFO'" in printed


def test_a_gateway_that_there_is_not_is_refused_with_those_that_there_are(run: Run) -> None:
    code, said = run("sources", "set", "web", "--set", "gateway=paypal")

    assert code == 2
    assert "gateway: got 'paypal', expected one of manual, sandbox, stripe" in said
