"""One trial: feed, break, wait until all is settled, judge."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from pipeline.assembly import Application, assemble
from tests.chaos import verdict
from tests.chaos.crew import Crew
from tests.chaos.faults import Faults, Numbers
from tests.chaos.feeder import Feeder
from tests.chaos.home import Home, chaos_home
from workers.announcer import BrokerAnnouncer
from workers.broker import make_broker

ROLES = {"worker": 2, "scheduler": 1}
SETTLED_WITHIN = 60.0
LOOK_EVERY = 0.2

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """`seconds`: over which orders come and faults strike."""

    orders: int
    seconds: float
    numbers: Numbers
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """`settled_after`: seconds from the last fault until the last order was settled."""

    problems: list[str]
    statuses: Counter[str]
    settled_after: float
    resent: int
    gave_up: int

    def __str__(self) -> str:
        ended = ", ".join(f"{n} {status}" for status, n in self.statuses.most_common())
        return (
            f"{self.statuses.total()} orders accepted, {self.resent} answers were errors and the orders sent again; "
            f"{ended}; settled {self.settled_after:.1f} s after the last fault; "
            f"{self.gave_up} processes ended by themselves; {len(self.problems)} problems"
        )


def run(trial: Trial, seed: int, tell: Tell) -> Result:
    """The same seed plans the same faults and orders; the moments they meet are the machine's."""
    tell(f"seed {seed}")
    with chaos_home(trial.orders, trial.lease_seconds) as home:
        crew = Crew(home.folder, home.environment())
        app = assemble(home.settings, BrokerAnnouncer(make_broker(home.broker_url, [])))
        try:
            crew.start(ROLES)
            result = _break(trial, home, crew, app, random.Random(seed), tell)
        finally:
            ends = crew.dismiss()
            app.close()
        result.problems.extend(f"{n} ended with {code}" for n, code in ends.items() if code)
        if result.problems:
            _keep_logs(home, seed, tell)
        return result


def _break(
    trial: Trial, home: Home, crew: Crew, app: Application, dice: random.Random, tell: Tell
) -> Result:
    feeder = Feeder(app, trial.orders, trial.seconds, dice)
    feeder.start()
    _strike(Faults(home, crew, app.database, dice), trial, tell)
    last_fault = time.monotonic()
    feeder.join()
    _await_settled(app, last_fault + SETTLED_WITHIN)
    settled_after = time.monotonic() - last_fault
    found = verdict.problems(app.database, app.gateways, feeder.receipts)
    return Result(
        feeder.wrong + found,
        verdict.statuses(app.database),
        settled_after,
        feeder.resent,
        crew.gave_up,
    )


def _strike(faults: Faults, trial: Trial, tell: Tell) -> None:
    """Each fault at its moment, whatever the others are doing; returns when the last is over."""
    begun = time.monotonic()

    def strike(act: Callable[[], str]) -> None:
        at = time.monotonic() - begun
        tell(f"{at:6.2f} s  {act()}")

    with ThreadPoolExecutor(trial.numbers.freezes + 2) as pool:
        struck = []
        for moment, act in faults.plan(trial.numbers, trial.seconds):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            struck.append(pool.submit(strike, act))
    for future in struck:
        future.result()


def _await_settled(app: Application, deadline: float) -> None:
    """Returns at the deadline too: what is unsettled then is the verdict's to tell."""
    while time.monotonic() < deadline:
        try:
            if verdict.unsettled(app.database) == 0:
                return
        except DBAPIError as error:
            if not app.database.is_disconnect(error):
                raise
        time.sleep(LOOK_EVERY)


def _keep_logs(home: Home, seed: int, tell: Tell) -> None:
    kept = f"{home.folder}-seed-{seed}"
    shutil.copytree(home.folder, kept)
    tell(f"what the processes said is kept in {kept}")
