"""The reconciliation as the settings have it: what the job does, and the command without a feed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.errors import FeedAway
from pipeline.intake.files.lines import digest_of
from pipeline.intake.files.mapping import load
from pipeline.settings import Settings
from pipeline.stock_reconciliation.act import Plan
from pipeline.stock_reconciliation.counts import CountMapping
from pipeline.stock_reconciliation.download import download, name_of
from pipeline.stock_reconciliation.feeds import put_away, take
from pipeline.stock_reconciliation.reconcile import Feed, Reconciled, reconcile
from pipeline.storage import stock_feeds
from pipeline.storage.database import Database


def is_url(feed: str) -> bool:
    return feed.startswith(("http://", "https://"))


def reconcile_configured(database: Database, settings: Settings, plan: Plan) -> Reconciled:
    """Compare the books, and what the feed of the settings has that is new. A feed that is away
    holds up nothing else: `away` says why."""
    feeds: list[Feed] = []
    away = None
    try:
        feeds = _new(database, settings)
    except FeedAway as error:
        away = str(error)
    found = replace(reconcile(database, plan, feeds), away=away)
    for feed in feeds:
        is_ours = feed.path.parent == _answers(settings)
        if is_ours and feed.refused is None and not feed.tally.rejected:
            feed.path.unlink(missing_ok=True)  # the server has it
            if feed.rejects:
                feed.rejects.unlink(missing_ok=True)
        else:
            put_away(feed)
    return found


def _answers(settings: Settings) -> Path:
    return settings.home / "stock-feed"


def _new(database: Database, settings: Settings) -> list[Feed]:
    where = settings.stock_feed.get_secret_value()
    mapping = load(settings.stock_mapping, CountMapping) if settings.stock_mapping else None
    if not where:
        return []
    if not is_url(where):
        return take(database, Path(where), mapping)
    folder, name = _answers(settings), name_of(where)
    etags = _ask(database, where, folder, name)
    feeds = take(database, folder, mapping, settled=0)
    for feed in feeds:
        feed.name, feed.etag = name, etags.get(feed.digest)
    return feeds


def _ask(database: Database, url: str, folder: Path, name: str) -> dict[str, str | None]:
    """The new answer's ETag, by its digest."""
    with database.snapshot() as tx:
        known = stock_feeds.etag(tx, name)
    answer = download(url, folder, known)
    if answer is None:
        return {}
    path, etag = answer
    digest = digest_of(path)
    with database.transaction() as tx:
        if stock_feeds.is_read(tx, digest):  # the same under another ETag
            stock_feeds.finish(tx, digest, name, etag)
    return {digest: etag}
