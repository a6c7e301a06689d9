"""ordermill webhooks: made, shown, rotated, tested, disabled; what was delivered, and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.ordermill.conftest import Run
from tests.webhooks.conftest import Receiver


@pytest.fixture
def receiver(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("ORDERMILL_WEBHOOK_ALLOW", "127.0.0.1")
    assert run("sources", "set", "web")[0] == 0
    made = Receiver()
    yield made
    made.close()


def make(run: Run, url: str, *options: object) -> dict[str, Any]:
    code, said = run("webhooks", "create", "web", url, *options, "--json")
    assert code == 0, said
    told: dict[str, Any] = json.loads(said)
    return told


def told(run: Run, *command: object) -> Any:
    code, said = run("webhooks", *command, "--json")
    assert code == 0, said
    return json.loads(said)


def test_a_secret_is_shown_once(run: Run, receiver: Receiver) -> None:
    code, said = run("webhooks", "create", "web", receiver.url())

    secret = next(line for line in said.splitlines() if line.startswith("whsec_"))
    assert code == 0
    [listed] = told(run, "ls")
    for shown in (
        run("webhooks", "ls")[1],
        run("webhooks", "ls", "--json")[1],
        run("webhooks", "show", listed["id"])[1],
        run("webhooks", "show", listed["id"], "--json")[1],
    ):
        assert receiver.url() in shown
        assert secret not in shown


def test_a_test_shows_what_was_answered_and_is_signed(run: Run, receiver: Receiver) -> None:
    hook = make(run, receiver.url())

    [attempt] = told(run, "test", hook["id"])["log"]

    assert (attempt["status"], attempt["answer"]) == (200, "thanks")
    [got] = receiver.received
    Webhook(hook["secret"]).verify(got.body, got.headers)


def test_a_test_that_fails_says_why(run: Run, receiver: Receiver) -> None:
    receiver.script.answers["/hook"] = [404]
    hook = make(run, receiver.url())

    code, said = run("webhooks", "test", hook["id"])

    assert code == 1
    assert "answered 404 Not Found" in said


def test_after_a_rotation_both_secrets_sign(run: Run, receiver: Receiver) -> None:
    hook = make(run, receiver.url())
    new = told(run, "rotate", hook["id"], "--overlap", "1h")["secret"]

    told(run, "test", hook["id"])

    [got] = receiver.received
    for secret in (hook["secret"], new):
        Webhook(secret).verify(got.body, got.headers)


def test_it_is_disabled_with_a_reason_and_enabled(run: Run, receiver: Receiver) -> None:
    hook = make(run, receiver.url())["id"]

    assert run("webhooks", "disable", hook, "--why", "it moves house")[0] == 0
    off = told(run, "show", hook)
    refused = run("webhooks", "test", hook)
    assert run("webhooks", "enable", hook)[0] == 0

    assert (off["state"], off["disabled_why"]) == ("disabled", "it moves house")
    assert off["disabled_by"].startswith("cli:")
    assert (refused[0], "enable it first" in refused[1]) == (2, True)
    assert told(run, "show", hook)["state"] == "enabled"


def test_deliveries_are_listed_with_their_attempts_and_made_again(
    run: Run, receiver: Receiver
) -> None:
    hook = make(run, receiver.url())["id"]
    told(run, "test", hook)

    [delivery] = told(run, "deliveries", hook, "--state", "delivered")
    assert told(run, "deliveries", hook, "--state", "failed") == []
    assert "1 of them" in run("webhooks", "redeliver", hook, delivery["id"])[1]
    told(run, "test", hook)

    assert len(told(run, "deliveries", hook, delivery["id"])["log"]) == 2
    assert [each.id for each in receiver.received].count(delivery["event"]) == 2
    assert "0 of them" in run("webhooks", "redeliver", hook, "--failed")[1]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["create", "web", "ftp://shop.example/"], "url: expected one such as"),
        (["create", "nobody", "https://shop.example/"], "there is no source named 'nobody'"),
        (["create", "web", "https://shop.example/", "--type", "order.shpped"], "types: got"),
        (["create", "web", "https://shop.example/", "--since", "soon"], "--since: 'soon'"),
        (["show", "0123456789ab"], "there is no webhook endpoint 0123456789ab"),
        (["rotate", "0123456789ab"], "there is no webhook endpoint 0123456789ab"),
        (["deliveries", "0123456789ab"], "there is no webhook endpoint 0123456789ab"),
        (["redeliver", "0123456789ab"], "expected numbers of deliveries, or --failed"),
        (["redeliver", "0123456789ab", "1", "--failed"], "expected numbers of deliveries"),
    ],
)
def test_what_is_wrong_is_said(run: Run, receiver: Receiver, command: list[str], says: str) -> None:
    code, said = run("webhooks", *command)

    assert (code, says in said) == (2, True), said


def test_a_setting_that_names_nothing_is_refused_by_name(
    run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERMILL_WEBHOOK_ALLOW", "http://erp.internal")

    code, said = run("webhooks", "ls")

    assert (code, "ORDERMILL_WEBHOOK_ALLOW: got" in said) == (2, True)
