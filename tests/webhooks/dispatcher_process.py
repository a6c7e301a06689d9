"""A dispatcher in a process of its own, for a test to kill."""

from __future__ import annotations

import sys

from pipeline.storage.database import Database
from pipeline.webhooks.dispatcher import Dispatcher
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import parse_allowed

if __name__ == "__main__":
    url, master = sys.argv[1:]
    Dispatcher(Database(url), Signer(master), parse_allowed("127.0.0.1")).deliver()
