"""What a message must look like, and what is kept of one that can't be read."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from dramatiq import Message, MessageProxy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.problems import problems
from pipeline.redaction import redact

#: Where upstream systems put orders, and the actor that takes them in. Each step's actor is called as its
#: queue is.
INTAKE_QUEUE = "intake"
INTAKE_ACTOR = "accept_orders"

#: The actor that writes down what can't be read, on whatever queue it came.
PUT_ASIDE = "put_aside"

#: Characters that are kept of a message that can't be read, and bytes that are looked at for them.
MOST_KEPT = 64_000
_LOOKED_AT = MOST_KEPT + 1_000
#: Characters before a cut that may be the beginning of a secret.
_EDGE = 300
_LONGEST_WHY = 500

#: What a terminal would obey, and what a database can't store.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(r"\\u([0-9A-Fa-f]{4})")


class Unreadable(Exception):
    """A message that nobody can work on, whoever tries and how often: `why` says what is wrong."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = redact(why[:_LONGEST_WHY])


class _Envelope(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    message_timestamp: float = Field(0, ge=0, le=1e15)


class Quiet(MessageProxy):
    """A message that says in the log which it is, and not what is in it: that is people's."""

    def __str__(self) -> str:
        return f"{self.actor_name} {self.message_id}"

    __repr__ = __str__


def read(queue: str, actor: str, body: bytes) -> Message[Any]:
    """The message in `body`, which came on `queue` for `actor`; Unreadable says why there is none.

    Options are dramatiq's and ours to write: those that came are left out, as an `eta` or a callback
    would let a sender delay or chain what it has no business with.
    """
    try:
        told = json.loads(body)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"it is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise Unreadable(f"it is a {type(told).__name__} in JSON, expected an object")
    try:
        found = _Envelope.model_validate(told)
    except ValidationError as error:
        raise Unreadable("; ".join(map(str, problems(error)))) from None
    for name, value, wanted in (
        ("queue_name", found.queue_name, queue),
        ("actor_name", found.actor_name, actor),
    ):
        if value != wanted:
            raise Unreadable(f"{name}: got {value[:100]!r}, expected {wanted}")
    return Message(
        queue_name=queue,
        actor_name=actor,
        args=tuple(found.args),
        kwargs=found.kwargs,
        options={},
        message_id=found.message_id[:100],
        message_timestamp=int(found.message_timestamp),
    )


def fetched(queue: str, body: bytes | None) -> Message[Any]:
    """What came on `queue`; in place of what can't be read, a message that puts it aside. None: its
    id came, and its bytes are gone."""
    try:
        if body is None:
            raise Unreadable("its id is in the list, and its JSON is not in the hash")
        return read(queue, INTAKE_ACTOR if queue == INTAKE_QUEUE else queue, body)
    except Unreadable as error:
        return _for_put_aside(queue, body or b"", error.why)


def _for_put_aside(queue: str, body: bytes, why: str) -> Message[Any]:
    """It has what is kept of the other, and why that can't be read."""
    return Message(
        queue_name=queue,
        actor_name=PUT_ASIDE,
        args=(queue, why, kept(body), len(body)),
        kwargs={},
        options={},
    )


def kept(body: bytes) -> str:
    """`body` as text fit to be stored: without card numbers and secrets, and not too long."""
    text = body[:_LOOKED_AT].decode("utf-8", "backslashreplace")
    text = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)  # digits may be written so, too
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    found = redact(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))
    # Where it was cut off half a card number may stand, which nothing shows to be one.
    return (found[:-_EDGE] if len(body) > _LOOKED_AT else found)[:MOST_KEPT]
