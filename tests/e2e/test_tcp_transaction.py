# SPDX-License-Identifier: MIT
"""MULTI and EXEC around PUBLISH, as Redis itself answers them, and through its clients."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from support.client import get, publish
from support.redis import RedisServer, asking_context, nodes
from support.server import Server, wait_until
from support.tcp import Resp, command, tcp_port

redis_py = pytest.importorskip("redis")

NODE_PATH = "/usr/share/nodejs:/usr/lib/nodejs"
NODE_PROGRAM = """
const { createClient } = require('redis');
(async () => {
    const client = createClient({ url: `redis://127.0.0.1:${process.argv[1]}/0`, name: 'app' });
    await client.connect();
    const heard = [];
    const subscriber = client.duplicate();
    await subscriber.connect();
    await subscriber.subscribe('node/tx', message => heard.push(message));
    const answers = await client.multi().publish('node/tx', 'a').ping().publish('node/tx', 'b').exec();
    while (heard.length < 2)
        await new Promise(resolve => setTimeout(resolve, 5));
    console.log(JSON.stringify([answers, heard, await client.pubSubNumSub('node/tx'), await client.pubSubChannels('node/t?')]));
    await subscriber.quit();
    await client.quit();
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--tcp", "127.0.0.1:0 framing=resp", "--message-size", "20000", "--shards", "2") as running:
        yield running


@pytest.mark.parametrize("commands", [
    pytest.param(("MULTI", "PUBLISH a x", "PING", "ECHO y", "EXEC", "PING"), id="whole"),
    pytest.param(("MULTI", "EXEC"), id="empty"),
    pytest.param(("EXEC", "DISCARD", "PING"), id="without"),
    pytest.param(("MULTI", "PUBLISH a x", "DISCARD", "EXEC"), id="discarded"),
    pytest.param(("MULTI", "MULTI", "PING", "EXEC"), id="nested"),
    pytest.param(("MULTI", "FLY a", "PING", "EXEC", "PING"), id="unknown"),
    pytest.param(("MULTI", "PUBLISH a", "PING", "EXEC", "MULTI", "PING", "EXEC"), id="arity"),
    pytest.param(("MULTI", "FLY", "DISCARD", "MULTI", "PING", "EXEC"), id="discarded-after-an-error"),
    pytest.param(("WATCH a b", "MULTI", "PUBLISH a x", "EXEC", "UNWATCH"), id="watch"),
    pytest.param(("MULTI", "WATCH a", "UNWATCH", "EXEC"), id="watch-inside"),
    pytest.param(("MULTI", "SELECT 0", "CLIENT SETNAME x", "PING a b", "EXEC"), id="small-ones"),
    pytest.param(("MULTI", "PING", "RESET", "EXEC", "PING"), id="reset"),
    pytest.param(("SUBSCRIBE a", "MULTI", "RESET", "MULTI", "PING", "EXEC"), id="subscribed"),
    pytest.param(("SELECT 0", "SELECT x", "SELECT", "PING x", "MULTI a", "UNWATCH", "WATCH"), id="select"),
])
def test_transactions_are_answered_as_redis_answers_them(server: Server, redis: RedisServer, commands: tuple[str, ...]) -> None:
    with Resp(server) as client, Resp(None, port=redis.port, tls=asking_context()) as model:
        assert client.run_all(*commands) == model.run_all(*commands)
    with Resp(server) as client, Resp(None, port=redis.port, tls=asking_context()) as model:
        assert [client.run(*text.split(" ")) for text in commands] == [model.run(*text.split(" ")) for text in commands]


def test_other_databases_are_refused_as_a_cluster_refuses_them(server: Server) -> None:
    with Resp(server) as client:
        assert str(client.run("SELECT", "1")).startswith("-ERR DB index is out of range: there is only database 0")


@pytest.mark.parametrize("words", [("SUBSCRIBE", "a"), ("XRANGE", "a", "-", "+"), ("PUBSUB", "NUMPAT"), ("HELLO", "3")])
def test_what_is_not_answered_shortly_is_not_for_transactions(server: Server, words: tuple[str, ...]) -> None:
    with Resp(server) as client:
        assert client.run("MULTI") == "+OK"
        assert client.run(*words) == "-ERR Command not allowed inside a transaction"
        assert str(client.run("EXEC")).startswith("-EXECABORT ")


@pytest.mark.parametrize("has_transaction", [True, False])
def test_pipelines_of_redis_py(server: Server, channel: str, has_transaction: bool) -> None:
    with redis_py.Redis(port=tcp_port(server), client_name="app", db=0) as client:
        pubsub = client.pubsub()
        pubsub.subscribe(channel)
        pubsub.get_message(timeout=20)
        pipeline = client.pipeline(transaction=has_transaction)
        for number in range(3000):
            pipeline.publish(channel, f"{number:01000}")
        pipeline.echo("x")
        assert pipeline.execute() == 3000 * [1] + [b"x"]
        for number in range(3000):
            assert (pubsub.get_message(timeout=20) or {})["data"] == b"%01000d" % number
        pipeline.publish(channel, "a").publish("bad//name", "b").publish(channel, "c")
        answers = pipeline.execute(raise_on_error=False)
        assert answers[0] == answers[2] == 1 and "bad-channel" in str(answers[1])
        assert client.transaction(lambda pipe: pipe.multi() or pipe.publish(channel, "d"), "watched") == [1]
        pubsub.close()


def test_an_error_in_a_pipeline_publishes_nothing(server: Server, channel: str) -> None:
    with redis_py.Redis(port=tcp_port(server)) as client:
        pipeline = client.pipeline()
        pipeline.publish(channel, "a").set("x", "y")
        with pytest.raises(redis_py.ResponseError, match="unknown command 'SET'"):
            pipeline.execute()
        assert get(server, f"/api/channels/{channel}").status == 404
        assert client.ping()


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="needs redis-tools")
def test_redis_cli(server: Server, channel: str) -> None:
    text = f"MULTI\nPUBLISH {channel} 'a b'\nPING\nEXEC\nPUBSUB NUMPAT\nRESET\nSELECT 0\n"
    result = subprocess.run(["redis-cli", "-p", str(tcp_port(server))], input=text, capture_output=True, text=True,
                            timeout=20, check=True)
    assert result.stdout.split("\n") == ["OK", "QUEUED", "QUEUED", "0", "PONG", "0", "RESET", "OK", ""]


@pytest.mark.skipif(not shutil.which("node") or not os.path.isdir("/usr/share/nodejs/redis"), reason="needs node-redis")
def test_node_redis(server: Server) -> None:
    result = subprocess.run(["node", "-e", NODE_PROGRAM, str(tcp_port(server))], capture_output=True, text=True, timeout=30,
                            env={**os.environ, "NODE_PATH": NODE_PATH}, check=False)
    assert result.stdout == '[[1,"PONG",1],["a","b"],{"node/tx":1},["node/tx"]]\n', result.stdout + result.stderr


def test_what_is_published_meanwhile_never_stands_in_the_answer(server: Server, channel: str) -> None:
    with Resp(server) as client:
        client.run("HELLO", "3")
        client.send(command("SUBSCRIBE", channel))
        assert client.read_until(b":1\r\n").startswith(b">3\r\n$9\r\nsubscribe\r\n")
        client.send(command("MULTI") + 3000 * command("PUBLISH", channel, "x") + command("EXEC") + command("PING"))
        assert [client.reply() for _ in range(3001)] == ["+OK"] + 3000 * ["+QUEUED"]
        assert client.reply() == 3000 * [1]
        assert client.reply() == "+PONG"
        while len(client.pushes) < 3000:
            client.pushes.append([client.value(client.take()) for _ in range(int(client.take()[1:]))])
        assert all(push == [b"message", channel.encode(), b"x"] for push in client.pushes)


def test_a_transaction_that_is_too_large_is_refused_whole(server: Server, channel: str) -> None:
    with Resp(server) as client:
        assert client.run("MULTI") == "+OK"
        answers = [client.run("PUBLISH", channel, 20_000 * "x") for _ in range(220)]
        told = "-ERR too-large a transaction has at most 4 MiB more than message-size"
        assert answers.count(told) == 1 and set(answers[:200]) == {"+QUEUED"}
        assert str(client.run("EXEC")).startswith("-EXECABORT ")
        assert get(server, f"/api/channels/{channel}").status == 404
        held = server.resident_bytes()
        client.run("MULTI")
        for _ in range(2000):
            client.run("PUBLISH", channel, 20_000 * "x")
        assert server.resident_bytes() - held < 16 << 20


def test_data_too_large_closes_in_a_transaction_too(server: Server) -> None:
    with Resp(server) as client:
        assert client.run("MULTI") == "+OK"
        assert str(client.run("PUBLISH", "a", 20_001 * "x")).startswith("-ERR too-large ")
        assert client.is_closed()


def test_a_client_that_half_closes_after_exec_is_answered(server: Server, channel: str) -> None:
    with Resp(server) as client:
        client.send(command("MULTI") + 2000 * command("PUBLISH", channel, "x") + command("EXEC") + command("PING"))
        client.socket.shutdown(socket.SHUT_WR)
        replies = [client.reply() for _ in range(2003)]
        assert replies[-2:] == [2000 * [0], "+PONG"]
        assert client.is_closed()


def test_a_client_that_goes_in_the_middle_costs_nothing(server: Server, channel: str) -> None:
    for _ in range(20):
        with Resp(server) as client:
            client.send(command("MULTI") + 3000 * command("PUBLISH", channel, "x") + command("EXEC"))
    wait_until(lambda: get(server, "/api/stats").json["connections"] <= 1)


def test_stopping_answers_a_transaction_that_has_begun(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--tcp", "127.0.0.1:0 framing=resp", "--shards", "1")) as (node,):
        with Resp(node) as client:
            client.send(command("MULTI") + 3000 * command("PUBLISH", channel, "x") + command("EXEC"))
            wait_until(lambda: get(node, f"/api/channels/{channel}").status == 200)
            node.process.terminate()
            replies = [client.reply() for _ in range(3002)]
            assert replies[-1] == 3000 * [0]
            assert client.is_closed()


def test_over_redis_a_transaction_publishes_in_order(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--tcp", "127.0.0.1:0 framing=resp")) as (node,):
        publish(node, channel, "first")
        with redis_py.Redis(port=tcp_port(node)) as client:
            pipeline = client.pipeline()
            for number in range(50):
                pipeline.publish(channel, str(number))
            assert pipeline.execute() == 50 * [0]
            entries = client.xrange(channel)
        assert [fields[b"data"] for _, fields in entries] == [b"first", *(b"%d" % number for number in range(50))]
