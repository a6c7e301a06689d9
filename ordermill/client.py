"""Where the client went."""

from __future__ import annotations

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__") and name != "__path__":  # what tools ask every module for
        raise AttributeError(name)
    raise ImportError(
        "the Python client is a distribution of its own, ordermill-client: "
        "install that, and write `from ordermill_client import Client`"
    )
