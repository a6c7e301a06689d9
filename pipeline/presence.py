"""A process's sign of life in the registry: host, pid, role, and what it is doing."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pipeline.engine.leases import InHand
from pipeline.payments.gateway import Gateway
from pipeline.payments.guard import GuardedGateway
from pipeline.storage import clock, processes
from pipeline.storage.database import Database, Tx

log = logging.getLogger(__name__)

EVERY = 2.0
#: Seconds by which a host's clock may differ from the database's before it is said.
MOST_SKEW = 5.0


class Presence:
    """Signs every two seconds from a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        database: Database,
        role: str,
        in_hand: Callable[[], Sequence[InHand]] = tuple,
        gateways: Mapping[str, Gateway] = MappingProxyType({}),
    ) -> None:
        self._database = database
        self._role = role
        self._in_hand = in_hand
        self._gateways = gateways
        self._id = str(uuid.uuid4())
        self._skew = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._sign_until_stopped, name="presence", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._safely(self._leave)

    def _sign_until_stopped(self) -> None:
        self._safely(self._sign)
        while not self._stopped.wait(EVERY):
            self._safely(self._sign)

    def _sign(self) -> None:
        now = time.monotonic()
        doing: list[dict[str, Any]] = [
            {"step": work.step, "orders": work.orders, "seconds": round(now - work.since, 1)}
            for work in self._in_hand()
        ]
        doing += [
            {"gateway": name, "breaker": "open"}
            for name, gateway in self._gateways.items()
            if isinstance(gateway, GuardedGateway) and gateway.state == "open"
        ]
        with self._database.transaction() as tx:
            if skew := self._measure(tx):
                doing.append({"clock": skew})
            processes.seen(
                tx, self._id, self._role, socket.gethostname(), os.getpid(), json.dumps(doing)
            )

    def _measure(self, tx: Tx) -> int:
        """Seconds that this host's clock is ahead of the database's; 0 if it is right enough. Nothing of
        ours waits by it, but dates of mails, signatures and certificates are by it."""
        skew = clock.skew(tx)
        off = round(skew) if abs(skew) > MOST_SKEW else 0
        if abs(off - self._skew) > MOST_SKEW:
            self._skew = off
            if off:
                log.warning("the clock of this host is %s", clock.told(off))
            else:
                log.warning("the clock of this host is right again")
        return off

    def _leave(self) -> None:
        with self._database.transaction() as tx:
            processes.left(tx, self._id)

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # the work goes on without a sign of life
            log.warning("no sign of life could be given: %s", type(error).__name__)
