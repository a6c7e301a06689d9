"""Who runs, with what, and on how many orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec


@dataclass(frozen=True)
class Contestant:
    """`share` is its number of orders for each order of ours, so that all run about equally long.
    A `peer` runs in the peers' venv; only what `rests` has its latency at rest measured;
    `environment` is a variation of the module's own."""

    name: str
    module: str
    share: float
    peer: bool
    rests: bool
    environment: Mapping[str, str] = field(default_factory=dict)

    def exists(self) -> bool:
        return find_spec(self.module) is not None

    def orders(self, ours: int) -> int:
        return max(1, round(ours * self.share))


OURS = "ordermill"

CONTESTANTS = (
    Contestant(OURS, "benchmarks.ours", 1, peer=False, rests=True),
    Contestant(
        "ordermill, 1,000,000 settled orders",
        "benchmarks.ours",
        1,
        peer=False,
        rests=False,
        environment={"HISTORY": "1000000"},
    ),
    Contestant(
        "ordermill, all on one SKU",
        "benchmarks.ours",
        1,
        peer=False,
        rests=False,
        environment={"HOT": "1"},
    ),
    Contestant(
        "ordermill, 1,000,000 SKUs",
        "benchmarks.ours",
        1,
        peer=False,
        rests=False,
        environment={"SKUS": "1000000"},
    ),
    Contestant("dramatiq", "benchmarks.peers.dramatiq_chain", 1 / 20, peer=True, rests=True),
    Contestant("celery", "benchmarks.peers.celery_chain", 1 / 20, peer=True, rests=True),
    Contestant("dbos", "benchmarks.peers.dbos_chain", 1 / 40, peer=True, rests=True),
    Contestant("one-transaction", "benchmarks.floors.one_transaction", 3, peer=False, rests=False),
    Contestant("set-based", "benchmarks.floors.set_based", 20, peer=False, rests=False),
)


def named(names: list[str]) -> list[Contestant]:
    """The contestants of these names, or all of them when none is named."""
    return [contestant for contestant in CONTESTANTS if not names or contestant.name in names]
