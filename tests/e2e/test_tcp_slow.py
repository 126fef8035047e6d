# SPDX-License-Identifier: MIT
"""Raw TCP clients that read slowly, late, or never: what they get is exact, and they cost little."""

import json
import os
import random
import re
import select
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.client import LineStream, get, path_of, publish, subscribers
from support.redis import RedisServer, nodes
from support.server import PATIENCE, Server, wait_until
from support.tcp import Raw, Resp, command, tcp_addresses

FRAMINGS = ("crlf", "nul", "len32", "resp")
CRLF, NUL, LEN32, RESP = range(4)
ENDS = {CRLF: b"\r\n", NUL: b"\0", LEN32: None, RESP: b"\r\n"}
KEEP = ("--history-size", "5000", "--history-bytes", "256MiB")
MESSAGES = 1000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Each framing over TCP and, four further on, over a Unix socket, whose buffers are small."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"127.0.0.1:0 framing={word}" for word in FRAMINGS]
        options += [f"unix:{folder}/{word} framing={word}" for word in FRAMINGS]
        words = [word for text in options for word in ("--tcp", text)]
        with Server(*words, *KEEP, "--shards", "1", "--slow-client-timeout", "5") as running:
            yield running


def narrow(server: Server, index: int, ends: bytes | None = b"\r\n") -> Resp:
    """A client for which the kernel keeps little."""
    address = tcp_addresses(server)[index]
    client = Resp.__new__(Resp)
    if address.startswith("unix:"):
        client.socket = socket.socket(socket.AF_UNIX)
        client.socket.connect(address.removeprefix("unix:"))
    else:
        client.socket = socket.socket()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.connect(("127.0.0.1", int(address.rsplit(":", 1)[1])))
    client.socket.settimeout(PATIENCE)
    client.buffer, client.ends, client.pushes = b"", ends, []
    return client


def make_messages(seed: int, most: int = 12_000) -> list[str]:
    """Of all sizes, some with what delimits frames in them."""
    dice = random.Random(seed)
    return [f"{number} " + dice.choice(("x", "é", '"', "x", "x\n" if number % 50 == 0 else "x")) * dice.randrange(most // 2)
            for number in range(MESSAGES)]


def publish_all(server: Server, channel: str, messages: list[str]) -> None:
    with Raw(server, LEN32, None) as publisher:
        for text in messages:
            publisher.put(f"PUBLISH {channel} {text}".encode())
        for _ in messages:
            assert publisher.take() == b"CONFIRMED"


def read_in_pieces(client: Raw, size: int) -> bytes:
    """First a byte at a time, then in pieces of all sizes."""
    dice, pieces = random.Random(size), []
    left = size - len(client.buffer)
    pieces.append(client.buffer)
    while left > 0:
        piece = client.socket.recv(1 if size - left < 3000 else min(left, dice.randrange(1, 9000)))
        assert piece, f"the connection ended {left} bytes before the end"
        pieces.append(piece)
        left -= len(piece)
    client.buffer = b""
    return b"".join(pieces)


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def quoted(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def raw_frame(framing: int, channel: str, text: str) -> bytes:
    data = text.encode()
    if framing == CRLF:
        return (quoted(text) if "\n" in text else data) + b"\r\n"
    if framing == NUL:
        return data + b"\0"
    if framing == LEN32:
        return struct.pack(">I", len(data)) + data
    return b"*3\r\n" + bulk(b"message") + bulk(channel.encode()) + bulk(data)


def subscribe(client: Resp, framing: int, channel: str) -> None:
    if framing == RESP:
        client.run("SUBSCRIBE", channel)
    else:
        assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"


@pytest.mark.parametrize("index", range(8))
def test_every_byte_arrives_whoever_reads_late_and_in_pieces(server: Server, channel: str, index: int) -> None:
    framing, messages = index % 4, make_messages(index)
    with narrow(server, index, ENDS[framing]) as client:
        subscribe(client, framing, channel)
        publish_all(server, channel, messages)
        expected = b"".join(raw_frame(framing, channel, text) for text in messages)
        assert read_in_pieces(client, len(expected)) == expected
        assert client.ask(b"PING").endswith(b"PONG") if framing != RESP else client.run("PING") == [b"pong", b""]


@pytest.mark.parametrize("index", range(8))
def test_every_byte_of_large_messages_arrives(server: Server, channel: str, index: int) -> None:
    framing, messages = index % 4, [f"{number}" + os.urandom(400_000 + number).hex() for number in range(5)]
    with narrow(server, index, ENDS[framing]) as client:
        subscribe(client, framing, channel)
        publish_all(server, channel, messages)
        expected = b"".join(raw_frame(framing, channel, text) for text in messages)
        assert read_in_pieces(client, len(expected)) == expected


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32, CRLF + 4, NUL + 4, LEN32 + 4])
def test_every_byte_of_json_arrives(server: Server, channel: str, index: int) -> None:
    framing, messages = index % 4, make_messages(index)
    with narrow(server, index, ENDS[framing]) as client, LineStream(server, path_of(channel)) as stream:
        stream.until(b"\n")
        assert client.ask(b"FORMAT json") == b"CONFIRMED"
        assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        publish_all(server, channel, messages)
        lines = [re.sub(rb'^{"cursor":"[^"]*"', b'{"op":"message"', stream.until(b"\n") or b"") for _ in messages]
        expected = b"".join(struct.pack(">I", len(line)) + line if framing == LEN32 else line + (ENDS[framing] or b"")
                            for line in lines)
        assert read_in_pieces(client, len(expected)) == expected


