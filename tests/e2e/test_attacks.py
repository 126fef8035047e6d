# SPDX-License-Identifier: MIT
"""What somebody who means harm gets, a row each; what stands in other files is named in ELSEWHERE, and is looked for there."""

import contextlib
import itertools
import json
import re
import selectors
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import metric
from support.server import SOURCE, Server, wait_until
from support.tcp import Raw, Resp, command, tcp_addresses, tcp_port
from support.tls import Tls, common_tls
from support.websocket import WebSocket

CROWD = 10_000
# What each of a crowd may cost: with AddressSanitizer an allocation takes several times its size.
EACH_BYTES = 12_000

ELSEWHERE = {
    "a head that two servers read differently: 400 and the end of the connection": "test_bad_input.py::test_framing_that_servers_may_read_differently_is_refused_and_closed",
    "chunks that two servers read differently: the same": "test_bad_input.py::test_chunks_that_are_none_are_refused_in_json",
    "a field in event, producer and id of a publish: 400": "test_bad_input.py::test_options_of_a_publish",
    "a script in JSONP or htmlfile: text, in a sandbox": "../browser/legacy.mjs::what is published arrives as it is, and nothing of it runs",
    "a script as the name of a function: 400": "test_legacy.py::test_hostile_callbacks_are_refused_and_never_repeated",
    "another protocol on a port of raw TCP: an answer in words it may know, and the end": "test_tcp.py::test_whatever_a_client_speaks_comes_to_an_end",
    "a page by its own name that leads here: 421, and nothing": "test_hosts.py::test_a_page_of_the_rebound_name_reads_nothing_publishes_nothing_and_opens_no_websocket",
    "a page of another site, in a browser: nothing": "../browser/cross_site.mjs::a page of another site",
    "a WebSocket of another site: 403": "../browser/cross_site.mjs::WebSocket",
    "somebody else's address in a header: nobody's word but trusted proxies' counts": "test_forwarded.py::test_nobody_else_does",
    "somebody else's address before the connection: closed": "test_proxy_protocol.py::test_only_trusted_proxies_are_heard",
    "a token by another key, or that is over: 401 with the reason": "test_tokens.py::test_a_refusal_says_why",
    "a token that chooses its algorithm, brings its own key, or says a thing twice: 401": "../unit/auth/token_test.c::test_token_header_is_judged",
    "a token signed with a public key as if it were a secret: 401": "../unit/auth/token_test.c::test_token_a_public_key_is_no_secret",
    "a secret that is guessed over one connection: three answers, and the end": "test_token_floods.py::test_a_few_bad_tokens_end_the_connection",
    "a path out of the folder of files: 400 or 404": "test_api.py::test_files_outside_the_folder_are_not_served",
    "three hundred thousand channels: memory stays where it is": "test_limits.py::test_only_so_many_channels_linger_however_many_are_visited",
    "a million channels that are published to: the idle ones go": "test_limits.py::test_a_million_channels_that_are_published_to_stay_within_the_memory_limit",
    "a million channels that are subscribed to: memory stays where it is": "test_limits.py::test_a_million_channels_that_are_subscribed_to_stay_within_the_memory_limit",
    "a million channels at once: 503 from max-channels on": "test_limits.py::test_a_million_channels_at_once_are_kept_to_those_that_there_may_be",
    "bodies that fill the memory: 503 with the limit's name": "test_limits.py::test_a_body_that_does_not_fit_is_refused_and_a_short_one_is_not",
    "handshakes and heads over TLS that never end: their memory is bounded, and new ones are shed": "test_tls_memory.py::test_sessions_fill_half_of_the_memory_and_those_there_are_work_on",
    "connections of a proxy that never say whose they are: 64 wait": "test_proxy_protocol.py::test_those_over_the_limit_who_say_nothing_are_bounded_and_take_nobodys_place",
    "WebSockets that never read: they are cut, the others hear everything": "test_websocket_crowd.py::test_five_thousand_of_which_a_tenth_never_reads",
    "garbage in Redis: what is ours is kept apart from it": "test_redis_garbage.py::test_whatever_stands_in_some_channels_keys_the_others_work",
}


