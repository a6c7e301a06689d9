"""Pages: a person is called to an order that nothing more can be done for without one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.errors import ConfigurationError
from pipeline.notifications.message import Delivered, Delivery, Failed, Notification

log = logging.getLogger(__name__)


def text(page: Notification) -> tuple[str, str]:
    """Title and body. Nothing of the customer: pages travel through other people's systems."""
    what = page.topic.removeprefix("order.").replace("_", " ")
    title = f"Ordermill: order {page.order_id}: {what}"
    body = (
        f"Order {page.order_id} ({page.payload['external_id']} of {page.source}): {what}. "
        f"`ordermill orders show {page.order_id}` has the cause."
    )
    return title, body


class LogPager:
    """Where nobody is to be called: the log, at ERROR."""

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        for page in notifications:
            log.error("%s", text(page)[1])
            yield Delivered()


def open_apprise(urls: str, setting: str) -> Any:
    """Apprise with these URLs (pagerduty://…, slack://…, mailto://…), separated by commas or spaces.
    ConfigurationError names the `setting` that they are from."""
    try:
        import apprise
    except ImportError:
        raise ConfigurationError(
            f"{setting} needs the extra `pager`: pip install 'ordermill[pager]'"
        ) from None
    opened = apprise.Apprise()
    if not opened.add(urls):  # the URLs hold keys: they are not repeated here
        raise ConfigurationError(
            f"{setting} holds something that is no Apprise URL; "
            "https://github.com/caronc/apprise lists their forms"
        )
    return opened


class Pager:
    """Calls whoever `urls` name, by Apprise."""

    def __init__(self, urls: str) -> None:
        self._apprise = open_apprise(urls, "ORDERMILL_PAGER")

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        """As in `Sender`. Delivered means by all of them: one that fails is tried again with all,
        as a page too many is better than one too few."""
        for page in notifications:
            title, body = text(page)
            if self._apprise.notify(title=title, body=body):
                yield Delivered()
            else:
                yield Failed("the pager could not be reached at one of its addresses")
