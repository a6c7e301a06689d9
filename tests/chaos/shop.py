"""What is sold in a home that is to be broken, to whom, and with which keys."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import access
from pipeline.access import Scope
from pipeline.pricing.rules import Rules
from pipeline.source import Policy
from pipeline.storage import catalogue, rules, sources, stock
from pipeline.storage.database import Database
from pipeline.webhooks.endpoints import Webhooks
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import parse_allowed
from tests.chaos.home import SECRET, Home

MUG, TEE, LAST_ONES = "MUG-01", "TEE-01", "LAST-01"
#: Of these there are few, and orders wait for more.
SCARCE = ("RARE-01", "RARE-02")
#: Minor units of EUR; all even tenths, so that ten percent off is exact.
PRICES = {MUG: 1000, TEE: 2000, LAST_ONES: 500, **dict.fromkeys(SCARCE, 700)}
COUPON, ONCE = "SCARCE", "ONCE"
PERCENT_OFF = 10
#: Both chains, so that failing late undoes money in one and stock in the other.
SOURCES = {"shop": "capture_first", "market": "reserve_first"}
#: An order that costs more waits for a person.
HELD_ABOVE = 15_000
#: The scopes of an upstream's key, and of the shop's operators'.
_UPSTREAM = (Scope.ORDERS_WRITE, Scope.ORDERS_READ, Scope.OPERATE)
_OPERATOR = (Scope.ORDERS_READ, Scope.OPERATE, Scope.STOCK_WRITE, Scope.STOCK_READ)
RATE = 1_000


@dataclass(frozen=True, slots=True)
class Shop:
    """`keys` by source; `operator` is the key of who may do all. `opening` is the stock at the start,
    `limit` how often COUPON may be used."""

    keys: dict[str, str]
    operator: str
    opening: dict[str, int]
    limit: int


def open_shop(home: Home, orders: int, sink: str) -> Shop:
    """Stocked for `orders`, all but LAST_ONES, SCARCE and uses of COUPON: a few must go without. All
    that happens is told to `sink`."""
    database = Database(home.database_url)
    database.upgrade()
    few = max(1, orders // 50)
    opening = {MUG: 20 * orders, TEE: 20 * orders, LAST_ONES: few, **dict.fromkeys(SCARCE, few)}
    _stock(database, opening, few)
    keys = _admit(database, sink)
    with database.transaction() as tx:
        operator = access.create(
            tx, "desk", "chaos", source=None, scopes=frozenset(_OPERATOR), rate=RATE
        )
    database.close()
    return Shop(keys, operator, opening, few)


def _stock(database: Database, opening: dict[str, int], limit: int) -> None:
    with database.transaction() as tx:
        rules.add(tx, "default", _rules(limit), "chaos")
        catalogue.put(
            tx,
            [
                catalogue.ProductIn(sku, sku.title(), True, sku in SCARCE, {"EUR": price})
                for sku, price in PRICES.items()
            ],
        )
        movements = [stock.Movement(sku, "main", "receipt", n) for sku, n in opening.items()]
        assert stock.post(tx, movements, "chaos") == []


def _rules(limit: int) -> Rules:
    off = {"type": "percent", "percent": PERCENT_OFF}
    promotions = [{"id": name, "name": name, "effect": off} for name in ("some", "once")]
    coupons = [
        {"code": COUPON, "promotions": ["some"], "limit": limit},
        {"code": ONCE, "promotions": ["once"], "limit_per_customer": 1},
    ]
    return Rules.model_validate({"promotions": promotions, "coupons": coupons})


def _admit(database: Database, sink: str) -> dict[str, str]:
    """The sources, each with an endpoint that is told of everything, and a key."""
    webhooks = Webhooks(Signer(SECRET), parse_allowed("127.0.0.1"))
    keys = {}
    with database.transaction() as tx:
        for name, chain in SOURCES.items():
            policy = Policy(chain=chain, gateway="sandbox", hold_over={"EUR": HELD_ABOVE})
            sources.put(tx, name, policy)
            its = sources.by_name(tx, name).id
            webhooks.create(tx, its, f"{sink}/{name}", "chaos", types=["*"])
            scopes = frozenset(_UPSTREAM)
            keys[name] = access.create(tx, name, "chaos", source=name, scopes=scopes, rate=RATE)
    return keys
