# SPDX-License-Identifier: MIT
"""Looking and managing, numbers, files, origins, and methods."""

import os
import pathlib
import re
import tempfile

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.server import Server, wait_until


def test_one_channels_numbers(server: Server, channel: str) -> None:
    ids = [publish(server, channel, "x" * 10) for _ in range(3)]
    with EventStream(server, path_of(channel)), LineStream(server, path_of(channel)), Connection(server) as poll:
        poll.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: subscribers(server, channel)["total"] == 3)
        look = get(server, f"/api/channels/{channel}").json
    assert (look["channel"], look["epoch"]) == (channel, ids[0].split("-")[0])
    assert (look["messages"], look["oldest"], look["newest"]) == (3, ids[0], ids[2])
    assert look["bytes"] >= 30 and look["last_published"] > 1_600_000_000_000
    assert {kind: count for kind, count in look["subscribers"].items() if count} == {"total": 3, "poll": 1, "sse": 1, "stream": 1}
    assert {"legacy", "tcp"} < set(look["subscribers"])
    assert get(server, "/api/channels/not/there").error == "no-such-channel"
    assert request(server, "DELETE", "/api/channels/not/there").error == "no-such-channel"
    assert get(server, "/api/channels/no%20good").error == "bad-channel"


def test_list_has_prefix_and_pages() -> None:
    with Server() as server:
        for i in range(25):
            publish(server, f"page/{i:02}")
        publish(server, "other")
        names: list[str] = []
        after = ""
        while True:
            answer = get(server, f"/api/channels?prefix=page/&limit=10&after={after}").json
            names += [entry["channel"] for entry in answer["channels"]]
            if "next" not in answer:
                break
            after = answer["next"]
        assert names == [f"page/{i:02}" for i in range(25)]
        assert len(get(server, "/api/channels").json["channels"]) == 26
        for limit in ("0", "1001", "x"):
            assert get(server, f"/api/channels?limit={limit}").error == "bad-option"


def test_numbers_agree_and_count(channel: str) -> None:
    with Server() as server, EventStream(server, path_of(channel)) as stream:
        publish(server, channel, "x")
        stream.next_event()
        stats = wait_until(lambda: (found := get(server, "/api/stats").json)["deliveries_total"] == 1 and found)
        text = get(server, "/metrics")
    assert (text.header("Content-Type") or "").startswith("text/plain; version=0.0.4")
    metrics = dict(re.findall(r"^sluice_(\w+) (\d+)$", text.body.decode(), re.M))
    latency = {f"broker_latency_seconds_{part}" for part in ("sum", "count")}
    assert set(metrics) - latency == set(stats) - {"version", "shards"}
    assert metrics["published_total"] == "1" and metrics["subscribers_sse"] == "1" and metrics["broker_ready"] == "1"
    for name in set(metrics) - latency:
        assert f"# TYPE sluice_{name} " in text.body.decode() and f"# HELP sluice_{name} " in text.body.decode()


def test_health_and_readiness(server: Server) -> None:
    assert get(server, "/healthz").body == b"ok\n"
    assert get(server, "/readyz").body == b"ready\n"


def test_methods_that_a_path_does_not_take(server: Server, channel: str) -> None:
    for method, target, allow, elsewhere in (
        ("DELETE", path_of(channel), "GET, HEAD, POST, PUT, OPTIONS", "DELETE /api/channels/NAME"),
        ("GET", "/channels", "POST, OPTIONS", "GET /api/channels"), ("POST", "/api/stats", "GET, HEAD, OPTIONS", "/channels/NAME"),
        ("BREW", "/", "GET, HEAD, OPTIONS", "/channels/NAME"), ("POST", "/pub", "GET, HEAD, OPTIONS", "publish at /channels/NAME"),
        ("POST", "/api/channels/a", "GET, HEAD, DELETE, OPTIONS", "publish at /channels/NAME"),
        ("POST", "/api/channels", "GET, HEAD, OPTIONS", "a batch at /channels"),
    ):
        response = request(server, method, target)
        assert (response.status, response.error, response.header("Allow")) == (405, "method-not-allowed", allow)
        assert f"takes {allow}; " in response.json["message"] and elsewhere in response.json["message"]
    options = request(server, "OPTIONS", path_of(channel))
    assert (options.status, options.header("Allow")) == (204, "GET, HEAD, POST, PUT, OPTIONS")


def test_unknown_paths_are_404_as_json(server: Server) -> None:
    for target in ("/nothing", "/api", "/api/nothing", "/channelsx"):
        assert get(server, target).error == "not-found"


# Files.

@pytest.fixture(scope="module")
def site() -> Server:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "secret.txt").write_text("secret")
        static = root / "static"
        (static / "sub").mkdir(parents=True)
        (static / "index.html").write_text("<p>hello")
        (static / "sub" / "index.html").write_text("<p>sub")
        (static / "app.js").write_text("1")
        (static / "big.bin").write_bytes(bytes(3_000_000))
        (static / ".hidden").write_text("secret")
        (static / "sub" / ".hidden").write_text("secret")
        os.symlink("../secret.txt", static / "link.txt")
        os.symlink(str(root / "secret.txt"), static / "absolute.txt")
        os.symlink("app.js", static / "inside.js")
        with Server("--static-dir", str(static)) as running:
            yield running


