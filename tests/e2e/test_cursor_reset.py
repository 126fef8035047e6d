# SPDX-License-Identifier: MIT
"""Cursors of every kind, several channels in one subscription, and resets: a gap is never silent."""

import contextlib
import itertools
import json
import re

import pytest
from support.client import Connection, EventStream, LineStream, Response, get, path_of, publish, request, request_bytes, subscribers
from support.reloading import Reloading
from support.server import Server, wait_until

EPOCH = "k3q9xm2ab7zt"

HOSTILE = [
    EPOCH, EPOCH + "-", EPOCH + "--1", EPOCH + "-1x", EPOCH + "-18446744073709551616", EPOCH + "-1.", "." + EPOCH + "-1",
    EPOCH + "-1.." + EPOCH + "-1", "k3q9xm2ab7zi-1", EPOCH.upper() + "-1", "x", "last=", "last=-1", "last=99999999999999999999",
    EPOCH + "-" + "9" * 500, "." * 5000, "%00", "now ", "earliest.now", ".".join([EPOCH + "-1"] * 65),
]


@pytest.mark.parametrize("cursor", HOSTILE, ids=range(len(HOSTILE)))
def test_malformed_cursors_are_400(server: Server, channel: str, cursor: str) -> None:
    assert get(server, path_of(channel, since=cursor)).error == "bad-cursor"
    if "%" not in cursor:
        assert get(server, path_of(channel), If_None_Match=cursor.strip() + "!").error == "bad-cursor"


@pytest.mark.parametrize("name", ["1234", "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb", "\u2026", "\xff\x80", "x" * 2000, "%00", EPOCH,
                                  EPOCH + "-18446744073709551616", "{\"a\":1}", ".".join([EPOCH + "-1"] * 65)])
def test_the_id_of_another_server_is_told_by_a_reset(server: Server, channel: str, name: str) -> None:
    kept = publish(server, channel, "kept")
    header = name.encode().decode("latin-1")  # browsers send the bytes of its UTF-8
    with EventStream(server, path_of(channel), Last_Event_ID=header) as stream:
        first, reset = stream.next_block(), stream.next_event()
        assert first and json.loads(first.data or "") == {"cursor": first.id, "recovered": False}
        assert get(server, path_of(channel, since=first.id, wait=0)).reset, "who reconnects before the reset is told, too"
        assert reset.event == "reset" and json.loads(reset.data or "") == {
            "channel": channel, "reason": "unknown-id", "cursor": kept.replace("-1", "-0")}
        assert stream.next_event().id == kept
    with LineStream(server, path_of(channel), Last_Event_ID=header) as lines:
        lines.next_line()
        assert lines.next_line()["reset"]["reason"] == "unknown-id"
    raw = get(server, path_of(channel), Last_Event_ID=header)
    assert (raw.body, raw.cursor) == (b"kept", kept) and "unknown-id" in (raw.reset or "")


def test_cursor_of_another_log_is_told_by_a_reset(server: Server, channel: str) -> None:
    ids = [publish(server, channel, str(i)) for i in range(3)]
    name_part = ids[0][:5]
    cursor = f"{name_part}0000000-2"
    raw = get(server, path_of(channel, since=cursor))
    assert (raw.body, raw.reset, raw.cursor) == (b"0", "epoch", ids[0])
    answer = get(server, path_of(channel, since=cursor), Accept="application/json").json
    assert answer["reset"] == [{"channel": channel, "reason": "epoch", "cursor": ids[0].replace("-1", "-0")}]
    assert [message["id"] for message in answer["messages"]] == ids
    with EventStream(server, path_of(channel, since=cursor)) as stream:
        reset = stream.next_event()
        assert reset.event == "reset" and '"reason":"epoch"' in (reset.data or "")
        assert [stream.next_event().id for _ in range(3)] == ids
    with LineStream(server, path_of(channel, since=cursor)) as lines:
        lines.next_line()
        assert lines.next_line()["reset"]["reason"] == "epoch"
        assert [lines.next_line()["id"] for _ in range(3)] == ids


def test_cursor_ahead_of_the_log(server: Server, channel: str) -> None:
    name = publish(server, channel, "x")
    cursor = name.replace("-1", "-7")
    response = get(server, path_of(channel, since=cursor, wait=0))
    assert (response.body, response.reset) == (b"x", "future")
    with EventStream(server, path_of(channel, since=cursor)) as stream:
        assert '"reason":"future"' in (stream.next_event().data or "")
        assert stream.next_event().id == name


