"""Orders over HTTP while Postgres loses its primary, and the verdict: by SQL, by the gateway's book and by
the senders' journal, and by nothing of the audit's.

No two orders cost the same, so that the book, which knows amounts, says who was charged.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks.ports import await_port, free_port
from benchmarks.servers import valkey
from pipeline import access
from pipeline.access import OF_SOURCES
from pipeline.source import Policy
from pipeline.storage import catalogue, sources, stock
from pipeline.storage.database import Database
from tests.chaos.crew import Crew

SKU = "MUG-01"
SENDERS = 8
LEASE_SECONDS = 15.0
#: Beyond a lease after the last fault, or the last order.
SETTLED_WITHIN = LEASE_SECONDS + 15.0
GIVE_UP_AFTER = 180.0

Tell = Callable[[str], None]


@dataclass(slots=True)
class Journal:
    """What the senders know: the id of each order that got a 202, and how often each other answer came."""

    accepted: dict[str, int] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    last_at: float = 0.0


@dataclass(slots=True)
class Shop:
    """A home behind HTTP. `folder` holds the processes' logs and the gateway's book."""

    folder: Path
    database_url: str
    broker_url: str
    port: int
    key: str = ""

    @property
    def book(self) -> Path:
        return self.folder / "gateway-book.db"

    def environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith("ORDERMILL_")}
        return {
            **ours,
            "ORDERMILL_HOME": str(self.folder),
            "ORDERMILL_DATABASE_URL": self.database_url,
            "ORDERMILL_BROKER_URL": self.broker_url,
            "ORDERMILL_WEBHOOK_SECRET": "Y2hhb3MgaXMgYSBsYWRkZXI=",
            "ORDERMILL_SANDBOX_BOOK": str(self.book),
            "ORDERMILL_LEASE_SECONDS": str(LEASE_SECONDS),
        }


@contextmanager
def running_shop(database_url: str, orders: int) -> Iterator[Shop]:
    """Web, two workers and a scheduler, and stock for so many orders."""
    folder = Path(tempfile.mkdtemp(prefix="failover-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        shop = Shop(folder, database_url, stack.enter_context(valkey()), free_port())
        shop.key = _stock(database_url, orders)
        crew = Crew(folder, shop.environment())
        stack.callback(crew.dismiss)
        crew.start({"worker": 2, "scheduler": 1})
        web = Crew(folder, shop.environment())
        stack.callback(web.dismiss)
        web.start({"web": 1}, {"web": ["--port", str(shop.port)]})
        await_port(shop.port)
        yield shop


def _stock(url: str, orders: int) -> str:
    database = Database(url)
    database.upgrade()
    with database.transaction() as tx:
        sources.put(tx, "shop", Policy(price_policy="as_sold", gateway="sandbox"))
        catalogue.put(tx, [catalogue.ProductIn(SKU, "Mug", True, False, {"EUR": 1000})])
        assert stock.post(tx, [stock.Movement(SKU, "main", "receipt", orders)], "chaos") == []
        key = access.create(tx, "shop", "test", source="shop", scopes=OF_SOURCES, rate=1_000_000)
    database.close()
    return key


class Senders:
    """Send `orders` orders, each until it got a 202 (or was told that it is a duplicate)."""

    def __init__(self, shop: Shop, orders: int, pause: float) -> None:
        self.journal = Journal()
        self._shop = shop
        self._left = iter(range(orders))
        self._pause = pause
        self._refused = ""
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._send_all, daemon=True) for _ in range(SENDERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def accepted(self) -> int:
        assert not self._refused, self._refused
        return len(self.journal.accepted)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        assert not self._refused, self._refused

    def _send_all(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._shop.port, timeout=60)
        while (n := self._next()) is not None:
            while not self._send(connection, n):
                if self._refused:
                    return
                time.sleep(0.2)
            time.sleep(self._pause)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._left, None)

    def _send(self, connection: http.client.HTTPConnection, n: int) -> bool:
        headers = {
            "Authorization": f"Bearer {self._shop.key}", "Content-Type": "application/json",
        }  # fmt: skip
        try:
            connection.request("POST", "/v1/orders", json.dumps(_order(n)), headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, body = type(error).__name__, b""
        with self._lock:
            self.journal.answers[str(status)] += 1
            if status in (200, 202):
                self.journal.accepted[f"o-{n}"] = json.loads(body)["id"]
                self.journal.last_at = time.monotonic()
        if status in (400, 401, 403, 409, 422):
            self._refused = f"order {n} will never be taken in: {status} {body!r}"
        return status in (200, 202)


def _order(n: int) -> dict[str, Any]:
    return {
        "external_id": f"o-{n}",
        "currency": "EUR",
        "customer": {"email": "ada@example.com", "name": "Ada"},
        "ship_to": {"city": "Berlin", "postal_code": "10115", "country": "DE"},
        "lines": [{"sku": SKU, "quantity": 1, "unit_price": f"{price_of(n) / 100:.2f}"}],
        "payment": {"method": "pm_card_visa"},
    }  # fmt: skip


def price_of(n: int) -> int:
    """Its alone, in cents."""
    return 1000 + n


@dataclass(frozen=True, slots=True)
class Verdict:
    """`lost`: 202s whose order is not there. `settled_after`: seconds after the last fault or order."""

    problems: list[str]
    lost: int
    settled_after: float
    answers: Counter[str]
    statuses: Counter[str]
    orphans: int

    def __str__(self) -> str:
        return (
            f"answers {dict(self.answers)}; orders {dict(self.statuses)}; 202s lost: {self.lost}; "
            f"charged without an order: {self.orphans}; settled {self.settled_after:.1f} s after "
            f"the last fault or order; {len(self.problems)} problems"
        )


def judge(shop: Shop, journal: Journal, last_fault: float, *, may_lose: bool) -> Verdict:
    """Wait until all is settled, and look."""
    settled_after = _await_settled(shop) - max(last_fault, journal.last_at)
    with _asking(shop) as tx:
        found = {r[1]: r for r in tx.execute("SELECT id, external_id, status, reason FROM orders")}
    statuses = Counter(row[2] for row in found.values())
    lost = {x: i for x, i in journal.accepted.items() if x not in found or found[x][0] != i}
    charged = _charged(shop.book)
    problems = [
        *(f"order {x} is {row[2]}: {row[3]}" for x, row in found.items() if row[2] != "confirmed"),
        *(
            f"{status}: {n} answers"
            for status, n in journal.answers.items()
            if status[0] not in "25"
        ),
        *(f"{status}: {n} answers" for status, n in journal.answers.items() if status == "500"),
        *(f"{charged[p]} charges of {p}" for p in charged if charged[p] not in (0, 1)),
        *(
            f"order {x} was charged {charged[price_of(int(x[2:]))]} times"
            for x, row in found.items()
            if charged[price_of(int(x[2:]))] != (row[2] == "confirmed")
        ),
        *_dead(shop.broker_url),
    ]
    if settled_after > SETTLED_WITHIN:
        problems.append(f"it took {settled_after:.1f} s to settle")
    if lost and not may_lose:
        problems.append(f"{len(lost)} of the 202s are lost: {sorted(lost)[:5]}")
    of_orders = {price_of(int(x[2:])) for x in found}
    orphans = sum(1 for price, times in charged.items() if times and price not in of_orders)
    if problems:
        kept = Path(tempfile.mkdtemp(prefix="failover-kept-"))
        shutil.copytree(shop.folder, kept, dirs_exist_ok=True)
        problems.append(f"what the processes said is kept in {kept}")
    if orphans > len(lost):
        problems.append(f"{orphans} were charged without an order, of {len(lost)} lost")
    return Verdict(problems, len(lost), settled_after, journal.answers, statuses, orphans)


@contextmanager
def _asking(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.database_url, prepare_threshold=None) as connection:
        yield connection


def _await_settled(shop: Shop) -> float:
    give_up = time.monotonic() + GIVE_UP_AFTER
    while time.monotonic() < give_up:
        with _asking(shop) as tx:
            [(unsettled,)] = tx.execute("SELECT count(*) FROM orders WHERE settled_at IS NULL")
        if not unsettled:
            break
        time.sleep(0.2)
    return time.monotonic()


def _charged(book: Path) -> Counter[int]:
    """How often each amount was taken, less how often it was given back."""
    net: Counter[int] = Counter()
    with closing(sqlite3.connect(f"file:{book}?mode=ro", uri=True)) as db:
        done = "SELECT kind, amount FROM book WHERE decline IS NULL"
        for kind, amount in db.execute(done):
            net[amount] += {"capture": 1, "refund": -1}.get(kind, 0)
    return net


def _dead(broker_url: str) -> Iterator[str]:
    """Messages among the dead letters."""
    with redis.Redis.from_url(broker_url) as client:
        for key in client.scan_iter("ordermill:*.XQ"):
            if n := client.zcard(key):
                yield f"{n} messages are dead in {key!r}"
