# SPDX-License-Identifier: MIT
"""Long-poll: raw and JSON, cursors, hold times."""

import threading
import time

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes, subscribers
from support.server import Server, wait_until


def begin_poll(server: Server, target: str, **headers: str) -> Connection:
    connection = Connection(server)
    connection.send(request_bytes("GET", target, **headers))
    return connection


def await_poll(server: Server, channel: str, count: int = 1) -> None:
    wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["poll"] == count)


def test_without_a_cursor_it_waits_for_the_next_message(server: Server, channel: str) -> None:
    publish(server, channel, "before")
    with begin_poll(server, path_of(channel)) as poll:
        await_poll(server, channel)
        name = publish(server, channel, "after", Content_Type="text/markdown")
        response = poll.read_response()
    assert (response.status, response.body) == (200, b"after")
    assert response.header("Content-Type") == "text/markdown"
    assert response.header("Sluice-Channel") == channel
    assert response.header("Sluice-Id") == name == response.cursor
    assert abs(int(response.header("Sluice-Time") or 0) - time.time() * 1000) < 60_000


def test_every_answer_has_a_length_and_is_not_stored(server: Server, channel: str) -> None:
    publish(server, channel)
    for target in (path_of(channel, last=1), path_of(channel, wait=0), path_of(channel, since="now", wait=0)):
        response = get(server, target)
        assert response.header("Transfer-Encoding") is None
        assert response.status == 204 or response.header("Content-Length") == str(len(response.body))
        assert response.header("Cache-Control") == "no-store"
        assert response.cursor


def test_a_cursor_answers_at_once_and_one_after_another(server: Server, channel: str) -> None:
    for i in range(5):
        publish(server, channel, str(i))
    cursor, seen = "earliest", []
    with Connection(server) as connection:
        for _ in range(5):
            response = connection.request("GET", path_of(channel, since=cursor))
            cursor = response.cursor
            seen.append(response.body)
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


def test_json_brings_all_there_is(server: Server, channel: str) -> None:
    ids = [publish(server, channel, str(i)) for i in range(5)]
    answer = get(server, path_of(channel, since=ids[1]), Accept="application/json")
    assert answer.header("Content-Type") == "application/json"
    assert [message["id"] for message in answer.json["messages"]] == ids[2:]
    assert answer.json["cursor"] == answer.cursor == ids[-1]
    assert set(answer.json["messages"][0]) == {"channel", "id", "time", "type", "data"}


def test_nothing_within_the_hold_time_is_204_with_the_same_cursor(channel: str) -> None:
    with Server("--poll-wait", "0.2") as server:
        name = publish(server, channel)
        begun = time.monotonic()
        response = get(server, path_of(channel, since=name))
        assert (response.status, response.body, response.cursor) == (204, b"", name)
        assert time.monotonic() - begun >= 0.2
        assert get(server, path_of(channel, since=name), Accept="application/json").status == 204


@pytest.mark.parametrize("headers", [{"Prefer": "wait=0"}, {"Prefer": "respond-async, wait=0"}])
def test_prefer_wait(server: Server, channel: str, headers: dict[str, str]) -> None:
    assert get(server, path_of(channel), **headers).status == 204


def test_wait_is_capped(channel: str) -> None:
    with Server("--poll-wait", "0.1", "--poll-wait-max", "0.2") as server:
        begun = time.monotonic()
        assert get(server, path_of(channel, wait=3600)).status == 204
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', "{}", '"{}-gzip"', '"{}--gzip"', '"{};gzip"', 'W/"{}-br"', '"{}--br"', '"{}"-gzip', "{}-gzip",
                                  "{};gzip", "W/{}", '"{}-deflate"', '"{}-zstd"'])
def test_if_none_match_as_proxies_hand_it_on(server: Server, channel: str, form: str) -> None:
    first = publish(server, channel, "1")
    publish(server, channel, "2")
    assert get(server, path_of(channel), If_None_Match=form.format(first)).body == b"2"


def test_since_before_last_event_id_before_if_none_match(server: Server, channel: str) -> None:
    ids = [publish(server, channel, str(i)) for i in range(4)]
    headers = {"Last_Event_ID": ids[1], "If_None_Match": f'"{ids[0]}"'}
    assert get(server, path_of(channel, since=ids[2]), **headers).body == b"3"
    assert get(server, path_of(channel), **headers).body == b"2"
    assert get(server, path_of(channel, since=""), If_None_Match=f'"{ids[0]}"').body == b"1"


