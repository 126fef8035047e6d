# SPDX-License-Identifier: MIT
"""`policy = newest`: a slow subscriber is told of each key the newest message, a fast one every message."""

import concurrent.futures
import contextlib
import json
import random
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request
from support.readers import LISTENERS, Reader
from support.redis import NODE_OPTIONS, RedisServer, await_ready, metric
from support.reloading import Reloading
from support.server import Server
from support.sockjs_commands import Commands
from support.tcp import Raw, tcp_addresses
from support.websocket import WebSocket

BROKERS = pytest.mark.parametrize("broker", ["memory", "redis"])
KEEP = ("--history-size", "100000", "--history-bytes", "256MiB", "--slow-client-timeout", "1h", "--shards", "1")
KINDS = ("sse", "stream", "websocket", "tcp")
KEYS = 20
ROUNDS = 150
SIZE = 4000


@contextlib.contextmanager
def configured(broker: str, text: str, *options: str) -> Iterator[Reloading]:
    with contextlib.ExitStack() as stack:
        if broker == "redis":
            options = (*options, "--broker", stack.enter_context(RedisServer()).url(), *NODE_OPTIONS)
        server = stack.enter_context(Reloading(text, *options))
        await_ready(server)
        yield server


class Slow:
    """A client for which the kernel keeps little, and that does not read until it is asked to; `next` is the next message's data, or the word for a reset."""

    def __init__(self, server: Server, kind: str, channel: str, **query: str) -> None:
        self.kind = kind
        if kind in ("sse", "stream"):
            self.client = (EventStream if kind == "sse" else LineStream)(server, path_of(channel, **query), receive_buffer=4096)
            self.client.next_block() if kind == "sse" else self.client.next_line()
        elif kind == "websocket":
            self.client = WebSocket(server, path_of(channel, format="json", **query), receive_buffer=4096)
            self.client.take_json()
        else:
            self.client = Raw.__new__(Raw)
            port = int(tcp_addresses(server)[0].rsplit(":", 1)[1])
            Connection.__init__(self.client, server.at(port), receive_buffer=4096)
            self.client.ends = b"\r\n"
            assert self.client.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"

    def next(self) -> str:
        if self.kind == "sse":
            event = self.client.next_event()
            return event.event if event.event == "reset" else event.data
        if self.kind == "tcp":
            frame = self.client.take().decode()
            return "reset" if frame.startswith("RESET") else frame
        line = self.client.next_line() if self.kind == "stream" else self.client.take_json()
        return "reset" if "reset" in line else line["data"]

    def until(self, last: str) -> list[str]:
        """The first words of the data, up to the last one."""
        told = [self.next().split()[0]]
        while told[-1] != last:
            told.append(self.next().split()[0])
        return told


def update(server: Server, channel: str, rounds: int = ROUNDS, first: int = 0, fast: LineStream | None = None) -> list[str]:
    """A message of each key in each round: `KEY.ROUND`; returns all. Whoever is fast reads each round before the next."""
    told = []
    for i in range(first, first + rounds):
        batch = [{"channel": channel, "data": f"k{key}.{i} " + "x" * SIZE, "key": f"k{key}"} for key in range(KEYS)]
        assert request(server, "POST", "/channels", json.dumps(batch)).status == 200
        names = [f"k{key}.{i}" for key in range(KEYS)]
        if fast:
            assert [fast.next_line()["data"].split()[0] for _ in names] == names
        told += names
    return told


def check_newest(told: list[str], everything: list[str], last: int) -> None:
    """In order, each once, and of each key the newest."""
    positions = [everything.index(each) for each in told]
    assert positions == sorted(set(positions))
    newest = {each.split(".")[0]: each for each in told}
    assert newest == {f"k{key}": f"k{key}.{last}" for key in range(KEYS)}


@pytest.mark.parametrize("kind", KINDS)
@BROKERS
def test_a_slow_reader_is_told_the_newest_of_each_key_and_a_fast_one_everything(broker: str, channel: str, kind: str) -> None:
    """More than the window holds, so that some of it comes in pages from the broker."""
    with configured(broker, f"[channel \"{channel}\"]\npolicy = newest\n", *KEEP, *LISTENERS) as server:
        slow = Slow(server, kind, channel)
        with LineStream(server, path_of(channel)) as fast:
            fast.next_line()
            everything = update(server, channel, fast=fast)
        publish(server, channel, "end", Sluice_Key="end")
        told = slow.until("end")
        assert "reset" not in told
        check_newest(told[:-1], everything, ROUNDS - 1)
        assert len(told) < KEYS * ROUNDS / 2, "most were passed over"
        slow.client.close()


