"""The console in a real browser: an operator finds what is stuck and puts it right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipeline import fulfilment
from pipeline.assembly import Application
from pipeline.inventory.shipping import Return, Shipment
from pipeline.operators import hash_password
from pipeline.source import Policy
from pipeline.storage import operators, sources, webhook_deliveries, webhooks
from pipeline.storage.database import Database
from pipeline.storage.webhook_deliveries import Result
from tests.support import MUG, Mill, an_order
from tests.web.console.conftest import PASSWORD, held
from tests.web.console.serving import chromium, serving


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """One will do: what pages say of either is tested without a browser."""
    return sqlite_database


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = chromium(playwright)
        if found is None:
            pytest.skip("there is no Chromium: `playwright install chromium`, or the system's own")
        yield found
        found.close()


@pytest.fixture
def address(application: Application) -> Iterator[str]:
    with application.database.transaction() as tx:
        operators.create(tx, "ada", "admin", hash_password(PASSWORD))
    with serving(application) as where:
        yield f"{where}/console"


def sign_in(page: Page, address: str) -> None:
    page.goto(f"{address}/")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.fixture
def page(opened: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Signed in; what the browser complains of fails the test."""
    options: dict[str, Any] = getattr(request, "param", {})
    context = opened.new_context(**options)
    made = context.new_page()
    complaints: list[str] = []
    made.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    sign_in(made, address)
    yield made
    context.close()
    assert complaints == []


def many_on_hold(shop: Mill, count: int) -> None:
    """So many orders to France, which are on hold, taken in as an upstream system would."""
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="sandbox", hold_countries=frozenset({"FR"})))
        shop.source = sources.by_name(tx, "shop")
    there = {"country": "FR", "postal_code": "75001"}
    shop.intake.accept_all(shop.source, [an_order(ship_to=there) for _ in range(count)])
    shop.turn()


def test_who_is_woken_finds_what_is_stuck_and_requeues_all_of_it(
    page: Page, address: str, shop: Mill
) -> None:
    many_on_hold(shop, 2_000)

    # The page was open before they were held: it shows them by itself.
    page.get_by_role("link", name="2,000 on hold: country held").click()
    expect(page.get_by_text("2,000 orders match")).to_be_visible()
    page.get_by_role("link", name="Requeue all 2,000").click()
    expect(page.get_by_role("heading", name="Requeue 2,000 orders")).to_be_visible()
    page.get_by_role("button", name="Requeue all 2,000").click()
    expect(page.get_by_text("2,000 orders: requeue done.")).to_be_visible(timeout=30_000)

    page.goto(f"{address}/")
    queue = page.get_by_role("row", name=re.compile("^validate"))
    expect(queue.locator("[data-label=Waiting]")).to_have_text("2,000")
    while shop.engine.work("validate"):
        pass
    expect(queue.locator("[data-label=Waiting]")).to_have_text("0", timeout=10_000)
    expect(queue.locator("[data-label='Through, hour']")).not_to_have_text("0")
    expect(page.get_by_text("on hold: country held")).to_have_count(0)


def test_the_chart_moves_while_orders_come_through(page: Page, shop: Mill) -> None:
    chart = page.get_by_role("img", name=re.compile("Confirmed by the minute, last hour"))
    expect(chart).to_have_attribute("aria-label", re.compile(": 0 through"))

    for _ in range(3):
        shop.accept()
    shop.turn()

    expect(chart).to_have_attribute("aria-label", re.compile(": 3 through"), timeout=10_000)


def test_what_is_being_read_is_not_taken_away(page: Page, shop: Mill) -> None:
    table = page.locator("#t-hour")
    table.locator("summary").click()

    for _ in range(3):
        shop.accept()
    shop.turn()
    page.get_by_role("searchbox").focus()

    expect(page.locator("#charts")).to_contain_text("3 through", timeout=10_000)
    expect(table).to_have_attribute("open", "")


def test_a_queue_is_paused_and_everybody_sees_it(page: Page, address: str) -> None:
    page.goto(f"{address}/queues")
    page.get_by_role("link", name="Pause pay").click()
    page.get_by_role("button", name="Pause").click()

    expect(page.get_by_role("status").filter(has_text="pay is paused.")).to_be_visible()
    page.goto(f"{address}/")
    expect(page.get_by_role("link", name="pay is paused")).to_be_visible()
    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("pay goes on.")).to_be_visible()


def refund(page: Page, address: str, order_id: int) -> None:
    page.goto(f"{address}/orders/{order_id}")
    page.get_by_role("link", name="Refund…").click()
    page.get_by_label("Amount in EUR").fill("5.00")
    page.get_by_role("button", name="What would that be?").click()
    expect(page.get_by_text("5.00 EUR go back to the customer")).to_be_visible()
    page.get_by_role("button", name="Refund 5.00 EUR").click()
    expect(page.get_by_text("5.00 EUR refunded.")).to_be_visible()
    expect(page.get_by_text("operator:ada").first).to_be_visible()


