# SPDX-License-Identifier: MIT
"""Hostile and broken requests: a clear error each, and nothing lost for anybody else."""

import socket
import time

import pytest
from support.client import Connection, Response, get, path_of, publish, request, request_bytes, subscribers
from support.server import Server, wait_until


def send_raw(server: Server, data: bytes) -> tuple[Response, bool]:
    """What comes back, and whether the connection is closed after it."""
    with Connection(server) as connection:
        connection.send(data)
        response = connection.read_response()
        return response, connection.is_closed()


@pytest.mark.parametrize("name", ["a%20b", "a%22", "%C3%A9", "a//b", "a/", "", "a/%2e%2e/b", "%2e", "a%3fb", "x" * 256])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_channel_names(server: Server, name: str, method: str) -> None:
    target = f"/channels/{name}" + ("?wait=0" if method == "GET" else "")
    response = request(server, method, target, "x" if method == "POST" else None)
    assert (response.status, response.error) == (400, "bad-channel")


def test_the_longest_channel_name(server: Server) -> None:
    assert request(server, "POST", "/channels/" + "x" * 255, "x").status == 201
    assert get(server, "/channels/a?wait=0&channel=no%20good").error == "bad-channel"


def test_bodies_over_the_limit_are_refused_before_they_are_read(channel: str) -> None:
    with Server("--message-size", "1000") as server:
        assert request(server, "POST", path_of(channel), "x" * 1000).status == 201
        head = f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n".encode()
        response, is_closed = send_raw(server, head)
        assert (response.status, response.error, is_closed) == (413, "too-large", True)
        response, _ = send_raw(server, head.replace(b"1001", b"99999999999999999999"))
        assert response.status in (400, 413)
        assert request(server, "POST", path_of(channel), "x" * 500_000).error == "too-large"
        chunked = f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        response, _ = send_raw(server, chunked + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 3)
        assert response.error == "too-large"
        assert get(server, f"/api/channels/{channel}").json["messages"] == 1