def test_a_fast_reader_misses_none(channel: str) -> None:
    with configured("memory", f"[channel \"{channel}\"]\npolicy = newest\n", *KEEP) as server:
        with LineStream(server, path_of(channel)) as fast:
            fast.next_line()
            for i in range(200):
                publish(server, channel, str(i), Sluice_Key="one")
                assert fast.next_line()["data"] == str(i)


def test_without_the_policy_everybody_is_told_everything(channel: str) -> None:
    with configured("memory", f"[channel \"{channel}/x\"]\npolicy = newest\n", *KEEP, *LISTENERS) as server:
        for name, query in ((channel, {}), (channel, {"policy": "all"}), (channel + "/x", {"policy": "all"})):
            slow = Slow(server, "stream", name, **query)
            everything = update(server, name, 20)
            publish(server, name, "end")
            assert slow.until("end")[:-1] == everything
            slow.client.close()


def test_a_subscription_says_so_for_itself(channel: str) -> None:
    with Server(*KEEP, *LISTENERS) as server:
        plain, newest = Slow(server, "stream", channel), Slow(server, "stream", channel, policy="newest")
        socket = Slow(server, "websocket", channel, policy="newest")
        everything = update(server, channel)
        publish(server, channel, "end", Sluice_Key="end")
        for slow in (newest, socket):
            told = slow.until("end")[:-1]
            check_newest(told, everything, ROUNDS - 1)
            assert len(told) < len(everything) / 2
        assert plain.until("end")[:-1] == everything


def test_who_comes_back_late_is_told_the_newest_only(channel: str) -> None:
    with Server(*KEEP, *LISTENERS) as server:
        at = publish(server, channel, "begin")
        everything = update(server, channel, 10)
        for kind in ("stream", "sse", "json", "websocket", "poll"):
            with Reader(server, kind, channel, since=at, query=(("policy", "newest"),)) as reader:
                told = [data.split()[0] for data in reader.take(KEYS)]
                assert told == everything[-KEYS:], kind
        with Commands(server, "ws") as commands:
            commands.subscribe(channel, since=at, policy="newest")
            assert [commands.next_data().split()[0] for _ in range(KEYS)] == everything[-KEYS:]
        assert len(get(server, path_of(channel, since=at, wait=0), Accept="application/json").json["messages"]) == 10 * KEYS


LONG = 40_000
LONGEST_WAIT_SECONDS = 5


@BROKERS
def test_a_long_history_of_one_key_holds_nobody_up(broker: str, channel: str) -> None:
    """It is passed over in pieces, between which others are served, and each piece once."""
    with configured(broker, "", *KEEP) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        for first in range(0, LONG, 1000):
            batch = [{"channel": channel, "data": str(i), "key": "k"} for i in range(first, first + 1000)]
            assert request(server, "POST", "/channels", json.dumps(batch)).status == 200
        poll = pool.submit(get, server, path_of(channel, since="earliest", policy="newest", wait=60), Accept="application/json")
        waits = []
        while not waits or not poll.done():
            began = time.monotonic()
            assert get(server, path_of(channel + "/other", wait=0)).status == 204
            waits.append(time.monotonic() - began)
        print(f"{len(waits)} others were answered meanwhile, the slowest after {max(waits) * 1000:.1f} ms")
        assert max(waits) < LONGEST_WAIT_SECONDS
        answer = poll.result().json
        assert [each["data"] for each in answer["messages"]] == [str(LONG - 1)] and "reset" not in answer
        assert metric(server, "refills_total") < 2 * LONG / 256
        publish(server, channel, "next", Sluice_Key="k")
        after = get(server, path_of(channel, since=answer["cursor"], policy="newest"), Accept="application/json").json
        assert [each["data"] for each in after["messages"]] == ["next"]


def test_the_event_is_the_key_of_messages_without_one(channel: str) -> None:
    with Server(*KEEP) as server:
        at = publish(server, channel, "begin", Sluice_Event="e")
        for i in range(5):
            publish(server, channel, f"plain {i}")
            publish(server, channel, f"event {i}", Sluice_Event="e")
            publish(server, channel, f"key {i}", Sluice_Event="e", Sluice_Key="k")
        answer = get(server, path_of(channel, since=at, policy="newest", wait=0), Accept="application/json")
        assert [each["data"] for each in answer.json["messages"]] == ["plain 4", "event 4", "key 4"]


