"""A proxy on Postgres's wire protocol that can lose the answer to a COMMIT: done, but who knows? Or
lose the COMMIT itself: to who sent it that looks the same.

It can also stand still, and cut every connection. `remote_proxy` has it in a process of its own, so
that a busy test doesn't slow down what passes through it.
"""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from typing import Any

from sqlalchemy import URL, make_url

#: CommandComplete as the server sends it: type, length, tag.
COMMITTED = b"C" + (4 + len(b"COMMIT\0")).to_bytes(4) + b"COMMIT\0"
#: A query as psycopg sends it: type, length, text.
COMMIT = b"Q" + (4 + len(b"COMMIT\0")).to_bytes(4) + b"COMMIT\0"
#: Of the commits in a window of losses: so many lose their answer, so many are cut off as they are sent.
ANSWERS_LOST, CUT_AS_SENT = 0.4, 0.25


class LossyProxy:
    """Forwards connections to the Postgres at `url`; `through` is the URL that leads through it."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._until_loss: int | None = None
        self._until_cut: int | None = None
        self._losing_until = 0.0
        self._flowing = threading.Event()
        self._flowing.set()
        self._clients: set[socket.socket] = set()
        self.lost = 0
        self.cut_as_sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def through(self) -> str:
        host, port = self._listener.getsockname()
        # Encrypted, we could not read along.
        query = {"sslmode": "disable", "gssencmode": "disable"}
        url: URL = self._server.set(host=host, port=port, query=query)
        return url.render_as_string(hide_password=False)

    def lose_answer_of_commit(self, number: int) -> None:
        """Of the commits from now on, cut the connection instead of answering the `number`th."""
        with self._lock:
            self._until_loss = number

    def lose_commit(self, number: int) -> None:
        """Of the commits from now on, cut the connection instead of passing the `number`th on."""
        with self._lock:
            self._until_cut = number

    def lose_commits_for(self, seconds: float) -> tuple[int, int]:
        """Lose the answer of many commits, and cut others off as they are sent; how many of each."""
        with self._lock:
            before = self.lost, self.cut_as_sent
            self._losing_until = time.monotonic() + seconds
        time.sleep(seconds)
        return self.lost - before[0], self.cut_as_sent - before[1]

    def stall(self, seconds: float) -> None:
        """Nothing passes, either way, and nothing is cut: a network that drops packets."""
        self._flowing.clear()
        time.sleep(seconds)
        self._flowing.set()

    def cut_all(self) -> int:
        """Cut every connection that there is; how many there were."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        return len(clients)

    def address(self) -> str:
        """`through`, for who asks from another process."""
        return self.through

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = self._connect()
                except OSError:  # it is away: so is who asks for it here
                    client.close()
                    continue
                with self._lock:
                    self._clients.add(client)
                for forward in (self._ask, self._answer):
                    threading.Thread(target=forward, args=(client, server), daemon=True).start()

    def _connect(self) -> socket.socket:
        host = self._server.query.get("host", self._server.host or "localhost")
        port = self._server.port or 5432
        if isinstance(host, str) and host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((str(host), port))

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with _ended_together(client, server):
            while data := client.recv(65_536):
                self._flowing.wait()
                if self._cuts(data):
                    break
                server.sendall(data)
                if self._cuts_as_sent(data):
                    break

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with _ended_together(client, server):
            while data := server.recv(65_536):
                self._flowing.wait()
                if self._loses(data):
                    break
                client.sendall(data)
        with self._lock:
            self._clients.discard(client)

    def _loses(self, data: bytes) -> bool:
        """A COMMIT is sent alone, so its answer comes in one piece, at the start."""
        with self._lock:
            if not data.startswith(COMMITTED):
                return False
            if time.monotonic() < self._losing_until and random.random() < ANSWERS_LOST:
                self.lost += 1
                return True
            if self._until_loss is None:
                return False
            self._until_loss -= 1
            if self._until_loss:
                return False
            self._until_loss = None
            self.lost += 1
            return True

    def _cuts(self, data: bytes) -> bool:
        with self._lock:
            if self._until_cut is None or data != COMMIT:
                return False
            self._until_cut -= 1
            if self._until_cut:
                return False
            self._until_cut = None
            self.lost += 1
            return True

    def _cuts_as_sent(self, data: bytes) -> bool:
        """Cut off as it is sent, a commit may have arrived, or not."""
        with self._lock:
            if time.monotonic() > self._losing_until or data != COMMIT:
                return False
            cuts = random.random() < CUT_AS_SENT
            self.cut_as_sent += cuts
            return cuts


@contextmanager
def _ended_together(client: socket.socket, server: socket.socket) -> Iterator[None]:
    """However the block ends, a server's reset among it, both sides learn of it: closing alone would
    leave open what the thread of the other direction waits for, and its client waits for ever."""
    with suppress(OSError):
        yield
    for each in (client, server):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def lossy_proxy(url: str) -> Iterator[LossyProxy]:
    proxy = LossyProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()


class _Manager(BaseManager):
    pass


_Manager.register("LossyProxy", LossyProxy)


@contextmanager
def remote_proxy(url: str) -> Iterator[Any]:
    """A LossyProxy in a process of its own; its methods can be called, and `address` asked."""
    manager = _Manager(ctx=get_context("spawn"))
    manager.start(signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield manager.LossyProxy(url)  # type: ignore[attr-defined] # registered above
    finally:
        manager.shutdown()
