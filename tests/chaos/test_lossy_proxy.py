"""The proxy harms in the ways that it names, and in no other."""

from __future__ import annotations

import socket
import struct

from sqlalchemy import make_url

from tests.chaos.lossy_proxy import lossy_proxy

RESETS = struct.pack("ii", 1, 0)  # closed so, a socket tells its peer nothing but that


def test_who_waits_for_an_answer_learns_that_the_server_has_reset_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with lossy_proxy(f"postgresql://ada@127.0.0.1:{port}/orders") as proxy:
            to = make_url(proxy.through)
            with socket.create_connection((to.host, to.port), timeout=20) as client:
                server, _ = listener.accept()
                client.sendall(b"a question")
                assert server.recv(100) == b"a question"
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
                server.close()
                assert client.recv(100) == b""
