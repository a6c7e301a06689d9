"""Anything may happen to a shop's stock, in any order, and whoever does it may die in the middle:
no unit is promised twice or forgotten, nobody overtakes, nobody waits for what is there.

Hypothesis deals the steps. After each of them the tables are held against books that are kept by
hand (stock_books.py), and against the audit's rules; at the end of an example all is brought to its
end, and nothing may be left over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pipeline import fulfilment, operations, stocktaking
from pipeline.assembly import Application
from pipeline.chain import STEPS
from pipeline.errors import InvalidInput, NotAllowedNow
from pipeline.inventory.shipping import Refused, Return, Shipment
from pipeline.stocktaking import Count
from pipeline.storage import backorders, stock
from scheduler.table import JOBS
from tests.inventory.stock_books import Books, Level, Seen, Wanted, breaches
from tests.inventory.stock_world import COUPONS, LEVELS, LOCATIONS, PAYMENT_EXPIRES, SKUS, World
from tests.payments.shop import as_if_later, written
from tests.support import an_order

some = st.integers(0, 40)  # picks one of as many as there are
units = st.integers(1, 8)
levels = st.sampled_from(LEVELS)
requests = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["shop", "nearby", "market", "careful"]),
        "lines": st.lists(
            st.tuples(st.sampled_from(SKUS), st.integers(1, 3)), min_size=1, max_size=4
        ),
        "method": st.sampled_from(
            ["pm_card_visa"] * 4
            + ["pm_requires_action", "pm_card_declined", "pm_timeout_after", "pm_flaky"]
        ),
        "country": st.sampled_from(["DE", "SE", "FR"]),
        "coupons": st.sampled_from([[], [], ["TWO"], ["EACH"], ["TWO", "EACH"]]),
        "customer": st.sampled_from(["ada", "bob", "eve"]),
    }
)


AT_REST = ("confirmed", "cancelled", "rejected")


class StockMachine(RuleBasedStateMachine):
    """`world` and `app` are set by the test: they are built once."""

    world: ClassVar[World]
    app: ClassVar[Application]
    steps: ClassVar[int] = 0
    examples: ClassVar[int] = 0

    @initialize(
        pages=st.sampled_from([(1_000, 100), (3, 1), (1, 0)]),
        first=st.lists(st.tuples(levels, st.integers(1, 6)), max_size=3),
    )
    def open(self, pages: tuple[int, int], first: list[tuple[Any, int]]) -> None:
        """`pages`: how much of a queue is read at once."""
        self.world.empty()
        backorders.MOST, backorders.SPARE = pages
        self.mill = self.world.mill
        self.books = Books()
        self.marked: list[Any] = []
        self.wanted: dict[str, Wanted] = {}
        self.seen = Seen()
        self.fatal = 0
        type(self).examples += 1
        for level, number in first:
            self._receive(level, number)

    # --- Orders -----------------------------------------------------------------------------------

    @rule(several=st.lists(requests, min_size=1, max_size=4))
    def accept(self, several: list[dict[str, Any]]) -> None:
        """Some with one commit."""
        source = self.world.sources[several[0]["source"]]
        orders = [self._order(source.name, **request) for request in several]
        self._do(lambda: self.mill.intake.accept_all(source, orders))

    def _order(self, name: str, **its: Any) -> dict[str, Any]:
        order = an_order(
            method=its["method"],
            ship_to={"country": its["country"], "postal_code": "10115"},
            customer={"email": f"{its['customer']}@example.com"},
            lines=its["lines"],
        )
        if name == "market":  # priced apart, so two lines of one SKU stay two lines
            for place, line in enumerate(order["lines"]):
                line["unit_price"] = f"1.{place}0"
            self._note(order, its["lines"], keeps=False)
            return order
        together = dict.fromkeys((sku for sku, _ in its["lines"]), 0)
        for sku, number in its["lines"]:
            together[sku] += number
        self._note(order, list(together.items()), keeps=True)
        return {**order, "coupons": its["coupons"]}

    def _note(self, order: Any, lines: list[tuple[str, int]], *, keeps: bool) -> None:
        self.wanted[order["external_id"]] = Wanted(lines, keeps)

    @precondition(lambda self: self.seen.orders)
    @rule(pick=some, carry_on=st.booleans())
    def work(self, pick: int, carry_on: bool) -> None:
        """One batch of one step; with `carry_on` as far as it goes."""
        due = self.world.due_steps() or self._later()
        if due:
            self.mill.engine.serves = frozenset(STEPS if carry_on else ())
            self._do(lambda: self.mill.engine.work(due[pick % len(due)]))

    @precondition(lambda self: self.seen.orders)
    @rule()
    def work_on_all(self) -> None:
        self.mill.engine.serves = frozenset(STEPS)
        for step in self.world.due_steps():
            self._do(lambda step=step: self.mill.engine.work(step))  # type: ignore[misc]
            self._check()

    @precondition(lambda self: self.seen.waiting)
    @rule(aged=st.booleans())
    def look_for_stock(self, aged: bool) -> None:
        """The safety net; perhaps after days, when some have waited for as long as they may."""
        self.world.look(aged=aged)

    def _later(self) -> list[str]:
        """Retries but those for stock are due, and the dead have lost their leases."""
        self.mill.make_due()
        self.mill.expire_leases()
        return self.world.due_steps()

    @precondition(lambda self: self.seen.orders)
    @rule(pick=some)
    def cancel(self, pick: int) -> None:
        self._cancel(pick)

    def _cancel(self, pick: int) -> None:
        found = self._that_are(
            "received", "priced", "reserved", "confirmed", "backordered", "on_hold"
        )
        if not found:
            return
        order = found[pick % len(found)]
        try:
            self._act(operations.cancel, order)
        except (InvalidInput, NotAllowedNow):  # all of it has left
            assert order not in self.seen.holders
            assert any(its == order for its, _ in self.seen.shipped)

    @precondition(lambda self: self._that_are("on_hold"))
    @rule(pick=some)
    def requeue(self, pick: int) -> None:
        held = self._that_are("on_hold")
        self._act(operations.requeue, [held[pick % len(held)]])

    @precondition(lambda self: self._that_are("priced", "reserved"))
    @rule(pick=some, how=st.sampled_from(["confirm", "fail", "expire"]))
    def customer(self, pick: int, how: str) -> None:
        """One who has to act on his payment does, or lets its time pass."""
        pending = {
            order: operation.reference
            for order in self._that_are("priced", "reserved")
            for operation in written(self.mill, order)
            if operation.state == "pending"
        }
        if not pending:
            return
        order = sorted(pending)[pick % len(pending)]
        if how == "expire":
            as_if_later(self.mill, order, PAYMENT_EXPIRES + 1)
            self._later()
            return
        try:
            getattr(self.world.gateway, how)(pending[order])
        except InvalidInput:  # it was given up meanwhile
            return
        self._do(self.mill.gateway_events.poll)

    # --- What leaves and comes back ---------------------------------------------------------------

    @precondition(lambda self: self._that_are("confirmed"))
    @rule(pick=some, part=st.booleans())
    def ship(self, pick: int, part: bool) -> None:
        """All that is left, or a unit of a line."""
        confirmed = self._that_are("confirmed")
        order = confirmed[pick % len(confirmed)]
        held = sorted(item for item in self.seen.held.items() if item[0][0][0] == order)
        if part and held:
            held = [(held[0][0], 1)]
        lines = {held[0][0][0][1]: 1} if part and held else None
        shipment = Shipment(order, f"s-{len(self.books.moved)}-{pick}", lines)

        def act(tx: Any) -> None:
            [verdict] = fulfilment.ship(tx, [shipment], "ada")
            if isinstance(verdict, Refused):
                raise InvalidInput(str(verdict))

        if self._said(act, is_refused=not held):
            for (line, location), number in held:
                self.books.move((self.seen.held_sku[line], location), -number)
                self.books.shipped[line] += number

    @precondition(lambda self: self.seen.shipped)
    @rule(pick=some, to=st.sampled_from([*LOCATIONS, None]))
    def take_back(self, pick: int, to: str | None) -> None:
        """A unit of a line, into stock or not."""
        order, line_no = line = sorted(self.seen.shipped)[pick % len(self.seen.shipped)]
        sku, _ = self.wanted[self.seen.orders[order][0]].lines[line_no - 1]
        back = Return(
            order, f"r-{len(self.books.moved)}-{self.books.returned[line]}", {line_no: 1}, to
        )
        refused = self.books.returned[line] == self.books.shipped[line]
        if self._said(lambda tx: fulfilment.take_back(tx, back, "ada"), refused):
            self.books.returned[line] += 1
            if to is not None:
                self.books.move((sku, to), 1)

    # --- Stock ------------------------------------------------------------------------------------

    @rule(level=levels, number=units)
    def receive(self, level: Level, number: int) -> None:
        self._receive(level, number)

    def _receive(self, level: Level, number: int) -> None:
        def receive(tx: Any) -> None:
            assert stock.post(tx, [stock.Movement(*level, "receipt", number)], "ada") == []

        if self._said(receive, is_refused=False):
            self.books.move(level, number)

    @rule(
        what=st.sampled_from(["adjust", "transfer", "keep"]),
        level=levels,
        number=st.integers(-5, 6).filter(bool),
        to=st.sampled_from(LOCATIONS),
    )
    def correct(self, what: str, level: Level, number: int, to: str) -> None:
        if what == "adjust":
            self._adjust(level, number)
        elif what == "keep":
            self._keep(level, abs(number) % 3)
        elif to != level[1]:
            self._transfer(*level, to, abs(number))

    def _adjust(self, level: Level, number: int) -> None:
        refused = number < 0 and self.books.on_hand(level) + number < self.seen.reserved(level)
        if self._said(lambda tx: stocktaking.adjust(tx, level, number, "broken", "ada"), refused):
            self.books.move(level, number)

    def _transfer(self, sku: str, source: str, target: str, number: int) -> None:
        left = self.books.on_hand((sku, source)) - number
        refused = left < self.seen.reserved((sku, source))
        if self._said(
            lambda tx: stocktaking.transfer(tx, sku, number, source, target, None, "ada"), refused
        ):
            self.books.move((sku, source), -number)
            self.books.move((sku, target), number)

    def _keep(self, level: Level, number: int) -> None:
        """Safety stock."""
        if self._said(lambda tx: stock.set_safety(tx, *level, number, "ada"), is_refused=False):
            self.books.safety[level] = number

    @rule(level=levels, pick=some, wrong_by=st.integers(-3, 3), looks=st.booleans())
    def count(self, level: Level, pick: int, wrong_by: int, looks: bool) -> None:
        """As of now, or as of a time when somebody looked around."""
        if looks:
            self.marked.append(self.world.time())
            self.books.marks += 1
        mark = pick % (len(self.marked) + 1) or None
        stood = self.books.on_hand(level, float(mark or "inf"))
        found = max(0, stood + wrong_by)
        refused = mark is not None and self.books.is_superseded(level, mark)
        refused |= self.books.on_hand(level) + found - stood < self.seen.reserved(level)
        counted = Count(level, found, self.marked[mark - 1] if mark else None)
        if self._said(lambda tx: stocktaking.count(tx, counted, "ada"), refused):
            self.books.count(level, found, mark)

    # --- Jobs -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(sorted(JOBS)), aged=st.booleans())
    def run_job(self, name: str, aged: bool) -> None:
        if aged:
            self.world.age_holds()
        self._do(lambda: JOBS[name].run(self.app))

    # --- Mishaps ----------------------------------------------------------------------------------

    @rule(number=st.one_of(st.integers(1, 8), st.integers(1, 40)))
    def set_trap(self, number: int) -> None:
        """Whoever does something next dies at his so manieth statement, commit or call."""
        self.fatal = number

    @rule(
        what=st.sampled_from(["cancel", "receive", "adjust", "take over"]), pick=some, level=levels
    )
    def meanwhile(self, what: str, pick: int, level: Level) -> None:
        """Between the next claim and its record something else happens."""

        def happens() -> None:
            self._check()
            if what == "cancel":
                self._cancel(pick)
            elif what == "receive":
                self._receive(level, 1 + pick % 5)
            elif what == "adjust":
                self._adjust(level, -1)
            else:
                self.mill.expire_leases()
                for step in self.world.due_steps():
                    self.mill.engine.work(step)
                    self._check()
            self._check()

        self.world.meanwhile = happens

    # --- What must be so --------------------------------------------------------------------------

    @invariant()
    def books_and_tables_agree(self) -> None:
        type(self).steps += 1
        self._check()

    def _check(self) -> None:
        """After each batch: two may give away what one may not."""
        before = self.seen
        broken = self._look()
        found = [*breaches(self.seen, before, self.books, self.wanted, COUPONS)]
        assert not found, found
        assert not broken, f"broken rules: {broken}"

    def teardown(self) -> None:
        """All comes to its end: customers act, goods arrive, what is held is released."""
        if not hasattr(self, "mill"):
            return
        self.world.meanwhile, self.fatal = None, 0
        for level in LEVELS:
            self._keep(level, 0)  # safety stock would take what arrives for those who wait
        self._nobody_starves()
        for level in LEVELS:
            self._receive(level, 1_000)
        for _ in range(20):
            self._look()
            going_on = [i for i, order in self.seen.orders.items() if order[2] not in AT_REST]
            if not going_on:
                break
            for order in going_on:
                if self.seen.orders[order][2] == "on_hold":
                    self._act(operations.cancel, order)
                as_if_later(self.mill, order, PAYMENT_EXPIRES + 1)
            self._later()
            self.mill.turn(impatient=False)
        assert going_on == []
        self._check()
        assert self.world.findings() == []

    def _nobody_starves(self) -> None:
        """Once just the units arrive that those who wait lack, they all have them."""
        backorders.MOST, backorders.SPARE = 1_000, 100
        self._later()
        self.mill.turn(impatient=False)
        self._look()
        lots = Counter[str]()
        for (_, sku), number in self.seen.awaited.items():
            lots[sku] += number
        for part in (1, 2):
            for sku, number in sorted(lots.items()):
                if lot := number // 2 if part == 1 else number - number // 2:
                    self._receive((sku, "main"), lot)
                    self._check()
        self.mill.engine.serves = frozenset()  # nobody new comes to wait
        while self.mill.engine.work("reserve"):
            self._check()
        assert self.seen.queues == {}

    # --- How it is done ---------------------------------------------------------------------------

    def _do(self, act: Callable[[], object]) -> None:
        """Whoever does it may die."""
        number, self.fatal = self.fatal, 0
        with self.world.mortal(number):
            act()

    def _act(self, action: Callable[..., Any], *arguments: Any) -> None:
        def act() -> None:
            with self.world.database.transaction() as tx:
                announcements = action(tx, *arguments, actor="ada")
            self.mill.engine.announce(announcements)

        self._do(act)

    def _said(self, act: Callable[[Any], Any], is_refused: bool) -> bool:
        """Whether it was done, in one transaction. It must be refused just when it is expected to."""
        was_refused = done = False

        def in_a_transaction() -> None:
            nonlocal was_refused, done
            try:
                with self.world.database.transaction() as tx:
                    act(tx)
                done = True
            except InvalidInput:
                was_refused = True

        self._do(in_a_transaction)
        done |= self.world.trap.is_committed
        if done or was_refused:
            assert was_refused == is_refused
        return done

    def _look(self) -> str:
        """The audit's rules cost as much as all else together: every third time will do, as what
        breaks one stays broken."""
        self.looks = getattr(self, "looks", 0) + 1
        self.seen, broken = self.world.see(with_rules=self.looks % 3 == 0)
        return broken

    def _that_are(self, *statuses: str) -> list[int]:
        return [i for i, (_, _, status, _) in self.seen.orders.items() if status in statuses]
