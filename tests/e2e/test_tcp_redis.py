# SPDX-License-Identifier: MIT
"""Redis clients, unchanged, against raw TCP listeners: redis-cli, redis-py, node-redis, and the bytes themselves."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest
from support.client import publish, request, subscribers
from support.redis import RedisServer, asking_context
from support.server import Server, wait_until
from support.tcp import Raw, Resp, command, tcp_port

redis_py = pytest.importorskip("redis")

NODE_PATH = "/usr/share/nodejs:/usr/lib/nodejs"
NODE_PROGRAM = """
const { createClient } = require('redis');
(async () => {
    const url = `redis://127.0.0.1:${process.argv[1]}`;
    const subscriber = createClient({ url }), publisher = createClient({ url });
    await subscriber.connect();
    await publisher.connect();
    const heard = new Promise(resolve => subscriber.subscribe('node/room', resolve).then(async () =>
        console.log(await publisher.publish('node/room', 'from node'))));
    console.log(await heard, await publisher.ping(), await publisher.echo('x'));
    await subscriber.unsubscribe('node/room');
    await subscriber.quit();
    await publisher.quit();
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--tcp", "127.0.0.1:0", "--tcp", "127.0.0.1:0 framing=resp feed=fed", "--message-size", "100000",
                "--shards", "2") as running:
        yield running


def cli(server: Server, *words: str) -> str:
    result = subprocess.run(["redis-cli", "-p", str(tcp_port(server)), *words], capture_output=True, text=True, timeout=20,
                            check=True)
    return result.stdout.strip()


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="needs redis-tools")
def test_redis_cli(server: Server, channel: str) -> None:
    assert cli(server, "PING") == "PONG"
    assert cli(server, "PUBLISH", channel, "follow the white rabbit") == "0"
    assert "follow the white rabbit" in cli(server, "XRANGE", channel, "-", "+")
    assert "follow the white rabbit" in cli(server, "-3", "XREAD", "COUNT", "1", "STREAMS", channel, "0")
    assert cli(server, "GET", "x").startswith("ERR unknown command 'GET'")
    assert "redis_version:" in cli(server, "INFO")
    listener = subprocess.Popen(["redis-cli", "-p", str(tcp_port(server)), "SUBSCRIBE", channel], stdout=subprocess.PIPE)
    wait_until(lambda: subscribers(server, channel)["tcp"] == 1)
    assert cli(server, "PUBLISH", channel, "again") == "1"
    assert listener.stdout
    assert [listener.stdout.readline().strip() for _ in range(6)] == [
        b"subscribe", channel.encode(), b"1", b"message", channel.encode(), b"again"]
    listener.kill()
    listener.wait()
    listener.stdout.close()


def test_redis_py(server: Server, channel: str) -> None:
    with redis_py.Redis(port=tcp_port(server)) as client:
        pubsub = client.pubsub()
        pubsub.subscribe(channel, f"{channel}/b")
        assert [pubsub.get_message(timeout=5)["data"] for _ in range(2)] == [1, 2]
        assert client.publish(channel, b"\xff\0\r\n") == 1
        message = pubsub.get_message(timeout=5)
        assert (message["channel"], message["data"]) == (channel.encode(), b"\xff\0\r\n")
        pubsub.ping()
        assert pubsub.get_message(timeout=5)["type"] == "pong"
        pubsub.unsubscribe()
        assert [pubsub.get_message(timeout=5)["data"] for _ in range(2)] == [1, 0]
        pubsub.close()
        pipeline = client.pipeline(transaction=False)
        for number in range(2000):
            pipeline.publish(channel, str(number))
        assert pipeline.execute() == 2000 * [0]
        entries = client.xrange(channel, count=3)
        assert len(entries) == 3 and set(entries[0][1]) == {b"data", b"type", b"time"}
        following = client.xread({channel: entries[0][0]}, count=2)
        assert [entry[0] for entry in following[0][1]] == [entry[0] for entry in entries[1:]]
        assert client.xread({channel: "$"}, block=50) == []
        threading.Timer(0.2, publish, (server, channel, "late")).start()
        assert client.xread({channel: "$"}, block=10000)[0][1][0][1][b"data"] == b"late"
        assert client.echo("x") == b"x" and client.info()["role"] == "master" and client.client_id() > 0
        with pytest.raises(redis_py.ResponseError, match="unknown command"):
            client.get("x")


