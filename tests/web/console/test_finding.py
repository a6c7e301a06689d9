"""Finding orders: by the box above each page, by filter, page by page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support import Mill
from tests.web.console.conftest import Browser, held

Open = Callable[..., Browser]


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("1", "/console/orders/1"),
        ("999", "/console/orders?external_id=999"),
        ("web-7", "/console/orders?external_id=web-7"),
        ("ada@example.com", "/console/orders?email=ada%40example.com"),
        ("MUG-01", "/console/orders?sku=MUG-01"),
        ("country_held", "/console/orders?reason=country_held"),
        ("", "/console/orders"),
    ],
)
def test_one_box_finds_orders_by_whatever_names_them(
    browser: Open, shop: Mill, asked: str, leads_to: str
) -> None:
    shop.accept(external_id="web-7")
    viewer = browser("viewer")

    answer = viewer.client.get("/console/search", params={"q": asked}, follow_redirects=False)

    assert answer.headers["location"] == leads_to


def test_orders_are_found_by_filter_and_turned_over_by_cursor(browser: Open, shop: Mill) -> None:
    held(shop, 60)
    shop.accept(external_id="the-other", customer={"email": "Grace@example.com"})
    viewer = browser("viewer")

    first = viewer.text("/orders?reason=country_held")
    [older] = re.findall(r'href="/console(/orders\?[^"]*before=[^"]+)"', first)
    second = viewer.text(older.replace("&amp;", "&"))
    by_mail = viewer.text("/orders?email=grace@example.com")

    def shown(page: str) -> list[str]:
        return re.findall(r'<a href="/console/orders/(\d+)">', page)

    assert len(shown(first)) == 50
    assert len(shown(second)) == 10
    assert not set(shown(first)) & set(shown(second))
    assert shown(by_mail) == ["61"]


def test_a_filter_that_can_not_be_is_refused_by_name(browser: Open) -> None:
    answer = browser("viewer").get("/orders?older_than=soon")

    assert answer.status_code == 422
    assert "older_than: got &#39;soon&#39;, expected a time such as 30m, 1h or 2d" in answer.text
