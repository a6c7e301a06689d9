"""poll-gateways: reads what gateways list of events, and processes whatever is not processed yet.

So an event that never came, or was taken in by a process that died, is a minute late.
"""

from __future__ import annotations

from pipeline.assembly import Application
from scheduler.job import Every, Job


def poll_gateways(app: Application) -> dict[str, int]:
    """How many events were processed, and how many gateways could not be read."""
    return app.gateway_events.poll()


JOB = Job("poll-gateways", Every(60), "read gateways' lists of events", poll_gateways)