@pytest.mark.parametrize("attack", ELSEWHERE)
def test_what_is_tried_elsewhere_is_there(attack: str) -> None:
    file, name = ELSEWHERE[attack].split("::")
    assert name.lower() in (SOURCE / "tests/e2e" / file).read_text().lower()


# Crowds.

@contextlib.contextmanager
def crowd(server: Server, count: int, first: bytes, port: int = 0, tls: Tls | None = None, is_small: bool = False) -> Iterator[list[socket.socket]]:
    """Connections that have sent that much, and say nothing more. For small ones the kernel keeps little, on the server's side too:
    otherwise what such a crowd does not read fills what it has for all of the machine's connections, and it ends those of others."""
    sockets: list[socket.socket] = []
    try:
        for number in range(count):
            one = socket.socket()
            sockets.append(one)
            if is_small:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 190)
            one.bind((f"127.0.1.{number % 100 + 1}", 0))
            one.connect(("127.0.0.1", port or server.port))
            if tls:
                one = sockets[-1] = tls.wrap(one)
            one.sendall(first)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def tell_peak(capsys: pytest.CaptureFixture[str], who: str, server: Server, before: int) -> None:
    """What the attacker gets of the server's memory, for docs/PERFORMANCE.md."""
    with capsys.disabled():
        print(f"peak of {CROWD} {who}: {server.peak_bytes() >> 20} MiB, {before >> 20} MiB before")


def accepted(server: Server, count: int) -> None:
    wait_until(lambda: metric(server, "connections_accepted_total") >= count, what=f"{count} connections")


def first_bytes(sockets: list[socket.socket], most: int) -> list[bytes]:
    """What each is sent first, or nothing when it is closed; of those that are answered in time."""
    answers: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)
        deadline = time.monotonic() + 60
        while len(answers) < most and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                with contextlib.suppress(ConnectionResetError):
                    answers.append(one.recv(400))
                selector.unregister(one)
    return answers