def test_what_is_no_longer_kept_is_counted(channel: str) -> None:
    with Server("--history-size", "3") as server:
        ids = [publish(server, channel, str(i)) for i in range(10)]
        raw = get(server, path_of(channel, since=ids[1]))
        assert (raw.body, raw.reset) == (b"7", "trimmed; missed=5")
        answer = get(server, path_of(channel, since=ids[1]), Accept="application/json").json
        assert answer["reset"] == [{"channel": channel, "reason": "trimmed", "missed": 5, "cursor": ids[6]}]
        assert [message["id"] for message in answer["messages"]] == ids[7:]
        with EventStream(server, path_of(channel, since=ids[1])) as stream:
            assert '"missed":5' in (stream.next_event().data or "")
            assert [stream.next_event().id for _ in range(3)] == ids[7:]


@pytest.mark.parametrize("since", ["earliest", "last=30"])
def test_who_wants_what_is_kept_misses_nothing_that_is_gone(channel: str, since: str) -> None:
    with Server("--history-size", "10", "--shards", "1") as server, LineStream(server, path_of(channel)) as stream:
        stream.next_line()
        for i in range(60):
            publish(server, channel, str(i))
        while stream.next_line()["data"] != "59":
            pass
        kept = get(server, path_of(channel, since=since, wait=0), Accept="application/json").json
        assert "reset" not in kept
        assert [message["data"] for message in kept["messages"]] == [str(i) for i in range(50, 60)]


def test_a_reset_without_any_message_comes_at_once(server: Server, channel: str) -> None:
    name = publish(server, channel, "x")
    assert request(server, "DELETE", f"/api/channels/{channel}").json == {"channel": channel, "purged": 1}
    raw = get(server, path_of(channel, since=name))
    assert (raw.status, raw.reset) == (204, "epoch")
    answer = get(server, path_of(channel, since=name), Accept="application/json")
    assert (answer.status, answer.json["messages"]) == (200, [])
    assert get(server, path_of(channel, since=answer.json["cursor"], wait=0)).reset is None


def other_log(name: str) -> str:
    """A cursor of another log of the same channel."""
    return name[:5] + "0000001-7"


def reset_items(response: Response) -> dict[str, str]:
    """Reasons by channel."""
    items = re.findall(r'([a-z-]+)(?:; missed=\d+)?; channel="([^"\\\\]+)"(?:, |$)', response.header("Sluice-Reset") or "")
    return {name: reason for reason, name in items}


def test_a_reset_names_its_channel_also_with_a_comma_in_it(server: Server, channel: str) -> None:
    names = [f"{channel}/a,b=c;d", f"{channel}/'x'"]
    since = ".".join(other_log(publish(server, name, name)) for name in names)
    raw = get(server, path_of(names[0], since=since, channel=names[1]))
    assert raw.header("Sluice-Reset") == ", ".join(f'epoch; channel="{name}"' for name in names)
    assert raw.body == names[0].encode()
    follow = get(server, path_of(names[0], since=raw.cursor, channel=names[1]))
    assert (follow.body, follow.reset) == (names[1].encode(), None)


def test_a_message_of_one_channel_does_not_hide_the_reset_of_another(server: Server, channel: str) -> None:
    first, second = f"{channel}/first", f"{channel}/second"
    before, old = publish(server, first, "1"), publish(server, second, "1")
    publish(server, first, "2")
    since = f"{before}.{other_log(old)}"
    raw = get(server, path_of(first, since=since, channel=second))
    assert (raw.body, reset_items(raw)) == (b"2", {second: "epoch"})
    answer = get(server, path_of(first, since=since, channel=second), Accept="application/json").json
    assert [reset["channel"] for reset in answer["reset"]] == [second]


def test_more_resets_than_a_header_holds_are_told_one_answer_after_another(server: Server, channel: str) -> None:
    names = [f"{channel}/{i}/{'x' * 180}" for i in range(20)]
    cursor = ".".join(other_log(publish(server, name)) for name in names)
    told: dict[str, str] = {}
    messages = 0
    with Connection(server) as connection:
        while messages < len(names):
            rest = "".join(f"&channel={name}" for name in names[1:])
            answer = connection.request("GET", path_of(names[0], since=cursor) + rest)
            items = reset_items(answer)
            assert not items.keys() & told.keys()
            told |= items
            cursor, messages = answer.cursor, messages + (answer.status == 200)
    assert set(told) == set(names) and set(told.values()) == {"epoch"}


