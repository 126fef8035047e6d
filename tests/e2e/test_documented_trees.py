# SPDX-License-Identifier: MIT
"""What docs/CHANNELS.md, PROTOCOL.md, TCP.md, SOCKJS.md and REDIS.md say of trees, of NAME/** and of messages that are not kept: each sentence, on
every transport that it names, in memory and over two nodes with Redis."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import threading
from typing import Any

import pytest
import redis as redis_py
from support.client import Connection, EventStream, LineStream, Response, get, path_of, publish, request, subscribers
from support.readers import KINDS, LISTENERS, OBJECTS, REDIS_CLIENTS, Reader
from support.redis import NODE_OPTIONS, RedisServer, await_ready, complaints, meta_key, nodes, stream_key
from support.reloading import Reloading
from support.server import SLUICE, SOURCE, Server, wait_until
from support.sockjs_commands import TRANSPORTS, Commands
from support.tcp import Raw, Resp
from support.tokens import bearer, make_token, secret_file
from support.ways import FULL, PLAIN, RESP, TCP, Place, batch, data_of, kept, skip_without_redis
from support.websocket import WebSocket

PAGE = (SOURCE / "docs" / "CHANNELS.md").read_text()
SECTIONS = """
history-size = 1000
presence = yes
[channel "tree/*"]
tree = yes
[channel "tree/*/*"]
tree = yes
[channel "tree/*/*/short"]
history-size = 2
"""
OPTIONS = ("--legacy", "yes")
LIVE = tuple(kind for kind in KINDS if kind not in ("poll", "json")) + REDIS_CLIENTS
numbers = itertools.count(1)


@pytest.fixture
def root() -> str:
    return f"tree/{next(numbers)}"


# Trees.

@pytest.mark.parametrize("way", [*PLAIN, *FULL])
def test_what_is_published_below_by_any_way_is_told_by_every_transport(place: Place, root: str, way: str) -> None:
    skip_without_redis(place, way)
    channel = f"{root}/sport/tennis"
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(place.there, kind, name)) for kind in (*KINDS, *REDIS_CLIENTS) for name in (root, f"{root}/sport")]
        if way in PLAIN:
            PLAIN[way](place, channel, "set")
        else:
            answer = FULL[way](place, channel, "set", {"key": "k", "event": "e"})
            assert (answer[0].decode() if way == "fcall" else answer["id"]) == kept(place.here, channel)[0]["id"]
        for reader in readers:
            told = reader.next()
            assert told["data"] == "set", reader.kind
            if reader.kind in OBJECTS or reader.kind == "poll":
                assert (told["channel"], told["tree"]) == (channel, reader.channel), reader.kind
                assert way in PLAIN or (told["key"], told["event"]) == ("k", "e"), reader.kind
            if reader.kind in REDIS_CLIENTS:
                assert told["channel"] == reader.channel, "to Redis clients it comes under the name that they have subscribed to"


@pytest.mark.parametrize("way", FULL)
def test_what_is_not_kept_is_told_in_trees_by_every_transport(place: Place, root: str, way: str) -> None:
    skip_without_redis(place, way)
    channel = f"{root}/a"
    at, top = publish(place.here, channel, "kept"), kept(place.here, root)[0]["id"]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(place.there, kind, name)) for kind in LIVE for name in (root, channel)]
        answer = FULL[way](place, channel, "passing", {"store": False, "key": "k"})
        if way == "fcall":
            assert answer[0].decode() == at
        else:
            assert (answer["id"], answer["stored"]) == (at, False)
        publish(place.here, channel, "behind")
        for reader in readers:
            told, behind = reader.next(), reader.next()
            assert (told["data"], behind["data"]) == ("passing", "behind"), reader.kind
            if reader.kind in OBJECTS:
                assert told["stored"] is False and "stored" not in behind
                assert told["id"] == (top if reader.channel == root else at), "its id is that of the message that it stands behind"
    assert data_of(kept(place.there, root)) == ["kept", "behind"]


def test_three_logs_have_it_from_one_moment_on(place: Place, root: str) -> None:
    channel = f"{root}/sport/tennis"
    publish(place.here, f"{root}/sport", "before")
    publish(place.here, channel, "x")
    entries = [kept(place.there, name)[-1] for name in (channel, f"{root}/sport", root)]
    assert len({entry["time"] for entry in entries}) == 1 and len({entry["id"].split("-")[0] for entry in entries}) == 3
    assert [entry["id"].split("-")[1] for entry in entries] == ["1", "2", "2"], "each with offsets of its own"


@pytest.mark.parametrize("transport", [transport for transport in TRANSPORTS if transport not in ("jsonp", "htmlfile")])
def test_a_history_and_a_subscription_of_a_tree_over_sockjs(place: Place, root: str, transport: str) -> None:
    for i in range(5):
        publish(place.here, f"{root}/{i % 2}", str(i))
    with Commands(place.there, transport) as client:
        answer = client.history(root, last=3)
        assert [(each["channel"], each["tree"], each["data"]) for each in answer["messages"]] == [(f"{root}/{i % 2}", root, str(i)) for i in (2, 3, 4)]
        client.subscribe(root, since=answer["messages"][0]["id"])
        assert [client.next_data() for _ in range(2)] == ["3", "4"]


def test_sse_says_the_channel_with_format_json_and_a_poll_in_its_head(memory: Place, root: str) -> None:
    publish(memory.here, f"{root}/a", "x")
    with EventStream(memory.here, path_of(root, since="earliest", format="json")) as events:
        told = json.loads(events.next_event().data)
        assert (told["channel"], told["tree"]) == (f"{root}/a", root)
    with EventStream(memory.here, path_of(root, since="earliest")) as events:
        assert events.next_event().data == "x"
    answer = get(memory.here, path_of(root, since="earliest"))
    assert (answer.header("Sluice-Channel"), answer.header("Sluice-Tree")) == (f"{root}/a", root)
    assert get(memory.here, path_of(f"{root}/a", since="earliest")).header("Sluice-Tree") is None


def test_a_part_of_multipart_has_what_a_single_message_of_a_poll_has(memory: Place, root: str) -> None:
    publish(memory.here, f"{root}/a", "x", Sluice_Event="e", Sluice_Producer="p", Sluice_Key="k")
    with Connection(memory.here) as connection:
        connection.send(f"GET /channels/{root}?transport=multipart&since=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.read_head().status == 200
        part = connection.read_until(b"\r\n\r\nx").decode()
        for name, value in (("Channel", f"{root}/a"), ("Tree", root), ("Event", "e"), ("Producer", "p"), ("Key", "k")):
            assert f"\r\nSluice-{name}: {value}\r\n" in part, name


def test_each_log_keeps_what_its_own_section_says(place: Place, root: str) -> None:
    for i in range(5):
        publish(place.here, f"{root}/a/short", str(i))
    assert data_of(kept(place.there, f"{root}/a/short")) == ["3", "4"]
    assert data_of(kept(place.there, f"{root}/a")) == data_of(kept(place.there, root)) == ["0", "1", "2", "3", "4"]


def test_the_ttl_of_a_message_holds_in_all_logs(place: Place, root: str) -> None:
    publish(place.here, f"{root}/a", "short", Sluice_TTL="1")
    publish(place.here, f"{root}/a", "long")
    for name in (root, f"{root}/a"):
        wait_until(lambda name=name: data_of(kept(place.there, name)) == ["long"], what="the end of its time")


def test_a_purge_empties_one_log(place: Place, root: str) -> None:
    publish(place.here, f"{root}/a", "x")
    assert request(place.here, "DELETE", f"/api/channels/{root}").json == {"channel": root, "purged": 1}
    assert data_of(kept(place.there, root)) == [] and data_of(kept(place.there, f"{root}/a")) == ["x"]


def test_a_key_for_repeats_is_one_of_the_channel_published_to(place: Place, root: str) -> None:
    for name in ("a", "a", "b"):
        publish(place.here, f"{root}/{name}", name, Idempotency_Key="same")
    publish(place.here, root, "root", Idempotency_Key="same")
    assert data_of(kept(place.there, root)) == ["a", "b", "root"]


def test_what_sluice_publishes_on_reserved_names_goes_to_no_tree(place: Place, root: str) -> None:
    with Reader(place.there, "stream", root) as tree, Reader(place.there, "sse", f"{root}/a/$presence") as watcher:
        with LineStream(place.here, path_of(f"{root}/a", **{"as": "ann"})) as stream:
            stream.next_line()
            assert watcher.next()["event"] == "join"
            publish(place.here, f"{root}/a", "said")
            assert tree.take(1) == ["said"]
    assert data_of(kept(place.there, root)) == ["said"]


def test_who_follows_all_below_is_told_twice_where_one_of_them_is_a_tree(place: Place, root: str) -> None:
    with Reader(place.there, "stream", f"{root}/**") as reader:
        publish(place.here, f"{root}/a/b", "x")
        told = [reader.next() for _ in range(2)]
        assert [each["channel"] for each in told] == [f"{root}/a/b"] * 2
        assert {each.get("tree") for each in told} == {f"{root}/a", None}


def test_only_eight_trees_are_above_a_channel_whatever_publishes(place: Place) -> None:
    text = 'tree = yes\n'
    options = (*LISTENERS, *(("--broker", place.redis.url(3), *NODE_OPTIONS) if place.redis else ()))
    with Reloading(text, *options) as server:
        await_ready(server)
        spot = Place(server, server, place.redis)
        deep, deeper = "d/1/2/3/4/5/6/7/8", "d/1/2/3/4/5/6/7/8/9"
        publish(server, deep, "deep")
        assert data_of(kept(server, "d")) == ["deep"]
        for way in ("query", "header"):
            assert FULL[way](spot, deeper, "x", {})["error"] == "too-many-trees"
        for way in ("batch", "lines"):
            assert FULL[way](spot, deeper, "x", {})["error"] == "too-many-trees"
        for way in ("ws", "websocket", "xhr", "raw"):
            assert FULL[way](spot, deeper, "x", {})["code"] == "too-many-trees"
        with Raw(server, TCP) as client:
            for verb in ("PUBLISH", "SIGNAL"):
                assert client.ask(f"{verb} {deeper} x".encode()).startswith(b"ERROR too-many-trees ")
        with Resp(server, RESP) as client:
            assert str(client.run("PUBLISH", deeper, "x")).startswith("-ERR too-many-trees")
        with WebSocket(server, path_of(deeper, format="json")) as feed:
            feed.take_json()
            feed.put_text("x")
            assert feed.take_json()["error"] == "too-many-trees"
        assert data_of(kept(server, "d")) == ["deep"]


def test_to_publish_takes_the_right_on_the_channel_and_to_read_that_on_the_tree() -> None:
    text = '[channel "news"]\ntree = yes\nsubscribe = anyone\n[channel "news/secret"]\nsubscribe = nobody\n'
    with Reloading(text, "--jwt-key", f"HS256:{secret_file()}") as server:
        writer = bearer(make_token(publish=["news/secret"]))
        assert request(server, "POST", path_of("news"), "x", **writer).error == "forbidden-channel"
        publish(server, "news/secret", "told in the tree", **writer)
        assert get(server, path_of("news/secret", wait=0)).error in ("no-token", "forbidden-channel")
        assert get(server, path_of("news", since="earliest")).body == b"told in the tree"


@pytest.mark.parametrize("option", ["command line", "environment", "file"])
def test_a_tree_may_be_said_for_all_channels(root: str, option: str) -> None:
    server = {"command line": lambda: Server("--tree", "yes"), "environment": lambda: Server(environment={"SLUICE_TREE": "yes"}),
              "file": lambda: Reloading("tree = yes\n")}[option]()
    with server:
        publish(server, "a/b", "x")
        assert data_of(kept(server, "a")) == ["x"]
        assert get(server, "/api/channels/a").json["options"]["tree"] == "yes"


def test_the_page_s_own_sections_do_what_it_says(tmp_path: Any) -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    sections = [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if "[channel" in block]
    assert len(sections) >= 3
    for text in sections:
        path = tmp_path / "sluice.conf"
        path.write_text(text)
        said = subprocess.run([SLUICE, "check-config", "--config", str(path)], capture_output=True, text=True)
        assert said.returncode == 0, (text, said.stderr)
        if "tree" in text:
            said = subprocess.run([SLUICE, "check-config", "--config", str(path), "--explain", "news/sport/tennis"], capture_output=True, text=True)
            assert "told to those who may subscribe to news too" in said.stdout and "told to those who may subscribe to news/sport too" in said.stdout
            with Reloading(text) as server:
                publish(server, "news/sport/tennis", "x")
                assert [data_of(kept(server, name)) for name in ("news", "news/sport", "news/sport/tennis")] == [["x"]] * 3


PATTERNS = re.findall(r"^\| `(\S+)` \| (.+?) \| (.*?) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("pattern", "covered", "others"), PATTERNS)
def test_the_table_of_patterns(tmp_path: Any, pattern: str, covered: str, others: str) -> None:
    path = tmp_path / "sluice.conf"
    path.write_text(f'[channel "{pattern}"]\ntree = yes\n')

    def is_covered(name: str) -> bool:
        said = subprocess.run([SLUICE, "check-config", "--config", str(path), "--explain", name], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        line, = (line for line in said.stdout.splitlines() if line.startswith("tree "))
        return "yes" in line

    for name in re.findall(r"`(\S+?)`", covered) or ["anything/at/all"]:
        assert is_covered(name), name
    for name in re.findall(r"`(\S+?)`", others):
        assert not is_covered(name), name


@pytest.mark.parametrize("pattern", ["user*", "*user", "a/**/b", "**/b", "a/b*/c", "", "a//b", "../a"])
def test_other_patterns_are_refused_with_the_line(tmp_path: Any, pattern: str) -> None:
    path = tmp_path / "sluice.conf"
    path.write_text(f'history-size = 1\n[channel "{pattern}"]\ntree = yes\n')
    said = subprocess.run([SLUICE, "check-config", "--config", str(path)], capture_output=True, text=True)
    assert said.returncode != 0 and f"{path}:2" in said.stderr, said


# NAME/**.

@pytest.mark.parametrize("kind", [*KINDS, *REDIS_CLIENTS])
def test_all_channels_below_one_at_any_depth_on_every_transport(place: Place, channel: str, kind: str) -> None:
    publish(place.here, f"{channel}/there", "before")
    with Reader(place.there, kind, f"{channel}/**") as reader:
        if kind == "websocket-raw":
            wait_until(lambda: sum(subscribers(place.there, f"{channel}/there").values()))
        sent = [f"{channel}/there", f"{channel}/new", f"{channel}/new/deep/er"]
        for name in (channel, *sent, f"{channel}x"):
            publish(place.here, name, name)
        assert sorted(reader.take(3)) == sorted(sent), "those that come later are told from their beginning"


def test_reserved_channels_behind_the_name_are_not_among_them(place: Place, channel: str) -> None:
    with Reader(place.there, "stream", f"{channel}/**") as reader, Reader(place.there, "sse", f"{channel}/a/$presence") as watcher:
        with LineStream(place.here, path_of(f"{channel}/a", **{"as": "ann"})) as stream:
            stream.next_line()
            assert watcher.next()["event"] == "join"
            publish(place.here, f"{channel}/a", "said")
            assert reader.take(1) == ["said"]


def test_the_name_itself_may_be_named_too_and_last_means_so_many_of_each(place: Place, channel: str) -> None:
    for i in range(3):
        for name in (channel, f"{channel}/a", f"{channel}/b/c"):
            publish(place.here, name, f"{name} {i}")
    with LineStream(place.there, path_of(channel) + f"?channel={channel}/**&last=2") as lines:
        assert lines.next_line()["complete"] is True
        told = [lines.next_line() for _ in range(6)]
        assert sorted(each["data"] for each in told) == sorted(f"{name} {i}" for name in (channel, f"{channel}/a", f"{channel}/b/c") for i in (1, 2))


def test_its_entry_in_a_cursor_says_whether_that_is_complete(place: Place, channel: str) -> None:
    def entry(cursor: str) -> str:
        found, = (each for each in cursor.split(".") if re.fullmatch(r"[0-9a-hjkmnp-tv-z]{5}0{7}-\d+", each))
        return found.split("-")[1]

    assert entry(get(place.there, path_of(f"{channel}/**", wait=0)).cursor) == "0"
    items = [{"channel": f"{channel}/{i}", "data": i} for i in range(65)]
    for count in (1, 64, 65):
        assert request(place.here, "POST", "/channels", json.dumps(items[:count])).status == 200
        for transport in ("json", "poll"):
            answer = get(place.there, path_of(f"{channel}/**", wait=0, transport=transport))
            assert int(entry(answer.cursor)) == count and len(answer.cursor.split(".")) == min(count, 64) + 1
        for kind in ("stream", "websocket"):
            with Reader(place.there, kind, f"{channel}/**", since=answer.cursor) as reader:
                assert int(entry(reader.cursor)) == count
        with Commands(place.there, "ws") as client:
            told = client.subscribe(f"{channel}/**", since=answer.cursor)
            assert told["complete"] is (count <= 64) and told["recovered"] is (count <= 64)
            reset = [] if count <= 64 else [client.take("reset")]
            assert [(each["reason"], each["channel"]) for each in reset] == ([] if count <= 64 else [("incomplete", f"{channel}/**")])


@pytest.mark.parametrize("first", ["b", "a/**"])
def test_a_cursor_of_names_and_of_all_below_has_64_entries_of_channels_in_any_order(place: Place, channel: str, first: str) -> None:
    names = [f"{channel}-{first}", f"{channel}-b" if first == "a/**" else f"{channel}-a/**"]
    below = next(name for name in names if name.endswith("/**"))[:-2]
    for count in (63, 64):
        assert request(place.here, "POST", "/channels", json.dumps([{"channel": f"{below}{i}", "data": i} for i in range(count)])).status == 200
        with Commands(place.there, "ws") as client:
            told = client.subscribe(*names)
            assert told["complete"] is (count == 63) and len(told["cursor"].split(".")) == 65
        with Commands(place.there, "ws") as client:
            assert client.subscribe(*names, since=told["cursor"])["recovered"] is (count == 63)


def test_who_makes_his_cursor_of_ids_keeps_the_entry_of_all_below(place: Place, channel: str) -> None:
    """Commands have no cursor of the whole: it is the one of `subscribed`, and ids instead of its entries."""
    publish(place.here, f"{channel}/a", "before")
    with Commands(place.there, "ws") as client:
        cursor = client.subscribe(f"{channel}/**")["cursor"]
        publish(place.here, f"{channel}/a", "1")
        publish(place.here, f"{channel}/new", "2")
        ids = [client.next_message()["id"] for _ in range(2)]
    own = [each for each in cursor.split(".") if re.search(r"^.{5}0{7}-", each)]
    publish(place.here, f"{channel}/a", "3")
    publish(place.here, f"{channel}/newer", "4")
    with Commands(place.there, "ws") as client:
        told = client.subscribe(f"{channel}/**", since=".".join([*own, *ids]))
        assert told["recovered"] is True
        assert sorted(client.next_data() for _ in range(2)) == ["3", "4"]


@pytest.mark.parametrize(("method", "target"), [("POST", "/channels/a/**"), ("PUT", "/channels/a/**"), ("DELETE", "/api/channels/a/**"), ("GET", "/api/channels/a/**"),
                                                ("GET", "/api/channels/a/**/presence")])
def test_a_delete_a_publish_or_a_history_takes_names_only(memory: Place, method: str, target: str) -> None:
    answer = request(memory.here, method, target, "x" if method in ("POST", "PUT") else None)
    assert (answer.status, answer.error) == (400, "bad-channel")
    assert batch(memory.here, {"channel": "a/**", "data": 1})["error"] == "bad-channel"
    with Commands(memory.here, "ws") as client:
        for op, more in (("publish", {"data": 1}), ("history", {}), ("presence", {})):
            assert client.ask_text(json.dumps({"op": op, "channel": "a/**", **more}))["code"] == "bad-channel", op
    with Raw(memory.here, TCP) as client:
        for line in (b"PUBLISH a/** x", b"SIGNAL a/** x", b"HISTORY a/**"):
            assert client.ask(line).startswith(b"ERROR bad-channel "), line
    with Resp(memory.here, RESP) as client:
        for words in (("PUBLISH", "a/**", "x"), ("XRANGE", "a/**", "-", "+"), ("XREAD", "STREAMS", "a/**", "0")):
            assert str(client.run(*words)).startswith("-ERR bad-channel"), words


def test_eight_of_them_in_one_subscription(memory: Place, channel: str) -> None:
    names = [f"{channel}/{i}/**" for i in range(9)]
    for count, is_taken in ((8, True), (9, False)):
        target = f"/channels/{names[0]}?wait=0" + "".join(f"&channel={name}" for name in names[1:count])
        assert get(memory.here, target).status == (204 if is_taken else 400)
        with Commands(memory.here, "ws") as client:
            answer = client.ask("subscribe", channels=names[:count])
            assert (answer["op"] == "subscribed") is is_taken and (is_taken or answer["code"] == "too-many-channels")


@pytest.mark.parametrize(("option", "value"), [("--tcp", "127.0.0.1:0 feed={}/**"), ("--sockjs", "/feed app=echo feed={}/**"), ("--tcp", "127.0.0.1:0 input=publish:{}/**")])
def test_a_feed_that_is_declared_takes_names_only(channel: str, option: str, value: str) -> None:
    said = subprocess.run([SLUICE, "serve", "--http", "127.0.0.1:0", option, value.format(channel)], capture_output=True, text=True, timeout=20)
    assert said.returncode == 2 and "these stand for names in patterns" in said.stderr, said


def test_what_is_left_out_counts_and_is_told_on_every_transport(channel: str) -> None:
    with Server(*LISTENERS, "--max-channels-per-connection", "3") as server:
        for i in range(5):
            publish(server, f"{channel}/{i}", "before")
        for kind in (*OBJECTS, "sse", "tcp-crlf", "tcp-nul", "tcp-len32", "websocket-raw", "resp", "resp-3"):
            if kind == "json":
                continue
            with Reader(server, kind, f"{channel}/**") as reader:
                if kind == "websocket-raw":
                    wait_until(lambda: sum(subscribers(server, f"{channel}/{i}")["websocket"] for i in range(5)))
                for i in range(5):
                    publish(server, f"{channel}/{i}", kind)
                told = ["too-many-channels" if str(data) == f"RESET {channel}/** too-many-channels -" else data for data in reader.take(3)]
                assert "too-many-channels" in told and set(told) == {"too-many-channels", kind}, kind


def test_psubscribe_takes_the_form_of_all_below_only(memory: Place) -> None:
    with Resp(memory.here, RESP) as client:
        for pattern in ("*", "a?", "[ab]/*", "a*", "a/*/b"):
            assert str(client.run("PSUBSCRIBE", pattern)).startswith("-ERR "), pattern


def test_pubsub_counts_who_receives_through_a_pattern_and_over_http(memory: Place, channel: str) -> None:
    publish(memory.here, f"{channel}/a", "x")
    with Reader(memory.here, "resp", f"{channel}/**"), Reader(memory.here, "stream", f"{channel}/a"), Resp(memory.here, RESP) as client:
        assert client.run("PUBSUB", "NUMSUB", f"{channel}/a") == [f"{channel}/a".encode(), 2]
        assert client.run("PUBLISH", f"{channel}/a", "y") == 2
        assert f"{channel}/a".encode() in client.run("PUBSUB", "CHANNELS", f"{channel}/*")
        assert client.run("PUBSUB", "NUMPAT") >= 1


# Messages that are not kept.

@pytest.mark.parametrize("way", FULL)
def test_they_have_no_offset_and_are_never_replayed(place: Place, channel: str, way: str) -> None:
    skip_without_redis(place, way)
    before = FULL[way](place, channel, "passing", {"store": False})
    first = before[0].decode() if way == "fcall" else before["id"]
    assert first.endswith("-0"), "the place before the first message"
    publish(place.here, channel, "one")
    FULL[way](place, channel, "passing too", {"store": False})
    assert publish(place.here, channel, "two").endswith("-2")
    for kind in KINDS:
        with Reader(place.there, kind, channel, since=first) as reader:
            assert reader.take(2) == ["one", "two"], kind
    with Raw(place.there, TCP) as client:
        client.put(f"HISTORY {channel}".encode())
        assert [client.take() for _ in range(3)] == [b"one", b"two", b"CONFIRMED"]
    with Resp(place.there, RESP) as client:
        assert len(client.run("XRANGE", channel, "-", "+")) == 2
        assert len(client.run("XREAD", "STREAMS", channel, "0")[0][1]) == 2
    with Commands(place.there, "ws") as client:
        assert data_of(client.history(channel)["messages"]) == ["one", "two"]


def test_a_poll_is_told_while_it_waits_and_its_head_says_so(place: Place, channel: str) -> None:
    publish(place.here, channel, "kept")
    cursor = get(place.there, path_of(channel, wait=0)).cursor
    assert request(place.here, "POST", path_of(channel, store="no"), "nobody waits").status == 201
    assert get(place.there, path_of(channel, since=cursor, wait=0)).status == 204
    answers: list[Response] = []

    def wait() -> None:
        answers.append(get(place.there, path_of(channel, since=cursor)))
        if answers[0].body == b"nobody waits":  # it was still on its way from the other node
            answers[:] = [get(place.there, path_of(channel, since=cursor))]

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: subscribers(place.there, channel)["poll"] == 1)
    assert request(place.here, "POST", path_of(channel, store="no"), "passing").status == 201
    waiting.join()
    assert (answers[0].body, answers[0].header("Sluice-Store"), answers[0].header("Sluice-Id")) == (b"passing", "no", cursor)
    assert answers[0].cursor == cursor


def test_signal_is_the_word_over_tcp_and_it_is_a_line_of_ours(channel: str) -> None:
    with Server("--tcp", "127.0.0.1:0") as server, Reader(server, "stream", channel) as reader, Raw(server) as client:
        assert client.ask(f"SIGNAL {channel} a  b".encode()) == b"CONFIRMED"
        told = reader.next()
        assert (told["data"], told["stored"]) == ("a  b", False)
        help_text = client.ask(b"HELP").decode()
        rows = re.findall(r"^\| `([A-Z]+)[ `]", (SOURCE / "docs" / "TCP.md").read_text().split("## Commands")[1].split("\n## ")[0], re.MULTILINE)
        assert len(rows) >= 12
        for word in rows:
            assert word in help_text, f"HELP does not name {word}"


def test_a_store_that_is_neither_yes_nor_no_is_refused(memory: Place, channel: str) -> None:
    assert request(memory.here, "POST", path_of(channel, store="yes"), "x").json.get("stored") is None
    assert request(memory.here, "POST", path_of(channel, store="true"), "x").error == "bad-option"
    assert request(memory.here, "POST", path_of(channel), "x", Sluice_Store="false").error == "bad-option"
    with Commands(memory.here, "ws") as client:
        assert client.ask_text(json.dumps({"op": "publish", "channel": channel, "data": 1, "store": "no"}))["code"] == "bad-command"


# Over Redis.

def test_a_call_answers_the_id_in_each_tree_the_shortest_name_first(shared: Place, root: str) -> None:
    channel = f"{root}/a/b"
    publish(shared.here, channel, "makes them known")
    assert shared.redis
    answer = shared.redis.fcall(channel, "x")
    ids = [kept(shared.there, name)[-1]["id"].encode() for name in (channel, root, f"{root}/a")]
    assert [answer[0], *answer[3:]] == ids and answer[2] == 0


def test_the_keys_of_a_tree_s_log(shared: Place, root: str) -> None:
    assert shared.redis
    publish(shared.here, f"{root}/a", "x", Sluice_Key="k")
    publish(shared.here, root, "own")
    publish(shared.here, f"{root}/a/b", "y")
    assert shared.redis.client.hget(meta_key(root), "tree") == b"1" and shared.redis.client.hget(meta_key(f"{root}/a"), "tree") == b"1"
    (_, below), (_, own), _ = shared.redis.client.xrange(stream_key(root))
    assert below[b"channel"] == f"{root}/a".encode() and below[b"key"] == b"k" and b"channel" not in own


def test_what_stands_at_a_key_of_a_tree_refuses_the_whole_publish(shared: Place, root: str) -> None:
    assert shared.redis
    publish(shared.here, f"{root}/a", "x")
    shared.redis.client.delete(stream_key(root))
    shared.redis.client.set(stream_key(root), "something else")
    with pytest.raises(redis_py.ResponseError):
        shared.redis.fcall(f"{root}/a", "y")
    answer = request(shared.here, "POST", path_of(f"{root}/a"), "y")
    assert (answer.status, answer.error) == (503, "broker-refused")
    wait_until(lambda: any(stream_key(root) in line.get("reason", "") for line in complaints(shared.here)), what="the key in the log")
    assert data_of(kept(shared.there, f"{root}/a")) == ["x"]


@pytest.mark.parametrize("event", ["subscribed", "reset", "expired", "error", "open"])
def test_events_that_are_sluice_s_own_are_refused_everywhere(shared: Place, channel: str, event: str) -> None:
    assert shared.redis
    with pytest.raises(redis_py.ResponseError):
        shared.redis.fcall(channel, "x", event)
    assert request(shared.here, "POST", path_of(channel, event=event), "x").error == "bad-option"
    with Commands(shared.here, "ws") as client:
        assert client.ask_text(json.dumps({"op": "publish", "channel": channel, "data": 1, "event": event}))["op"] == "error"


def test_bridging_and_trees_do_not_meet(redis: RedisServer) -> None:
    text = '[channel "b"]\ntree = yes\n[channel "b.t"]\ntree = yes\n'
    with Reloading(text, "--broker", redis.url(4), "--redis-subscribe", "b/*", "--redis-subscribe", "b.t", *NODE_OPTIONS, *LISTENERS) as server:
        await_ready(server)
        client = redis.connect()
        with Reader(server, "stream", "b/x") as channel, Reader(server, "stream", "b") as tree, Reader(server, "stream", "b.t") as bridged:
            wait_until(lambda: client.publish("b/x", "plain") >= 1)
            assert channel.take(1) == ["plain"]
            client.publish("b.t", "own")
            publish(server, "b/x", "over http, which is a plain PUBLISH")
            assert bridged.take(1) == ["own"]
            channel.take(1)
            publish(server, "b", "last")
            assert tree.take(1) == ["last"], "what is published with PUBLISH goes to no tree"
        for more in ({"key": "k"}, {"store": "no"}, {"event": "e"}, {"ttl": "5"}, {"producer": "p"}):
            answer = request(server, "POST", path_of("b/x", **more), "x")
            assert (answer.status, answer.error) == (409, "bridged-channel"), more
        with Raw(server, TCP) as raw:
            assert raw.ask(b"SIGNAL b/x y").startswith(b"ERROR bridged-channel ")


def test_the_rights_of_redis_that_the_page_lists_suffice() -> None:
    words = re.search(r"ACL SETUSER sluice on >PASSWORD (.+)", (SOURCE / "docs" / "REDIS.md").read_text())
    assert words
    with RedisServer() as redis:
        redis.client.execute_command("ACL", "SETUSER", "sluice", "on", ">secret", *words[1].split())
        url = redis.url().replace("://", "://sluice:secret@")
        with nodes(2, url, options=("--tree", "yes", "--presence", "yes", "--events", "yes", "--policy", "newest", "--presence-grace", "100ms")) as (here, there):
            with Reader(there, "stream", "a") as tree, Reader(there, "sse", "a/x/$presence") as watcher, Reader(there, "sse", "$channel/a/x") as events:
                with Reader(there, "stream", "a/**") as below, LineStream(here, path_of("a/x", **{"as": "ann"})) as stream:
                    stream.next_line()
                    assert watcher.next()["event"] == "join"
                    publish(here, "a/x", "said", Idempotency_Key="k", Sluice_Key="k")
                    request(here, "POST", path_of("a/x", store="no"), "passing")
                    assert below.take(1) == ["said"] and tree.take(2) == ["said", "passing"]
                    assert get(there, "/api/channels/a/x/presence").json["count"] == 1
                assert watcher.next()["event"] == "leave"
                assert [events.next()["event"] for _ in range(3)] == ["created", "occupied", "vacated"]
                assert request(here, "DELETE", "/api/channels/a/x").status == 200
                assert events.next()["event"] == "purged"
            assert complaints(here) == [] and complaints(there) == []


def test_a_reload_that_makes_a_tree_changes_nothing_of_before(place: Place) -> None:
    options = ("--broker", place.redis.url(5), *NODE_OPTIONS) if place.redis else ()
    with Reloading("history-size = 50\n", *options) as server:
        await_ready(server)
        publish(server, "r/a", "before")
        server.reload('history-size = 50\n[channel "r"]\ntree = yes\n')
        publish(server, "r/a", "behind")
        assert data_of(kept(server, "r")) == ["behind"]
