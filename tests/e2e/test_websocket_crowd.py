# SPDX-License-Identifier: MIT
"""Five thousand WebSockets of which a tenth never reads: the others get everything, and those cost little until they are cut."""

import resource
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.client import path_of, publish, subscribers
from support.redis import metric
from support.server import PATIENCE, Server, wait_until
from support.websocket import TEXT, WebSocket, frame_bytes

CROWD, LAZY_EVERY = 5000, 10
LAZY = CROWD // LAZY_EVERY
MESSAGES, MESSAGE_BYTES = 25, 8000
# The kernel keeps some 50 KB for each that does not read. The rest, if the server kept it, were 70 MB.
MOST_BYTES = 16 << 20

pytestmark = pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < CROWD + 500, reason=f"needs {CROWD + 500} descriptors")


@contextmanager
def crowd(server: Server, channel: str) -> Iterator[tuple[list[WebSocket], list[WebSocket]]]:
    """Those who read, and, among them, those who never do."""
    everybody = [WebSocket(server, path_of(channel), receive_buffer=0 if number % LAZY_EVERY else 4096) for number in range(CROWD)]
    wait_until(lambda: subscribers(server, channel)["websocket"] == CROWD, what="all subscriptions")
    try:
        yield [client for number, client in enumerate(everybody) if number % LAZY_EVERY], everybody[::LAZY_EVERY]
    finally:
        for client in everybody:
            client.close()


class Readers:
    def __init__(self, clients: list[WebSocket]) -> None:
        self.by_fd = {client.socket.fileno(): client for client in clients}
        self.epoll = select.epoll()
        for fd, client in self.by_fd.items():
            assert client.buffer == b""
            client.socket.setblocking(False)
            self.epoll.register(fd, select.EPOLLIN)

    def all_take(self, expected: bytes) -> None:
        """Each of them gets these bytes, and nothing else."""
        left = dict.fromkeys(self.by_fd, len(expected))
        while left:
            ready = self.epoll.poll(PATIENCE)
            assert ready, f"{len(left)} readers still wait"
            for fd, _ in ready:
                piece = self.by_fd[fd].socket.recv(65536)
                at = len(expected) - left.get(fd, 0)
                assert piece and piece == expected[at:at + len(piece)]
                left[fd] -= len(piece)
                if left[fd] == 0:
                    del left[fd]


def test_five_thousand_of_which_a_tenth_never_reads(channel: str) -> None:
    sent = b""
    with Server("--slow-client-timeout", "2", "--history-size", "100", "--websocket-ping", "0") as server, crowd(server, channel) as (reading, lazy):
        readers, held = Readers(reading), server.resident_bytes()

        def tell_all(text: str) -> bytes:
            publish(server, channel, text)
            frame = frame_bytes(TEXT, text, mask=None)
            readers.all_take(frame)
            assert server.resident_bytes() - held < MOST_BYTES
            return frame

        for number in range(MESSAGES):
            sent += tell_all(f"{number} {'x' * MESSAGE_BYTES}")
        wait_until(lambda: metric(server, "slow_clients_cut_total") == LAZY, what="the cut")
        assert subscribers(server, channel)["websocket"] == CROWD - LAZY
        tell_all("at last")
        assert metric(server, "slow_clients_cut_total") == LAZY
        for client in lazy:
            heard = client.read_to_end()
            assert len(heard) < len(sent) and sent.startswith(heard)
