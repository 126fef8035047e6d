# SPDX-License-Identifier: MIT
"""What the docstrings of clients/python/sluice.py say, sentence by sentence; it under cuts and restarts is in test_python_client.py."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import pathlib
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.client import LineStream, get, path_of, publish, request
from support.redis import KEEP_ALL, RedisServer, await_ready, nodes
from support.reloading import Reloading
from support.server import PATIENCE, SOURCE, Server, wait_until
from support.tls import common_tls
from support.tokens import make_token, secret_file

FILE = SOURCE / "clients/python/sluice.py"
sys.path.insert(0, str(FILE.parent))
import sluice  # noqa: E402


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sluice, "DELAY_S", 0.02)
    monkeypatch.setattr(sluice, "DELAY_MAX_S", 0.2)


def client_of(server: Server, **options: Any) -> sluice.Client:
    return sluice.Client(f"http://127.0.0.1:{server.port}", **options)


def take(subscription: Iterator[Any], count: int) -> list[Any]:
    return list(itertools.islice(subscription, count))


class Front:
    """A server of the test's own: answers as `answers` say, one after another, each with a status, fields and a body, or None, which cuts the
    connection; the last one goes on. What was asked stands in `asked`."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes] | None) -> None:
        front = self
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                front.asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                chosen = left.pop(0) if len(left) > 1 else left[0]
                if chosen is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                status, fields, data = chosen
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *words: object) -> None:
                pass

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_port}"

    def __enter__(self) -> Front:
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.listener.shutdown()
        self.listener.server_close()


ACCEPTED = (201, {"Content-Type": "application/json"}, b'{"channel":"a","id":"k3q9xm2ab7zt-1","time":1700000000000,"type":"text"}')
BUSY = (503, {"Content-Type": "application/json", "Retry-After": "1"}, b'{"error":"memory-limit","message":"full"}')


def keys_of(front: Front) -> set[str]:
    found = set()
    for _, target, fields, _ in front.asked:
        in_query = re.search(r"idempotency_key=([^&]+)", target)
        found.add(fields.get("idempotency-key") or (in_query[1] if in_query else ""))
    return found


# One file without dependencies: copy it.

def test_it_is_one_file_of_at_most_200_lines_for_python_3_9_with_the_standard_library_only(tmp_path: pathlib.Path) -> None:
    text = FILE.read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names) and len(text.splitlines()) <= 200
    annotated = [inspect.signature(each) for each in (sluice.Client, sluice.Client.publish, sluice.Client.subscribe, sluice.Client.last)]
    assert all(parameter.annotation is not parameter.empty for signature in annotated for name, parameter in signature.parameters.items() if name != "self")


