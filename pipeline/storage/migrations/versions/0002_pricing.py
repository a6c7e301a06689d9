"""pricing

Tables of rules and coupons, more of products, prices and quotes. What a source's policy said of
tax and rounding becomes a rule set named after the source, so that its orders cost what they did.
"""

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import chain, count
from typing import Any

import pycountry
import sqlalchemy as sa
from alembic import op
from pydantic import ValidationError

from pipeline.errors import ConfigurationError
from pipeline.order import customer_key
from pipeline.pricing.rules import Rules
from pipeline.storage.sql import UtcDateTime, now, pack, rows

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ORDER_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHUNK = 500  # documents: they may be long
_PRICE = ["sku", "currency", "customer_group", "from_quantity", "valid_from", "amount"]


def upgrade() -> None:
    _widen_products()
    _widen_prices()
    _widen_quotes()
    _add_rules()
    _add_coupons()
    _add_customers()
    _policies_become_rules()


def _widen_products() -> None:
    for column in (
        sa.Column("categories", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("tax_class", sa.String(length=64), nullable=False, server_default="standard"),
        sa.Column(
            "weight",
            sa.Integer(),
            sa.CheckConstraint("weight >= 0", name=op.f("ck_products_weight_not_negative")),
            nullable=False,
            server_default="0",
        ),
    ):
        op.add_column("products", column)


def _widen_prices() -> None:
    """Made anew: SQLite can't change a key, and to copy a table it forgets the checks."""
    op.execute("CREATE TEMPORARY TABLE old_prices AS SELECT sku, currency, amount FROM prices")
    op.drop_table("prices")
    op.create_table(
        "prices",
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("customer_group", sa.String(length=64), nullable=False),
        sa.Column("from_quantity", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=False),
        sa.Column("valid_until", UtcDateTime(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_prices_not_negative")),
        sa.CheckConstraint("from_quantity > 0", name=op.f("ck_prices_quantity_positive")),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_prices_valid_for_a_while")),
        sa.ForeignKeyConstraint(["sku"], ["products.sku"], name=op.f("fk_prices_sku")),
        sa.PrimaryKeyConstraint(
            "sku", "currency", "customer_group", "from_quantity", "valid_from",
            name=op.f("pk_prices"),
        ),
    )  # fmt: skip
    old = sa.table("old_prices", *map(sa.column, ("sku", "currency", "amount")))
    new = sa.table("prices", *map(sa.column, _PRICE))
    always = sa.literal(datetime(1970, 1, 1, tzinfo=UTC), UtcDateTime())
    everyone, one = sa.literal(""), sa.literal(1)
    copied = sa.select(old.c.sku, old.c.currency, everyone, one, always, old.c.amount)
    op.execute(sa.insert(new).from_select(_PRICE, copied))
    op.execute("DROP TABLE old_prices")


def _widen_quotes() -> None:
    op.add_column(
        "order_lines",
        sa.Column(
            "discount",
            sa.BigInteger(),
            sa.CheckConstraint(
                "discount >= 0 AND discount <= unit_price * quantity",
                name=op.f("ck_order_lines_discount_in_bounds"),
            ),
            nullable=False,
            server_default="0",
        ),
    )
    in_bounds = sa.CheckConstraint(
        "shipping_discount >= 0 AND shipping_discount <= shipping_price",
        name=op.f("ck_quotes_shipping_in_bounds"),
    )
    for column in (
        sa.Column("rules", sa.String(length=64), nullable=True),
        sa.Column("rules_version", sa.Integer(), nullable=True),
        sa.Column("shipping_method", sa.String(length=64), nullable=True),
        sa.Column("shipping_price", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column(
            "shipping_discount", sa.BigInteger(), in_bounds, nullable=False, server_default="0"
        ),
        sa.Column("shipping_net", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("shipping_tax", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("coupons", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("steps", sa.Text(), nullable=False, server_default="[]"),
    ):
        op.add_column("quotes", column)


def _add_rules() -> None:
    op.create_table(
        "pricing_rules",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("imported_at", UtcDateTime(), nullable=False),
        sa.Column("imported_by", sa.String(length=64), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_pricing_rules_version_positive")),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_pricing_rules")),
    )


def _add_coupons() -> None:
    op.create_table(
        "coupon_uses",
        sa.Column("rules", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("customer", sa.String(length=32), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("used >= 0", name=op.f("ck_coupon_uses_not_negative")),
        sa.CheckConstraint("used <= most", name=op.f("ck_coupon_uses_not_above_the_limit")),
        sa.PrimaryKeyConstraint("rules", "code", "customer", name=op.f("pk_coupon_uses")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "coupon_redemptions",
        sa.Column("order_id", _ORDER_ID, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.String(length=64), nullable=False),
        sa.Column("customer", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "code", name=op.f("pk_coupon_redemptions")),
    )


def _add_customers() -> None:
    op.add_column("order_documents", sa.Column("customer", sa.String(length=32), nullable=True))
    _tell_customers()
    op.create_index(
        "ix_order_documents_customer",
        "order_documents",
        ["customer"],
        unique=False,
        postgresql_where=sa.text("customer IS NOT NULL"),
        sqlite_where=sa.text("customer IS NOT NULL"),
    )


def _tell_customers() -> None:
    """Orders that are there already are earlier orders of their customers too."""
    tx = op.get_bind()
    orders = sa.table("orders", sa.column("id", sa.BigInteger), sa.column("source_id"))
    sources = sa.table("sources", sa.column("id"), sa.column("name"))
    documents = sa.table(
        "order_documents", sa.column("order_id"), sa.column("body"), sa.column("customer")
    )
    page = (
        sa.select(orders.c.id, sources.c.name, documents.c.body)
        .join_from(orders, documents, documents.c.order_id == orders.c.id)
        .join(sources, sources.c.id == orders.c.source_id)
        .where(orders.c.id > sa.bindparam("after"))
        .order_by(orders.c.id)
        .limit(_CHUNK)
    )
    told = rows(sa.Column("order_id", sa.BigInteger), sa.Column("customer", sa.String))
    tell = (
        sa.update(documents)
        .where(documents.c.order_id == told.c.order_id)
        .values(customer=told.c.customer)
    )
    after = 0
    while found := tx.execute(page, {"after": after}).all():
        after = found[-1].id
        keys = [(r.id, customer_key(r.name, json.loads(r.body)["customer"])) for r in found]
        tx.execute(tell, {"rows": pack(keys)})


def _policies_become_rules() -> None:
    tx = op.get_bind()
    sources = sa.table("sources", sa.column("name"), sa.column("policy"))
    rules = sa.table(
        "pricing_rules",
        *map(sa.column, ("name", "version", "digest", "body", "imported_at", "imported_by")),
    )
    found = tx.execute(sa.select(sources.c.name, sources.c.policy))
    policies = {row.name: row.policy for row in found}
    for name, text in policies.items():
        policy = json.loads(text)
        body = _sound(name, _rules_of(name, policy))
        if body:
            policy["rules"] = rules_name = _rules_name(name, policies)
            written = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            tx.execute(
                sa.insert(rules).values(
                    name=rules_name,
                    version=1,
                    digest=hashlib.sha256(written.encode()).hexdigest(),
                    body=written,
                    imported_at=now(),
                    imported_by="upgrade",
                )
            )
        tx.execute(
            sa.update(sources).where(sources.c.name == name).values(policy=json.dumps(policy))
        )


def _rules_name(source: str, taken: Collection[str]) -> str:
    """The source's own, but `default` is what sources are priced by that said nothing: theirs stay
    empty. Nor may it be that of another source, whose rules have it."""
    if source != "default":
        return source
    names = chain(["default source"], (f"default source {n}" for n in count(2)))
    return next(name for name in names if name not in taken)


def _rules_of(source: str, policy: dict[str, Any]) -> dict[str, Any]:
    """The rules that a policy held, taken out of it; empty if it held none."""
    rates = policy.pop("tax_rates", {})
    mode = policy.pop("rounding_mode", "half_up")
    level = policy.pop("rounding_level", "line")
    rounding = {
        key: value
        for key, value, default in (("mode", mode, "half_up"), ("level", level, "line"))
        if value != default
    }
    countries = {country.alpha_2 for country in pycountry.countries}
    # What is no country (UK, EU, de) has never been any order's.
    zones = [
        {"name": country, "country": country,
         "rates": {"standard": [{"name": "tax", "rate": _plain(rate)}]}}
        for country, rate in rates.items()
        if country == "*" or country in countries
    ]  # fmt: skip
    if rates and not zones:  # without zones there would be no tax, where every order was held
        named = ", ".join(sorted(rates))
        raise ConfigurationError(
            f"source {source}: tax_rates: got {named}, none of which is an ISO 3166-1 country "
            "(GB is, UK isn't); mend its policy with the version that you upgrade from"
        )
    found = {
        "includes_tax": policy.pop("prices_include_tax", False),
        "rounding": rounding,
        "tax": {"zones": zones} if zones else {},
    }
    return {key: value for key, value in found.items() if value}


def _plain(rate: object) -> str:
    """Without zeros at its end: 0.1900000 has more decimals than rules may have."""
    text = str(rate)
    try:
        return f"{Decimal(text).normalize():f}"
    except InvalidOperation:
        return text  # refused by name


def _sound(source: str, body: dict[str, Any]) -> dict[str, Any]:
    """`body`, if rules can be read from it: what can't would hold every order of the source."""
    try:
        Rules.model_validate(body)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: got {each['input']!r}, {each['msg']}"
            for each in error.errors()
        )
        raise ConfigurationError(
            f"source {source}: its policy can't be made into rules: {wrong}; "
            "mend it with the version that you upgrade from"
        ) from None
    return body
