# SPDX-License-Identifier: MIT
"""Revoking: by id or by subject, on every node, also on one that was away or is started later; what is open ends."""

import concurrent.futures
import contextlib
import errno
import itertools
import json
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from support.client import EventStream, Response, get, path_of, request
from support.cluster import Cluster
from support.faults import FaultyServer
from support.redis import NODE_OPTIONS, QUIET, RedisServer, await_away, await_ready, log_lines, nodes
from support.server import PATIENCE, Server, wait_until
from support.stillness import Watch
from support.tcp import Raw
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket

ADMIN = bearer(make_token(admin=True))
KEPT, BEFORE = "sluice:{$tokens}:u", "sluice:{$tokens}:b"
MOST = 100_000
SOON = 1.0  # seconds after which nothing that hangs on a revoked token is open


def guard() -> tuple[str, ...]:
    return "--jwt-key", f"HS256:{secret_file()}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server(*guard(), "--shards", "3") as running:
        yield running


@pytest.fixture(scope="module")
def couple(redis: RedisServer) -> Iterator[list[Server]]:
    with nodes(2, redis, options=guard()) as running:
        yield running


def revoke(server: Server, *, jti: str | None = None, sub: str | None = None) -> Response:
    target = f"/api/tokens/{jti}" if jti else f"/api/tokens?sub={sub}"
    return request(server, "DELETE", target, **ADMIN)


def look(server: Server, token: str) -> Response:
    return get(server, path_of("a", last=1, wait=0), **bearer(token))


def is_revoked(server: Server, token: str) -> bool:
    response = look(server, token)
    if response.status in (200, 204):
        return False
    assert (response.status, response.error) == (401, "token-revoked"), response
    return True


def await_revoked(server: Server, token: str) -> None:
    wait_until(lambda: is_revoked(server, token), what="the revocation")


@contextlib.contextmanager
def expect_end_soon(stream: EventStream) -> Iterator[None]:
    """What is done within ends the stream, with an event that says why, within a second."""
    with Watch() as watch:
        yield
        event = stream.next_event()
        assert event.event == "expired", event
        assert json.loads(event.data or "")["error"] == "token-revoked", event
        assert stream.next_block() is None
    assert watch.seconds < SOON


def test_a_token_is_revoked_by_its_id_on_all_shards(guarded: Server) -> None:
    token, other = make_token(["a"], jti="one"), make_token(["a"], jti="two")
    streams = [EventStream(guarded, path_of("a"), **bearer(token)) for _ in range(12)]
    kept = EventStream(guarded, path_of("a"), **bearer(other))
    for stream in [*streams, kept]:
        assert stream.next_block().event == "subscribed"
    with contextlib.ExitStack() as all_of_them:
        for stream in streams:
            all_of_them.enter_context(expect_end_soon(stream))
        response = revoke(guarded, jti="one")
        assert response.status == 200
        assert (response.json["revoked"], response.json["id"]) == ("token", "one")
        assert abs(response.json["until"] / 1000 - time.time() - 30 * 86400) < 60
    assert all(is_revoked(guarded, token) for _ in range(12))
    assert not is_revoked(guarded, other)
    assert request(guarded, "POST", "/channels/a", "x", **bearer(make_token(publish=["a"]))).status == 201
    assert kept.next_event().data == "x"


def test_a_subject_is_revoked_with_all_that_was_issued_by_then(guarded: Server) -> None:
    old, undated = make_token(["a"], sub="anna"), make_token(["a"], sub="anna", iat=None)
    bob, ahead = make_token(["a"], sub="bob"), make_token(["a"], sub="anna", iat=int(time.time()) + 20)
    assert not is_revoked(guarded, ahead)
    stream = EventStream(guarded, path_of("a"), **bearer(old))
    assert stream.next_block().event == "subscribed"
    with expect_end_soon(stream):
        response = revoke(guarded, sub="anna")
        assert response.status == 200 and response.json["sub"] == "anna"
    assert is_revoked(guarded, old) and is_revoked(guarded, undated) and not is_revoked(guarded, bob)
    assert is_revoked(guarded, ahead), "the issuer's clock may be half a minute ahead of ours"
    before = response.json["before"] / 1000
    assert 25 < before - time.time() <= 30
    later = make_token(["a"], sub="anna", iat=int(before) + 1)
    wait_until(lambda: look(guarded, later).status != 401, what="a token that was issued later")