def test_the_example_of_its_docstring_runs(server: Server, channel: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = inspect.cleandoc(re.search(r"\n((?:    .*\n)+)", inspect.getdoc(sluice) or "")[1])  # type: ignore[index]
    assert "import sluice" in example and "for told in" in example
    text = example.replace("8080", str(server.port)).replace('"news"', repr(channel)) + "\n        break\n"
    exec(compile(text, "example", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == f"{channel} {{'title': 'Hello'}}\n"


# A subscription.

def test_where_it_begins_is_said_by_since(server: Server, channel: str) -> None:
    client = client_of(server)
    ids = [client.publish(channel, str(number)).id for number in range(4)]
    assert [message.data for message in take(client.subscribe(channel, since="earliest"), 4)] == ["0", "1", "2", "3"]
    assert [message.data for message in take(client.subscribe(channel, since="last=2"), 2)] == ["2", "3"]
    assert [message.data for message in take(client.subscribe(channel, since=ids[2]), 1)] == ["3"]
    heard: list[Any] = []
    listener = threading.Thread(target=lambda: heard.extend(take(client.subscribe(channel), 1)), daemon=True)
    listener.start()
    number = 0
    while listener.is_alive():
        client.publish(channel, f"now {(number := number + 1)}")
        listener.join(0.1)
    assert heard[0].data.startswith("now "), "only what comes next is told, when nothing is said"


def test_it_goes_on_until_it_is_closed(server: Server, channel: str) -> None:
    client = client_of(server)
    subscription = client.subscribe(channel, since="earliest")
    client.publish(channel, "1")
    assert next(subscription).data == "1"
    subscription.close()  # type: ignore[attr-defined]
    client.publish(channel, "2")
    assert next(subscription, None) is None


def test_what_a_message_has(tmp_path: pathlib.Path) -> None:
    with Reloading('[channel "t"]\ntree = yes\n') as server:
        client = client_of(server)
        before = time.time() * 1000
        for data in ("text", b"\0\xff", {"a": [1]}):
            published = client.publish("t/deep", data, event="goal", key="k", producer="me")
            assert isinstance(published, sluice.Published) and before - 1000 <= published.time <= time.time() * 1000 + 1000
        direct = take(client.subscribe("t/deep", since="earliest"), 3)
        assert [message.data for message in direct] == ["text", b"\0\xff", {"a": [1]}]
        assert [message.type for message in direct] == ["text", "binary", "json"]
        assert {(m.channel, m.event, m.key, m.producer, m.stored, m.tree) for m in direct} == {("t/deep", "goal", "k", "me", True, "")}
        assert all(isinstance(message.time, int) and before - 1000 <= message.time for message in direct)
        above = take(client.subscribe("t", since="earliest"), 3)
        assert {(message.channel, message.tree) for message in above} == {("t/deep", "t")}
        assert [message.data for message in take(client.subscribe("t", since=above[0].cursor), 2)] == [b"\0\xff", {"a": [1]}], "cursor says where to go on"


def test_a_reset_says_what_is_known_and_none_where_it_is_not(redis: RedisServer) -> None:
    with Server("--history-size", "2") as server:
        client = client_of(server)
        first = client.publish("c", "0")
        for number in range(1, 5):
            client.publish("c", str(number))
        (trimmed,) = take(client.subscribe("c", since=first.id), 1)
        assert isinstance(trimmed, sluice.Reset)
        assert (trimmed.channel, trimmed.reason, trimmed.missed, trimmed.withdrawn) == ("c", "trimmed", 2, None) and trimmed.cursor
        epoch = first.id.split("-")[0]
        (begun_anew,) = take(client.subscribe("c", since=f"{epoch[:5]}{'a' * 7}-1"), 1)
        assert (begun_anew.reason, begun_anew.missed) == ("epoch", None)


def test_a_failover_says_how_many_are_withdrawn() -> None:
    with RedisServer() as redis, nodes(1, redis, options=KEEP_ALL) as (server,), LineStream(server, path_of("c")) as stream:
        stream.next_line()
        client = client_of(server)
        client.publish("c", "1")
        redis.client.save()
        seen = [client.publish("c", str(number)) for number in (2, 3)]
        redis.restart()
        await_ready(server)
        wait_until(lambda: get(server, "/api/channels/c").json["epoch"] != seen[0].id.split("-")[0])
        (reset,) = take(client.subscribe("c", since=seen[1].id), 1)
        assert (reset.reason, reset.withdrawn) == ("failover", 2)


@pytest.mark.parametrize(("since", "token", "code"), [("earliest", None, "no-token"), ("earliest", "t", "bad-token"), ("nonsense", "good", "bad-cursor"), ("now", "other", "forbidden-channel")])
def test_a_refusal_is_raised_with_the_status_the_code_and_the_sentence_of_http(since: str, token: str | None, code: str) -> None:
    tokens = {"good": make_token(["c"]), "other": make_token(["d"])}
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        with pytest.raises(sluice.SluiceError) as fault:
            next(client_of(server, token=tokens.get(token or "", token)).subscribe("c", since=since))
        assert fault.value.code == code
        named = re.search(rf"^\| `{code}` \| (\d+) \|", (SOURCE / "docs/ERRORS.md").read_text(), re.MULTILINE)
        assert named and fault.value.status == int(named[1]) and len(str(fault.value)) > 10


@pytest.mark.parametrize("work", ["subscribe", "publish"])
def test_after_its_patience_the_last_error_is_raised(work: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(OSError):
        if work == "publish":
            sluice.Client(f"http://127.0.0.1:{port}").publish("c", "x", patience=1)
        else:
            next(sluice.Client(f"http://127.0.0.1:{port}").subscribe("c", patience=1))
    assert 0.7 < time.monotonic() - begun < 1 + PATIENCE / 2
    if work == "publish":
        with Front(BUSY) as front, pytest.raises(sluice.SluiceError) as fault:
            sluice.Client(front.url).publish("c", "x", patience=1)
        assert (fault.value.status, fault.value.code) == (503, "memory-limit")


# A publish.

def test_a_publish_is_repeated_with_one_key_until_it_is_accepted() -> None:
    with Front(None, (502, {}, b"<html>"), BUSY, ACCEPTED) as front:
        assert sluice.Client(front.url).publish("a", "x").id == "k3q9xm2ab7zt-1"
        assert len(front.asked) == 4 and len(keys_of(front)) == 1 and "" not in keys_of(front)
        assert {body for _, _, _, body in front.asked} == {b"x"}
        sluice.Client(front.url).publish("a", "x", idempotency_key="mine")
        assert "mine" in keys_of(front)


def test_an_answer_that_is_lost_does_not_publish_twice(server: Server, channel: str) -> None:
    """What is asked goes to the server; of the answers the first is lost."""
    lost = threading.Event()

    class Passing(Front):
        pass

    with Passing(None, ACCEPTED) as front:
        sluice.Client(front.url).publish(channel, "x")
        first, second = front.asked
    for _, target, fields, body in (first, second):
        passed = {name.replace("-", "_"): value for name, value in fields.items() if name in ("content-type", "idempotency-key")}
        assert request(server, "POST", target, body, **passed).status == (200 if lost.is_set() else 201)
        lost.set()
    assert get(server, f"/api/channels/{channel}").json["messages"] == 1


@pytest.mark.parametrize("status", [400, 403, 409, 413])
def test_what_trying_again_does_not_help_against_is_raised_at_once(status: int) -> None:
    with Front((status, {"Content-Type": "application/json"}, b'{"error":"bad-option","message":"no"}')) as front:
        with pytest.raises(sluice.SluiceError) as fault:
            sluice.Client(front.url).publish("a", "x")
        assert (fault.value.status, fault.value.code, len(front.asked)) == (status, "bad-option", 1) and "no" in str(fault.value)


def test_the_options_of_a_publish(server: Server, channel: str) -> None:
    client = client_of(server)
    subscription = client.subscribe(channel, since="earliest")
    client.publish(channel, "x", event="e", ttl="60", key="k", producer="p")
    told = next(subscription)
    assert (told.event, told.key, told.producer) == ("e", "k", "p")
    client.publish(channel, "y", store="no")
    assert next(subscription).stored is False
    client.publish(channel, "z", ttl="1")
    wait_until(lambda: [message.data for message in client.last(channel, 5)] == ["x"], what="the end of one whose ttl is over")


# The rest.

def test_one_client_is_used_by_many_threads(server: Server, channel: str) -> None:
    client = client_of(server)
    faults: list[str] = []
    heard: list[list[Any]] = [[] for _ in range(4)]

    def speak(which: int) -> None:
        try:
            for number in range(20):
                client.publish(channel, {"who": which, "n": number})
        except Exception as error:  # noqa: BLE001 - told below
            faults.append(repr(error))

    threads = [threading.Thread(target=speak, args=(which,), daemon=True) for which in range(4)]
    threads += [threading.Thread(target=lambda into=into: into.extend(take(client.subscribe(channel, since="earliest"), 80)), daemon=True) for into in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert not faults and all(len(told) == 80 for told in heard)
    assert len({json.dumps([message.data for message in told]) for told in heard}) == 1, "all in the same order"
    assert all([message.data["n"] for message in heard[0] if message.data["who"] == which] == list(range(20)) for which in range(4))


def test_a_url_may_have_a_path() -> None:
    with Front(ACCEPTED) as front:
        for url in (f"{front.url}/push", f"{front.url}/push/"):
            sluice.Client(url).publish("a/b", "x")
        assert [target.split("?")[0] for _, target, _, _ in front.asked] == ["/push/channels/a/b"] * 2


def test_a_token_is_one_or_a_function_that_is_asked_before_each_request() -> None:
    asked: list[int] = []

    def give() -> str:
        asked.append(1)
        return f"token-{len(asked)}"

    with Front(ACCEPTED) as front:
        client = sluice.Client(front.url, token=give)
        for _ in range(3):
            client.publish("a", "x")
        assert [fields["authorization"] for _, _, fields, _ in front.asked] == [f"Bearer token-{number}" for number in (1, 2, 3)]
        sluice.Client(front.url, token="fixed").publish("a", "x")
        sluice.Client(front.url).publish("a", "x")
        assert [fields.get("authorization") for _, _, fields, _ in front.asked[3:]] == ["Bearer fixed", None]


def test_the_last_messages_come_the_oldest_first(server: Server, channel: str) -> None:
    client = client_of(server)
    for number in range(5):
        client.publish(channel, str(number))
    assert [message.data for message in client.last(channel)] == ["4"]
    assert [message.data for message in client.last(channel, 3)] == ["2", "3", "4"]
    assert [message.data for message in client.last(channel, 100)] == ["0", "1", "2", "3", "4"]
    with pytest.raises(sluice.SluiceError):
        client.last("no name")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError):
        sluice.Client(f"http://127.0.0.1:{port}").last("a")


def test_tls_with_a_context_of_ones_own() -> None:
    import ssl
    tls = common_tls()
    with Server("--http", f"127.0.0.1:0 {tls.pair.keys}") as server:
        url = f"https://127.0.0.1:{server.listeners('http')[1]}"
        context = ssl.create_default_context(cafile=str(tls.authority.pair.cert))
        client = sluice.Client(url, context=context)
        client.publish("a", "x")
        assert next(client.subscribe("a", since="earliest")).data == "x"
        with pytest.raises(OSError):
            sluice.Client(url).publish("a", "x", patience=0.3)


def test_several_channels_are_told_of_in_one_subscription(server: Server, channel: str) -> None:
    publish(server, f"{channel}/a", "1")
    publish(server, f"{channel}/b", "2")
    told = take(client_of(server).subscribe(f"{channel}/a", f"{channel}/b", since="earliest"), 2)
    assert {(message.channel, message.data) for message in told} == {(f"{channel}/a", "1"), (f"{channel}/b", "2")}
    assert get(server, path_of(f"{channel}/a", channel=f"{channel}/b", since=told[-1].cursor, wait=0)).status == 204
