"""Pages: a person is called to an order that nothing more can be done for without one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from pipeline.errors import ConfigurationError
from pipeline.notifications.message import Delivered, Delivery, Failed, Notification

log = logging.getLogger(__name__)


def text(page: Notification) -> tuple[str, str]:
    """Title and body. Nothing of the customer: pages travel through other people's systems."""
    what = page.topic.partition("#")[0].removeprefix("order.").replace("_", " ")
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


class Pager:
    """Calls whoever `urls` name: Apprise URLs (pagerduty://…, slack://…, mailto://…), separated by
    commas or spaces."""

    def __init__(self, urls: str) -> None:
        try:
            import apprise
        except ImportError:
            raise ConfigurationError(
                "ORDERMILL_PAGER needs the extra `pager`: pip install 'ordermill[pager]'"
            ) from None
        self._apprise = apprise.Apprise()
        if not self._apprise.add(urls):  # the URLs hold keys: they are not repeated here
            raise ConfigurationError(
                "ORDERMILL_PAGER holds something that is no Apprise URL; "
                "https://github.com/caronc/apprise lists their forms"
            )

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        """As in `Sender`. Delivered means by all of them: one that fails is tried again with all,
        as a page too many is better than one too few."""
        for page in notifications:
            title, body = text(page)
            if self._apprise.notify(title=title, body=body):
                yield Delivered()
            else:
                yield Failed("the pager could not be reached at one of its addresses")
