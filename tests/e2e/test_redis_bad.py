# SPDX-License-Identifier: MIT
"""What answers is not the Redis that is needed: one clear line says what to do, the process lives on, and works when it can."""

import json
import re
import socket
from collections.abc import Callable

import pytest
from support.client import get, path_of, publish, request
from support.redis import Port, RedisServer, await_away, await_ready, complaints, nodes
from support.relay import Peer, words_of
from support.server import Server, wait_until


def is_refused(server: Server, channel: str, error: str = "broker-down") -> bool:
    """The process lives, is not ready, and takes no message; nothing waits for long."""
    assert get(server, "/healthz").status == 200
    assert get(server, "/readyz").status == (503 if error == "broker-down" else 200)
    for target, body in ((path_of(channel), "x"), ("/channels", json.dumps([{"channel": channel, "data": "x"}]))):
        response = request(server, "POST", target, body, Content_Type="application/json" if body != "x" else "text/plain")
        if response.status == 200:
            assert response.json[0]["error"] == error, response
        else:
            assert (response.status, response.error) == (503, error) and response.header("Retry-After"), response
    return True


def one_line(server: Server, word: str) -> dict[str, str]:
    """The one line that complains: it says what is wrong and what to do."""
    lines = wait_until(lambda: complaints(server), what="a line in the log")
    assert len(lines) == 1, lines
    assert re.search(f"(?i){word}", lines[0]["reason"] + lines[0]["action"]), lines[0]
    return lines[0]


def works(server: Server, channel: str) -> None:
    await_ready(server)
    assert publish(server, channel).endswith("-1")


def test_a_wrong_password(channel: str) -> None:
    with RedisServer(password="right") as redis:
        with nodes(1, redis.url(password="wrong"), is_ready=False) as (server,):
            one_line(server, "password")
            assert is_refused(server, channel)
            rejected = redis.client.info("stats")["total_connections_received"]
            wait_until(lambda: redis.client.info("stats")["total_connections_received"] >= rejected + 2)
            assert "wrong" not in one_line(server, "password").values()
            redis.client.config_set("requirepass", "wrong")
            works(server, channel)


def test_no_password_where_one_is_needed(channel: str) -> None:
    with RedisServer(password="right") as redis:
        with nodes(1, f"redis://127.0.0.1:{redis.port}/0", is_ready=False) as (server,):
            one_line(server, "password|NOAUTH")
            assert is_refused(server, channel)
            redis.client.config_set("requirepass", "")
            works(server, channel)


@pytest.mark.parametrize("rights", [("+@all", "~other*", "&*"), ("+@all", "~*", "resetchannels"), ("+ping", "~*", "&*")])
def test_a_user_who_may_not_do_enough(channel: str, rights: tuple[str, ...]) -> None:
    with RedisServer() as redis:
        redis.client.execute_command("ACL", "SETUSER", "sluice", "on", ">secret", *rights)
        with nodes(1, redis.url(user="sluice", password="secret"), is_ready=False) as (server,):
            wait_until(lambda: complaints(server) or (get(server, "/readyz").status == 200 and
                                                      request(server, "POST", path_of(channel), "x").status == 503 and
                                                      complaints(server)), what="a line in the log")
            one_line(server, "NOPERM|permission|ACL|may not|rights")
            assert get(server, "/healthz").status == 200
            redis.client.execute_command("ACL", "SETUSER", "sluice", "+@all", "~*", "&*")
            works(server, channel)


def test_a_database_that_is_not_there(channel: str) -> None:
    port = Port()
    with RedisServer(port=port) as redis, nodes(1, redis.url(db=99), is_ready=False) as (server,):
        one_line(server, "database")
        assert is_refused(server, channel)
        redis.kill()
        with RedisServer("--databases", "128", port=port):
            works(server, channel)
    port.release()


