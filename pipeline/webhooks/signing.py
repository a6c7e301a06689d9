"""Signatures as Standard Webhooks has them (standardwebhooks.com), and where secrets come from."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from standardwebhooks import Webhook

from pipeline.errors import ConfigurationError


@lru_cache(maxsize=1000)
def derive_secret(master: str, seed: str) -> str:
    """The secret of that seed: made of the one we keep, so none is stored."""
    digest = hmac.new(master.encode(), seed.encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(digest).decode()}"


class Signer:
    """Signs, with secrets that are made of the `master`."""

    def __init__(self, master: str) -> None:
        if not master:
            raise ConfigurationError("webhooks can't be signed with an empty secret; set one")
        self._master = master

    def secret(self, seed: str) -> str:
        return derive_secret(self._master, seed)

    def headers(self, seeds: Sequence[str], message_id: str, body: str) -> dict[str, str]:
        """What goes with a body, now: a signature by the secret of each seed."""
        now = datetime.now(UTC)
        signatures = (Webhook(self.secret(seed)).sign(message_id, now, body) for seed in seeds)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
