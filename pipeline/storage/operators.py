"""Operators, their sessions, and how often somebody tried to sign in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from sqlalchemy import and_, bindparam, case, delete, func, select, update

from pipeline.errors import InvalidInput
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import operator_sessions, operators, sign_ins
from pipeline.storage.upsert import insert_into

#: Seconds after which a session ends: without a request, and in any case.
IDLE = 3600.0
LONGEST = 12 * 3600.0
#: A session's last request is written down no more often than this.
TOUCH = 60.0
#: Seconds for which attempts to sign in are counted.
WINDOW = 900.0

_ALL = select(
    operators.c.id, operators.c.name, operators.c.role, operators.c.created_at,
    operators.c.disabled_at, func.max(operator_sessions.c.seen_at).label("seen_at"),
).outerjoin(operator_sessions).group_by(operators.c.id).order_by(operators.c.name)  # fmt: skip
_named = operators.c.name == bindparam("of_name")
_ONE = select(operators).where(_named)


def create(tx: Tx, name: str, role: str, password: str) -> None:
    """Make an operator, with a password as it is kept; InvalidInput if there is one of that name."""
    row = insert_into(tx, operators).values(
        name=name, role=role, password=password, created_at=now()
    )
    if not tx.execute(row.on_conflict_do_nothing()).rowcount:
        raise InvalidInput(f"there is an operator {name!r} already")


def all_operators(tx: Tx) -> list[Any]:
    """All operators, with when each was last seen; never their passwords."""
    return list(tx.execute(_ALL))


def one(tx: Tx, name: str) -> Any:
    """The operator of that name, or None."""
    return tx.execute(_ONE, {"of_name": name}).one_or_none()


def change(tx: Tx, name: str, **changes: object) -> None:
    """Set columns of an operator, and sign him out everywhere: a browser that is signed in must
    not outlive a change of what its operator may do. InvalidInput if there is none."""
    found = tx.execute(
        update(operators).where(_named).values(changes).returning(operators.c.id),
        {"of_name": name},
    ).scalar_one_or_none()
    if found is None:
        raise InvalidInput(f"there is no operator {name!r}; `ordermill operators ls` lists them")
    sign_out_everywhere(tx, found)


def disable(tx: Tx, name: str) -> None:
    change(tx, name, disabled_at=now())


# --- Sessions --------------------------------------------------------------------------------------

_this = operator_sessions.c.digest == bindparam("of_digest")
_lives = and_(
    operator_sessions.c.seen_at > now(-IDLE), operator_sessions.c.created_at > now(-LONGEST)
)
_SESSION = (
    select(
        operators.c.id, operators.c.name, operators.c.role, operators.c.password,
        operator_sessions.c.csrf, operator_sessions.c.flash, operator_sessions.c.confirmed_at,
        (operator_sessions.c.seen_at < now(-TOUCH)).label("is_stale"),
    )
    .join(operators, operators.c.id == operator_sessions.c.operator_id)
    .where(_this, _lives, operators.c.disabled_at.is_(None))
)  # fmt: skip
_TOUCH = update(operator_sessions).where(_this).values(seen_at=now())
_CONFIRM = update(operator_sessions).where(_this).values(confirmed_at=now())
_FLASH = update(operator_sessions).where(_this).values(flash=bindparam("says"))
_END = delete(operator_sessions).where(_this)
_END_ALL = delete(operator_sessions).where(operator_sessions.c.operator_id == bindparam("whose"))
_FORGET = delete(operator_sessions).where(~_lives)
_RECENT = select(operator_sessions.c.digest).where(
    _this, operator_sessions.c.confirmed_at > now(bindparam("offset"))
)


def digest(session_id: str) -> str:
    """What is kept of a session's id."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def sign_in(tx: Tx, operator_id: int, session_id: str, csrf: str) -> None:
    """Begin a session; those that are over are forgotten."""
    tx.execute(_FORGET)
    tx.execute(
        operator_sessions.insert().values(
            digest=digest(session_id), operator_id=operator_id, csrf=csrf, created_at=now(),
            seen_at=now(), confirmed_at=now(),
        )
    )  # fmt: skip


def session(tx: Tx, session_id: str) -> Any:
    """The operator of a session that lives, with `csrf`, `flash`, and `is_stale` if its last
    request is to be written down again; None if it is over, or the operator is disabled."""
    return tx.execute(_SESSION, {"of_digest": digest(session_id)}).one_or_none()


def touch(tx: Tx, session_id: str) -> None:
    tx.execute(_TOUCH, {"of_digest": digest(session_id)})


def confirm(tx: Tx, session_id: str) -> None:
    """The password was given again."""
    tx.execute(_CONFIRM, {"of_digest": digest(session_id)})


def is_confirmed(tx: Tx, session_id: str, seconds: float) -> bool:
    """Whether the password was given in the last `seconds`."""
    values = {"of_digest": digest(session_id), "offset": -seconds}
    return tx.execute(_RECENT, values).one_or_none() is not None


def flash(tx: Tx, session_id: str, says: str | None) -> None:
    """What the session's next page says; None: nothing."""
    tx.execute(_FLASH, {"of_digest": digest(session_id), "says": says and says[:255]})


def sign_out(tx: Tx, session_id: str) -> None:
    tx.execute(_END, {"of_digest": digest(session_id)})


def sign_out_everywhere(tx: Tx, operator_id: int) -> int:
    """End all of an operator's sessions; how many."""
    return int(tx.execute(_END_ALL, {"whose": operator_id}).rowcount)


# --- Attempts --------------------------------------------------------------------------------------

_is_old = sign_ins.c.since < now(-WINDOW)
_OLD = delete(sign_ins).where(_is_old)
_PARDON = delete(sign_ins).where(sign_ins.c.key == bindparam("of_key"))


def attempt(tx: Tx, keys: Iterable[str]) -> dict[str, int]:
    """Count an attempt against each of the keys, before the password is looked at; how many each has
    had in the window, this one among them. One statement a key, under its row's lock: attempts at
    once are all counted."""
    tx.execute(_OLD)
    made = {}
    for key in sorted(keys):
        row = insert_into(tx, sign_ins).values(key=_key(key), attempts=1, since=now())
        counted = row.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "attempts": case((_is_old, 1), else_=sign_ins.c.attempts + 1),
                "since": case((_is_old, now()), else_=sign_ins.c.since),
            },
        ).returning(sign_ins.c.attempts)
        made[key] = int(tx.execute(counted).scalar_one())
    return made


def pardon(tx: Tx, key: str) -> None:
    """Forget the attempts under a key."""
    tx.execute(_PARDON, {"of_key": _key(key)})


def _key(key: str) -> str:
    # People type passwords where a name is asked for: what was typed is not kept.
    return hashlib.sha256(key.encode()).hexdigest()
