# SPDX-License-Identifier: MIT
"""What docs/PROTOCOL.md, docs/TCP.md and docs/REDIS.md promise to who comes back after Redis was restarted or another took over."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.client import EventStream, LineStream, get, path_of, publish
from support.redis import KEEP_ALL, RedisServer, await_ready, change_master, metric, nodes
from support.server import Server, wait_until
from support.tcp import Raw, Resp

LISTENERS = ("--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=nul", "--tcp", "127.0.0.1:0 framing=len32",
             "--tcp", "127.0.0.1:0 framing=resp")
FRAMINGS = {0: b"\r\n", 1: b"\0", 2: None}
LOST, WHOLE = "lost", "whole"


@dataclass
class Loss:
    """Two channels, three messages each, of which the last two of one are gone. `after` is under today's epoch."""

    redis: RedisServer
    there: Server  # was there when Redis came back with less
    fresh: Server  # has met only the Redis of today
    ids: dict[str, list[str]]
    after: dict[str, str]

    def shared(self, offset: int, channel: str = LOST) -> str:
        return f"{self.after[channel].split('-')[0]}-{offset}"


@pytest.fixture(scope="module")
def loss() -> Iterator[Loss]:
    options = (*KEEP_ALL, *LISTENERS)
    with RedisServer() as redis, nodes(1, redis, options=options) as (there,), contextlib.ExitStack() as stack:
        for channel in (LOST, WHOLE):
            stack.enter_context(LineStream(there, path_of(channel))).next_line()
        ids = {WHOLE: [publish(there, WHOLE, f"{WHOLE} {i}") for i in range(1, 4)], LOST: [publish(there, LOST, f"{LOST} 1")]}
        redis.client.save()
        ids[LOST] += [publish(there, LOST, f"{LOST} {i}") for i in (2, 3)]
        redis.restart()
        await_ready(there)
        wait_until(lambda: get(there, f"/api/channels/{LOST}").json["epoch"] != ids[LOST][0].split("-")[0])
        after = {channel: publish(there, channel, f"{channel} after") for channel in (LOST, WHOLE)}
        assert [after[channel].split("-")[1] for channel in (LOST, WHOLE)] == ["2", "4"]
        (fresh,) = stack.enter_context(nodes(1, redis, options=options))
        yield Loss(redis, there, fresh, ids, after)


@pytest.fixture(params=["there", "fresh"])
def node(loss: Loss, request: pytest.FixtureRequest) -> Server:
    return getattr(loss, request.param)


def withdrawn(loss: Loss, count: int) -> dict[str, object]:
    return {"channel": LOST, "reason": "failover", "withdrawn": count, "cursor": loss.shared(1)}


@pytest.mark.parametrize("header", ["since", "Last_Event_ID", "If_None_Match"])
@pytest.mark.parametrize("offset", [1, 2, 3])
def test_who_comes_back_over_http(loss: Loss, node: Server, header: str, offset: int) -> None:
    old = loss.ids[LOST][offset - 1]
    target = path_of(LOST, since=old if header == "since" else None)
    headers = {} if header == "since" else {header: old}
    resets = [withdrawn(loss, offset - 1)] if offset > 1 else []
    with EventStream(node, target, **headers) as events:
        opening = events.next_block()
        assert opening and json.loads(opening.data or "")["recovered"] == (not resets)
        for reset in resets:
            event = events.next_event()
            assert (event.event, event.id, json.loads(event.data or "")) == ("reset", reset["cursor"], reset)
        assert events.next_event().id == loss.after[LOST]
    with LineStream(node, target, **headers) as lines:
        assert lines.next_line()["recovered"] == (not resets)
        assert [lines.next_line() for _ in resets] == [{"cursor": reset["cursor"], "reset": reset} for reset in resets]
        assert lines.next_line()["id"] == loss.after[LOST]
    raw = get(node, target, **headers)
    assert (raw.body, raw.cursor) == (f"{LOST} after".encode(), loss.after[LOST])
    assert raw.header("Sluice-Reset") == (f'failover; withdrawn={offset - 1}; channel="{LOST}"' if resets else None)
    batch = get(node, target, Accept="application/json", **headers).json
    assert (batch.get("reset", []), [message["id"] for message in batch["messages"]]) == (resets, [loss.after[LOST]])


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offset", [1, 3])
@pytest.mark.parametrize("form", ["raw", "json"])
def test_who_comes_back_over_raw_tcp(loss: Loss, node: Server, framing: int, offset: int, form: str) -> None:
    def line(data: bytes) -> object:
        return json.loads(data)["id"] if form == "json" else data.decode()

    def is_reset(data: bytes) -> bool:
        if form == "raw":
            return data == f"RESET {LOST} failover {offset - 1}".encode()
        told = json.loads(data)
        return (told["op"], told["channel"], told["reason"], told["withdrawn"]) == ("reset", LOST, "failover", offset - 1)

    with Raw(node, framing, FRAMINGS[framing]) as client:
        assert client.ask(f"FORMAT {form}".encode()) == b"CONFIRMED"
        assert client.ask(f"SUBSCRIBE {LOST} {loss.ids[LOST][offset - 1]}".encode()) == b"CONFIRMED"
        if offset > 1:
            assert is_reset(client.take())
        assert line(client.take()) == (loss.after[LOST] if form == "json" else f"{LOST} after")
        client.put(f"HISTORY {LOST} {loss.ids[LOST][offset - 1]}".encode())
        if offset > 1:
            assert is_reset(client.take())
        assert line(client.take()) == (loss.after[LOST] if form == "json" else f"{LOST} after")
        assert client.take() == b"CONFIRMED" and client.has_nothing()


