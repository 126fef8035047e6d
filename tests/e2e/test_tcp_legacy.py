# SPDX-License-Identifier: MIT
"""The servers that people come from, each with clients written as their users write them."""

import asyncio
import os
import socket
import struct

import pytest
from support.client import get, publish, subscribers
from support.redis import RedisServer
from support.server import Server, wait_until
from support.tcp import Raw, tcp_port

tornado_tcpclient = pytest.importorskip("tornado.tcpclient")
tornado_iostream = pytest.importorskip("tornado.iostream")


def await_reader(server: Server, channel: str, count: int = 1) -> None:
    wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["tcp"] == count)


def test_echo_over_crlf_with_tornado() -> None:
    async def speak(port: int, number: int) -> None:
        stream = await tornado_tcpclient.TCPClient().connect("127.0.0.1", port)
        for i in range(20):
            line = f"client {number} line {i}\r\n".encode()
            await stream.write(line)
            assert await stream.read_until(b"\r\n") == line
        stream.close()

    async def all_at_once(port: int) -> None:
        await asyncio.gather(*(speak(port, number) for number in range(100)))

    with Server("--tcp", "127.0.0.1:0 framing=crlf input=echo") as server:
        asyncio.run(all_at_once(tcp_port(server)))


def test_echo_and_updates_from_redis_with_tornado(redis: RedisServer) -> None:
    async def speak(server: Server) -> None:
        stream = await tornado_tcpclient.TCPClient().connect("127.0.0.1", tcp_port(server))
        await stream.write(b"hello\r\n")
        assert await stream.read_until(b"\r\n") == b"hello\r\n"

        wait_until(lambda: redis.client.publish("updates", "follow the white rabbit"))
        await stream.write(b"after\r\n")
        lines = sorted([await stream.read_until(b"\r\n"), await stream.read_until(b"\r\n")])
        assert lines == [b"after\r\n", b"follow the white rabbit\r\n"]
        stream.close()

    with Server("--broker", redis.url(), "--redis-subscribe", "updates",
                "--tcp", "127.0.0.1:0 framing=crlf input=echo feed=updates") as server:
        asyncio.run(speak(server))


def test_subscription_protocol_with_tornado() -> None:
    async def speak(server: Server) -> None:
        stream = await tornado_tcpclient.TCPClient().connect("127.0.0.1", tcp_port(server))

        async def ask(line: bytes) -> bytes:
            await stream.write(line + b"\r\n")
            return await stream.read_until(b"\r\n")

        assert await ask(b"SUBSCRIBE") == b"CONFIRMED\r\n"
        assert await ask(b"SUBSCRIBE") == b"ALREADY SUBSCRIBED\r\n"
        publish(server, "updates", "an update")
        assert await stream.read_until(b"\r\n") == b"an update\r\n"
        assert await ask(b"UNSUBSCRIBE") == b"CONFIRMED\r\n"
        assert await ask(b"UNSUBSCRIBE") == b"ALREADY UNSUBSCRIBED\r\n"
        publish(server, "updates", "not for us")
        assert await ask(b"WHATEVER") == b"UNKNOWN COMMAND\r\n"
        stream.close()
        with pytest.raises(tornado_iostream.StreamClosedError):
            await stream.read_until(b"\r\n")

    with Server("--tcp", "127.0.0.1:0 framing=crlf") as server:
        asyncio.run(speak(server))


def test_utf8_with_nul_delimiters() -> None:
    texts = ["Hallo Wörld", "你好", "🐇", ""]
    with Server("--tcp", "127.0.0.1:0 framing=nul input=echo") as server:
        for text in texts:
            with socket.create_connection(("127.0.0.1", tcp_port(server))) as one:
                one.sendall(text.encode() + b"\0")
                one.shutdown(socket.SHUT_WR)
                received = b""
                while data := one.recv(4096):
                    received += data
                assert received == text.encode() + b"\0"
        with Raw(server, 0, b"\0") as many:
            many.send("\0".join([*texts, ""]).encode())
            assert [many.take().decode() for _ in texts] == texts


def test_length_prefixed_binary_both_ways() -> None:
    blobs = [bytes(range(256)), b"", os.urandom(70_000), b"\r\n\0"]
    with Server("--tcp", "127.0.0.1:0 framing=len32 input=publish:blobs feed=blobs") as server:
        with socket.create_connection(("127.0.0.1", tcp_port(server))) as client:
            stream = client.makefile("rb")
            publish(server, "blobs", "first")
            await_reader(server, "blobs")
            for blob in blobs:
                client.sendall(struct.pack(">I", len(blob)) + blob)
            received = []
            while len(received) < len(blobs):
                blob = stream.read(struct.unpack(">I", stream.read(4))[0])
                if blob != b"first":
                    received.append(blob)
            assert received == blobs
            stream.close()


def test_a_chat_over_nul_and_crlf_at_once() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=nul input=publish:room feed=room",
                "--tcp", "127.0.0.1:0 framing=crlf input=publish:room feed=room") as server:
        people = [Raw(server, 0, b"\0"), Raw(server, 1), Raw(server, 0, b"\0"), Raw(server, 1)]
        publish(server, "lobby")
        wait_until(lambda: get(server, "/api/channels/room").status == 200 and subscribers(server, "room")["tcp"] == 4
                   or publish(server, "room", "hush") == "")
        for number, person in enumerate(people):
            person.put(f"line of {number}".encode())
        for person in people:
            heard: list[bytes] = []
            while len(heard) < 4:
                line = person.take()
                if line != b"hush":
                    heard.append(line)
            assert sorted(heard) == [b"line of %d" % number for number in range(4)]
            person.close()
