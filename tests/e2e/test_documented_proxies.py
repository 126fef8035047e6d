# SPDX-License-Identifier: MIT
"""What docs/PROXIES.md says that Sluice does by itself, and that the lines that help are in the files that it names. The rest of the page is measured (make proxies)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, LineStream, Stream, path_of, publish, request, request_bytes
from support.server import SOURCE, Server
from support.sockjs import FrameStream, Session
from support.stillness import again_after_a_stall

PAGE = (SOURCE / "docs/PROXIES.md").read_text()
STREAMS = {"/channels/a?transport=sse": "text/event-stream", "/channels/a?transport=stream": "application/x-ndjson",
           "/channels/a?transport=xhr": "text/plain; charset=utf-8", "/channels/a?transport=htmlfile&callback=f": "text/html; charset=utf-8",
           "/channels/a?transport=multipart": "multipart/x-mixed-replace; boundary=sluice-part-7d2f94e1b60c"}
SOCKJS = {"xhr_streaming": "application/javascript; charset=UTF-8", "eventsource": "text/event-stream; charset=UTF-8", "htmlfile": "text/html; charset=UTF-8"}
WHOLE = ("/channels/a?last=1", "/channels/a?last=1&transport=json", "/channels/a?transport=jsonp&callback=f&last=1", "/channels/a?nonsense=1", "/channels/a b",
         "/api/channels", "/api/channels/a", "/api/stats", "/metrics", "/healthz", "/readyz", "/nothing", "/sockjs/info", "/ws")
FILES = ("/", "/sluice.js", "/check.html", "/favicon.svg")
ENDLESS = ("no-store", "no-transform")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--legacy", "yes", "--sockjs", "/sockjs legacy=yes") as running:
        publish(running, "a")
        yield running


def words_of(text: str | None) -> set[str]:
    return set((text or "").split(", "))


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("target", WHOLE)
def test_what_is_read_is_never_stored_and_has_a_length(server: Server, target: str, version: str) -> None:
    with Connection(server) as connection:
        response = connection.request("GET", target.replace(" ", "%20"), version=version)
    assert "no-store" in words_of(response.header("Cache-Control")), response
    assert response.header("Content-Length") == str(len(response.body)) and response.header("Transfer-Encoding") is None


@pytest.mark.parametrize("target", FILES)
def test_files_are_asked_for_each_time(server: Server, target: str) -> None:
    response = request(server, "GET", target)
    assert response.header("Cache-Control") == "no-cache" and response.header("Content-Length") == str(len(response.body))


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("target", [*STREAMS, *SOCKJS])
def test_a_stream_says_what_proxies_have_to_know(server: Server, target: str, version: str) -> None:
    stream = (Stream(server, target, "*/*", version=version) if target in STREAMS
              else FrameStream(Session(server, "/sockjs"), target, "?c=x" if target == "htmlfile" else "", version=version))
    with stream:
        response = stream.response
        assert set(ENDLESS) <= words_of(response.header("Cache-Control"))
        assert response.header("X-Accel-Buffering") == "no"
        assert response.header("Content-Type") == {**STREAMS, **SOCKJS}[target]
        assert response.header("Transfer-Encoding") == ("chunked" if version == "HTTP/1.1" else None), "no chunks to HTTP/1.0"
        assert response.header("Content-Length") is None


@pytest.mark.parametrize("target", STREAMS)
def test_the_opening_comes_at_once(server: Server, target: str) -> None:
    with Stream(server, target, "*/*") as stream:
        begun = time.monotonic()
        assert stream.more() and stream.text
        assert time.monotonic() - begun < 5, "long before the first heartbeat"


@pytest.mark.parametrize("size", [1, 2048, 65536])
def test_padding_comes_for_who_asks(server: Server, size: int) -> None:
    with EventStream(server, path_of("a", padding=size)) as padded:
        block = padded.next_block()
        assert block and block.event == "subscribed"
        assert sum(len(each) for each in block.comments) + 3 * len(block.comments) >= size
    with EventStream(server, path_of("a")) as stream:
        opening = stream.next_block()
        assert opening and not opening.comments
    assert request(server, "GET", path_of("a", padding=65537), Accept="text/event-stream").error == "bad-option"


def test_heartbeats_come_every_15_s_and_polls_end_after_25_s(server: Server) -> None:
    held_as_long_as_is_said()


@again_after_a_stall(1)
def held_as_long_as_is_said() -> None:
    with Server() as server, LineStream(server, path_of("a")) as lines, Connection(server) as poll:
        lines.next_line()
        begun = time.monotonic()
        poll.send(request_bytes("GET", path_of("a")))
        assert lines.until(b"\n") == b""
        assert 15 * 5 / 6 - 0.5 <= time.monotonic() - begun <= 21, "a heartbeat of silence, as often as it is looked"
        assert poll.read_response().status == 204
        assert 24.5 <= time.monotonic() - begun <= 27


def test_the_lines_that_help_are_in_the_files() -> None:
    rows = re.findall(r"^\| [\w ]+ \| \[([\w.]+)\]\(\.\./contrib/proxies/\1\): (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for name, text in rows:
        contents = (SOURCE / "contrib/proxies" / name).read_text()
        for quoted in re.findall(r"`(.*?)`", text):
            if name.startswith("varnish") and quoted.startswith("-p"):
                continue  # of the command line
            for word in re.split(r"\s+to the port.*", quoted):
                assert word in contents, f"{name} has no {word}"
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (SOURCE / "docs" / link).exists(), link
