# SPDX-License-Identifier: MIT
"""What docs/PROTOCOL.md promises of publishing, of the list of channels and of what is kept, over the broker in memory with several shards."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.client import Connection, LineStream, Response, get, path_of, publish, request, request_bytes
from support.follow import KINDS, Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL
from support.server import Server, wait_until

TEXT = {"Content_Type": "text/plain"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--shards", "4", *KEEP_ALL) as running:
        yield running


def publish_pipelined(server: Server, channel: str, texts: list[str]) -> list[Response]:
    """All in one write; the answers, in the order in which they came."""
    with Connection(server) as connection:
        connection.send(b"".join(request_bytes("POST", path_of(channel), text, **TEXT) for text in texts))
        return [connection.read_response() for _ in texts]


# Publishing.

def test_each_of_many_pipelined_publishes_is_answered_in_its_turn(server: Server, channel: str) -> None:
    texts = [f"{i}" for i in range(200)]
    with LineStream(server, path_of(channel)) as lines:
        start = lines.next_line()["cursor"]
        answers = publish_pipelined(server, channel, texts)
        epoch = start.split("-")[0]
        assert [(answer.status, answer.json["id"]) for answer in answers] == [(201, f"{epoch}-{i}") for i in range(1, 201)]
        assert [answer.header("Location") for answer in answers] == [f"{path_of(channel)}?since={epoch}-{i}" for i in range(200)]
        told = [lines.next_line() for _ in texts]
    assert [line["data"] for line in told] == texts
    assert [(line["id"], line["time"]) for line in told] == [(answer.json["id"], answer.json["time"]) for answer in answers]


def test_what_is_refused_among_pipelined_publishes_costs_the_others_nothing(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(b"".join([
            request_bytes("POST", path_of(channel), "1", **TEXT),
            request_bytes("POST", path_of(channel), "{", Content_Type="application/json"),
            request_bytes("GET", path_of(channel, since="earliest", transport="json")),
            request_bytes("POST", path_of(channel, ttl=0), "x", **TEXT),
            request_bytes("POST", path_of(channel), "2", **TEXT, Idempotency_Key="k"),
            request_bytes("POST", path_of(channel), "3", **TEXT, Idempotency_Key="k"),
            request_bytes("DELETE", f"/api/channels/{channel}"),
        ]))
        answers = [connection.read_response() for _ in range(7)]
    assert [answer.status for answer in answers] == [201, 400, 200, 400, 201, 200, 200]
    first, _, batch, _, second, again, purge = (answer.json for answer in answers)
    assert [message["id"] for message in batch["messages"]] == [first["id"]], "a read behind a publish sees it"
    assert again == second | {"duplicate": True}
    assert purge == {"channel": channel, "purged": 2}


def test_everybody_on_every_shard_gets_all_in_one_order(server: Server, channel: str) -> None:
    """Many publishers, one by one, pipelined and in batches; many subscribers on all shards and transports."""
    ledger = Ledger()
    followers = follow([server] * 4, channel, kinds=KINDS)

    def pipelined(who: int) -> None:
        for round in range(5):
            texts = [f"{who} {round} {i}" for i in range(40)]
            for text, answer in zip(texts, publish_pipelined(server, channel, texts), strict=True):
                assert answer.status == 201, answer
                ledger.note(channel, text, answer.json["id"])

    def single(who: int) -> None:
        for i in range(100):
            ledger.publish(server, channel, f"{who} {i}")

    def batched(who: int) -> None:
        for round in range(5):
            ledger.publish_batch(server, channel, [f"{who} {round} {i}" for i in range(40)])

    jobs = [pipelined, single, batched] * 2
    join_all(run_all([lambda job=job, who=who: job(who) for who, job in enumerate(jobs)]))
    finish(ledger, server, followers)
    check_complete(ledger, followers)
    orders = {tuple(follower.track.messages) for follower in followers}
    assert len(orders) == 1 and len(orders.pop()) == 1001


def test_a_poll_that_comes_back_on_another_shard_misses_nothing(server: Server, channel: str) -> None:
    """Each poll over a connection, and so on a shard, of its own."""
    cursor, seen = get(server, path_of(channel, wait=0)).cursor, []
    with ThreadPoolExecutor(1) as publisher:
        done = publisher.submit(lambda: [publish(server, channel, f"{i}") for i in range(300)])
        while len(seen) < 300:
            answer = get(server, path_of(channel, since=cursor))
            assert (answer.status, answer.reset) == (200, None)
            seen.append(answer.body.decode())
            cursor = answer.cursor
        assert cursor == done.result()[-1]
    assert seen == [f"{i}" for i in range(300)]


def test_who_was_told_that_it_is_accepted_reads_it_at_once_on_any_shard(server: Server, channel: str) -> None:
    with Connection(server) as publisher, Connection(server) as reader:
        for i in range(100):
            name = publisher.request("POST", path_of(channel), f"{i}", **TEXT).json["id"]
            answer = reader.request("GET", path_of(channel, last=1, wait=0))
            assert (answer.header("Sluice-Id"), answer.body) == (name, str(i).encode())
            assert reader.request("GET", f"/api/channels/{channel}").json["newest"] == name


# The list of channels.

def listed(server: Server, prefix: str, limit: int) -> list[list[str]]:
    """The names on each page, as somebody sees them who turns the pages."""
    pages, after = [], ""
    while True:
        answer = get(server, f"/api/channels?prefix={prefix}&limit={limit}&after={after}").json
        pages.append([entry["channel"] for entry in answer["channels"]])
        if "next" not in answer:
            return pages
        assert answer["next"] == pages[-1][-1], "the next page begins behind the last name of this one"
        after = answer["next"]


@pytest.mark.parametrize("limit", [1, 7, 20, 1000])
def test_pages_are_full_and_in_order(server: Server, limit: int) -> None:
    names = [f"full{limit}/{i:02}" for i in range(20)]
    for name in reversed(names):
        publish(server, name)
    pages = listed(server, f"full{limit}/", limit)
    assert list(itertools.chain(*pages)) == names
    assert all(len(page) == limit for page in pages[:-1]) and pages[-1], "a page more is there only when there is more"


def test_names_are_in_the_order_of_their_bytes(server: Server) -> None:
    names = [f"order{rest}" for rest in ("", "!", "$/a", "/a", "/a/b", "/ab", "/b", "0", "A", "Z", "a", "aa", "a~", "~")]
    for name in reversed(names):
        publish(server, name)
    assert list(itertools.chain(*listed(server, "order", 3))) == sorted(names)
    assert listed(server, "order/a", 100) == [["order/a", "order/a/b", "order/ab"]]


def test_after_needs_no_channel_and_no_prefix_of_its_own(server: Server) -> None:
    for name in ("after/b", "after/d"):
        publish(server, name)

    def names(query: str) -> list[str]:
        return [entry["channel"] for entry in get(server, f"/api/channels?{query}").json["channels"]]

    assert names("prefix=after/&after=after/a") == ["after/b", "after/d"]
    assert names("prefix=after/&after=after/b") == names("prefix=after/&after=after/c") == ["after/d"]
    assert names("prefix=after/&after=a") == ["after/b", "after/d"], "before the prefix: from its beginning"
    assert names("prefix=after/&after=after/d") == names("prefix=after/&after=b") == names("prefix=nothing") == []


def test_who_is_there_all_the_time_is_on_exactly_one_page_while_others_come_and_go(server: Server) -> None:
    staying = [f"busy/{i:03}" for i in range(0, 300, 3)]
    for name in staying:
        publish(server, name)
    is_over = False

    def come_and_go() -> None:
        with Connection(server) as connection:
            for i in itertools.count():
                name = f"busy/{i % 300:03}"
                if is_over:
                    return
                if name not in staying:
                    connection.request("POST", path_of(name), "x", **TEXT)
                    connection.request("DELETE", f"/api/channels/{name}")

    churn = run_all([come_and_go] * 2)
    try:
        for _ in range(5):
            names = list(itertools.chain(*listed(server, "busy/", 9)))
            assert names == sorted(set(names)), "in order, and none twice"
            assert [name for name in names if name in staying] == staying
    finally:
        is_over = True
        join_all(churn)


# What is kept.

def test_what_is_too_old_is_told_as_trimmed(channel: str) -> None:
    with Server("--shards", "4", "--history-ttl", "1s", "--channel-ttl", "1h") as server:
        first = publish(server, channel, "old")
        epoch = first.split("-")[0]
        publish(server, channel, "older still")
        wait_until(lambda: get(server, f"/api/channels/{channel}").json["messages"] == 0)
        answer = get(server, path_of(channel, since=first, wait=0))
        assert (answer.status, answer.reset, answer.cursor) == (204, "trimmed; missed=1", f"{epoch}-2")
        assert get(server, path_of(channel, since=f"{epoch}-2", wait=0)).reset is None
        assert publish(server, channel, "new") == f"{epoch}-3", "an empty channel that is remembered goes on counting"


def test_a_channel_that_is_forgotten_leaves_the_list_and_begins_anew(channel: str) -> None:
    with Server("--shards", "4", "--history-ttl", "1s", "--channel-ttl", "1s", "--linger-time", "0") as server:
        with LineStream(server, path_of(f"{channel}/used")) as lines:
            lines.next_line()
            used, idle = (publish(server, f"{channel}/{name}") for name in ("used", "idle"))
            assert lines.next_line()["id"] == used
            wait_until(lambda: listed(server, channel, 10) == [[f"{channel}/used"]], what="forgetting the channel that nobody uses")
            assert get(server, f"/api/channels/{channel}/idle").error == "no-such-channel"
            answer = get(server, path_of(f"{channel}/idle", since=idle, wait=0))
            assert (answer.status, answer.reset) == (204, "epoch")
            assert publish(server, f"{channel}/used") == used.replace("-1", "-2")


def test_of_one_message_with_a_ttl_the_others_are_not_hidden(server: Server, channel: str) -> None:
    names = [publish(server, channel, "1"), publish(server, channel, "2", Sluice_TTL="1"), publish(server, channel, "3")]
    wait_until(lambda: len(get(server, path_of(channel, since="earliest"), Accept="application/json").json["messages"]) == 2)
    answer = get(server, path_of(channel, since=names[0]), Accept="application/json").json
    assert [message["id"] for message in answer["messages"]] == names[2:]


def test_beyond_the_memory_limit_the_idle_go_first_and_hold_what_was_told(channel: str) -> None:
    big = "x" * 100_000
    with Server("--shards", "4", "--memory-limit", "2MiB", "--linger-time", "0") as server:
        with LineStream(server, path_of(f"{channel}/used")) as lines:
            lines.next_line()
            used = [publish(server, f"{channel}/used", big) for _ in range(3)]
            assert [lines.next_line()["id"] for _ in used] == used
            names = [f"{channel}/idle/{i:02}" for i in range(40)]
            first = [publish(server, name, big) for name in names][0]
            left = list(itertools.chain(*listed(server, f"{channel}/idle/", 100)))
            assert 0 < len(left) < 40 and left == names[-len(left):], "those go first that have been idle for longest"
            answer = get(server, path_of(f"{channel}/used", since=used[0]), Accept="application/json").json
            assert [message["id"] for message in answer["messages"]] == used[1:]
            assert get(server, path_of(names[0], since=first, wait=0)).reset == "epoch"
            batch = json.dumps([{"channel": f"{channel}/used", "data": big} for _ in range(30)])
            results = request(server, "POST", "/channels", batch, Content_Type="application/json").json
            accepted = [result["id"] for result in results if "id" in result]
            assert {result["error"] for result in results if "error" in result} == {"memory-limit"} and accepted
            assert [lines.next_line()["id"] for _ in accepted] == accepted, "what was accepted is delivered, also when others were refused"
