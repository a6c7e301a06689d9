"""Who asks VIES, and where, is a setting; `ordermill check` says what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.assembly import assemble
from pipeline.check import check
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings, load_settings
from pipeline.source import Policy
from pipeline.storage.database import Database
from pipeline.vat.vies import Vies
from tests.support import Mill
from tests.vat.service import Service

#: The tests' Postgres is faster than it is durable, which is an error of its own.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def settings(database: Database, home: Path, **more: Any) -> Settings:
    url = database.url.render_as_string(hide_password=False)
    return Settings(_env_file=None, home=home, database_url=url, sandbox_book="memory", **more)  # type: ignore[call-arg]


def said(database: Database, home: Path, **more: Any) -> list[str]:
    found = check(settings(database, home, **more), database)
    return [f"{each.level} {each.mend}" for each in found if each.name == "VIES"]


def test_a_source_that_asks_without_saying_who_asks_is_a_warning(
    database: Database, tmp_path: Path
) -> None:
    shop = Mill(database)
    believing = said(database, tmp_path)
    shop.another_source("b2b", Policy(vat_check="vies"))

    assert believing == []
    assert said(database, tmp_path) == [
        "warning set ORDERMILL_VIES_REQUESTER to your own VAT id"
    ]  # fmt: skip
    assert said(database, tmp_path, vies_requester="DE136695976") == []


def test_a_requester_that_is_no_vat_id_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r'ORDERMILL_VIES_REQUESTER: got "DE1"'):
        load_settings(_env_file=None, home=tmp_path, vies_requester="DE1")


def test_the_application_asks_where_the_settings_say(
    database: Database, tmp_path: Path, service: Service
) -> None:
    class Nobody:
        def announce(self, step: str, dispatch_id: int) -> None: ...

    given = settings(database, tmp_path, vies_url=service.url, vies_requester="DE 136 695 976")
    application = assemble(given, Nobody())
    vies: Vies = application.engine.steps["price"]._vat_ids  # type: ignore[attr-defined]

    assert vies.ask(["FR40303265045"])["FR40303265045"].valid
    assert service.asked[0]["requesterNumber"] == "136695976"
    application.close()
