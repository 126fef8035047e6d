# SPDX-License-Identifier: MIT
"""Raw TCP: framings, commands, and clients that misbehave."""

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator

import pytest
from support.client import Connection, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.server import Server, wait_until
from support.tcp import Raw, tcp_addresses, tcp_port

CRLF, NUL, LEN32, AUTO, ECHO, LENGTH_ECHO, PING = range(7)
ENDS = {CRLF: b"\r\n", NUL: b"\0", LEN32: None, AUTO: b"\r\n", ECHO: b"\r\n", LENGTH_ECHO: None, PING: b"\r\n"}
LISTENERS = ("framing=crlf", "framing=nul", "framing=len32", "", "framing=crlf input=echo", "framing=len32 input=echo",
             "framing=crlf ping=1")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = [word for text in LISTENERS for word in ("--tcp", f"127.0.0.1:0 {text}")]
    with Server(*options, "--message-size", "1000", "--slow-client-timeout", "2", "--shards", "2") as running:
        yield running


def raw(server: Server, index: int = CRLF) -> Raw:
    return Raw(server, index, ENDS[index])


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_every_command_and_its_answer(server: Server, channel: str, index: int) -> None:
    name = channel.encode()
    with raw(server, index) as client:
        assert client.ask(b"SUBSCRIBE " + name) == b"CONFIRMED"
        assert client.ask(b"subscribe " + name) == b"ALREADY SUBSCRIBED"
        client.put(b"PUBLISH " + name + b" follow the  white rabbit")
        assert sorted([client.take(), client.take()]) == [b"CONFIRMED", b"follow the  white rabbit"]
        assert client.ask(b"Unsubscribe " + name) == b"CONFIRMED"
        assert client.ask(b"UNSUBSCRIBE " + name) == b"ALREADY UNSUBSCRIBED"
        assert client.ask(b"fly " + name) == b"UNKNOWN COMMAND"
        assert client.ask(b"") == b"UNKNOWN COMMAND"
        assert client.ask(b"PING") == b"PONG"
        assert client.ask(b"PING a b") == b"a b"
        assert client.ask(b"ECHO a  b ") == b"a  b "
        assert b"SUBSCRIBE" in client.ask(b"HELP")
        assert client.ask(b"HISTORY " + name + b" last=1") == b"follow the  white rabbit"
        assert client.take() == b"CONFIRMED"
        assert client.ask(b"FORMAT json") == b"CONFIRMED"
        message = json.loads(client.ask(b"HISTORY " + name))
        assert message["data"] == "follow the  white rabbit" and message["op"] == "message"
        assert client.take() == b"CONFIRMED"
        assert client.ask(b"QUIT") == b"CONFIRMED"
        assert client.is_closed()


def test_without_a_channel_the_default_is_meant(server: Server) -> None:
    with raw(server) as client:
        assert client.ask(b"SUBSCRIBE") == b"CONFIRMED"
        assert client.ask(b"SUBSCRIBE updates") == b"ALREADY SUBSCRIBED"
        publish(server, "updates", "one")
        assert client.take() == b"one"


@pytest.mark.parametrize(("command", "error"), [
    (b"SUBSCRIBE a//b", b"bad-channel"), (b"SUBSCRIBE a nonsense", b"bad-cursor"), (b"PUBLISH a", b"bad-command"),
    (b"PUBLISH a//b x", b"bad-channel a channel name has no empty,"), (b"FORMAT xml", b"bad-command"), (b"HISTORY a last=x", b"bad-cursor"),
    (b"PUBLISH a " + 1001 * b"x", b"too-large"), (b"ECHO " + 1000 * b"x", b"too-large"), (5000 * b"x", b"too-large"),
])
def test_errors_say_what_is_wrong_and_the_connection_goes_on(server: Server, command: bytes, error: bytes) -> None:
    for index in (CRLF, NUL):
        with raw(server, index) as client:
            assert client.ask(command).startswith(b"ERROR " + error + b" ")
            assert client.has_nothing()


