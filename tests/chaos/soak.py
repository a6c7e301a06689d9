"""The long form: `python -m tests.chaos.soak [--seconds N] [--seed N] [--orders N] [--faults N]
[--embedded]`. Exit code 1 on any problem."""

from __future__ import annotations

import argparse
import faulthandler
import random
import signal
import sys

from tests.chaos.faults import EMBEDDED, ON_SERVERS
from tests.chaos.trial import Trial, run

SECONDS = 1_800.0
ORDERS_A_SECOND = 11.0
FAULTS_A_MINUTE = 12.0
#: On SQLite: fewer orders, and 64 faults in five minutes, 50 of them kills of the one process.
EMBEDDED_SECONDS, EMBEDDED_ORDERS_A_SECOND, EMBEDDED_FAULTS = 300.0, 7.0, 64
LEASE_SECONDS = 15.0  # the default: what is proved is what is shipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--orders", type=int)
    parser.add_argument("--faults", type=int)
    parser.add_argument("--embedded", action="store_true", help="`ordermill up` on SQLite")
    given = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)  # says where each thread is
    signal.signal(signal.SIGTERM, _leave)
    result = run(_trial(given), given.seed, _tell)
    for problem in result.problems:
        _tell(f"PROBLEM {problem}")
    _tell(str(result))
    return 1 if result.problems else 0


def _trial(given: argparse.Namespace) -> Trial:
    embedded: bool = given.embedded
    seconds: float = given.seconds or (EMBEDDED_SECONDS if embedded else SECONDS)
    rate = EMBEDDED_ORDERS_A_SECOND if embedded else ORDERS_A_SECOND
    faults = EMBEDDED_FAULTS if embedded else round(FAULTS_A_MINUTE * seconds / 60)
    return Trial(
        orders=given.orders or round(rate * seconds),
        seconds=seconds,
        faults=given.faults or faults,
        table=EMBEDDED if embedded else ON_SERVERS,
        lease_seconds=LEASE_SECONDS,
        embedded=embedded,
        timed=True,
    )


def _leave(number: int, _frame: object) -> None:
    """Ends the processes, too, and keeps what they said."""
    sys.exit(128 + number)


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
