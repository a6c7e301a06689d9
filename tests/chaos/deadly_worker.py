"""A worker as `ordermill worker` runs it, on a gateway that kills whoever charges a certain method."""

from __future__ import annotations

import os
import signal
from unittest.mock import patch

from ordermill.processes import run_until_signalled
from pipeline import assembly
from pipeline.payments.gateway import Answer, Call, Gateway
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from workers.process import WorkerProcess

DEADLY = "pm_deadly"


class DeadlyGateway(SandboxGateway):
    def perform(self, call: Call) -> Answer:
        if call.method == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().perform(call)


def work(settings: Settings) -> None:
    """Until killed or told to stop; the whole of a child process."""
    with patch.object(assembly, "open_gateways", _open):
        worker = WorkerProcess(settings)
    run_until_signalled(worker)


def _open(settings: Settings) -> dict[str, Gateway]:
    return {"sandbox": DeadlyGateway(settings.sandbox_book)}
