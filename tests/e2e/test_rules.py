# SPDX-License-Identifier: MIT
"""Sections [channel "PATTERN"] of the configuration file: what each option does to the channels that its pattern covers, and to no other."""

import contextlib
import json
import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import NODE_OPTIONS, RedisServer, await_ready, metric
from support.reloading import Reloading
from support.server import SLUICE, SOURCE, Server, wait_until
from support.sockjs import Session
from support.tcp import Raw, Resp, command, tcp_addresses
from support.websocket import BINARY, WebSocket


@contextlib.contextmanager
def configured(broker: str, text: str, *options: str) -> Iterator[Reloading]:
    """A server over that kind of broker, with this configuration file."""
    with contextlib.ExitStack() as stack:
        if broker == "redis":
            url = stack.enter_context(RedisServer()).url()
            options = (*options, "--broker", url, *NODE_OPTIONS)
        server = stack.enter_context(Reloading(text, *options))
        await_ready(server)
        yield server


def kept(server: Server, channel: str) -> list[str]:
    answer = get(server, path_of(channel, since="earliest", wait=0), Accept="application/json")
    return [message["data"] for message in answer.json["messages"]] if answer.status == 200 else []


def publish_all(server: Server, channel: str, count: int, size: int = 1) -> None:
    for i in range(count):
        publish(server, channel, f"{i}".ljust(size))


BROKERS = pytest.mark.parametrize("broker", ["memory", "redis"])


@BROKERS
def test_the_most_specific_section_says_how_many_are_kept(broker: str) -> None:
    text = """history-size = 7
        [channel "news/**"]
        history-size = 5
        [channel "news/*"]
        history-size = 3
        [channel "news/one"]
        history-size = 1
        [channel "none/**"]
        history-size = 0
        """
    with configured(broker, text) as server:
        for channel, count in (("other", 7), ("news", 7), ("news/a/b", 5), ("news/a", 3), ("news/one", 1), ("none/a", 0)):
            with EventStream(server, path_of(channel)):
                wait_until(lambda name=channel: subscribers(server, name)["sse"] == 1)
                publish_all(server, channel, 9)
                assert len(kept(server, channel)) == count, f"{channel}, while somebody follows it"
            assert len(kept(server, channel)) == count, channel


@BROKERS
def test_how_long_messages_are_kept_goes_by_the_section(broker: str) -> None:
    text = '[channel "short/*"]\nhistory-ttl = 200ms\n'
    with configured(broker, text) as server:
        for channel in ("short/a", "long/a"):
            publish(server, channel, "x")
        wait_until(lambda: kept(server, "short/a") == [])
        assert kept(server, "long/a") == ["x"]


def test_how_many_bytes_are_kept_goes_by_the_section() -> None:
    with Reloading('[channel "small/*"]\nhistory-bytes = 10KiB\n') as server:
        for channel in ("small/a", "large/a"):
            publish_all(server, channel, 20, 1000)
        assert 1 < len(kept(server, "small/a")) < 11 and len(kept(server, "large/a")) == 20


@BROKERS
def test_keys_are_remembered_for_as_long_as_the_section_says(broker: str) -> None:
    text = 'idempotency-time = 1h\n[channel "short/*"]\nidempotency-time = 100ms\n'
    with configured(broker, text) as server:
        ids = {name: publish(server, name, "x", Idempotency_Key="k") for name in ("short/a", "long/a")}
        wait_until(lambda: publish(server, "short/a", "x", Idempotency_Key="k") != ids["short/a"])
        assert publish(server, "long/a", "x", Idempotency_Key="k") == ids["long/a"]


@BROKERS
def test_an_empty_channel_is_forgotten_when_its_section_says(broker: str) -> None:
    text = 'history-ttl = 100ms\nchannel-ttl = 1h\nlinger-time = 0\n[channel "short/*"]\nchannel-ttl = 1s\n'
    with configured(broker, text) as server:
        for channel in ("short/a", "long/a"):
            publish(server, channel, "x")
        wait_until(lambda: get(server, "/api/channels/short/a").status == 404)
        assert get(server, "/api/channels/long/a").status == 200