def test_a_length_over_the_limit_closes(server: Server) -> None:
    with raw(server, LEN32) as client:
        # Not reset while it still sends: it could not read the answer then.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.send(struct.pack(">I", 5000) + 3_000_000 * b"x")
        assert client.take().startswith(b"ERROR too-large ")
        assert client.is_closed()


@pytest.mark.parametrize("head", [b"", b"ECHO ", b"PUBLISH limit/a "])
@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_the_largest_frame_is_taken_and_one_byte_more_is_not(server: Server, index: int, head: bytes) -> None:
    size = 1000 if head.startswith(b"PUBLISH") else 1000 - len(head)
    taken = {b"": b"UNKNOWN COMMAND", b"ECHO ": size * b"x"}.get(head, b"CONFIRMED")
    with raw(server, index) as client:
        client.put(b"PUBLISH limit/a x", head + size * b"x", b"PUBLISH limit/a x", head + (size + 1) * b"x")
        assert [client.take() for _ in range(3)] == [b"CONFIRMED", taken, b"CONFIRMED"]
        assert client.take() == b"ERROR too-large a frame, or the data of PUBLISH, has at most 1000 bytes (message-size)"
        assert client.is_closed() if index == LEN32 else client.has_nothing()


@pytest.mark.parametrize("index", [ECHO, LENGTH_ECHO])
def test_the_largest_frame_is_echoed_and_one_byte_more_is_not(server: Server, index: int) -> None:
    with raw(server, index) as client:
        assert client.ask(1000 * b"x") == 1000 * b"x"
        assert client.ask(1001 * b"x").startswith(b"ERROR too-large ")
        assert client.is_closed() if index == LENGTH_ECHO else client.ask(b"y") == b"y"


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_a_frame_too_large_is_told_after_what_came_before_it(server: Server, index: int) -> None:
    with raw(server, index) as client:
        client.put(*(5 * [b"PUBLISH limit/a x"]), 5000 * b"x")
        assert [client.take() for _ in range(5)] == 5 * [b"CONFIRMED"]
        assert client.take().startswith(b"ERROR too-large ")


@pytest.mark.parametrize("index", [CRLF, NUL])
def test_a_frame_too_large_is_told_before_its_end_has_come(server: Server, index: int) -> None:
    end = ENDS[index] or b""
    with raw(server, index) as client:
        client.send(5 * (b"PUBLISH limit/a x" + end) + 5000 * b"x")
        assert [client.take() for _ in range(5)] == 5 * [b"CONFIRMED"]
        assert client.take().startswith(b"ERROR too-large ")
        client.send(5000 * b"x" + end)
        assert client.has_nothing()


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_a_byte_at_a_time(server: Server, channel: str, index: int) -> None:
    name = channel.encode()
    with raw(server, index) as client, raw(server, index) as scratch:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frames = [b"SUBSCRIBE " + name, b"PUBLISH " + name + b" x", b"PING"]
        data = b"".join(struct.pack(">I", len(f)) + f if scratch.ends is None else f + scratch.ends for f in frames)
        client.send_bytewise(data)
        assert client.take() == b"CONFIRMED"
        assert sorted(client.take() for _ in range(3)) == [b"CONFIRMED", b"PONG", b"x"]


def test_a_cursor_goes_on_where_the_client_left_off(server: Server, channel: str) -> None:
    first = publish(server, channel, "1")
    publish(server, channel, "2")
    with raw(server) as client:
        assert client.ask(f"SUBSCRIBE {channel} {first}".encode()) == b"CONFIRMED"
        assert client.take() == b"2"
        publish(server, channel, "3")
        assert client.take() == b"3"
    request(server, "DELETE", f"/api/channels/{channel}")
    publish(server, channel, "4")
    with raw(server) as client:
        assert client.ask(f"SUBSCRIBE {channel} {first}".encode()) == b"CONFIRMED"
        words = client.take().decode().split(" ")
        assert words[:2] == ["RESET", channel] and words[2] in ("epoch", "purged") and len(words) == 4
        assert client.take() == b"4"


