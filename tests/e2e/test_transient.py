# SPDX-License-Identifier: MIT
"""Messages that are not kept (store=no): those who are there are told, in order with the others, and nobody is told later."""

import json
import threading
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.readers import BARE, KINDS, LISTENERS, OBJECTS, Reader
from support.redis import RedisServer, metric, nodes
from support.server import Server, wait_until
from support.sockjs_commands import Commands
from support.tcp import Raw, Resp

POLLS = ("poll", "json")


@pytest.fixture(scope="module", params=["memory", "redis"])
def both(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    """Where one publishes, and where one reads: other shards, or another node."""
    if request.param == "redis":
        with RedisServer() as redis, nodes(2, redis, options=LISTENERS) as servers:
            yield servers
    else:
        with Server(*LISTENERS, "--shards", "2") as server:
            yield [server, server]


def signal(server: Server, channel: str, data: str, **query: str) -> str:
    """Publishes what is not kept; returns the id to go on from."""
    answer = request(server, "POST", path_of(channel, store="no", **query), data)
    assert answer.status == 201 and answer.json["stored"] is False, answer
    return answer.json["id"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in POLLS])
def test_they_are_told_in_order_with_the_others(both: list[Server], channel: str, kind: str) -> None:
    here, there = both
    with Reader(there, kind, channel) as reader:
        expected = []
        for i in range(60):
            (publish if i % 3 == 0 else signal)(here, channel, f"m{i}")
            expected.append(f"m{i}")
        assert reader.take(60) == expected


@pytest.mark.parametrize("kind", OBJECTS)
def test_one_says_that_it_is_not_stored_and_has_the_id_to_go_on_from(both: list[Server], channel: str, kind: str) -> None:
    here, there = both
    first = publish(here, channel, "kept")
    with Reader(there, kind, channel) as reader:
        answer: dict[str, str] = {}
        waiting = threading.Thread(target=lambda: answer.update(reader.next()))
        waiting.start()
        wait_until(lambda: sum(subscribers(there, channel).values()) > 0)
        assert signal(here, channel, "passing", key="k", event="e") == first
        waiting.join()
        told = {name: answer[name] for name in ("data", "stored", "id", "key", "event", "channel")}
        assert told == {"data": "passing", "stored": False, "id": first, "key": "k", "event": "e", "channel": channel}


@pytest.mark.parametrize("kind", POLLS)
def test_a_poll_that_waits_is_answered_by_one(both: list[Server], channel: str, kind: str) -> None:
    here, there = both
    cursor = publish(here, channel, "kept")
    with Reader(there, kind, channel, since=cursor) as reader:
        for i in range(5):
            found: list[str] = []
            waiting = threading.Thread(target=lambda found=found: found.extend(reader.take(1)))
            waiting.start()
            wait_until(lambda: subscribers(there, channel)["poll"] == 1)
            signal(here, channel, f"passing {i}")
            waiting.join()
            assert found == [f"passing {i}"] and reader.cursor == cursor
            wait_until(lambda: subscribers(there, channel).get("poll", 0) == 0)
        publish(here, channel, "next")
        assert reader.take(1) == ["next"]


def test_polls_that_wait_together_get_the_same_answer_to_each(both: list[Server], channel: str) -> None:
    """Answers are shared by those who have read the same: what stands behind the same offset is another answer."""
    here, there = both
    cursor = publish(here, channel, "kept")
    for said in ("first", "second"):
        for accept in ("", "application/json"):
            clients = [Connection(there) for _ in range(20)]
            for client in clients:
                client.send(request_bytes("GET", path_of(channel, since=cursor), Accept=accept))
            wait_until(lambda: subscribers(there, channel)["poll"] == 20)
            signal(here, channel, said)
            for client in clients:
                answer = client.read_response()
                assert answer.cursor == cursor
                data = [each["data"] for each in answer.json["messages"]] if accept else [answer.body.decode()]
                assert data == [said]
                client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_told_later(both: list[Server], channel: str, kind: str) -> None:
    here, there = both
    with LineStream(there, path_of(channel)) as other:
        other.next_line()
        publish(here, channel, "one")
        at = signal(here, channel, "lost one")
        signal(here, channel, "lost too")
        publish(here, channel, "two")
        assert [other.next_line()["data"] for _ in range(4)] == ["one", "lost one", "lost too", "two"]
    for since, expected in (("earliest", ["one", "two"]), ("last=2", ["one", "two"]), (at, ["two"])):
        with Reader(there, kind, channel, since=since) as reader:
            assert reader.take(len(expected)) == expected
    assert get(there, f"/api/channels/{channel}").json["messages"] == 2


