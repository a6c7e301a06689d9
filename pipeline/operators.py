"""Operators: people who may sign in to the console, what each role may do, and their passwords."""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from pipeline.errors import InvalidInput

#: Of a password, in signs. Length is what counts; nothing is asked of which signs they are.
SHORTEST, LONGEST = 10, 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")

# Each takes 64 MiB while it is computed: strangers must not make us compute many at once.
_hashing = threading.BoundedSemaphore(2)


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"  # look at everything
    OPERATOR = "operator"  # and act on orders, queues, jobs and stock
    ADMIN = "admin"  # and read what all operators did

    def may(self, needed: Role) -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


def valid_name(name: str) -> str:
    """`name`, if an operator may have it; it stands in every timeline he leaves a mark on."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"name: got {name[:64]!r}, expected 1 to 32 of a-z, 0-9, '.', '_' and '-'"
        )
    return name


def valid_role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise InvalidInput(f"role: got {role!r}, expected {', '.join(Role)}") from None


def hash_password(password: str) -> str:
    """As it is kept; InvalidInput if it is too short or too long. It is never repeated."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(
            f"the password has {len(password)} characters, expected {SHORTEST} to {LONGEST}"
        )
    with _hashing:
        return _hasher().hash(password)


def is_password(kept: str | None, given: str) -> bool:
    """Whether `given` is the password. For nobody (None) it takes as long to say no."""
    with _hashing:
        try:
            return _hasher().verify(kept or _nobodys(), given[:LONGEST]) and kept is not None
        except VerifyMismatchError:
            return False


@cache
def _nobodys() -> str:
    return _hasher().hash("nobody has this password")


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()  # RFC 9106's parameters for little memory: 64 MiB, three passes