def test_who_comes_back_over_the_redis_protocol(loss: Loss, node: Server) -> None:
    with Resp(node, 3) as client:
        for offset, old in enumerate(loss.ids[LOST], start=1):
            answer = client.run("XREAD", "STREAMS", LOST, old)
            if offset > 1:
                assert answer == f"-RESET {LOST} failover {offset - 1} go on behind {loss.shared(1)}"
                answer = client.run("XREAD", "STREAMS", LOST, str(answer).split()[-1])
            assert [entry[0].decode() for entry in answer[0][1]] == [loss.after[LOST]]
        found = client.run("XRANGE", WHOLE, loss.ids[WHOLE][1], "+")
        assert [entry[0].decode().split("-")[1] for entry in found] == ["2", "3", "4"]


def test_of_several_channels_only_that_is_told_which_lost_something(loss: Loss, node: Server) -> None:
    since = f"{loss.ids[WHOLE][2]}.{loss.ids[LOST][2]}"
    raw = get(node, path_of(WHOLE, channel=LOST, since=since))
    assert raw.header("Sluice-Reset") == f'failover; withdrawn=2; channel="{LOST}"'
    batch = get(node, path_of(WHOLE, channel=LOST, since=since), Accept="application/json").json
    assert batch["reset"] == [{**withdrawn(loss, 2), "cursor": batch["reset"][0]["cursor"]}]
    assert loss.shared(1) in batch["reset"][0]["cursor"].split(".")
    assert {message["id"] for message in batch["messages"]} == set(loss.after.values())
    assert set(batch["cursor"].split(".")) == set(loss.after.values())


def test_who_lost_nothing_reads_on_from_any_id(loss: Loss, node: Server) -> None:
    for offset, old in enumerate([*loss.ids[WHOLE], loss.after[WHOLE]], start=1):
        answer = get(node, path_of(WHOLE, since=old, wait=0), Accept="application/json")
        messages = answer.json["messages"] if answer.status == 200 else []
        assert answer.cursor == loss.after[WHOLE] and (answer.status == 204 or "reset" not in answer.json)
        assert [int(message["id"].split("-")[1]) for message in messages] == list(range(offset + 1, 5))
        assert {message["id"][:5] for message in messages} <= {old[:5]}, "whatever epoch it is under now, a message keeps its offset"
        for message in messages:
            assert get(node, path_of(WHOLE, since=message["id"], wait=0)).reset is None


@pytest.mark.parametrize("changes", [8, 9])
def test_eight_epochs_are_remembered(loss: Loss, channel: str, changes: int) -> None:
    old = name = publish(loss.there, channel, "old")
    for _ in range(changes):
        change_master(loss.redis.client)
        last = name.split("-")[0]
        # Redis' functions look for another master once in a millisecond.
        name = wait_until(lambda: not (new := loss.redis.publish(channel, "x")).startswith(last) and new)
    answer = get(loss.fresh, path_of(channel, since=old), Accept="application/json").json
    if changes <= 8:
        assert "reset" not in answer and answer["messages"][0]["data"] != "old"
    else:
        assert [reset["reason"] for reset in answer["reset"]] == ["epoch"] and answer["messages"][0]["data"] == "old"


def test_a_key_of_before_answers_the_first_publish_and_delivers_nothing(loss: Loss, channel: str) -> None:
    with LineStream(loss.fresh, path_of(channel)) as lines:
        lines.next_line()
        first = publish(loss.there, channel, "once", Idempotency_Key="k")
        change_master(loss.redis.client)
        again = publish(loss.fresh, channel, "once", Idempotency_Key="k")
        assert again[:5] == first[:5] and again.split("-")[1] == first.split("-")[1]
        next_one = publish(loss.there, channel, "next")
        assert [lines.next_line()["data"] for _ in range(2)] == ["once", "next"]
        assert next_one.endswith("-2")


@pytest.mark.parametrize("transport", ["poll", "json"])
def test_a_poll_over_a_lost_link_of_a_bridged_channel_is_told_once(transport: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--redis-subscribe", "b")) as (server,):
        start = get(server, path_of("b", wait=0)).cursor
        redis.client.publish("b", "1")
        cursor = get(server, path_of("b", since=start)).cursor
        before = metric(server, "broker_reconnects_total")
        redis.kill_clients("pubsub")
        wait_until(lambda: metric(server, "broker_reconnects_total") > before)
        await_ready(server)
        told = get(server, path_of("b", since=cursor, wait=5, transport=transport))
        if transport == "poll":
            assert (told.status, told.header("Sluice-Reset"), told.body) == (204, 'failover; channel="b"', b"")
        else:
            assert told.json == {"messages": [], "cursor": told.cursor, "reset": [{"channel": "b", "reason": "failover", "cursor": told.cursor}]}
        assert told.cursor.split("-")[1] == "1", "ids go on counting"
        wait_until(lambda: redis.client.publish("b", "2") == 1)
        answer = get(server, path_of("b", since=told.cursor))
        assert (answer.body, answer.reset, answer.cursor.split("-")) == (b"2", None, [told.cursor.split("-")[0], "2"])
