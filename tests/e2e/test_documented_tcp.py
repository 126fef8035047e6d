# SPDX-License-Identifier: MIT
"""What docs/TCP.md promises, where no other test does: what `auto` takes for which protocol, and what a command refuses."""

from collections.abc import Iterator

import pytest
from support.client import publish, subscribers
from support.server import Server, wait_until
from support.tcp import Raw

AUTO, CRLF, FEED, DEFAULT = range(4)
LISTENERS = ("", "framing=crlf", "feed=fed/a,fed/b", "framing=crlf default-channel=else")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*(word for text in LISTENERS for word in ("--tcp", f"127.0.0.1:0 {text}"))) as running:
        yield running


@pytest.mark.parametrize(("line", "answer"), [
    (b"SUBSCRIBE a", b"CONFIRMED"), (b"UNSUBSCRIBE a", b"ALREADY UNSUBSCRIBED"), (b"PUBLISH a x", b"CONFIRMED"), (b"ECHO hi", b"hi"),
    (b"QUIT", b"CONFIRMED"), (b"FORMAT json", b"CONFIRMED"), (b"HISTORY nothing", b"CONFIRMED"), (b"fly", b"UNKNOWN COMMAND"),
    (b"PING", b"+PONG"), (b"ping", b"+PONG"), (b"SELECT 0", b"+OK"), (b"MULTI", b"+OK"), (b"PSUBSCRIBE a/*", b"*3"), (b"PUBSUB NUMPAT", b":0"),
    (b"HELLO 3", b"%7"), (b"XRANGE nothing - +", b"*0"), (b"RESET", b"+RESET"), (b"*1\r\n$4\r\nQUIT", b"+OK"),
])
def test_auto_takes_a_line_that_both_have_for_ours(server: Server, line: bytes, answer: bytes) -> None:
    with Raw(server, AUTO) as client:
        assert client.ask(line) == answer


def test_auto_takes_a_token_for_ours_too(server: Server) -> None:
    with Raw(server, AUTO) as client:
        assert client.ask(b"AUTH x").startswith(b"ERROR bad-token ") and client.ask(b"SUBSCRIBE a") == b"CONFIRMED"


@pytest.mark.parametrize(("frame", "answer"), [
    (b"SUBSCRIBE a b", b"ERROR bad-cursor "), (b"SUBSCRIBE a now b", b"ERROR bad-command "), (b"SUBSCRIBE a//b", b"ERROR bad-channel "),
    (b"PUBLISH", b"ERROR bad-command "), (b"PUBLISH a", b"ERROR bad-command "), (b"PUBLISH a//b x", b"ERROR bad-channel "),
    (b"HISTORY a soon", b"ERROR bad-cursor "), (b"FORMAT xml", b"ERROR bad-command "), (b"PONG", b"UNKNOWN COMMAND"),
])
def test_what_is_wrong_is_told(server: Server, frame: bytes, answer: bytes) -> None:
    with Raw(server, CRLF) as client:
        assert client.ask(frame).startswith(answer)
        assert client.has_nothing()


def test_a_connection_has_1024_subscriptions(server: Server) -> None:
    with Raw(server, CRLF) as client:
        client.put(*(b"SUBSCRIBE many/%d" % i for i in range(1025)))
        assert {client.take() for _ in range(1024)} == {b"CONFIRMED"}
        assert client.take() == b"ERROR too-many-channels a connection subscribes to at most 1024 channels (max-channels-per-connection)"


def test_a_feed_of_several_channels_makes_auto_crlf(server: Server) -> None:
    with Raw(server, FEED) as client:
        wait_until(lambda: subscribers(server, "fed/b")["tcp"] == 1)
        publish(server, "fed/a", "one")
        assert client.take() == b"one"
        publish(server, "fed/b", "two")
        assert client.take() == b"two"
        assert client.ask(b"PING") == b"PONG"
        assert client.ask(b"SUBSCRIBE fed/a") == b"ALREADY SUBSCRIBED"
        assert client.ask(b"UNSUBSCRIBE fed/a") == b"CONFIRMED"


def test_the_default_channel_is_an_option_of_its_listener(server: Server) -> None:
    with Raw(server, DEFAULT) as other, Raw(server, CRLF) as usual:
        assert (other.ask(b"SUBSCRIBE"), usual.ask(b"SUBSCRIBE")) == (b"CONFIRMED", b"CONFIRMED")
        publish(server, "else", "to one")
        publish(server, "updates", "to the other")
        assert (other.take(), usual.take()) == (b"to one", b"to the other")


@pytest.mark.parametrize(("since", "reason"), [("{epoch}-99", "future"), ("{name}zzzzzzz-3", "epoch")])
def test_a_reset_comes_before_what_is_kept(server: Server, since: str, reason: str, channel: str) -> None:
    epoch = publish(server, channel, "kept").split("-")[0]
    with Raw(server, CRLF) as client:
        assert client.ask(f"SUBSCRIBE {channel} {since.format(epoch=epoch, name=epoch[:5])}".encode()) == b"CONFIRMED"
        assert client.take() == f"RESET {channel} {reason} -".encode()
        assert client.take() == b"kept"
