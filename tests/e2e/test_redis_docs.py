# SPDX-License-Identifier: MIT
"""What docs/REDIS.md says can be copied and pasted."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.redis import RedisServer, await_ready, complaints, meta_key, nodes, stream_key
from support.server import SOURCE, Server, wait_until

PAGE = (SOURCE / "docs/REDIS.md").read_text()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def node(redis: RedisServer) -> Iterator[Server]:
    with nodes(1, redis, options=("--redis-subscribe", "updates,scores.*")) as (running,):
        yield running


def examples(first: str) -> list[str]:
    """The indented blocks that follow a line which begins so."""
    found = re.findall(rf"^{re.escape(first)}.*\n\n((?:    .*\n)+)", PAGE, re.MULTILINE)
    assert found, f"docs/REDIS.md has no example after {first!r}"
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in found]


def test_redis_cli(redis: RedisServer, node: Server) -> None:
    with EventStream(node, path_of("news")) as news:
        news.next_block()
        lines = examples("redis-cli:")[0].splitlines()
        for line in lines:
            words = shlex.split(line)
            assert words[0] == "redis-cli"
            said = subprocess.run(["redis-cli", "-p", str(redis.port), *words[1:]], capture_output=True, text=True, check=True)
            event = news.next_event()
            assert said.stdout.split()[0] == event.id and event.data == words[5], said
    with EventStream(node, path_of("updates")) as updates:
        updates.next_block()
        words = shlex.split(next(line for line in PAGE.splitlines() if line.startswith("    redis-cli PUBLISH")))
        subprocess.run(["redis-cli", "-p", str(redis.port), *words[1:]], check=True, stdout=subprocess.DEVNULL)
        assert updates.next_event().data == "follow the white rabbit"


def test_python(redis: RedisServer, node: Server) -> None:
    code = examples("Python (redis-py):")[0].replace("redis.Redis()", f"redis.Redis(port={redis.port})")
    with EventStream(node, path_of("news")) as news:
        news.next_block()
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
        event = news.next_event()
        assert event.data == "Hello" and event.id and event.id in said.stdout


def test_the_rights_of_a_user_suffice_for_everything(channel: str) -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("    ACL SETUSER"))
    with RedisServer(aof=True) as redis:
        redis.client.execute_command(*line.replace("PASSWORD", "secret").split())
        url = redis.url(user="sluice", password="secret")
        with nodes(2, url, options=("--redis-subscribe", "updates,scores.*", "--presence", "yes", "--events", "yes", "--presence-grace", "100ms")) as servers:
            with LineStream(servers[1], path_of("$channel")) as events:
                events.next_line()
                with LineStream(servers[0], path_of("room", **{"as": "ann"})):
                    wait_until(lambda: get(servers[1], "/api/channels/room/presence").json["count"] == 1)
                wait_until(lambda: events.next_line()["event"] == "vacated")
            with LineStream(servers[1], path_of(channel)) as lines, EventStream(servers[1], path_of("scores.1")) as scores:
                lines.next_line(), scores.next_block()
                publish(servers[0], channel, "one")
                assert lines.next_line()["data"] == "one"
                for status in (201, 200):
                    assert request(servers[0], "POST", path_of(channel), "two", Idempotency_Key="k").status == status
                assert lines.next_line()["id"].endswith("-2")
                publish(servers[0], "scores.1", "1:0")
                assert scores.next_event().data == "1:0"
            assert get(servers[0], f"/api/channels/{channel}").json["messages"] == 2
            assert channel in [entry["channel"] for entry in get(servers[1], "/api/channels").json["channels"]]
            assert request(servers[0], "DELETE", "/api/tokens/lost").status == 200
            redis.kill_clients("normal")
            redis.kill_clients("pubsub")
            for server in servers:
                await_ready(server)
            assert request(servers[1], "DELETE", f"/api/channels/{channel}").json["purged"] == 2
            wait_until(lambda: get(servers[0], path_of(channel, since="earliest", wait=0)).status == 204)
            assert "NOPERM" not in str([complaints(server) for server in servers])
            assert redis.client.execute_command("ACL", "LOG") == []


def test_keys_are_declared_one_by_one_while_slots_move(redis: RedisServer, node: Server, channel: str) -> None:
    with EventStream(node, path_of(channel)) as events:
        events.next_block()
        said = redis.client.execute_command("FCALL", "sluice_publish", 2, meta_key(channel), stream_key(channel), "declared")
        event = events.next_event()
        assert (event.id, event.data) == (said[0].decode(), "declared")


def test_keys_and_fields_are_those_of_the_table(redis: RedisServer, node: Server, channel: str) -> None:
    answer = request(node, "POST", path_of(channel, event="e", producer="p", ttl=60), "x", Content_Type="text/html",
                     Idempotency_Key="mine").json
    first = channel.split("/")[0]
    assert redis.client.get(f"sluice:{{{first}}}:k:{channel}#mine").decode().startswith(answer["id"])
    meta = redis.client.hgetall(meta_key(channel))
    assert (meta[b"epoch"].decode(), meta[b"offset"]) == (answer["id"].split("-")[0], b"1")
    assert {b"epoch", b"offset", b"time", b"until", b"limits", b"run"} <= set(meta)
    (name, fields), = redis.client.xrange(stream_key(channel))
    assert name == b"1-0" and fields[b"data"] == b"x" and fields[b"mime"] == b"text/html"
    assert (fields[b"event"], fields[b"producer"], fields[b"ttl"], fields[b"type"]) == (b"e", b"p", b"60", b"text")
    assert int(fields[b"time"]) == answer["time"]
