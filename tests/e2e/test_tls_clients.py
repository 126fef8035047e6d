# SPDX-License-Identifier: MIT
"""Other people's clients over TLS, proxies before it, and clients that send and read at awkward moments."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, get, path_of, publish, request_bytes
from support.redis import metric
from support.server import PATIENCE, Server, wait_until
from support.supervisor import ActivatedServer
from support.tcp import Raw
from support.tls import Tls, common_tls

MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--message-size", "8MiB", "--history-bytes", "64MiB", tls=common_tls()) as running:
        yield running


# Clients of node.

NODE = """
const https = require('https');
const [base, channel] = process.argv.slice(1);
const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
const url = base + '/channels/' + channel;
function ask(method, target, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = https.request(target, { method, agent, headers }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode, body: Buffer.concat(parts).toString(), reused: request.reusedSocket }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}
async function events(read, most) {
  let text = '';
  for (;;) {
    const found = [...text.matchAll(/^data: (.*)$/gm)].map((match) => match[1]).filter((data) => !data.startsWith('{"cursor"'));
    if (found.length >= most) return found;
    text += await read();
  }
}
(async () => {
  const said = { protocol: null };
  const large = 'y'.repeat(3000000);
  const plain = { 'Content-Type': 'text/plain' };
  // https, on one connection.
  const first = await ask('POST', url, 'by https', plain);
  const second = await ask('POST', url, large, plain);
  const read = await ask('GET', url + '?last=1');
  said.https = [first.status, second.status, second.reused, read.status, read.body === large];
  const stream = await new Promise((resolve, reject) => {
    https.get(url, { headers: { Accept: 'text/event-stream' } }, resolve).on('error', reject);
  });
  said.protocol = stream.socket.getProtocol();
  const pieces = stream[Symbol.asyncIterator]();
  await ask('POST', url, 'to https', plain);
  said.stream = await events(async () => (await pieces.next()).value.toString(), 1);
  stream.destroy();
  agent.destroy();
  // fetch, which is undici.
  const posted = await fetch(url, { method: 'POST', body: large, headers: plain });
  const fetched = await fetch(url + '?last=1');
  const opened = await fetch(url, { headers: { Accept: 'text/event-stream' } });
  const reader = opened.body.getReader();
  await fetch(url, { method: 'POST', body: 'to undici', headers: plain });
  said.undici = [posted.status, fetched.status, (await fetched.text()) === large,
    await events(async () => Buffer.from((await reader.read()).value).toString(), 1)];
  await reader.cancel();
  // EventSource, where this node has one.
  if (typeof EventSource === 'function') {
    const source = new EventSource(url);
    await new Promise((resolve, reject) => { source.onopen = resolve; source.onerror = () => reject(new Error('no EventSource')); });
    const told = new Promise((resolve) => { source.onmessage = (event) => resolve([event.data, event.lastEventId]); });
    const { id } = await (await fetch(url, { method: 'POST', body: 'to EventSource', headers: plain })).json();
    const [data, last] = await told;
    said.source = [data, last === id];
    source.close();
  }
  console.log(JSON.stringify(said));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def node(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(common_tls().authority.pair.cert)}
    return subprocess.run(["node", *words], capture_output=True, text=True, env=environment, timeout=3 * PATIENCE, check=False)


def test_node_https_undici_and_its_event_source(server: Server, channel: str) -> None:
    try:
        has_source = node("--experimental-eventsource", "-e", "").returncode == 0
    except FileNotFoundError:
        pytest.skip("needs node")
    option = ["--experimental-eventsource"] if has_source else []
    done = node(*option, "-e", NODE, f"https://localhost:{server.port}", channel)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["https"] == [201, 201, True, 200, True] and said["protocol"] == "TLSv1.3"
    assert said["stream"] == ["to https"] and said["undici"] == [201, 200, True, ["to undici"]]
    assert not has_source or said["source"] == ["to EventSource", True]


# The PROXY protocol before TLS.

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture(scope="module")
def behind() -> Iterator[Server]:
    """A server that proxies come to, its own TLS behind their header."""
    tls = common_tls()
    with Server("--http", f"127.0.0.1:0 proxy-protocol=yes {tls.pair.keys}", "--log-level", "debug", tls=tls) as running:
        yield running.at(running.listeners("http")[1])


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
    SIGNATURE + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 56324, 443),
], ids=["v1", "v2"])
@pytest.mark.parametrize("is_bytewise", [False, True])
def test_a_proxys_header_comes_before_the_handshake(behind: Server, header: bytes, is_bytewise: bool) -> None:
    """It says whose the connection is, in one piece with the hello or byte by byte; within TLS it is no header."""
    count = behind.log().count("peer=192.0.2.1:56324")
    with socket.create_connection(("127.0.0.1", behind.port), PATIENCE) as plain:
        if is_bytewise:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(header)):
                plain.sendall(header[at:at + 1])
            secure = common_tls().wrap(plain)
        else:
            plain.sendall(header)
            secure = common_tls().wrap(plain)
        with secure:
            secure.sendall(request_bytes("GET", "/healthz", Connection="close"))
            answer = b""
            while piece := secure.recv(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    wait_until(lambda: behind.log().count("peer=192.0.2.1:56324") > count)


def test_a_header_within_tls_or_none_at_all_is_refused(behind: Server) -> None:
    with socket.create_connection(("127.0.0.1", behind.port), PATIENCE) as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        common_tls().wrap(plain)
    with socket.create_connection(("127.0.0.1", behind.port), PATIENCE) as plain:
        plain.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n")
        with common_tls().wrap(plain) as secure:
            secure.sendall(b"PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n" + request_bytes("GET", "/healthz"))
            assert secure.recv(4096).startswith(b"HTTP/1.1 400")
    assert "peer=192.0.2.8" not in behind.log()


# Bytes at awkward moments.

def is_received(connection: Connection) -> bool:
    """Whether all that was sent is on the other side, in the kernel."""
    def unsent() -> int:
        return struct.unpack("i", fcntl.ioctl(connection.socket.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    deadline = time.monotonic() + 5
    while unsent() > 0 and time.monotonic() < deadline:
        time.sleep(0.005)
    return unsent() == 0


def test_an_upload_goes_on_with_what_is_deciphered_already(channel: str) -> None:
    """A turn of reading ends in the middle of the last record: the rest of it is in no socket, and nobody tells of it."""
    turn, rest = MIB, 1000
    with ActivatedServer("http", "--shards", "1", "--message-size", "8MiB", tls=common_tls(), room=8 * MIB) as server, Connection(server) as connection:
        connection.send(request_bytes("POST", path_of(channel), Content_Type="text/plain", Content_Length=str(turn + rest), Expect="100-continue"))
        assert connection.read_head().status == 100
        with server.frozen():
            connection.send(b"x" * (turn - 10_000))
            connection.send(b"x" * (10_000 + rest))
            if not is_received(connection):
                pytest.skip("the kernel has too little room, and only root may ask for more")
        assert connection.read_response().status == 201


def test_a_key_update_in_the_middle_of_a_connection(server: Server, channel: str) -> None:
    """openssl's client sends one at a line with K, which asks for one of ours, and goes on under the new keys."""
    asked = request_bytes("GET", "/healthz").decode()
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", str(common_tls().authority.pair.cert), "-tls1_3"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        assert client.stdin and client.stdout
        for text in ("K\n", "k\n"):
            client.stdin.write(text)
            client.stdin.flush()
            assert any("KEYUPDATE" in line for line in client.stdout)
            client.stdin.write(asked)
            client.stdin.flush()
            assert any(line.startswith("HTTP/1.1 200") for line in client.stdout)
        client.terminate()


def test_the_rest_of_the_last_record_reaches_who_reads_late(channel: str) -> None:
    """Nothing is written after it that would take it along."""
    tls, options = common_tls(), ("--websocket-ping", "0", "--history-bytes", "256MiB", "--history-size", "100000", "--slow-client-timeout", "1h")
    with Server("--shards", "1", *options, "--tcp", f"127.0.0.1:0 framing=crlf {tls.pair.keys}") as plain:
        secure = plain.at(0)
        secure.tls = tls
        with Raw(secure) as client:
            assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
            at_rest = metric(plain, "connection_memory_bytes")
            sent = 0
            while metric(plain, "connection_memory_bytes") < at_rest + 16_384:
                publish(plain, channel, f"{sent} " + "x" * 10_000)
                sent += 1
            for number in range(sent):
                assert client.take().split(b" ")[0] == str(number).encode()
            wait_until(lambda: metric(plain, "connection_memory_bytes") == at_rest)


def strict() -> Tls:
    """A client that takes no end for one that was not said."""
    tls = common_tls()
    told = Tls(tls.authority, tls.pair)
    told.client = tls.authority.context()
    told.client.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return told


def test_the_end_of_an_answer_is_said(server: Server) -> None:
    with strict().wrap(socket.create_connection(("127.0.0.1", server.port), PATIENCE)) as secure:
        secure.sendall(request_bytes("GET", "/healthz", Connection="close"))
        while secure.recv(4096):
            pass


def test_the_rest_of_the_last_record_outlives_the_connection(channel: str) -> None:
    """The kernel takes about 100 kB of what nobody reads. Of one of these answers it takes a part of the last record, and the connection
    ends with that; its client reads later than others may who are owed nothing."""
    sizes = range(8000, 400_000, 8000)
    with Server("--shards", "1", "--message-size", "1MiB", "--history-bytes", "64MiB", tls=strict()) as server, contextlib.ExitStack() as stack:
        clients = {size: stack.enter_context(Connection(server, receive_buffer=4096)) for size in sizes}
        for size, client in clients.items():
            publish(server, f"{channel}/{size}", "x" * size)
            client.send(request_bytes("GET", path_of(f"{channel}/{size}", last=1), Connection="close"))
        time.sleep(2.5)  # their deadline passes
        for size, client in clients.items():
            head = client.read_until(b"\r\n\r\n")
            got = len(client.buffer)
            while piece := client.socket.recv(65536):
                got += len(piece)
            assert head.startswith(b"HTTP/1.1 200") and got == size


@pytest.mark.parametrize("size", [2_000_000, 2_005_000, 2_010_000])
def test_an_answer_that_is_read_late_comes_whole_and_its_end_is_said(tmp_path: pathlib.Path, size: int) -> None:
    """libmicrohttpd closes as soon as everything is written, which is before it is sent."""
    data = os.urandom(size)
    (tmp_path / "large.bin").write_bytes(data)
    with Server("--static-dir", str(tmp_path), "--shards", "1", tls=strict()) as server, Connection(server, receive_buffer=4096) as connection:
        connection.send(request_bytes("GET", "/large.bin", Connection="close"))
        head = connection.read_until(b"\r\n\r\n")
        assert re.search(rb"Content-Length: %d\r\n" % size, head)
        got = connection.buffer
        while piece := connection.socket.recv(1000):
            got += piece
        assert got == data
        assert get(server, "/healthz").status == 200