def test_last_is_for_who_has_no_cursor(server: Server, channel: str) -> None:
    ids = [publish(server, channel, str(i)) for i in range(4)]
    assert get(server, path_of(channel, last=2)).body == b"2"
    assert get(server, path_of(channel, last=99)).body == b"0"
    assert get(server, path_of(channel, since="last=3")).body == b"1"
    assert get(server, path_of(channel, last=4, since=ids[2])).body == b"3"
    assert get(server, path_of(channel, last=0, wait=0)).status == 204


def test_nothing_is_lost_between_two_polls(server: Server, channel: str) -> None:
    """The classic race: a message that comes after the answer and before the next request."""
    total = 300
    cursor = publish(server, channel, "start")
    publisher = threading.Thread(target=lambda: [publish(server, channel, str(i)) for i in range(total)])
    publisher.start()
    seen: list[str] = []
    with Connection(server) as connection:
        while len(seen) < total:
            response = connection.request("GET", path_of(channel, since=cursor), Accept="application/json")
            assert response.status == 200 and "reset" not in response.json, response
            seen += [message["data"] for message in response.json["messages"]]
            cursor = response.json["cursor"]
    publisher.join()
    assert seen == [str(i) for i in range(total)]


def test_many_polls_on_one_connection_while_messages_come(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        cursor = connection.request("GET", path_of(channel, wait=0)).cursor
        for i in range(100):
            connection.send(request_bytes("GET", path_of(channel, since=cursor)))
            if i % 2:
                await_poll(server, channel)
            publish(server, channel, str(i))
            response = connection.read_response()
            assert response.body == str(i).encode()
            cursor = response.cursor


def test_a_broadcast_reaches_every_poll_in_more_than_one_cell(server: Server, channel: str) -> None:
    polls = [begin_poll(server, path_of(channel)) for _ in range(600)]
    await_poll(server, channel, 600)
    publish(server, channel, "all")
    for poll in polls:
        assert poll.read_response().body == b"all"
        poll.close()


def test_html_that_somebody_published_cannot_act_as_a_page_of_ours(server: Server, channel: str) -> None:
    publish(server, channel, "<script>alert(1)</script>", Content_Type="text/html")
    response = get(server, path_of(channel, last=1))
    assert "sandbox" in (response.header("Content-Security-Policy") or "")
    assert response.header("X-Content-Type-Options") == "nosniff"


def test_http10_poll_ends_its_connection(server: Server, channel: str) -> None:
    publish(server, channel, "x")
    with Connection(server) as connection:
        response = connection.request("GET", path_of(channel, last=1), version="HTTP/1.0")
        assert response.body == b"x" and response.header("Transfer-Encoding") is None
        assert connection.is_closed()


def test_an_answer_that_polls_share_is_over_with_its_messages(channel: str) -> None:
    with Server("--shards", "1") as server:
        everything = path_of(channel, since="earliest", wait=0)
        for end in ("purged", "expired"):
            publish(server, channel, "old", Sluice_TTL="1")
            assert [m["data"] for m in get(server, everything, Accept="application/json").json["messages"]] == ["old"]
            if end == "purged":
                assert request(server, "DELETE", f"/api/channels/{channel}").status == 200
                assert get(server, everything, Accept="application/json").status == 204
            wait_until(lambda: get(server, everything, Accept="application/json").status == 204, what=end)


def test_polls_from_different_places_get_different_pages(channel: str) -> None:
    with Server("--shards", "1") as server:
        names = [publish(server, channel, str(i)) for i in range(4)]
        for since, expected in ((names[0], "123"), (names[2], "3"), (names[0], "123"), ("earliest", "0123")):
            answer = get(server, path_of(channel, since=since), Accept="application/json")
            assert "".join(message["data"] for message in answer.json["messages"]) == expected
            assert get(server, path_of(channel, since=since)).body == expected[:1].encode()
        for since, expected in ((names[0], b"1"), (names[2], b"3"), (names[2], b"3"), (names[1], b"2")):
            assert get(server, path_of(channel, since=since)).body == expected
        other = get(server, path_of(channel, since=names[0][:5] + "0000001-1"), Accept="application/json").json
        assert other["reset"] and len(other["messages"]) == 4
        assert "reset" not in get(server, path_of(channel, since="earliest"), Accept="application/json").json
