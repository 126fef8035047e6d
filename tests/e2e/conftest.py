# SPDX-License-Identifier: MIT
"""Fixtures. A server with presets is shared by the tests of a file; channels are each test's own."""

import itertools
from collections.abc import Iterator

import pytest
from support.redis import KEEP_ALL, RedisServer, nodes
from support.server import Server

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
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
