# SPDX-License-Identifier: MIT
"""How often somebody may connect, subscribe and publish: what is too much is refused with when to come back, and counted."""

import json
import pathlib
import signal
import time
from collections.abc import Callable

import pytest
from support.client import Connection, Response, path_of, request
from support.commands import Commands, raw_commands
from support.redis import metric
from support.server import Server, wait_until
from support.sockjs import Session, messages_of
from support.tcp import Raw, Resp
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket

# One in the burst, then one a second: each way takes the token of an address of its own.
ONCE = ("--shards", "1", "--rate-burst", "0")


def post(server: Server, channel: str, source: str = "127.0.0.1") -> Response:
    with Connection(server, source=source) as connection:
        return connection.request("POST", path_of(channel), "x", Content_Type="text/plain")


def check_refused(response: Response, code: str, option: str) -> None:
    assert (response.status, response.error) == (429, code), response
    assert response.header("Retry-After") == "1" and option in response.json["message"]


def test_an_address_publishes_so_often_and_others_are_not_affected() -> None:
    with Server("--publish-rate", "1", "--rate-burst", "3s") as server:
        assert [post(server, "a").status for _ in range(3)] == [201] * 3
        check_refused(post(server, "b"), "publish-rate", "publish-rate")
        assert post(server, "b", "127.0.0.2").status == 201
        assert metric(server, "publishes_over_rate_total") == 1
        wait_until(lambda: post(server, "a").status == 201, what="the next token")


def test_a_channel_is_published_to_so_often_whoever_does() -> None:
    with Server(*ONCE, "--publish-rate-per-channel", "1") as server:
        assert post(server, "a").status == 201
        check_refused(post(server, "a", "127.0.0.2"), "publish-rate", "publish-rate-per-channel")
        assert post(server, "b", "127.0.0.2").status == 201