SENDS_BEFORE_WAITING = 3  # of libmicrohttpd, until it waits for the socket to have room


class LateWebSocket(WebSocket):
    """Its 101 finds no room at first; what is done in `meanwhile` comes before the client gets it."""

    def __init__(self, server: FaultyServer, target: str, meanwhile: Callable[[], object], **headers: str) -> None:
        self.server, self.meanwhile = server, meanwhile
        self.tried_before = server.calls("send")
        server.fail_all("send", errno.EAGAIN)
        super().__init__(server, target, **headers)

    def read_head(self) -> Response:
        wait_until(lambda: self.server.calls("send") >= self.tried_before + SENDS_BEFORE_WAITING, what="a 101 that waits")
        self.server.mend("send")
        self.meanwhile()
        assert not select.select([self.socket], [], [], 0)[0], "the 101 came too early"
        self.put_json({"op": "publish", "channel": "a", "data": "late"})  # then the server looks at the socket again
        return super().read_head()


@pytest.mark.parametrize("target", ["/channels/a", "/channels/a?since=earliest", "/ws", "/raw/websocket"])
@pytest.mark.parametrize("revoked", [{"jti": "late"}, {"sub": "lara"}])
def test_what_is_revoked_during_its_handshake_is_told_nothing_and_publishes_nothing(target: str, revoked: dict[str, str]) -> None:
    token = make_token(["a"], ["a"], sub="lara", jti="late")

    def meanwhile() -> None:
        assert revoke(server, **revoked).status == 200
        await_revoked(server, token)
        assert request(server, "POST", "/channels/a", "secret", **bearer(make_token(publish=["a"]))).status == 201

    with FaultyServer(*guard(), "--sockjs", "/raw app=publish:a feed=a") as server:
        with LateWebSocket(server, target, meanwhile, **bearer(token)) as socket:
            code, reason = socket.take_frame().close
            assert code == 4401 and "token" in reason, reason
        kept = get(server, path_of("a", last=9, wait=0, transport="json"), **bearer(make_token(["a"]))).json["messages"]
        assert [message["data"] for message in kept] == ["secret"]


def revoke_until(server: Server, sub: str, before: object) -> Response:
    return request(server, "DELETE", f"/api/tokens?sub={sub}&before={before}", **ADMIN)


def test_a_subject_is_revoked_until_a_second_of_the_issuers_clock(guarded: Server) -> None:
    then = int(time.time()) - 3
    undated, early, at_last, next_one = (make_token(["a"], sub="ida", iat=iat) for iat in (None, then - 60, then + 0.9, then + 1))
    response = revoke_until(guarded, "ida", then)
    assert response.status == 200 and response.json["before"] == then * 1000 + 999
    for token in (undated, early, at_last):
        await_revoked(guarded, token)
    assert not is_revoked(guarded, next_one), "who signs in again is in again at once"
    assert revoke(guarded, sub="ida").status == revoke_until(guarded, "ida", then).status == 200
    await_revoked(guarded, next_one)
    assert is_revoked(guarded, next_one), "what reaches further counts"


def test_what_is_open_goes_on_when_it_was_issued_after_what_is_revoked(guarded: Server) -> None:
    then = int(time.time()) - 3
    old, new = (EventStream(guarded, path_of("a"), **bearer(make_token(["a"], sub="eva", iat=iat))) for iat in (then, then + 1))
    assert [stream.next_block().event for stream in (old, new)] == ["subscribed"] * 2
    with expect_end_soon(old):
        assert revoke_until(guarded, "eva", then).status == 200
    assert request(guarded, "POST", "/channels/a", "still here", **bearer(make_token(publish=["a"]))).status == 201
    assert new.next_event().data == "still here"


