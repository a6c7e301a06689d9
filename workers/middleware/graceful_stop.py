"""On stop, batches in hand finish the step they are at and are carried no further."""

from __future__ import annotations

from dramatiq import Broker, Middleware, Worker

from pipeline.engine.engine import Engine


class GracefulStop(Middleware):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._engine.stop()
