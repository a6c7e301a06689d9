"""The long form: `python -m tests.chaos.soak [--seed N] [--orders N]`. Exit code 1 on any problem."""

from __future__ import annotations

import argparse
import random
import sys

from tests.chaos.faults import Numbers
from tests.chaos.trial import Trial, run

ORDERS = 5_000
SECONDS = 60.0
FAULTS = Numbers(kills=20, flushes=3, restarts=2, freezes=2)
LEASE_SECONDS = 15.0  # the default: what is proved is what is shipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--orders", type=int, default=ORDERS)
    given = parser.parse_args()
    result = run(Trial(given.orders, SECONDS, FAULTS, LEASE_SECONDS), given.seed, _tell)
    for problem in result.problems:
        _tell(f"PROBLEM {problem}")
    _tell(str(result))
    return 1 if result.problems else 0


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
