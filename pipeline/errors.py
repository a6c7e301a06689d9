"""Every error of ours, drawn as one tree. Each message completes a sentence; ids are attributes.

OrdermillError
├── ConfigurationError      the deployer can mend it; the message says how
│   ├── SchemaOutdated
│   └── CodeOutdated        the database is newer than this code, and doesn't serve it
├── InvalidInput            a person or an upstream system sent something wrong
│   ├── UnknownSource
│   ├── UnknownOrder
│   ├── UnknownGateway
│   ├── UnknownEndpoint
│   ├── UnknownDelivery
│   ├── EndpointDisabled    nothing is delivered to a webhook's endpoint
│   ├── NotAllowedNow       right words, wrong moment (the order's status forbids it)
│   └── NotFulfilled        of a shipment or a return; pipeline.fulfilment has it
├── GatewayAway             a payment gateway's list could not be read to its end
├── FeedAway                a feed of stock counts gave no answer that can be used
├── DeliveryFailed          something that was to be told did not get to everyone it is for
├── MaybeDone               the database was lost while it committed: nobody knows whether it did
├── LeaseLost               another worker holds what we thought was ours; our work is discarded
└── InvariantBroken         a guard that must never fire has fired; the transaction is rolled back
"""

from __future__ import annotations


class OrdermillError(Exception):
    """The root: catch this to catch all of ours and nothing else."""


class ConfigurationError(OrdermillError):
    """Something a deployer set is missing or wrong."""


class SchemaOutdated(ConfigurationError):
    """The database's schema is not the one this code was written for."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database schema is at {found or 'nothing'}, this version needs {wanted}; "
            "run `ordermill db upgrade`"
        )
        self.found = found
        self.wanted = wanted


class CodeOutdated(ConfigurationError):
    """The database's schema is newer than this code, and doesn't name it among the code it serves."""

    def __init__(self, found: str, written_for: str, serves: list[str]) -> None:
        super().__init__(
            f"the database schema is at {found} and serves code that was written for "
            f"{', '.join(serves) or 'none'}; this code was written for {written_for}: "
            "install a newer version of Ordermill"
        )
        self.found = found
        self.written_for = written_for
        self.serves = serves


class InvalidInput(OrdermillError):
    """What was asked for can't be done as asked; nothing was changed."""


class UnknownSource(InvalidInput):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no source named {name!r}; `ordermill sources ls` shows those there are, "
            f"`ordermill sources set {name}` makes it"
        )
        self.name = name


class UnknownOrder(InvalidInput):
    def __init__(self, order_id: int | str) -> None:
        super().__init__(f"there is no order {order_id}")
        self.order_id = order_id


class UnknownGateway(InvalidInput):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no gateway named {name!r}; expected {', '.join(known)}")
        self.name = name


class UnknownEndpoint(InvalidInput):
    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"there is no webhook endpoint {endpoint_id}")
        self.endpoint_id = endpoint_id


class UnknownDelivery(InvalidInput):
    def __init__(self, delivery_id: int) -> None:
        super().__init__(f"there is no delivery {delivery_id} to this endpoint")
        self.delivery_id = delivery_id


class EndpointDisabled(InvalidInput):
    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"webhook endpoint {endpoint_id} is disabled: enable it first")
        self.endpoint_id = endpoint_id


class NotAllowedNow(InvalidInput):
    def __init__(self, order_id: int, status: str, action: str, instead: str = "") -> None:
        super().__init__(f"order {order_id} is {status} and can't be {action}{instead}")
        self.order_id = order_id
        self.status = status


class GatewayAway(OrdermillError):
    """The gateway gave no answer that can be trusted; what was read so far is not all there is."""


class FeedAway(OrdermillError):
    """A feed of stock counts gave no answer that can be used."""


class DeliveryFailed(OrdermillError):
    """Something that was to be told did not get to everyone it is for."""


class MaybeDone(OrdermillError):
    """The answer to a COMMIT was lost, and the server can't tell what became of it."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            "the database was lost while it recorded this: it may have been done, or not. Look "
            f"before you do it again. The cause: {cause}"
        )


class LeaseLost(OrdermillError):
    def __init__(self, token: str) -> None:
        super().__init__(f"lease {token} ran out and was taken over before its work was recorded")
        self.token = token


class InvariantBroken(OrdermillError):
    """A guard in the database refused what the code believed to be legal: a defect of ours."""
