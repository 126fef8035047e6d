# SPDX-License-Identifier: MIT
"""Other people's WebSocket clients, unchanged: Python's websockets, aiohttp's and Tornado's, node's ws."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable

import pytest
from support.client import get, path_of, publish, subscribers
from support.server import PATIENCE, Server, wait_until

NODE_PATH = "/usr/share/nodejs"
MESSAGES = 50
BINARY = bytes(range(256)) * 300


def url_of(server: Server, target: str) -> str:
    return f"ws://127.0.0.1:{server.port}{target}"


def run(what: Awaitable[None]) -> None:
    async def within() -> None:
        await asyncio.wait_for(what, PATIENCE)

    asyncio.run(within())


class Client:
    """What each library does, in one vocabulary."""

    send: Callable[[str | bytes], Awaitable[None]]
    receive: Callable[[], Awaitable[str | bytes]]
    close: Callable[[], Awaitable[None]]
    subprotocol: str | None


async def open_websockets(url: str, *protocols: str) -> Client:
    websockets = pytest.importorskip("websockets")
    connection = await websockets.connect(url, subprotocols=protocols or None, max_size=None, max_queue=None)
    client = Client()
    client.send, client.receive, client.close = connection.send, connection.recv, connection.close
    client.subprotocol = connection.subprotocol
    return client


async def open_tornado(url: str, *protocols: str) -> Client:
    tornado = pytest.importorskip("tornado.websocket")
    connection = await tornado.websocket_connect(url, subprotocols=list(protocols) or None)

    async def send(data: str | bytes) -> None:
        await connection.write_message(data, binary=isinstance(data, bytes))

    async def close() -> None:
        connection.close()
        while await connection.read_message() is not None:
            pass

    client = Client()
    client.send, client.receive, client.close = send, connection.read_message, close
    client.subprotocol = connection.selected_subprotocol
    return client


async def open_aiohttp(url: str, *protocols: str) -> Client:
    aiohttp = pytest.importorskip("aiohttp")
    session = aiohttp.ClientSession()
    connection = await session.ws_connect(url, protocols=protocols, max_msg_size=0)

    async def send(data: str | bytes) -> None:
        await (connection.send_bytes(data) if isinstance(data, bytes) else connection.send_str(data))

    async def receive() -> str | bytes:
        return (await connection.receive()).data

    async def close() -> None:
        await connection.close()
        await session.close()

    client = Client()
    client.send, client.receive, client.close, client.subprotocol = send, receive, close, connection.protocol
    return client


OPENERS = {"websockets": open_websockets, "tornado": open_tornado, "aiohttp": open_aiohttp}


@pytest.mark.parametrize("library", OPENERS)
def test_a_feed(server: Server, channel: str, library: str) -> None:
    async def talk() -> None:
        client = await OPENERS[library](url_of(server, path_of(channel)), "sluice.v1+raw")
        assert client.subprotocol == "sluice.v1+raw"
        for i in range(MESSAGES):
            await client.send(f"message {i}")
        await client.send(BINARY)
        assert [await client.receive() for _ in range(MESSAGES)] == [f"message {i}" for i in range(MESSAGES)]
        assert await client.receive() == BINARY
        await client.close()

    run(talk())
    wait_until(lambda: subscribers(server, channel)["total"] == 0)


@pytest.mark.parametrize("library", OPENERS)
def test_resuming(server: Server, channel: str, library: str) -> None:
    for i in range(MESSAGES):
        publish(server, channel, str(i))

    async def talk() -> None:
        cursor, heard = "earliest", []
        while len(heard) < MESSAGES:
            client = await OPENERS[library](url_of(server, path_of(channel, since=cursor)), "sluice.v1+json")
            opening = json.loads(await client.receive())
            assert opening["recovered"] is (cursor != "earliest")
            for _ in range(7):
                message = json.loads(await client.receive())
                heard.append(message["data"])
                cursor = message["cursor"]
                if len(heard) == MESSAGES:
                    break
            await client.close()
        assert heard == [str(i) for i in range(MESSAGES)]

    run(talk())


@pytest.mark.parametrize("library", OPENERS)
def test_commands(server: Server, channel: str, library: str) -> None:
    async def talk() -> None:
        client = await OPENERS[library](url_of(server, "/ws"), "sluice.v1+json")
        assert client.subprotocol == "sluice.v1+json"

        async def ask(**command: object) -> dict[str, object]:
            await client.send(json.dumps(command))
            return json.loads(await client.receive())

        assert await ask(op="ping", ref=1) == {"op": "pong", "ref": 1}
        answer = await ask(op="subscribe", ref="s", channels=[channel])
        assert (answer["op"], answer["ref"], answer["channels"]) == ("subscribed", "s", [channel])
        first = await ask(op="publish", ref=2, channel=channel, data={"n": 1})
        second = json.loads(await client.receive())
        by_op = {first["op"]: first, second["op"]: second}
        assert by_op["message"]["data"] == {"n": 1} and by_op["message"]["id"] == by_op["published"]["id"]
        assert (await ask(op="unsubscribe", channels=[channel]))["op"] == "unsubscribed"
        await client.close()

    run(talk())


NODE_PROGRAM = """
const WebSocket = require('ws');
const [url, count] = [process.argv[1], Number(process.argv[2])];
const socket = new WebSocket(url, ['sluice.v1+json', 'sluice.v1+raw'], { perMessageDeflate: true });
const heard = [];
socket.on('open', () => { for (let i = 0; i < count; i++) socket.send(`message ${i}`); socket.send(Buffer.from([0, 255])); });
socket.on('message', (data, isBinary) => {
  heard.push(JSON.parse(data).data);
  if (heard.length === count + 2) {
    console.log(JSON.stringify({ protocol: socket.protocol, extensions: socket.extensions, heard: heard.slice(1) }));
    socket.close(1000, 'enough');
  }
});
socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
socket.on('error', (error) => console.log(`error ${error}`));
"""


@pytest.mark.skipif(not shutil.which("node") or not os.path.isdir(f"{NODE_PATH}/ws"), reason="needs node-ws")
def test_node_ws(server: Server, channel: str) -> None:
    result = subprocess.run(["node", "-e", NODE_PROGRAM, url_of(server, path_of(channel)), str(MESSAGES)], capture_output=True, text=True,
                            timeout=30, env={**os.environ, "NODE_PATH": NODE_PATH}, check=False)
    told, closed = result.stdout.splitlines() or ["", result.stderr]
    heard = [f"message {i}" for i in range(MESSAGES)] + ["AP8="]
    assert json.loads(told) == {"protocol": "sluice.v1+json", "extensions": "", "heard": heard}, result.stderr
    assert closed.startswith("closed 1000"), result.stdout
    wait_until(lambda: subscribers(server, channel)["total"] == 0)
    assert get(server, f"/api/channels/{channel}").json["messages"] == MESSAGES + 1
