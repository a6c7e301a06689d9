"""What operators do: asked first, done once, as it was shown, and written down with their name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage import sources
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import operator_sessions
from tests.support import MUG, Mill
from tests.web.console.conftest import ORIGIN, Announced, Browser, actors, held, logged
from web.console import signing

Open = Callable[..., Browser]


# --- One order -------------------------------------------------------------------------------------


def test_an_order_is_requeued_in_the_operators_name(grace: Browser, shop: Mill) -> None:
    [order_id] = held(shop, 1)

    answer = grace.do(f"/orders/{order_id}/requeue")
    shop.turn()

    assert "It is back at work." in answer.text
    assert shop.status(order_id) == "confirmed"
    assert actors(shop, order_id, "requeued") == ["operator:grace"]
    assert logged(shop) == [("grace", "requeue", str(order_id), "done")]


def test_the_worker_is_told_of_what_was_requeued(
    grace: Browser, shop: Mill, announced: Announced
) -> None:
    [order_id] = held(shop, 1)

    grace.do(f"/orders/{order_id}/requeue")

    assert [step for step, _ in announced.told] == ["validate"]


def test_what_is_said_once_is_not_said_again(grace: Browser, shop: Mill) -> None:
    [order_id] = held(shop, 1)

    said = grace.do(f"/orders/{order_id}/requeue").text
    again = grace.text(f"/orders/{order_id}")

    assert "It is back at work." in said
    assert "It is back at work." not in again


def test_an_order_is_cancelled_and_its_page_says_what_goes_back(grace: Browser, shop: Mill) -> None:
    order_id = shop.accept()
    shop.turn()

    page = grace.text(f"/orders/{order_id}/cancel")
    grace.do(f"/orders/{order_id}/cancel")
    shop.turn()

    assert "20.00 EUR go back to the customer." in page
    assert "2 reserved units are released" in page
    assert shop.status(order_id) == "cancelled"
    assert actors(shop, order_id, "cancelled") == ["operator:grace"]
    assert logged(shop) == [("grace", "cancel", str(order_id), "done")]


def test_an_order_that_has_changed_since_it_was_shown_is_left_alone(
    grace: Browser, shop: Mill
) -> None:
    [order_id] = held(shop, 1)
    form = grace.form_of(f"/orders/{order_id}/cancel")
    grace.do(f"/orders/{order_id}/requeue")

    answer = grace.post(f"/orders/{order_id}/cancel", **form)

    assert answer.status_code == 409
    assert "has changed since the page was made" in answer.text
    assert shop.status(order_id) == "received"
    assert logged(shop)[-1] == ("grace", "cancel", str(order_id), "refused")


# --- Money -----------------------------------------------------------------------------------------


def refunds(shop: Mill) -> list[Any]:
    return shop.query(
        "SELECT amount FROM payment_operations WHERE kind = 'refund' AND state = 'succeeded'"
    )


@pytest.fixture
def confirmed(shop: Mill) -> int:
    order_id = shop.accept(lines=[(MUG, 3)])
    shop.turn()
    return order_id


@pytest.mark.parametrize(
    ("asked", "minor"),
    [("amount=5.00", 500), ("line_1=2", 2000), ("", 3000), ("amount=5&reason=scratched", 500)],
)
def test_a_refund_is_what_its_page_said(
    grace: Browser, shop: Mill, confirmed: int, asked: str, minor: int
) -> None:
    page = grace.text(f"/orders/{confirmed}/refund?choose=yes&{asked}")

    answer = grace.do(f"/orders/{confirmed}/refund", f"?choose=yes&{asked}")

    assert f"{minor / 100:.2f} EUR go back to the customer, by sandbox." in page
    assert f"{minor / 100:.2f} EUR refunded." in answer.text
    assert refunds(shop) == [(minor,)]
    assert actors(shop, confirmed, "refund_requested") == ["operator:grace"]
    assert logged(shop) == [("grace", "refund", str(confirmed), "done")]


def test_looking_at_what_a_refund_would_be_refunds_nothing(
    grace: Browser, shop: Mill, confirmed: int
) -> None:
    grace.text(f"/orders/{confirmed}/refund?choose=yes&amount=5.00")

    assert shop.timeline(confirmed)[-1] == "advanced"
    assert shop.query("SELECT 1 FROM payment_tasks") == []


def test_a_refund_that_is_sent_twice_is_made_once(
    grace: Browser, shop: Mill, confirmed: int
) -> None:
    form = grace.form_of(f"/orders/{confirmed}/refund?choose=yes&amount=5.00")

    answers = [grace.post(f"/orders/{confirmed}/refund", **form).status_code for _ in range(2)]

    assert answers == [200, 409]
    assert refunds(shop) == [(500,)]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("amount=30.01", "30.00 EUR can be refunded, 30.01 were asked for"),
        ("amount=5.001", "has more decimal places than EUR"),
        ("amount=lots", "is not a decimal number"),
        ("line_1=4", "line 1"),
        ("line_1=x", "expected a number of units"),
        ("amount=1&line_1=1", "not of both"),
    ],
)
def test_a_refund_that_can_not_be_is_told_where_it_is_asked_for(
    grace: Browser, shop: Mill, confirmed: int, asked: str, says: str
) -> None:
    answer = grace.get(f"/orders/{confirmed}/refund?choose=yes&{asked}")

    assert (answer.status_code, says in answer.text) == (422, True)
    assert "What would that be?" in answer.text


def test_cancelling_a_paid_order_asks_for_the_password_as_a_refund_does(
    grace: Browser, shop: Mill, confirmed: int, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    path = f"/orders/{confirmed}/cancel"

    page = grace.text(path)
    without = grace.do(path)
    wrong = grace.do(path, password="wrong")
    before = shop.status(confirmed)
    right = grace.do(path, password="correct horse battery")
    shop.turn()

    assert "Your password, again" in page
    assert [each.status_code for each in (without, wrong, right)] == [403, 403, 200]
    assert "Wrong password." in wrong.text
    assert (before, shop.status(confirmed)) == ("confirmed", "cancelled")


def test_cancelling_an_unpaid_order_asks_for_no_password(
    grace: Browser, shop: Mill, database: Database
) -> None:
    [order_id] = held(shop, 1)
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))

    page, answer = grace.text(f"/orders/{order_id}/cancel"), grace.do(f"/orders/{order_id}/cancel")

    assert "Your password, again" not in page
    assert answer.status_code == 200


def test_cancelling_all_that_match_asks_for_the_password(
    grace: Browser, shop: Mill, database: Database
) -> None:
    [order_id] = held(shop, 1)
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    path, asked = "/bulk/cancel", "?reason=country_held"

    page = grace.text(path + asked)
    without = grace.do(path, asked)
    before = shop.status(order_id)
    right = grace.do(path, asked, password="correct horse battery")

    assert "Your password, again" in page
    assert "Wrong password." in without.text
    assert (before, right.status_code) == ("on_hold", 200)
    assert shop.status(order_id) in ("cancelling", "cancelled")


def test_who_is_signed_in_confirms_whatever_strangers_try(
    grace: Browser, shop: Mill, confirmed: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "FROM_ALL", 5)
    monkeypatch.setattr(signing, "BY_ONE_ADDRESS", 5)
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    stranger = TestClient(grace.client.app, base_url=ORIGIN)
    for _ in range(12):
        stranger.post(
            "/console/sign-in", data={"name": "grace", "password": "wrong"},
            headers={"Origin": ORIGIN},
        )  # fmt: skip

    answer = grace.do(f"/orders/{confirmed}/cancel", password="correct horse battery")

    assert answer.status_code == 200


def test_a_session_guesses_its_password_a_few_times_only(
    grace: Browser, shop: Mill, confirmed: int, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    path = f"/orders/{confirmed}/cancel"
    for _ in range(signing.OF_ONE_SESSION):
        assert "Wrong password." in grace.do(path, password="wrong").text

    right = grace.do(path, password="correct horse battery")

    assert (right.status_code, shop.status(confirmed)) == (403, "confirmed")
    assert "Too many attempts" in right.text


def test_a_refund_asks_for_the_password_again_after_five_minutes(
    grace: Browser, shop: Mill, confirmed: int, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    path, asked = f"/orders/{confirmed}/refund", "?choose=yes&amount=5.00"

    page = grace.text(path + asked)
    without = grace.do(path, asked)
    wrong = grace.do(path, asked, password="wrong")
    before = refunds(shop)
    right = grace.do(path, asked, password="correct horse battery")
    after = grace.text(f"/orders/{confirmed}/refund?choose=yes&amount=1.00")

    assert "Your password, again" in page
    assert [each.status_code for each in (without, wrong, right)] == [403, 403, 200]
    assert "Wrong password." in wrong.text
    assert before == []
    assert refunds(shop) == [(500,)]
    assert "Your password, again" not in after


def test_a_refund_that_the_gateway_refuses_is_told(
    grace: Browser, shop: Mill, confirmed: int, gateway: SandboxGateway
) -> None:
    form = grace.form_of(f"/orders/{confirmed}/refund?choose=yes&amount=5.00")
    gateway.refund_at_gateway(next(iter(gateway.book())).reference, 3000)

    answer = grace.post(f"/orders/{confirmed}/refund", **form)

    assert "The gateway refused" in answer.text
    assert refunds(shop) == []


def test_what_was_authorized_is_captured(grace: Browser, shop: Mill) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="sandbox", capture="later"))
        shop.source = sources.by_name(tx, "shop")
    order_id = shop.accept()
    shop.turn()

    page = grace.text(f"/orders/{order_id}/capture")
    answer = grace.do(f"/orders/{order_id}/capture")

    assert "20.00 EUR are taken from the customer" in page
    assert "20.00 EUR captured." in answer.text
    assert actors(shop, order_id, "capture_requested") == ["operator:grace"]


# --- When the database is away -----------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_while_the_database_can_not_be_used_a_page_says_so(
    grace: Browser, database: Database
) -> None:
    with database.transaction() as tx:
        tx.exec_driver_sql("DROP TABLE dispatches")

    answer = grace.get("/")

    assert answer.status_code == 503
    assert "The database can&#39;t be used just now." in answer.text


def test_a_defect_tells_nothing_of_itself(grace: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("sk_live_secret")

    monkeypatch.setattr("web.console.sources.storage.all_sources", break_down)
    assert isinstance(grace.client, TestClient)

    answer = grace.get("/sources")

    assert answer.status_code == 500
    assert "A defect of ours; the log has it." in answer.text
    assert "secret" not in answer.text