def test_json_has_the_members_of_the_stream(server: Server, channel: str) -> None:
    with raw(server) as client, LineStream(server, path_of(channel)) as stream:
        assert client.ask(b"FORMAT json") == b"CONFIRMED"
        assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        stream.next_line()
        publish(server, channel, "x")
        line = stream.next_line()
        del line["cursor"]
        assert json.loads(client.take()) == {"op": "message", **line}


def test_data_with_the_delimiter_in_it_never_breaks_a_frame(server: Server, channel: str) -> None:
    with raw(server, CRLF) as lines, raw(server, NUL) as nuls, raw(server, LEN32) as lengths:
        for client in (lines, nuls, lengths):
            assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        publish(server, channel, "a\r\nb\n")
        assert json.loads(lines.take()) == "a\r\nb\n"
        assert nuls.take() == lengths.take() == b"a\r\nb\n"
        publish(server, channel, b"\xff\0\n", Content_Type="application/octet-stream")
        assert lines.take() == nuls.take() == b'"/wAK"'
        assert lengths.take() == b"\xff\0\n"


def test_echo_gives_back_every_byte(server: Server) -> None:
    with raw(server, ECHO) as client:
        client.send(b"one\ntwo\r\n\r\nthree")
        assert client.read_exactly(10) == b"one\ntwo\r\n\r"
        client.send(b"\n")
        assert client.read_exactly(7) == b"\nthree\n"
    with raw(server, LENGTH_ECHO) as client:
        assert client.ask(bytes(range(256))) == bytes(range(256))


def test_an_echo_larger_than_any_buffer_comes_back_whole(server: Server) -> None:
    lines = b"".join(b"%09d\n" % i for i in range(400_000))
    with raw(server, ECHO) as client:
        sender = threading.Thread(target=client.send, args=(lines,))
        sender.start()
        assert client.read_exactly(len(lines)) == lines
        sender.join()


def test_half_closed_clients_get_what_is_pending(server: Server, channel: str) -> None:
    for text in ("1", "2"):
        publish(server, channel, text)
    with raw(server) as client:
        client.put(f"SUBSCRIBE {channel} earliest".encode(), f"PUBLISH {channel} 3".encode(), b"PING")
        client.socket.shutdown(socket.SHUT_WR)
        frames = client.read_to_end().split(b"\r\n")
        assert sorted(frames) == sorted([b"CONFIRMED", b"1", b"2", b"CONFIRMED", b"3", b"PONG", b""])


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32, AUTO, ECHO, LENGTH_ECHO])
def test_http_on_a_tcp_port_runs_nothing(server: Server, channel: str, index: int) -> None:
    with raw(server, index) as client:
        body = f"PUBLISH {channel} evil\r\n"
        client.send(request_bytes("POST", "/", body))
        response = client.read_response()
        assert response.status == 400 and response.error == "bad-request" and "raw TCP" in response.json["message"]
        assert client.is_closed()
    assert get(server, f"/api/channels/{channel}").status == 404


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32, AUTO, ECHO, LENGTH_ECHO])
def test_tls_on_a_tcp_port_is_told_so(server: Server, index: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with raw(server, index) as client, pytest.raises(ssl.SSLError, match="ALERT_HANDSHAKE_FAILURE"):
        context.wrap_socket(client.socket)


GREETINGS = {"http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "smtp": b"EHLO there\r\nMAIL FROM:<a@b.c>\r\nQUIT\r\n",
             "ssh": b"SSH-2.0-OpenSSH_9.2\r\n", "resp": b"*1\r\n$4\r\nPING\r\n", "lines": b"PING\r\n", "nuls": b"PING\0",
             "lengths": b"\0\0\0\4PING", "mqtt": b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", "noise": bytes(range(256)) * 8,
             "tls": b"\x16\x03\x01\x02\x00\x01" + 512 * b"\x07", "nothing": b""}


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32, AUTO, ECHO, LENGTH_ECHO, PING])
@pytest.mark.parametrize("greeting", GREETINGS)
def test_whatever_a_client_speaks_comes_to_an_end(server: Server, greeting: str, index: int) -> None:
    for is_bytewise in (False, True):
        with raw(server, index) as client:
            if is_bytewise:
                with contextlib.suppress(ConnectionError):  # ends as soon as it is clear that it is nothing for us
                    client.send_bytewise(GREETINGS[greeting][:100])
            else:
                client.send(GREETINGS[greeting])
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
            client.read_to_end()
    assert get(server, "/healthz").status == 200


