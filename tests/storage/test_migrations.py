"""The migrations bring a database to what tables.py says, and lose nothing that was in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, select, text

from pipeline import money
from pipeline.audit.rules import awaits_the_rest, nobody_overtaken, promises_in_ledger
from pipeline.errors import ConfigurationError
from pipeline.order import customer_key, email_key
from pipeline.pricing import zones
from pipeline.pricing.rules import Rules
from pipeline.source import Policy
from pipeline.storage import (
    catalogue,
    currencies,
    job_runs,
    operators_log,
    rules,
    sources,
    stock_ledger,
    webhooks,
)
from pipeline.storage.database import Database
from pipeline.storage.tables import (
    archived_orders,
    backorders,
    dispatches,
    metadata,
    order_documents,
    orders,
    pricing_rules,
)
from pipeline.storage.upgrade import alembic_config
from pipeline.webhooks.signing import derive_secret

SCHEMA = "migrated"


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with nothing in it, not even our schema."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
        yield database
        database.close()
        return
    url = request.getfixturevalue("postgres_url")
    database = Database(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{SCHEMA}")
    with database.transaction() as tx:
        tx.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
        tx.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    yield database
    with database.transaction() as tx:
        tx.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
    database.close()


def upgrade(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_the_migrations_lead_to_the_tables(empty_database: Database) -> None:
    empty_database.upgrade()

    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_every_check_of_the_tables_is_in_the_database(empty_database: Database) -> None:
    empty_database.upgrade()

    found = inspect(empty_database.engine)
    for table in metadata.sorted_tables:
        stated = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
        there = {c["name"] for c in found.get_check_constraints(table.name)}
        assert there == stated, table.name


def insert(database: Database, table: str, **values: Any) -> None:
    names = ", ".join(values)
    with database.transaction() as tx:
        tx.execute(
            text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + n for n in values)})"),
            values,
        )


@pytest.fixture
def old_shop(empty_database: Database) -> Database:
    """A shop as the first tables knew it: two sources, a price, two orders, one priced."""
    upgrade(empty_database, "0001")
    at = "2026-11-01 00:00:00+00:00"
    old = {
        "prices_include_tax": True, "tax_rates": {"DE": "0.19", "*": "0.2"},
        "rounding_level": "document", "chain": "reserve_first",
    }  # fmt: skip
    for n, (name, policy) in enumerate({"shop": old, "plain": {"lane": "bulk"}}.items(), 1):
        insert(empty_database, "sources", id=n, name=name, policy=json.dumps(policy), created_at=at)
    insert(empty_database, "products", sku="MUG", name="Mug", active=True, backorder=False)
    insert(empty_database, "prices", sku="MUG", currency="EUR", amount=1000)
    for n, customer in enumerate(({"email": "Ada@Example.com"}, {}), 1):
        insert(
            empty_database, "orders", id=n, source_id=1, external_id=f"web-{n}",
            chain="capture_first", lane=0, status="received", stage="validate", currency="EUR",
            approved=False, version=1, accepted_at=at,
        )  # fmt: skip
        body = json.dumps({"customer": customer})
        insert(empty_database, "order_documents", order_id=n, digest="d", body=body)
    insert(
        empty_database, "quotes", order_id=1, net=840, tax=160, total=1000, includes_tax=True,
        rounding_mode="half_up", rounding_level="line",
    )  # fmt: skip
    insert(
        empty_database, "order_lines", order_id=1, line_no=1, sku="MUG", quantity=1,
        unit_price=1000, tax_rate="0.19", net=840, tax=160, gross=1000,
    )  # fmt: skip
    return empty_database


def test_a_policys_tax_and_rounding_become_rules_of_the_sources_name(old_shop: Database) -> None:
    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        policy = sources.by_name(tx, "shop").policy
        made = rules.newest(tx, [policy.rules])["shop"]
    expected = Rules.model_validate(
        {
            "includes_tax": True,
            "rounding": {"level": "document"},
            "tax": {
                "zones": [
                    {"name": "DE", "country": "DE",
                     "rates": {"standard": [{"name": "tax", "rate": "0.19"}]}},
                    {"name": "*", "country": "*",
                     "rates": {"standard": [{"name": "tax", "rate": "0.2"}]}},
                ]
            },
        }
    )  # fmt: skip
    assert policy == Policy(chain="reserve_first", rules="shop")
    assert (made.number, made.rules.rules) == (1, expected)


def test_rules_that_were_made_of_a_policy_are_known_again_when_imported(old_shop: Database) -> None:
    old_shop.upgrade()

    with old_shop.transaction() as tx:
        assert rules.number(tx, "shop", rules.read(tx, "shop")) == (1, False)


def test_a_policy_that_said_nothing_of_tax_stays_as_it_was(old_shop: Database) -> None:
    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        assert sources.by_name(tx, "plain").policy == Policy(lane="bulk")
        assert [r["name"] for r in rules.versions(tx)] == ["shop"]


def test_a_source_named_as_the_rules_of_all_who_say_nothing_keeps_its_tax_to_itself(
    old_shop: Database,
) -> None:
    policy = json.dumps({"tax_rates": {"*": "0.19"}})
    at = "2026-11-01 00:00:00+00:00"
    insert(old_shop, "sources", id=3, name="default", policy=policy, created_at=at)

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        plain = sources.by_name(tx, "plain").policy.rules
        taxed = sources.by_name(tx, "default").policy.rules
        known = rules.newest(tx, [plain, taxed])
    assert known[plain].number is None
    assert len(known[taxed].rules.rules.tax.zones) == 1


def with_source(shop: Database, name: str, **policy: Any) -> None:
    insert(
        shop, "sources", id=4 + len(name), name=name, policy=json.dumps(policy),
        created_at="2026-11-01 00:00:00+00:00",
    )  # fmt: skip


def test_rules_made_for_the_source_default_do_not_take_another_s_name(old_shop: Database) -> None:
    with_source(old_shop, "default", tax_rates={"*": "0.19"})
    with_source(old_shop, "default source", tax_rates={"*": "0.07"})

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        made = {n: sources.by_name(tx, n).policy.rules for n in ("default", "default source")}
        rates = [
            rules.read(tx, name).tax.zones[0].rates["standard"][0].rate for name in made.values()
        ]
    assert made == {"default": "default source 2", "default source": "default source"}
    assert rates == ["0.19", "0.07"]


def test_what_is_no_country_is_left_out_and_a_rate_is_told_as_rules_tell_it(
    old_shop: Database,
) -> None:
    rates = {"UK": "0.2", "de": "0.19", "EU": "0.2", "FR": "0.2000000", "IT": 0.22, "*": "0E-7"}
    with_source(old_shop, "web", tax_rates=rates)

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        zones = rules.newest(tx, ["web"])["web"].rules.rules.tax.zones
    assert [(zone.country, zone.rates["standard"][0].rate) for zone in zones] == [
        ("FR", "0.2"), ("IT", "0.22"), ("*", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"UK": "0.2", "EU": "0.2"}, "source web: tax_rates: got EU, UK, none of which is"),
        ({"FR": "0.1234567"}, "source web: .*rate: got '0.1234567'"),
        ({"FR": "1.5"}, "source web: .*rate: got '1.5'.*at most 1"),
        ({"FR": "much"}, "source web: .*rate: got 'much'"),
    ],
)
def test_a_policy_that_can_not_be_made_into_rules_stops_the_upgrade_and_is_named(
    old_shop: Database, rates: dict[str, str], said: str
) -> None:
    with_source(old_shop, "web", tax_rates=rates)

    with pytest.raises(ConfigurationError, match=said):
        old_shop.upgrade()

    assert old_shop.schema_version() == "0001"


def test_prices_count_for_everyone_from_one_piece_always(old_shop: Database) -> None:
    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        wanted = ("MUG", "EUR", datetime(2020, 1, 1, tzinfo=UTC))  # on record since ever
        (price,) = catalogue.price_book(tx, [wanted]).on_record(wanted[:2], wanted[2])
    assert (price.amount, price.customer_group, price.from_quantity) == (1000, "", 1)
    assert (price.valid_from, price.valid_until) == (None, None)


def test_earlier_orders_are_known_by_their_customers(old_shop: Database) -> None:
    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        found = tx.execute(text("SELECT customer FROM order_documents ORDER BY order_id"))
        assert list(found.scalars()) == [customer_key("shop", {"email": "ada@example.com"}), None]


def test_orders_on_hold_are_known_by_when_they_were_held(old_shop: Database) -> None:
    at = "2026-11-01 00:07:00.000000"
    with old_shop.transaction() as tx:
        tx.execute(
            text("UPDATE orders SET status = 'on_hold', settled_at = :at WHERE id = 1"), {"at": at}
        )

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        found = tx.execute(select(orders.c.id, orders.c.held_at).order_by(orders.c.id)).all()
    assert [(r.id, r.held_at and r.held_at.minute) for r in found] == [(1, 7), (2, None)]


def test_the_history_of_jobs_is_kept(old_shop: Database) -> None:
    for minute, (end, result, error) in enumerate(
        (("x", "{}", None), ("x", None, "away"), (None,) * 3)
    ):
        at = f"2026-11-01 00:0{minute}:00.000000"
        insert(
            old_shop, "job_runs", job="poll", fire_at=at, started_at=at, by="host:1",
            finished_at=at if end else None, result=result, error=error,
        )  # fmt: skip

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        runs = job_runs.history(tx, 10)
        assert job_runs.open_runs(tx) == []
    assert [(run.fire_at.minute, run.state, run.by) for run in runs] == [
        (2, "failed", "host:1"), (1, "failed", "host:1"), (0, "fine", "host:1"),
    ]  # fmt: skip


def test_a_pages_own_name_is_no_part_of_its_topic_any_more(old_shop: Database) -> None:
    for n, (channel, topic) in enumerate(
        (("page", "order.undo_failed#1a2b3c4d"), ("email", "order.confirmed"))
    ):
        insert(
            old_shop, "notifications", id=f"n-{n}", order_id=1, channel=channel, topic=topic,
            target="x", state="pending", attempts=0, due_at="2026-11-01 00:00:00.000000",
        )  # fmt: skip

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        found = tx.execute(text("SELECT topic, subject FROM notifications ORDER BY id"))
        assert [tuple(row) for row in found] == [
            ("order.undo_failed", "1a2b3c4d"), ("order.confirmed", ""),
        ]  # fmt: skip


# --- 0012: webhooks -------------------------------------------------------------------------------


def test_a_policys_webhook_becomes_an_endpoint_with_the_secret_it_had(
    empty_database: Database,
) -> None:
    upgrade(empty_database, "0011")
    at = "2026-11-01 00:00:00+00:00"
    said = {"lane": "bulk", "webhook_url": "https://shop.example/hook"}
    insert(empty_database, "sources", id=1, name="web", policy=json.dumps(said), created_at=at)
    insert(empty_database, "sources", id=2, name="plain", policy="{}", created_at=at)
    for n, (channel, state) in enumerate(
        [("webhook", "pending"), ("webhook", "delivered"), ("email", "pending")]
    ):
        insert(
            empty_database, "notifications", id=str(n), order_id=1, channel=channel,
            topic=f"t{n}", target="x", state=state, attempts=0, due_at=at,
        )  # fmt: skip
    insert(
        empty_database, "orders", id=1, source_id=1, external_id="web-1", chain="capture_first",
        lane=0, status="confirmed", currency="EUR", approved=False, version=1, accepted_at=at,
    )  # fmt: skip
    told_until = "2026-11-05 00:00:00+00:00"
    insert(
        empty_database, "events", order_id=1, seq=1, at=told_until, kind="advanced",
        from_status="reserved", to_status="confirmed", actor="engine",
    )  # fmt: skip

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        [endpoint] = webhooks.all_endpoints(tx)
        assert sources.by_name(tx, "web").policy == Policy(lane="bulk")
        left = tx.execute(text("SELECT channel, state FROM notifications ORDER BY id")).all()
    assert (endpoint.source, endpoint.url) == ("web", "https://shop.example/hook")
    assert endpoint.types == ["order.confirmed", "order.shipped"]
    assert derive_secret("m", endpoint.seeds[0]) == derive_secret("m", "web")
    # What it was yet to be told of is told from the feed, and by nobody else.
    assert endpoint.position.at == datetime(2026, 11, 5, tzinfo=UTC)
    assert [tuple(row) for row in left] == [("webhook", "delivered"), ("email", "pending")]


@pytest.mark.parametrize("nobody", ["", None])
def test_a_policy_that_tells_nobody_becomes_no_endpoint(
    empty_database: Database, nobody: str | None
) -> None:
    upgrade(empty_database, "0011")
    at = "2026-11-01 00:00:00+00:00"
    said = json.dumps({"lane": "bulk", "webhook_url": nobody})
    insert(empty_database, "sources", id=1, name="web", policy=said, created_at=at)

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        assert webhooks.all_endpoints(tx) == []
        assert sources.by_name(tx, "web").policy == Policy(lane="bulk")


def test_what_is_yet_to_be_told_of_a_shipment_is_told_from_then_on(
    empty_database: Database,
) -> None:
    upgrade(empty_database, "0011")
    at = "2026-11-01 00:00:00+00:00"
    said = {"webhook_url": "https://shop.example/hook"}
    insert(empty_database, "sources", id=1, name="web", policy=json.dumps(said), created_at=at)
    insert(
        empty_database, "orders", id=1, source_id=1, external_id="web-1", chain="capture_first",
        lane=0, status="confirmed", currency="EUR", approved=False, version=1, accepted_at=at,
    )  # fmt: skip
    for seq, kind, moved, happened in (
        (1, "advanced", "confirmed", at),
        (2, "shipped", None, "2026-11-20 00:00:00+00:00"),
    ):
        insert(
            empty_database, "events", order_id=1, seq=seq, at=happened, kind=kind,
            to_status=moved, actor="engine",
        )  # fmt: skip
    for topic, state in (("order.confirmed", "delivered"), ("order.shipped", "pending")):
        insert(
            empty_database, "notifications", id=topic, order_id=1, channel="webhook", topic=topic,
            target="x", state=state, attempts=0, due_at=at,
        )  # fmt: skip

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        [endpoint] = webhooks.all_endpoints(tx)
    assert endpoint.position.at == datetime(2026, 11, 20, tzinfo=UTC)


def test_what_is_promised_to_orders_has_been_promised_by_a_movement(old_shop: Database) -> None:
    insert(old_shop, "stock_levels", sku="MUG", location="main", on_hand=9, reserved=6)
    for order_id, line_no, quantity in ((1, 1, 2), (1, 2, 1), (2, 1, 3)):
        insert(
            old_shop, "reservations", order_id=order_id, line_no=line_no, location="main",
            sku="MUG", quantity=quantity,
        )  # fmt: skip

    old_shop.upgrade()

    with old_shop.snapshot() as tx:
        moved = stock_ledger.ledger(tx, "MUG", 10)
        assert promises_in_ledger.RULE.check(tx, {}).broken == 0
    assert [
        (m["kind"], m["quantity"], m["promised"], m["reference"], m["actor"]) for m in moved
    ] == [
        ("reservation", 0, 3, "order 1", "migration"),
        ("reservation", 0, 3, "order 2", "migration"),
    ]
    assert all(abs(m["at"] - datetime.now(UTC)) < timedelta(minutes=5) for m in moved)


# --- 0016: longer names in the operators' log -------------------------------------------------------


def test_a_long_name_is_in_the_operators_log_whole(empty_database: Database) -> None:
    upgrade(empty_database, "0015")
    with empty_database.transaction() as tx:
        operators_log.add(tx, "cli:ada", "queue.pause", "pay")
    empty_database.upgrade()
    name = "api:" + "n" * 58

    with empty_database.transaction() as tx:
        operators_log.add(tx, name, "queue.resume", "pay")
        later, earlier = operators_log.page(tx, 2)

    assert (later["id"], later["operator"]) == (2, name)
    assert (earlier["id"], earlier["operator"], earlier["target"]) == (1, "cli:ada", "pay")


# --- 0015: e-mails' keys --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("customer", "key"),
    [
        ({"id": "17", "email": "Ada@example.com"}, email_key("ada@example.com")),
        ({"email": "ada@example.com"}, None),  # the customer's own
        ({"id": "17"}, None),
        ({}, None),
    ],
)
def test_orders_that_are_there_are_found_by_the_address_of_one_known_by_an_id(
    empty_database: Database, customer: dict[str, str], key: str | None
) -> None:
    upgrade(empty_database, "0014")
    at = "2026-11-01 00:00:00+00:00"
    row = {"order_id": 2, "digest": "", "body": json.dumps({"customer": customer})}
    insert(empty_database, "sources", id=1, name="web", policy="{}", created_at=at)
    insert(empty_database, "order_documents", **{**row, "order_id": 1})
    insert(
        empty_database, "archived_orders", id=2, source_id=1, external_id="web-2", digest="",
        status="confirmed", currency="EUR", accepted_at=at, settled_at=at, archived_at=at,
        body=json.dumps({"order_documents": [row]}),
    )  # fmt: skip

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        [live] = tx.execute(select(order_documents))
        [archived] = tx.execute(select(archived_orders))
    [boxed] = json.loads(archived.body)["order_documents"]
    assert (live.email_key, live.body) == (key, row["body"])
    assert (archived.email_key, boxed.get("email_key"), boxed["body"]) == (key, key, row["body"])


# --- 0019: currencies and time zones as they were ---------------------------------------------------


def test_a_currency_that_has_left_the_list_keeps_its_exponent(empty_database: Database) -> None:
    upgrade(empty_database, "0018")

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        assert currencies.read(tx) == {"BGN": 2} | money.listed()


def test_rules_that_are_there_keep_their_time_zone(empty_database: Database) -> None:
    upgrade(empty_database, "0018")
    at = "2026-11-01 00:00:00+00:00"
    rest = {"digest": "", "imported_at": at, "imported_by": "ada"}
    berlin = json.dumps({"timezone": "Europe/Berlin"})
    insert(empty_database, "pricing_rules", name="a", version=1, body=berlin, **rest)
    insert(empty_database, "pricing_rules", name="a", version=2, body="{}", **rest)

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        query = select(pricing_rules.c.zone).order_by(pricing_rules.c.version)
        kept, none = tx.execute(query).scalars()
    assert none is None
    summer = datetime(2026, 7, 1, 12, tzinfo=zones.named("Nowhere/Gone", kept))
    assert summer.utcoffset() == timedelta(hours=2)


# --- 0022: what orders wait for -------------------------------------------------------------------


def test_who_waits_keeps_their_place_for_all_they_need_and_has_a_look_at_once(
    empty_database: Database,
) -> None:
    upgrade(empty_database, "0021")
    at, began = "2026-11-01 00:00:00+00:00", "2026-11-02 00:00:00+00:00"
    insert(empty_database, "sources", id=1, name="web", policy="{}", created_at=at)
    insert(
        empty_database, "orders", id=1, source_id=1, external_id="web-1", chain="capture_first",
        lane=0, status="backordered", stage="reserve", currency="EUR", approved=False, version=2,
        accepted_at=at,
    )  # fmt: skip
    for line_no, (sku, quantity) in enumerate((("MUG", 2), ("BOWL", 1), ("BOWL", 3)), 1):
        insert(
            empty_database, "order_lines", order_id=1, line_no=line_no, sku=sku, quantity=quantity,
            unit_price=1000, tax_rate="0", net=1000, tax=0, gross=1000,
        )  # fmt: skip
    insert(
        empty_database, "events", order_id=1, seq=2, at=began, kind="retried",
        from_status="paid", to_status="backordered", actor="engine",
    )  # fmt: skip
    insert(
        empty_database, "stock_movements", id=7, sku="MUG", location="main", kind="receipt",
        quantity=1, actor="ada", at=at,
    )  # fmt: skip
    insert(
        empty_database, "dispatches", id=5, step="reserve", lane=0,
        due_at="2999-01-01 00:00:00+00:00", order_ids="[1]", size=1, attempts=0, deaths=0,
        created_at=at,
    )  # fmt: skip
    insert(empty_database, "backorders", sku="BOWL", order_id=1, dispatch_id=5)

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        rows = tx.execute(select(backorders).order_by(backorders.c.sku)).all()
        due = tx.execute(select(dispatches.c.due_at)).scalar_one()
        broken = [
            r.name for r in (awaits_the_rest.RULE, nobody_overtaken.RULE) if r.check(tx, {}).broken
        ]
    since = datetime(2026, 11, 2, tzinfo=UTC)
    assert [(r.sku, r.dispatch_id, r.units, r.since, r.movement) for r in rows] == [
        ("BOWL", 5, 4, since, 7), ("MUG", 5, 2, since, 7),
    ]  # fmt: skip
    assert (due, broken) == (datetime(2026, 11, 1, tzinfo=UTC), [])


# --- 0023: coupons by e-mail ----------------------------------------------------------------------


def test_uses_of_who_is_known_by_an_id_count_under_the_e_mail_too(empty_database: Database) -> None:
    """Whatever they come to: here more than the limit that the last one kept to."""
    upgrade(empty_database, "0022")
    ada, by_id = email_key("ada@example.com"), customer_key("web", {"id": "c-1"})
    at = "2026-11-01 00:00:00+00:00"
    row = {"digest": "", "body": "{}"}
    insert(empty_database, "sources", id=1, name="web", policy="{}", created_at=at)
    insert(empty_database, "order_documents", order_id=1, customer=ada, **row)
    insert(empty_database, "order_documents", order_id=2, customer=by_id, email_key=ada, **row)
    insert(
        empty_database, "archived_orders", id=3, source_id=1, external_id="web-3", status="confirmed",
        currency="EUR", accepted_at=at, settled_at=at, archived_at=at, customer=by_id, email_key=ada,
        **row,
    )  # fmt: skip
    insert(empty_database, "order_documents", order_id=4, **row)
    for n, who in ((1, ada), (2, by_id), (3, by_id), (4, "")):
        insert(
            empty_database, "coupon_redemptions", order_id=n, code="TEN", rules="r", customer=who
        )
    for who, used, most in (("", 4, 9), (ada, 1, 1), (by_id, 2, 2)):
        insert(
            empty_database, "coupon_uses", rules="r", code="TEN", customer=who, used=used, most=most
        )

    empty_database.upgrade()

    with empty_database.snapshot() as tx:
        redeemed = tx.execute(text("SELECT email_key FROM coupon_redemptions ORDER BY order_id"))
        used = tx.execute(text("SELECT customer, used, most FROM coupon_uses")).all()
        assert list(redeemed.scalars()) == ["", ada, ada, ""]
    assert set(used) == {("", 4, 9), (ada, 3, 3), (by_id, 2, 2)}