def test_transient_messages_replace_each_other_too(channel: str) -> None:
    with Server(*KEEP) as server:
        slow = Slow(server, "stream", channel, policy="newest")
        for i in range(100):
            publish(server, channel, "x" * 10_000 + f" {i}", Sluice_Key=f"big {i}")
        for i in range(100):
            request(server, "POST", path_of(channel, store="no", key=f"p{i % 3}"), f"passing {i}")
        publish(server, channel, "end", Sluice_Key="end")
        told = []
        while not told or told[-1] != "end":
            told.append(slow.next())
        assert [data for data in told if data.startswith("passing")] == ["passing 97", "passing 98", "passing 99"]


def test_polls_of_both_kinds_get_each_their_own_answer(channel: str) -> None:
    with Server(*KEEP) as server:
        at = publish(server, channel, "begin")
        for i in range(5):
            publish(server, channel, str(i))
        for policy, expected in (("all", ["0", "1", "2", "3", "4"]), ("newest", ["4"])) * 3:
            answer = get(server, path_of(channel, since=at, policy=policy, wait=0), Accept="application/json")
            assert [each["data"] for each in answer.json["messages"]] == expected


def test_what_the_log_does_not_keep_is_told_as_missing(channel: str) -> None:
    with Server(*KEEP[2:], "--history-size", "30") as server:
        at = publish(server, channel, "begin")
        update(server, channel, 5)
        with LineStream(server, path_of(channel, since=at, policy="newest")) as lines:
            lines.next_line()
            assert lines.next_line()["reset"]["reason"] == "trimmed"
            assert [lines.next_line()["data"].split()[0] for _ in range(KEYS)] == [f"k{key}.4" for key in range(KEYS)]


def test_after_a_purge_what_is_new_is_told(channel: str) -> None:
    with Server(*KEEP) as server, LineStream(server, path_of(channel, policy="newest")) as lines:
        lines.next_line()
        update(server, channel, 3)
        while lines.next_line()["data"].split()[0] != f"k{KEYS - 1}.2":
            pass
        assert request(server, "DELETE", f"/api/channels/{channel}").status == 200
        assert lines.next_line()["reset"]["reason"] == "purged"
        publish(server, channel, "one", Sluice_Key="k0")
        assert lines.next_line()["data"] == "one"
        publish(server, channel, "two", Sluice_Key="k1")
        assert lines.next_line()["data"] == "two"


@pytest.mark.parametrize("policy", ["", "oldest", "NEWEST"])
def test_a_policy_is_all_or_newest(server: Server, channel: str, policy: str) -> None:
    answer = get(server, path_of(channel) + f"?policy={policy}")
    assert (answer.status, answer.error) == (400, "bad-option")
    with Commands(server, "ws") as commands:
        commands.put_text(json.dumps({"op": "subscribe", "ref": 1, "channel": channel, "policy": policy}))
        assert commands.take("error")["code"] == "bad-option"


def test_random_reading_against_a_model(channel: str) -> None:
    """Whoever stands wherever is told what is newest of each key behind that, in order."""
    dice = random.Random(channel)
    with Server(*KEEP) as server:
        said: list[tuple[str, str]] = []
        ids = []
        for i in range(1500):
            key = f"k{dice.randrange(1 + i // 10)}"
            ids.append(publish(server, channel, str(i), Sluice_Key=key))
            said.append((key, str(i)))
        newest = {key: data for key, data in said}
        for at in [dice.randrange(1500) for _ in range(20)]:
            expected = [data for key, data in said[at + 1:] if newest[key] == data]
            with LineStream(server, path_of(channel, since=ids[at], policy="newest")) as lines:
                lines.next_line()
                told = []
                while expected and (not told or told[-1] != expected[-1]):
                    told.append(lines.next_line()["data"])
            window = [data for key, data in said[at + 1:] if int(data) >= 1500 - 1024]
            assert [data for data in told if data in window] == [data for data in expected if data in window]
            assert set(expected) <= set(told) and told == sorted(told, key=int)


def test_memory_is_flat_however_slow_they_are(channel: str) -> None:
    with Server("--history-size", "200", "--slow-client-timeout", "1h", "--shards", "1") as server:
        slow = [Slow(server, "stream", channel, policy="newest") for _ in range(20)]
        update(server, channel, 50)
        before, resident = metric(server, "message_bytes"), server.resident_bytes()
        for first in range(50, 400, 50):
            update(server, channel, 50, first)
        assert metric(server, "message_bytes") < before + (1 << 20)
        assert server.resident_bytes() < resident + (32 << 20)
        for each in slow:
            each.client.close()