def test_a_bridged_channel_keeps_what_its_section_says() -> None:
    with RedisServer() as redis, Reloading('[channel "scores/*"]\nhistory-size = 2\n', "--broker", redis.url(), "--redis-subscribe", "scores/*",
                                           *NODE_OPTIONS) as server:
        await_ready(server)
        publish_all(server, "scores/a", 5)
        assert kept(server, "scores/a") == ["3", "4"]


def test_nodes_with_the_same_sections_keep_the_same(channel: str) -> None:
    text = f'[channel "{channel}"]\nhistory-size = 2\n'
    with RedisServer() as redis, Reloading(text, "--broker", redis.url(), *NODE_OPTIONS) as server, \
            Reloading(text, "--broker", redis.url(), *NODE_OPTIONS) as other:
        await_ready(server)
        await_ready(other)
        publish_all(server, channel, 5)
        assert kept(other, channel) == kept(server, channel) == ["3", "4"]


# message-size, wherever one publishes.

SIZES = """message-size = 100
[channel "large/*"]
message-size = 50000
[channel "small/*"]
message-size = 10
"""
LIMITS = {"large/a": 50000, "small/a": 10, "other": 100}
DOORS = ("--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp", "--tcp", "127.0.0.1:0 framing=len32 input=publish:small/a",
         "--tcp", "127.0.0.1:0 framing=len32 input=publish:large/a", "--sockjs", "/commands", "--sockjs", "/to-small app=publish:small/a",
         "--sockjs", "/to-large app=publish:large/a")


@pytest.fixture(scope="module")
def sized() -> Iterator[Reloading]:
    with Reloading(SIZES, *DOORS) as server:
        yield server


@pytest.fixture(params=LIMITS)
def limit(request: pytest.FixtureRequest) -> tuple[str, int]:
    return request.param, LIMITS[request.param]


