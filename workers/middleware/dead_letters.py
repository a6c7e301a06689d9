"""Keeps the message of an actor that raised, in the broker's dead-letter queue.

dramatiq acknowledges it otherwise, unless its Retries middleware is there. For a step that would
not matter (its dispatch remains); for the intake the message is all there is of the orders in it.
"""

from __future__ import annotations

from typing import Any

from dramatiq import Broker, MessageProxy, Middleware


class KeepDeadLetters(Middleware):
    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is not None:
            message.fail()
