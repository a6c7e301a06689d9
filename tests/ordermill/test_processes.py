"""What the processes are made of."""

from __future__ import annotations

import socket

from ordermill.processes import _listen


def test_an_answer_is_sent_at_once_though_it_is_written_in_two_pieces() -> None:
    with (
        _listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        accepted, _ = listening.accept()

    with accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
