"""What commands do is in the operators' log, as what is done in the console is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ordermill.session import actor
from pipeline.acts import undertaking
from pipeline.chain import STEPS
from pipeline.storage import operators_log
from pipeline.storage.database import Database
from tests.ordermill.conftest import Run
from tests.ordermill.test_orders import an_order, take_in, work

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TWO_PAID = {
    "lines": [{"sku": "MUG-01", "quantity": 2}], "payment": {"method": "pm_card_visa"},
}  # fmt: skip
KEY = f"om_live_0123456789ab_{'x' * 43}"
PASSWORD = "correct horse battery\n"


@pytest.fixture
def shop(run: Run) -> Run:
    """Order 1 is confirmed, the others are on hold."""
    run("sources", "set", "web", "--set", 'hold_countries=["DE"]')
    run("products", "import", EXAMPLES / "products.csv")
    run("stock", "adjust", "MUG-01", 10, "--reason", "found")
    countries = enumerate(["FR", "DE", "DE", "DE", "DE"], 1)
    take_in(run, [an_order(n, country) | TWO_PAID for n, country in countries])
    for step in STEPS:
        work(step)
    return run


def entries(run: Run, *which: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("operators", "log", "--json", *which)[1])
    return found


ACTS: list[tuple[str, str, str | None, dict[str, Any]]] = [
    ("orders requeue 2", "requeue", "2", {}),
    ("orders requeue 4 3", "requeue", None, {"orders": [3, 4]}),
    ("orders cancel 5", "cancel", "5", {}),
    ("orders refund 1 --amount 5.00", "refund", "1", {"amount": "5.00", "currency": "EUR"}),
    ("orders fulfil 1 --reference P1", "fulfil", "1",
     {"reference": "P1", "changed": True, "units": "2 × MUG-01 from main"}),
    ("orders return 1 --line 1=1 --restock main --refund", "return", "1",
     {"reference": None, "restock": "main", "lines": {"1": 1}, "changed": True,
      "refund": {"amount": "12.00", "currency": "EUR"}}),
    ("orders erase 1 5", "erase", None,
     {"orders": [1, 5], "erased": 2, "refused": [], "unknown": []}),
    ("orders restore 1", "restore", "1", {}),
    ("orders archive --older-than 90d", "archive", None, {"older_than": "90d", "orders": 0}),
    ("queues pause pay", "queue.pause", "pay", {"changed": True}),
    ("queues resume pay", "queue.resume", "pay", {"changed": True}),
    ("jobs run poll-gateways", "job.run", "poll-gateways", {"run": 1}),
    ("stock adjust MUG-01 -1 --reason broken", "stock.adjust", "MUG-01",
     {"location": "main", "units": -1, "reason": "broken"}),
    ("stock count MUG-01 7", "stock.count", "MUG-01",
     {"location": "main", "units": 7, "reason": None, "change": -1}),
    ("stock transfer MUG-01 2 --from main --to attic", "stock.transfer", "MUG-01",
     {"from": "main", "to": "attic", "units": 2, "reason": None}),
    ("stock safety MUG-01 main 2", "stock.safety", "MUG-01", {"location": "main", "units": 2}),
    ("stock reorder-point MUG-01 3", "stock.reorder-point", "MUG-01", {"units": 3}),
    ("stock hold MUG-01", "stock.hold", "MUG-01", {"location": "main"}),
    ("stock release MUG-01", "stock.release", "MUG-01", {"location": "main"}),
    ("stock locations set berlin --country DE", "location.set", "berlin",
     {"location": "berlin", "country": "DE", "priority": 100, "serves": "all"}),
    ("sources set web --set hold_countries=[]", "source.set", "web",
     {"changes": [{"field": "hold_countries", "was": '["DE"]', "now": "[]"}]}),
    ("stock reconcile --policy report", "stock.reconcile", None,
     {"policy": "report", "differences": 0, "done": {}}),
    ("keys create web --name till", "key.create", "till", {"source": "web", "scopes": None}),
    ("webhooks create web https://shop.example/hooks/T0KEN", "webhook.create", None, {"source": "web"}),
    (f"pricing import {EXAMPLES / 'rules.yaml'} --name agreed", "pricing.import", "agreed",
     {"version": 1, "changed": True}),
    ("operators create ada", "operator.create", "ada", {"role": "viewer"}),
]  # fmt: skip

REFUSED = [
    ("orders cancel 99", "cancel", "99", "there is no order 99"),
    ("orders requeue 1", "requeue", "1", "order 1 is confirmed"),
    ("orders refund 1 --amount 9999", "refund", "1", "can be refunded"),
    ("stock adjust MUG-01 -99 --reason lost", "stock.adjust", "MUG-01", "fewer"),
]


def test_what_a_command_does_is_in_it_with_to_what_and_in_whose_name(
    shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))

    for command, *_ in ACTS:
        code, printed = shop(*command.split())
        assert code == 0, f"{command}: {printed}"

    done = entries(shop)[: len(ACTS)]
    for entry in done:
        entry["detail"].pop("endpoint", None)  # a random id
    found = [(e["action"], e["target"], e["detail"]) for e in done]
    assert found == [(action, target, detail) for _, action, target, detail in reversed(ACTS)]
    assert {(e["operator"], e["outcome"]) for e in entries(shop)} == {(actor(), "done")}


def test_what_is_refused_is_in_it_with_why(shop: Run) -> None:
    for command, *_ in REFUSED:
        assert shop(*command.split())[0] == 2, command

    found = entries(shop)[: len(REFUSED)]
    for (_, action, target, why), entry in zip(reversed(REFUSED), found, strict=True):
        told = (entry["action"], entry["target"], entry["outcome"])
        assert told == (action, target, "refused")
        assert why in entry["detail"]["why"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("bad token", "bad token"),
        ('the token: "abc" leaked', "the token: (hidden) leaked"),
        ("paid with 4111 1111 1111 1111", "paid with (card number)"),
        ("asked by ada@example.com", "asked by (e-mail)"),
        ("see https://hooks.example/T0KEN?a=1 there", "see https://hooks.example/(hidden) there"),
    ],
)
def test_no_secret_and_no_address_gets_in_whoever_typed_it(
    database: Database, typed: str, kept: str
) -> None:
    with database.transaction() as tx:
        operators_log.add(tx, "ada", "stock.adjust", typed, {"reason": typed, "all": [typed]})
        [entry] = operators_log.page(tx, 1)

    assert (entry["target"], entry["detail"]) == (kept, {"reason": kept, "all": [kept]})


def test_a_key_that_was_typed_whole_is_hidden(shop: Run) -> None:
    shop("keys", "revoke", KEY)

    assert [e["target"] for e in entries(shop)][:1] == ["om_live_0123456789ab_(hidden)"]
    assert KEY not in str(entries(shop))


def test_what_breaks_off_is_told_and_what_dies_stays_under_way(database: Database) -> None:
    def break_off() -> None:
        with undertaking(database, "ada", "archive") as told:
            told["orders"] = 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    dying = undertaking(database, "ada", "erase", 7)
    dying.__enter__()

    with database.snapshot() as tx:
        dead, broken = operators_log.page(tx, 2)
    assert (broken["outcome"], broken["detail"]["orders"]) == ("failed", 7)
    assert "ZeroDivisionError" in broken["detail"]["why"]
    assert (dead["target"], dead["outcome"]) == ("7", "under_way")


def test_it_is_asked_for_by_name_action_and_target_and_read_page_by_page(shop: Run) -> None:
    shop("queues", "pause", "pay")
    shop("queues", "pause", "price")
    shop("queues", "resume", "pay")
    newest, before, *_ = entries(shop)

    assert [e["action"] for e in entries(shop, "--target", "pay")] == [
        "queue.resume",
        "queue.pause",
    ]
    assert [e["target"] for e in entries(shop, "--action", "queue.pause")] == ["price", "pay"]
    assert entries(shop, "--limit", "1", "--before", str(newest["id"])) == [before]
    assert entries(shop, "--by", "eve") == []
    assert entries(shop, "--by", actor(), "--limit", "1") == [newest]


def test_in_a_table_it_is_told_in_words(shop: Run) -> None:
    shop("stock", "adjust", "MUG-01", "-1", "--reason", "broken")

    assert "location: main, units: -1, reason: broken" in shop("operators", "log")[1]
