# SPDX-License-Identifier: MIT
"""Fixtures. A server with presets is shared by the tests of a file; channels are each test's own."""

import contextlib
import itertools
import resource
from collections.abc import Iterator

import pytest
from support.lua import Library
from support.readers import LISTENERS
from support.redis import KEEP_ALL, RedisServer, await_ready, nodes
from support.reloading import Reloading
from support.server import Server
from support.sockjs import SUITE
from support.ways import Place

_numbers = itertools.count(1)

# Many a test holds more connections than the soft limit of an ordinary user allows; the servers inherit this.
_hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def suite() -> Iterator[Server]:
    """The services that the SockJS project's own suite asks for; pages of every origin may use them."""
    with Server(*SUITE, "--allowed-origins", "*") as running:
        yield running


@pytest.fixture
def channel() -> str:
    return f"test/{next(_numbers)}"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def pair(redis: RedisServer) -> Iterator[list[Server]]:
    with nodes(2, redis, options=KEEP_ALL) as running:
        yield running


@pytest.fixture(scope="module", params=["functions", "script"])
def library(redis: RedisServer, request: pytest.FixtureRequest) -> Library:
    return Library(redis, is_script=request.param == "script")


@pytest.fixture
def lua(library: Library) -> Iterator[Library]:
    yield library
    library.now_ms, library.run = None, "a1"


# Of files that try what the pages say over memory and over two nodes on one Redis: SECTIONS is the file's configuration, OPTIONS what else
# its servers are started with.

@pytest.fixture(scope="module")
def memory(request: pytest.FixtureRequest) -> Iterator[Place]:
    options = (*LISTENERS, *getattr(request.module, "OPTIONS", ()))
    with Reloading(request.module.SECTIONS, *options, "--shards", "2") as server:
        yield Place(server, server, None)


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, redis: RedisServer) -> Iterator[Place]:
    # What is told to who is there only is lost with a link that is given up.
    links = ("--redis-timeout", "30s", "--redis-probe-time", "1s", "--redis-check-time", "1s", "--heartbeat", "2s")
    options = (*LISTENERS, *getattr(request.module, "OPTIONS", ()), "--broker", redis.url(), *links)
    with contextlib.ExitStack() as stack:
        here, there = (stack.enter_context(Reloading(request.module.SECTIONS, *options)) for _ in range(2))
        await_ready(here)
        await_ready(there)
        yield Place(here, there, redis)


@pytest.fixture(params=["memory", "shared"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)