def test_files_have_types_and_tags(site: Server) -> None:
    index = get(site, "/")
    assert (index.status, index.body, index.header("Content-Type")) == (200, b"<p>hello", "text/html; charset=utf-8")
    assert get(site, "/app.js").header("Content-Type") == "text/javascript; charset=utf-8"
    assert get(site, "/sub/").body == b"<p>sub"
    # Within the filter of system calls there is no openat2, and no link is followed.
    assert (get(site, "/inside.js").status == 200) == (os.environ.get("SLUICE_TEST_SECCOMP", "no") == "no")
    assert len(get(site, "/big.bin").body) == 3_000_000
    tag = index.header("ETag")
    known = get(site, "/", If_None_Match=tag or "")
    # A cache takes over the length, which has to be that of the file.
    assert (known.status, known.header("Content-Length"), known.body) == (304, get(site, "/").header("Content-Length"), b"")
    assert get(site, "/", If_None_Match='"other"').status == 200
    head = request(site, "HEAD", "/")
    assert (head.status, head.header("Content-Length")) == (200, "8")


@pytest.mark.parametrize("target", [
    "/../secret.txt", "/%2e%2e/secret.txt", "/sub/../../secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt", "/..%2fsecret.txt",
    "/link.txt", "/absolute.txt", "/.hidden", "/%2ehidden", "/sub/.hidden", "//etc/passwd", "/sub/..%5c..%5csecret.txt", "/sub", "/./.hidden",
])
def test_files_outside_the_folder_are_not_served(site: Server, target: str) -> None:
    response = get(site, target)
    assert response.status in (400, 404) and b"secret" not in response.body


@pytest.mark.parametrize(("target", "said"), [
    ("/channel/news", "/channels/NAME"), ("/channel", "/channels/NAME"), ("/Channel/news", "/channels/NAME"), ("/CHANNELS/news", "lower case"),
    ("/api/channel/news", "/api/channels/NAME"), ("/stats", "/api/stats"), ("/health", "/healthz"), ("/nothing", "/channels/NAME"), ("/metricsx", "/channels/NAME"),
])
def test_near_misses_say_what_is_there(server: Server, target: str, said: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        if method == "GET" or target not in ("/nothing", "/metricsx"):
            response = request(server, method, target)
            assert (response.status, response.error) == (404, "not-found") and said in response.json["message"]
    assert request(server, "POST", "/nothing").error == "method-not-allowed"


# Origins.

FOREIGN = "https://evil.example"


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/x-www-form-urlencoded", ""])
def test_foreign_pages_may_not_change_anything(server: Server, channel: str, content_type: str) -> None:
    publish(server, channel)
    for method, target in (("POST", path_of(channel)), ("PUT", path_of(channel)), ("POST", "/channels"),
                           ("DELETE", f"/api/channels/{channel}")):
        response = request(server, method, target, "[]", Origin=FOREIGN, Content_Type=content_type)
        assert (response.status, response.error) == (403, "forbidden-origin")
        assert FOREIGN in response.json["message"] and "allowed-origins" in response.json["message"]
    assert get(server, f"/api/channels/{channel}").json["messages"] == 1


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_the_servers_own_pages_may(server: Server, channel: str, host: str) -> None:
    response = request(server, "POST", path_of(channel), "x", Host=host, Origin=f"http://{host}")
    assert response.status == 201
    assert response.header("Access-Control-Allow-Origin") == f"http://{host}"


def test_listed_origins_may_publish_and_read(channel: str) -> None:
    with Server("--allowed-origins", "https://app.example", "--allowed-origins", "http://b.example:81") as server:
        response = request(server, "POST", path_of(channel), "x", Origin="https://app.example")
        assert response.status == 201
        for origin, allowed in (("https://app.example", "https://app.example"), ("http://b.example:81", "http://b.example:81"),
                                (FOREIGN, None), ("http://app.example", None), ("null", None)):
            read = get(server, path_of(channel, last=1), Origin=origin)
            assert (read.status, read.header("Access-Control-Allow-Origin"), read.header("Vary")) == (200, allowed, "Origin")
        with EventStream(server, path_of(channel), Origin="https://app.example") as stream:
            assert stream.response.header("Access-Control-Allow-Origin") == "https://app.example"
        preflight = request(server, "OPTIONS", path_of(channel), Origin="https://app.example",
                            Access_Control_Request_Method="PUT")
        assert preflight.header("Access-Control-Allow-Origin") == "https://app.example"
        assert "PUT" in (preflight.header("Access-Control-Allow-Methods") or "")
        assert "Idempotency-Key" in (preflight.header("Access-Control-Allow-Headers") or "")
