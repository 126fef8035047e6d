# SPDX-License-Identifier: MIT
"""Trees: a channel with `tree = yes` has in its log what is published below it too, with offsets of its own."""

import contextlib
import json
import random
import subprocess
import threading
from collections import defaultdict, deque
from collections.abc import Iterator

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.readers import KINDS, LISTENERS, OBJECTS, Reader
from support.redis import NODE_OPTIONS, RedisServer, await_ready, metric
from support.reloading import Reloading
from support.server import SLUICE, Server, wait_until
from support.tcp import Resp

BROKERS = pytest.mark.parametrize("broker", ["memory", "redis"])
TREES = """
history-size = 1000
[channel "*"]
tree = yes
[channel "*/*"]
tree = yes
[channel "*/*/few"]
history-size = 3
[channel "flat/**"]
tree = no
[channel "flat"]
tree = no
"""


@contextlib.contextmanager
def configured(broker: str, text: str, *options: str) -> Iterator[Reloading]:
    with contextlib.ExitStack() as stack:
        if broker == "redis":
            options = (*options, "--broker", stack.enter_context(RedisServer()).url(), *NODE_OPTIONS)
        server = stack.enter_context(Reloading(text, *options))
        await_ready(server)
        yield server


@pytest.fixture(scope="module", params=["memory", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with configured(request.param, TREES, *LISTENERS, "--shards", "2") as running:
        yield running


@pytest.fixture
def root(channel: str) -> str:
    """A tree of the test's own."""
    return channel.replace("/", "-")


def kept(server: Server, channel: str, since: str = "earliest") -> list[tuple[str, str]]:
    """Channel and data of what a log keeps."""
    answer = get(server, path_of(channel, since=since, wait=0), Accept="application/json")
    return [(each["channel"], each["data"]) for each in answer.json["messages"]] if answer.status == 200 else []


def test_a_tree_has_what_is_published_to_it_and_below_it_in_order(server: Server, root: str) -> None:
    names = [f"{root}/a/x", root, f"{root}/b", f"{root}/a", f"{root}/a/x/deep/er"]
    for i, name in enumerate(names):
        publish(server, name, str(i))
    assert kept(server, root) == [(name, str(i)) for i, name in enumerate(names)]
    assert kept(server, f"{root}/a") == [(names[i], str(i)) for i in (0, 3, 4)]
    assert kept(server, f"{root}/a/x") == [(names[0], "0")], "what is no tree has its own messages only"
    assert kept(server, root, "last=2") == [(names[3], "3"), (names[4], "4")]


def test_each_log_has_offsets_of_its_own(server: Server, root: str) -> None:
    for name in (f"{root}/a", f"{root}/b", f"{root}/a"):
        last = publish(server, name, "x")
    assert last.endswith("-2")
    listed = {entry["channel"]: entry["newest"].split("-")[1] for entry in get(server, f"/api/channels?prefix={root}").json["channels"]}
    assert listed == {root: "3", f"{root}/a": "2", f"{root}/b": "1"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_of_a_tree_and_those_who_resume_on_every_transport(server: Server, root: str, kind: str) -> None:
    expected = []
    for i in range(12):
        publish(server, f"{root}/{i % 3}/{i % 2}", f"m{i}")
        expected.append(f"m{i}")
    with Reader(server, kind, root, since="last=5") as reader:
        assert reader.take(5) == expected[-5:]
        publish(server, f"{root}/new", "live")
        assert reader.take(1) == ["live"]
        cursor = reader.cursor
    publish(server, f"{root}/0/0", "meanwhile")
    publish(server, root, "its own")
    if kind in OBJECTS or kind in ("sse", "poll"):
        with Reader(server, kind, root, since=cursor) as reader:
            assert reader.take(2) == ["meanwhile", "its own"]


@pytest.mark.parametrize("kind", [*OBJECTS, "poll"])
def test_a_message_says_where_it_was_published_and_whose_id_it_has(server: Server, root: str, kind: str) -> None:
    publish(server, f"{root}/a/b", "below", Sluice_Event="e", Sluice_Key="k")
    own = publish(server, root, "own")
    ids = {name: get(server, f"/api/channels/{name}").json["newest"] for name in (root, f"{root}/a", f"{root}/a/b")}
    with Reader(server, kind, root, since="earliest") as reader:
        below, at_root = reader.next(), reader.next()
        assert (below["channel"], below["tree"], below["data"], below["event"], below["key"]) == (f"{root}/a/b", root, "below", "e", "k")
        assert below["id"] == own.replace("-2", "-1")
        assert (at_root["channel"], at_root["id"]) == (root, own) and "tree" not in at_root
    with Reader(server, kind, f"{root}/a", since="earliest") as reader:
        told = reader.next()
        assert (told["channel"], told["tree"], told["id"]) == (f"{root}/a/b", f"{root}/a", ids[f"{root}/a"])
    with Reader(server, kind, f"{root}/a/b", since="earliest") as reader:
        assert "tree" not in reader.next()


def test_transient_messages_go_to_trees_too(server: Server, root: str) -> None:
    at = publish(server, f"{root}/a", "kept")
    with Reader(server, "stream", root) as tree, Reader(server, "stream", f"{root}/a") as channel:
        answer = request(server, "POST", path_of(f"{root}/a", store="no"), "passing")
        assert answer.json["id"] == at
        told = tree.next()
        assert (told["channel"], told["tree"], told["data"], told["stored"]) == (f"{root}/a", root, "passing", False)
        assert told["id"].endswith("-1")
        assert channel.next()["id"] == at
    assert kept(server, root) == [(f"{root}/a", "kept")]


def test_several_levels_in_one_subscription(server: Server, root: str) -> None:
    with LineStream(server, path_of(root) + f"?channel={root}/a&channel={root}/a/b") as lines:
        lines.next_line()
        publish(server, f"{root}/a/b", "x")
        told = [lines.next_line() for _ in range(3)]
        assert {each.get("tree") for each in told} == {root, f"{root}/a", None}
        assert {each["channel"] for each in told} == {f"{root}/a/b"}


def test_nothing_else_is_a_tree(server: Server, root: str) -> None:
    publish(server, f"flat/{root}/x", "x")
    assert [entry["channel"] for entry in get(server, "/api/channels?prefix=flat").json["channels"]] == [f"flat/{root}/x"]
    assert kept(server, f"flat/{root}") == [] and kept(server, "flat") == []


def test_a_key_seen_before_is_in_no_tree_twice(server: Server, root: str) -> None:
    for _ in range(3):
        publish(server, f"{root}/a", "once", Idempotency_Key="k")
    publish(server, f"{root}/b", "the same key elsewhere", Idempotency_Key="k")
    assert [data for _, data in kept(server, root)] == ["once", "the same key elsewhere"]


def test_a_purge_of_one_log_leaves_the_others(server: Server, root: str) -> None:
    publish(server, f"{root}/a", "1")
    publish(server, f"{root}/b", "2")
    with Reader(server, "stream", root) as tree:
        assert request(server, "DELETE", f"/api/channels/{root}/a").status == 200
        assert kept(server, root) == [(f"{root}/a", "1"), (f"{root}/b", "2")] and kept(server, f"{root}/a") == []
        publish(server, f"{root}/a", "3")
        assert tree.take(1) == ["3"]
        assert request(server, "DELETE", f"/api/channels/{root}").status == 200
        assert tree.take(1) == ["purged"]
        publish(server, f"{root}/a", "4")
        assert tree.take(1) == ["4"]
    assert kept(server, root) == [(f"{root}/a", "4")]
    assert [data for _, data in kept(server, f"{root}/a")] == ["3", "4"] and [data for _, data in kept(server, f"{root}/b")] == ["2"]


def test_a_redis_client_keeps_the_name_that_it_has_subscribed_to(root: str) -> None:
    with configured("memory", TREES, "--tcp", "127.0.0.1:0 framing=resp") as server, Resp(server) as client:
        client.run("SUBSCRIBE", root)
        publish(server, f"{root}/a", "below")
        assert client.reply() == [b"message", root.encode(), b"below"]
        client.run("UNSUBSCRIBE", root)
        (_, fields), = client.run("XRANGE", root, "-", "+")
        assert dict(zip(fields[::2], fields[1::2]))[b"channel"] == f"{root}/a".encode()


def test_more_than_eight_trees_above_a_channel_are_refused(root: str) -> None:
    with configured("memory", "[channel \"**\"]\ntree = yes\n") as server:
        deep = root + "/1/2/3/4/5/6/7/8"
        publish(server, deep, "deep")
        assert kept(server, root) == [(deep, "deep")]
        answer = request(server, "POST", path_of(deep + "/9"), "deeper")
        assert (answer.status, answer.error) == (400, "too-many-trees")
        batch = request(server, "POST", "/channels", json.dumps([{"channel": deep + "/9", "data": 1}, {"channel": deep, "data": 2}]))
        assert batch.json[0]["error"] == "too-many-trees" and "id" in batch.json[1]
        assert len(kept(server, root)) == 2
        with LineStream(server, path_of(deep + "/9")) as lines:  # so that there is a log
            lines.next_line()
            assert request(server, "POST", path_of(deep + "/9"), "deeper").error == "too-many-trees"


def test_what_is_published_below_counts_in_the_rate_of_a_tree(root: str) -> None:
    text = f"[channel \"{root}\"]\ntree = yes\npublish-rate-per-channel = 1\n"
    with configured("memory", text, "--rate-burst", "2s") as server:
        answers = [request(server, "POST", path_of(f"{root}/{i}"), "x").status for i in range(6)]
        assert answers[:2] == [201, 201] and 429 in answers
        assert len(kept(server, root)) == answers.count(201)


def test_what_cannot_be_in_all_logs_is_in_none(root: str) -> None:
    """The tree's log would be one channel too many."""
    with configured("memory", TREES, "--max-channels", "2") as server:
        for name in ("flat/a", "flat/b"):
            publish(server, name, "x")
        held = [EventStream(server, path_of(name)) for name in ("flat/a", "flat/b")]
        for stream in held:
            stream.next_block()
        answer = request(server, "POST", path_of(f"{root}/a/b"), "x")
        assert (answer.status, answer.error) == (503, "channel-limit")
        assert metric(server, "published_total") == 2
        for stream in held:
            stream.close()
    with configured("memory", TREES, "--max-channels", "1") as server:
        answer = request(server, "POST", path_of(f"{root}/a"), "x")
        assert (answer.status, answer.error) == (503, "channel-limit")
        assert kept(server, root) == [] and kept(server, f"{root}/a") == []


@BROKERS
def test_a_reload_makes_trees_and_ends_them(broker: str, root: str) -> None:
    with configured(broker, "history-size = 10\n") as server:
        publish(server, f"{root}/a", "before")
        server.reload(f"history-size = 10\n[channel \"{root}\"]\ntree = yes\n")
        publish(server, f"{root}/a", "while")
        server.reload("history-size = 10\n")
        publish(server, f"{root}/a", "after")
        assert kept(server, root) == [(f"{root}/a", "while")]


def test_memory_of_messages_is_held_by_trees_and_given_back(root: str) -> None:
    text = f"history-size = 1000\n[channel \"{root}\"]\ntree = yes\nhistory-bytes = 1MiB\n"
    with configured("memory", text) as server:
        before = metric(server, "message_bytes")
        for i in range(40):
            publish(server, f"{root}/{i}", "x" * 100_000)
        assert metric(server, "message_bytes") < before + 41 * 101_000, "no bytes are there twice"
        assert 5 <= len(kept(server, root)) <= 10, "the bytes of what it holds count in it"
        for i in range(40):
            request(server, "DELETE", f"/api/channels/{root}/{i}")
        wait_until(lambda: metric(server, "message_bytes") < before + (2 << 20))
        request(server, "DELETE", f"/api/channels/{root}")
        wait_until(lambda: metric(server, "message_bytes") <= before)


def test_check_config_explains_trees(tmp_path: object) -> None:
    path = f"{tmp_path}/sluice.ini"
    with open(path, "w") as file:
        file.write("[channel \"news\"]\ntree = yes\n[channel \"news/sport\"]\ntree = yes\n")
    said = subprocess.run([SLUICE, "check-config", "--config", path, "--explain", "news/sport/tennis"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "; what is published here is told to those who may subscribe to news too, which is a tree" in said.stdout
    assert "; what is published here is told to those who may subscribe to news/sport too, which is a tree" in said.stdout
    said = subprocess.run([SLUICE, "check-config", "--config", path, "--explain", "news"], capture_output=True, text=True)
    assert "; who may subscribe here is told everything that is published below news/ too" in said.stdout


class Model:
    """What each log has to keep: of a channel what was published to it and, where it is a tree, below it."""

    SIZES = defaultdict(lambda: 30, {2: 12, 3: 5})

    def __init__(self) -> None:
        self.logs: dict[str, deque[tuple[str, str]]] = {}
        self.whole: dict[str, list[tuple[str, str]]] = defaultdict(list)  # also what need not be kept any more
        self.live: dict[str, list[tuple[str, str] | None]] = defaultdict(list)  # None is a purge

    def of(self, name: str) -> deque[tuple[str, str]]:
        return self.logs.setdefault(name, deque(maxlen=self.SIZES[name.count("/") + 1]))

    def publish(self, name: str, data: str, is_kept: bool = True) -> None:
        parts = name.split("/")
        for i in range(1, len(parts) + 1):
            log = "/".join(parts[:i])
            if i <= 2 or i == len(parts):
                self.live[log].append((name, data))
                if is_kept:
                    self.of(log).append((name, data))
                    self.whole[log].append((name, data))

    def check(self, name: str, told: list[tuple[str, str]], is_whole: bool = True) -> None:
        """While somebody reads, a shard may still have what need not be kept any more."""
        whole = self.whole[name]
        assert told == whole[len(whole) - len(told):], name
        assert not is_whole or len(told) >= len(self.of(name)), name

    def purge(self, name: str) -> None:
        self.logs.pop(name, None)
        self.whole.pop(name, None)
        self.live[name].append(None)


def read_to_the_end(server: Server, name: str, since: str) -> tuple[list[tuple[str, str]], str, int]:
    """What is told behind the last gap, the cursor, and how many came before that or are missing. An answer may end before the log
    does; the next one goes on."""
    told: list[tuple[str, str]] = []
    before = 0
    while (answer := get(server, path_of(name, since=since, wait=0), Accept="application/json")).status == 200:
        since = answer.cursor
        for reset in answer.json.get("reset", []):
            before += len(told) + reset["missed"]
            told = []
        told += [(each["channel"], each["data"]) for each in answer.json["messages"]]
    return told, answer.cursor, before


@BROKERS
def test_every_log_is_exactly_the_merge(broker: str, root: str) -> None:
    """Random publishes at random depths, transient ones, purges, readers that come back: against a model."""
    dice = random.Random(root)
    text = """history-size = 30
        history-bytes = 16MiB
        [channel "*"]
        tree = yes
        [channel "*/*"]
        tree = yes
        history-size = 12
        [channel "*/*/*"]
        history-size = 5
        """
    names = [root, *(f"{root}/{a}" for a in "ab"), *(f"{root}/{a}/{b}" for a in "ab" for b in "xyz"), f"{root}/a/x/deep"]
    model = Model()
    with configured(broker, text, *LISTENERS, "--shards", "2") as server, contextlib.ExitStack() as stack:
        live = [stack.enter_context(LineStream(server, path_of(name))) for name in names]
        for stream in live:
            stream.next_line()
        cursors: dict[str, tuple[str, int]] = {}  # and how many had been published until then
        resumed = 0
        for i in range(400):
            name, roll = dice.choice(names), dice.random()
            if roll < 0.02:
                request(server, "DELETE", f"/api/channels/{name}")
                model.purge(name)
                cursors.pop(name, None)
            elif roll < 0.2:
                request(server, "POST", path_of(name, store="no"), f"passing {i}")
                model.publish(name, f"passing {i}", is_kept=False)
            elif roll < 0.3:
                batch = [(dice.choice(names), f"batch {i}.{j}") for j in range(5)]
                request(server, "POST", "/channels", json.dumps([{"channel": each, "data": data} for each, data in batch]))
                for each, data in batch:
                    model.publish(each, data)
            elif roll < 0.4:
                since, seen = cursors.get(name, ("earliest", 0))
                told, cursor, before = read_to_the_end(server, name, since)
                cursors[name] = cursor, len(model.whole[name])
                if seen:
                    assert told == model.whole[name][seen + before:], "who comes back is told exactly what came since, or how much of it is gone"
                    resumed += bool(told)
                model.check(name, told, is_whole=not seen)
            else:
                publish(server, name, f"kept {i}")
                model.publish(name, f"kept {i}")
        for name, stream in zip(names, live):
            model.check(name, read_to_the_end(server, name, "earliest")[0])
            publish(server, name, "end")
            model.publish(name, "end")
        assert resumed
        for name, stream in zip(names, live):
            live, at = model.live[name], 0
            while at < len(live):
                line = stream.next_line()
                if "reset" in line:
                    assert line["reset"]["reason"] == "purged", line
                    continue
                assert line.get("tree", line["channel"]) == name
                # What was not told yet when it was purged is told to nobody.
                while live[at] != (line["channel"], line["data"]):
                    assert None in live[at:], (name, line, live[at])
                    at = live.index(None, at) + 1
                at += 1


@BROKERS
def test_many_publishers_at_once_make_one_order_for_all(broker: str, root: str) -> None:
    with configured(broker, TREES, "--shards", "2") as server:
        readers = [LineStream(server, path_of(root)) for _ in range(4)]
        for reader in readers:
            reader.next_line()

        def run(who: int) -> None:
            for i in range(100):
                publish(server, f"{root}/{who % 3}/{who}", f"{who} {i}")

        threads = [threading.Thread(target=run, args=(who,)) for who in range(6)]
        for thread in threads:
            thread.start()
        orders = [[reader.next_line() for _ in range(600)] for reader in readers]
        for thread in threads:
            thread.join()
        assert all([each["data"] for each in order] == [each["data"] for each in orders[0]] for order in orders)
        assert [int(each["id"].split("-")[1]) for each in orders[0]] == list(range(1, 601))
        for who in range(6):
            assert [each["data"] for each in orders[0] if each["data"].startswith(f"{who} ")] == [f"{who} {i}" for i in range(100)]
        assert [data for _, data in kept(server, f"{root}/0")] == [each["data"] for each in orders[0]
                                                                  if each["channel"].startswith(f"{root}/0/")]


def test_an_empty_tree_is_forgotten_after_its_time(root: str) -> None:
    text = "[channel \"*\"]\ntree = yes\n[channel \"**\"]\nhistory-ttl = 100ms\nchannel-ttl = 1s\n"
    with configured("memory", text) as server:
        publish(server, f"{root}/a", "x")
        assert metric(server, "channels") == 2
        wait_until(lambda: metric(server, "channels") == 0)
        publish(server, f"{root}/a", "y")
        assert [data for _, data in kept(server, root)] in (["y"], [])


def test_eviction_takes_whole_logs_and_none_in_part(root: str) -> None:
    text = "history-size = 1000\nhistory-bytes = 64MiB\n[channel \"*\"]\ntree = yes\n"
    with configured("memory", text, "--memory-limit", "8MiB") as server:
        for i in range(300):
            assert request(server, "POST", path_of(f"{root}-{i % 30}/{i % 7}"), f"{i} " + "x" * 50_000).status == 201
        seen = 0
        for tree in range(30):
            told = [int(data.split()[0]) for _, data in kept(server, f"{root}-{tree}")]
            assert told == [i for i in range(300) if i % 30 == tree][len([i for i in range(300) if i % 30 == tree]) - len(told):]
            seen += len(told)
        assert 0 < seen < 300
        assert get(server, "/healthz").status == 200

