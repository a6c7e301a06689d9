"""Signing in: who, how often, from where; sessions that end; forms that are not ours."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from pipeline.operators import hash_password, is_password
from pipeline.storage import operators
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import operator_sessions, sign_ins
from tests.support import Mill
from tests.web.console.conftest import ORIGIN, PASSWORD, Browser, held
from web.console import signing
from web.console.guard import session_cookie

Open = Callable[..., Browser]


def is_signed_in(browser: Browser) -> bool:
    return browser.client.get("/console/me", follow_redirects=False).status_code == 200


def test_without_an_operator_the_page_says_how_to_make_one(browser: Open) -> None:
    assert "ordermill operators create NAME --role admin" in browser(None).text("/sign-in")


def test_who_is_not_signed_in_is_sent_to_sign_in_and_then_to_where_he_wanted(
    browser: Open,
) -> None:
    browser("viewer")
    nobody = browser(None)
    asked = nobody.client.get("/console/orders?status=on_hold", follow_redirects=False)
    then = asked.headers["location"]

    answer = nobody.post("/sign-in", name="viewer", password=PASSWORD, next="/console/stock")

    assert then == "/console/sign-in?next=/console/orders%3Fstatus%3Don_hold"
    assert answer.url.path == "/console/stock"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/console",
        "/console\\evil",
        "javascript:alert(1)",
        "///evil.example/console/",
        "////evil.example/console/",
        "/\t/evil.example/console/",
        "/console\t//evil.example",
        "\\\\evil.example/console",
        "/ /evil.example/console",
        "https:/console/",
        "https:///evil.example/console",
        "/consolevil",
        "console/",
        "",
        "/\n/evil.example/console",
        "/./\\evil.example/console",
        "/.//evil.example/console/",
    ],
)
def test_after_signing_in_nobody_is_sent_to_another_site(browser: Open, elsewhere: str) -> None:
    browser("viewer")

    answer = browser(None).post("/sign-in", name="viewer", password=PASSWORD, next=elsewhere)

    assert str(answer.url) == f"{ORIGIN}/console/"


@pytest.mark.parametrize(
    ("name", "password"), [("viewer", "wrong"), ("nobody", PASSWORD), ("", ""), ("viewer", "")]
)
def test_a_wrong_name_is_told_as_a_wrong_password_is(
    browser: Open, name: str, password: str
) -> None:
    browser("viewer")
    nobody = browser(None)

    answer = nobody.sign_in(name, password)

    assert (answer.status_code, signing.WRONG in answer.text) == (403, True)
    assert not is_signed_in(nobody)


def test_the_sessions_id_is_new_at_each_sign_in_and_kept_as_a_hash(
    browser: Open, database: Database
) -> None:
    signed_in = browser("viewer")
    first = signed_in.client.cookies["ordermill"]

    signed_in.sign_in("viewer")

    second = signed_in.client.cookies["ordermill"]
    with database.snapshot() as tx:
        kept = list(tx.execute(operator_sessions.select()))
    assert first != second
    assert [row.digest for row in kept] == [operators.digest(second)]
    assert second not in str(kept)


def test_an_id_that_a_stranger_has_planted_is_worth_nothing(browser: Open) -> None:
    victim = browser("viewer")
    planted = "a" * 43
    victim.client.cookies.set("ordermill", planted)

    victim.sign_in("viewer")

    stranger = browser(None)
    stranger.client.cookies.set("ordermill", planted)
    assert not is_signed_in(stranger)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: Open) -> None:
    browser("viewer")
    nobody = browser(None)

    answer = nobody.client.post(
        "/console/sign-in", data={"name": "viewer", "password": PASSWORD},
        headers={"Origin": ORIGIN}, follow_redirects=False,
    )  # fmt: skip

    told = answer.headers["set-cookie"].lower()
    assert told.startswith("ordermill=")
    assert {"httponly", "samesite=lax", "path=/"} <= set(told.split("; "))


def test_over_tls_the_cookie_is_for_this_host_and_tls_alone(browser: Open) -> None:
    over_tls = browser("viewer").client
    secure = TestClient(over_tls.app, base_url="https://mill.example")

    answer = secure.post(
        "/console/sign-in", data={"name": "viewer", "password": PASSWORD},
        headers={"Origin": "https://mill.example"}, follow_redirects=False,
    )  # fmt: skip

    told = answer.headers["set-cookie"]
    assert told.startswith("__Host-ordermill=")
    assert "Secure" in told.split("; ")
    assert answer.headers["strict-transport-security"]


def test_where_others_can_read_along_no_password_is_taken(browser: Open) -> None:
    app = browser("viewer").client.app
    plain = TestClient(app, base_url="http://mill.example")

    answer = plain.post(
        "/console/sign-in", data={"name": "viewer", "password": PASSWORD},
        headers={"Origin": "http://mill.example"},
    )  # fmt: skip

    assert answer.status_code == 403
    assert "can be read by others" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("column", "seconds"), [("seen_at", operators.IDLE), ("created_at", operators.LONGEST)]
)
def test_a_session_ends_after_its_time(
    browser: Open, database: Database, column: str, seconds: float
) -> None:
    signed_in = browser("viewer")

    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values({column: now(-seconds + 30)}))
    before = is_signed_in(signed_in)
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values({column: now(-seconds - 1)}))
    after = is_signed_in(signed_in)

    assert (before, after) == (True, False)


def test_a_click_keeps_a_session_and_an_open_page_does_not(
    browser: Open, database: Database
) -> None:
    signed_in = browser("viewer")

    def age_after(path: str) -> bool:
        with database.transaction() as tx:
            tx.execute(operator_sessions.update().values(seen_at=now(-600)))
        signed_in.get(path)
        with database.snapshot() as tx:
            fresh = operator_sessions.c.seen_at > now(-60)
            return tx.execute(operator_sessions.select().where(fresh)).one_or_none() is not None

    assert (age_after("/me"), age_after("/nothing/live")) == (True, False)


def test_who_is_disabled_or_gets_another_role_is_signed_out(
    browser: Open, database: Database
) -> None:
    ada, grace = browser("viewer", "ada"), browser("viewer", "grace")

    with database.transaction() as tx:
        operators.disable(tx, "ada")
        operators.change(tx, "grace", role="admin")

    assert [is_signed_in(each) for each in (ada, grace)] == [False, False]
    assert [each.sign_in(n).status_code for each, n in ((ada, "ada"), (grace, "grace"))] == [403, 200]  # fmt: skip


def test_signing_out_ends_one_session_or_all(browser: Open) -> None:
    desk, phone, other = (browser("viewer", n) for n in ("ada", "ada", "grace"))
    third = browser("viewer", "ada")

    third.post("/sign-out", csrf=third.csrf)
    one = [is_signed_in(each) for each in (third, desk, phone)]
    phone.post("/sign-out-everywhere", csrf=phone.csrf)
    everywhere = [is_signed_in(each) for each in (desk, phone, other)]

    assert one == [False, True, True]
    assert everywhere == [False, False, True]


# --- Attempts --------------------------------------------------------------------------------------


def test_after_ten_attempts_at_a_name_its_password_is_not_looked_at(
    browser: Open, database: Database
) -> None:
    browser("viewer")
    guesser = browser(None)
    for _ in range(signing.AT_ONE_NAME):
        assert guesser.sign_in("viewer", "wrong").status_code == 403

    refused = guesser.sign_in("viewer")
    from_elsewhere = TestClient(guesser.client.app, base_url=ORIGIN, client=("10.0.0.9", 5))
    answer = from_elsewhere.post(
        "/console/sign-in", data={"name": "viewer", "password": PASSWORD},
        headers={"Origin": ORIGIN},
    )  # fmt: skip
    with database.transaction() as tx:
        tx.execute(sign_ins.update().values(since=now(-operators.WINDOW - 1)))
    later = guesser.sign_in("viewer")

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "900")
    assert (answer.status_code, later.status_code) == (200, 200)


def test_an_address_that_tries_many_names_is_stopped(
    browser: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "BY_ONE_ADDRESS", 5)
    guesser = browser(None)

    answers = [guesser.sign_in(f"name-{n}", "wrong").status_code for n in range(6)]

    assert answers == [403] * 5 + [429]


def from_address(guesser: Browser, address: str, name: str, password: str) -> int:
    elsewhere = TestClient(guesser.client.app, base_url=ORIGIN, client=(address, 5))
    answer = elsewhere.post(
        "/console/sign-in", data={"name": name, "password": password}, headers={"Origin": ORIGIN},
        follow_redirects=False,
    )  # fmt: skip
    return answer.status_code


def test_addresses_of_one_ipv6_network_are_one(browser: Open) -> None:
    browser("viewer")
    guesser = browser(None)

    answers = [
        from_address(guesser, f"2001:db8:1:2::{n:x}", "viewer", "wrong")
        for n in range(signing.AT_ONE_NAME + 1)
    ]
    neighbour = from_address(guesser, "2001:db8:1:3::1", "viewer", PASSWORD)

    assert answers == [403] * signing.AT_ONE_NAME + [429]
    assert neighbour == 303


def test_an_ipv4_address_is_itself_however_it_is_written(browser: Open) -> None:
    browser("viewer")
    guesser = browser(None)
    for _ in range(signing.AT_ONE_NAME):
        from_address(guesser, "::ffff:203.0.113.9", "viewer", "wrong")

    same = from_address(guesser, "203.0.113.9", "viewer", PASSWORD)
    other = from_address(guesser, "::ffff:203.0.113.8", "viewer", PASSWORD)

    assert (same, other) == (429, 303)


def test_strangers_from_everywhere_are_slowed_down_and_lock_nobody_out(
    browser: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "FROM_ALL", 20)
    browser("viewer")
    guesser = browser(None)
    for n in range(30):
        from_address(guesser, f"2001:db8:{n:x}::1", "viewer", "wrong")

    stranger = [
        from_address(guesser, "2001:db8:ffff::1", "viewer", "wrong")
        for _ in range(signing.BESIDE_STRANGERS + 1)
    ]
    right = from_address(guesser, "198.51.100.7", "viewer", PASSWORD)

    assert stranger == [403] * signing.BESIDE_STRANGERS + [429]
    assert right == 303


def test_what_was_typed_as_a_name_is_not_kept(browser: Open, database: Database) -> None:
    browser(None).sign_in("hunter2-typed-in-the-wrong-field", "wrong")

    with database.snapshot() as tx:
        assert "hunter2" not in str(list(tx.execute(sign_ins.select())))


def test_nobody_has_no_password() -> None:
    kept = hash_password(PASSWORD)

    assert is_password(kept, PASSWORD)
    assert not is_password(kept, PASSWORD + " ")
    assert not is_password(None, "nobody has this password")


# --- Forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("csrf", ["", "wrong", "another's"])
def test_a_form_without_the_sessions_token_is_refused(browser: Open, shop: Mill, csrf: str) -> None:
    [order_id] = held(shop, 1)
    operator = browser("operator")
    form = operator.form_of(f"/orders/{order_id}/requeue")

    token = browser("operator", "other").csrf if csrf == "another's" else csrf
    answer = operator.post(f"/orders/{order_id}/requeue", **{**form, "csrf": token})

    assert answer.status_code == 403
    assert shop.status(order_id) == "on_hold"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
        {"Referer": "https://evil.example/"},
    ],
    ids=["another site", "none that is told", "nothing", "another referrer"],
)
def test_a_form_from_another_site_is_refused(
    browser: Open, shop: Mill, headers: dict[str, str]
) -> None:
    [order_id] = held(shop, 1)
    operator = browser("operator")
    form = operator.form_of(f"/orders/{order_id}/requeue")

    answer = operator.client.post(f"/console/orders/{order_id}/requeue", data=form, headers=headers)

    assert answer.status_code == 403
    assert shop.status(order_id) == "on_hold"


def test_a_form_that_is_too_long_or_none_is_refused(browser: Open) -> None:
    operator = browser("operator")

    long = operator.post("/queues/pay/pause", csrf="x" * 70_000)
    other = operator.client.post("/console/queues/pay/pause", json={}, headers={"Origin": ORIGIN})

    assert (long.status_code, other.status_code) == (413, 415)


def test_a_cookie_of_any_length_is_read_in_a_time_that_grows_as_it_does() -> None:
    """Python's own reader takes the square of it for a cookie in quotes: anybody may send one."""
    for bad in ('"' + '\\"' * 500_000 + '"', "\\101" * 500_000, "; " * 500_000, "=" * 1_000_000):
        for cookie in (f"ordermill={bad}", f"a={bad}; ordermill=x"):
            began = time.thread_time()
            session_cookie(asking(cookie))
            assert time.thread_time() - began < 5


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("ordermill=abc", "abc"),
        ("a=b; ordermill=abc; c=d", "abc"),
        ('ordermill="abc"', "abc"),
        ("xordermill=abc", ""),
        ("ordermill", ""),
        ("", ""),
    ],
)
def test_our_cookie_is_found_among_others(cookie: str, expected: str) -> None:
    assert session_cookie(asking(cookie)) == expected


def asking(cookie: str) -> Request:
    headers = [(b"host", b"127.0.0.1"), (b"cookie", cookie.encode())]
    return Request({"type": "http", "scheme": "http", "path": "/", "query_string": b"",
                    "server": ("127.0.0.1", 80), "headers": headers})  # fmt: skip


@pytest.mark.parametrize("host", ["[", "[::1", "a[b]c", "]", "x y", "\\"])
@pytest.mark.parametrize("header", ["host", "origin", "referer"])
def test_what_is_no_host_is_refused_and_no_defect(browser: Open, header: str, host: str) -> None:
    nobody = browser(None).client
    value = host if header == "host" else f"http://{host}"

    for asked in (
        nobody.get("/console/sign-in", headers={header: value}, follow_redirects=False),
        nobody.get("/console/orders?a=b", headers={header: value}, follow_redirects=False),
        nobody.post("/console/sign-in", data={"name": "a"}, headers={header: value}),
    ):
        assert asked.status_code < 500
