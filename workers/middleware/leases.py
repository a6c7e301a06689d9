"""Keeps the leases of work in hand, from the worker's start to its end."""

from __future__ import annotations

from dramatiq import Broker, Middleware, Worker

from pipeline.engine.engine import Engine


class KeepLeases(Middleware):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._engine.leases.start()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._engine.leases.stop()
