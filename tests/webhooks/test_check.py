"""ordermill check names the endpoints that were found dead, until a person has seen to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.check import check
from pipeline.checked import Check
from pipeline.settings import Settings
from pipeline.storage import webhooks
from pipeline.webhooks import endpoints
from tests.webhooks.conftest import Teller

#: The tests' Postgres is faster than it is durable, which is an error of its own.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def found(teller: Teller, home: Path) -> list[Check]:
    url = teller.database.url.render_as_string(hide_password=False)
    settings = Settings(_env_file=None, home=home, database_url=url)
    return [each for each in check(settings, teller.database) if each.name == "webhooks"]


def test_a_dead_endpoint_is_a_warning_until_it_is_enabled_or_a_person_disables_it(
    teller: Teller, tmp_path: Path
) -> None:
    revived, given_up = (teller.endpoint("https://shop.example/hook") for _ in range(2))
    well = found(teller, tmp_path)
    with teller.database.transaction() as tx:
        for each in (revived, given_up):
            webhooks.disable(tx, each, webhooks.OURSELVES, "it answered 410 Gone")
    dead = found(teller, tmp_path)

    with teller.database.transaction() as tx:
        endpoints.enable(tx, revived)
        endpoints.disable(tx, given_up, "ada", "they closed")

    assert well == found(teller, tmp_path) == []
    assert [each.level for each in dead] == ["warning", "warning"]
    assert f"endpoint {revived} of shop is disabled: it answered 410 Gone" in {
        each.found for each in dead
    }
    assert teller.kept(given_up).disabled_why == "they closed"
