"""Which counts were read: each once, by what is in them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, select, update

from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows
from pipeline.storage.tables import stock_feeds as feeds
from pipeline.storage.upsert import InsertNew

_new = rows(feeds.c.digest, feeds.c.name)
_BEGIN = InsertNew(feeds, ["digest", "name", "begun_at"], select(*_new.c, now()))
_this = feeds.c.digest == bindparam("of_digest")
_AGAIN = (
    update(feeds).where(_this, feeds.c.finished_at.is_not(None))
    .values(begun_at=now(), finished_at=None)
)  # fmt: skip
_BEGUN = select(feeds.c.begun_at).where(_this)
_FINISH = (
    update(feeds)
    .where(_this)
    .values(finished_at=now(), name=bindparam("its_name"), etag=bindparam("its_etag"))
)
_READ = select(feeds.c.digest).where(_this, feeds.c.finished_at.is_not(None))
_ETAG = (
    select(feeds.c.etag)
    .where(feeds.c.name == bindparam("of_name"), feeds.c.finished_at.is_not(None))
    .order_by(feeds.c.finished_at.desc())
    .limit(1)
)


def begin(tx: Tx, digest: str, name: str) -> datetime:
    """When the reading of it began: of one that broke off, the first time."""
    _BEGIN(tx, {"rows": pack([(digest, name)])})
    tx.execute(_AGAIN, {"of_digest": digest})
    begun: datetime = tx.execute(_BEGUN, {"of_digest": digest}).scalar_one()
    return begun


def finish(tx: Tx, digest: str, name: str, etag: str | None) -> None:
    """It has been read to its end; `etag` is what its server calls it."""
    tx.execute(_FINISH, {"of_digest": digest, "its_name": name, "its_etag": etag})


def forget(tx: Tx, digest: str) -> None:
    """None of it was read."""
    tx.execute(delete(feeds).where(_this), {"of_digest": digest})


def is_read(tx: Tx, digest: str) -> bool:
    return tx.execute(_READ, {"of_digest": digest}).first() is not None


def etag(tx: Tx, name: str) -> str | None:
    """What the server called the last answer that was read."""
    return tx.execute(_ETAG, {"of_name": name}).scalar_one_or_none()