def test_before_is_a_time_that_may_have_come(guarded: Server) -> None:
    for before in ("", "x", "-1", "1.5", int(time.time()) + 60, 2**64 - 1, 2**64):
        response = revoke_until(guarded, "fred", before)
        assert (response.status, response.error) == (400, "bad-option") and "whole seconds" in response.json["message"]
    response = request(guarded, "DELETE", "/api/tokens/x?before=1", **ADMIN)
    assert (response.status, response.error) == (400, "bad-option")
    assert not is_revoked(guarded, make_token(["a"], sub="fred", iat=None))
    assert revoke_until(guarded, "fred", int(time.time()) + 30).status == revoke_until(guarded, "fred", 0).status == 200


def test_revoking_is_for_administrators_and_has_a_form(guarded: Server) -> None:
    def error(response: Response) -> tuple[int, str]:
        return response.status, response.error

    assert error(request(guarded, "DELETE", "/api/tokens/x")) == (401, "no-token")
    assert error(request(guarded, "DELETE", "/api/tokens/x", **bearer(make_token(["**"])))) == (403, "forbidden-admin")
    assert error(request(guarded, "DELETE", "/api/tokens", **ADMIN)) == (400, "bad-option")
    assert error(request(guarded, "DELETE", "/api/tokens/", **ADMIN)) == (400, "bad-option")
    assert error(request(guarded, "DELETE", "/api/tokens/a%0Ab", **ADMIN)) == (400, "bad-option")
    assert error(request(guarded, "DELETE", "/api/tokens/%FF", **ADMIN)) == (400, "bad-option")
    assert error(request(guarded, "DELETE", "/api/tokens?sub=", **ADMIN)) == (400, "bad-option")
    assert error(request(guarded, "DELETE", "/api/tokens?sub=" + "x" * 256, **ADMIN)) == (400, "bad-option")
    assert error(request(guarded, "GET", "/api/tokens/x", **ADMIN)) == (405, "method-not-allowed")
    assert request(guarded, "DELETE", "/api/tokens/a%2Fb%20c", **ADMIN).json["id"] == "a/b c"
    assert is_revoked(guarded, make_token(["a"], jti="a/b c"))


def test_a_revocation_reaches_the_other_node_and_what_is_open_there(couple: list[Server]) -> None:
    token, named = make_token(["a"], jti="shared"), make_token(["a"], sub="carl")
    for number, (victim, revoked) in enumerate(((token, {"jti": "shared"}), (named, {"sub": "carl"}))):
        streams = [EventStream(node, path_of("a"), **bearer(victim)) for node in couple]
        for stream in streams:
            assert stream.next_block().event == "subscribed"
        with expect_end_soon(streams[0]), expect_end_soon(streams[1]):
            assert revoke(couple[number], **revoked).status == 200
        assert is_revoked(couple[number], victim)
        await_revoked(couple[1 - number], victim)


def test_a_node_that_is_started_later_refuses_the_token_too(redis: RedisServer, couple: list[Server]) -> None:
    tokens = [make_token(["a"], jti=f"early/{i}") for i in range(30)]
    for i in range(30):
        assert revoke(couple[0], jti=f"early%2F{i}").status == 200
    with nodes(1, redis, options=guard()) as (late,):
        for token in tokens:
            await_revoked(late, token)
        assert not is_revoked(late, make_token(["a"], jti="early"))


def plant(redis: RedisServer, names: Iterable[str], life_s: float = 600) -> None:
    """What nodes have revoked, as Redis keeps it."""
    now_ms = int(time.time() * 1000)
    who = {f"token {name}": now_ms + int(life_s * 1000) for name in names}
    redis.client.zadd(KEPT, who)
    redis.client.hset(BEFORE, mapping={name: now_ms for name in who})


def test_more_revocations_than_one_page_are_read(redis: RedisServer) -> None:
    plant(redis, [f"many/{i}" for i in range(2500)])
    with nodes(1, redis, options=guard()) as (late,):
        for i in (0, 999, 1000, 1001, 2499):
            await_revoked(late, make_token(["a"], jti=f"many/{i}"))


