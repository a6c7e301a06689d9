"""Coupons in use: how often each is, and by which orders. The limits are kept here, under lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from pipeline.errors import InvariantBroken
from pipeline.pricing.redemption import EVERYONE, Key, Use, added_up, keys_of
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, pack, rows
from pipeline.storage.tables import (
    archived_orders,
    coupon_redemptions,
    coupon_uses,
    order_documents,
)
from pipeline.storage.upsert import InsertNew

_key = rows(coupon_uses.c.rules, coupon_uses.c.code, coupon_uses.c.customer)
_this_key = (
    (coupon_uses.c.rules == _key.c.rules)
    & (coupon_uses.c.code == _key.c.code)
    & (coupon_uses.c.customer == _key.c.customer)
)
_LOOK = select(coupon_uses).join(_key, _this_key)
# In key order, by everyone: whoever wants several never waits in a circle.
_LOCK = _LOOK.order_by(
    coupon_uses.c.rules, coupon_uses.c.code, coupon_uses.c.customer
).with_for_update(of=coupon_uses)
_BEGIN = InsertNew(
    coupon_uses,
    ["rules", "code", "customer", "used"],
    select(*_key.c, bindparam("used", 0)),
)


def used(tx: Tx, keys: Collection[Key]) -> dict[Key, int]:
    """How often coupons are in use just now; a look, not a promise. What never was is absent."""
    if not keys:
        return {}
    found = tx.execute(_LOOK, {"rows": pack(keys)})
    return {(r.rules, r.code, r.customer): r.used for r in found}


_both = rows(
    coupon_redemptions.c.rules, coupon_redemptions.c.code,
    coupon_redemptions.c.customer, coupon_redemptions.c.email_key,
)  # fmt: skip


def _under_both(known: Table, order_id: Column[Any]) -> Select[Any]:
    """How often `_both` redeemed, looked for among the orders of that customer."""
    return (
        select(*_both.c, func.count().label("times"))
        .select_from(_both.join(known, known.c.customer == _both.c.customer))
        .join(coupon_redemptions, coupon_redemptions.c.order_id == order_id)
        .where(*(coupon_redemptions.c[name] == column for name, column in _both.c.items()))
        .group_by(*_both.c)
    )


_UNDER_BOTH = union_all(
    _under_both(order_documents, order_documents.c.order_id),
    _under_both(archived_orders, archived_orders.c.id),
)


def used_by(tx: Tx, uses: Iterable[Use]) -> dict[Key, int]:
    """What `spent` asks of these uses: how often the coupons are in use under each key and, where it
    matters, under an id and an e-mail together. A look, unless the keys are locked."""
    every = list(uses)
    found = used(tx, keys_of(every))
    asked = {
        (use.rules, use.code, use.customer, use.email_key): use.both
        for use in every
        # Of a single use it is all the same under which key it was.
        if use.both and (use.limit_per_customer or 0) > 1 and _is_known_by_both(use, found)
    }
    if asked:
        for *pair, times in tx.execute(_UNDER_BOTH, {"rows": pack(asked)}):
            key = asked[tuple(pair)]
            found[key] = found.get(key, 0) + times
    return found


def _is_known_by_both(use: Use, found: Mapping[Key, int]) -> bool:
    return all(found.get(key) for key, _ in use.counts)


def lock_used(tx: Tx, keys: Sequence[Key]) -> dict[Key, int]:
    """Lock what is counted under `keys` (in their order); how often each is in use."""
    packed, found = {"rows": pack(keys)}, dict[Key, int]()
    # A customer's count may be forgotten between the two: it is begun again.
    while len(found) < len(set(keys)):
        _BEGIN(tx, packed)
        found = {(r.rules, r.code, r.customer): r.used for r in tx.execute(_LOCK, packed)}
    return found


_count = rows(
    coupon_uses.c.rules, coupon_uses.c.code, coupon_uses.c.customer,
    Column("times", coupon_uses.c.used.type), coupon_uses.c.most,
)  # fmt: skip
_this_count = (
    (coupon_uses.c.rules == _count.c.rules)
    & (coupon_uses.c.code == _count.c.code)
    & (coupon_uses.c.customer == _count.c.customer)
)
_TAKE = (
    update(coupon_uses)
    .where(
        _this_count,
        or_(_count.c.most.is_(None), coupon_uses.c.used + _count.c.times <= _count.c.most),
    )
    .values(used=coupon_uses.c.used + _count.c.times, most=_count.c.most)
    .returning(coupon_uses.c.rules, coupon_uses.c.code, coupon_uses.c.customer)
)
_GIVE = update(coupon_uses).where(_this_count).values(used=coupon_uses.c.used - _count.c.times)
_FIELDS = ["order_id", "code", "rules", "customer", "email_key"]
_redemption = rows(*(coupon_redemptions.c[name] for name in _FIELDS))
_REDEEM = insert(coupon_redemptions).from_select(_FIELDS, select(*_redemption.c))


def redeem(tx: Tx, uses: Sequence[Use]) -> None:
    """Count uses for their orders. Every count's update is conditional on its limit; if one
    refuses, InvariantBroken, and the transaction must be rolled back."""
    if not uses:
        return
    counts = added_up(uses)
    won = tx.execute(_TAKE, {"rows": pack((*key, n, most) for key, n, most in counts)}).all()
    if len(won) < len(counts):
        refused = sorted({key for key, _, _ in counts} - {tuple(r) for r in won})
        raise InvariantBroken(f"coupons would be used beyond their limits: {refused}")
    redeemed = ((u.order_id, u.code, u.rules, u.customer, u.email_key) for u in uses)
    tx.execute(_REDEEM, {"rows": pack(redeemed)})


_COUNTED = [coupon_redemptions.c[name] for name in ("rules", "code", "customer", "email_key")]
_HELD = select(*_COUNTED).where(coupon_redemptions.c.order_id.in_(ids())).distinct()
_RELEASE = (
    delete(coupon_redemptions).where(coupon_redemptions.c.order_id.in_(ids())).returning(*_COUNTED)
)


def held(tx: Tx, order_ids: Iterable[int]) -> set[Key]:
    """What the uses of these orders count under."""
    return {key for r in tx.execute(_HELD, {"ids": pack(order_ids)}) for key in _keys(*r)}


def give_back(tx: Tx, order_ids: Sequence[int]) -> int:
    """Take back what these orders use; returns how many uses. Twice is once."""
    packed = {"ids": pack(order_ids)}
    keys = held(tx, order_ids)
    if not keys:
        return 0
    lock_used(tx, sorted(keys))
    released = [tuple(r) for r in tx.execute(_RELEASE, packed)]
    freed = Counter(key for redemption in released for key in _keys(*redemption))
    tx.execute(_GIVE, {"rows": pack((*key, n, None) for key, n in sorted(freed.items()))})
    return len(released)


_OF_CUSTOMERS = select(*_COUNTED).where(
    coupon_redemptions.c.order_id.in_(ids()), coupon_redemptions.c.customer != EVERYONE
)
_DISOWN = (
    update(coupon_redemptions)
    .where(coupon_redemptions.c.order_id.in_(ids()))
    .values(customer=EVERYONE, email_key=EVERYONE)
)
_FORGET = delete(coupon_uses).where(
    tuple_(coupon_uses.c.rules, coupon_uses.c.code, coupon_uses.c.customer).in_(select(*_key.c)),
    coupon_uses.c.customer != EVERYONE,
    coupon_uses.c.used == 0,
)


def forget_customers(tx: Tx, order_ids: Collection[int]) -> None:
    """Let the uses of these orders count for all, and for nobody in particular any more. The caller
    holds the orders' locks, or that of the archive's rows."""
    found = tx.execute(_OF_CUSTOMERS, {"ids": pack(order_ids)})
    used = Counter(key for r in found for key in _keys(*r) if key[2] != EVERYONE)
    if not used:
        return
    keys = sorted(used)
    lock_used(tx, keys)
    tx.execute(_DISOWN, {"ids": pack(order_ids)})
    tx.execute(_GIVE, {"rows": pack((*key, used[key], None) for key in keys)})
    tx.execute(_FORGET, {"rows": pack(keys)})


def _keys(rules: str, code: str, customer: str, email_key: str) -> set[Key]:
    """What one redemption counts under."""
    return {(rules, code, each) for each in (EVERYONE, customer, email_key)}
