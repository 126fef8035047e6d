# SPDX-License-Identifier: MIT
"""Every call that a conversation makes fails in turn: nothing crashes, leaks, hangs, is lost or told wrongly, and the next
client is served.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import tempfile
import traceback
from collections.abc import Iterator

import pytest
from support.client import Ended, EventStream, Refused, get, path_of, publish
from support.faults import EVER, FaultyServer
from support.redis import NODE_OPTIONS, RedisServer, await_ready
from support.server import PATIENCE, REPORTS, wait_until
from support.talks import TALKS, TCP, Scene
from support.tcp import Raw
from support.tls import common_tls
from support.tokens import secret_file
from support.websocket import WebSocket

CALLS = ("malloc", "calloc", "realloc", "strdup", "send", "recv", "setsockopt", "accept4", "epoll_ctl_add", "epoll_ctl_mod",
         "fcntl_dup", "dup3", "socket", "connect", "open", "read", "write", "mhd", "judy", "library", "jose", "add_connection_early",
         "add_connection_late")
LINK = ("send", "recv", "connect", "socket", "library", "epoll_ctl_add", "epoll_ctl_mod", "malloc", "calloc", "realloc")
STARTING = (*CALLS, "listen", "mmap", "thread", "tls", "getaddrinfo_fails")
AT_REST = ("connections", "subscribers_poll", "subscribers_sse", "subscribers_stream", "subscribers_legacy", "subscribers_tcp",
           "subscribers_websocket", "subscribers_sockjs", "sockjs_sessions", "connection_memory_bytes", "broker_publishes_pending")
FILE = """
subscribe = anyone
publish = anyone
[channel "guarded/**"]
subscribe = token
publish = token
[channel "*/sweep/**"]
history-size = 50
"""
MOST = int(os.environ.get("SLUICE_FAULTS_MOST", "12"))  # runs for a kind of call and a talk
_numbers = itertools.count(1)


class Stage:
    """A server for talks, whose faults are put right by another server: what one leaves behind is not the next one's fault."""

    def __init__(self, *options: str, broker: RedisServer | None = None) -> None:
        self.file = tempfile.NamedTemporaryFile("w", suffix=".ini")
        pathlib.Path(self.file.name).write_text(FILE)
        tcp = itertools.chain.from_iterable(("--tcp", f"127.0.0.1:0 framing={framing}") for framing in TCP)
        keys = common_tls().pair.keys
        secure = ("--http", f"127.0.0.1:0 {keys}", "--tcp", f"127.0.0.1:0 framing=crlf {keys}")
        engine = ("--broker", broker.url(), *NODE_OPTIONS) if broker else ()
        self.options = ("--config", self.file.name, *tcp, *secure, *engine, "--admin", "127.0.0.1:0", "--sockjs", "/sockjs legacy=yes", "--legacy", "yes",
                        "--jwt-key", f"HS256:{secret_file()}", "--heartbeat", "1s", *options)
        self.broker = broker
        self.start()

    def begin(self, kind: str, nth: int) -> bool:
        """Starts another server whose call fails, and ends it while clients of several kinds are there: it serves, or says why it
        does not. Returns whether the fault has come by then."""
        server = FaultyServer(*self.options, at_start=(kind, nth), expect_exit=None)
        with contextlib.ExitStack() as stack:
            stack.callback(server.folder.cleanup)
            try:
                server.start()
            except AssertionError:
                assert server.process.poll() == 1 and "level=error" in server.log() or "sluice:" in server.log(), server.log()
                assert not any(report in server.log() for report in REPORTS), server.log()
                return server.mend(kind)
            has_failed = server.has_failed(kind)
            with contextlib.suppress(Ended, Refused, ConnectionError):
                stack.enter_context(EventStream(server, path_of("a")))
                stack.enter_context(Raw(server)).ask(b"SUBSCRIBE a")
                stack.enter_context(WebSocket(server, path_of("a")))
            if has_failed and server.process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError):  # it has announced itself, and found then that it cannot go on
                    assert get(server, "/healthz").status == 200
            server.stop()
            assert server.process.returncode in (0, 1), server.process.returncode
            assert server.process.returncode == 0 or "sluice:" in server.log() or "level=error" in server.log(), server.log()
            return server.mend(kind)

    def start(self) -> None:
        self.server = FaultyServer(*self.options)
        self.server.start()
        if self.broker:
            await_ready(self.server)
        self.descriptors = 0

    def restart(self) -> str:
        """Returns what the old one's end was like, where it was not clean."""
        try:
            self.server.stop()
            return ""
        except AssertionError as error:
            return f"\n{error}"
        finally:
            self.start()

    def rest(self, is_session: bool) -> None:
        """What was opened is closed, and what was counted is gone."""
        admin = self.server.at(self.server.listeners("admin")[0])

        def is_at_rest() -> bool:
            stats = get(admin, "/api/stats").json
            busy = {name: stats[name] for name in AT_REST if stats[name] > (name == "connections")}
            if is_session:  # a session outlasts its client by 5 s
                busy = {name: value for name, value in busy.items() if "sockjs" not in name and name != "connection_memory_bytes"}
            open_now = self.server.open_descriptors()
            self.state = f"{busy}, {open_now} descriptors, {self.descriptors} at first"
            return not busy and open_now <= (self.descriptors or open_now)

        try:
            wait_until(is_at_rest, timeout=PATIENCE)
        except AssertionError:
            raise AssertionError(f"does not come to rest: {self.state}") from None

    def run(self, name: str, kind: str = "", nth: int = 0, following: int = 0) -> bool:
        """One talk, and what must hold after it; whether the fault came."""
        scene = Scene(self.server, f"talk/{next(_numbers)}/it", kind)
        if kind:
            self.server.fail(kind, nth, following=following)
        try:
            TALKS[name](scene)
        except (Ended, Refused, ConnectionError):
            scene.mend()
            if not scene.was_due:
                raise
        finally:
            scene.mend()
        if self.broker:
            await_ready(self.server)
        scene.check()
        fresh = f"fresh/{next(_numbers)}"
        with EventStream(self.server, path_of(fresh)) as stream:
            publish(self.server, fresh, "there")
            assert stream.next_event().data == "there"
        self.rest(name == "session" or name.startswith("commands-") or "xhr" in name)
        return scene.was_due

    def sweep(self, name: str, most: int, kinds: tuple[str, ...] = CALLS) -> tuple[int, list[str]]:
        """Lets each call fail that the talk makes, once and from then on, or `most` of them evenly spread; returns how many runs
        there were, and what was found.
        """
        for _ in range(2):  # what is made once and kept is there then
            before = {kind: self.server.calls(kind) for kind in kinds}
            self.run(name)
        self.rest(False)
        self.descriptors = self.server.open_descriptors()
        steps = {kind: 1 + (self.server.calls(kind) - before[kind]) // most for kind in kinds}
        count, found = 0, []
        if only := os.environ.get("SLUICE_FAULTS_ONLY"):
            kind, nth, following = only.split()
            self.run(name, kind, int(nth), int(following))
            return 1, []
        for kind, following in itertools.product(kinds, (0, EVER)):
            if following and (kind == "accept4" or (self.broker and kind in LINK)):
                continue  # nobody is let in, or waits until the fault is over, as while Redis is away
            nth, is_due = 1, True
            while is_due and len(found) < 10:
                try:
                    is_due = self.run(name, kind, nth, following)
                except Exception:  # noqa: BLE001 - told at the end
                    found.append(f"{name}: {kind} {nth}{' and all after it' * bool(following)}: {traceback.format_exc(limit=-4)}"
                                 + self.restart())
                    if path := os.environ.get("SLUICE_FAULTS_FOUND"):
                        with open(path, "a") as file:
                            print(found[-1], file=file)
                    self.run(name)
                    self.run(name)
                count += is_due
                nth += steps[kind]
        return count, found

    def close(self) -> None:
        self.server.stop()
        self.server.folder.cleanup()


@contextlib.contextmanager
def stage(*options: str, broker: RedisServer | None = None) -> Iterator[Stage]:
    made = Stage(*options, broker=broker)
    try:
        yield made
    finally:
        made.close()


def report(name: str, count: int, found: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{name}: {count} faults")
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("name", ["sse", "all-commands", "resp", "commands-websocket"])
def test_the_first_call_of_each_kind_may_fail(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stage() as made:
        report(name, *made.sweep(name, 1), capsys)


@pytest.mark.long
@pytest.mark.parametrize("name", TALKS)
def test_every_call_of_a_talk_may_fail(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stage() as made:
        # The signal is read, and the log written.
        report(name, *made.sweep(name, MOST, tuple(kind for kind in CALLS if name != "reload" or kind not in ("read", "write"))), capsys)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in TALKS if name != "reload"])
def test_every_call_of_a_talk_over_redis_may_fail(name: str, redis: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    with stage(broker=redis) as made:
        report(f"{name} over Redis", *made.sweep(name, min(MOST, 5)), capsys)


@pytest.mark.long
@pytest.mark.parametrize("kind", STARTING)
def test_every_call_of_a_start_and_a_stop_may_fail(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stage() as made:
        before = made.server.calls(kind)
        count, nth, found = 0, 1, []
        while len(found) < 10:
            try:
                if not made.begin(kind, nth):
                    break
            except Exception:  # noqa: BLE001 - told at the end
                found.append(f"{kind} {nth}: {traceback.format_exc(limit=-4)}")
            count += 1
            nth += 1 + before // MOST
        report(f"start and stop, {kind}", count, found, capsys)