def test_who_is_refused_before_the_body_is_not_kept(channel: str) -> None:
    with Server() as server:
        refused = [Connection(server) for _ in range(5)]
        for connection in refused:
            connection.send(f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n".encode())
            assert connection.read_response().error == "too-large"
        wait_until(lambda: get(server, "/api/stats").json["connections"] <= 1, timeout=8)
        for connection in refused:
            connection.close()


@pytest.mark.parametrize("body", ["", "{", "nope", "{}x", "'a'", '{"a":1,}', "\xff", '"\n"', "[1,\n2,\n}"])
def test_json_that_is_not_json_names_line_and_column(server: Server, channel: str, body: str) -> None:
    response = request(server, "POST", path_of(channel), body.encode("latin-1"), Content_Type="application/json")
    assert (response.status, response.error) == (400, "bad-json")
    assert "line " in response.json["message"] and "column " in response.json["message"]


def test_numbers_of_any_size_are_json(server: Server, channel: str) -> None:
    publish(server, channel, "[123456789012345678901234567890, 1.5e300, -0]", Content_Type="application/json")
    assert b"123456789012345678901234567890" in get(server, path_of(channel, last=1)).body


@pytest.mark.parametrize("body", [b"\xff", b"ok\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"])
def test_text_that_is_not_utf8(server: Server, channel: str, body: bytes) -> None:
    response = request(server, "POST", path_of(channel), body, Content_Type="text/plain")
    assert (response.status, response.error) == (400, "bad-text") and "byte" in response.json["message"]


@pytest.mark.parametrize("query", ["wait=x", "wait=-1", "last=x", "last=-1", "padding=x"])
def test_options_of_a_subscription(server: Server, channel: str, query: str) -> None:
    assert get(server, f"{path_of(channel)}?{query}").error == "bad-option"


@pytest.mark.parametrize("way", ["poll", "json", "sse", "stream", "xhr", "websocket"])
@pytest.mark.parametrize(("query", "shown"), [("chanel=b", "'chanel'"), ("wait=0&from=earliest", "'from'"), ("Since=now", "'Since'"),
                                              ("lasteventid=x", "'lasteventid'"), ("%ff=1", "'...'"), ("n" * 65, "'...'")])
def test_an_unknown_parameter_of_a_subscription(server: Server, channel: str, query: str, shown: str, way: str) -> None:
    response = get(server, f"{path_of(channel, transport=way)}&{query}")
    assert (response.status, response.error) == (400, "bad-option") and shown in response.json["message"]
    assert "it takes channel, since, last, " in response.json["message"]


@pytest.mark.parametrize("query", ["_=1700000000000", "_dc=1", "r=0.7319", "t=1", "evs_preamble=2048", "lastEventId=", "", "&", "=x"])
def test_what_clients_add_for_themselves_is_no_option(server: Server, channel: str, query: str) -> None:
    assert get(server, f"{path_of(channel, wait=0)}&{query}").status == 204


@pytest.mark.parametrize("query", ["ttl=0", "ttl=x", "ttl=-5", "event=", "event=" + "e" * 256, "event=a%0Ab", "producer=%FF",
                                   "idempotency_key=", "idempotency_key=" + "k" * 256])
def test_options_of_a_publish(server: Server, channel: str, query: str) -> None:
    assert request(server, "POST", f"{path_of(channel)}?{query}", "x").error == "bad-option"


SMUGGLING = {
    "both lengths": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 3\r\n",
    "two hosts": b"Host: y\r\nContent-Length: 0\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "another encoding": b"Transfer-Encoding: gzip, chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "an encoding after chunked": b"Transfer-Encoding: chunked, identity\r\n",
    "an encoding with a parameter": b"Transfer-Encoding: chunked;a=b\r\n",
    "an encoding in quotes": b"Transfer-Encoding: \"chunked\"\r\n",
    "an encoding behind a control": b"Transfer-Encoding: \x0bchunked\r\n",
    "an encoding without a value": b"Transfer-Encoding:\r\n",
    "a list of lengths": b"Content-Length: 3, 3\r\n",
    "two lengths that differ": b"Content-Length: 3\r\nContent-Length: 0\r\n",
    "length in hex": b"Content-Length: 0x3\r\n",
    "length of 65 bits": b"Content-Length: 36893488147419103235\r\n",
    "length without a value": b"Content-Length:\r\n",
    "a carriage return in a value": b"X-Thing: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "a host with a path": b"Host: localhost/x\r\nContent-Length: 0\r\n",
    "length no number": b"Content-Length: 3x\r\n",
    "length negative": b"Content-Length: -3\r\n",
    "length signed": b"Content-Length: +3\r\n",
    "space before colon": b"X-Thing : 1\r\nContent-Length: 0\r\n",
    "name no token": b"X(Thing: 1\r\nContent-Length: 0\r\n",
    "control in value": b"X-Thing: a\x01b\r\nContent-Length: 0\r\n",
    "NUL in an encoding": b"Transfer-Encoding: chunked\0x\r\n",
    "NUL in a value": b"X-Thing: a\0b\r\nContent-Length: 0\r\n",
    "NUL in a name": b"X-Th\0ing: a\r\nContent-Length: 0\r\n",
    "empty name": b": a\r\nContent-Length: 0\r\n",
    "folded line": b"X-Thing: a\r\n b\r\nContent-Length: 0\r\n",
    "folded first line": b" X-Thing: a\r\nContent-Length: 0\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_framing_that_servers_may_read_differently_is_refused_and_closed(server: Server, channel: str, name: str) -> None:
    data = f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\n".encode() + SMUGGLING[name] + b"\r\nabc"
    for before in (b"", request_bytes("GET", "/healthz")):
        with Connection(server) as connection:
            connection.send(before)
            assert not before or connection.read_response().status == 200
            connection.send(data)
            response = connection.read_response()
            assert (response.status, response.error, connection.is_closed()) == (400, "bad-request", True), name
    assert get(server, f"/api/channels/{channel}").status == 404


@pytest.mark.parametrize("body", [b"x\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\nabc\n0\n\n", b"-3\r\n", b"0x3\r\nabc\r\n",
                                  b"fffffffffffffffff\r\n", b"3;\0\r\nabc\r\n", b"3\r\nabc\r\n0\r\nA\0: b\r\n\r\n", b"\r\n",
                                  b"3;" + b"x" * 9000 + b"\r\nabc\r\n0\r\n\r\n"])
def test_chunks_that_are_none_are_refused_in_json(server: Server, channel: str, body: bytes) -> None:
    head = request_bytes("POST", path_of(channel), Transfer_Encoding="chunked", Content_Type="text/plain")
    response, is_closed = send_raw(server, head + body)
    assert (response.status, response.error, is_closed) == (400, "bad-request", True)
    with Connection(server) as connection:
        connection.send(head)
        connection.send_bytewise(body[:200])
        connection.send(body[200:])
        assert (connection.read_response().error, connection.is_closed()) == ("bad-request", True)
    assert get(server, f"/api/channels/{channel}").status == 404


def test_chunks_with_all_that_is_allowed(server: Server, channel: str) -> None:
    head = request_bytes("POST", path_of(channel), Transfer_Encoding="Chunked", Content_Type="text/plain")
    with Connection(server) as connection:
        connection.send(head + b'3;a=b;c="d"\r\nabc\r\n00A \t\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n')
        assert connection.read_response().status == 201
        assert connection.request("GET", path_of(channel, last=1)).body == b"abc0123456789"


def test_leave_to_send_a_body_is_given_once(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(request_bytes("POST", path_of(channel), Content_Length="5", Expect="100-continue", Content_Type="text/plain"))
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_response().status == 201
        connection.send(request_bytes("POST", path_of(channel), Content_Length="99999999", Expect="100-continue"))
        assert connection.read_response().error == "too-large"


def test_targets_in_absolute_form(server: Server, channel: str) -> None:
    publish(server, channel, "x")
    for target in (f"http://127.0.0.1:1{path_of(channel, last=1)}", f"HTTPS://localhost{path_of(channel, last=1)}"):
        assert get(server, target).body == b"x"
    assert get(server, "http://localhost").status == get(server, "/").status
    for target in ("ftp://example.org/healthz", "http://user@example.org/healthz", "http:///healthz", "example.org:80", "*"):
        response, is_closed = send_raw(server, request_bytes("GET", target))
        assert (response.status, response.error, is_closed) == (400, "bad-request", True)
    assert request(server, "OPTIONS", "*").status == 204


def test_very_many_arguments_cost_nothing_that_stays(server: Server, channel: str) -> None:
    def ask(count: int) -> None:
        with Connection(server) as connection:
            connection.send(request_bytes("GET", path_of(channel, wait=0)) + request_bytes("GET", f"{path_of(channel)}?" + "&" * count))
            assert connection.read_response().status == 204
            response = connection.read_response()
            assert (response.status, response.error) == (400, "too-many-arguments")

    resident = []
    for _ in range(3):  # the first time the allocator takes what it keeps
        for count in (257, 5000, 30_000) * 200:
            ask(count)
        resident.append(server.resident_bytes())
    assert resident[2] - resident[1] < 3_000_000, resident
    assert get(server, f"{path_of(channel, wait=0)}" + "&" * 250).status == 204


def test_missing_host(server: Server) -> None:
    response, is_closed = send_raw(server, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert (response.status, is_closed) == (400, True)
    response, _ = send_raw(server, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert response.status == 200


@pytest.mark.parametrize("target", ["/channels/a%00b", "/%00", "/channels/a%zz", "/channels/a%"])
def test_paths_that_cannot_be_decoded(server: Server, target: str) -> None:
    response, is_closed = send_raw(server, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (response.status, response.error, is_closed) == (400, "bad-path", True)


@pytest.mark.parametrize("data", [b"SUBSCRIBE updates\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET /\r\n\r\n",
                                  b"GET / HTTP/2.0\r\n\r\n", b"\x00\x00\x00\x05hello", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_not_http(server: Server, data: bytes) -> None:
    response, is_closed = send_raw(server, data)
    assert (response.status, response.error, is_closed) == (400, "bad-request", True)


def test_heads_over_the_limit(server: Server) -> None:
    response, is_closed = send_raw(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"c" * 40_000 + b"\r\n\r\n")
    assert (response.status, response.error, is_closed) == (431, "head-too-large", True)
    for size in (1000, 8000, 30_000):
        for target, accept in (("/healthz", ""), (path_of("cookies", wait=0), ""), (path_of("cookies"), "text/event-stream")):
            with Connection(server) as connection:
                connection.send(request_bytes("GET", target, Cookie="c" * size, Accept=accept))
                assert connection.read_head().status in (200, 204)


def test_slow_heads_and_bodies_are_408(channel: str) -> None:
    with Server("--head-timeout", "0.3", "--body-timeout", "0.3") as server:
        begun = time.monotonic()
        for data, code in ((b"GET / HTT", "head-timeout"), (b"", "head-timeout"),
                           (f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc".encode(), "body-timeout")):
            response, is_closed = send_raw(server, data)
            assert (response.status, response.error, is_closed) == (408, code, True)
        assert 0.9 <= time.monotonic() - begun < 10
        assert publish(server, channel)


def test_connections_over_the_limit(channel: str) -> None:
    with Server("--max-connections", "10", "--shards", "2") as server:
        held = [Connection(server) for _ in range(10)]
        for connection in held:
            assert connection.request("GET", "/healthz").status == 200
        with Connection(server) as extra:
            response = extra.request("GET", "/healthz")
            assert (response.status, response.error) == (503, "too-many-connections")
            assert response.header("Retry-After") and extra.is_closed()
        held.pop().close()
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)
        for connection in held:
            connection.close()


def test_connections_from_one_address_over_the_limit() -> None:
    with Server("--max-connections-per-ip", "5", "--trusted-proxies", "") as server:
        held = [Connection(server, source="127.0.0.2") for _ in range(5)]
        for connection in held:
            assert connection.request("GET", "/healthz").status == 200
        with Connection(server, source="127.0.0.2") as extra:
            assert extra.request("GET", "/healthz").error == "too-many-from-address"
        assert request(server, "GET", "/healthz").status == 200
        for connection in held:
            connection.close()


def test_running_out_of_descriptors() -> None:
    with Server("--shards", "1", descriptors=64) as server:
        held: list[Connection] = []
        refused = 0
        for _ in range(100):
            connection = Connection(server)
            connection.send(request_bytes("GET", "/channels/a", Accept="application/x-ndjson"))
            held.append(connection)
            if connection.read_head().status == 503:
                refused += 1
        assert 30 < refused < 90
        before, begun = server.cpu_seconds(), time.monotonic()
        with Connection(server) as extra:
            assert extra.request("GET", "/healthz").error == "no-descriptors"
        wait_until(lambda: time.monotonic() - begun > 1)
        assert server.cpu_seconds() - before < 0.5, "a busy loop"
        for connection in held:
            connection.close()
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)
        assert "no-descriptors" in server.log()


def test_one_byte_at_a_time(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send_bytewise(request_bytes("POST", path_of(channel), "hello", Content_Type="text/plain"))
        assert connection.read_response().status == 201
        connection.send_bytewise(request_bytes("GET", path_of(channel, last=1)))
        assert connection.read_response().body == b"hello"


def test_pipelining_answers_in_order(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(b"".join(request_bytes("POST", path_of(channel), str(i), Content_Type="text/plain") for i in range(20)))
        ids = [connection.read_response().json["id"] for _ in range(20)]
        assert [name.split("-")[1] for name in ids] == [str(i) for i in range(1, 21)]
        connection.send(request_bytes("GET", path_of(channel)) + request_bytes("GET", "/healthz"))
        wait_until(lambda: subscribers(server, channel)["poll"] == 1)
        publish(server, channel, "next")
        assert connection.read_response().body == b"next"
        assert connection.read_response().body == b"ok\n"


def test_head_keeps_the_connection_in_step(server: Server, channel: str) -> None:
    name = publish(server, channel, "x")
    with Connection(server) as connection:
        for accept in ("text/event-stream", "application/x-ndjson", "", "application/json"):
            head = connection.request("HEAD", path_of(channel, last=1), Accept=accept)
            assert head.status in (200, 204)
            assert connection.request("GET", "/healthz").body == b"ok\n"
        assert connection.request("HEAD", path_of(channel)).cursor == name


def test_http10_connections(server: Server) -> None:
    with Connection(server) as connection:
        assert connection.request("GET", "/healthz", version="HTTP/1.0").body == b"ok\n"
        assert connection.is_closed()
    with Connection(server) as connection:
        for _ in range(3):
            assert connection.request("GET", "/healthz", version="HTTP/1.0", Connection="Keep-Alive").body == b"ok\n"


def test_a_client_that_closes_its_sending_side_still_gets_its_answer(server: Server, channel: str) -> None:
    for data in (request_bytes("POST", path_of(channel), "x"), request_bytes("GET", path_of(channel, last=1)),
                 request_bytes("GET", "/healthz", version="HTTP/1.0")):
        with Connection(server) as connection:
            connection.send(data)
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.read_response().status in (200, 201)
            assert connection.is_closed()
