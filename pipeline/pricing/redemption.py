"""Using coupons: what an order's use counts against, and whether the limits leave room for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.order import Order
from pipeline.pricing.ruleset import RuleSet

#: What is counted: (rules, code, customer); customer "" is everyone together.
Key = tuple[str, str, str]
EVERYONE = ""


@dataclass(frozen=True, slots=True)
class Use:
    """An order's use of a coupon. It counts for all and, where `customer` isn't "", for them; where
    they are known by an id, for their e-mail's key as well, so that neither gets round the limit. A
    limit of None is none."""

    order_id: int
    rules: str
    code: str
    customer: str
    limit: int | None = None
    limit_per_customer: int | None = None
    email_key: str = EVERYONE

    @property
    def counts(self) -> list[tuple[Key, int | None]]:
        """What it counts against, each with its limit."""
        overall = ((self.rules, self.code, EVERYONE), self.limit)
        keys = [key for key in (self.customer, self.email_key) if key != EVERYONE]
        return [overall, *(((self.rules, self.code, k), self.limit_per_customer) for k in keys)]

    @property
    def both(self) -> Key | None:
        """Stands for the uses under the id and the e-mail together, which count under each; None of
        who is known by one alone."""
        if EVERYONE in (self.customer, self.email_key):
            return None
        return self.rules, self.code, f"{self.customer}+{self.email_key}"

    def is_spent(self, used: Mapping[Key, int]) -> bool:
        """Whether a limit leaves no use. A customer has used a coupon as often as under the id or the
        e-mail; what was under both is one use, not two."""
        (everyone, limit), *of_customer = self.counts
        if limit is not None and used.get(everyone, 0) >= limit:
            return True
        if not of_customer or self.limit_per_customer is None:
            return False
        times = sum(used.get(key, 0) for key, _ in of_customer)
        twice = used.get(self.both, 0) if self.both else 0
        return times - twice >= self.limit_per_customer


def uses_of(order: Order, name: str, rules: RuleSet, codes: Iterable[str]) -> list[Use]:
    """What it is for `order` to use those of `codes` that `rules` know; `name` is the rules'."""
    found = {coupon.code: coupon for code in codes if (coupon := rules.coupons.find(code))}
    customer, email = order.lookup_keys
    return [
        Use(
            order.id, name, coupon.code, customer or EVERYONE,
            coupon.limit, coupon.limit_per_customer, email or EVERYONE,
        )
        for coupon in found.values()
    ]  # fmt: skip


def spent(uses: Iterable[Use], used: Mapping[Key, int]) -> str | None:
    """The first code among `uses` that a limit leaves no use of; None if all may be taken."""
    return next((use.code for use in uses if use.is_spent(used)), None)


class Purse:
    """How often coupons are used, as order after order takes them."""

    def __init__(self, used: Mapping[Key, int]) -> None:
        self._used = dict(used)

    def spent(self, uses: Iterable[Use]) -> str | None:
        """As `spent`, by what is used by now."""
        return spent(uses, self._used)

    def take(self, uses: Iterable[Use]) -> None:
        """Count them: for those that come after, they are used."""
        for use in uses:
            for key in filter(None, (*(key for key, _ in use.counts), use.both)):
                self._used[key] = self._used.get(key, 0) + 1


def keys_of(uses: Iterable[Use]) -> list[Key]:
    """Everything that `uses` count against, in the order in which it is locked."""
    return sorted({key for use in uses for key, _ in use.counts})


def added_up(uses: Sequence[Use]) -> list[tuple[Key, int, int | None]]:
    """What is counted, in the order of keys: how many more, and the highest limit they keep to."""
    times: dict[Key, int] = {}
    highest: dict[Key, int | None] = {}
    for use in uses:
        for key, limit in use.counts:
            known = highest.get(key, 0)
            times[key] = times.get(key, 0) + 1
            highest[key] = None if limit is None or known is None else max(known, limit)
    return [(key, times[key], highest[key]) for key in sorted(times)]
