"""Messages on Redis: dramatiq's broker, with commands of our own under the same keys.

dramatiq's script names keys that it doesn't declare, calls KEYS, compares clients' clocks, and can't
fetch from a server that is full; and what it fetches it gives without its id, so that a message that
can't be read can't be taken away. These scripts do what it does with messages, and none of that:

- `ordermill:QUEUE`: ids of messages, a list; `ordermill:QUEUE.msgs`: their bytes by id, a hash;
- `ordermill:__acks__.WORKER.QUEUE`: ids that a worker has fetched, a set;
- `ordermill:__heartbeats__`: when workers fetched last, by the server's clock;
- `ordermill:QUEUE.XQ`, `ordermill:QUEUE.XQ.msgs`: dead letters.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

import redis
from dramatiq.broker import Consumer
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

from pipeline.chain import STEPS
from pipeline.telemetry.outage import Outage
from workers.messages import INTAKE_QUEUE, Quiet, fetched

log = logging.getLogger(__name__)

NAMESPACE = "ordermill"
QUEUES = (*STEPS, INTAKE_QUEUE)

#: Milliseconds without a sign of life before what a worker fetched goes back to its queue. Only
#: the intake queue needs it: everything else is announced again from the database.
HEARTBEAT_TIMEOUT = 5_000
#: Milliseconds that a dead letter is kept for.
DEAD_LETTERS_FOR = 7 * 86_400_000

#: Seconds that a consumer waits on an empty queue before it looks whether it should stop.
BLOCK = 0.5
#: Seconds before it tries again what failed; a server that is full is asked as often.
AGAIN = 0.2
#: Seconds between two looks at what others, or we ourselves, have fetched and lost, in a broker of this
#: process: there that can't happen, and only dead letters become too old. A server is looked at twice
#: in HEARTBEAT_TIMEOUT.
SELDOM = 60.0

# A server that is full must still be drained, and what fetches writes down what it fetched.
_ALLOW_OOM = b"#!lua flags=allow-oom\n"

# Asked for again as its answer was lost, it is in the queue once.
_ENQUEUE = b"""
if redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) == 1 then redis.call('RPUSH', KEYS[1], ARGV[1]) end
"""

# Up to ARGV[1] messages, as id, bytes, id, bytes; false where there are no bytes.
_FETCH = b"""
local at = redis.call('TIME')
redis.call('ZADD', KEYS[4], at[1] * 1000 + math.floor(at[2] / 1000), ARGV[2])
local found = {}
for _ = 1, tonumber(ARGV[1]) do
    local id = redis.call('LPOP', KEYS[1])
    if not id then break end
    redis.call('SADD', KEYS[3], id)
    found[#found + 1] = id
    found[#found + 1] = redis.call('HGET', KEYS[2], id)
end
return found
"""

# Whoever is no longer thought to have it must leave it to who has.
_ACK = b"""
if redis.call('SREM', KEYS[2], ARGV[1]) > 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""

_NACK = b"""
if redis.call('SREM', KEYS[2], ARGV[1]) == 0 then return end
local body = redis.call('HGET', KEYS[1], ARGV[1])
if body then
    local at = redis.call('TIME')
    redis.call('ZADD', KEYS[3], at[1] * 1000, ARGV[1])
    redis.call('HSET', KEYS[4], ARGV[1], body)
    redis.call('HDEL', KEYS[1], ARGV[1])
end
"""

_REQUEUE = b"""
for _, id in ipairs(ARGV) do
    if redis.call('SREM', KEYS[2], id) > 0 then redis.call('RPUSH', KEYS[1], id) end
end
"""

# What a worker had that is silent goes back to the queue KEYS[1]; the worker is forgotten once it has
# nothing of any queue. Dead letters that are too old go.
_BRING_BACK = b"""
local prefix, queue = ARGV[1], ARGV[2]
local at = redis.call('TIME')
local now = at[1] * 1000 + math.floor(at[2] / 1000)
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])) do
    local held = prefix .. worker .. '.' .. queue
    for _, id in ipairs(redis.call('SMEMBERS', held)) do
        redis.call('RPUSH', KEYS[1], id)
        redis.call('SREM', held, id)
    end
    local holds = 0
    for n = 5, #ARGV do holds = holds + redis.call('EXISTS', prefix .. worker .. '.' .. ARGV[n]) end
    if holds == 0 then redis.call('ZREM', KEYS[2], worker) end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[4], 'LIMIT', 0, 1000)) do
    redis.call('ZREM', KEYS[3], id)
    redis.call('HDEL', KEYS[4], id)
end
"""

_SCRIPTS = {
    "enqueue": _ENQUEUE,
    "fetch": _FETCH,
    "ack": _ACK,
    "nack": _NACK,
    "requeue": _REQUEUE,
    "bring_back": _BRING_BACK,
}


class HintBroker(RedisBroker):
    """Its consumers outlive whatever the server does, and tell of it once."""

    def __init__(self, client: Any, middleware: list[Middleware], *, is_fake: bool = False) -> None:
        super().__init__(  # type: ignore[no-untyped-call] # dramatiq's has no types
            client=client, middleware=middleware, namespace=NAMESPACE
        )
        #: Of a broker in this process: set when something comes into that queue. Nobody polls it.
        self.arrivals = {queue: threading.Event() for queue in QUEUES} if is_fake else None
        flags = b"" if is_fake else _ALLOW_OOM
        self.scripts = {name: client.register_script(flags + s) for name, s in _SCRIPTS.items()}
        self.outage = Outage(log, "messages can't be fetched")

    @property
    def consumer_class(self) -> type[HintConsumer]:
        return HintConsumer

    def declare_queue(self, queue_name: str) -> None:
        """As dramatiq's, but for the twin queue of delayed messages: nothing of ours is delayed."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def key(self, queue: str, suffix: str = "") -> str:
        return f"{NAMESPACE}:{queue}{suffix}"

    @property
    def heartbeats(self) -> str:
        return f"{NAMESPACE}:__heartbeats__"

    def fetched(self, queue: str) -> str:
        """The set of what we have fetched from `queue` and not acknowledged."""
        return f"{NAMESPACE}:__acks__.{self.broker_id}.{queue}"

    def do_enqueue(self, queue: str, message_id: str, body: bytes) -> None:
        keys = [self.key(queue), self.key(queue, ".msgs")]
        self.scripts["enqueue"](keys=keys, args=[message_id, body])
        self._wake(queue)

    def do_fetch(self, queue: str, most: int) -> list[tuple[bytes, bytes | None]]:
        """Up to so many messages, by their ids; None in place of bytes that are not there."""
        keys = [
            self.key(queue),
            self.key(queue, ".msgs"),
            self.fetched(queue),
            self.heartbeats,
        ]
        found = self.scripts["fetch"](keys=keys, args=[most, self.broker_id])
        return list(zip(found[::2], found[1::2], strict=True))

    def do_ack(self, queue: str, message_id: bytes) -> None:
        keys = [self.key(queue, ".msgs"), self.fetched(queue)]
        self.scripts["ack"](keys=keys, args=[message_id])

    def do_nack(self, queue: str, message_id: bytes) -> None:
        keys = [
            self.key(queue, ".msgs"),
            self.fetched(queue),
            self.key(queue, ".XQ"),
            self.key(queue, ".XQ.msgs"),
        ]
        self.scripts["nack"](keys=keys, args=[message_id])

    def do_requeue(self, queue: str, *message_ids: bytes) -> None:
        self.scripts["requeue"](keys=[self.key(queue), self.fetched(queue)], args=message_ids)
        self._wake(queue)

    def _wake(self, queue: str) -> None:
        if self.arrivals and queue in self.arrivals:
            self.arrivals[queue].set()

    def do_bring_back(self, queue: str) -> None:
        """Give back to `queue` what workers fetched that are silent now."""
        keys = [
            self.key(queue),
            self.heartbeats,
            self.key(queue, ".XQ"),
            self.key(queue, ".XQ.msgs"),
        ]
        prefix = f"{NAMESPACE}:__acks__."
        self.scripts["bring_back"](
            keys=keys, args=[prefix, queue, HEARTBEAT_TIMEOUT, DEAD_LETTERS_FOR, *QUEUES]
        )

    def do_strays(self, queue: str, in_hand: set[bytes]) -> list[tuple[bytes, bytes | None]]:
        """What we have fetched and know nothing of: its answer was lost, or its acknowledgement."""
        strays = sorted(self.client.smembers(self.fetched(queue)) - in_hand)
        if not strays:
            return []
        bodies = self.client.hmget(self.key(queue, ".msgs"), strays)
        return list(zip(strays, bodies, strict=True))


class HintConsumer(Consumer):
    """Blocks on an empty queue instead of polling it with a growing back-off.

    dramatiq's own consumer sleeps up to a second between looks; a chain of stages at rest then
    takes that long for each. BLMOVE from the head of the list to its head is a peek that waits.
    fakeredis doesn't wait, so a broker in this process says itself that something has arrived.
    """

    def __init__(self, broker: HintBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        self.broker = broker
        self.queue = queue_name
        self.prefetch = prefetch
        self._fetched: deque[tuple[bytes, bytes | None]] = deque()
        self._in_hand: set[bytes] = set()
        self._look_again = 0.0
        self._next_sign = 0.0

    def __next__(self) -> Quiet | None:
        try:
            if not self._fetched:
                self._fetch()
            self.broker.outage.worked()
        except redis.RedisError as error:
            self.broker.outage.failed(error)
            self._look_again = 0.0
            time.sleep(AGAIN)
        return self._message(*self._fetched.popleft()) if self._fetched else None

    def ack(self, message: Any) -> None:
        """If it can't be acknowledged it is worked on again, which does no harm: a hint is stale by
        then, and orders are duplicates."""
        self._end(message, self.broker.do_ack)

    def nack(self, message: Any) -> None:
        self._end(message, self.broker.do_nack)

    def close(self) -> None:
        names = [name for name, _ in self._fetched]
        self._fetched.clear()
        self._give_back(names)

    def requeue(self, messages: Any) -> None:
        """Give back what no thread has begun. If that fails it goes back once we are silent."""
        self._give_back([message.options["redis_message_id"] for message in messages])

    def _give_back(self, names: list[bytes]) -> None:
        try:
            if names:
                self.broker.do_requeue(self.queue, *names)
        except redis.RedisError as error:
            self.broker.outage.failed(error)
        finally:
            self._in_hand.difference_update(names)

    def _end(self, message: Any, how: Any) -> None:
        name = message.options["redis_message_id"]
        try:
            how(self.queue, name)
        except redis.RedisError as error:
            self.broker.outage.failed(error)
        finally:
            self._in_hand.discard(name)

    def _fetch(self) -> None:
        """Block for up to half a second, so that a stop is noticed; then fetch what there is."""
        room = self.prefetch - len(self._in_hand)
        if room <= 0:
            self._give_sign_of_life()
            time.sleep(0.01)
            return
        began = time.monotonic()
        found = self._peek()
        looks_again = began > self._look_again
        if looks_again:
            self._look_again = began + self._between_looks
            self._give_sign_of_life()  # first, or after an outage we would take from ourselves
            self.broker.do_bring_back(self.queue)
            # The set is read after what we know: what is acknowledged in between is in neither.
            self._fetched.extend(self.broker.do_strays(self.queue, set(self._in_hand)))
        if not self._fetched and (found or looks_again):
            self._fetched.extend(self.broker.do_fetch(self.queue, room))

    @property
    def _between_looks(self) -> float:
        return SELDOM if self.broker.arrivals else HEARTBEAT_TIMEOUT / 2_000

    def _give_sign_of_life(self) -> None:
        """A fetch is one, of no message too: others take what a silent worker has in hand."""
        if (now := time.monotonic()) > self._next_sign:
            self._next_sign = now + self._between_looks
            self.broker.do_fetch(self.queue, 0)

    def _peek(self) -> bool:
        key = self.broker.key(self.queue)
        if self.broker.arrivals:
            arrived = self.broker.arrivals[self.queue]
            arrived.clear()  # before the look: what comes after it wakes us
            return bool(self.broker.client.llen(key)) or arrived.wait(BLOCK)
        try:
            wait: Any = BLOCK  # redis-py's types know whole seconds only
            return self.broker.client.blmove(key, key, wait, "LEFT", "LEFT") is not None
        except redis.OutOfMemoryError:  # a move writes, so a server that is full refuses it
            time.sleep(AGAIN)
            return bool(self.broker.client.llen(key))

    def _message(self, name: bytes, body: bytes | None) -> Quiet:
        self._in_hand.add(name)
        return Quiet(fetched(self.queue, body).copy(options={"redis_message_id": name}))
