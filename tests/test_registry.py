"""What others add by entry points is found as the shipped ones are, and refused by name if it is broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from pipeline import registry
from pipeline.errors import ConfigurationError, InvalidInput
from pipeline.payments import gateways
from pipeline.payments.gateways import GatewayKind
from pipeline.source import Policy
from pipeline.storage.database import Database
from tests.support import Mill

Install = Callable[[str, str], None]

#: A second gateway by hand: people record what comes by cheque.
CHEQUES = GatewayKind(lambda settings: None, moves_money=False)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """As if somebody's distribution had such an entry point."""
    points = registry._points

    def installed(name: str, value: str) -> None:
        more = EntryPoint(name, value, "ordermill.gateways")
        known = registry._points
        monkeypatch.setattr(registry, "_points", lambda group: [*known(group), more])
        _forget()

    _forget()
    yield installed
    monkeypatch.setattr(registry, "_points", points)
    _forget()


def _forget() -> None:
    registry.names.cache_clear()
    registry.load.cache_clear()


def test_the_shipped_gateways_are_found() -> None:
    assert gateways.names() == ("manual", "sandbox", "stripe")
    assert gateways.by_hand() == ["manual"]


def test_they_are_found_where_nothing_is_installed() -> None:
    """As `make run` has it: what is required is there, the project is a folder."""
    script = (
        "import importlib.metadata as m; m.entry_points = lambda **_: ()\n"
        "from pipeline.payments import gateways; print(*gateways.names())"
    )

    shown = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert shown.stdout.split() == ["manual", "sandbox", "stripe"]


def test_only_what_is_named_is_imported() -> None:
    script = (
        "import sys; from pipeline.payments import gateways; gateways.kind('manual')\n"
        "print(*sys.modules)"
    )

    shown = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert "pipeline.payments.kinds.manual" in shown.stdout
    assert "pipeline.payments.sandbox" not in shown.stdout
    assert "stripe" not in shown.stdout.split()


def test_somebody_s_gateway_is_one_of_them(install: Install) -> None:
    install("cheques", "tests.test_registry:CHEQUES")

    assert gateways.by_hand() == ["cheques", "manual"]


def test_what_is_paid_at_it_is_captured_by_hand(
    install: Install, sqlite_database: Database
) -> None:
    from pipeline import operations

    install("cheques", "tests.test_registry:CHEQUES")
    mill = Mill(sqlite_database, policy=Policy(gateway="cheques")).stocked()
    mill.gateways["cheques"] = _as_cheques(mill)
    order = mill.accept(payment={"method": "invoice"})
    mill.turn()

    assert mill.status(order) == "confirmed"
    with (
        pytest.raises(InvalidInput, match="paid by hand: record the money"),
        mill.database.transaction() as tx,
    ):
        operations.capture(tx, order, "ada")


def _as_cheques(mill: Mill) -> object:
    from pipeline.payments.manual import ManualGateway

    class Cheques(ManualGateway):
        name = "cheques"

    return Cheques()


def test_one_that_is_gone_is_taken_for_one_that_moved_the_money() -> None:
    assert gateways.moves_money("acquired")


def test_a_broken_one_is_refused_by_name(install: Install) -> None:
    install("broken", "tests.no_such_module:KIND")

    with pytest.raises(ConfigurationError, match=r"gateway broken \(tests\.no_such_module:KIND\)"):
        gateways.kind("broken")
    assert gateways.moves_money("sandbox")  # the others are as well as before


def test_two_of_one_name_are_refused(install: Install) -> None:
    install("sandbox", "tests.test_registry:CHEQUES")

    with pytest.raises(ConfigurationError, match="two distributions have a gateway called sandbox"):
        gateways.names()