def ship_and_take_back(page: Page, address: str, order_id: int) -> None:
    page.goto(f"{address}/orders/{order_id}")
    page.get_by_role("link", name="Fulfil…").click()
    page.get_by_label("MUG-01, 2 left").fill("1")
    page.get_by_label("Carrier").fill("DHL")
    page.get_by_role("button", name="What would that be?").click()
    expect(page.get_by_text("Units left to ship after that: 1.")).to_be_visible()
    page.get_by_role("button", name="Ship").click()
    expect(page.get_by_text("Shipped: 1 × MUG-01 from main.")).to_be_visible()
    page.get_by_role("link", name="Return…").click()
    page.get_by_label("MUG-01, 1 shipped").fill("1")
    page.get_by_label("Where they go").select_option("into stock at main")
    page.get_by_role("button", name="What would that be?").click()
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("Came back: 1 × MUG-01.")).to_be_visible()


def test_a_refund_is_made(page: Page, address: str, shop: Mill) -> None:
    order_id = shop.accept()
    shop.turn()

    refund(page, address, order_id)


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_everything_can_be_read_and_done_without_javascript(
    page: Page, address: str, shop: Mill
) -> None:
    held(shop, 3)
    order_id = shop.accept(ship_to={"country": "DE", "postal_code": "10115"})
    shop.turn()

    page.reload()
    page.get_by_role("link", name="3 on hold: country held").click()
    page.get_by_role("link", name="Requeue all 3").click()
    page.get_by_role("button", name="Requeue all 3").click()
    expect(page.get_by_text("3 orders: requeue done.")).to_be_visible()
    refund(page, address, order_id)
    ship_and_take_back(page, address, order_id)


PAGES = ("/", "/held", "/orders?status=on_hold", "/orders/1", "/orders/2/cancel", "/queues",
         "/workers", "/jobs", "/jobs/audit", "/stock", "/stock/sku?sku=MUG-01", "/sources",
         "/sources/shop", "/audit", "/log", "/me", "/bulk/requeue?reason=country_held",
         "/orders/2/refund", "/orders/2", "/orders/2/fulfil", "/orders/3", "/orders/3/return",
         "/orders/3/cancel", "/webhooks/0123456789ab",
         "/webhooks/0123456789ab/deliveries/1", "/webhooks/0123456789ab/disable")  # fmt: skip


@pytest.fixture
def trade(shop: Mill) -> Mill:
    """An order on hold (1), a confirmed one (2), and one (3) of which part was shipped and a part
    of that came back; an endpoint to which a delivery failed."""
    held(shop, 1)
    for _ in range(2):
        shop.accept(ship_to={"country": "DE", "postal_code": "10115"}, lines=[(MUG, 3)])
    shop.turn()
    with shop.database.transaction() as tx:
        fulfilment.ship_one(tx, Shipment(3, "P-1", {1: 2}, None, "DHL", "JD01"), "ada")
        fulfilment.take_back(tx, Return(3, "R-1", {1: 1}, "main", "too small"), "ada")
        name, url = "0123456789ab", "https://shop.example/hooks"
        webhooks.add(tx, name, shop.source.id, url, ["order.confirmed"], name, None, "test")
        delivery = webhook_deliveries.add_test(tx, name, "webhook.test")
        answer = "it says no, " * 40
        result = Result(delivery, 0.0, 12, 500, "answered 500", answer, "failed", 0.0)
        webhook_deliveries.settle(tx, [result])
    return shop


PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_on_a_phone_nothing_is_cut_off_and_all_is_wide_enough_for_a_finger(
    page: Page, address: str, trade: Mill
) -> None:
    for path in PAGES:
        page.goto(f"{address}{path}")

        wide = page.evaluate("document.documentElement.scrollWidth")
        small = page.eval_on_selector_all(
            "button, .button, nav a, select, input:not([type=hidden]):not([type=checkbox]), "
            "tbody th a",
            "all => all.filter(e => e.offsetParent && e.getBoundingClientRect().height < 43.5)"
            ".map(e => e.outerHTML.slice(0, 90))",
        )
        assert (path, wide, small) == (path, 360, [])


@pytest.mark.parametrize(
    "page",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {**PHONE, "color_scheme": "dark"}],
    ids=["light", "dark", "phone"],
    indirect=True,
)
def test_axe_finds_no_fault(page: Page, address: str, trade: Mill) -> None:
    found = {}
    for path in PAGES:
        page.goto(f"{address}{path}")
        result = Axe().run(page).response["violations"]
        if result:
            found[path] = [(v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in result]

    assert found == {}


def test_the_keyboard_reaches_the_content_first(page: Page, address: str) -> None:
    page.goto(f"{address}/orders")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()


def test_a_picture_of_each_page_is_small() -> None:
    folder = Path(__file__).parents[3] / "docs" / "console"

    assert all(picture.stat().st_size < 100_000 for picture in folder.glob("*.webp"))
