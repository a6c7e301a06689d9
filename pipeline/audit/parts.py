"""What the rules' statements are made of: each part named by what its rows are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Select,
    String,
    Subquery,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from pipeline.chain import CHAINS, Chain
from pipeline.order import SETTLED, Status
from pipeline.storage.payments import bounced
from pipeline.storage.sql import members
from pipeline.storage.tables import dispatches, orders, payment_tasks, stock_levels
from pipeline.storage.tables import payment_operations as ops


def count(of: FromClause, *where: ColumnElement[bool]) -> Select[Any]:
    return select(func.count()).select_from(of).where(*where)


def units(amount: Any, where: ColumnElement[bool]) -> ColumnElement[int]:
    """The sum of `amount` over the rows of a group that meet `where`."""
    return func.sum(case((where, amount), else_=0))


def is_settled() -> ColumnElement[bool]:
    return orders.c.status.in_(sorted(SETTLED))


def past(stage: str) -> ColumnElement[bool]:
    """Orders on their way, or at its end, that have `stage` behind them. Those on hold or being
    cancelled are not among them: they may or may not have."""
    return or_(
        *(
            and_(orders.c.chain == chain.name, orders.c.status.in_(_statuses_past(chain, stage)))
            for chain in CHAINS.values()
        )
    )


def at(stage: str) -> ColumnElement[bool]:
    """Orders that are at `stage`; false, not null, for those that are at none any more."""
    return func.coalesce(orders.c.stage, "") == stage


def _statuses_past(chain: Chain, stage: str) -> list[Status]:
    stages = [link.stage for link in chain.links]
    behind = stages.index(stage)
    waits_for_stock = [Status.BACKORDERED] if stages.index("reserve") > behind else []
    return [link.target for link in chain.links[behind:]] + waits_for_stock


def memberships() -> Subquery:
    """Every order in a dispatch: order_id, dispatch_id, step."""
    member = members(dispatches.c.order_ids)
    return (
        select(
            cast(cast(member.c.value, String), BigInteger).label("order_id"),
            dispatches.c.id.label("dispatch_id"),
            dispatches.c.step,
        )
        .select_from(dispatches.join(member, true()))
        .subquery("memberships")
    )


def level_differences(total: Column[int], units: Column[int]) -> Select[Any]:
    """Levels at which a running `total` (of stock_levels) is not the sum of `units`, of rows with a sku
    and a location: sku, location, total, rows (that sum). Both sides as rows of one table, so that
    what is on one side only shows too."""
    level, rows, nothing = stock_levels.c, units.table, literal(0)
    sides = union_all(
        select(level.sku, level.location, total.label("total"), nothing.label("rows")),
        select(rows.c.sku, rows.c.location, nothing, units),
    ).subquery("sides")
    on_total, on_rows = func.sum(sides.c.total), func.sum(sides.c.rows)
    return (
        select(sides.c.sku, sides.c.location, on_total.label("total"), on_rows.label("rows"))
        .group_by(sides.c.sku, sides.c.location)
        .having(on_total != on_rows)
    )


def open_operations() -> Subquery:
    """What was asked for and has not ended, and nobody has a task to do: order_id, key, kind,
    amount. It may have happened."""
    asked, end = ops.alias("asked"), ops.alias("ended")
    has_ended = exists().where(
        end.c.order_id == asked.c.order_id,
        end.c.key == asked.c.key,
        end.c.state.in_(["succeeded", "failed"]),
    )
    has_task = exists().where(
        payment_tasks.c.order_id == asked.c.order_id, payment_tasks.c.key == asked.c.key
    )
    return (
        select(asked.c.order_id, asked.c.key, asked.c.kind, asked.c.amount)
        .where(asked.c.state == "requested", ~has_ended, ~has_task)
        .subquery("open_operations")
    )


def accounts() -> Subquery:
    """What happened to the money of each order: order_id, authorized, captured, refunded, lost (in
    disputes), voids. A refund that bounced gave nothing back."""
    return (
        select(
            ops.c.order_id,
            units(ops.c.amount, ops.c.kind == "authorize").label("authorized"),
            units(ops.c.amount, ops.c.kind == "capture").label("captured"),
            units(ops.c.amount, ops.c.kind == "refund").label("refunded"),
            units(ops.c.amount, ops.c.kind == "dispute").label("lost"),
            units(1, ops.c.kind == "void").label("voids"),
        )
        .where(ops.c.state == "succeeded", ~bounced(ops))
        .group_by(ops.c.order_id)
        .subquery("accounts")
    )
