# SPDX-License-Identifier: MIT
"""PUBSUB: who is subscribed, counted over all shards and ways to receive."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.client import EventStream, path_of
from support.redis import RedisServer
from support.server import Server, wait_until
from support.tcp import Resp, command

SHARDS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--tcp", "127.0.0.1:0 framing=resp", "--shards", str(SHARDS)) as running:
        yield running


@pytest.fixture
def crowd(server: Server, channel: str) -> Iterator[list[Resp]]:
    """So many clients that each shard has some of them."""
    clients = [Resp(server) for _ in range(30)]
    for client in clients:
        client.run("SUBSCRIBE", f"{channel}/a")
        client.run("PSUBSCRIBE", f"{channel}/*")
    clients[0].run("SUBSCRIBE", f"{channel}/b")
    yield clients
    for client in clients:
        client.close()


def test_channels_are_named_once(server: Server, channel: str, crowd: list[Resp]) -> None:
    names = [f"{channel}/{letter}".encode() for letter in "ab"]
    with Resp(server) as client:
        assert client.run("PUBSUB", "CHANNELS", f"{channel}/*") == names
        assert client.run("pubsub", "channels", f"{channel}/[b-z]") == names[1:]
        assert client.run("PUBSUB", "CHANNELS", f"{channel}/c") == []
        everything = client.run("PUBSUB", "CHANNELS")
        assert isinstance(everything, list) and set(names) <= set(everything) and len(everything) == len(set(everything))


def test_more_names_than_an_answer_holds_are_refused_unless_a_pattern_chooses() -> None:
    """However many there are, and however hard the pattern is to match, nobody waits long for one who asks."""
    names = [f"{number:06}".ljust(255, "a") for number in range(17_000)]
    with Server("--shards", "1", "--tcp", "127.0.0.1:0 framing=resp") as server, ExitStack() as stack:
        for begin in range(0, len(names), 1000):
            client = stack.enter_context(Resp(server))
            client.send(command("SUBSCRIBE", *names[begin:begin + 1000]))
            for _ in range(1000 if begin + 1000 <= len(names) else len(names) % 1000):
                client.reply()
        asker = stack.enter_context(Resp(server))
        assert str(asker.run("PUBSUB", "CHANNELS")).startswith("-ERR too-large the names have over 4 MiB")
        assert asker.run("PUBSUB", "CHANNELS", "00001?a*") == [name.encode() for name in names[10:20]]
        before = server.cpu_seconds()
        assert asker.run("PUBSUB", "CHANNELS", "*" + "a" * 120 + "b") == []
        assert server.cpu_seconds() - before < 0.5


def test_patterns_of_names_mean_what_they_mean_in_redis(server: Server, redis: RedisServer) -> None:
    names = ["glob/a", "glob/b", "glob/ab", "glob/a*b", "glob/-", "glob/a/b", "glob/aXbXb"]
    patterns = ["*", "glob/*", "glob/?", "glob/[a-c]", "glob/[^a]", "glob/a*b", "glob/a\\*b", "glob/[b-a]", "glob/[\\a-c]",
                "glob/[a-", "glob/[ab", "glob/[]", "glob/[^", "glob/*b*b", "*a*", "glob/\\a", "GLOB/*", "glob/a\\", "glob/[-a]"]
    with Resp(server) as client, Resp(server) as asker, redis.client.pubsub() as model:
        for name in names:
            client.run("SUBSCRIBE", name)
            model.subscribe(name)
            model.get_message(timeout=20)
        for pattern in patterns:
            found = asker.run("PUBSUB", "CHANNELS", pattern)
            assert isinstance(found, list)
            assert [name for name in found if name.startswith(b"glob/")] == sorted(redis.client.pubsub_channels(pattern)), pattern


def test_subscribers_of_all_kinds_are_counted(server: Server, channel: str, crowd: list[Resp]) -> None:
    name = f"{channel}/a"
    with Resp(server) as client, EventStream(server, path_of(name)) as stream:
        stream.next_block()
        counts = client.run("PUBSUB", "NUMSUB", name, "none", "bad//name", name)
        assert isinstance(counts, list) and counts[:1] + counts[2:] == [
            name.encode(), b"none", 0, b"bad//name", 0, name.encode(), counts[1]]
        assert counts[1] == client.run("PUBLISH", name, "x") >= 31
        assert client.run("PUBSUB", "NUMSUB") == []


def test_patterns_are_counted_once(server: Server, channel: str, crowd: list[Resp]) -> None:
    with Resp(server) as client:
        assert client.run("PUBSUB", "NUMPAT") == 1
        crowd[1].run("PSUBSCRIBE", f"{channel}/a/*")
        assert client.run("PUBSUB", "NUMPAT") == 2
        crowd[1].close()
        wait_until(lambda: client.run("PUBSUB", "NUMPAT") == 1)
        for other in crowd[2:] + crowd[:1]:
            other.run("PUNSUBSCRIBE")
        wait_until(lambda: client.run("PUBSUB", "NUMPAT") == 0)


@pytest.mark.parametrize("words", [("CHANNELS", "a", "b"), ("NUMPAT", "a"), ("SHARDCHANNELS",), ("HELP",)])
def test_other_questions_are_told_what_there_is(server: Server, words: tuple[str, ...]) -> None:
    with Resp(server) as client:
        assert str(client.run("PUBSUB", *words)).startswith("-ERR unknown subcommand or wrong number of arguments. Try PUBSUB ")
        assert client.run("PUBSUB", "CHANNELS", 256 * "*") == "-ERR a pattern of channel names has at most 255 bytes"
        assert client.run("PUBSUB", "CHANNELS", 255 * "?") == []


def test_questions_are_answered_in_their_turn(server: Server, channel: str) -> None:
    with Resp(server) as client:
        assert client.run_all(*(100 * (f"PUBLISH {channel} x", f"PUBSUB NUMSUB {channel}", "PING"))) == 100 * [
            0, [channel.encode(), 0], "+PONG"]


def test_who_asks_and_goes_costs_nothing(server: Server) -> None:
    """Goes by a reset, which is noticed while a question is on its way."""
    for _ in range(100):
        with Resp(server) as client:
            client.send(300 * command("PUBSUB", "CHANNELS", "none"))
            assert client.reply() == []
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with Resp(server) as client:
        assert client.run("PING") == "+PONG"


def test_reset_begins_anew(server: Server, channel: str) -> None:
    with Resp(server) as client:
        client.run("HELLO", "3")
        client.send(command("SUBSCRIBE", f"{channel}/a") + command("PSUBSCRIBE", f"{channel}/*") + command("RESET"))
        assert client.reply() == "+RESET" and len(client.pushes) == 2
        assert client.run("PUBLISH", f"{channel}/a", "x") == 0
        assert client.run("PUBSUB", "CHANNELS", f"{channel}/*") == []
        client.send(command("HELLO"))
        assert client.read_exactly(4) == b"*14\r"