def test_a_section_has_a_rate_of_its_own(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "sluice.conf"
    file.write_text('publish-rate-per-channel = 1\nrate-burst = 0\n[channel "quick/**"]\npublish-rate-per-channel = 0\n')
    with Server("--config", str(file)) as server:
        assert [post(server, "quick/1").status for _ in range(5)] == [201] * 5
        assert [post(server, "slow").status for _ in range(2)] == [201, 429]


def test_each_message_of_a_batch_counts() -> None:
    with Server("--publish-rate", "1", "--rate-burst", "2s") as server:
        response = request(server, "POST", "/channels", json.dumps([{"channel": "a", "data": number} for number in range(4)]))
        results = response.json
        assert [result.get("error") for result in results] == [None, None, "publish-rate", "publish-rate"]
        assert all(1 <= result["retry_after"] <= 2 for result in results[2:])
        assert metric(server, "published_total") == 2


def post_as(server: Server, token: str, channel: str = "a") -> int:
    return request(server, "POST", path_of(channel), "x", Content_Type="text/plain", **bearer(token)).status


def test_a_subject_publishes_so_often_whatever_token_he_has() -> None:
    with Server(*ONCE, "--jwt-key", f"HS256:{secret_file()}", "--publish-rate-per-token", "1") as server:
        ann, ann_again, bob = [make_token(publish=["**"], sub=name, jti=number) for name, number in (("ann", "1"), ("ann", "2"), ("bob", "3"))]
        assert [post_as(server, token) for token in (ann, ann_again, bob)] == [201, 429, 201]


def test_a_subject_publishes_so_often_by_commands_too() -> None:
    with Server(*ONCE, "--jwt-key", f"HS256:{secret_file()}", "--publish-rate-per-token", "1") as server, WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        token = make_token(publish=["**"], sub="ann")
        assert commands.ask("auth", token=token)["op"] == "authenticated"
        commands.publish("a", "x")
        assert commands.error("publish", channel="a", data="x") == "publish-rate"
        assert post_as(server, token) == 429
        assert commands.ask("auth", token=make_token(publish=["**"], sub="bob"))["op"] == "authenticated"
        commands.publish("a", "x")


def test_a_subject_subscribes_so_often() -> None:
    with Server(*ONCE, "--jwt-key", f"HS256:{secret_file()}", "--subscribe-rate-per-token", "1") as server:
        token = bearer(make_token(["**"], sub="ann"))
        assert [request(server, "GET", path_of("a", wait=0), **token).status for _ in range(2)] == [204, 429]


def test_who_speaks_for_many_is_not_counted_under_his_address() -> None:
    with Server(*ONCE, "--jwt-key", f"HS256:{secret_file()}", "--publish-rate", "1") as server:
        admin, user = make_token(publish=["**"], admin=True, sub="app"), make_token(publish=["**"], sub="user")
        assert [post_as(server, admin) for _ in range(3)] == [201] * 3
        assert [post_as(server, user) for _ in range(2)] == [201, 429]


def test_who_may_not_publish_takes_nothing_from_a_channel() -> None:
    with Server(*ONCE, "--jwt-key", f"HS256:{secret_file()}", "--publish-rate-per-channel", "1") as server:
        stranger = bearer(make_token(publish=["other"], sub="stranger"))
        batch = json.dumps([{"channel": "a", "data": "x"}] * 3)
        refused = request(server, "POST", "/channels", batch, **stranger)
        assert [item["error"] for item in refused.json] == ["forbidden-channel"] * 3
        friend = bearer(make_token(publish=["a"], sub="friend"))
        first = request(server, "POST", path_of("a"), "x", Content_Type="text/plain", **friend)
        assert first.status == 201 and first.json["id"].endswith("-1")  # nothing of the batch was published


def over_websocket(server: Server) -> tuple[str, str]:
    with WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        commands.publish("a", "x")
        error = commands.ask("publish", channel="a", data="x")
        assert error["retry_after"] == 1
        return error["code"], error["message"]


def over_sockjs(server: Server) -> tuple[str, str]:
    session = Session(server, "/sockjs").open()
    session.put(*[json.dumps({"op": "publish", "channel": "a", "data": "x", "ref": ref}) for ref in range(2)])
    first, second = [json.loads(text) for text in session.take_messages()]
    assert first["op"] == "published" and second["retry_after"] == 1
    return second["code"], second["message"]


def over_sockjs_websocket(server: Server) -> tuple[str, str]:
    with WebSocket(server, f"{Session(server, '/sockjs').url}/websocket") as client:
        assert client.take() == "o"
        client.put_text(json.dumps([json.dumps({"op": "publish", "channel": "a", "data": "x"}) for _ in range(2)]))
        first, second = [json.loads(messages_of(str(client.take()))[0]) for _ in range(2)]
        assert first["op"] == "published"
        return second["code"], second["message"]


def over_a_feed(server: Server) -> tuple[str, str]:
    with WebSocket(server, path_of("a", format="json")) as client:
        client.take()
        client.put_text("x")
        client.put_text("x")
        error = next(found for found in (client.take_json() for _ in range(2)) if "error" in found)
        return error["error"], error["message"]


def over_tcp(server: Server) -> tuple[str, str]:
    with Raw(server) as client:
        assert client.ask(b"PUBLISH a x") == b"CONFIRMED"
        _, code, message = client.ask(b"PUBLISH a x").decode().split(" ", 2)
        return code, message


def over_tcp_json(server: Server) -> tuple[str, str]:
    with Raw(server) as client:
        commands = raw_commands(client)
        commands.publish("a", "x")
        error = commands.ask("publish", channel="a", data="x")
        return error["code"], error["message"]


def over_resp(server: Server) -> tuple[str, str]:
    with Resp(server, 1) as client:
        client.run("PUBLISH", "a", "x")
        _, code, message = str(client.run("PUBLISH", "a", "x")).split(" ", 2)
        return code, message


@pytest.mark.parametrize("way", [over_websocket, over_sockjs, over_sockjs_websocket, over_a_feed, over_tcp, over_tcp_json, over_resp])
@pytest.mark.parametrize("option", ["publish-rate", "publish-rate-per-channel"])
def test_every_way_to_publish_takes_of_the_same_rate(way: Callable[[Server], tuple[str, str]], option: str) -> None:
    with Server(*ONCE, f"--{option}", "1", "--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp") as server:
        code, message = way(server)
        assert code == "publish-rate" and f"({option})" in message and "try again in 1 s" in message
        check_refused(post(server, "a"), "publish-rate", option)
        assert metric(server, "publishes_over_rate_total") == 2


def test_an_address_subscribes_so_often_and_an_event_source_comes_back() -> None:
    with Server("--subscribe-rate", "1", "--rate-burst", "2s") as server:
        assert [request(server, "GET", path_of("a", wait=0)).status for _ in range(2)] == [204, 204]
        check_refused(request(server, "GET", path_of("a", wait=0)), "subscribe-rate", "subscribe-rate")
        stream = request(server, "GET", path_of("a"), Accept="text/event-stream")
        assert stream.status == 200 and int(stream.body.split(b"retry: ")[1].split()[0]) >= 1000
        with WebSocket(server, "/ws") as client:
            assert Commands(client.put_text, client.take).error("subscribe", channels=["a"]) == "subscribe-rate"
        assert metric(server, "subscriptions_over_rate_total") == 3


def test_each_channel_of_a_subscription_counts() -> None:
    with Server("--subscribe-rate", "1", "--rate-burst", "3s") as server, WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        commands.subscribe("a", "b")
        assert commands.error("subscribe", channels=["c", "d"]) == "subscribe-rate"
        commands.publish("c", "x")
        assert commands.has_nothing()


def subscribe_over_websocket(server: Server) -> str:
    with WebSocket(server, "/ws") as client:
        return subscribe_by_commands(Commands(client.put_text, client.take))


def subscribe_by_commands(commands: Commands) -> str:
    commands.subscribe("a")
    error = commands.ask("subscribe", channels=["b"])
    assert (error["code"], error["retry_after"]) == ("subscribe-rate", 1)
    return str(error["message"])


def subscribe_over_tcp_json(server: Server) -> str:
    with Raw(server) as client:
        return subscribe_by_commands(raw_commands(client))


def subscribe_over_tcp(server: Server) -> str:
    with Raw(server) as client:
        assert client.ask(b"SUBSCRIBE a") == b"CONFIRMED"
        return client.ask(b"SUBSCRIBE b").decode()


def subscribe_over_resp(server: Server) -> str:
    with Resp(server, 1) as client:
        client.run("SUBSCRIBE", "a")
        return str(client.run("SUBSCRIBE", "b"))


@pytest.mark.parametrize("way", [subscribe_over_websocket, subscribe_over_tcp_json, subscribe_over_tcp, subscribe_over_resp])
def test_every_way_to_subscribe_is_told_when_to_come_back(way: Callable[[Server], str]) -> None:
    with Server(*ONCE, "--subscribe-rate", "1", "--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp") as server:
        assert "(subscribe-rate); try again in 1 s" in way(server)
        assert metric(server, "subscriptions_over_rate_total") == 1


def look_at(server: Server, *channels: str) -> Response:
    return request(server, "GET", path_of(channels[0], wait=0) + "".join(f"&channel={name}" for name in channels[1:]))


THREE = ("--shards", "1", "--rate-burst", "3s")


def test_a_feed_of_several_channels_that_is_refused_takes_nothing() -> None:
    with Server(*THREE, "--subscribe-rate", "1") as server:
        refused = look_at(server, *"abcd")
        assert (refused.status, refused.error) == (429, "subscribe-rate")
        assert "subscribes 4 times at once, more than subscribe-rate and rate-burst ever allow" in refused.json["message"]
        assert look_at(server, *"abc").status == 204
        assert metric(server, "subscriptions_over_rate_total") == 1


def test_a_command_of_several_channels_that_is_refused_takes_nothing() -> None:
    with Server(*THREE, "--subscribe-rate", "1") as server, WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        error = commands.ask("subscribe", channels=["a", "b", "c", "d"])
        assert error["code"] == "subscribe-rate" and "retry_after" not in error and "4 times at once" in error["message"]
        commands.subscribe("a", "b", "c")
        assert metric(server, "subscriptions_over_rate_total") == 1


def test_what_one_channel_refuses_takes_nothing_of_the_others(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "sluice.conf"
    file.write_text('subscribe-rate-per-channel = 1\nrate-burst = 0\n[channel "free"]\nsubscribe-rate-per-channel = 0\n')
    with Server("--shards", "1", "--config", str(file)) as server:
        assert look_at(server, "busy").status == 204
        assert look_at(server, "free", "idle", "busy").status == 429
        assert look_at(server, "idle").status == 204


def test_a_channel_is_subscribed_to_so_often() -> None:
    with Server(*ONCE, "--subscribe-rate-per-channel", "1") as server:
        assert [request(server, "GET", path_of(name, wait=0)).status for name in "aba"] == [204, 204, 429]


def test_an_address_connects_so_often_and_who_is_connected_stays() -> None:
    with Server("--connect-rate", "1", "--rate-burst", "2s", "--trusted-proxies", "", "--tcp", "127.0.0.1:0 framing=crlf") as server:
        with Connection(server, source="127.0.0.9") as kept, Connection(server, source="127.0.0.9") as second:
            assert kept.request("GET", "/healthz").status == second.request("GET", "/healthz").status == 200
            with Connection(server, source="127.0.0.9") as third:
                refused = third.request("GET", "/healthz")
            assert (refused.status, refused.error) == (429, "connect-rate") and int(refused.header("Retry-After") or 0) > 0
            assert kept.request("GET", "/healthz").status == 200
        begun = time.monotonic()
        answers = []
        while not any(answer.startswith(b"ERROR connect-rate") for answer in answers) and time.monotonic() < begun + 20:
            with Raw(server) as client:
                client.put(b"PING")
                answers.append(client.take())
        assert answers[0] == b"PONG"


def test_rates_change_with_a_reload(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "sluice.conf"
    file.write_text("publish-rate = 1\nrate-burst = 0\n")
    with Server("--config", str(file)) as server:
        assert [post(server, "a").status for _ in range(2)] == [201, 429]
        file.write_text("publish-rate = 0\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: post(server, "a").status == 201)
        assert [post(server, "a").status for _ in range(5)] == [201] * 5
