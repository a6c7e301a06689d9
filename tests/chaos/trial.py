"""One trial: feed, break, wait until all is settled, judge."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx

from tests.chaos import settling
from tests.chaos.archivist import Archivist
from tests.chaos.caller import Caller
from tests.chaos.crew import Crew
from tests.chaos.faults import Fault, Faults, plan
from tests.chaos.feeder import Feeder
from tests.chaos.gauges import Gauges
from tests.chaos.home import Home, chaos_home, embedded_home
from tests.chaos.journal import Journal
from tests.chaos.listeners import Mirror, Sink, Told
from tests.chaos.operators import Operators
from tests.chaos.records import Records
from tests.chaos.settling import Wait
from tests.chaos.shop import Shop, open_shop
from tests.chaos.verdict import Case, problems
from tests.chaos.verdict.case import read_book

ON_SERVERS = {"web": 1, "worker": 2, "scheduler": 2}
EMBEDDED = {"up": 1}
#: Faults that may be under way at once.
AT_ONCE = 4
READY_WITHIN = 240.0
#: Seconds after which we give up waiting, and let the verdict tell what is left.
GIVE_UP_AFTER = 300.0
#: What is promised, in seconds after the last fault; orders by a lease more: a killed worker's last batch
#: is taken over when its lease is over.
ORDERS_WITHIN, WEBHOOKS_WITHIN = 15.0, 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """`seconds`: over which `orders` come and `faults` of `table` strike. What lasts does so for its
    usual time by `pace`. `acts`: what operators do in a second. `timed`: being late is a problem; on a
    busy machine it tells nothing."""

    orders: int
    seconds: float
    faults: int
    table: Mapping[Fault, float]
    lease_seconds: float
    pace: float = 1.0
    acts: float = 2.0
    embedded: bool = False
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds from the last fault until the last order came in and was acted upon (`traffic`), until
    the last `orders` were settled, `refunds` were done, `webhooks` had told all, and the last order
    that had to wait longer was settled, too."""

    problems: list[str]
    statuses: Counter[str]
    traffic: float
    orders: float
    refunds: float
    webhooks: float
    all: float
    resent: int
    done: Counter[str]
    gave_up: Counter[str]
    late: int

    def __str__(self) -> str:
        ended = ", ".join(f"{n} {status}" for status, n in self.statuses.most_common())
        did = ", ".join(f"{n} {act}" for act, n in self.done.most_common())
        gave_up = ", ".join(f"{n} {who}" for who, n in self.gave_up.most_common())
        return (
            f"{self.statuses.total()} orders accepted, {self.resent} calls were made again; {ended}; "
            f"operators: {did}; after the last fault traffic ended in {self.traffic:.1f} s, orders were settled in "
            f"{self.orders:.1f} s, refunds "
            f"done in {self.refunds:.1f} s, webhooks there in {self.webhooks:.1f} s ({self.late} wait for "
            f"their third attempt), the last undo done in {self.all:.1f} s; processes that ended by "
            f"themselves: {gave_up or 'none'}; {len(self.problems)} problems"
        )


def run(trial: Trial, seed: int, tell: Tell) -> Result:
    """The same seed plans the same faults and orders; the moments they meet are the machine's."""
    tell(f"seed {seed}")
    home_of = embedded_home if trial.embedded else chaos_home
    with home_of(trial.lease_seconds) as home, ExitStack() as stack:
        journal = Journal(home.folder / "journal.jsonl")
        stack.callback(journal.close)
        sink = Sink()
        stack.callback(sink.close)
        shop = open_shop(home, trial.orders, sink.url)
        over = threading.Event()
        stack.callback(over.set)  # before journal and sink are closed
        crew = Crew(home.folder, home.environment())
        try:
            port = ["--port", str(home.port)]
            crew.start(EMBEDDED if trial.embedded else ON_SERVERS, {"web": port, "up": port})
            result = _Course(trial, seed, home, shop, crew, journal, sink, over, tell).run()
        except BaseException:
            _keep_logs(home, seed, tell)
            raise
        finally:
            ends = crew.dismiss()
        result.problems.extend(f"{n} ended with {code}" for n, code in ends.items() if code)
        if result.problems:
            _keep_logs(home, seed, tell)
        return result


