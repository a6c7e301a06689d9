"""A shop for the state machine: built once, emptied for each example, its stock read as it stands;
and a trap that whoever works on it dies in, at a chosen statement, commit or call."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy import event, func, literal, or_, select, union_all, update

from pipeline.audit.audit import audit
from pipeline.audit.rules import RULES
from pipeline.inventory.allocation import Place
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy, Source
from pipeline.storage import catalogue, clock, locations
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import backorders, dispatches, metadata, orders
from tests.inventory.stock_books import Seen
from tests.payments.dying import WatchedGateway, without_syncing
from tests.support import Mill

#: All but the last may be waited for.
SKUS = ("WAIT-1", "WAIT-2", "WAIT-3", "NOW-1")
PLACES = {"main": Place("DE", 10), "north": Place("SE", 20, frozenset({"SE"}))}
#: The last is one that nobody has described.
LOCATIONS = (*PLACES, "attic")
LEVELS = [(sku, location) for sku in SKUS for location in LOCATIONS]
HOLD_EXPIRES, PAYMENT_EXPIRES = 1_000, 1_000
COUPONS = {"TWO": 2, "EACH": 3}  # the second once for each of three customers
RULES_FOR_PRICES = {
    "promotions": [{"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}],
    "coupons": [
        {"code": "TWO", "promotions": ["ten"], "limit": 2},
        {"code": "EACH", "promotions": ["ten"], "limit_per_customer": 1},
    ],
}
_common: dict[str, Any] = {"email": False, "payment_expires_after": PAYMENT_EXPIRES}
BACKORDER_DAYS = 2
POLICIES = {
    "shop": Policy(backorder_days=BACKORDER_DAYS, backorder_ends="cancel", **_common),
    "nearby": Policy(chain="reserve_first", allocation="nearest", **_common),
    "market": Policy(
        price_policy="as_sold", missing_price="catalogue", allocation="fewest_shipments",
        backorder="release", **_common,
    ),
    "careful": Policy(
        chain="reserve_first", hold_countries=frozenset({"FR"}), hold_expires_after=HOLD_EXPIRES,
        capture="later", backorder_days=BACKORDER_DAYS, **_common,
    ),
}  # fmt: skip
_KEPT = {"sources", "products", "prices", "pricing_rules", "locations"}


class Died(BaseException):
    """Nothing of ours catches it, as nothing is left to catch anything: what is in hand is lost."""


class Trap:
    """Whoever passes its `fatal`th point dies there. Points are those of tests/payments/dying.py."""

    def __init__(self, database: Database) -> None:
        self.fatal = 0
        self.is_committed = False
        self.deaths = 0
        event.listen(database.engine, "after_cursor_execute", self._after)
        dialect = database.engine.dialect
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            self.pass_by("before COMMIT")
            commit(connection)
            self.pass_by("after COMMIT")

        dialect.do_commit = do_commit  # type: ignore[method-assign]

    def _after(self, _connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN"):  # which does nothing yet
            return
        if self.fatal == 1:
            cursor.close()  # SQLite keeps the lock for as long as there is a cursor to be read
        self.pass_by("after a statement")

    def pass_by(self, name: str) -> None:
        if not self.fatal:
            return
        self.fatal -= 1
        if not self.fatal:
            self.is_committed = name == "after COMMIT"
            self.deaths += 1
            raise Died(name)


class World:
    """A mill on a database of its own, with everything a machine may do to it that takes more than
    a line."""

    def __init__(self, database: Database) -> None:
        without_syncing(database)
        self.database = database
        self.mill = Mill(database, policy=POLICIES["shop"], rules=RULES_FOR_PRICES)
        self.sources: dict[str, Source] = {"shop": self.mill.source} | {
            name: self.mill.another_source(name, policy)
            for name, policy in POLICIES.items()
            if name != "shop"
        }
        with database.transaction() as tx:
            goods = [
                catalogue.ProductIn(sku, sku, True, sku.startswith("WAIT"), {"EUR": 1000})
                for sku in SKUS
            ]
            catalogue.put(tx, goods)
            for name, place in PLACES.items():
                locations.put(tx, name, place)
        self.meanwhile: Callable[[], None] | None = None
        for step in self.mill.engine.steps.values():
            step.call = self._interrupted(step.call)  # type: ignore[method-assign]
        self.trap = Trap(database)
        self._rules = _all_rules(database)

    def _interrupted(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What may happen between claim and record happens now, once."""

        def interrupted(plan: Any) -> Any:
            happens, self.meanwhile = self.meanwhile, None
            if happens is not None:
                happens()
            return call(plan)

        return interrupted

    def empty(self) -> None:
        self.meanwhile = None
        with self.database.transaction() as tx:
            for table in reversed(metadata.sorted_tables):
                if table.name not in _KEPT:
                    tx.execute(table.delete())
        self.mill.announced.clear()
        self.gateway = SandboxGateway(None)
        watched: Any = WatchedGateway(self.gateway, self.trap)  # type: ignore[arg-type]
        self.mill.gateways["sandbox"] = watched

    @contextmanager
    def mortal(self, fatal: int) -> Iterator[None]:
        """Who does the block dies at its `fatal`th point, if it is nonzero and gets there."""
        self.trap.fatal, self.trap.is_committed = fatal, False
        with suppress(Died):
            try:
                yield
            finally:
                self.trap.fatal = 0

    def time(self) -> datetime:
        """Between two steps: what was done before was earlier, what is done from now on is later."""
        with self.database.snapshot() as tx:
            return clock.read(tx)

    def age_holds(self) -> None:
        with self.database.transaction() as tx:
            aged = update(orders).where(orders.c.status == "on_hold")
            tx.execute(aged.values(settled_at=now(-2.0 * HOLD_EXPIRES)))

    def look(self, *, aged: bool) -> None:
        """Those who wait for stock have a look; `aged`: they have waited for days."""
        with self.database.transaction() as tx:
            if aged:
                tx.execute(update(backorders).values(since=now(-86_400.0 * BACKORDER_DAYS)))
            waits = update(dispatches).where(dispatches.c.leased_until.is_(None))
            tx.execute(waits.where(dispatches.c.step == "reserve").values(due_at=now()))

    def due_steps(self) -> list[str]:
        with self.database.snapshot() as tx:
            return list(tx.execute(_DUE_STEPS).scalars())

    def see(self, *, with_rules: bool = True) -> tuple[Seen, str]:
        """The stock as it stands, and the audit's rules that are broken, if these are asked for."""
        seen = Seen()
        with self.database.snapshot() as tx:
            read = tx.exec_driver_sql
            for sku, location, *units in read(_LEVELS):
                seen.levels[sku, location] = (units[0], units[1], units[2])
            for sku, location, moved, promised in read(_LEDGER):
                seen.ledger[sku, location] = int(moved)
                seen.promised[sku, location] = int(promised)
            for reference, promised in read(_PROMISED):
                seen.promised_to[int(reference.removeprefix("order "))] = int(promised)
            for order, line_no, location, sku, units in read(_HELD):
                seen.held[(order, line_no), location] = units
                seen.held_sku[order, line_no] = sku
            for order, external_id, chain, status, reason in read(_ORDERS):
                seen.orders[order] = external_id, chain, status, reason
            for order, line_no, units in read(_SHIPPED):
                seen.shipped[order, line_no] = int(units)
            for order, line_no, units in read(_CANCELLED):
                seen.cancelled[order, line_no] = units
            for code, uses in read(_REDEEMED):
                seen.redeemed[code] = uses
            queues: dict[str, list[int]] = defaultdict(list)
            for sku, order, units in read(_QUEUES):
                queues[sku].append(order)
                seen.awaited[order, sku] = units
            seen.queues = dict(queues)
            for (members,) in tx.execute(_TO_BE_LOOKED_AT):
                seen.looked_at.update(json.loads(members))
            broken = Counter[str](dict(map(tuple, read(self._rules))) if with_rules else {})
        return seen, ", ".join(+broken)

    def findings(self) -> list[str]:
        """What the whole audit finds."""
        gateways = {**self.mill.gateways, "sandbox": self.gateway}
        return [f"{f.rule}: {f.what}" for f in audit(self.database, gateways).findings]