@pytest.mark.parametrize(("protocol", "pattern"), [(3, False), (2, True), (3, True)])
@pytest.mark.parametrize("index", [RESP, RESP + 4])
def test_every_byte_of_pushes_arrives(server: Server, channel: str, index: int, protocol: int, pattern: bool) -> None:
    messages, tree = make_messages(index), f"{channel}/*".encode()
    with narrow(server, index) as client:
        client.run("HELLO", str(protocol))
        client.send(command("PSUBSCRIBE", tree) if pattern else command("SUBSCRIBE", f"{channel}/a"))
        client.read_until(b":1\r\n")
        publish_all(server, f"{channel}/a", messages)
        mark = b"*" if protocol == 2 else b">"
        head = b"4\r\n" + bulk(b"pmessage") + bulk(tree) if pattern else b"3\r\n" + bulk(b"message")
        expected = b"".join(mark + head + bulk(f"{channel}/a".encode()) + bulk(text.encode()) for text in messages)
        assert read_in_pieces(client, len(expected)) == expected


def test_a_fast_reader_gets_much_at_once(server: Server, channel: str) -> None:
    messages = [f"{number} " + 3000 * "x" for number in range(MESSAGES)]
    with LineStream(server, path_of(channel)), Raw(server) as client:
        publish_all(server, channel, messages)
        assert client.ask(f"SUBSCRIBE {channel} last={MESSAGES}".encode()) == b"CONFIRMED"
        assert [client.take().decode() for _ in messages] == messages


