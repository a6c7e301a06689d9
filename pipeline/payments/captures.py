"""The one capture of what an order has authorized: what is due, and whether it may be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import InvalidInput
from pipeline.money import to_text
from pipeline.payments import amounts
from pipeline.payments.account import Account, Operation, fold, follow_up, latest_of
from pipeline.payments.gateway import capture_key
from pipeline.payments.gateways import moves_money


def wanted(
    order_id: int, written: Sequence[Operation], unpaid: int, amount: int | None = None
) -> Operation:
    """The capture of all that is due, or `amount`, to be requested; `unpaid` of what was authorized
    is due no more. InvalidInput says why there can't be one."""
    account = fold(written)
    authorization = authorization_of(order_id, account)
    if not moves_money(authorization.gateway):
        raise InvalidInput(
            f"order {order_id} is paid by hand: record the money with "
            f"`ordermill orders capture {order_id} --reference …`"
        )
    _none_yet(order_id, account, written)
    due = authorization.amount - unpaid
    amount = due if amount is None else amount
    what = "are due" if unpaid else "are authorized"
    require_within(order_id, amount, due, authorization.currency, what)
    require_payable(order_id, amount, authorization)
    return follow_up(authorization, "capture", amount, capture_key(authorization.key))


def due(account: Account, unpaid: int) -> int:
    """What is to be captured of a confirmed order: nothing of one that was free, or of whose goods
    all that was authorized was cancelled (`unpaid`)."""
    return account.authorization.amount - unpaid if account.authorization else 0


def authorization_of(order_id: int, account: Account) -> Operation:
    if account.authorization is None:
        raise InvalidInput(f"order {order_id} has no payment")
    return account.authorization


def is_asked_for(account: Account) -> bool:
    """Whether the capture was made, or is under way."""
    return bool(account.captured) or account.open_of("capture") is not None


def _none_yet(order_id: int, account: Account, written: Sequence[Operation]) -> None:
    if account.voided:
        raise InvalidInput(f"order {order_id}: its authorization was voided")
    known = next((op for op in latest_of(written) if op.kind == "capture"), None)
    if known is not None:
        of = f"{to_text(known.amount, known.currency)} {known.currency}"
        how = {"succeeded": "was made", "failed": "failed"}.get(known.state, "is under way")
        raise InvalidInput(
            f"order {order_id}: an authorization has one capture, and that of {of} {how}"
        )


def require_payable(order_id: int, amount: int, authorization: Operation) -> None:
    """InvalidInput unless the gateway takes such an amount."""
    if amount % (step := amounts.step_of(authorization)):
        currency = authorization.currency
        raise InvalidInput(
            f"order {order_id}: {authorization.gateway} takes multiples of "
            f"{to_text(step, currency)} {currency}, {to_text(amount, currency)} were asked for"
        )


def require_within(order_id: int, amount: int, most: int, currency: str, what: str) -> None:
    """InvalidInput unless 0 < amount ≤ most (minor units)."""
    if not 0 < amount <= most:
        raise InvalidInput(
            f"order {order_id}: {to_text(most, currency)} {currency} {what}, "
            f"{to_text(amount, currency)} were asked for"
        )
