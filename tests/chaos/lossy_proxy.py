"""A proxy on Postgres's wire protocol that can lose the answer to a COMMIT: done, but who knows?"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import URL, make_url

#: CommandComplete as the server sends it: type, length, tag.
COMMITTED = b"C" + (4 + len(b"COMMIT\0")).to_bytes(4) + b"COMMIT\0"


class LossyProxy:
    """Forwards connections to the Postgres at `url`; `through` is the URL that leads through it."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._until_loss: int | None = None
        self.lost = 0
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

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
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
        with suppress(OSError), client, server:
            while data := client.recv(65_536):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := server.recv(65_536):
                if self._loses(data):
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def _loses(self, data: bytes) -> bool:
        """A COMMIT is sent alone, so its answer comes in one piece, at the start."""
        with self._lock:
            if self._until_loss is None or not data.startswith(COMMITTED):
                return False
            self._until_loss -= 1
            if self._until_loss:
                return False
            self._until_loss = None
            self.lost += 1
            return True


@contextmanager
def lossy_proxy(url: str) -> Iterator[LossyProxy]:
    proxy = LossyProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
