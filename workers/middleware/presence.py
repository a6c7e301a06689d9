"""Shows the worker in the registry of processes while it runs."""

from __future__ import annotations

from dramatiq import Broker, Middleware, Worker

from pipeline.presence import Presence


class ShowPresence(Middleware):
    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._presence.start()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._presence.stop()
