"""Which gateways there are, by the settings, and what `ordermill check` says of those that aren't."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.assembly import open_gateways
from pipeline.check import check
from pipeline.errors import ConfigurationError
from pipeline.payments.gateway import Call, GatewayEvent, Unavailable, Unknown
from pipeline.payments.guard import GuardedGateway
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import sources
from pipeline.storage.database import Database

SECRET = "whsec_dGVzdHMgYXJlIG5vIHNlY3JldA=="


def settings(home: Path, **more: Any) -> Settings:
    return Settings(_env_file=None, home=home, sandbox_book="memory", **more)  # type: ignore[call-arg]


def authorize(method: str, key: str = "a-key") -> Call:
    return Call("authorize", key, 5950, "EUR", method=method)


def test_sandbox_and_manual_are_always_there_and_stripe_with_a_key(tmp_path: Path) -> None:
    without = open_gateways(settings(tmp_path))
    with_key = open_gateways(settings(tmp_path, stripe_key="sk_test_1"))

    assert set(without) == {"sandbox", "manual"}
    assert set(with_key) == {"sandbox", "manual", "stripe"}
    assert all(name == gateway.name for name, gateway in with_key.items())


def test_a_key_without_the_library_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.payments.stripe", raising=False)
    monkeypatch.setitem(sys.modules, "stripe", None)

    with pytest.raises(ConfigurationError, match=r"ordermill\[stripe\]"):
        open_gateways(settings(tmp_path, stripe_key="sk_test_1"))


def test_who_asks_outside_is_guarded_as_the_settings_say(tmp_path: Path) -> None:
    gateways = open_gateways(
        settings(tmp_path, stripe_key="sk_test_1", gateway_failures=2, gateway_rest=60)
    )
    sandbox, stripe = gateways["sandbox"], gateways["stripe"]
    assert isinstance(sandbox, GuardedGateway)
    assert isinstance(stripe, GuardedGateway)

    answers = [sandbox.perform(authorize("pm_timeout_before", f"key-{n}")) for n in range(3)]

    assert [type(answer) for answer in answers] == [Unknown, Unknown, Unavailable]
    assert (sandbox.state, stripe.state) == ("open", "closed")


def test_the_rate_of_the_settings_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.payments.guard.PATIENCE", 0.0)
    sandbox = open_gateways(settings(tmp_path, gateway_rate=1))["sandbox"]

    answers = [sandbox.perform(authorize("pm_card_visa")) for _ in range(5)]

    assert isinstance(answers[-1], Unavailable)


def test_processes_of_one_home_believe_each_others_events(tmp_path: Path) -> None:
    """And those of another home don't."""
    one, other = (open_gateways(settings(tmp_path))["sandbox"] for _ in range(2))
    stranger = open_gateways(settings(tmp_path / "elsewhere", webhook_secret="x" * 40))["sandbox"]
    event = GatewayEvent("evt_1", "payment.captured", "sbx_1")
    assert isinstance(one, GuardedGateway)
    assert isinstance(one.gateway, SandboxGateway)

    signed = one.gateway.sign(event)

    assert other.verify(*signed) == event
    with pytest.raises(Exception, match="no event of the sandbox"):
        stranger.verify(*signed)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    shown = repr(settings(tmp_path, stripe_key="sk_test_1", stripe_webhook_secret=SECRET))

    assert "sk_test_1" not in shown
    assert SECRET not in shown


# Policies


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """With one source on each gateway, as far as it matters."""
    with sqlite_database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="stripe"))
        sources.put(tx, "market", Policy())
    return sqlite_database


def told(settings: Settings, database: Database) -> list[tuple[str, str, str]]:
    return [(c.level, c.found, c.mend) for c in check(settings, database) if c.name == "stripe"]


def test_a_source_on_stripe_without_a_key_is_an_error(tmp_path: Path, database: Database) -> None:
    ((level, found, mend),) = told(settings(tmp_path), database)

    assert level == "error"
    assert "gateway of shop" in found
    assert "set ORDERMILL_STRIPE_KEY" in mend


def test_a_source_on_a_gateway_that_is_not_installed_is_an_error(
    tmp_path: Path, database: Database
) -> None:
    with database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="acquired"))

    [found] = [c for c in check(settings(tmp_path), database) if c.name == "acquired"]

    assert (found.level, found.found) == ("error", "is the gateway of shop, and isn't installed")


def test_stripe_without_its_events_secret_is_a_warning(tmp_path: Path, database: Database) -> None:
    ((level, _, mend),) = told(settings(tmp_path, stripe_key="sk_test_1"), database)

    assert level == "warning"
    assert "ORDERMILL_STRIPE_WEBHOOK_SECRET" in mend


def test_stripe_with_key_and_secret_is_fine(tmp_path: Path, database: Database) -> None:
    complete = settings(tmp_path, stripe_key="sk_test_1", stripe_webhook_secret=SECRET)

    assert told(complete, database) == []


def test_nobody_on_stripe_needs_no_key(tmp_path: Path, database: Database) -> None:
    with database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="manual"))

    assert told(settings(tmp_path), database) == []