def test_history_of_every_kind_has_none(both: list[Server], channel: str) -> None:
    here, there = both
    ids = [publish(here, channel, "one")]
    signal(here, channel, "lost")
    ids.append(publish(here, channel, "two"))
    with Commands(there, "ws") as commands:
        assert [each["data"] for each in commands.history(channel)["messages"]] == ["one", "two"]
    with Raw(there) as raw:
        raw.put(f"HISTORY {channel}".encode())
        assert [raw.take() for _ in range(3)] == [b"one", b"two", b"CONFIRMED"]
    assert [name.rsplit("-", 1)[1] for name in ids] == ["1", "2"]


def test_those_who_resume_are_told_of_no_gap(both: list[Server], channel: str) -> None:
    here, there = both
    at = publish(here, channel, "one")
    for i in range(300):
        signal(here, channel, str(i))
    publish(here, channel, "two")
    with EventStream(there, path_of(channel, since=at)) as events:
        assert json.loads(events.next_block().data)["recovered"] is True
        assert events.next_event().data == "two"


def test_every_way_to_publish_can_say_so(both: list[Server], channel: str) -> None:
    here, there = both
    with LineStream(there, path_of(channel)) as lines, Commands(here, "ws") as commands, Raw(here) as raw:
        lines.next_line()
        at = commands.publish(channel, "kept", key="a")
        assert lines.next_line()["key"] == "a"
        query = request(here, "POST", path_of(channel, store="no"), "query")
        field = request(here, "PUT", path_of(channel), "field", Sluice_Store="no", Sluice_Key="k")
        batch = request(here, "POST", "/channels", json.dumps([{"channel": channel, "data": "batch", "store": False},
                                                               {"channel": channel, "data": "kept too", "store": True}]))
        said = commands.ask("publish", channel=channel, data="command", store=False)
        assert raw.ask(f"SIGNAL {channel} line".encode()) == b"CONFIRMED"
        told = [lines.next_line() for _ in range(6)]
        assert [each["data"] for each in told] == ["query", "field", "batch", "kept too", "command", "line"]
        assert [each.get("stored", True) for each in told] == [False, False, False, True, False, False]
        assert told[1]["key"] == "k"
        answers = [query.json, field.json, batch.json[0], said]
        assert all(answer["stored"] is False for answer in answers) and "stored" not in batch.json[1]
        assert query.json["id"] == at and query.header("Location") == path_of(channel, since=at)


@pytest.mark.parametrize("answer", ["maybe", "", "NO"])
def test_store_is_yes_or_no(both: list[Server], channel: str, answer: str) -> None:
    refused = request(both[0], "POST", path_of(channel) + f"?store={answer}", "x")
    assert (refused.status, refused.error) == (400, "bad-option")
    item = request(both[0], "POST", "/channels", json.dumps([{"channel": channel, "data": 1, "store": answer}])).json[0]
    assert item["error"] == "bad-batch" and "true or false" in item["message"]


def test_a_key_seen_before_is_not_told_again(both: list[Server], channel: str) -> None:
    here, there = both
    with LineStream(there, path_of(channel)) as lines:
        lines.next_line()
        for status in (201, 200):
            answer = request(here, "POST", path_of(channel, store="no"), "once", Idempotency_Key="k")
            assert answer.status == status and answer.json["stored"] is False
        publish(here, channel, "end")
        assert [lines.next_line()["data"] for _ in range(2)] == ["once", "end"]


def test_a_redis_client_is_told_too(channel: str) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=resp") as server, Resp(server) as client:
        client.run("SUBSCRIBE", channel)
        signal(server, channel, "passing")
        assert client.reply() == [b"message", channel.encode(), b"passing"]


def test_several_channels_in_one_subscription(both: list[Server], channel: str) -> None:
    here, there = both
    with LineStream(there, path_of(channel) + f"?channel={channel}/b") as lines:
        lines.next_line()
        at = publish(here, channel, "a")
        first = lines.next_line()
        signal(here, channel + "/b", "passing b")
        passing = lines.next_line()
        assert passing["data"] == "passing b" and passing["cursor"] == first["cursor"] and at in passing["cursor"]
        publish(here, channel + "/b", "b")
        assert lines.next_line()["data"] == "b"


