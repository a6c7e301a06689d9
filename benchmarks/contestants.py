"""Who runs, with what, and on how many orders."""

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Contestant:
    """`share` is its number of orders for each order of ours, so that all run about equally long.
    A `peer` runs in the peers' venv; only what has a `pipeline` has a latency."""

    name: str
    module: str
    share: float
    peer: bool
    pipeline: bool

    def exists(self) -> bool:
        return find_spec(self.module) is not None

    def orders(self, ours: int) -> int:
        return max(1, round(ours * self.share))


OURS = "ordermill"

CONTESTANTS = (
    Contestant(OURS, "benchmarks.ours", 1, peer=False, pipeline=True),
    Contestant("dramatiq", "benchmarks.peers.dramatiq_chain", 1 / 20, peer=True, pipeline=True),
    Contestant("celery", "benchmarks.peers.celery_chain", 1 / 20, peer=True, pipeline=True),
    Contestant("dbos", "benchmarks.peers.dbos_chain", 1 / 40, peer=True, pipeline=True),
    Contestant(
        "one-transaction", "benchmarks.floors.one_transaction", 3, peer=False, pipeline=False
    ),
    Contestant("set-based", "benchmarks.floors.set_based", 20, peer=False, pipeline=False),
)


def named(names: list[str]) -> list[Contestant]:
    """The contestants of these names, or all of them when none is named."""
    return [contestant for contestant in CONTESTANTS if not names or contestant.name in names]
