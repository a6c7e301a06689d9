"""A worker as `ordermill worker` runs it, but for a courier that takes everything at once."""

from collections.abc import Iterator, Sequence

from benchmarks.ours import settings
from ordermill.processes import run_until_signalled
from ordermill.session import configure_logging
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import Delivered, Delivery, Notification
from workers.process import WorkerProcess


class Sink:
    """A sender that takes everything, as the peers' does."""

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        return (Delivered() for _ in notifications)


if __name__ == "__main__":
    configure_logging(settings())
    run_until_signalled(WorkerProcess(settings(), courier=Courier(Sink(), Sink())))