@pytest.mark.parametrize("data", [b"SUBSCRIBE updates\r\n", b"SUBSCRIBE updates\0", b"\0\0\0\4PING", b"*1\r\n$4\r\nPING\r\n"])
def test_tcp_on_the_http_port_is_answered_and_closed(data: bytes) -> None:
    with Server("--head-timeout", "0.2") as server, Connection(server) as client:
        client.send(data)
        assert client.read_response().status in (400, 408)


def test_auto_is_resp_or_lines_as_the_first_bytes_show(server: Server) -> None:
    for first, expected in ((b"PING\r\n", b"+PONG\r\n"), (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"), (b"HELP\r\n", b"SUBSCRIBE"),
                            (b"SUBSCRIBE\r\n", b"CONFIRMED\r\n"), (b"x\n", b"UNKNOWN COMMAND\r\n")):
        with raw(server, AUTO) as client:
            client.send_bytewise(first)
            assert client.read_exactly(len(expected)) == expected


def test_who_never_reads_is_cut_and_the_others_get_everything_in_order(server: Server, channel: str) -> None:
    deaf = [raw(server) for _ in range(3)]
    ears = [raw(server) for _ in range(27)]
    for client in deaf:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for client in deaf + ears:
        assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
    with Connection(server) as publisher:
        for number in range(9000):
            assert publisher.request("POST", path_of(channel), f"{number:0999}", Content_Type="text/plain").status == 201
            if number % 100 == 99:
                for client in ears:
                    for expected in range(number - 99, number + 1):
                        assert client.take() == b"%0999d" % expected
    wait_until(lambda: subscribers(server, channel)["tcp"] == len(ears))
    for client in deaf + ears:
        client.close()


def test_pings_when_asked_for(server: Server) -> None:
    with raw(server, PING) as client:
        assert client.take() == b"PING"
        client.put(b"PONG", b"PING")
        assert client.take() == b"PONG"


def timer_of(server: Server, client: Raw) -> str:
    """Which timer the kernel keeps for the server's end: 02 is keepalive (proc(5), /proc/net/tcp)."""
    port, peer = (f"{address[1]:04X}" for address in (client.socket.getpeername(), client.socket.getsockname()))
    for line in open("/proc/net/tcp", encoding="ascii"):
        words = line.split()
        if words[1].endswith(":" + port) and words[2].endswith(":" + peer):
            return words[5].split(":")[0]
    return ""


def test_idle_clients_are_kept_by_keepalive(server: Server) -> None:
    with raw(server) as client:
        assert client.ask(b"PING") == b"PONG"
        wait_until(lambda: timer_of(server, client) == "02", what="the keepalive timer")


def test_stopping_flushes_and_closes(channel: str) -> None:
    server = Server("--tcp", "127.0.0.1:0", "--drain-time", "0.5").start()
    clients = [Raw(server) for _ in range(20)]
    for client in clients:
        assert client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
    data = 500_000 * "x"
    publish(server, channel, data)
    server.process.send_signal(signal.SIGTERM)
    for client in clients:
        told, last = client.read_to_end().split(b"\r\n", 1)
        assert told == data.encode() and last.startswith(b"ERROR stopping ")
        client.close()
    server.stop()
    server.folder.cleanup()


def test_a_unix_socket_has_its_mode_replaces_a_stale_one_and_is_removed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "feed")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(path)
        stale.close()
        with Server("--tcp", f"unix:{path} mode=0600 framing=nul", "--shards", "2") as server:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            clients = [Raw(server, 0, b"\0") for _ in range(10)]
            for client in clients:
                assert client.ask(b"PING") == b"PONG"
                client.close()
        assert not os.path.exists(path)


