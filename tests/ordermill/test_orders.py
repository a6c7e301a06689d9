"""The commands on orders: by id or by one vocabulary of filters, nothing without being asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
import typer

from ordermill.session import actor, application
from pipeline.storage import operators_log

Run = Callable[..., tuple[int, str]]
PRODUCTS = Path(__file__).parents[2] / "docs" / "examples" / "products.csv"


@pytest.fixture
def shop(run: Run) -> Run:
    """A home where three orders are on hold: two to Germany, one to France."""
    assert run("sources", "set", "web", "--set", 'hold_countries=["DE", "FR"]')[0] == 0
    assert run("products", "import", PRODUCTS)[0] == 0
    assert run("stock", "adjust", "MUG-01", 10, "--reason", "found")[0] == 0
    take_in(run, [an_order(n, country) for n, country in enumerate(["DE", "DE", "FR"], 1)])
    work("validate")
    return run


def an_order(number: int, country: str) -> dict[str, Any]:
    return {
        "external_id": f"web-{number}", "currency": "EUR",
        "customer": {"email": f"{number}@example.com"}, "ship_to": {"country": country},
        "lines": [{"sku": "MUG-01", "quantity": 1}],
    }  # fmt: skip


def take_in(run: Run, orders: list[dict[str, Any]]) -> None:
    with NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(map(json.dumps, orders)))
        file.flush()
        assert run("import", file.name, "--source", "web")[0] == 0


def work(step: str) -> None:
    with application() as app:
        app.engine.work(step)


def statuses(shop: Run) -> list[str]:
    """Of the orders in order of id."""
    _, printed = shop("orders", "ls", "--json")
    return [row["status"] for row in reversed(json.loads(printed))]


def test_a_dry_run_shows_how_many_and_changes_nothing(shop: Run) -> None:
    code, printed = shop("orders", "requeue", "--reason", "country_held", "--dry-run")

    assert code == 0
    assert "3 orders on hold match" in printed
    assert "web-1" in printed
    assert statuses(shop) == ["on_hold"] * 3


def test_it_asks_and_a_no_changes_nothing(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no(question: str, abort: bool, err: bool) -> None:
        asked.append(question)
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", no)

    code, _ = shop("orders", "requeue", "--all")

    assert (code, asked) == (1, ["Requeue 3 orders?"])
    assert statuses(shop) == ["on_hold"] * 3


def test_what_was_done_to_many_is_in_the_operators_log(shop: Run) -> None:
    shop("orders", "requeue", "--reason", "country_held", "--rate", "2", "--yes")

    with application() as app, app.database.snapshot() as tx:
        [entry] = operators_log.page(tx, 10, action="requeue.all")

    assert (entry["action"], entry["operator"], entry["outcome"]) == (
        "requeue.all", actor(), "done",
    )  # fmt: skip
    assert entry["detail"] == {
        "reason": "country_held", "rate": 2.0, "found": 3, "moved": 3, "skipped": 0,
    }  # fmt: skip


def test_what_matches_is_requeued_and_the_timeline_says_who(shop: Run) -> None:
    code, printed = shop(
        "orders", "requeue", "--email", "3@example.com", "--stage", "validate", "--yes"
    )

    assert (code, "1 put back to work." in printed) == (0, True)
    assert statuses(shop) == ["on_hold", "on_hold", "received"]
    timeline = json.loads(shop("orders", "show", 3, "--json")[1])["events"]
    assert (timeline[-1]["kind"], timeline[-1]["actor"].startswith("cli:")) == ("requeued", True)


def test_programs_are_told_in_json_alone(shop: Run) -> None:
    found = json.loads(shop("orders", "requeue", "--all", "--dry-run", "--json")[1])
    done = json.loads(shop("orders", "requeue", "--all", "--yes", "--json")[1])

    assert (found["orders"], found["groups"][0]["reason"]) == (3, "country_held")
    assert [each["id"] for each in found["examples"]] == [1, 2, 3]
    assert done == {"moved": 3, "skipped": 0}


def test_what_matches_is_cancelled(shop: Run) -> None:
    code, printed = shop(
        "orders", "cancel", "--external-id", "web-2", "--source", "web", "--yes", "--rate", "5"
    )

    assert (code, "1 cancelled" in printed) == (0, True)
    assert statuses(shop) == ["on_hold", "cancelled", "on_hold"]


def test_by_id_as_ever(shop: Run) -> None:
    assert shop("orders", "requeue", 1, 2)[0] == 0
    assert shop("orders", "cancel", 3)[0] == 0

    assert statuses(shop) == ["received", "received", "cancelled"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name orders by id, or by a filter"),
        (["1", "--reason", "x"], "name orders by id, or by a filter"),
        (["--all", "--reason", "x"], "name orders by id, or by a filter"),
        (["1", "--yes"], "go with a filter, not with ids"),
        (["--all", "--rate", "0"], "--rate: got 0, expected more than 0 orders a second"),
        (["--older-than", "soon"], "--older-than: got 'soon', expected a time such as 30m, 1h or 2d"),
        (["--stage", "dream"], "'dream' is none of validate"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["requeue", "cancel"])
def test_what_is_not_clear_is_refused(
    shop: Run, command: str, arguments: list[str], said: str
) -> None:
    code, printed = shop("orders", command, *arguments)

    assert code == 2
    assert said in " ".join(printed.replace("│", " ").split())
    assert statuses(shop) == ["on_hold"] * 3


def test_nothing_that_matches_is_no_error(shop: Run) -> None:
    code, printed = shop("orders", "requeue", "--older-than", "1d", "--yes")

    assert (code, "No order on hold matches." in printed) == (0, True)


def test_orders_are_listed_by_the_same_filters(shop: Run) -> None:
    listed = [
        [row["external_id"] for row in json.loads(shop("orders", "ls", "--json", *filters)[1])]
        for filters in (
            ["--sku", "MUG-01", "--email", "1@example.com"],
            ["--stage", "validate", "--limit", "2"],
            ["--sku", "TEE-01"],
        )
    ]

    assert listed == [["web-1"], ["web-3", "web-2"], []]


def test_an_order_on_hold_says_why_in_words_and_what_puts_it_right(shop: Run) -> None:
    code, printed = shop("orders", "show", 1)

    assert code == 0
    assert (
        "On hold: its country is among its source's hold_countries (country: DE).\n"
        "What to do: look at it: requeue it to let it pass, or cancel it.\n"
        "  ordermill orders requeue 1\n"
    ) in printed


def test_an_order_held_over_its_price_shows_its_total(shop: Run) -> None:
    changes = ["--set", 'hold_over={"EUR": 1}', "--reset", "hold_countries"]
    assert shop("sources", "set", "web", *changes)[0] == 0
    new = an_order(4, "DE")
    take_in(shop, [new])
    work("validate")  # and price, in which a worker carries on

    printed = shop("orders", "show", 4)[1]

    hold = json.loads(shop("orders", "show", 4, "--json")[1])["hold"]
    assert hold["means"] == "its total is over its source's hold_over"
    assert hold["detail"]["total"] in printed.splitlines()[1].split()


# --- Deciding -------------------------------------------------------------------------------------


def as_held_for(reason: str, *order_ids: int) -> None:
    with application() as app, app.database.transaction() as tx:
        for order_id in order_ids:
            tx.exec_driver_sql(f"UPDATE orders SET reason = '{reason}' WHERE id = {order_id}")


def test_orders_are_decided_about_by_id(shop: Run) -> None:
    as_held_for("address_unclear", 1, 2)
    correction = ("--ship-to", "postal_code=10115", "--ship-to", "region=")

    code, printed = shop("orders", "decide", 1, 2, *correction)

    assert (code, "2 decided, and put back to work." in printed) == (0, True)
    assert statuses(shop) == ["received", "received", "on_hold"]
    shown = json.loads(shop("orders", "show", 2, "--json")[1])
    assert shown["decided"] == {"ship_to": {"postal_code": "10115", "region": None}}
    assert "Decided by a person: ship_to: {'postal_code'" in shop("orders", "show", 2)[1]
    with application() as app, app.database.snapshot() as tx:
        [entry] = operators_log.page(tx, 10, action="decide")
    assert entry["detail"] == {"orders": [1, 2], "ship_to_fields": ["postal_code", "region"]}


def test_of_all_that_match_those_are_decided_about_that_it_answers(shop: Run) -> None:
    as_held_for("total_differs", 1, 3)

    _, counted = shop("orders", "decide", "--all", "--charge", "shown", "--dry-run")
    code, printed = shop("orders", "decide", "--all", "--charge", "shown", "--yes", "--json")

    assert "2 orders on hold match" in counted
    assert (code, json.loads(printed)) == (0, {"moved": 2, "skipped": 0})
    assert statuses(shop) == ["received", "on_hold", "received"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, "--vat", "perhaps"), "vat: got \"perhaps\", expected 'form' or 'tax'"),
        ((1, "--charge", "shown"), "held for country_held"),
        ((1,), "exactly one of charge, ship_to, tax_zone, vat"),
        ((1, "--ship-to", "10115"), "--ship-to: got '10115', expected FIELD=VALUE"),
        ((1, "--ship-to", "country="), "ship_to.country: got null"),
        (("--reason", "defect", "--vat", "tax"), "reason: got defect, expected vat_unverified"),
        (("--charge", "shown"), "name orders by id, or by a filter"),
    ],
)
def test_what_can_not_be_decided_says_why_and_changes_nothing(
    shop: Run, arguments: tuple[object, ...], said: str
) -> None:
    code, printed = shop("orders", "decide", *arguments)

    assert (code, said in printed.replace("is on hold", "is held")) == (2, True), printed
    assert statuses(shop) == ["on_hold"] * 3