def test_what_else_stands_where_revocations_are_kept_is_passed_over(redis: RedisServer) -> None:
    until, now = int(time.time() + 600) * 1000, int(time.time()) * 1000
    redis.client.zadd(KEPT, {"": until, "x": until, "token ": until, "key x": until, "token " + "x" * 256: until,
                             "token x": float("-inf"), "token y": float("inf"), "token z": 1e30})
    redis.client.zadd(KEPT, {"token behind them": until, "subject without a time": until})
    redis.client.hset(BEFORE, mapping={"token behind them": "x", "nobody": "1"})
    with nodes(1, redis, options=guard()) as (late,):
        await_revoked(late, make_token(["a"], jti="behind them"))
        redis.client.execute_command("SPUBLISH", "sluice:{$tokens}:r", "nonsense")
        redis.client.execute_command("SPUBLISH", "sluice:{$tokens}:r", f"{until} subject {now} dora")
        await_revoked(late, make_token(["a"], sub="dora", iat=now // 1000))
        assert not is_revoked(late, make_token(["a"], jti="x"))
        assert is_revoked(late, make_token(["a"], sub="without a time"))
    redis.client.delete(KEPT, BEFORE)
    redis.client.set(KEPT, "no set")
    with Server("--broker", redis.url(), *NODE_OPTIONS, *guard()) as server:
        wait_until(lambda: log_lines(server, "broker-refused"))
        assert KEPT in log_lines(server, "broker-refused")[0]["reason"]
        assert get(server, "/readyz").status == 503
        redis.client.delete(KEPT)
        await_ready(server)


def test_without_redis_nothing_is_revoked_and_a_node_that_was_away_learns_of_it_later() -> None:
    with RedisServer(aof=True) as redis, nodes(2, redis, options=guard()) as (one, two):
        token, later = make_token(["a"], jti="before"), make_token(["a"], jti="behind its back")
        assert revoke(one, jti="before").status == 200
        await_revoked(two, token)
        redis.kill()
        for node in (one, two):
            await_away(node)
        response = revoke(one, jti="meanwhile")
        assert (response.status, response.error) == (503, "broker-down")
        assert not is_away_revoked(one, make_token(["a"], jti="meanwhile"))
        with one.frozen(), two.frozen():  # so that no node listens
            redis.start()
            plant(redis, ["behind its back"])
        for node in (one, two):
            await_ready(node)
            await_revoked(node, later)
            assert is_revoked(node, token)
        with nodes(1, redis, options=guard()) as (late,):
            await_revoked(late, token)


def test_a_revocation_that_was_answered_outlasts_the_death_of_redis() -> None:
    """Redis is killed again and again while both nodes revoke. What is answered otherwise may hold or not."""
    answered: list[str] = []
    others: set[tuple[int, str]] = set()
    is_over = threading.Event()

    def go_on(node: Server, name: str) -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            response = revoke(node, jti=f"{name}-{number}")
            if response.status == 200:
                answered.append(f"{name}-{number}")
            else:
                others.add((response.status, response.error))

    with RedisServer(aof=True) as redis, nodes(2, redis, options=guard()) as couple, concurrent.futures.ThreadPoolExecutor(2) as pool:
        last: set[str] = set()
        try:
            ways = [pool.submit(go_on, node, f"n{i}") for i, node in enumerate(couple)]
            for _ in range(5):
                count = len(answered)
                wait_until(lambda count=count: len(answered) >= count + 20 or any(way.done() for way in ways))  # type: ignore[misc]
                redis.kill()
                last |= set(answered[-20:])
                redis.start()
        finally:
            is_over.set()
        for way in ways:
            way.result()
        assert others <= {(503, "broker-down")}
        assert {f"token {jti}".encode() for jti in answered} <= set(redis.client.zrange(KEPT, 0, -1))
        with nodes(1, redis, options=guard()) as (late,):
            for node in (*couple, late):
                await_ready(node)
                for jti in last:
                    await_revoked(node, make_token(["a"], jti=jti))


def is_away_revoked(server: Server, token: str) -> bool:
    """While the broker is down everything else is answered by 503."""
    response = look(server, token)
    return response.status == 401


def test_what_is_over_is_dropped_from_redis(redis: RedisServer) -> None:
    with nodes(1, redis, options=guard()) as (node,):
        redis.client.delete(KEPT, BEFORE)
        plant(redis, [f"over/{i}" for i in range(5)], life_s=-10)
        assert revoke(node, jti="fresh").status == 200
        assert redis.client.zrange(KEPT, 0, -1) == redis.client.hkeys(BEFORE) == [b"token fresh"]


def test_revoking_again_takes_no_room_and_nothing_is_pushed_out_by_what_is_new() -> None:
    """The node is not to lose Redis meanwhile: it would read what is planted, and hold that for longer than Redis."""
    with RedisServer() as redis, nodes(1, redis, options=(*guard(), *QUIET)) as (node,):
        assert revoke(node, jti="first").status == 200
        for _ in range(50):
            assert revoke(node, jti="again").status == 200
            assert revoke(node, sub="anna").status == 200
        assert redis.client.zcard(KEPT) == redis.client.hlen(BEFORE) == 3
        plant(redis, [f"many/{i}" for i in range(MOST - 3)])
        response = revoke(node, jti="one-too-many")
        assert (response.status, response.error) == (503, "too-many-revoked"), response
        assert response.header("Retry-After")
        assert revoke(node, jti="again").status == 200
        with nodes(1, redis, options=guard(), is_ready=False) as (late,):
            await_ready(late, 3 * PATIENCE)  # a hundred pages
            assert is_revoked(late, make_token(["a"], jti="first")) and is_revoked(late, make_token(["a"], jti="many/0"))
            response = revoke(late, jti="one-too-many")
            assert (response.status, response.error) == (503, "too-many-revoked"), response
            assert revoke(late, jti="first").status == 200
            assert not is_revoked(late, make_token(["a"], jti="one-too-many"))
        # Room comes with those that are over, in Redis and in the node.
        plant(redis, ["many/0"], life_s=-1)
        assert revoke(node, jti="one-too-many").status == 200


def test_what_an_older_sluice_has_revoked_stays_revoked(redis: RedisServer) -> None:
    until, now = int(time.time() + 600) * 1000, int(time.time()) * 1000
    for form in (f"{until} token {now} old", f"{until} subject {now} olga", f"{until + 1} subject {now - 9} olga", "nonsense"):
        redis.client.xadd("sluice:{$tokens}:z", {"form": form})
    with nodes(1, redis, options=guard()) as (node,):
        assert is_revoked(node, make_token(["a"], jti="old")) and is_revoked(node, make_token(["a"], sub="olga", iat=now // 1000))
        assert not redis.client.exists("sluice:{$tokens}:z")
        assert redis.client.zscore(KEPT, "subject olga") == until + 1 and redis.client.hget(BEFORE, "subject olga") == b"%d" % now


def test_no_token_is_good_before_it_is_known_which_are_revoked() -> None:
    """A node that is started while Redis is away; what it knows then stays in force when Redis goes again."""
    token = make_token(["a"], jti="lost")
    with RedisServer(aof=True) as redis:
        with nodes(1, redis, options=guard()) as (node,):
            assert revoke(node, jti="lost").status == 200
        redis.kill()
        with Server("--broker", redis.url(), *NODE_OPTIONS, *guard(), "--shards", "3",
                    "--tcp", "127.0.0.1:0 framing=crlf") as server:
            assert get(server, "/readyz").status == 503
            response = look(server, token)
            assert (response.status, response.error) == (503, "broker-down") and "revoked" in response.json["message"]
            assert response.header("Retry-After")
            assert look(server, make_token(["a"], key="f" * 64)).status == 401  # bad is bad
            assert get(server, path_of("a", last=1, wait=0)).status == 401  # none is none
            stream = EventStream(server, path_of("a"), **bearer(token))  # comes back by itself
            assert (stream.until(b"\n") or b"").startswith(b"retry:")
            with Raw(server) as client:
                assert client.ask(b"AUTH " + token.encode()).startswith(b"ERROR broker-down ")
            redis.start()
            await_ready(server)
            assert is_revoked(server, token)
            assert look(server, make_token(["a"])).status in (200, 204)
            redis.kill()
            await_away(server)
            assert is_revoked(server, token)


def test_revocations_travel_in_a_cluster() -> None:
    with Cluster() as cluster, nodes(2, cluster.url(), options=guard()) as (one, two):
        token = make_token(["a"], jti="everywhere")
        assert revoke(one, jti="everywhere").status == 200
        assert is_revoked(one, token)
        await_revoked(two, token)
        assert not log_lines(two, "broker-refused")
