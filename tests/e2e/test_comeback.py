# SPDX-License-Identifier: MIT
"""What docs/PROTOCOL.md promises to clients of a server that stops: each is told when to come back, and where."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import signal
import time

import pytest
from support.client import Connection, EventStream, LineStream, Stream, get, path_of, publish, request_bytes, subscribers
from support.server import Server, wait_until
from support.sockjs import Session, streaming
from support.tcp import Raw, Resp
from support.websocket import WebSocket

SENTENCE = "the server stops or restarts; connect again"
B, C = "https://b.example:8443", "http://c.example/push"
ELSEWHERE = ("--alternatives", B, "--alternatives", C)
DRAIN, RETRY = 1.0, 0.2
TIMES = ("--drain-time", str(DRAIN), "--retry", str(RETRY))
TCP = ("--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=crlf feed=a input=echo", "--tcp", "127.0.0.1:0 framing=resp")


def is_due(seconds: float, has_alternatives: bool) -> bool:
    least = RETRY + (0 if has_alternatives else DRAIN)
    return least <= seconds <= least + RETRY


def read_sentence(text: str) -> tuple[float, str | None]:
    found = re.fullmatch(re.escape(SENTENCE) + r" after (\d+\.\d{3}) s(?:, at (\S+))?", text)
    assert found, text
    return float(found[1]), found[2]


def check_sentence(text: str, has_alternatives: bool) -> None:
    seconds, where = read_sentence(text)
    assert is_due(seconds, has_alternatives), text
    assert where in (B, C) if has_alternatives else where is None


def check_object(told: dict[str, object], has_alternatives: bool) -> None:
    assert (told["error"], told["message"]) == ("stopping", SENTENCE)
    assert isinstance(told["retry_after"], float) and is_due(told["retry_after"], has_alternatives)
    assert set(told.get("alternatives", ())) == ({B, C} if has_alternatives else set())  # type: ignore[arg-type]


def end(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "event=stopping" in server.log())


@pytest.fixture(params=[False, True], ids=["here", "elsewhere"])
def has_alternatives(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def options(has_alternatives: bool) -> tuple[str, ...]:
    return (*TIMES, *(ELSEWHERE if has_alternatives else ()))


def test_event_streams_are_told_by_retry_and_where_by_an_event(channel: str, has_alternatives: bool) -> None:
    with Server(*options(has_alternatives)) as server, Stream(server, path_of(channel), "text/event-stream") as stream:
        end(server)
        while stream.more():
            pass
        assert stream.ended_cleanly
        last = re.search(rb"\n\nretry: (\d+)\n(?:event: stopping\ndata: (.*)\n\n)?$", stream.text)
        assert last and is_due(int(last[1]) / 1000, has_alternatives), stream.text
        assert bool(last[2]) == has_alternatives
        if has_alternatives:
            check_object(json.loads(last[2]), True)


@pytest.mark.parametrize("transport", ["stream", "xhr", "htmlfile", "multipart"])
def test_streams_of_objects_are_told_by_the_last(channel: str, transport: str, has_alternatives: bool) -> None:
    target = path_of(channel, transport=transport, callback="f" if transport == "htmlfile" else None)
    with Server("--legacy", "yes", *options(has_alternatives)) as server, Stream(server, target, "*/*") as stream:
        wait_until(lambda: subscribers(server, channel)["total"] == 1)
        end(server)
        while stream.more():
            pass
        found = re.findall(rb'{"error":"stopping".*?}', stream.text)
        assert len(found) == 1 and stream.ended_cleanly
        check_object(json.loads(found[0].replace(rb"\/", b"/")), has_alternatives)


@pytest.mark.parametrize("form", ["application/json", "*/*"])
def test_long_polls_are_told_by_fields(channel: str, form: str, has_alternatives: bool) -> None:
    with Server(*options(has_alternatives)) as server, Connection(server) as poll:
        name = publish(server, channel)
        poll.send(request_bytes("GET", path_of(channel, since=name), Accept=form))
        wait_until(lambda: subscribers(server, channel)["poll"] == 1)
        end(server)
        response = poll.read_response()
        assert (response.status, response.cursor) == (204, name)
        assert int(response.header("Retry-After") or "") in ((1,) if has_alternatives else (1, 2))
        where = response.header("Sluice-Alternatives")
        assert set(where.split(", ")) == {B, C} if where else not has_alternatives


@pytest.mark.parametrize("target", ["raw", "json", "/ws"])
def test_websockets_are_told_by_the_reason_of_their_close(channel: str, target: str, has_alternatives: bool) -> None:
    path = target if target == "/ws" else path_of(channel, format=target)
    with Server(*options(has_alternatives)) as server, WebSocket(server, path) as socket:
        end(server)
        code, reason = socket.take_close()
        assert code == 1012
        check_sentence(reason, has_alternatives)


@pytest.mark.parametrize("transport", ["xhr_streaming", "eventsource", "htmlfile"])
def test_sockjs_is_told_by_its_close_frame(transport: str, has_alternatives: bool) -> None:
    with Server("--sockjs", "/echo app=echo legacy=yes", *options(has_alternatives)) as server:
        stream = streaming(Session(server), transport)
        assert stream.frame() == "o"
        end(server)
        frame = stream.frame() or ""
        code, reason = json.loads(frame.removeprefix("c"))
        assert code == 1012
        check_sentence(reason, has_alternatives)


def test_a_url_that_does_not_fit_into_a_close_frame_is_left_out(channel: str) -> None:
    with Server(*TIMES, "--alternatives", "https://" + "x" * 200) as server, WebSocket(server, path_of(channel)) as socket:
        end(server)
        assert read_sentence(socket.take_close()[1])[1] is None


def test_tcp_clients_with_commands_are_told_by_an_error(has_alternatives: bool) -> None:
    with Server(*TCP, *options(has_alternatives)) as server, Raw(server) as raw, Raw(server) as objects, Raw(server, 1) as echo, Resp(server, 2) as resp:
        assert raw.ask(b"SUBSCRIBE a") == b"CONFIRMED"
        assert objects.ask(b"FORMAT json") == b"CONFIRMED"
        assert echo.ask(b"x") == b"x"
        resp.run("PING")
        end(server)
        told = raw.take().decode()
        assert told.startswith("ERROR stopping ")
        check_sentence(told.removeprefix("ERROR stopping "), has_alternatives)
        error = json.loads(objects.take())
        assert (error["op"], error["code"]) == ("error", "stopping")
        check_sentence(error["message"], has_alternatives)
        assert all(client.is_closed() for client in (raw, objects, echo, resp)), "nothing else is told"


def test_who_begins_something_is_told_by_fields(channel: str) -> None:
    with Server("--shards", "1", *options(True), "--drain-time", "30") as server, EventStream(server, path_of(channel)), Connection(server) as kept:
        kept.request("GET", "/healthz")
        end(server)
        response = kept.request("GET", "/readyz")
        assert (response.status, response.error, response.header("Retry-After")) == (503, "stopping", "1")
        assert set((response.header("Sluice-Alternatives") or "").split(", ")) == {B, C}
        server.process.send_signal(signal.SIGTERM)


def test_clients_come_back_evenly(channel: str) -> None:
    """When each is let go and how long it is told to wait: no second of the drain time is twice as full as another."""
    count, drain = 400, 2.0
    with Server("--drain-time", str(drain), "--retry", "0.1", *ELSEWHERE) as server, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(LineStream(server, path_of(channel))) for _ in range(count)]
        wait_until(lambda: subscribers(server, channel)["stream"] == count)
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        due, first = [], []
        by_end: dict[int, float] = {}
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                stream.next_line()
                selector.register(stream.socket, selectors.EVENT_READ, stream)
            while len(by_end) < count:
                for key, _ in selector.select(20):
                    by_end[key.fd] = time.monotonic() - begun
                    selector.unregister(key.fileobj)
        for stream in streams:
            ended = by_end[stream.socket.fileno()]
            told = stream.next_line()
            due.append(ended + told["retry_after"])
            first.append(told["alternatives"][0])
        quarters = [sum(drain * i / 4 <= at - 0.1 < drain * (i + 1) / 4 for at in due) for i in range(4)]
        assert max(quarters) < 2 * count / 4, (quarters, sorted(due))
        assert count / 4 < first.count(B) < count * 3 / 4, "the first of them is another one for each"


@pytest.mark.parametrize("url", ["b.example", "ftp://b", "https://", "https:///x", "https://b/?x", "https://b c", 'https://b"'])
def test_what_is_no_url_is_refused_at_the_start(url: str) -> None:
    server = Server("--alternatives", url, expect_exit=2)
    with pytest.raises(AssertionError, match="alternatives.*must be a URL as https://host"):
        server.start()
    server.folder.cleanup()


def test_alternatives_can_be_reloaded(tmp_path: object, channel: str) -> None:
    with Server(*TIMES) as server:
        assert get(server, "/healthz").status == 200
        config = server.folder.name + "/conf"
        server.stop()
        with open(config, "w") as file:
            file.write(f"alternatives = {B}\n")
        again = Server(*TIMES, "--config", config).start()
        with open(config, "w") as file:
            file.write(f"alternatives = {C}\n")
        again.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in again.log())
        with WebSocket(again, path_of(channel)) as socket:
            end(again)
            assert read_sentence(socket.take_close()[1])[1] == C
        again.stop()
        again.folder.cleanup()
