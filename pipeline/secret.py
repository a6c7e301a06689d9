"""The secret that others are made of: endpoints' and the sandbox's."""

from __future__ import annotations

import base64
import os
import secrets
from contextlib import suppress

from pipeline.settings import Settings


def webhook_secret(settings: Settings) -> str:
    """The secret that was set, or one made once for the embedded home and kept in it."""
    given = settings.webhook_secret.get_secret_value()
    if given:
        return given
    kept = settings.home / "webhook-secret"
    if not kept.exists():
        fresh = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        with suppress(FileExistsError):
            os.link(
                fresh, kept
            )  # whole or not at all, and of processes that start at once the first
        fresh.unlink()
    return kept.read_text()
