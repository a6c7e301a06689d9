"""The home's folder: orders, mails, keys and hashes of passwords are for nobody else to read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

#: What the embedded home has in it. A folder with other things only was made for these.
_OURS = ("ordermill.db", "sandbox-gateway.db", "webhook-secret", "mail")


def folder(home: Path) -> None:
    """Make the home, for its owner alone; close one of ours that others can look into."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_open(home) and _is_ours(home):
        with suppress(OSError):  # `check` says so
            home.chmod(0o700)


def is_open(home: Path) -> bool:
    """Whether others than its owner may look into it."""
    return os.name == "posix" and home.is_dir() and bool(home.stat().st_mode & 0o077)


def _is_ours(home: Path) -> bool:
    """A folder for the home alone: not one where somebody works, or that all share."""
    its = home.stat()
    if its.st_uid != os.geteuid() or its.st_mode & stat.S_ISVTX:
        return False
    if Path.cwd().is_relative_to(home.resolve()) or Path.home().is_relative_to(home.resolve()):
        return False
    names = {each.name for each in home.iterdir()}
    return not names or not names.isdisjoint(_OURS)
