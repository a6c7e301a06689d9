"""The database's clock: the only one that all processes agree on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from pipeline.storage.database import Tx
from pipeline.storage.sql import now


def read(tx: Tx) -> datetime:
    return tx.execute(select(now().label("now"))).scalar_one()
