# SPDX-License-Identifier: MIT
"""TLS on our own listeners: what is agreed on, what is refused, and that everything goes over it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import NODE_OPTIONS, RedisServer, await_ready, metric
from support.server import PATIENCE, SOURCE, Server, wait_until
from support.stillness import again_after_a_stall
from support.supervisor import is_sanitized
from support.tcp import Raw, tcp_port
from support.tls import Authority, Pair, Tls
from support.websocket import WebSocket

MIB = 1 << 20
ALERT_HANDSHAKE_FAILURE = bytes([21, 3, 3, 0, 2, 2, 40])
ALERT_NO_PROTOCOL = bytes([21, 3, 3, 0, 2, 2, 120])


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Tls:
    return Tls(authority, authority.issue("server"))


@pytest.fixture(scope="module")
def server(tls: Tls) -> Iterator[Server]:
    with Server("--shards", "2", "--tcp", "127.0.0.1:0 framing=crlf", tls=tls) as running:
        yield running


def plain(server: Server, port: int | None = None) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port or server.port), PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return data


def s_client(server: Server, tls: Tls, *options: str, text: str = "", port: int | None = None) -> str:
    """What openssl's client says, and gets."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port or server.port}", "-CAfile", str(tls.authority.pair.cert), *options]
    done = subprocess.run(words, input=text.encode(), capture_output=True, timeout=PATIENCE, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


def curl(server: Server, tls: Tls, target: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    words = ["curl", "-sS", "--max-time", "20", "--cacert", str(tls.authority.pair.cert), f"https://localhost:{server.port}{target}"]
    return subprocess.run([*words, *options], capture_output=True, check=False)


# What is agreed on.


@pytest.mark.parametrize(("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_versions_that_are_spoken(server: Server, tls: Tls, version: ssl.TLSVersion, name: str) -> None:
    context = tls.authority.context()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(plain(server), server_hostname="localhost") as connection:
        assert connection.version() == name
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert "GCM" in connection.cipher()[0]
        connection.sendall(request_bytes("GET", "/healthz", Connection="close"))
        assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(server: Server, tls: Tls, option: str) -> None:
    said = s_client(server, tls, option, "-cipher", "ALL:@SECLEVEL=0")
    assert "protocol version" in said and "Cipher is (NONE)" in said


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256",
                                    "DHE-RSA-AES128-GCM-SHA256", "AECDH-AES128-SHA", "ECDHE-ECDSA-NULL-SHA", "ECDHE-ECDSA-AES128-CCM"])
def test_weak_ciphers_are_refused(server: Server, tls: Tls, cipher: str) -> None:
    said = s_client(server, tls, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "handshake failure" in said and "Cipher is (NONE)" in said


def test_a_second_negotiation_and_early_data_are_refused(server: Server, tls: Tls) -> None:
    said = s_client(server, tls, "-tls1_2", text="R\n")
    assert "Secure Renegotiation IS supported" in said and "RENEGOTIATING" in said
    assert "no renegotiation" in said or "unexpected eof" in said or "closed" in said or "alert" in said
    asked = request_bytes("GET", "/healthz", Connection="close").decode()
    assert "Max Early Data: 0" in s_client(server, tls, "-tls1_3", "-ign_eof", text=asked)


def test_who_speaks_only_another_protocol_within_is_refused(server: Server, tls: Tls) -> None:
    for port, protocol in ((server.port, "h2"), (tcp_port(server), "http/1.1")):
        assert "no application protocol" in s_client(server, tls, "-alpn", protocol, port=port)


def test_the_whole_chain_is_shown_and_rsa_works_too(authority: Authority, channel: str) -> None:
    pair = authority.issue("rsa", kind="rsa")
    pair.cert.write_bytes(pair.cert.read_bytes() + authority.pair.cert.read_bytes())
    with Server(tls=Tls(authority, pair)) as server:
        publish(server, channel)
        assert s_client(server, server.tls, "-showcerts").count("BEGIN CERTIFICATE") == 2


def test_sessions_are_resumed_on_every_shard_until_the_certificate_is_read_again(server: Server, tls: Tls) -> None:
    def connect(version: ssl.TLSVersion, session: ssl.SSLSession | None = None) -> tuple[ssl.SSLSession | None, bool]:
        context.minimum_version = context.maximum_version = version
        with context.wrap_socket(plain(server), server_hostname="localhost", session=session) as connection:
            connection.sendall(request_bytes("GET", "/healthz", Connection="close"))
            assert read_all(connection).startswith(b"HTTP/1.1 200")
            return connection.session, bool(connection.session_reused)

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = tls.authority.context()
        session, _ = connect(version)
        assert all(connect(version, session)[1] for _ in range(8))
        renewed = server.log().count("event=reloaded") + 1
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda count=renewed: server.log().count("event=reloaded") == count)
        wait_until(lambda v=version, s=session: not any(connect(v, s)[1] for _ in range(4)), what="another ticket key on every shard")


# The wrong protocol, and refusals.


def test_http_on_a_tls_port_is_told_so(server: Server) -> None:
    with plain(server) as connection:
        connection.sendall(request_bytes("GET", "/channels/a"))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400") and b'"error":"tls-wanted"' in answer and b"speaks TLS" in answer
    with plain(server, tcp_port(server)) as connection:
        connection.sendall(b"PING\r\n")
        assert read_all(connection).startswith(b"ERROR tls-wanted ")


def test_tls_on_a_plain_port_is_an_error_of_the_client(tls: Tls) -> None:
    with Server(tls=None) as server:
        with plain(server) as connection, pytest.raises(ssl.SSLError):
            tls.wrap(connection)
        assert get(server, "/healthz").status == 200


def test_who_is_over_a_limit_gets_an_alert_and_no_handshake(tls: Tls) -> None:
    with Server("--max-connections", "2", tls=tls) as server, Connection(server) as first, Connection(server) as second:
        for connection in (first, second):
            assert connection.request("GET", "/healthz").status == 200
        with plain(server) as refused:
            assert read_all(refused) == ALERT_HANDSHAKE_FAILURE
        assert first.request("GET", "/healthz").status == 200
        second.close()
        wait_until(lambda: _is_served(server))


def _is_served(server: Server) -> bool:
    try:
        return get(server, "/healthz").status == 200
    except (ssl.SSLError, AssertionError):
        return False


def test_without_descriptors_who_comes_gets_an_alert(tls: Tls) -> None:
    with Server("--shards", "1", descriptors=64, tls=tls) as server:
        held = []
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            for _ in range(80):
                held.append(Connection(server))
        assert len(held) > 20
        for connection in held:
            connection.close()
        wait_until(lambda: _is_served(server))


@pytest.mark.parametrize(("change", "why"), [
    (("tls-cert=", "tls-cert=/nowhere"), "No such file"), (("tls-key=", "tls-key=/nowhere"), "No such file"),
    (("tls-key=", "tls-key=/dev/null#"), "tls-key"), (("", " tls-client=required"), "wants tls-client-ca"),
])
def test_a_listener_that_cannot_be_is_refused_at_the_start(tls: Tls, change: tuple[str, str], why: str) -> None:
    declared = f"127.0.0.1:0 {tls.pair.keys}"
    declared = declared.replace(change[0], f"{change[1]} ".replace("# ", ""), 1) if change[0] else declared + change[1]
    declared = " ".join(word for word in declared.split() if "=" in word or ":" in word)
    done = subprocess.run([os.environ["SLUICE"], "check-config", "--http", declared], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and why in done.stderr, done


def test_a_key_that_is_another_certificates_is_refused(authority: Authority, tls: Tls) -> None:
    other = authority.issue("other")
    declared = f"127.0.0.1:0 tls-cert={tls.pair.cert} tls-key={other.key}"
    done = subprocess.run([os.environ["SLUICE"], "check-config", "--http", declared], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "tls-cert=" in done.stderr, done


# Handshakes that do not end.


def hello_bytes(tls: Tls) -> bytes:
    """The first flight of a client."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@again_after_a_stall(0.25)
def test_handshakes_that_do_not_go_on_end_in_time_cost_little_and_delay_nobody(tls: Tls, channel: str) -> None:
    hello = hello_bytes(tls)
    with Server("--head-timeout", "1s", "--shards", "1", tls=tls) as server, EventStream(server, path_of(channel)) as stream:
        assert stream.next_block()
        before = server.resident_bytes()
        crowd = [plain(server) for _ in range(600)]
        for i, connection in enumerate(crowd):
            connection.sendall((b"", hello[:1], hello[:100], hello)[i % 4])
        publish(server, channel, "meanwhile")
        assert stream.next_event().data == "meanwhile"
        grown = server.resident_bytes() - before
        if not is_sanitized():
            assert grown < 600 * 40_000, f"{grown} bytes for {len(crowd)} handshakes"
        for connection in crowd:
            read_all(connection)
            connection.close()
        assert metric(server, "tls_failed_total") >= 600
        publish(server, channel, "afterwards")
        assert stream.next_event().data == "afterwards"


def read_to_the_end(connection: socket.socket) -> bytes:
    """A reset raises."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize("behind", [0, 300, 100_000])
def test_why_a_handshake_failed_is_told_to_who_goes_on_sending(server: Server, tls: Tls, behind: int) -> None:
    """The end is one, and no reset, which may take the alert with it."""
    stranger = Tls(tls.authority, tls.pair)
    stranger.client = tls.authority.context()
    stranger.client.set_alpn_protocols(["h2"])
    with plain(server) as connection:
        connection.sendall(hello_bytes(stranger) + bytes(behind))
        assert read_to_the_end(connection) == ALERT_NO_PROTOCOL


@pytest.mark.parametrize("noise", [b"\x16", b"\x16\x03\x01\xff\xff" + bytes(70000), b"\x16\x03\x01\x00\x00" * 100, b"\x16\x03\x01\x00\x05hello",
                                   b"\x80\x2e\x01\x03\x01", bytes(100), b"\x15\x03\x01\x00\x02\x02\x28", b"\x14\x03\x01\x00\x01\x01"])
def test_noise_instead_of_a_handshake(server: Server, noise: bytes) -> None:
    with plain(server) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    assert get(server, "/healthz").status == 200


# Everything goes over it.


def test_curl_uploads_and_downloads(server: Server, tls: Tls, tmp_path: pathlib.Path, channel: str) -> None:
    data = random.Random(1).randbytes(700_000)
    (tmp_path / "data").write_bytes(data)
    kind = ("-H", "Content-Type: application/octet-stream")
    for options in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue"), ("-T", str(tmp_path / "data"))):
        upload = options if "-T" in options else ("--data-binary", f"@{tmp_path}/data", *options)
        assert curl(server, tls, path_of(channel), *upload, *kind, "-o", "/dev/null", "-w", "%{http_code}").stdout == b"201", options
        assert curl(server, tls, path_of(channel, last=1)).stdout == data, options
    for name in ("index.html", "sluice.js"):
        assert curl(server, tls, f"/{name}").stdout == (SOURCE / "static" / name).read_bytes()
    done = curl(server, tls, "/healthz", "-v", f"https://localhost:{server.port}/healthz")
    assert b"SSL connection using TLSv1.3" in done.stderr and b"Re-using existing connection" in done.stderr.replace(b"Reusing", b"Re-using")


def test_a_large_file_is_sent_whole_and_never_plain(tls: Tls, tmp_path: pathlib.Path) -> None:
    data = random.Random(2).randbytes(6 * MIB)
    (tmp_path / "large.bin").write_bytes(data)
    with Server("--static-dir", str(tmp_path), tls=tls) as server:
        assert curl(server, tls, "/large.bin").stdout == data
        assert curl(server, tls, "/large.bin", "-r", "0-", "--limit-rate", "4M").stdout == data


def test_heads_of_many_sizes_and_many_at_once_on_one_connection(server: Server) -> None:
    with Connection(server) as connection:
        for size in (1, 300, 3000, 20_000, 5, 12_000, 31_000, 40):
            assert connection.request("GET", "/healthz", X_Padding="x" * size).status == 200
        assert connection.request("GET", "/healthz", X_Padding="x" * 33_000).status == 431
    with Connection(server) as connection:
        connection.send(b"".join(request_bytes("GET", f"/healthz?{i}", X_Padding="x" * (i * 7 % 900)) for i in range(200)))
        assert [connection.read_response().status for _ in range(200)] == [200] * 200


def test_bodies_that_come_with_their_heads_and_what_follows(server: Server, channel: str) -> None:
    bodies = [os.urandom(size).hex() for size in (1, 5000, 9000, 20_000, 100)]
    with Connection(server) as connection:
        connection.send(b"".join(request_bytes("POST", path_of(channel), body, Content_Type="text/plain") for body in bodies))
        assert [connection.read_response().status for _ in bodies] == [201] * len(bodies)
        answer = connection.request("GET", path_of(channel, since="earliest"), Accept="application/json")
        assert [message["data"] for message in answer.json["messages"]] == bodies


def test_what_follows_a_body_may_be_more_than_a_head_may_be(tls: Tls, channel: str) -> None:
    """It comes in the same records, so it is out of the socket before it is looked at."""
    body = b"4\r\nlast\r\n0\r\n\r\n"
    with Server("--head-size", "1024", tls=tls) as server, Connection(server) as connection:
        connection.send(request_bytes("POST", path_of(channel), Transfer_Encoding="chunked", Expect="100-continue"))
        assert connection.read_head().status == 100
        connection.send(body + b"GET /" + b"a" * 15_000)
        assert connection.read_response().status == 201
        assert connection.read_response().status in (414, 431)
        assert get(server, "/healthz").status == 200


def test_websockets_and_tcp(server: Server, channel: str) -> None:
    with WebSocket(server, path_of(channel)) as websocket, Raw(server) as raw:
        wait_until(lambda: subscribers(server, channel)["websocket"] == 1)
        assert raw.ask(f"PUBLISH {channel} by tcp".encode())
        assert "by tcp" in websocket.take()
        large = "y" * 300_000
        publish(server, channel, large)
        assert large in websocket.take()


def test_gnutls_speaks_tcp_with_us(server: Server, tls: Tls) -> None:
    words = ["gnutls-cli", "--x509cafile", str(tls.authority.pair.cert), "--verify-hostname=localhost", "--port", str(tcp_port(server)), "127.0.0.1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin and client.stdout
        client.stdin.write("PING\r\n")
        client.stdin.flush()
        assert any("PONG" in line for line in client.stdout)
        client.terminate()


@pytest.mark.parametrize("option", [("-maxfraglen", "512"), ("-maxfraglen", "4096"), ("-split_send_frag", "700", "-max_pipelines", "1")])
def test_clients_that_take_short_records_get_them(server: Server, tls: Tls, channel: str, option: tuple[str, ...]) -> None:
    data = random.Random(3).randbytes(60_000).hex()
    publish(server, channel, data)
    said = s_client(server, tls, *option, "-quiet", "-ign_eof",
                    text=request_bytes("GET", path_of(channel, last=1), Connection="close").decode())
    assert said.count(data) == 1, said[:2000]


@pytest.mark.parametrize("size", [512, 700, 4096])
def test_a_limit_of_records_is_kept(server: Server, tls: Tls, channel: str, size: int) -> None:
    data = random.Random(4).randbytes(60_000).hex()
    publish(server, channel, data)
    words = ["gnutls-cli", "--x509cafile", str(tls.authority.pair.cert), "--verify-hostname=localhost", f"--recordsize={size}",
             "--port", str(server.port), "127.0.0.1"]
    asked = request_bytes("GET", path_of(channel, last=1), Connection="close")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin and client.stdout
        client.stdin.write(asked)
        client.stdin.flush()
        assert client.stdout.read().count(data.encode()) == 1


# Records cut anywhere, and clients that read slowly.


class Bare:
    """A client whose records are in the test's hand: sent in pieces, read in pieces."""

    def __init__(self, server: Server, tls: Tls, seed: int, port: int | None = None, receive_buffer: int = 4096) -> None:
        self.random = random.Random(seed)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port or server.port))
        self.buffer = b""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = tls.client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.run(self.session.do_handshake)

    def flush(self) -> None:
        data = self.outgoing.read()
        while data:
            size = self.random.choice((1, 2, 5, 6, 100, 2000, 20_000))
            self.socket.sendall(data[:size])
            data = data[size:]

    def run(self, step):  # type: ignore[no-untyped-def]
        while True:
            try:
                result = step()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.socket.recv(self.random.choice((1, 3, 5, 17, 1000, 16_384)))
                if piece:
                    self.incoming.write(piece)
                else:
                    self.incoming.write_eof()

    def send(self, data: bytes) -> None:
        while data:
            size = self.random.choice((1, 50, 3000, 16_384, 40_000))
            self.session.write(data[:size])
            self.flush()
            data = data[size:]

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            piece = self.run(lambda: self.session.read(self.random.choice((1, 100, 4000, 16_384))))
            assert piece, f"the end after {len(self.buffer)} of {size} bytes"
            self.buffer += piece
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_answer(self) -> tuple[int, bytes]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length, head
        return int(head.split()[1]), self.read(int(length[1]))

    def close(self) -> None:
        self.socket.close()


@pytest.mark.parametrize("seed", range(4))
def test_records_cut_anywhere_carry_every_byte(server: Server, tls: Tls, channel: str, seed: int) -> None:
    chance = random.Random(seed)
    client = Bare(server, tls, seed)
    sent = []
    for i in range(6):
        data = bytes(chance.choices(b"abcdefgh", k=chance.choice((1, 900, 16_384, 16_385, 50_000))))
        sent.append(data.decode())
        client.send(request_bytes("POST", path_of(channel), data, Content_Type="text/plain", X_Padding="x" * chance.randrange(3000)))
        assert client.read_answer()[0] == 201
    client.send(request_bytes("GET", path_of(channel, since="earliest", transport="json")))
    assert [message["data"] for message in json.loads(client.read_answer()[1])["messages"]] == sent
    client.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_read_slowly_and_in_pieces_misses_nothing(tls: Tls, channel: str, seed: int) -> None:
    with Server("--shards", "1", "--history-size", "5000", "--history-bytes", "64MiB", tls=tls) as server:
        client = Bare(server, tls, seed)
        client.send(request_bytes("GET", path_of(channel, since="earliest", transport="stream"), version="HTTP/1.0"))
        wait_until(lambda: subscribers(server, channel)["stream"] == 1)
        chance = random.Random(seed)
        texts = [f"{i}:" + "z" * chance.choice((1, 100, 3000, 40_000)) for i in range(120)]
        for text in texts:
            publish(server, channel, text)
        seen, rest = [], b""
        while len(seen) < len(texts):
            piece = client.run(lambda: client.session.read(client.random.choice((1, 100, 16_384))))
            assert piece
            rest += piece
            *lines, rest = rest.split(b"\n")
            seen += [re.search(rb'"data":"([^"]*)"', line)[1].decode() for line in lines if b'"data":"' in line]
        assert seen == texts
        client.close()


@again_after_a_stall(0.25)
def test_who_reads_nothing_is_cut_and_the_others_are_served(tls: Tls, channel: str) -> None:
    with Server("--shards", "1", "--slow-client-timeout", "1s", tls=tls) as server, EventStream(server, path_of(channel)) as good:
        slow = Bare(server, tls, 1)
        slow.send(request_bytes("GET", path_of(channel), Accept="text/event-stream"))
        wait_until(lambda: subscribers(server, channel)["sse"] == 2)
        data = "w" * 200_000
        deadline = time.monotonic() + PATIENCE
        while metric(server, "slow_clients_cut_total") == 0:
            assert time.monotonic() < deadline
            publish(server, channel, data)
            assert good.next_event().data == data
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        slow.close()


def test_an_end_is_told_apart_from_a_cut(tls: Tls, channel: str) -> None:
    with Server("--shards", "1", "--slow-client-timeout", "500ms", tls=tls) as server:
        whole = Bare(server, tls, 1, receive_buffer=65536)
        whole.send(request_bytes("GET", "/healthz", version="HTTP/1.0"))
        while whole.run(lambda: whole.session.read(1000)):
            pass  # an end without close_notify would raise
        cut = Bare(server, tls, 1)
        cut.send(request_bytes("GET", path_of(channel), version="HTTP/1.0", Accept="text/event-stream"))
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        while metric(server, "slow_clients_cut_total") == 0:
            publish(server, channel, "w" * 100_000)
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            while cut.run(lambda: cut.session.read(16_384)):
                pass


# Reload and stop.


def test_a_certificate_is_read_again_and_nobody_is_dropped(authority: Authority, channel: str) -> None:
    own = Tls(authority, authority.issue("renewed"))

    def serial() -> str:
        with own.wrap(plain(server)) as connection:
            return str(connection.getpeercert()["serialNumber"])

    with Server("--tcp", "127.0.0.1:0", tls=own) as server, EventStream(server, path_of(channel)) as stream, Raw(server) as raw:
        assert stream.next_block() and raw.ask(b"PING")
        first = serial()
        authority.issue("renewed")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: serial() != first and serial() != first and serial() != first)
        publish(server, channel, "still there")
        assert stream.next_event().data == "still there" and raw.ask(b"PING")
        second = serial()
        own.pair.cert.write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reload-failed" in server.log())
        assert serial() == second and "tls-cert=" in server.log()
        publish(server, channel, "and again")
        assert stream.next_event().data == "and again"


def test_a_certificate_that_ends_soon_is_warned_of(authority: Authority) -> None:
    with Server(tls=Tls(authority, authority.issue("brief", days=3))) as server:
        assert re.search(r"level=warn event=certificate-ends .* days=[23] ", server.log())


def test_who_is_held_is_let_go_when_the_server_stops(tls: Tls, channel: str) -> None:
    with Server("--drain-time", "200ms", "--tcp", "127.0.0.1:0", tls=tls) as server:
        streams = [EventStream(server, path_of(channel)) for _ in range(20)]
        polls = [Connection(server) for _ in range(5)]
        silent = [plain(server) for _ in range(5)]
        raw = Raw(server)
        for poll in polls:
            poll.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: subscribers(server, channel)["sse"] == 20 and subscribers(server, channel)["poll"] == 5)
        server.process.send_signal(signal.SIGTERM)
        for stream in streams:
            while stream.more():
                pass
            assert stream.ended_cleanly
        assert {poll.read_response().status for poll in polls} == {204}
        raw.read_to_end()
        for connection in silent:
            assert read_all(connection) == b""


# Certificates of clients.

RULES = '[channel "secret/**"]\nsubscribe = token\npublish = token\n'


@pytest.fixture(scope="module")
def people() -> Authority:
    """Who signs the certificates of clients."""
    return Authority("people")


def certified(tls: Tls, people: Authority, tmp_path: pathlib.Path, clients: str, *options: str) -> Server:
    (tmp_path / "rules.ini").write_text(RULES)
    keys = f" {tls.pair.keys} tls-client-ca={people.pair.cert} tls-client={clients}"
    return Server("--config", str(tmp_path / "rules.ini"), "--tcp", f"127.0.0.1:0 framing=crlf{keys}", *options, http=f"127.0.0.1:0{keys}", tls=tls)


def showing(tls: Tls, client: Pair | None) -> Tls:
    shown = Tls(tls.authority, tls.pair)
    shown.client = tls.authority.context(client)
    return shown


def status_of(server: Server, method: str, path: str, **headers: str) -> int | None:
    """None when the handshake is refused; in TLS 1.3 the client learns of that at the first read."""
    try:
        return request(server, method, path, "x" if method == "POST" else None, **headers).status
    except (ssl.SSLError, ConnectionError, AssertionError):
        return None


def test_only_certificates_of_clients_who_were_signed_for_it_are_let_in(tls: Tls, people: Authority, authority: Authority, tmp_path: pathlib.Path) -> None:
    good = people.issue("good", names="URI:urn:device:1", subject="/CN=device", usage="clientAuth")
    bad = {
        "none": None,
        "a stranger's": authority.issue("stranger", usage="clientAuth"),
        "a server's": people.issue("a-server"),
        "over": people.issue("over", usage="clientAuth", days=-1),
        "nameless": people.issue("nameless", names="", subject="/O=nobody", usage="clientAuth"),
        "with a line end in its name": people.issue("odd", names="", subject="/CN=a\nb", usage="clientAuth"),
    }
    with certified(tls, people, tmp_path, "required") as server:
        for why, pair in bad.items():
            server.tls = showing(tls, pair)
            assert status_of(server, "GET", "/healthz") is None, why
        server.tls = showing(tls, good)
        for _ in range(2):
            assert status_of(server, "GET", "/healthz") == 200
        assert status_of(server, "POST", path_of("secret/a")) == 201


def test_a_request_that_came_with_the_certificate_does_not_hide_why_it_is_refused(tls: Tls, people: Authority, tmp_path: pathlib.Path) -> None:
    """In TLS 1.3 a client is done with the handshake before the server has seen its certificate."""
    with certified(tls, people, tmp_path, "required") as server, showing(tls, None).wrap(plain(server)) as connection:
        assert connection.version() == "TLSv1.3"
        connection.sendall(request_bytes("POST", path_of("a"), "x" * 60_000))
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            connection.recv(1000)


def test_a_certificate_does_what_needs_a_token(tls: Tls, people: Authority, tmp_path: pathlib.Path) -> None:
    good = people.issue("device", names="URI:urn:device:1", usage="clientAuth")
    with certified(tls, people, tmp_path, "optional") as server:
        ask = {"GET": path_of("secret/a", wait=0), "POST": path_of("secret/a")}
        server.tls = showing(tls, None)
        assert [status_of(server, method, path) for method, path in ask.items()] == [401, 401]
        assert status_of(server, "POST", path_of("open")) == 201
        server.tls = showing(tls, good)
        assert [status_of(server, method, path) for method, path in ask.items()] == [204, 201]
        with EventStream(server, path_of("secret/a")) as stream, WebSocket(server, path_of("secret/a")) as websocket:
            wait_until(lambda: subscribers(server, "secret/a")["websocket"] == 1 and subscribers(server, "secret/a")["sse"] == 1)
            publish(server, "secret/a", "for those who are known")
            assert stream.next_event().data == "for those who are known" and "for those who" in str(websocket.take())
        # Browsers show a certificate whoever's page asks.
        foreign = {"Origin": "https://elsewhere.example"}
        assert status_of(server, "GET", ask["GET"], **foreign) == 401
        assert status_of(server, "POST", ask["POST"], Sec_Fetch_Site="cross-site") in (401, 403)
        assert status_of(server, "POST", ask["POST"], Sec_Fetch_Site="same-origin") == 201


def test_a_subject_that_is_revoked_is_out(tls: Tls, people: Authority, tmp_path: pathlib.Path) -> None:
    lost = people.issue("lost", names="URI:urn:device:3", usage="clientAuth")
    with certified(tls, people, tmp_path, "optional") as server:
        server.tls = showing(tls, lost)
        with EventStream(server, path_of("secret/r")) as stream:
            assert stream.next_block()
            assert request(server, "DELETE", "/api/tokens?sub=urn:device:3").status == 200
            ended = stream.next_event()
            assert ended.event == "expired" and "token-revoked" in (ended.data or "")
        assert status_of(server, "POST", path_of("secret/r")) == 401


def test_no_certificate_is_good_before_it_is_known_who_is_revoked(tls: Tls, people: Authority, tmp_path: pathlib.Path) -> None:
    """A node that is started while Redis is away."""
    lost = people.issue("lost-there", names="URI:urn:device:4", usage="clientAuth")
    kept = people.issue("kept-there", names="URI:urn:device:5", usage="clientAuth")
    with RedisServer(aof=True) as redis:
        options = ("--broker", redis.url(), *NODE_OPTIONS)
        with certified(tls, people, tmp_path, "optional", *options) as server:
            await_ready(server)
            assert request(server, "DELETE", "/api/tokens?sub=urn:device:4").status == 200
        redis.kill()
        with certified(tls, people, tmp_path, "optional", *options) as server:
            at_first = {}
            for client in (lost, kept):
                server.tls = showing(tls, client)
                at_first[client.cert.name] = [get(server, path_of("secret/a", wait=0)).error, request(server, "POST", path_of("secret/a"), "x").error]
                with Raw(server) as raw:
                    assert raw.ask(b"SUBSCRIBE secret/a").startswith(b"ERROR broker-down")
            assert at_first == {client.cert.name: ["broker-down"] * 2 for client in (lost, kept)}
            redis.start()
            await_ready(server)
            assert status_of(server, "POST", path_of("secret/a")) == 201
            server.tls = showing(tls, lost)
            assert get(server, path_of("secret/a", wait=0)).error == "token-revoked"


def test_a_certificate_counts_over_tcp(tls: Tls, people: Authority, tmp_path: pathlib.Path) -> None:
    good = people.issue("by-tcp", names="URI:urn:device:2", usage="clientAuth")
    with certified(tls, people, tmp_path, "optional") as server:
        server.tls = showing(tls, None)
        with Raw(server) as stranger:
            assert stranger.ask(b"SUBSCRIBE secret/t").startswith(b"ERROR no-token")
        server.tls = showing(tls, good)
        with Raw(server) as known:
            assert known.ask(b"SUBSCRIBE secret/t") == b"CONFIRMED"
            assert known.ask(b"PUBLISH secret/t hello").startswith((b"CONFIRMED", b"hello"))


def test_a_resumed_session_is_its_certificates(tls: Tls, people: Authority, tmp_path: pathlib.Path) -> None:
    good = people.issue("again", usage="clientAuth")
    with certified(tls, people, tmp_path, "optional") as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = tls.authority.context(good)
            context.minimum_version = context.maximum_version = version
            session, reused = None, []
            for _ in range(3):
                with context.wrap_socket(plain(server), server_hostname="localhost", session=session) as connection:
                    connection.sendall(request_bytes("POST", path_of("secret/b"), "x", Connection="close"))
                    assert read_all(connection).startswith(b"HTTP/1.1 201")
                    session = connection.session
                    reused.append(connection.session_reused)
            assert reused == [False, True, True]


# The tests of others, whose clients speak TLS then.


def over_tls(*words: str) -> None:
    folder = pathlib.Path(__file__).parent
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "SLUICE_OVER_TLS": "1", "PYTHONDONTWRITEBYTECODE": "1"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_storm_over_tls() -> None:
    """Subscribers of all kinds who come and go, on several shards, while others publish."""
    over_tls("test_roaming.py", "-k", "test_roaming_over_memory")


@pytest.mark.long
@pytest.mark.parametrize("file", ["batch", "drain", "longpoll", "publish", "roaming", "sockjs_sessions", "sockjs_transports",
                                  "sockjs_websocket", "stop_reload", "websocket_commands"])
def test_other_tests_pass_over_tls(file: str) -> None:
    over_tls(f"test_{file}.py", "-m", "not long and not soak")