def test_purge_is_told_to_everybody_held(server: Server, channel: str) -> None:
    publish(server, channel, "x")
    with Connection(server) as poll, EventStream(server, path_of(channel)) as stream, LineStream(server, path_of(channel)) as lines:
        poll.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: subscribers(server, channel)["total"] == 3)
        request(server, "DELETE", f"/api/channels/{channel}")
        name = publish(server, channel, "new")
        assert poll.read_response().reset == "purged"
        reset = stream.next_event()
        assert '"reason":"purged"' in (reset.data or "") and reset.id == name.replace("-1", "-0")
        assert stream.next_event().id == name
        lines.next_line()
        assert lines.next_line()["reset"]["reason"] == "purged"
        assert lines.next_line()["id"] == name
    assert name.endswith("-1")


def test_history_deeper_than_the_window_comes_in_pages(channel: str) -> None:
    with Server("--history-size", "5000", "--history-bytes", "64MiB") as server:
        with EventStream(server, path_of(channel)) as stream:
            start = (stream.next_block() or stream).id
            for first in range(0, 5000, 1000):
                batch = "".join(f'{{"channel":"{channel}","data":"{i}"}}\n' for i in range(first, first + 1000))
                request(server, "POST", "/channels", batch, Content_Type="application/x-ndjson")
        streams = [EventStream(server, path_of(channel, since=cursor)) for cursor in (start, "earliest", "last=4000")]
        for stream, skipped in zip(streams, (0, 0, 1000)):
            assert [stream.next_event().data for _ in range(5000 - skipped)] == [str(i) for i in range(skipped, 5000)]
            stream.close()
        cursor, seen = "earliest", []
        while len(seen) < 5000:
            answer = get(server, path_of(channel, since=cursor), Accept="application/json").json
            assert "reset" not in answer
            seen += [message["data"] for message in answer["messages"]]
            cursor = answer["cursor"]
        assert seen == [str(i) for i in range(5000)]


def test_several_channels_with_one_cursor_in_any_order(server: Server, channel: str) -> None:
    names = [f"{channel}/{letter}" for letter in "abc"]
    target = path_of(names[0]) + "?channel=" + "&channel=".join(names[1:] + names[:1])
    with LineStream(server, target) as stream:
        first = stream.next_line()["cursor"]
        assert len(first.split(".")) == 3
        for number, name in enumerate(names * 2):
            publish(server, name, str(number))
        received = [stream.next_line() for _ in range(6)]
    assert sorted(message["data"] for message in received) == [str(i) for i in range(6)]
    for name in names:
        assert len([message for message in received if message["channel"] == name]) == 2
    for order in itertools.permutations(received[2]["cursor"].split(".")):
        answer = get(server, target + "&since=" + ".".join(order), Accept="application/json").json
        assert sorted(message["id"] for message in answer["messages"]) == sorted(message["id"] for message in received[3:])
    only = get(server, path_of(names[1], since=received[2]["cursor"]), Accept="application/json").json
    assert all(message["channel"] == names[1] for message in only["messages"])


def test_a_channel_without_an_entry_starts_at_now(server: Server, channel: str) -> None:
    first = publish(server, channel + "/a", "old a")
    publish(server, channel + "/b", "old b")
    publish(server, channel + "/a", "new a")
    target = path_of(channel + "/a", channel=channel + "/b", since=first)
    answer = get(server, target, Accept="application/json").json
    assert [message["data"] for message in answer["messages"]] == ["new a"]


def test_sse_ids_of_several_channels_are_joined_cursors(server: Server, channel: str) -> None:
    target = path_of(channel + "/a", channel=channel + "/b")
    with EventStream(server, target) as stream:
        publish(server, channel + "/a", "1")
        publish(server, channel + "/b", "2")
        first, second = stream.next_event(), stream.next_event()
    assert first.id and second.id and len(first.id.split(".")) == 2
    with EventStream(server, target, Last_Event_ID=first.id) as stream:
        again = stream.next_event()
        assert (again.data, again.id) == (second.data, second.id)


def test_sixty_four_channels_are_the_most(server: Server, channel: str) -> None:
    query = "&".join(f"channel={channel}/{i}" for i in range(63))
    assert get(server, f"{path_of(channel)}?wait=0&{query}").status == 204
    assert get(server, f"{path_of(channel)}?wait=0&{query}&channel=one/more").error == "too-many-channels"