_LEVELS = "SELECT sku, location, on_hand, reserved, safety FROM stock_levels"
_LEDGER = (
    "SELECT sku, location, sum(quantity), sum(promised) FROM stock_movements GROUP BY sku, location"
)
_PROMISED = (
    "SELECT reference, sum(promised) FROM stock_movements WHERE reference IS NOT NULL "
    "GROUP BY reference"
)
_HELD = "SELECT order_id, line_no, location, sku, quantity FROM reservations"
_ORDERS = "SELECT id, external_id, chain, status, reason FROM orders"
_SHIPPED = "SELECT order_id, line_no, sum(units) FROM shipment_lines GROUP BY order_id, line_no"
_CANCELLED = "SELECT order_id, line_no, units FROM cancelled_lines"
_REDEEMED = "SELECT code, count(*) FROM coupon_redemptions GROUP BY code"
_QUEUES = "SELECT sku, order_id, units FROM backorders ORDER BY sku, order_id"
_is_due = dispatches.c.due_at <= now()
# In any other step than this they give way, or come here.
_TO_BE_LOOKED_AT = select(dispatches.c.order_ids).where(
    or_(_is_due, dispatches.c.lease.is_not(None), dispatches.c.step != "reserve")
)
_DUE_STEPS = (
    select(dispatches.c.step)
    .where(_is_due, or_(dispatches.c.lease.is_(None), dispatches.c.leased_until <= now()))
    .distinct()
    .order_by(dispatches.c.step)
)

#: What these say must be so after every step; the others' turn is at the end of an example.
_STOCK_RULES = {
    "ledger", "promises", "promises_in_ledger", "not_oversold", "stock_held", "stock_returned",
    "backorders_queued", "awaits_the_rest", "nobody_overtaken",
    "coupons_counted", "coupons_held", "coupons_in_bounds", "coupons_returned", "in_one_dispatch",
    "dispatches_name_the_unsettled", "goods_in_ledger", "returned_as_shipped", "shipped_as_ordered",
}  # fmt: skip


def _all_rules(database: Database) -> str:
    """One statement: the name of each of these rules, and how often it is broken. As text, because
    it is the same ten thousand times over."""
    chosen = [rule for rule in RULES if rule.name in _STOCK_RULES]
    assert len(chosen) == len(_STOCK_RULES)
    counts = [
        select(
            literal(rule.name),
            select(func.count()).select_from(rule.broken.subquery()).scalar_subquery(),
        )
        for rule in chosen
    ]
    compiled = union_all(*counts).compile(
        dialect=database.engine.dialect, compile_kwargs={"literal_binds": True}
    )
    return str(compiled)