@contextmanager
def in_one_turn(server: Server) -> Iterator[None]:
    """What is sent meanwhile is found by the server all at once."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: open(f"/proc/{server.process.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()[0] == "T")
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_who_begins_elsewhere_gets_his_own_frames(server: Server, channel: str) -> None:
    """Runs of frames are made once for those who are to get the same ones, and only for them."""
    messages = [f"{number} {number * 'y'}" for number in range(40)]
    counts = (30, 12, 21, 9)
    with LineStream(server, path_of(channel)):
        for text in messages:
            publish(server, channel, text)
        for framings in ((CRLF,), (NUL,), (LEN32,), (CRLF, NUL, LEN32)):
            clients = [(framing, count, Raw(server, framing, ENDS[framing])) for count in counts for framing in framings]
            for _, _, client in clients:
                assert client.ask(b"PING") == b"PONG"
            with in_one_turn(server):
                for _, count, client in clients:
                    client.put(f"SUBSCRIBE {channel} last={count}".encode())
            for framing, count, client in clients:
                assert client.take() == b"CONFIRMED"
                expected = b"".join(raw_frame(framing, channel, text) for text in messages[-count:])
                assert client.read_exactly(len(expected)) == expected
                assert client.has_nothing()
                client.close()


@pytest.mark.parametrize("index", [CRLF, CRLF + 4])
def test_both_channels_go_on_when_the_other_finds_room_first(server: Server, channel: str, index: int) -> None:
    """The kernel takes bytes before it says that there is room again."""
    large, small = f"{channel}/large", f"{channel}/small"
    messages = [f"{number} " + 1500 * "x" for number in range(4000)]
    with narrow(server, index) as client, Raw(server, LEN32, None) as publisher:
        assert client.ask(f"SUBSCRIBE {large}".encode()) == client.ask(f"SUBSCRIBE {small}".encode()) == b"CONFIRMED"
        publish_all(server, large, messages)
        for number in range(300):
            client.buffer += client.socket.recv(1000)
            assert publisher.ask(f"PUBLISH {small} small {number}".encode()) == b"CONFIRMED"
        frames = [client.take().decode() for _ in range(len(messages) + 300)]
        assert [frame for frame in frames if frame[0] != "s"] == messages
        assert [frame for frame in frames if frame[0] == "s"] == [f"small {number}" for number in range(300)]


@pytest.mark.parametrize("index", [CRLF, CRLF + 4])
def test_unsubscribing_while_blocked(server: Server, channel: str, index: int) -> None:
    messages = make_messages(7)
    with narrow(server, index) as client:
        assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        publish_all(server, channel, messages)
        client.put(f"UNSUBSCRIBE {channel}".encode())
        heard = []
        while (frame := client.take()) != b"CONFIRMED":
            heard.append(frame + b"\r\n")
        assert heard == [raw_frame(CRLF, channel, text) for text in messages][:len(heard)]
        assert subscribers(server, channel)["tcp"] == 0
        publish(server, channel, "later")
        assert client.has_nothing()


def test_unsubscribing_before_anything_is_told(server: Server, channel: str) -> None:
    publish_all(server, channel, make_messages(3))
    with narrow(server, CRLF + 4) as client:
        client.put(f"SUBSCRIBE {channel} earliest".encode(), f"UNSUBSCRIBE {channel}".encode(), b"ECHO end")
        frames = []
        while not frames or frames[-1] != b"end":
            frames.append(client.take())
        assert frames.count(b"CONFIRMED") == 2
        publish(server, channel, "later")
        assert client.has_nothing()


def test_a_history_that_blocks_is_told_to_its_end(server: Server, channel: str) -> None:
    messages = make_messages(5)
    publish_all(server, channel, messages)
    with narrow(server, NUL + 4, b"\0") as client:
        client.put(f"HISTORY {channel}".encode(), b"ECHO end")
        expected = b"".join(raw_frame(NUL, channel, text) for text in messages) + b"CONFIRMED\0end\0"
        assert read_in_pieces(client, len(expected)) == expected


def test_answers_to_who_reads_late_are_whole(server: Server, channel: str) -> None:
    with narrow(server, LEN32 + 4, None) as client:
        texts = [b"%d" % number + os.urandom(5000) for number in range(400)]
        client.socket.settimeout(None)
        sent = b"".join(struct.pack(">I", len(text) + 5) + b"ECHO " + text for text in texts)
        expected = b"".join(struct.pack(">I", len(text)) + text for text in texts)
        client.socket.setblocking(False)
        received = b""
        while len(received) < len(expected):
            try:
                sent = sent[client.socket.send(sent):]
            except BlockingIOError:
                pass
            try:
                received += client.socket.recv(1 + len(received) % 3001)
            except BlockingIOError:
                time.sleep(0.001)
        assert received == expected


def peak_until_cut(server: Server, client: Raw) -> int:
    """The most memory that the server takes until it has cut the client."""
    peak = server.resident_bytes()

    def is_cut() -> bool:
        nonlocal peak
        peak = max(peak, server.resident_bytes())
        return bool(get(server, "/api/stats").json["slow_clients_cut_total"])

    wait_until(is_cut, what="the cut")
    return peak


@pytest.mark.parametrize("ask", [lambda name: command("XRANGE", name, "-", "+"), lambda name: command("INFO"),
                                 lambda name: command("XREAD", "STREAMS", name, "0")], ids=["xrange", "info", "xread"])
def test_who_asks_for_much_and_never_reads_costs_little(channel: str, ask: Callable[[str], bytes]) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=resp", "--slow-client-timeout", "0.5", *KEEP, "--shards", "1") as server:
        for _ in range(20):
            publish(server, channel, 100_000 * "x")
        held = server.resident_bytes()
        with narrow(server, 0) as client:
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    client.socket.send(400 * ask(channel))
            assert peak_until_cut(server, client) - held < 32 << 20


def test_who_asks_for_history_and_never_reads_costs_little(channel: str) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf", "--slow-client-timeout", "0.5", *KEEP, "--shards", "1") as server:
        for _ in range(20):
            publish(server, channel, 100_000 * "x")
        held = server.resident_bytes()
        with narrow(server, 0) as client:
            assert client.ask(b"FORMAT json") == b"CONFIRMED"
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    client.socket.send(400 * f'{{"op":"history","channel":"{channel}"}}\r\n'.encode())
            assert peak_until_cut(server, client) - held < 32 << 20


def test_a_range_has_a_bounded_number_of_bytes(server: Server, channel: str) -> None:
    for number in range(10):
        publish(server, channel, f"{number}" + 999_999 * "x")
    with Resp(server, RESP) as client:
        assert client.run("XRANGE", channel, "-", "+") == "-ERR too-large the range has over 4 MiB; ask for less with COUNT"
        entries = client.run("XRANGE", channel, "-", "+", "COUNT", "5")
        assert isinstance(entries, list) and len(entries) == 5
        heard, last = [], b"0"
        while answer := client.run("XREAD", "STREAMS", channel, last):
            assert isinstance(answer, list)
            entries = answer[0][1]
            assert len(entries) <= 5
            heard += [fields[1][:1] for _, fields in entries]
            last = entries[-1][0]
        assert heard == [b"%d" % number for number in range(10)]


def test_who_reads_slowly_but_steadily_is_not_cut(channel: str) -> None:
    data = os.urandom(4 << 20).hex().encode()
    with tempfile.TemporaryDirectory() as folder, Server("--tcp", f"unix:{folder}/s framing=nul", "--message-size", "16MiB",
                                                         "--slow-client-timeout", "0.4") as server:
        with narrow(server, 0, b"\0") as client:
            assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
            publish(server, channel, data)
            received = b""
            while len(received) <= len(data):
                received += client.socket.recv(len(data) // 40)
                time.sleep(0.025)
            assert received == data + b"\0"
            assert get(server, "/api/stats").json["slow_clients_cut_total"] == 0


def test_publishes_that_the_broker_owes_an_answer_are_bounded(channel: str) -> None:
    options = ("--tcp", "127.0.0.1:0 framing=crlf", "--redis-timeout", "60s", "--drain-time", "0.1")
    with RedisServer() as redis, nodes(1, redis, options=options) as (node,):
        publish(node, channel, "first")
        held = node.resident_bytes()
        assert redis.process
        redis.process.send_signal(signal.SIGSTOP)
        with narrow(node, 0) as client:
            sent, lines = 0, 1000 * f"PUBLISH {channel} x\r\n".encode()
            while sent < 64 << 20 and select.select([], [client.socket], [], 0.5)[1]:
                sent += client.socket.send(lines, socket.MSG_DONTWAIT)
            assert node.resident_bytes() - held < 16 << 20
            redis.process.send_signal(signal.SIGCONT)
            assert [client.take() for _ in range(2000)] == 2000 * [b"CONFIRMED"]


def test_who_half_closes_is_told_of_publishes_that_the_broker_owes(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--tcp", "127.0.0.1:0", "--shards", "1")) as (node,):
        publish(node, channel, "first")
        assert redis.process
        redis.process.send_signal(signal.SIGSTOP)
        with Raw(node) as client:
            client.put(*(3 * [f"PUBLISH {channel} x".encode()]))
            client.socket.shutdown(socket.SHUT_WR)
            for _ in range(20):  # turns of the shard's loop, in which it learns of the end
                assert get(node, "/healthz").status == 200
            redis.process.send_signal(signal.SIGCONT)
            assert client.read_to_end() == 3 * b"CONFIRMED\r\n"


def test_a_reader_who_falls_out_of_the_log_is_told(channel: str) -> None:
    messages = make_messages(11)
    with Server("--tcp", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--tcp", "127.0.0.1:0 framing=len32", "--shards", "1",
                "--history-size", "20") as server:
        with narrow(server, 0) as client:
            assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
            for _ in range(3):
                publish_all(server, channel, messages)
            frames = []
            while not frames or not frames[-1].startswith(b"999 "):
                frames.append(client.take())
            resets = [frame for frame in frames if frame.startswith(b"RESET ")]
            assert resets, len(frames)
            missed = sum(int(words[3]) for words in (reset.split(b" ") for reset in resets))
            assert all(reset.split(b" ")[1:3] == [channel.encode(), b"trimmed"] for reset in resets)
            assert len(frames) - len(resets) + missed == 3 * MESSAGES


@pytest.mark.parametrize("framing, begun, said", [
    ("crlf", b"PUBLISH a hel", b"ERROR body-timeout "), ("nul", b"PING", b"ERROR body-timeout "),
    ("len32", b"\0\0\0\x09PI", b"\0\0\0"), ("resp", b"*2\r\n$4\r\nECHO\r\n$5\r\nhe", b"-ERR body-timeout "), ("auto", b"*1\r\n$4\r\nPI", b"-ERR body-timeout "),
])
def test_a_frame_that_is_never_whole_ends_its_connection(framing: str, begun: bytes, said: bytes) -> None:
    with Server("--tcp", f"127.0.0.1:0 framing={framing}", "--body-timeout", "500ms") as server, Raw(server) as raw, Raw(server) as idle:
        began = time.monotonic()
        raw.send(begun)
        told = raw.read_to_end()
        assert told.startswith(said) and b"body-timeout" in told, told
        assert 0.4 < time.monotonic() - began < 15
        if framing == "crlf":
            assert idle.ask(b"PING") == b"PONG", "who sends nothing may wait"


def test_frames_that_follow_each_other_slowly_are_each_in_time() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf", "--body-timeout", "2s") as server, Raw(server) as raw:
        began = time.monotonic()
        raw.send(b"PI")
        while time.monotonic() - began < 3:  # each time the end of one and the beginning of the next
            time.sleep(0.25)
            raw.send(b"NG\r\nPI")
            assert raw.take() == b"PONG"