def test_the_size_of_a_post(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    for framing in ("length", "chunks"):
        for size, status in ((most, 201), (most + 1, 413)):
            with Connection(sized) as connection:
                if framing == "length":
                    connection.send(request_bytes("POST", path_of(channel), b"x" * size, Content_Type="text/plain"))
                else:
                    connection.send(request_bytes("POST", path_of(channel), Content_Type="text/plain", Transfer_Encoding="chunked")
                                    + b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
                assert connection.read_response().status == status, (framing, size)
    assert get(sized, path_of(channel, last=1, wait=0)).body == b"x" * most


def test_a_post_that_is_too_large_is_refused_before_its_body_is_read(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    with Connection(sized) as connection:
        connection.send(request_bytes("POST", path_of(channel), Content_Length=str(most + 1)))
        assert connection.read_response().error == "too-large"


def test_the_size_in_a_batch_goes_by_each_channel(sized: Server) -> None:
    items = [{"channel": channel, "data": "x" * (most + more)} for channel, most in LIMITS.items() for more in (0, 1)]
    answer = request(sized, "POST", "/channels", json.dumps(items), Content_Type="application/json")
    assert [item.get("error") for item in answer.json] == [None, "too-large"] * len(LIMITS)


def test_the_size_of_a_command(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    with WebSocket(sized, "/ws", "sluice.v1+json") as client:
        for size, op in ((most, "published"), (most + 1, "error")):
            client.put_json({"op": "publish", "channel": channel, "data": "x" * size, "ref": size})
            answer = client.take_json()
            assert answer["op"] == op and answer.get("code") in (None, "too-large"), answer


def test_the_size_of_what_is_sent_into_a_websocket_feed(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    with WebSocket(sized, path_of(channel)) as client:
        client.put(BINARY, b"x" * most)
        assert client.take() == b"x" * most
        client.put(BINARY, b"x" * (most + 1))
        assert client.take_close()[0] == 1009


def test_the_size_over_raw_tcp(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    with Raw(sized) as client:
        assert client.ask(b"PUBLISH " + channel.encode() + b" " + b"x" * most) == b"CONFIRMED"
        answer = client.ask(b"PUBLISH " + channel.encode() + b" " + b"x" * (most + 1))
        assert answer.startswith(b"ERROR too-large") and f"at most {most} bytes".encode() in answer
        assert client.ask(b"PING") == b"PONG"


def test_the_size_over_raw_tcp_that_publishes_all_of_it(sized: Server) -> None:
    for index, channel in ((2, "small/a"), (3, "large/a")):
        most = LIMITS[channel]
        before = get(sized, f"/api/channels/{channel}").json["newest"] if get(sized, f"/api/channels/{channel}").status == 200 else None
        with Raw(sized, index, ends=None) as client:
            client.put(b"y" * most)
            wait_until(lambda name=channel, old=before: (look := get(sized, f"/api/channels/{name}")).status == 200 and look.json["newest"] != old)
            client.put(b"y" * (most + 1))
            assert b"too-large" in client.read_to_end()
        assert get(sized, path_of(channel, last=1, wait=0)).body == b"y" * most


def test_the_size_over_the_protocol_of_redis(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    with Resp(sized, 1) as client:
        assert client.run("PUBLISH", channel, "x" * most) == 0
        assert client.run_all("MULTI", f"PUBLISH {channel} {'x' * most}", "EXEC") == ["+OK", "+QUEUED", [0]]
        client.send(command("PUBLISH", channel, "x" * (most + 1)))
        assert str(client.reply()).startswith("-ERR too-large")


def test_the_size_over_sockjs(sized: Server, limit: tuple[str, int]) -> None:
    channel, most = limit
    session = Session(sized, "/commands").open()
    for size, op in ((most, "published"), (most + 1, "error")):
        session.put(json.dumps({"op": "publish", "channel": channel, "data": "x" * size}))
        assert json.loads(session.take_messages()[0])["op"] == op


def test_the_size_over_a_sockjs_service_that_publishes(sized: Server) -> None:
    for name in ("small", "large"):
        session = Session(sized, f"/to-{name}").open()
        session.put("z" * LIMITS[f"{name}/a"])
        wait_until(lambda name=name: get(sized, path_of(f"{name}/a", last=1, wait=0)).body == b"z" * LIMITS[f"{name}/a"])
        session.put("z" * (LIMITS[f"{name}/a"] + 1))
        assert any("too-large" in message for message in session.take_messages())


# Reload.


@BROKERS
def test_a_reload_puts_new_sections_in_force(broker: str) -> None:
    with configured(broker, "") as server, EventStream(server, path_of("news/a")):
        wait_until(lambda: subscribers(server, "news/a")["sse"] == 1)
        publish_all(server, "news/a", 10)
        publish_all(server, "other/a", 10)
        assert server.reload('[channel "news/*"]\nhistory-size = 3\nmessage-size = 10\n')["changed"] == "[channel]"
        wait_until(lambda: publish(server, "news/a", "x") and len(kept(server, "news/a")) == 3)
        publish(server, "other/a", "x" * 11)
        assert len(kept(server, "other/a")) == 11
        assert request(server, "POST", path_of("news/a"), "x" * 11, Content_Type="text/plain").error == "too-large"
        server.reload("")
        wait_until(lambda: publish(server, "news/a", "x" * 11) and len(kept(server, "news/a")) > 3)


def test_a_reload_reaches_channels_that_nobody_uses() -> None:
    with Reloading("") as server:
        for i in range(300):
            for _ in range(3):
                publish(server, f"news/{i}")
        server.reload('[channel "news/*"]\nhistory-size = 1\n')
        wait_until(lambda: metric(server, "messages") == 300)


def test_a_bad_section_leaves_what_is_in_force() -> None:
    with Reloading('[channel "news/*"]\nmessage-size = 10\n') as server:
        for text, reason in (('[channel "a b"]\n', ":1: "), ('[channel "news/*"]\nretry = 1\n', ":2: "), ('[channel "a"]\n[channel "a"]\n', ":2: ")):
            assert server.configuration.name + reason in server.change(text, "reload-failed")["reason"]
        assert request(server, "POST", path_of("news/a"), "x" * 11, Content_Type="text/plain").error == "too-large"
        server.reload("")
        publish(server, "news/a", "x" * 11)


# Looking.


def test_a_channel_shows_what_holds_for_it() -> None:
    text = 'history-size = 7\n[channel "news/*"]\nhistory-size = 3\nhistory-ttl = 90\nmessage-size = 10KiB\n[channel "news/a"]\npublish = anyone\n'
    with Reloading(text) as server:
        for channel in ("news/a", "other"):
            publish(server, channel, "x")
        shown = get(server, "/api/channels/news/a").json["options"]
        assert shown | {
            "subscribe": "auto", "publish": "anyone", "history-size": "3", "history-ttl": "90s", "history-bytes": "4MiB",
            "channel-ttl": "1h", "message-size": "10KiB", "idempotency-time": "2m"} == shown
        assert get(server, "/api/channels/other").json["options"]["history-size"] == "7"
        assert "options" not in get(server, "/api/channels").json["channels"][0]


# The page.

PAGE = (SOURCE / "docs/CHANNELS.md").read_text()


def explained(file: pathlib.Path, channel: str) -> dict[str, str]:
    """Each option in force, and where it is from."""
    done = subprocess.run([SLUICE, "check-config", "--static-dir", "", "--config", str(file), "--explain", channel], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" = ", 1) for line in done.stdout.splitlines())


def test_the_example_of_the_page_is_a_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    file.write_text("\n".join(re.findall(r"^    (.*)$", PAGE.split("## Patterns")[0], re.MULTILINE)))
    live = explained(file, "news/sport/live")
    assert live["history-size"].startswith("0 ") and '[channel "news/*/live"]' in live["history-size"]
    assert live["publish"].startswith("key,token ") and '[channel "news/**"]' in live["publish"]
    assert explained(file, "user/anna")["message-size"].startswith("4KiB ")
    assert explained(file, "blog")["history-size"] == f"100    ; {file}:1"


def test_patterns_cover_what_the_page_says(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for pattern, covered, others in rows:
        file.write_text(f'[channel "{pattern}"]\nhistory-size = 7\n')
        for channel in re.findall("`([^`]+)`", covered) or ["any", "one/of/them"]:
            assert explained(file, channel)["history-size"].startswith("7 "), (pattern, channel)
        for channel in re.findall("`([^`]+)`", others):
            assert explained(file, channel)["history-size"].startswith("100 "), (pattern, channel)


def test_the_sections_of_the_installed_file_are_good(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    text = (SOURCE / "contrib/sluice.conf").read_text()
    file.write_text(re.sub(r"^; (?=\[|[a-z-]+ = )", "", text[text.index("; [channel"):], flags=re.MULTILINE))
    assert explained(file, "news/a")["history-size"].startswith("1000 ")
    assert explained(file, "user/a")["publish"].startswith("nobody ")


# Names.

@pytest.mark.parametrize("name", ["*", "**", "a/*", "a/**", "*/a", "a/**/b"])
def test_no_channel_has_a_name_that_a_pattern_would_be(sized: Server, name: str) -> None:
    is_subscribed_to = name == "a/**"  # what is below a, which is no channel
    assert request(sized, "POST", path_of(name), "x").error == "bad-channel"
    if not is_subscribed_to:
        assert get(sized, path_of(name, wait=0)).error == "bad-channel"
        assert get(sized, path_of("a", channel=name, wait=0)).error == "bad-channel"
    assert get(sized, f"/api/channels/{name}").error == "bad-channel"
    with WebSocket(sized, "/ws", "sluice.v1+json") as client:
        for op in ("publish", "history") if is_subscribed_to else ("subscribe", "publish", "history"):
            client.put_json({"op": op, "channel": name, **({"data": "x"} if op == "publish" else {})})
            assert client.take_json()["code"] == "bad-channel"
    with Raw(sized) as client:
        for word in ("HISTORY", "PUBLISH") if is_subscribed_to else ("SUBSCRIBE", "HISTORY", "PUBLISH"):
            assert client.ask(f"{word} {name} x".encode()).startswith(b"ERROR bad-channel a channel name has no '*'")
    with Resp(sized, 1) as client:
        assert "bad-channel" in str(client.run("PUBLISH", name, "x"))


def test_a_star_within_a_segment_is_a_character_like_others(sized: Server) -> None:
    for name in ("a*", "*a/b**", "***"):
        publish(sized, name, "x")
        assert kept(sized, name) == ["x"]
    assert len(tcp_addresses(sized)) == 4