def test_a_fault_that_follows_another_is_told_too(channel: str) -> None:
    """Redis was away, which is in the log; now it is there and wants another password, which has to be there too."""
    port = Port()
    with nodes(1, f"redis://:wrong@127.0.0.1:{port.number}/0", is_ready=False) as (server,):
        wait_until(lambda: len(complaints(server)) == 1)
        with RedisServer(password="right", port=port) as redis:
            wait_until(lambda: "password" in str(complaints(server)[1:]), what="a line about the password")
            redis.client.config_set("requirepass", "wrong")
            works(server, channel)
    port.release()


def speak_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def hang_up(connection: socket.socket) -> None:
    connection.recv(1)


def say_forever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def say_frames_forever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"+OK\r\n" * 10_000)


def claim(head: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(head)
        say_nothing(connection)

    return talk


def claim_and_send(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"$4000000000\r\n")
    say_forever(connection)


STRANGERS = {
    "http": speak_http, "silent": say_nothing, "hang-up": hang_up, "endless": say_forever, "frames": say_frames_forever,
    "huge-bulk": claim(b"$999999999999\r\n"), "huge-array": claim(b"*2147483647\r\n"), "deep": claim(b"*1\r\n" * 1_000_000),
    "negative": claim(b"*-7\r\n$-9\r\n"), "zeros": claim(bytes(100_000)), "bulk-that-comes": claim_and_send,
}


@pytest.mark.parametrize("name", STRANGERS)
def test_something_that_is_no_redis(channel: str, name: str) -> None:
    with Peer(STRANGERS[name]) as peer, nodes(1, f"redis://127.0.0.1:{peer.port}/0", is_ready=False,
                                              options=("--redis-timeout", "300ms")) as (server,):
        wait_until(lambda: peer.accepted >= 6, what="several tries")
        one_line(server, "Redis")
        assert is_refused(server, channel)
        assert server.resident_bytes() < 600 << 20
        peer.close()
        with RedisServer(port=peer.claim):
            works(server, channel)


def old_redis(connection: socket.socket) -> None:
    """Enough of Redis 5 to be asked for its version."""
    while words := words_of(connection):
        word = words[0].upper()
        if word == b"INFO":
            text = b"# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\n"
            text += b"# Replication\r\nrole:master\r\nmaster_replid:" + b"a" * 40
            connection.sendall(b"$%d\r\n%s\r\n" % (len(text), text))
        elif word == b"PING":
            connection.sendall(b"+PONG\r\n")
        elif word in (b"AUTH", b"SELECT", b"CLIENT"):
            connection.sendall(b"+OK\r\n")
        elif word == b"ROLE":
            connection.sendall(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
        else:
            connection.sendall(b"-ERR unknown command `%s`, with args beginning with: \r\n" % words[0])


def test_a_redis_below_6(channel: str) -> None:
    with Peer(old_redis) as peer, nodes(1, f"redis://127.0.0.1:{peer.port}/0", is_ready=False) as (server,):
        wait_until(lambda: peer.accepted >= 4, what="several tries")
        assert "5.0.14" in str(one_line(server, "6"))
        assert is_refused(server, channel)
        peer.close()
        with RedisServer(port=peer.claim):
            works(server, channel)


def test_a_replica_that_takes_no_writes(channel: str) -> None:
    with RedisServer() as master, RedisServer(replica_of=master) as redis:
        wait_until(lambda: redis.replication("master_link_status") == "up")
        with nodes(1, redis, is_ready=False) as (server,):
            one_line(server, "replica|read-only|READONLY|master")
            assert is_refused(server, channel)
            redis.client.execute_command("REPLICAOF", "NO", "ONE")
            works(server, channel)


def test_a_master_that_becomes_a_replica(channel: str) -> None:
    with RedisServer() as other, RedisServer() as redis, nodes(1, redis) as (server,):
        publish(server, channel, "before")
        redis.client.execute_command("REPLICAOF", "127.0.0.1", other.port)
        wait_until(lambda: request(server, "POST", path_of(channel), "x").status == 503)
        await_away(server)
        assert re.search("(?i)replica|read-only|READONLY|master", str(complaints(server)))
        redis.client.execute_command("REPLICAOF", "NO", "ONE")
        await_ready(server)
        publish(server, channel, "after")
        assert get(server, path_of(channel, last=1)).body == b"after"
