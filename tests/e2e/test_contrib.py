# SPDX-License-Identifier: MIT
"""contrib/cluster/run, as somebody who plays with it runs it: one node tells what another was given."""

import os
import signal
import socket
import subprocess

from support.client import LineStream, path_of, publish
from support.redis import Port
from support.server import PATIENCE, SLUICE, SOURCE, Server, wait_until


class Node(Server):
    """Not started here: only its port is known."""

    def __init__(self, port: int) -> None:
        self.port = port


def test_three_nodes_to_play_with() -> None:
    ports = Port(11)
    port = ports.number
    script = subprocess.Popen([SOURCE / "contrib/cluster/run", SLUICE], env={**os.environ, "PORT": str(port)}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert script.stdout
        said = iter(script.stdout.readline, "")
        assert any("Ctrl-C ends all of it" in line for line in said), "the script ended"
        with LineStream(Node(port + 1), path_of("news")) as here, LineStream(Node(port + 3), path_of("updates")) as there:
            here.next_line(), there.next_line()
            name = publish(Node(port + 2), "news", "Hello")
            assert here.next_line()["id"] == name
            subprocess.run(["redis-cli", "-p", str(port + 10), "PUBLISH", "updates", "rabbit"], check=True, stdout=subprocess.DEVNULL)
            assert there.next_line()["data"] == "rabbit"
    finally:
        script.send_signal(signal.SIGTERM)
        script.wait(PATIENCE)

    def is_free(place: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port + place)) != 0

    wait_until(lambda: all(is_free(place) for place in (0, 1, 2, 3, 10)), what="the end of all that was started")
    ports.release()
