# SPDX-License-Identifier: MIT
"""What clients of every kind say to a server, some of whose calls fail meanwhile, and what they were told.

A talk is a function of a Scene. It ends by Ended, Refused or ConnectionError where the server has ended a connection or refused
something; whatever else is wrong is an assertion.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import signal
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

from .client import Connection, Ended, EventStream, LineStream, Refused, Response, get, path_of, request
from .commands import Commands, raw_commands
from .faults import FaultyServer
from .legacy import CALLBACK, STREAMS, read_call, with_query
from .server import wait_until
from .sockjs import Session
from .sockjs_commands import TRANSPORTS
from .sockjs_commands import Commands as SockJs
from .tcp import Raw, Resp, command
from .tls import common_tls
from .tokens import bearer, make_token
from .websocket import WebSocket

RESET = "(a reset)"
TCP = {"crlf": b"\r\n", "nul": b"\0", "len32": None, "resp": b"\r\n"}
# What a client may be told when a call has failed; what is a mistake of the client's is not among them.
EXCUSES = ("out-of-memory", "internal", "broker-down", "broker-refused", "no-descriptors", "session-full")

TOKENS = ("jose", "library")  # without which a good token is refused


class Scene:
    """One run of a talk over a channel of its own."""

    def __init__(self, server: FaultyServer, channel: str, kind: str = "") -> None:
        self.server, self.channel, self.kind = server, channel, kind
        self.accepted: dict[str, str] = {}  # data: id, or nothing where none is told
        self.heard: list[list[str]] = []    # by each who received: data
        self.headers: dict[str, str] = {}   # of who looks at the log
        self.is_mended = not kind
        self.was_due = False
        self.may_be_purged = False
        self.admin = server.at(server.listeners("admin")[0])

    def mend(self) -> None:
        """From now on no call fails."""
        if not self.is_mended:
            self.was_due = self.server.mend(self.kind)
            self.is_mended = True

    def check_refusal(self, code: str) -> None:
        assert not self.is_mended or self.was_due, f"{code}, and nothing has failed"
        assert code in EXCUSES or (self.kind in TOKENS and code in ("bad-signature", "bad-token")), code

    def ask(self, method: str, target: str, body: str | None = None, **headers: str) -> Response:
        """Over a connection of its own; raises Refused where something is wrong with the server."""
        response = request(self.admin if target.startswith("/api") else self.server, method, target, body, **headers)
        if response.status >= 500 or (self.kind in TOKENS and response.status == 401 and response.error != "no-token"):
            self.refuse(response)
        return response

    def refuse(self, response: Response) -> None:
        """Raises Refused. Without memory for the words there is a bare 503."""
        is_bare = response.status == 503 and response.header("Content-Length") == "0"
        self.check_refusal("out-of-memory" if is_bare else response.error)
        raise Refused(response)

    def publish(self, data: str, **headers: str) -> None:
        response = self.ask("POST", path_of(self.channel), data, Content_Type="text/plain", **headers)
        assert response.status == 201, response
        self.accepted[data] = response.json["id"]

    def try_to_publish(self, data: str) -> None:
        """While calls fail."""
        with contextlib.suppress(Refused, Ended, ConnectionError):
            self.publish(data)

    def log(self) -> list[tuple[str, str]]:
        """What is kept: ids and data."""
        response = get(self.server, path_of(self.channel, since="earliest", wait=0), Accept="application/json", **self.headers)
        return [(message["id"], str(message["data"])) for message in response.json["messages"]] if response.status == 200 else []

    def check(self) -> None:
        """What was accepted is kept, under the id that was told, and nothing is twice; everybody heard the log in its order."""
        kept = self.log()
        data = [text for _, text in kept]
        assert len(set(data)) == len(data), f"kept twice: {data}"
        if not self.may_be_purged:
            for text, name in self.accepted.items():
                assert text in data, f"accepted, and not kept: {text}"
                assert not name or (name, text) in kept, f"{text} was accepted as {name}: {kept}"
        for heard in self.heard:
            at = -1
            for text in heard:
                if text == RESET:
                    at = -1
                elif text in data:
                    assert at in (-1, data.index(text) - 1), f"heard {heard}, kept {data}"
                    at = data.index(text)


class Listener(Protocol):
    def take(self) -> str: ...
    def close(self) -> None: ...


Open = Callable[[Scene], Listener]


def text_of(line: dict[str, Any]) -> str | None:
    return RESET if "reset" in line or line.get("op") == "reset" else line.get("data")


class OfEvents:
    def __init__(self, scene: Scene) -> None:
        self.stream = EventStream(scene.server, path_of(scene.channel, since="earliest"))
        self.close = self.stream.close
        check_opened(scene, self.stream)

    def take(self) -> str:
        event = self.stream.next_event()
        return RESET if event.event == "reset" else event.data or ""


class OfLines:
    """NDJSON, and the old streams that are read as the same objects."""

    def __init__(self, scene: Scene, transport: str) -> None:
        target = path_of(scene.channel, since="earliest")
        self.stream = LineStream(scene.server, target) if transport == "stream" else STREAMS[transport](scene.server, target)
        self.next = self.stream.next_line if isinstance(self.stream, LineStream) else self.stream.next_object
        self.close = self.stream.close
        check_opened(scene, self.stream)

    def take(self) -> str:
        while (text := text_of(self.next())) is None:
            pass
        return text


class OfPolls:
    """One connection, request after request."""

    def __init__(self, scene: Scene, form: str) -> None:
        self.scene, self.form = scene, form
        self.connection = Connection(scene.server)
        self.close = self.connection.close
        self.cursor = "earliest"
        self.waiting: list[str] = []

    def poll(self) -> None:
        target = path_of(self.scene.channel, since=self.cursor, wait=1)
        accept = "application/json" if self.form == "json" else ""
        response = self.connection.request("GET", with_query(target, transport="jsonp", callback=CALLBACK) if self.form == "jsonp"
                                           else target, Accept=accept)
        if response.status == 204:
            self.cursor = response.cursor
            return
        if response.status != 200:
            self.scene.refuse(response)
        if self.form == "raw":
            self.waiting += [RESET] * bool(response.reset) + [response.body.decode()]
            self.cursor = response.cursor
        else:
            answer = read_call(response) if self.form == "jsonp" else response.json
            if "error" in answer:  # of a script the status is always 200
                self.scene.check_refusal(answer["error"])
                raise Refused(response)
            self.waiting += [RESET] * bool(answer.get("reset")) + [message["data"] for message in answer["messages"]]
            self.cursor = answer["cursor"]

    def take(self) -> str:
        for _ in range(8):
            if self.waiting:
                return self.waiting.pop(0)
            self.poll()
        raise AssertionError("polls are answered, and by nothing")


class OfWebSocket:
    def __init__(self, scene: Scene, form: str) -> None:
        query = {"format": "json"} if form == "json" else {}
        self.client = WebSocket(scene.server, path_of(scene.channel, since="earliest", **query))
        self.form, self.close = form, self.client.close

    def take(self) -> str:
        while True:
            said = str(self.client.take())
            text = text_of(json.loads(said)) if self.form == "json" else said
            if text is not None:
                return text


class OfCommands:
    """The command protocol, whatever carries it."""

    def __init__(self, scene: Scene, transport: str) -> None:
        self.client = SockJs(scene.server, transport) if transport != "tcp" else None
        raw = Raw(scene.server) if transport == "tcp" else None
        self.close: Callable[[], None] = self.client.cut if self.client else raw.close  # type: ignore[union-attr]
        self.commands: Commands = self.client or raw_commands(raw)  # type: ignore[arg-type]
        try:
            answer = self.commands.ask("subscribe", channels=[scene.channel], since="earliest")
            if answer["op"] == "error":
                scene.check_refusal(answer["code"])
                raise Refused(answer)
        except BaseException:
            self.close()
            raise

    def take(self) -> str:
        return text_of(self.commands.take("message", "reset")) or ""


class OfRaw:
    def __init__(self, scene: Scene, framing: str) -> None:
        self.client = Raw(scene.server, list(TCP).index(framing), TCP[framing])
        self.close = self.client.close
        check_answer(scene, self.client.ask(f"SUBSCRIBE {scene.channel} earliest".encode()), b"CONFIRMED")

    def take(self) -> str:
        text = self.client.take().decode()
        if text.startswith("ERROR "):
            raise Ended(text)
        return RESET if text.startswith("RESET ") else text


class OfResp:
    """It has subscribed, to a channel or what is below one, before anything is published."""

    def __init__(self, scene: Scene, version: str = "2", pattern: bool = False) -> None:
        self.client = Resp(scene.server, list(TCP).index("resp"))
        self.close = self.client.close
        if version == "3":
            check_answer(scene, self.client.run("HELLO", "3"))
        verb, name = ("PSUBSCRIBE", scene.channel.rpartition("/")[0] + "/*") if pattern else ("SUBSCRIBE", scene.channel)
        self.client.send(command(verb, name))
        check_answer(scene, self.value())

    def value(self) -> object:
        """The next reply or push."""
        line = self.client.take()
        return [self.client.value(self.client.take()) for _ in range(int(line[1:]))] if line[:1] == b">" else self.client.value(line)

    def take(self) -> str:
        while not isinstance(reply := self.value(), list) or reply[0] not in (b"message", b"pmessage"):
            if isinstance(reply, str):
                raise Ended(reply)
        return RESET if b"$reset" in reply else reply[-1].decode()


def check_opened(scene: Scene, stream: EventStream | LineStream | Any) -> None:
    """A response that has its length is no stream: an EventSource is let go so, and comes again."""
    if stream.response.status == 200 and stream.response.header("Content-Length"):
        stream.close()
        raise Refused(stream.response)
    if stream.response.status != 200:
        stream.response.body = stream.read_exactly(int(stream.response.header("Content-Length") or 0))
        scene.refuse(stream.response)


def check_answer(scene: Scene, answer: object, expected: object = None) -> None:
    """Of raw TCP: `ERROR code …` or `-ERR code …` is a refusal."""
    text = answer.decode() if isinstance(answer, bytes) else answer if isinstance(answer, str) else ""
    if text.startswith(("ERROR ", "-ERR ")):
        scene.check_refusal(text.split(" ")[1])
        raise Refused(text)
    assert expected is None or answer == expected, answer


# What is said. "first" is there before who receives comes, "last" is published when nothing fails any more.


def follow(scene: Scene, begin: Open) -> None:
    """Whoever still receives hears everything."""
    is_told = begin not in (resp2, resp3, patterns)  # of what was there before
    scene.try_to_publish("first")
    listener = begin(scene)
    try:
        scene.try_to_publish("second")
        scene.try_to_publish("x" * 9_000)
        heard = [listener.take()] if scene.accepted.keys() - (set() if is_told else {"first"}) else []
        scene.heard.append(heard)
        scene.mend()
        scene.publish("last")
        while not heard or heard[-1] != "last":
            heard.append(listener.take())
        missing = scene.accepted.keys() - set(heard) - (set() if is_told else {"first"})
        assert not missing or RESET in heard, f"accepted, and not heard: {[text[:9] for text in missing]}; heard {[(text[:9], len(text)) for text in heard]}"
    finally:
        listener.close()


def resp2(scene: Scene) -> Listener:
    return OfResp(scene)


def resp3(scene: Scene) -> Listener:
    return OfResp(scene, "3")


def patterns(scene: Scene) -> Listener:
    return OfResp(scene, pattern=True)


def talk_commands(scene: Scene, transport: str = "ws") -> None:
    """Every command over one connection."""
    with contextlib.closing(OfCommands(scene, transport)) as listener:
        commands = listener.commands

        def ask(op: str, **members: Any) -> dict[str, Any]:
            answer = commands.ask(op, **members)
            if answer["op"] == "error":
                scene.check_refusal(answer["code"])
                raise Refused(answer)
            return answer

        for data in ("first", "second"):
            scene.accepted[data] = ask("publish", channel=scene.channel, data=data)["id"]
            while (text := listener.take()) != data:
                assert text == RESET, text
        kept = ask("history", channel=scene.channel, since="earliest")
        assert [message["data"] for message in kept["messages"]] == ["first", "second"], kept
        ask("subscribe", channels=[f"{scene.channel}/2", f"{scene.channel}/3"], last=1)
        ask("unsubscribe", channels=[scene.channel, f"{scene.channel}/3"])
        ask("publish", channel=f"{scene.channel}/2", data={"a": [1, 2, "3"]})
        assert commands.take("message", "reset")["channel"] == f"{scene.channel}/2"
        ask("ping")
        scene.mend()
        scene.accepted["last"] = ask("publish", channel=scene.channel, data="last")["id"]
        assert ask("ping")["op"] == "pong"


def talk_lines(scene: Scene, framing: str) -> None:
    """Every command of raw TCP."""
    channel = scene.channel
    with Raw(scene.server, list(TCP).index(framing), TCP[framing]) as client:
        def say(text: str, *answers: str) -> None:
            client.put(text.encode())
            for answer in answers:
                check_answer(scene, client.take(), answer.encode())

        say(f"PUBLISH {channel} first", "CONFIRMED")
        scene.accepted["first"] = ""
        say(f"HISTORY {channel} earliest", "first", "CONFIRMED")
        say(f"SUBSCRIBE {channel} earliest", "CONFIRMED", "first")
        say("PING there", "there")
        say("ECHO " + "y" * 30_000, "y" * 30_000)
        say(f"UNSUBSCRIBE {channel}", "CONFIRMED")
        say(f"PUBLISH {channel} {'z' * 30_000}", "CONFIRMED")
        scene.accepted["z" * 30_000] = ""
        scene.mend()
        say("QUIT", "CONFIRMED")
        assert client.is_closed()


def talk_resp(scene: Scene) -> None:
    """A client of Redis that does not subscribe."""
    with Resp(scene.server, list(TCP).index("resp")) as client:
        def say(*words: str) -> Any:
            answer = client.run(*words)
            check_answer(scene, answer)
            return answer

        say("HELLO", "3")
        say("HELLO", "2")
        say("PUBLISH", scene.channel, "first")
        scene.accepted["first"] = ""
        assert len(say("XRANGE", scene.channel, "-", "+")) == 1
        assert say("XREAD", "COUNT", "9", "STREAMS", scene.channel, "0")
        assert say("PUBSUB", "NUMSUB", scene.channel)
        say("PUBSUB", "CHANNELS")
        say("MULTI")
        say("PUBLISH", scene.channel, "second")
        say("PUBLISH", scene.channel, "third")
        answers = say("EXEC")
        for data, answer in zip(("second", "third"), answers, strict=True):
            if isinstance(answer, str):
                check_answer(scene, answer)
            scene.accepted[data] = ""
        say("CLIENT", "SETNAME", "x" * 1000)
        scene.mend()
        assert say("QUIT") == "+OK"


def talk_http(scene: Scene) -> None:
    """Requests of every kind over one connection, the last of them large."""
    channel = scene.channel
    with Connection(scene.server) as connection:
        def say(method: str, target: str, body: str | None = None, *statuses: int, **headers: str) -> Response:
            response = connection.request(method, target, body, **headers)
            if method == "HEAD" and response.status == 503:
                raise Refused(response)
            if response.status >= 500:
                scene.refuse(response)
            assert response.status in statuses, response
            return response

        answer = say("POST", path_of(channel, event="e"), "first", 201, Content_Type="text/plain", Idempotency_Key="1")
        scene.accepted["first"] = answer.json["id"]
        answer = say("PUT", path_of(channel), "first", 200, Content_Type="text/plain", Idempotency_Key="1")
        assert answer.json["id"] == scene.accepted["first"]
        for target in (path_of(channel), path_of(channel, last=1), f"{path_of(channel)}?channel={channel}/2&since=earliest"):
            assert "first" in say("GET", target + "&wait=0" if "?" in target else target + "?since=earliest", None, 200).body.decode()
        say("GET", path_of(channel, since="now", wait=0), None, 204)
        for target in ("/readyz", "/healthz", "/", "/sluice.js", "/sockjs", "/sockjs/info", "/sockjs/iframe.html"):
            say("GET", target, None, 200)
        say("HEAD", "/sluice.js", None, 200)
        say("GET", "/nothing", None, 404)
        say("OPTIONS", path_of(channel), None, 204, 200)
        say("POST", path_of(channel), "{", 400, Content_Type="application/json")
        say("POST", path_of(channel), "{\"a\":1}", 201, Content_Type="application/json; charset=utf-8", Producer="x" * 3000)
        say("GET", path_of(channel, since="now", wait=0), None, 204, Prefer="p" * 20_000)
        scene.mend()
        say("GET", "/healthz", None, 200)


def talk_admin(scene: Scene) -> None:
    scene.publish("first")
    with contextlib.closing(OfEvents(scene)):
        for target in (f"/api/channels/{scene.channel}", f"/api/channels?prefix={scene.channel}&limit=2", "/api/channels?limit=1000"):
            assert scene.channel in scene.ask("GET", target).body.decode() or "limit=1000" in target
        subscribers = scene.ask("GET", "/api/stats").json["subscribers_sse"]
        if subscribers == 0:
            raise Ended("the fault was the stream's")
        assert subscribers == 1
        assert scene.ask("GET", "/api/channels/nothing").status == 404
        with Connection(scene.admin) as connection:
            response = connection.request("GET", "/metrics")
            if response.status != 200:
                scene.refuse(response)
            assert b"sluice_subscribers" in response.body


def talk_batch(scene: Scene) -> None:
    texts = ["first", "second", "y" * 9000]
    lines = [{"channel": scene.channel, "data": text} for text in texts] + [{"channel": "a//b", "data": 1}]
    for body, kind in ((lines[:2], "json"), (lines[2:], "x-ndjson")):
        text = json.dumps(body) if kind == "json" else "\n".join(map(json.dumps, body))
        response = scene.ask("POST", "/channels", text, Content_Type=f"application/{kind}")
        assert response.status == 200, response
        for line, result in zip(body, response.json, strict=True):
            if "id" in result:
                scene.accepted[line["data"]] = result["id"]
            elif line["channel"] == scene.channel:
                scene.check_refusal(result["error"])
    if scene.kind == "":
        assert len(scene.accepted) == 3


def talk_purge(scene: Scene) -> None:
    """While somebody listens, who is told, or cut."""
    scene.publish("first")
    with contextlib.closing(OfEvents(scene)) as listener:
        assert listener.take() == "first"
        scene.may_be_purged = True
        response = scene.ask("DELETE", f"/api/channels/{scene.channel}")
        assert response.status == 200 and response.json["purged"] == 1, response
        assert listener.take() == RESET
        scene.mend()
        scene.publish("last")
        assert listener.take() == "last"


def talk_several(scene: Scene) -> None:
    """Polls and streams of several channels at once."""
    others = "".join(f"&channel={scene.channel}/{i}" for i in range(8))
    scene.publish("first")
    with LineStream(scene.server, path_of(scene.channel, since="earliest") + others) as stream:
        check_opened(scene, stream)
        while text_of(stream.next_line()) != "first":
            pass
        response = scene.ask("POST", path_of(f"{scene.channel}/7"), "other", Content_Type="text/plain")
        assert response.status == 201, response
        assert scene.ask("GET", path_of(scene.channel, last=1, wait=0) + others, Accept="application/json").status == 200
        while text_of(stream.next_line()) != "other":
            pass


def talk_held(scene: Scene) -> None:
    """Polls that wait, and clients that go away while they do."""
    scene.publish("first")
    with Connection(scene.server) as gone, Connection(scene.server) as held:
        for connection in (gone, held):
            connection.send(f"GET {path_of(scene.channel, since=scene.accepted['first'], wait=5)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        gone.close()
        wait_until(lambda: scene.ask("GET", f"/api/channels/{scene.channel}").json["subscribers"]["poll"] >= 1 or held_is_over(held))
        scene.mend()
        scene.publish("last")
        response = held.read_response()
        if response.status != 200:
            scene.refuse(response)
        assert response.body == b"last", response


def held_is_over(connection: Connection) -> bool:
    """Whether an answer, or the end, is there already."""
    connection.socket.settimeout(0.001)
    try:
        return not connection.receive() or bool(connection.buffer)
    except TimeoutError:
        return False
    finally:
        connection.socket.settimeout(10)


def talk_session(scene: Scene) -> None:
    """A SockJS session by hand."""
    session = Session(scene.server, "/sockjs")

    def say(transport: str, body: str = "") -> str:
        response = session.post(transport, body)
        if response.status >= 500:
            scene.refuse(response)
        if response.status == 404:  # a session that could not be kept
            raise Refused(response)
        return response.body.decode()

    said = say("xhr")
    if said != "o\n":
        raise Refused(said)
    say("xhr_send", json.dumps(['{"op":"subscribe","channel":"%s","since":"earliest"}' % scene.channel] * 2 + ["no"]))
    text = ""
    while "bad-" not in text:
        text = say("xhr")
        if text.startswith("c["):
            raise Ended(text)
        assert text.startswith(("a[", "h")), text
        if "out-of-memory" in text:
            raise Refused(text)
    scene.mend()
    scene.publish("last")
    while "last" not in text:
        text = say("xhr")
        if text.startswith("c["):
            raise Ended(text)


def talk_tokens(scene: Scene) -> None:
    """On a channel for those with tokens."""
    scene.channel = f"guarded/{scene.channel}"
    token = make_token(["guarded/**"], ["guarded/**"], sub="s", jti="j")
    response = scene.ask("POST", path_of(scene.channel), "first", Content_Type="text/plain", **bearer(token))
    assert response.status == 201, response
    response = scene.ask("GET", path_of(scene.channel, last=1), **bearer(token))
    assert (response.status, response.body) == (200, b"first"), response
    response = scene.ask("GET", path_of(scene.channel, last=1, token=token), Accept="application/json")
    assert response.status == 200, response
    assert scene.ask("GET", path_of(scene.channel, last=1)).status == 401
    with contextlib.suppress(Refused):
        assert scene.ask("GET", path_of(scene.channel, last=1), **bearer(token[:-4] + "AAAA")).status == 401
    with EventStream(scene.server, path_of(scene.channel, last=1, token=token)) as stream:
        check_opened(scene, stream)
        assert stream.next_event().data == "first"


def talk_auth(scene: Scene) -> None:
    """A token given over a connection that is there already, in each vocabulary."""
    scene.channel = f"guarded/{scene.channel}"
    token = make_token(["guarded/**"], ["guarded/**"], sub="s")
    scene.headers = bearer(token)
    with WebSocket(scene.server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        for op, members in (("auth", {"token": token}), ("publish", {"channel": scene.channel, "data": "first"})):
            answer = commands.ask(op, **members)
            if answer["op"] == "error":
                scene.check_refusal(answer["code"])
                raise Refused(answer)
        scene.accepted["first"] = answer["id"]
    with Raw(scene.server) as client:
        check_answer(scene, client.ask(f"AUTH {token}".encode()), b"CONFIRMED")
        check_answer(scene, client.ask(f"PUBLISH {scene.channel} second".encode()), b"CONFIRMED")
        scene.accepted["second"] = ""
    with Resp(scene.server, list(TCP).index("resp")) as client:
        answer = client.run("AUTH", token)
        if scene.kind in TOKENS and str(answer).startswith("-WRONGPASS"):
            raise Refused(answer)
        check_answer(scene, answer, "+OK")
        check_answer(scene, client.run("PUBLISH", scene.channel, "third"))
        scene.accepted["third"] = ""


def talk_revoke(scene: Scene) -> None:
    """What was revoked with success is revoked, and ends what is open."""
    name = scene.channel.replace("/", "-")
    channel, token = f"guarded/{scene.channel}", make_token(["guarded/**"], ["guarded/**"], jti=name)
    with EventStream(scene.server, path_of(channel, token=token)) as stream:
        check_opened(scene, stream)
        response = scene.ask("DELETE", f"/api/tokens/{name}")
        assert response.status == 200, response
        scene.mend()
        wait_until(lambda: (answer := get(scene.server, path_of(channel, last=1, wait=0), **bearer(token))).status == 401
                   and answer.error == "token-revoked", what="the revocation")
        assert stream.next_event().event == "expired"


def talk_tls(scene: Scene) -> None:
    """Handshakes for HTTP and for raw TCP, and something said within. A handshake that fails is an end."""
    secure = scene.server.at(scene.server.listeners("http")[1])
    secure.tls = common_tls()
    try:
        with Connection(secure) as connection:
            response = connection.request("POST", path_of(scene.channel), "f" * 40_000, Content_Type="text/plain")
            if response.status >= 500:
                scene.refuse(response)
            scene.accepted["f" * 40_000] = response.json["id"]
        with Raw(secure, len(TCP)) as client:
            check_answer(scene, client.ask(f"SUBSCRIBE {scene.channel} earliest".encode()), b"CONFIRMED")
            assert client.take() == b"f" * 40_000
            scene.mend()
            scene.publish("last")
            assert client.take() == b"last"
    except ssl.SSLError as error:
        raise Ended(str(error)) from None


_reloads: collections.deque[float] = collections.deque(maxlen=10)


def talk_reload(scene: Scene) -> None:
    """While somebody listens; what fails leaves everything as it was."""
    with contextlib.closing(OfEvents(scene)) as listener:
        # The log says the same at most ten times in ten seconds.
        wait_until(lambda: sum(time.monotonic() - at < 11 for at in _reloads) < 9, what="room in the log")
        _reloads.append(time.monotonic())
        with scene.server.log_file.open(errors="replace") as log:
            log.seek(0, os.SEEK_END)
            scene.server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any(re.search(r" event=reload(ed|-failed|-incomplete)\b", line) for line in log), what="the reload")
        scene.mend()
        scene.publish("last")
        assert listener.take() == "last"


Talk = Callable[[Scene], None]


def following(begin: Callable[..., Listener], *words: str) -> Talk:
    if words:
        return lambda scene: follow(scene, lambda scene: begin(scene, *words))
    return lambda scene: follow(scene, begin)


TALKS: dict[str, Talk] = {
    "sse": following(OfEvents), **{f"stream-{name}": following(OfLines, name) for name in ("stream", *STREAMS)},
    **{f"poll-{form}": following(OfPolls, form) for form in ("raw", "json", "jsonp")},
    **{f"feed-{form}": following(OfWebSocket, form) for form in ("text", "json")},
    **{f"commands-{name}": following(OfCommands, name) for name in ("ws", "tcp", *TRANSPORTS)},
    **{f"tcp-{framing}": following(OfRaw, framing) for framing in ("crlf", "nul", "len32")},
    "resp-2": following(resp2), "resp-3": following(resp3), "resp-patterns": following(patterns),
    "all-commands": talk_commands, "all-commands-xhr": lambda scene: talk_commands(scene, "xhr"),
    **{f"lines-{framing}": (lambda scene, framing=framing: talk_lines(scene, framing)) for framing in ("crlf", "nul", "len32")},
    "resp": talk_resp, "http": talk_http, "admin": talk_admin, "batch": talk_batch, "purge": talk_purge, "several": talk_several, "held": talk_held,
    "session": talk_session, "tokens": talk_tokens, "auth": talk_auth, "revoke": talk_revoke, "tls": talk_tls,
    "reload": talk_reload,
}