def test_a_slow_reader_misses_those_that_are_too_many_and_no_other_message(channel: str) -> None:
    """Of those that it is behind of the newest 256 are kept, and not more than a mebibyte."""
    with Server("--shards", "1", "--slow-client-timeout", "1h", "--history-size", "5000", "--history-bytes", "256MiB") as server:
        before = metric(server, "message_bytes")
        with LineStream(server, path_of(channel), receive_buffer=4096) as slow:
            slow.next_line()
            expected = []
            for i in range(40):
                publish(server, channel, f"kept {i} " + "x" * 100_000)
                expected.append(f"kept {i}")
                for j in range(50):
                    signal(server, channel, f"passing {i}.{j} " + "x" * 1000)
            signal(server, channel, "last")
            told = []
            while not told or told[-1] != "last":
                line = slow.next_line()
                assert "reset" not in line, line
                told.append(" ".join(line["data"].split()[:2]))
            assert [text for text in told if text.startswith("kept")] == expected
            passing = [tuple(map(int, text.split()[1].split("."))) for text in told if text.startswith("passing")]
            assert passing == sorted(passing) and passing[-1] == (39, 49)
            assert len(passing) < 40 * 50 - 500
            at = [told.index(f"kept {i}") for i in range(40)]
            for i, j in passing:
                assert at[i] < told.index(f"passing {i}.{j}") < (at[i + 1] if i < 39 else len(told)), "each behind its message"
        assert request(server, "DELETE", f"/api/channels/{channel}").status == 200
        wait_until(lambda: metric(server, "message_bytes") <= before)


def test_none_is_left_in_memory_at_rest(channel: str) -> None:
    with Server("--shards", "2", "--history-size", "0", "--slow-client-timeout", "1h") as server:
        before = metric(server, "message_bytes")
        with LineStream(server, path_of(channel)) as lines:
            lines.next_line()
            for i in range(100):
                signal(server, channel, "x" * 10_000)
                lines.next_line()
            wait_until(lambda: metric(server, "message_bytes") <= before)
            slow = LineStream(server, path_of(channel), receive_buffer=4096)
            slow.next_line()
            for i in range(100):
                signal(server, channel, "x" * 100_000)
                lines.next_line()
            assert metric(server, "message_bytes") > before, "kept for the slow one"
            assert metric(server, "message_bytes") < before + (3 << 20)
            slow.close()
            wait_until(lambda: metric(server, "message_bytes") <= before)


def test_a_purge_in_between_loses_none_of_the_later_ones(both: list[Server], channel: str) -> None:
    here, there = both
    with LineStream(there, path_of(channel)) as lines:
        lines.next_line()
        publish(here, channel, "one")
        signal(here, channel, "passing")
        # What is not told yet when the purge comes is purged.
        assert [lines.next_line()["data"] for _ in range(2)] == ["one", "passing"]
        assert request(here, "DELETE", f"/api/channels/{channel}").status == 200
        signal(here, channel, "after")
        publish(here, channel, "two")
        assert lines.next_line()["reset"]["reason"] == "purged"
        told = [lines.next_line() for _ in range(2)]
        said = [each["data"] for each in told]
        # A node that reads a log anew has read what came behind it, too (docs/REDIS.md).
        assert said == ["after", "two"] or (here is not there and said == ["two", "after"])
        offsets = [int(each["id"].split("-")[1]) for each in told]
        assert offsets == ([0, 1] if said[0] == "after" else [1, 1])


assert set(BARE) | set(OBJECTS) == set(KINDS)


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_polls_that_are_answered_with_others_have_other_tags(both: list[Server], channel: str, accept: str) -> None:
    """At the same cursor, so that nobody on the way takes one answer for the next."""
    here, there = both
    first = publish(here, channel, "kept")
    tag, seen = f'"{first}"', set()
    for i in range(3):
        with Connection(there) as poll:
            poll.send(request_bytes("GET", path_of(channel, wait=20), Accept=accept, If_None_Match=tag))
            wait_until(lambda: subscribers(there, channel)["poll"] == 1)
            signal(here, channel, f"passing {i}")
            answer = poll.read_response()
        tag = answer.header("ETag") or ""
        assert answer.status == 200 and f"passing {i}".encode() in answer.body
        assert tag.startswith(f'"{first}~') and tag not in seen
        seen.add(tag)
        wait_until(lambda: subscribers(there, channel)["poll"] == 0)
    assert get(there, path_of(channel, since=tag.strip('"'), wait=0)).header("ETag") == f'"{first}"'
    second = publish(here, channel, "kept too")
    answer = get(there, path_of(channel, wait=20), Accept=accept, If_None_Match=tag)
    assert b"kept too" in answer.body and answer.header("ETag") == f'"{second}"'
