"""A source's webhook endpoints: seen by who may look, steered by who may steer, in the log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.assembly import Application
from pipeline.storage import webhook_deliveries, webhooks
from pipeline.storage.webhook_deliveries import Result
from pipeline.webhooks import endpoints
from tests.support import Mill
from tests.web.console.conftest import Browser, logged

Open = Callable[..., Browser]


@pytest.fixture
def endpoint(application: Application, shop: Mill) -> str:
    """One to which a delivery was attempted in vain, for the last time."""
    with application.database.transaction() as tx:
        url = "https://shop.example/hooks/hunter2"
        made = application.webhooks.create(tx, shop.source.id, url, "test").id
        delivery = endpoints.test(tx, made)
        said = "<b>no</b>"
        result = Result(
            delivery, 0.0, 12, 500, "answered 500 Internal Server Error", said, "failed", 0
        )
        webhook_deliveries.settle(tx, [result])
    return made


def state(application: Application, endpoint: str) -> tuple[str, str]:
    """Of the endpoint, and of its one delivery."""
    with application.database.snapshot() as tx:
        [delivery] = webhook_deliveries.page(tx, endpoint)
        return endpoints.told(webhooks.one(tx, endpoint))["state"], delivery["state"]


def test_a_source_shows_its_endpoints_by_their_hosts(browser: Open, endpoint: str) -> None:
    page = browser("viewer").text("/sources/shop")

    assert f'href="/console/webhooks/{endpoint}"' in page
    assert "shop.example" in page
    assert "hunter2" not in page


def test_an_endpoint_shows_its_deliveries_and_each_its_attempts(
    browser: Open, endpoint: str
) -> None:
    viewer = browser("viewer")

    page = viewer.text(f"/webhooks/{endpoint}")
    failed = viewer.text(f"/webhooks/{endpoint}?state=failed")
    pending = viewer.text(f"/webhooks/{endpoint}?state=pending")
    log = viewer.text(f"/webhooks/{endpoint}/deliveries/1")

    assert "answered 500 Internal Server Error" in page
    assert "answered 500 Internal Server Error" in failed
    assert "There is none." in pending
    assert "12 ms" in log
    assert "&lt;b&gt;no&lt;/b&gt;" in log
    assert "hunter2" not in page + log
    assert "Redeliver" not in page  # a viewer looks


def test_it_is_disabled_and_enabled(
    grace: Browser, application: Application, endpoint: str, shop: Mill
) -> None:
    grace.do(f"/webhooks/{endpoint}/disable")
    off = state(application, endpoint)[0]
    page = grace.text(f"/webhooks/{endpoint}")
    refused = grace.do(f"/webhooks/{endpoint}/redeliver")
    grace.do(f"/webhooks/{endpoint}/enable")

    assert off == "disabled"
    assert "by operator:grace: by hand" in page
    assert refused.status_code == 409
    assert state(application, endpoint)[0] == "enabled"
    assert [entry[1:] for entry in logged(shop)] == [
        ("webhook.disable", endpoint, "done"),
        ("webhook.redeliver", endpoint, "refused"),
        ("webhook.enable", endpoint, "done"),
    ]


@pytest.mark.parametrize("which", ["redeliver", "deliveries/1/redeliver"])
def test_what_was_given_up_is_delivered_again(
    grace: Browser, application: Application, endpoint: str, shop: Mill, which: str
) -> None:
    before = state(application, endpoint)[1]

    answer = grace.do(f"/webhooks/{endpoint}/{which}")

    assert "tried again." in answer.text
    assert (before, state(application, endpoint)[1]) == ("failed", "pending")
    assert [entry[1] for entry in logged(shop)] == ["webhook.redeliver"]


def test_what_there_is_not_is_not_found(grace: Browser, endpoint: str) -> None:
    for path in ("/webhooks/0123456789ab", f"/webhooks/{endpoint}/deliveries/9"):
        assert grace.get(path).status_code == 404
    assert grace.get(f"/webhooks/{endpoint}/explode").status_code == 422
