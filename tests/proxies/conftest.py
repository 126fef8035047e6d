# SPDX-License-Identifier: MIT
"""The proxies of a file, which names them as MEMBERS, run before one server."""

import contextlib
from collections.abc import Iterator

import pytest
from frame import Member, Running, matrix_server, running


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "proxy" in metafunc.fixturenames:
        members = metafunc.module.MEMBERS
        metafunc.parametrize("proxy", members, indirect=True, ids=[member.name for member in members])


@pytest.fixture(scope="module")
def proxies(request: pytest.FixtureRequest) -> Iterator[dict[str, Running]]:
    """All that are installed."""
    with matrix_server("--heartbeat", "1s", "--poll-wait", "2s", "--websocket-ping", "1s") as started, contextlib.ExitStack() as stack:
        members = [member for member in request.module.MEMBERS if member.find()]
        yield {member.name: stack.enter_context(running(member, *started, is_short=True)) for member in members}


@pytest.fixture
def proxy(request: pytest.FixtureRequest, proxies: dict[str, Running]) -> Running:
    member: Member = request.param
    return proxies.get(member.name) or pytest.skip(f"{member.program} is not installed: autogen.sh --check installs it")