@pytest.mark.skipif(not shutil.which("node") or not os.path.isdir("/usr/share/nodejs/redis"), reason="needs node-redis")
def test_node_redis(server: Server) -> None:
    result = subprocess.run(["node", "-e", NODE_PROGRAM, str(tcp_port(server))], capture_output=True, text=True, timeout=30,
                            env={**os.environ, "NODE_PATH": NODE_PATH}, check=False)
    assert result.stdout.split("\n")[:2] == ["1", "from node PONG x"], result.stdout + result.stderr


def test_resp3_pushes(server: Server, channel: str) -> None:
    with Raw(server) as client:
        client.send(command("HELLO", "3"))
        assert client.read_exactly(4) == b"%7\r\n"
        client.send(command("SUBSCRIBE", channel) + command("PING"))
        name = f"${len(channel)}\r\n{channel}\r\n".encode()
        head = client.read_until(b":1\r\n")
        assert head.endswith(b">3\r\n$9\r\nsubscribe\r\n" + name + b":1\r\n")
        assert client.take() == b"+PONG"
        publish(server, channel, "x")
        assert client.read_exactly(len(name) + 24) == b">3\r\n$7\r\nmessage\r\n" + name + b"$1\r\nx\r\n"


@pytest.mark.parametrize(("data", "answer"), [
    (b"PING\r\n", b"+PONG\r\n"), (command("PING", "x"), b"$1\r\nx\r\n"), (command("ECHO"), b"-ERR wrong number of arguments"),
    (command("FLY", "a"), b"-ERR unknown command 'FLY', with args beginning with: 'a' \r\n"),
    (command("HELLO", "4"), b"-NOPROTO "), (command("AUTH", "x"), b"-ERR AUTH <password> called without any password"),
    (command("CLIENT", "SETNAME", "x"), b"+OK\r\n"), (command("COMMAND", "COUNT"), b":"), (command("QUIT"), b"+OK\r\n"),
    (b"*1\r\n:1\r\n", b"-ERR Protocol error: expected '$'"), (b"*99999999\r\n", b"-ERR Protocol error: invalid multibulk"),
    (b"*01\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"), (b"*1\r\n$04\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$200000\r\n", b"-ERR too-large"), (command("PUBLISH", "a//b", "x"), b"-ERR bad-channel a channel name has no empty, '.' or '..' segment between its slashes\r\n"),
    (command("XRANGE", "a b", "-", "+"), b"-ERR bad-channel a channel name is made of "),
    (command("UNSUBSCRIBE"), b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
    (command("XREAD", "STREAMS", "a", "1-1"), b"-ERR Invalid stream ID"),
])
def test_answers_are_those_of_redis(server: Server, data: bytes, answer: bytes) -> None:
    with Raw(server) as client:
        client.send(data)
        assert client.read_exactly(len(answer)) == answer


@pytest.mark.parametrize("client_input", [
    pytest.param(command("PUBLISH", "a", 100_001 * "x"), id="message"), pytest.param(command("ECHO", 100_001 * "x"), id="bulk"),
    pytest.param(command(*(1280 * [400 * "x"])), id="total"), pytest.param(b"*1\r\n$4\r\nPINGxx", id="end"),
    pytest.param(b"PING '\r\n", id="quotes"), pytest.param(20_000 * b"x", id="line")])
def test_what_is_wrong_is_told_after_what_came_before_it_and_closes(server: Server, client_input: bytes) -> None:
    with Raw(server) as client:
        client.send(5 * command("PUBLISH", "a", "x") + client_input)
        assert [client.take() for _ in range(5)] == 5 * [b":0"]
        assert client.take().startswith((b"-ERR too-large ", b"-ERR Protocol error: "))
        assert client.is_closed()


def test_the_largest_bulk_string_is_taken(server: Server) -> None:
    data = 100_000 * "x"
    with Raw(server) as client:
        client.send(command("PUBLISH", "a", data) + command("ECHO", data) + command("PING", *(1279 * ["y"])))
        assert client.take() == b":0"
        assert client.take() == b"$100000" and client.take() == data.encode()
        assert client.take() == b"-ERR wrong number of arguments for 'ping' command"


def test_a_small_message_size_is_the_limit_of_publish(channel: str) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=resp", "--message-size", "10") as small, Raw(small) as client:
        client.send(command("PUBLISH", channel, 10 * "x") + command("PUBLISH", channel, 11 * "x"))
        assert client.take() == b":0"
        assert client.take() == b"-ERR too-large a frame, or the data of PUBLISH, has at most 10 bytes (message-size)"
        assert client.is_closed()


@pytest.mark.parametrize("text", [
    "HELLO x", "HELLO 1", "HELLO 4", "HELLO 2 AUTH other pw", "HELLO AUTH default pw", "AUTH pw", "AUTH default pw", "AUTH other pw",
    "AUTH a b c", "AUTH", "CLIENT SETNAME a", "CLIENT", "SELECT 0", "SELECT a", "SELECT", "PING", "PING x", "PING x y", "ECHO",
    "RESET x", "RESET", "UNSUBSCRIBE", "UNSUBSCRIBE a b", "PUNSUBSCRIBE", "PUNSUBSCRIBE a/*", "SUBSCRIBE", "PSUBSCRIBE", "PUBLISH a",
    "XREAD", "XREAD STREAMS a", "XREAD COUNT x STREAMS a 0", "XREAD COUNT 1 BLOCK", "XREAD STREAMS none 0", "XREAD FOO 1 STREAMS a 0",
    "XRANGE a", "XRANGE a - + COUNT", "XRANGE a - + COUNT x", "XRANGE a - + FOO 1", "XRANGE a x +", "XRANGE a - x", "XRANGE none - +",
    "XRANGE a x + COUNT 1", "XREAD COUNT 0 STREAMS none 0", "XREAD BLOCK 1 STREAMS none $", "PUBSUB NUMSUB", "PUBSUB"])
def test_commands_are_answered_as_redis_answers_them(server: Server, redis: RedisServer, text: str) -> None:
    with Resp(server) as client, Resp(None, port=redis.port, tls=asking_context()) as model:
        assert client.run(*text.split(" ")) == model.run(*text.split(" "))
        assert client.run("PING") == model.run("PING")


@pytest.mark.parametrize(("words", "protocol"), [
    ("HELLO", 2), ("HELLO 2", 2), ("HELLO 3", 3), ("HELLO 3 AUTH default pw", 3), ("HELLO 3 SETNAME app", 3),
    ("HELLO 3 AUTH default pw SETNAME app", 3), ("HELLO 2 setname app auth DEFAULT pw", 2)])
def test_hello_takes_options_in_any_order(server: Server, words: str, protocol: int) -> None:
    with Resp(server) as client:
        client.send(command(*words.split(" ")))
        head = client.take()
        assert head == (b"%7" if protocol == 3 else b"*14")
        facts = [client.value(client.take()) for _ in range(14)]
        assert facts[facts.index(b"proto") + 1] == protocol


@pytest.mark.parametrize("words", ["HELLO 3 AUTH default", "HELLO 3 SETNAME", "HELLO 3 FOO", "HELLO 3 SETNAME a FOO",
                                   "HELLO 3 AUTH other pw", "HELLO 3 SETNAME a AUTH other pw"])
def test_hello_with_wrong_options_changes_nothing(server: Server, words: str) -> None:
    with Resp(server) as client:
        assert str(client.run(*words.split(" "))).startswith(("-ERR Syntax error in HELLO option", "-WRONGPASS "))
        client.send(command("HELLO"))
        assert client.take() == b"*14"


CLIENTS = {
    "go-redis": (("HELLO 3", "CLIENT SETNAME app", "CLIENT SETINFO LIB-NAME go-redis(,go1.22)", "CLIENT SETINFO LIB-VER 9.7.0",
                  "SELECT 0"), "PING"),
    "StackExchange.Redis": (("CLIENT SETNAME app", "CLIENT SETINFO lib-name SE.Redis", "CLIENT ID", "CONFIG GET timeout", "INFO server",
                             "INFO replication", "CLUSTER NODES", "GET __Booksleeve_TieBreak", "ECHO \0\x01\xff", "SELECT 0"), "PING"),
    "Lettuce": (("HELLO 3 AUTH default pw", "CLIENT SETINFO lib-name Lettuce", "CLIENT SETINFO lib-ver 6.5.0", "CLIENT SETNAME app"),
                "PING"),
    "redis-py": (("AUTH default pw", "CLIENT SETNAME app", "CLIENT SETINFO LIB-NAME redis-py", "CLIENT SETINFO LIB-VER 5.2.0", "SELECT 0"),
                 "PING"),
    "ioredis": (("INFO", "CLIENT SETNAME app", "SELECT 0"), "PING"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_what_clients_say_first_gets_an_answer_each(server: Server, name: str) -> None:
    """Commands that we have not are refused, and nothing else comes of it; their answers are told apart by their order."""
    greeting, last = CLIENTS[name]
    with Resp(server) as client:
        answers = client.run_all(*greeting, last)
        assert answers[-1] == "+PONG"
        unknown = [word for word, answer in zip(greeting, answers, strict=False) if str(answer).startswith("-")]
        assert all(word.split(" ")[0] in ("CONFIG", "CLUSTER", "GET") for word in unknown), answers


def test_subscriptions_of_a_connection_have_a_bound(server: Server, channel: str) -> None:
    with Resp(server) as client:
        client.run("HELLO", "3")
        for number in range(64):
            client.send(command("PSUBSCRIBE", f"{channel}/{number}/*"))
        client.send(command("PSUBSCRIBE", f"{channel}/64/*"))
        assert client.reply() == "-ERR too-many-channels a connection has at most 64 patterns" and len(client.pushes) == 64
        names = [f"{channel}/{number}" for number in range(1024 - 64)]
        client.send(command("SUBSCRIBE", *names))
        client.send(command("SUBSCRIBE", f"{channel}/more"))
        assert client.reply() == "-ERR too-many-channels a connection subscribes to at most 1024 channels (max-channels-per-connection)"
        assert client.pushes[-1] == [b"subscribe", names[-1].encode(), 1024]


def test_while_subscribed_resp2_takes_no_other_commands(server: Server, channel: str) -> None:
    with Raw(server) as client:
        client.send(command("SUBSCRIBE", channel) + command("ECHO", "x") + command("PING", "y"))
        client.read_until(b":1\r\n")
        assert client.take().startswith(b"-ERR Can't execute 'echo'")
        assert client.read_exactly(21) == b"*2\r\n$4\r\npong\r\n$1\r\ny\r\n"


def test_a_log_begun_anew_is_told_to_a_reader(server: Server, channel: str) -> None:
    name = publish(server, channel)
    request(server, "DELETE", f"/api/channels/{channel}")
    new = publish(server, channel)
    with redis_py.Redis(port=tcp_port(server)) as client:
        for ask in (lambda: client.xread({channel: name}), lambda: client.xrange(channel, f"({name}")):
            with pytest.raises(redis_py.ResponseError) as told:
                ask()
            *words, behind = str(told.value).split(" ")
            assert words in ([["RESET", channel, reason, "-", "go", "on", "behind"] for reason in ("purged", "epoch")])
            assert [entry[0].decode() for entry in client.xread({channel: behind})[0][1]] == [new]


def test_a_feed_over_resp(server: Server) -> None:
    with Raw(server, 1) as client:
        wait_until(lambda: publish(server, "fed", "x") and subscribers(server, "fed")["tcp"] == 1)
        publish(server, "fed", "last")
        client.read_until(b"$4\r\nlast\r\n")
