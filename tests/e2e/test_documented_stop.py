# SPDX-License-Identifier: MIT
"""What docs/PROTOCOL.md ("When the server stops", stream-life), docs/OPTIONS.md and docs/SOCKJS.md promise to whom the server lets go."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, Ended, EventStream, LineStream, Response, Stream, path_of, publish, request_bytes, subscribers
from support.legacy import STREAMS
from support.redis import RedisServer, await_ready
from support.server import Server, wait_until
from support.sockjs import Session, held_poll, streaming
from support.stillness import again_after_a_stall
from support.tcp import Raw, Resp
from support.websocket import WebSocket, handshake_bytes

SENTENCE = "the server stops or restarts; connect again"
FIRST, SECOND = "https://b.example", "https://c.example"
DRAIN_S, RETRY_S = 2.0, 1.1
ELSEWHERE = ("--alternatives", FIRST, "--alternatives", SECOND)
TCP = ("framing=crlf", "framing=nul", "framing=len32", "framing=crlf feed=a", "framing=crlf input=echo", "framing=crlf input=publish:a",
       "framing=crlf feed=a input=ignore", "framing=resp")
OPTIONS = ("--drain-time", str(DRAIN_S), "--retry", str(RETRY_S), "--legacy", "yes", "--sockjs", "/sockjs legacy=yes disconnect-delay=60s",
           *(word for keys in TCP for word in ("--tcp", f"127.0.0.1:0 {keys}")))
OBJECT = re.compile(r'\{"error":"stopping","message":"(.*?)","retry_after":(\d+\.\d{3})(?:,"alternatives":\[(.*?)\])?\}')
TOLD = re.compile(re.escape(SENTENCE) + r" after (\d+\.\d{3}) s(?:, at (https://[bc]\.example))?")


def options_for(has_alternatives: bool) -> tuple[str, ...]:
    return (*OPTIONS, *(ELSEWHERE if has_alternatives else ()))


@pytest.fixture(params=[False, True], ids=["here", "elsewhere"])
def has_alternatives(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def end(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "event=stopping" in server.log())


def check_time(seconds: float, has_alternatives: bool) -> None:
    """After the drain time and `retry`, to which up to as much again is added; with alternatives after `retry` only."""
    least = RETRY_S if has_alternatives else DRAIN_S + RETRY_S
    assert least <= seconds <= least + RETRY_S, seconds


def check_object(text: str, has_alternatives: bool) -> None:
    found = OBJECT.fullmatch(text)
    assert found and found[1] == SENTENCE, text
    check_time(float(found[2]), has_alternatives)
    assert sorted(json.loads(f"[{found[3] or ''}]")) == ([FIRST, SECOND] if has_alternatives else [])


def check_sentence(text: str, has_alternatives: bool) -> None:
    found = TOLD.fullmatch(text)
    assert found and bool(found[2]) == has_alternatives, text
    check_time(float(found[1]), has_alternatives)


def check_fields(response: Response, has_alternatives: bool) -> None:
    """Whole seconds, rounded up or down."""
    assert (response.header("Retry-After") or "") in (("1", "2", "3") if has_alternatives else ("3", "4", "5")), response
    where = response.header("Sluice-Alternatives")
    assert sorted(where.split(", ") if where else []) == ([FIRST, SECOND] if has_alternatives else [])


def is_refused(server: Server) -> bool:
    try:
        Connection(server).close()
    except ConnectionError:
        return True
    return False


def rest_of(stream: Stream) -> str:
    while stream.more():
        pass
    assert stream.ended_cleanly
    return stream.text.decode()


# Each holds a client that is let go, and looks at what it is told.

def hold_poll(server: Server, accept: str, channel: str) -> Iterator[None]:
    name = publish(server, channel)
    with Connection(server) as poll:
        poll.send(request_bytes("GET", path_of(channel, since=name), Accept=accept))
        wait_until(lambda: subscribers(server, channel)["poll"] == 1)
        yield
        response = poll.read_response()
        assert (response.status, response.cursor) == (204, name)
        check_fields(response, "--alternatives" in server.options)


def hold_sse(server: Server) -> Iterator[None]:
    with EventStream(server, path_of("a")) as stream:
        stream.next_block()
        yield
        text = rest_of(stream)
        elsewhere = "--alternatives" in server.options
        found = re.fullmatch(r"retry: (\d+)\n(?:event: stopping\ndata: (.*)\n\n)?", text)
        assert found and bool(found[2]) == elsewhere, text
        check_time(int(found[1]) / 1000, elsewhere)
        if elsewhere:
            check_object(found[2], True)


def hold_lines(server: Server) -> Iterator[None]:
    with LineStream(server, path_of("a")) as stream:
        stream.next_line()
        yield
        check_object(rest_of(stream).strip("\n"), "--alternatives" in server.options)


def hold_old(server: Server, kind: str) -> Iterator[None]:
    with STREAMS[kind](server, path_of("a")) as stream:
        stream.next_object()
        yield
        text = rest_of(stream).replace("\\/", "/")
        found = {"xhr": r"\n*(\{.*\})\n*", "htmlfile": r"\s*<script>\w+\((\{.*\})\)</script>\s*", "multipart": r"(?s:.*)Sluice-Error: (\{.*\})\r\n(?s:.*)"}
        last = re.fullmatch(found[kind], text)
        assert last, text
        check_object(last[1], "--alternatives" in server.options)


def hold_websocket(server: Server, target: str) -> Iterator[None]:
    with WebSocket(server, target) as client:
        if target == "/channels/a?format=json":
            client.take_json()
        yield
        code, reason = client.take_close()
        assert code == 1012
        check_sentence(reason, "--alternatives" in server.options)


def hold_sockjs(server: Server, transport: str) -> Iterator[None]:
    session = Session(server, "/sockjs")
    if transport in ("xhr", "jsonp"):
        assert session.open() if transport == "xhr" else session.jsonp()
        poll = held_poll(session, transport)
        yield
        text = poll.read_response().body.decode().strip()
        poll.close()
        frame = text if transport == "xhr" else json.loads(text.removeprefix("/**/x(").removesuffix(");"))
    else:
        with streaming(session, transport) as stream:
            assert stream.frame() == "o"
            yield
            frame = stream.frame() or ""
            assert stream.frame() is None
    code, reason = json.loads(frame.removeprefix("c"))
    assert code == 1012
    check_sentence(reason, "--alternatives" in server.options)


def hold_tcp(server: Server, index: int) -> Iterator[None]:
    ends = {"framing=nul": b"\0", "framing=len32": None}.get(TCP[index], b"\r\n")
    with Raw(server, index, ends) as plain, Raw(server, index, ends) as objects:
        assert plain.ask(b"SUBSCRIBE b") == b"CONFIRMED" and objects.ask(b"FORMAT json") == b"CONFIRMED"
        yield
        told = plain.take().decode()
        assert told.startswith("ERROR stopping ")
        check_sentence(told.removeprefix("ERROR stopping "), "--alternatives" in server.options)
        error = json.loads(objects.take())
        assert (error["op"], error["code"]) == ("error", "stopping")
        check_sentence(error["message"], "--alternatives" in server.options)
        assert plain.is_closed() and objects.is_closed()


def hold_silent_tcp(server: Server, index: int) -> Iterator[None]:
    """Where what the server says is data, and to clients of Redis, nothing is said."""
    if "resp" in TCP[index]:
        with Resp(server, index) as resp:
            resp.run("SUBSCRIBE", "a")
            yield
            assert resp.is_closed()
        return
    with Raw(server, index) as client:
        if "echo" in TCP[index]:
            assert client.ask(b"x") == b"x"
        elif "feed" in TCP[index]:
            wait_until(lambda: subscribers(server, "a")["tcp"] >= 1)
        yield
        assert client.is_closed()


HOLDERS: dict[str, Callable[[Server], Iterator[None]]] = {
    "long-poll": lambda server: hold_poll(server, "*/*", "poll"), "batch": lambda server: hold_poll(server, "application/json", "batch"),
    "sse": hold_sse, "stream": hold_lines, **{kind: lambda server, kind=kind: hold_old(server, kind) for kind in STREAMS},  # type: ignore[misc]
    **{name: lambda server, target=target: hold_websocket(server, target) for name, target in  # type: ignore[misc]
       {"feed": "/channels/a", "json-feed": "/channels/a?format=json", "ws": "/ws", "sockjs-bare": "/sockjs/websocket"}.items()},
    **{f"sockjs-{transport}": lambda server, transport=transport: hold_sockjs(server, transport)  # type: ignore[misc]
       for transport in ("xhr_streaming", "eventsource", "htmlfile", "xhr", "jsonp")},
    **{f"tcp {TCP[index]}": lambda server, index=index: hold_tcp(server, index) for index in range(3)},  # type: ignore[misc]
    **{f"tcp {TCP[index]}": lambda server, index=index: hold_silent_tcp(server, index) for index in range(4, len(TCP))},  # type: ignore[misc]
}


def test_each_transport_is_told_when_and_where(has_alternatives: bool) -> None:
    """All at once, because a stop takes its time."""
    with Server(*options_for(has_alternatives)) as server:
        turns = {name: holder(server) for name, holder in HOLDERS.items()}
        for turn in turns.values():
            next(turn)
        end(server)
        faults: list[str] = []

        def look(name: str) -> None:
            try:
                assert list(turns[name]) == []
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(f"{name}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=look, args=(name,)) for name in turns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, "\n".join(faults)


def test_a_session_of_sockjs_over_websocket_is_told_in_the_close_too(has_alternatives: bool) -> None:
    with Server(*options_for(has_alternatives)) as server, WebSocket(server, Session(server, "/sockjs").url + "/websocket") as client:
        assert client.take() == "o"
        end(server)
        code, reason = client.take_close()
        assert code == 1012
        check_sentence(reason, has_alternatives)


def test_they_are_let_go_evenly_and_the_first_alternative_is_another_for_each() -> None:
    count, drain_s = 40, 4.0
    with Server("--drain-time", str(drain_s), "--retry", "0.1", *ELSEWHERE) as server, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(LineStream(server, path_of("a"))) for _ in range(count)]
        ended: list[float] = []
        first: list[str] = []

        def read(stream: LineStream) -> None:
            stream.next_line()
            told = stream.next_line()
            ended.append(time.monotonic() - begun)
            first.append(told["alternatives"][0])

        begun = time.monotonic()
        readers = [threading.Thread(target=read, args=(stream,)) for stream in streams]
        for reader in readers:
            reader.start()
        wait_until(lambda: subscribers(server, "a")["stream"] == count)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for reader in readers:
            reader.join()
        ended.sort()
        halves = [sum(drain_s * half / 2 <= at < drain_s * (half + 1) / 2 for at in ended) for half in range(2)]
        assert min(halves) >= count / 5 and ended[-1] < drain_s + 1.5, ended
        assert set(first) == {FIRST, SECOND}


def test_who_begins_a_stream_is_answered_503_and_all_else_is_answered_once(has_alternatives: bool) -> None:
    refused = ("GET /channels/a?transport=stream", "GET /channels/a?transport=xhr", "GET /readyz")
    looks = ("GET /channels/a?since=earliest", "GET /channels/b", "GET /channels/b?transport=json")
    answered = {"POST /channels/a": (b"x", 201), "POST /channels": (b'[{"channel":"a","data":1}]', 200), "GET /api/channels": (None, 200)}
    with Server("--shards", "1", *options_for(has_alternatives), "--drain-time", "60") as server, contextlib.ExitStack() as stack:
        publish(server, "a", "told")
        kept = {name: stack.enter_context(Connection(server)) for name in (*refused, *looks, *answered, "upgrade", "sse")}
        for connection in kept.values():
            assert connection.request("GET", "/healthz").status == 200
        stack.enter_context(EventStream(server, path_of("a"))).next_block()
        end(server)
        wait_until(lambda: is_refused(server))
        kept["upgrade"].send(handshake_bytes("/ws", base64.b64encode(bytes(16)).decode()))
        for name in (*refused, "upgrade"):
            response = kept[name].read_response() if name == "upgrade" else kept[name].request(*name.split(" "))
            assert (response.status, response.error) == (503, "stopping"), name
            assert int(response.header("Retry-After") or "") >= 1
            assert sorted((response.header("Sluice-Alternatives") or "").split(", ")) == ([FIRST, SECOND] if has_alternatives else [""]), name
        for name in looks:
            response = kept[name].request(*name.split(" "))
            assert (response.status, response.body) == ((200, b"told") if "earliest" in name else (204, b"")), name
            assert response.header("Retry-After") and bool(response.header("Sluice-Alternatives")) == has_alternatives
        for name, (body, status) in answered.items():
            assert kept[name].request(*name.split(" "), body).status == status
        kept["sse"].send(request_bytes("GET", path_of("a"), Accept="text/event-stream"))
        answer = kept["sse"].read_response()
        assert answer.status == 200 and re.fullmatch(rb"retry: \d+\n", answer.body), "an EventSource would give up at 503"
        assert all(connection.is_closed() for connection in kept.values())
        server.process.send_signal(signal.SIGTERM)


def test_what_there_is_comes_with_the_fields() -> None:
    """A long-poll that is told a message as the server stops is told when to come back, or gets its 204 and comes for it: nothing is lost."""
    with Server("--shards", "1", *options_for(True)) as server, Connection(server) as poll:
        name = publish(server, "a", "old")
        poll.send(request_bytes("GET", path_of("a", since=name), Accept="*/*"))
        wait_until(lambda: subscribers(server, "a")["poll"] == 1)
        with server.frozen():
            with Connection(server) as publisher:
                publisher.send(request_bytes("POST", path_of("a"), b"new", Content_Type="text/plain"))
                server.process.send_signal(signal.SIGTERM)
        response = poll.read_response()
        assert response.status in (200, 204) and response.body in (b"new", b"")
        if response.status == 204:
            check_fields(response, True)


def test_the_path_and_the_cursor_are_good_at_the_alternative() -> None:
    with RedisServer() as redis, Server("--broker", redis.url()) as other:
        await_ready(other)
        here = f"http://127.0.0.1:{other.port}"
        with Server("--broker", redis.url(), "--alternatives", here, "--drain-time", "0.2") as server:
            await_ready(server)
            target = path_of("a", since=publish(server, "a", "0"))
            with LineStream(server, target) as stream:
                cursor = stream.next_line()["cursor"]
                publish(server, "a", "1")
                cursor = stream.next_line()["cursor"]
                end(server)
                told = stream.next_line()
        assert told["alternatives"] == [here]
        publish(other, "a", "2")
        with LineStream(other, path_of("a", since=cursor)) as stream:
            assert stream.next_line()["recovered"] is True
            assert stream.next_line()["data"] == "2"


# stream-life.

LIFE_S = 4.0
AGED = "it has been open for long enough"
LIVING = ("--stream-life", f"{LIFE_S:g}s", "--retry", "5s", "--legacy", "yes", "--sockjs", "/sockjs disconnect-delay=60s legacy=yes")


@pytest.fixture(scope="module")
def living() -> Iterator[Server]:
    """With the heartbeat that is preset, which is longer than the life."""
    with Server(*LIVING) as running:
        yield running


def check_age(begun: float) -> None:
    """At most a quarter earlier, and not later; the machine may be."""
    assert LIFE_S * 3 / 4 <= time.monotonic() - begun <= LIFE_S + 1


def age_stream(server: Server, kind: str) -> None:
    with (EventStream(server, path_of("a")) if kind == "sse" else LineStream(server, path_of("a")) if kind == "stream"
          else STREAMS[kind](server, path_of("a"))) as stream:
        begun = time.monotonic()
        text = rest_of(stream)
        check_age(begun)
        retries = re.findall(r"^retry: (\d+)$", text, re.MULTILINE)
        if kind != "sse":
            assert not retries and "stopping" not in text
            return
        usual, last = (int(each) for each in retries)
        assert usual >= 5000 and 100 <= last <= 1000 and text.endswith(f"retry: {last}\n")
    with EventStream(server, path_of("a")) as stream:
        block = stream.next_block()
        assert block and int(block.retry or 0) >= 5000, "who is back is told the usual time"


def age_websocket(server: Server, target: str) -> None:
    with WebSocket(server, target) as client:
        begun = time.monotonic()
        code, reason = client.take_close()
        check_age(begun)
        assert code == 1012 and reason.startswith(AGED)


def age_sockjs(server: Server, transport: str) -> None:
    session = Session(server, "/sockjs")
    with streaming(session, transport) as stream:
        begun = time.monotonic()
        frames = []
        while (frame := stream.frame()) is not None:
            frames.append(frame)
        check_age(begun)
        assert frames == ["o"] and stream.ended_cleanly, "as at its response-limit"
    with streaming(session, transport) as stream:
        session.put('{"op":"ping","ref":7}')
        assert json.loads(stream.next_messages()[0])["op"] == "pong"


AGING = {**{kind: (age_stream, kind) for kind in ("sse", "stream", *STREAMS)},
         **{target: (age_websocket, target) for target in ("/ws", "/channels/a", "/channels/a?format=json")},
         **{f"sockjs-{kind}": (age_sockjs, kind) for kind in ("xhr_streaming", "eventsource", "htmlfile")}}


def test_every_endless_answer_ends_in_time() -> None:
    """All at once, because each takes a life."""
    aged_in_time()


@again_after_a_stall(0.5)
def aged_in_time() -> None:
    with Server(*LIVING) as server:
        faults: list[str] = []

        def age(name: str) -> None:
            work, kind = AGING[name]
            try:
                work(server, kind)
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(f"{name}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=age, args=(name,)) for name in AGING]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, "\n".join(faults)


@pytest.mark.parametrize("kind", ["sse", "stream", "feed"])
def test_it_ends_between_two_messages_and_goes_on_with_the_cursor(living: Server, channel: str, kind: str) -> None:
    over = threading.Event()
    sent: list[str] = []

    def speak() -> None:
        with Connection(living) as connection:
            while not over.is_set():
                sent.append(f"{len(sent)} {'x' * 300}")
                assert connection.request("POST", path_of(channel), sent[-1], Content_Type="text/plain").status == 201
                time.sleep(0.02)

    heard: list[str] = []
    lives, cursor = 0, "earliest"
    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        while lives < 2:
            target = path_of(channel, since=cursor, format="json" if kind == "feed" else None)
            with contextlib.suppress(Ended):
                with (EventStream if kind == "sse" else LineStream if kind == "stream" else WebSocket)(living, target) as client:
                    while True:
                        told = client.next_event() if isinstance(client, EventStream) else client.next_line() if isinstance(client, LineStream) else client.take_json()
                        if isinstance(told, dict):
                            assert "reset" not in told
                            cursor = told["cursor"]
                            heard += [told["data"]] if "data" in told else []
                        else:
                            cursor = told.id or ""
                            heard.append(told.data or "")
            lives += 1
    finally:
        over.set()
        speaker.join()
    assert heard == sent[:len(heard)] and len(heard) > 10


def test_websockets_of_sockjs_stay(living: Server) -> None:
    with WebSocket(living, Session(living, "/sockjs").url + "/websocket") as framed, WebSocket(living, "/sockjs/websocket") as bare:
        assert framed.take() == "o"
        begun = time.monotonic()
        while time.monotonic() - begun < LIFE_S + 1:
            bare.put_json({"op": "ping", "ref": 1})
            assert bare.take_json()["op"] == "pong"
            framed.put_json(['{"op":"ping","ref":1}'])
            assert '"pong"' in framed.take().replace("\\", "")  # type: ignore[operator, arg-type]
            time.sleep(0.2)


