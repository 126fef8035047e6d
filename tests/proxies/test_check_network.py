# SPDX-License-Identifier: MIT
"""`sluice check-network` tells what stands between from what it sees."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
from collections.abc import Iterator

import pytest
from frame import Route, Running
from members import ours, tinyproxy
from support.follow import join_all, run_all
from support.server import SLUICE, Server
from support.tls import common_tls
from support.tokens import make_token, secret_file

WAYS = ("websocket", "sse", "stream", "poll")
NO_UPGRADE = {"websocket": "does not pass: answered 426"}
HELD_BACK = {"sse": "held back: nothing came", "stream": "held back: nothing came"}
CUT = {way: "cut after" for way in WAYS}
# What is said of the ways that do not pass.
EXPECTED = {
    "ours-whole": HELD_BACK, "ours-block": HELD_BACK, "ours-whole-no-upgrade": {**HELD_BACK, **NO_UPGRADE},
    "ours-block-no-upgrade": {**HELD_BACK, **NO_UPGRADE}, "ours-cut": CUT, "ours-cut-no-upgrade": {**CUT, **NO_UPGRADE},
    "ours-strip": {"websocket": "does not pass: answered 400"}, "ours-strip-no-upgrade": NO_UPGRADE,
}
MEMBERS = [*ours.MEMBERS, *tinyproxy.MEMBERS]


def check(*words: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run([SLUICE, "check-network", *words], capture_output=True, text=True, check=False, env={**os.environ, **variables})
    return done.returncode, done.stdout, done.stderr


def verdicts(text: str) -> dict[str, str]:
    """Of the ways that do not pass."""
    rows = re.findall(rf"^({'|'.join(WAYS)}) +(?:-|\d+ ms) +(?:-|\d+ of \d+) +(?:-|\d+ ms, \d+ ms) +(.*)$", text, re.MULTILINE)
    assert [way for way, _ in rows] == list(WAYS), text
    return {way: said for way, said in rows if said != "passes"}


def like(found: dict[str, str], expected: dict[str, str]) -> bool:
    return found.keys() == expected.keys() and all(found[way].startswith(expected[way]) for way in found)


def see_through(proxy: Running, route: Route) -> None:
    server = {"before": route.port, "http": proxy.server.port, "https": proxy.secure_port}[route.kind]
    words = ["--hold", "4s", "--ca", str(common_tls().authority.pair.cert)]
    words += [] if route.kind == "before" else ["--proxy", f"http://127.0.0.1:{proxy.port}"]
    status, said, complaint = check(*words, f"http{'s' if route.kind == 'https' else ''}://127.0.0.1:{server}/")
    expected = EXPECTED.get(proxy.member.name) or ({"websocket": "does not pass: CONNECT tunnel failed, response 403"} if route.kind == "http" else {})
    assert not complaint and like(verdicts(said), expected), said
    assert status == (1 if expected else 0) and ("docs/PROXIES.md" in said) == bool(expected)
    posts, accepted = re.search(r"^publishing by POST: (\d+) of (\d+)", said, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert posts == accepted == ("11" if "websocket" in expected and proxy.member.name != "ours-cut" else accepted), said


def test_what_stands_between_is_seen(proxies: dict[str, Running]) -> None:
    join_all(run_all([lambda proxy=proxy, route=route: see_through(proxy, route) for proxy in proxies.values() for route in proxy.routes()]))


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        yield server


def test_with_a_token_that_says_so_everything_passes_and_without_nothing(guarded: Server) -> None:
    url = f"http://127.0.0.1:{guarded.port}"
    status, said, _ = check("--hold", "0", "--token", make_token(["mine/**"], ["mine/**"]), "--channel", "mine/check", url)
    assert status == 0 and verdicts(said) == {} and "channel mine/check" in said
    status, said, _ = check("--hold", "0", url)
    assert status == 3 and like(verdicts(said), {**dict.fromkeys(WAYS, "does not pass: answered 401 (no-token)"), "websocket": "does not pass: no-token: "})
    assert "it wants a --token" in said and "docs/PROXIES.md" not in said
    status, said, _ = check("--hold", "0", "--token", "x", url)
    assert status == 3 and like(verdicts(said), {**dict.fromkeys(WAYS, "does not pass: answered 401 (bad-token)"), "websocket": "does not pass: answered 401 Unauthorized (bad-token)"})
    status, said, _ = check("--hold", "0", "--token", make_token(["mine/**"], ["other"]), "--channel", "mine/check", url)
    assert status == 3 and "the others: answered 403 (forbidden-channel)" in said


def test_the_report_names_the_proxy_and_keeps_its_password(proxies: dict[str, Running]) -> None:
    proxy = proxies["tinyproxy"]
    url = f"http://127.0.0.1:{proxy.server.port}"
    _, said, _ = check("--hold", "0", f"{url}/check.html", http_proxy=f"http://anna:secret@127.0.0.1:{proxy.port}", no_proxy="")
    assert said.startswith(f"{url}, channel check/") and f", through http://…@127.0.0.1:{proxy.port} (http_proxy)\n" in said and "secret" not in said
    assert re.search(r"^between, as it says: .*tinyproxy", said, re.MULTILINE)
    status, said, _ = check("--hold", "0", url, http_proxy=f"http://127.0.0.1:{proxy.port}", no_proxy="127.0.0.1")
    assert status == 0 and "(http_proxy; but not to those that no_proxy names: 127.0.0.1)" in said and "between" not in said


def test_the_proxy_of_the_command_line_counts_more_than_the_environment(proxies: dict[str, Running]) -> None:
    proxy = proxies["tinyproxy"]
    _, said, _ = check("--hold", "0", "--proxy", f"127.0.0.1:{proxy.port}", f"http://127.0.0.1:{proxy.server.port}", no_proxy="127.0.0.1")
    assert re.search(r"^between, as it says: .*tinyproxy", said, re.MULTILINE)


def test_somebody_who_is_not_trusted_and_a_listener_that_speaks_tls(proxies: dict[str, Running]) -> None:
    port = next(iter(proxies.values())).secure_port
    status, said, _ = check("--hold", "0", f"https://127.0.0.1:{port}")
    assert status == 3 and said.count("(--ca FILE: whom to trust)") == 5
    status, said, _ = check("--hold", "0", f"http://127.0.0.1:{port}")
    assert status == 3 and said.count("(tls-wanted)") == 6


def test_a_websocket_is_asked_for_as_a_page_of_the_server_does() -> None:
    heads = []

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heads.append(self.headers)
            body = b'{"error":"forbidden-origin","message":"no"}'
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nServer: a box\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as box:
        run_all([box.serve_forever])
        url = f"http://127.0.0.1:{box.server_port}"
        status, said, _ = check("--hold", "0", url)
        box.shutdown()
    assert status == 3 and verdicts(said)["websocket"] == "does not pass: answered 403 Forbidden (forbidden-origin) by a box"
    assert {head["Origin"] for head in heads if head["Upgrade"]} == {url}


def test_nobody_there_and_somebody_else() -> None:
    with Server() as server:
        port = server.port
    status, said, _ = check("--hold", "0", f"http://127.0.0.1:{port}")
    assert status == 3 and len(verdicts(said)) == 4 and "Couldn't connect" in said
    status, said, _ = check("--hold", "0", "http://name.invalid")
    assert status == 3 and "Could not resolve host" in said


@pytest.mark.parametrize(("words", "complaint"), [
    ((), "URL is missing"), (("http://a", "http://b"), "more than one"), (("ftp://a",), "no address of a server"), (("http://",), "no address of a server"),
    (("http://a/?b",), "no address of a server"), (("--hold", "long", "http://a"), "--hold takes a time"), (("--hold", "25h", "http://a"), "--hold takes a time"),
    (("--proxies", "x", "http://a"), "--proxies is unknown"), (("http://a", "--token"), "--token is unknown or lacks its value"),
    (("http://a/channels/b",), "is that of a channel"), (("--ca", "/nowhere", "https://a"), "/nowhere No such file"),
    (("--channel", "a b", "http://a"), "--channel takes a name"), (("--channel", "a" * 201, "http://a"), "--channel takes a name"),
])
def test_a_mistake_is_named(words: tuple[str, ...], complaint: str) -> None:
    status, said, complained = check(*words)
    assert status == 2 and not said and complaint in complained and complained.count("\n") == 1