def test_memory_limit_drops_the_longest_idle_first_and_never_what_is_held() -> None:
    with Server("--memory-limit", "2MiB", "--history-bytes", "64MiB", "--linger-time", "0") as server:
        text = "x" * 100_000
        first = publish(server, "idle/0", text)
        for i in range(1, 15):
            publish(server, f"idle/{i}", text)
        with EventStream(server, path_of("held", since="earliest")) as stream:
            for i in range(6):
                publish(server, "held", text)
                stream.next_event()
            # What was idle for longest is gone, and whoever asks for it is told.
            assert get(server, path_of("idle/0", since=first, wait=0)).reset == "epoch"
            refused = None
            for i in range(30):
                response = request(server, "POST", path_of("held"), text, Content_Type="text/plain")
                if response.status != 201:
                    refused = response
                    break
                stream.next_event()
            assert refused and (refused.status, refused.error) == (503, "memory-limit")
            assert refused.header("Retry-After")
            with EventStream(server, path_of("held", since="earliest")) as again:
                assert again.next_event().id.endswith("-1")


def test_a_tree_without_room_says_whether_memory_or_channels_are_short() -> None:
    deep = "/".join("abcdefghi")
    with Reloading('[channel "a/**"]\ntree = yes\n[channel "a"]\ntree = yes\n', "--max-channels", "5") as server:
        answer = request(server, "POST", path_of(deep), "x")
        assert (answer.status, answer.error) == (503, "channel-limit")
    with Reloading('[channel "a/**"]\ntree = yes\n[channel "a"]\ntree = yes\n', "--memory-limit", "1MiB", "--history-bytes", "64MiB",
                   "--history-size", "100000", "--linger-time", "0") as server:
        with EventStream(server, path_of("held", since="earliest")) as stream:
            stream.next_block()
            while request(server, "POST", path_of("held"), "x" * 1000).status == 201:
                stream.next_event()
            answer = request(server, "POST", path_of(deep), "x")
            assert (answer.status, answer.error) == (503, "memory-limit")


def test_retention_by_bytes_and_age(channel: str) -> None:
    with Server("--history-bytes", "10KiB", "--history-ttl", "1") as server:
        for i in range(10):
            publish(server, channel, str(i) * 3000)
        kept = get(server, f"/api/channels/{channel}").json
        assert kept["messages"] == 3 and kept["bytes"] <= 10240
        assert kept["oldest"].endswith("-8") and kept["newest"].endswith("-10")
        wait_until(lambda: get(server, f"/api/channels/{channel}").json["messages"] == 0)
        after = get(server, f"/api/channels/{channel}").json
        assert after["oldest"] is None and after["newest"].endswith("-10")
        assert publish(server, channel).endswith("-11")


def test_the_newest_message_is_kept_however_large_it_is(channel: str) -> None:
    with Server("--history-bytes", "10KiB") as server:
        names = [publish(server, channel, data) for data in ("small", "x" * 10240, "y" * 100_000)]
        assert [get(server, path_of(channel, last=1)).body for _ in range(2)] == [b"y" * 100_000] * 2
        kept = get(server, f"/api/channels/{channel}").json
        assert (kept["messages"], kept["oldest"]) == (1, names[2])
        answer = get(server, path_of(channel, since=names[0]))
        assert (answer.reset, answer.body) == ("trimmed; missed=1", b"y" * 100_000)
        publish(server, channel, "small again")
        assert get(server, path_of(channel, since="earliest")).body == b"small again"


def test_history_bytes_zero_keeps_nothing(channel: str) -> None:
    with Server("--history-bytes", "0") as server, EventStream(server, path_of(channel)) as stream:
        publish(server, channel, "live")
        assert stream.next_event().data == "live"
        assert get(server, f"/api/channels/{channel}").json["messages"] == 0


def test_history_size_zero_delivers_but_does_not_replay(channel: str) -> None:
    with Server("--history-size", "0") as server, EventStream(server, path_of(channel)) as stream:
        first = publish(server, channel, "live")
        assert stream.next_event().data == "live"
        assert get(server, path_of(channel, since=first.replace("-1", "-0"), wait=0)).reset == "trimmed; missed=1"


def test_a_poll_whose_time_is_over_as_the_log_is_begun_anew_is_told(channel: str) -> None:
    """Many who wait for odd times, so that some time is over between the reset and the poll's turn to be told."""
    with Server("--shards", "1") as server, contextlib.ExitStack() as stack:
        polls = [stack.enter_context(Connection(server)) for _ in range(300)]
        asked = publish(server, channel)
        for _ in range(8):
            for i, poll in enumerate(polls):
                poll.send(request_bytes("GET", path_of(channel, since=asked, wait=f"0.{500 + i % 50:03}"), Accept="application/json"))
            assert polls[0].read_response().cursor == asked, "its time is over first"
            request(server, "DELETE", f"/api/channels/{channel}")
            for poll in polls[1:]:
                answer = poll.read_response()
                is_told = answer.status == 200 and answer.json["reset"][0]["reason"] == "purged"
                assert is_told or (answer.status == 204 and answer.cursor == asked), answer
            asked = publish(server, channel)