@dataclass(slots=True)
class _Course:
    """What happens between the first order and the verdict."""

    trial: Trial
    seed: int
    home: Home
    shop: Shop
    crew: Crew
    journal: Journal
    sink: Sink
    over: threading.Event
    tell: Tell

    def run(self) -> Result:
        _await_ready(self.home)
        trial, journal = self.trial, self.journal
        records = Records(self.home.database_url)
        callers = {name: self._caller(key) for name, key in self.shop.keys.items()}
        desk = self._caller(self.shop.operator)
        mirror = Mirror(desk, journal)
        gauges = Gauges(self.crew, records, journal, max(1.0, trial.seconds / 200))
        archivist = Archivist(records, self.crew, journal, Told(self.sink, mirror).has)
        operators = Operators(
            desk, callers, self.crew, archivist, journal, self._dice("operators"), trial.acts
        )
        feeder = Feeder(
            callers, journal, trial.orders, trial.seconds, self._dice("orders"), self.over
        )
        for part in (mirror, gauges, feeder, operators):
            part.start()
        faults = Faults(
            self.home, self.crew, records, self.sink, self._dice("harm"), trial.pace
        )  # fmt: skip
        self._strike(faults)
        wait = Wait(records, time.monotonic())
        feeder.join()
        operators.stop()
        traffic = time.monotonic() - wait.begun
        self.tell(f"faults are over, and {traffic:.1f} s later so is traffic")
        orders = wait.until_none(settling.UNSETTLED, GIVE_UP_AFTER)
        refunds = wait.until_none(settling.TASKS, GIVE_UP_AFTER)
        webhooks = wait.until_told(self.sink, GIVE_UP_AFTER)
        self.tell(f"orders {orders:.1f} s, refunds {refunds:.1f} s, webhooks {webhooks:.1f} s")
        operators.leave_in_order()
        everything = wait.until_none(settling.ANY_UNSETTLED, 2 * GIVE_UP_AFTER)
        last = Wait(records, time.monotonic())
        last.until_none(settling.TASKS, GIVE_UP_AFTER)
        last.until_told(self.sink, GIVE_UP_AFTER)
        last.until(lambda: not self._unmirrored(records, mirror), GIVE_UP_AFTER)
        mirror.stop()
        gauges.stop()
        for line in gauges.told():
            self.tell(line)
        case = Case(
            records.snapshot(), read_book(self.home.book), journal, self.shop, mirror.events,
            self.sink.received, settling.late(records),
        )  # fmt: skip
        found = [*problems(case), *gauges.problems()]
        if trial.timed:
            found.extend(self._too_late(orders - traffic, webhooks - traffic))
        return Result(
            found,
            Counter(row["status"] for row in case.rows.orders.values()),
            traffic,
            orders,
            refunds,
            webhooks,
            everything,
            sum(caller.resent for caller in (*callers.values(), desk)),
            operators.done,
            self.crew.gave_up,
            len(case.late),
        )

    def _strike(self, faults: Faults) -> None:
        """Each fault at its moment, whatever the others are doing; returns when the last is over."""
        begun = time.monotonic()
        trial = self.trial

        def strike(fault: Fault) -> None:
            at = time.monotonic() - begun
            try:
                said = fault(faults)
            except Exception as error:  # another fault hit what this one needs
                said = f"{fault.__name__} was ended by another: {type(error).__name__}: {error}"
            self.journal.write("fault", at=round(at, 2), fault=fault.__name__, said=said)
            self.tell(f"{at:7.2f} s  {said}".splitlines()[0])

        struck: list[Future[None]] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            dice = self._dice("faults")
            for moment, fault in plan(trial.table, trial.faults, trial.seconds, dice):
                time.sleep(max(0.0, begun + moment - time.monotonic()))
                struck.append(pool.submit(strike, fault))
        for future in struck:
            future.result()

    def _caller(self, key: str) -> Caller:
        return Caller(self.home.api, key, self.journal, self.over)

    def _dice(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what}")

    def _unmirrored(self, records: Records, mirror: Mirror) -> bool:
        happened = records.rows("SELECT id, version FROM orders")
        return any(
            (row["id"], seq) not in mirror.events
            for row in happened
            for seq in range(1, row["version"] + 1)
        )

    def _too_late(self, orders: float, webhooks: float) -> list[str]:
        within = self.trial.lease_seconds + ORDERS_WITHIN
        told = []
        if orders > within:
            told.append(f"orders took {orders:.1f} s after faults and traffic, not {within}")
        if webhooks > WEBHOOKS_WITHIN:
            told.append(f"webhooks took {webhooks:.1f} s after both, not {WEBHOOKS_WITHIN}")
        return told


def _await_ready(home: Home) -> None:
    """Returns once HTTP is served; the verdict tells the rest."""
    give_up = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up:
        try:
            if httpx.get(f"{home.api}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{home.api} was not ready within {READY_WITHIN} s")


def _keep_logs(home: Home, seed: int, tell: Tell) -> None:
    kept = f"{home.folder}-seed-{seed}"
    shutil.copytree(home.folder, kept, ignore=shutil.ignore_patterns("valkey"), dirs_exist_ok=True)
    tell(f"what the processes said, and what they were answered, is kept in {kept}")