def test_semicolons_separate_listeners_in_the_environment() -> None:
    environment = {"SLUICE_TCP": "127.0.0.1:0 framing=nul feed=a,b; [::1]:0 input=echo"}
    with Server(environment=environment) as server:
        assert len(tcp_addresses(server)) == 2
        with Raw(server, 1) as client:
            assert client.ask(b"x") == b"x"


def test_the_caps_on_connections_are_told(channel: str) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf", "--max-connections", "3") as server:
        clients = [Raw(server) for _ in range(3)]
        for client in clients:
            assert client.ask(b"PING") == b"PONG"
        with Raw(server) as refused:
            assert refused.take().startswith(b"ERROR too-many-connections ")
            assert refused.is_closed()
        for client in clients:
            client.close()


def test_five_thousand_of_whom_a_tenth_never_reads(channel: str) -> None:
    number, messages = 5000, [f"{i} " + 2000 * "x" for i in range(30)]
    with Server("--tcp", "127.0.0.1:0 framing=crlf feed=all", "--history-size", "1000") as server:
        clients = [Raw(server) for _ in range(number)]
        wait_until(lambda: subscribers(server, "all")["tcp"] == number if get(server, "/api/channels/all").status == 200
                   else publish(server, "all", "first") and False, timeout=60)
        held = server.resident_bytes()
        for text in messages:
            publish(server, "all", text)
        for client in (client for place, client in enumerate(clients) if place % 10):
            heard = [""]
            while heard[-1] != messages[-1]:
                heard.append(client.take().decode())
            assert heard[-len(messages):] == messages
        assert subscribers(server, "all")["tcp"] == number
        # Who does not read costs the server nothing beside his socket.
        assert server.resident_bytes() - held < 64 << 20
        for client in clients:
            client.close()


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_a_subscription_says_that_it_wants_the_newest_only(server: Server, channel: str, index: int) -> None:
    name = channel.encode()
    first = publish(server, channel, "begin", Sluice_Key="begin").encode()
    for data in ("a1", "b1", "a2", "b2"):
        publish(server, channel, data, Sluice_Key=data[0])
    for words in (b"earliest policy=newest", b"policy=newest earliest"):
        with raw(server, index) as client:
            client.put(b"SUBSCRIBE " + name + b" " + words)
            assert [client.take() for _ in range(4)] == [b"CONFIRMED", b"begin", b"a2", b"b2"]
    with raw(server, index) as client:
        client.put(b"SUBSCRIBE " + name + b" " + first + b" policy=all")
        assert [client.take() for _ in range(5)] == [b"CONFIRMED", b"a1", b"b1", b"a2", b"b2"]
    with raw(server, index) as client:
        assert client.ask(b"SUBSCRIBE " + name + b" policy=oldest").startswith(b"ERROR bad-option policy must be all or newest")
        assert client.ask(b"SUBSCRIBE " + name + b" policy=newest policy=all").startswith(b"ERROR bad-cursor ")
        assert client.ask(b"SUBSCRIBE " + name + b" now policy=newest more").startswith(b"ERROR bad-command ")
        assert client.ask(b"SUBSCRIBE " + name + b" policy=newest now more").startswith(b"ERROR bad-command ")
        assert client.ask(b"HISTORY " + name + b" policy=newest").startswith(b"ERROR bad-cursor ")
        assert client.ask(b"SUBSCRIBE " + name + b" policy=newest") == b"CONFIRMED"