SLOW = {
    "head": (b"GET /channels/a HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"HTTP/1.1 408"),
    "body": (b"POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx", b"HTTP/1.1 408"),
    "silent": (b"", b"HTTP/1.1 408"),
}


@pytest.mark.parametrize("what", SLOW)
def test_ten_thousand_slow_requests_cost_little_and_end_in_time(capsys: pytest.CaptureFixture[str], what: str) -> None:
    """The attacker gets 408 each, and keeps nobody else from his answer meanwhile."""
    first, answer = SLOW[what]
    with Server("--head-timeout", "4s", "--body-timeout", "4s", "--trusted-proxies", "") as server:
        before = server.resident_bytes()
        with crowd(server, CROWD, first) as sockets:
            accepted(server, CROWD)
            assert server.resident_bytes() - before < CROWD * EACH_BYTES
            assert publish(server, "b")
            answers = first_bytes(sockets, CROWD)
            tell_peak(capsys, f"of a slow {what}" if what != "silent" else "who say nothing", server, before)
            assert len(answers) == CROWD
            assert {text[:len(answer)] for text in answers} <= {answer, b""} and answer in {text[:len(answer)] for text in answers}


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
# How a reader begins, the kind that it is counted as, and what each of a crowd may leave with the server: over TLS a record that was begun.
READERS = {
    "sse": (request_bytes("GET", "/channels/a", Accept="text/event-stream"), "sse", 0),
    "websocket": (request_bytes("GET", "/channels/a", **UPGRADE), "websocket", 0),
    "tcp": (b"SUBSCRIBE a\r\n", "tcp", 0),
    "tls": (request_bytes("GET", "/channels/a", Accept="text/event-stream"), "sse", 20_000),
}


@pytest.mark.parametrize("way", ["sse", *(pytest.param(way, marks=pytest.mark.long) for way in READERS if way != "sse")])
def test_ten_thousand_who_never_read_cost_no_memory_and_delay_nobody(capsys: pytest.CaptureFixture[str], way: str) -> None:
    """The attacker gets as much as his own kernel takes, and is cut; there is one message, however many owe it."""
    first, kind, each_bytes = READERS[way]
    tls = common_tls() if way == "tls" else None
    options = ("--slow-client-timeout", "6s", "--memory-limit", "64MiB", "--history-size", "4", "--message-size", "4MiB", "--connection-memory", "1GiB", "--tcp", "127.0.0.1:0 framing=crlf")
    with Server(*options, tls=tls) as server, EventStream(server, "/channels/a") as reader:
        with crowd(server, CROWD, first, tcp_port(server) if way == "tcp" else 0, tls, is_small=True):
            wait_until(lambda: subscribers(server, "a")[kind] == CROWD + (kind == "sse"), timeout=60)
            before = server.resident_bytes()
            for number in range(6):
                publish(server, "a", f"{number}" * 3_000_000)
                assert reader.next_event().data == f"{number}" * 3_000_000
            assert server.resident_bytes() - before < (100 << 20) + CROWD * each_bytes
            tell_peak(capsys, f"who never read over {way}", server, before)
            wait_until(lambda: metric(server, "slow_clients_cut_total") >= CROWD, timeout=60, what="the cut")
            wait_until(lambda: subscribers(server, "a")[kind] == (kind == "sse"))


def test_ten_thousand_reconnect_within_a_second_after_a_restart(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is refused, and everybody hears the next message."""
    with Server("--trusted-proxies", "") as server:
        port = server.port
    with Server(http=f"127.0.0.1:{port}") as server:
        before = server.resident_bytes()
        began = time.monotonic()
        with crowd(server, CROWD, request_bytes("GET", "/channels/a", Accept="text/event-stream")) as sockets:
            assert {answer[:15] for answer in first_bytes(sockets, CROWD)} == {b"HTTP/1.1 200 OK"}
            assert time.monotonic() - began < 30
            assert subscribers(server, "a")["sse"] == CROWD
            publish(server, "a", "back")
            for one in sockets:
                one.settimeout(20)
                text = b""
                while b"data: back" not in text:
                    part = one.recv(4096)
                    assert part
                    text += part
        tell_peak(capsys, "who come back at once", server, before)


# Fields that a message might bring along.

HOSTILE = ["a\n\nevent: forged\ndata: b", "a\r\revent: forged\rdata: b", "a\r\n\r\nid: 1-1\r\ndata: b", "id: forged\n", "\n", "\r", ":\n", "data", "\ufeffevent: forged",
           "retry: 1\n\nretry: 1", "a\u2028b\u2029c\u0085d", "\x0b\x0c\x1c", "\x1b[2J", "+OK\r\n", "$-1\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", "-ERR forged\r\n",
           "</script><script>", "}\n{\"forged\":1}", "\\u0000", "--sluice\r\nContent-Type: text/html\r\n\r\n<b>"]


@pytest.mark.parametrize("data", HOSTILE, ids=ascii)
def test_data_is_data_in_every_form(server: Server, channel: str, data: str) -> None:
    """The attacker who publishes gets his text told, and no field, event, reply or line of his own."""
    lines = re.sub("\r\n|\r", "\n", data)
    with EventStream(server, path_of(channel)) as events, WebSocket(server, path_of(channel)) as socket_feed, Connection(server) as lines_feed:
        lines_feed.send(request_bytes("GET", path_of(channel), Accept="application/x-ndjson"))
        lines_feed.read_head()
        wait_until(lambda: subscribers(server, channel)["total"] == 3)
        name = publish(server, channel, data, Content_Type="text/plain; charset=utf-8")
        publish(server, channel, "last")
        event, last = events.next_event(), events.next_event()
        assert (event.data, event.id, event.event, last.data) == (lines, name, None, "last")
        assert (socket_feed.take(), socket_feed.take()) == (data, "last")
        told = b""
        while told.count(b'"time":') < 2:
            told += lines_feed.read_chunk()
        objects = [json.loads(line) for line in told.decode().split("\n") if line.strip()]
        assert [one["data"] for one in objects if "data" in one] == [data, "last"]


@pytest.mark.parametrize("data", HOSTILE, ids=ascii)
def test_data_is_data_for_redis_clients(data: str) -> None:
    """The same over the protocol of Redis: it is counted, so no reply or message of his own begins in it."""
    with Server("--tcp", "127.0.0.1:0 framing=resp") as server, Resp(server) as client:
        client.send(command("SUBSCRIBE", "a"))
        assert client.value(client.take()) == [b"subscribe", b"a", 1]
        publish(server, "a", data, Content_Type="text/plain; charset=utf-8")
        assert client.value(client.take()) == [b"message", b"a", data.encode()]
        client.send(command("PING"))
        assert client.value(client.take()) == [b"pong", b""]


@pytest.mark.parametrize("field", ["Sluice-Event", "Sluice-Producer", "Idempotency-Key"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\r\n\r\nb"], ids=ascii)
def test_fields_of_a_message_have_no_line_of_their_own(server: Server, channel: str, field: str, value: str) -> None:
    """The attacker gets none told: neither by header fields, which end there, nor by arguments, which are 400."""
    with Connection(server) as connection:
        connection.send(f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n{field}: {value}\r\n\r\nx".encode())
        response = connection.read_response()
    if response.status == 201:
        told = get(server, path_of(channel, last=1))
        assert not any(chr(code) in (told.header(field) or "") for code in (0, 10, 13))
    name = {"Sluice-Event": "event", "Sluice-Producer": "producer"}.get(field)
    if name:
        assert request(server, "POST", f"{path_of(channel)}?{name}={quote(value)}", "x").error == "bad-option"


# Numbers and names.

@pytest.mark.parametrize("cursor", ["9" * 30_000, "a-1." * 5000, "k3q9xm2ab7zt-" + "9" * 21, "k3q9xm2ab7zt-1." * 64 + "k3q9xm2ab7zt-1", "-" * 20_000, "k3q9xm2ab7zt-18446744073709551616"], ids=lambda cursor: f"{cursor[:4]}-{len(cursor)}")
@pytest.mark.parametrize("way", ["since", "Last-Event-ID", "If-None-Match"])
def test_giant_cursors_are_refused_at_once(server: Server, channel: str, cursor: str, way: str) -> None:
    """The attacker gets 400, as for any other that is none, or where browsers send what another server gave them, a reset."""
    began = time.monotonic()
    response = (get(server, path_of(channel, since=cursor)) if way == "since" else
                request(server, "GET", path_of(channel), **{way.replace("-", "_"): cursor}))
    if way == "Last-Event-ID":
        assert response.status == 204 and (response.header("Sluice-Reset") or "").startswith("unknown-id")
    else:
        assert (response.status, response.error) == (400, "bad-cursor")
    assert time.monotonic() - began < 10


def test_names_that_collide_elsewhere_do_not_here() -> None:
    """Under the hash of Java, PHP and others (times 31 or 33) all these are one, and a table of them a list. The attacker gets no more time than others."""
    def visit(names: list[str]) -> float:
        with Server("--shards", "1") as server, Connection(server) as connection:
            before = server.cpu_seconds()
            for start in range(0, len(names), 64):
                part = names[start:start + 64]
                connection.send(b"".join(request_bytes("POST", path_of(name), "x") for name in part))
                for _ in part:
                    assert connection.read_response().status == 201
            return server.cpu_seconds() - before

    colliding = ["".join(pairs) for pairs in itertools.product(("Ez", "FY"), repeat=13)]
    others = [f"{number:026}" for number in range(len(colliding))]
    assert visit(colliding) < 3 * visit(others) + 1


# Other protocols.

FRAMINGS = ["crlf", "nul", "len32", "resp", "auto"]
# What a page can have a browser send to any port, with commands as its body, and what mail servers and caches speak.
FOREIGN = {
    "a form": b"POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n",
    "a fetch": b"GET /\x20HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a preflight": b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "mail": b"EHLO there\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a proxy": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
}
COMMANDS = b"PUBLISH forged x\r\n" + command("PUBLISH", "forged", "x") + b"PUBLISH forged x\0" + b"\0\0\0\x10PUBLISH forged x"


@pytest.fixture(scope="module")
def ports() -> Iterator[Server]:
    with Server(*(word for framing in FRAMINGS for word in ("--tcp", f"127.0.0.1:0 framing={framing}")), "--head-timeout", "1s") as running:
        yield running


def is_unheard(server: Server) -> bool:
    return get(server, "/api/channels/forged").error == "no-such-channel"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", ["a form", "a fetch", "a preflight", "HTTP/2"])
def test_what_a_browser_sends_to_a_tcp_port_publishes_nothing(ports: Server, framing: str, name: str) -> None:
    """Also when its body is commands: the attacker gets the end of the connection at the first line."""
    with Raw(ports, FRAMINGS.index(framing)) as client:
        with contextlib.suppress(ConnectionError):
            client.send(FOREIGN[name] + COMMANDS)
            client.socket.shutdown(socket.SHUT_WR)
        client.read_to_end()
    assert is_unheard(ports)


@pytest.mark.parametrize("name", [*FOREIGN, "commands"])
def test_what_others_speak_to_the_http_port_is_refused(ports: Server, name: str) -> None:
    """Who speaks Redis, mail, TLS or a proxy's header gets 400, and nothing behind it is read as a request."""
    if name in ("a form", "a fetch", "a preflight"):
        pytest.skip("that is HTTP")
    data = COMMANDS if name == "commands" else FOREIGN[name]
    with Connection(ports) as client:
        client.send(data + request_bytes("POST", "/channels/forged", "x"))
        text = client.read_to_end()
    assert not text or text.startswith(b"HTTP/1.1 400"), text
    assert is_unheard(ports)


def test_mail_to_a_tcp_port_is_no_command(ports: Server) -> None:
    """The attacker who has a mail server speak to us gets errors, and nothing published."""
    for index in range(len(FRAMINGS)):
        with Raw(ports, index) as client:
            with contextlib.suppress(OSError):
                client.send(FOREIGN["mail"] + b".\r\nQUIT\r\n")
                client.socket.shutdown(socket.SHUT_WR)
            client.read_to_end()
    assert is_unheard(ports) and len(tcp_addresses(ports)) == len(FRAMINGS)


# The log.

LOGFMT = re.compile(r'^time=\S+ level=\w+ event=[\w-]+( [\w]+=("([^"\\]|\\.)*"|[^\s"=]*))*$')


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_log_has_a_line_for_an_event_whatever_a_client_says(form: str) -> None:
    """The attacker gets his text quoted: no line, field or terminal code of his own."""
    with Server("--log-level", "debug", "--log-format", form, "--tcp", "127.0.0.1:0 framing=crlf") as server:
        targets = ['/channels/a"b=c', "/a%0aevent=forged", "/a%0d%0alevel=error", "/\xff\xfe", "/a%1b[2J", '/a"%20event=forged', "/a\\", '/a",x="', "/=", "/a=b", "/\x9b2J"]
        for target in targets:
            with Connection(server) as connection:
                connection.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\" event=forged\r\n\r\n".encode("latin-1"))
                connection.read_head()
        get(server, "/channels/a", Host="evil'example!(event=forged)")
        with Raw(server) as client:
            client.put(b'AUTH a" event=forged\x1b[2J')
            client.take()
        lines = wait_until(lambda: (found := server.log().splitlines()) and len(found) > len(targets) and found)
    for line in lines:
        assert line.isprintable(), line
        if form == "json":
            assert json.loads(line)["event"] != "forged"
        else:
            assert LOGFMT.match(line), line
            assert " event=forged" not in re.sub(r'"([^"\\]|\\.)*"', '""', line)
