# SPDX-License-Identifier: MIT
"""What docs/CHECK.md says of `sluice check-network`; what it finds behind real proxies is in tests/proxies/test_check_network.py, the page's findings in
tests/browser/check.mjs."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import get, path_of
from support.follow import join_all, run_all
from support.server import SLUICE, SOURCE, Server
from support.tls import common_tls
from support.tokens import make_token, secret_file

PAGE = (SOURCE / "docs/CHECK.md").read_text()
WAYS = ("websocket", "sse", "stream", "poll")
ROW = re.compile(r"^(websocket|sse|stream|poll) +(-|\d+ ms) +(-|\d+ of \d+) +(-|\d+ ms, \d+ ms) +(.*)$", re.MULTILINE)
# What stands on the way gets a piece of what the server says, how many messages were in the pieces before it, and gives what is passed on.
Change = Callable[[bytes, int], bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def check(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run([SLUICE, "check-network", *words], capture_output=True, text=True, check=False, env={**clean, **environment})


def url_of(server: Server | "Way") -> str:
    return f"http://127.0.0.1:{server.port}"


def check_again(status: int, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What is said of a machine that has much else to do may be that messages came late."""
    for _ in range(3):
        done = check("--hold", "0", *words, **environment)
        if done.returncode == status:
            return done
    raise AssertionError(f"{done.stdout}{done.stderr}")


def said_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    found = {row[1]: row[5] for row in ROW.finditer(done.stdout)}
    assert list(found) == list(WAYS), done
    return found


class Way(threading.Thread):
    """What stands between: a proxy without a mind, which does to the answers of requests with `marks` in their head what `change` says. As a forward proxy
    it takes CONNECT and absolute targets, and keeps the first line of each head."""

    def __init__(self, server: Server, marks: str = "", change: Change | None = None) -> None:
        super().__init__(daemon=True)
        self.server, self.marks, self.change = server, marks, change
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lines: list[str] = []

    def __enter__(self) -> Way:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.listener.close()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = self.read_head(client)
            if not head:
                return
            self.lines.append(head.split(b"\r\n")[0].decode())
            if head.startswith(b"CONNECT"):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                head = client.recv(65536)
            with socket.create_connection(("127.0.0.1", self.server.port)) as upstream:
                upstream.sendall(head)
                is_changed = self.change is not None and self.marks.encode() in head
                back = threading.Thread(target=self.answer, args=(upstream, client, is_changed), daemon=True)
                back.start()
                with contextlib.suppress(OSError):
                    while data := client.recv(65536):
                        upstream.sendall(data)
                upstream.shutdown(socket.SHUT_WR)
                back.join()

    @staticmethod
    def read_head(client: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return b""
            head += data
        return head

    def answer(self, upstream: socket.socket, client: socket.socket, is_changed: bool) -> None:
        messages = 0
        with contextlib.suppress(OSError):
            while data := upstream.recv(65536):
                client.sendall(self.change(data, messages) if is_changed and self.change else data)
                messages += data.count(b'"id":')
            client.shutdown(socket.SHUT_RDWR)


# What it does.

def test_it_says_what_the_page_shows(server: Server) -> None:
    done = check_again(0, url_of(server))
    assert not done.stderr
    example = re.search(r"\$ sluice check-network (.*)\n((?:    .*\n|\n)+)", PAGE)
    assert example
    shown = re.sub(r"^    ", "", example[2], flags=re.MULTILINE).strip()
    # Without a proxy.
    shown = shown.replace(", through http://127.0.0.1:3128 (http_proxy)", "").replace("\nbetween, as it says: 1.1 proxy.example (squid/5.7)", "")
    shape = re.escape(shown).replace(re.escape("2026-11-22T08:40:12Z, held for 20 s"), r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, held for 0 s")
    shape = shape.replace(re.escape(example[1]), re.escape(url_of(server))).replace(r"bdkb7v2f88", r"[a-z0-9]{10}")
    shape = re.sub(r"(?:\\ )+", " +", re.sub(r"\d+\\ ms", r"\\d+ ms", shape))
    assert re.fullmatch(shape, re.sub(r" +$", "", done.stdout.strip(), flags=re.MULTILINE)), (shape, done.stdout)


def test_it_has_a_channel_of_its_own_and_publishes_eleven_messages(server: Server) -> None:
    names = []
    for _ in range(2):
        done = check("--hold", "0", url_of(server))
        names += re.findall(r"channel (check/\w+)$", done.stdout, re.MULTILINE)
    assert len(set(names)) == 2
    kept = get(server, path_of(names[0], since="earliest"), Accept="application/json").json["messages"]
    assert len(kept) == 11


def test_a_channel_may_be_named_and_is_held_in_silence(server: Server) -> None:
    begun = time.monotonic()
    done = check("--hold", "3s", "--channel", "mine", url_of(server))
    assert done.returncode == 0 and ", channel mine\n" in done.stdout and time.monotonic() - begun >= 3
    times = [message["time"] for message in get(server, path_of("mine", since="earliest"), Accept="application/json").json["messages"]]
    assert len(times) == 11 and times[10] - times[9] >= 3000 and max(after - before for before, after in zip(times[:9], times[1:10])) < 2900


@pytest.mark.long
def test_everything_is_held_for_20_s_when_nothing_is_said(server: Server) -> None:
    begun = time.monotonic()
    assert check(url_of(server)).returncode == 0
    assert 20 <= time.monotonic() - begun < 40


# What it says of a way.

def once(times: int) -> Change:
    """The first piece behind two messages that has some is passed on so often."""
    done: list[int] = []

    def change(data: bytes, before: int) -> bytes:
        if before >= 2 and b'"id":' in data and not done:
            done.append(before)
            return data * times
        return data

    return change


def delayed(data: bytes, before: int) -> bytes:
    time.sleep(1.3 if b'"id":' in data else 0)
    return data


def silent_after_ten(data: bytes, before: int) -> bytes:
    return data if before < 10 else b""


VERDICTS = {
    "nothing comes": (lambda data, before: b"", r"held back: nothing came.*"),
    "late": (delayed, r"held back: .*"),
    "silent": (silent_after_ten, r"went silent.*"),
    "missing": (once(0), r".*\d+ missing.*"),
    "twice": (once(2), r".*\d+ twice.*"),
}


def test_what_happens_to_a_way_is_named(server: Server) -> None:
    """Each message of the stream of lines comes in a chunk of its own. All at once, because each takes its time."""
    def see(change: Change, expected: str) -> None:
        with Way(server, "application/x-ndjson", change) as way:
            done = check("--hold", "1s", url_of(way))
        said = said_of(done)
        assert re.fullmatch(expected, said.pop("stream")), done.stdout
        assert set(said.values()) == {"passes"} and done.returncode == 1, done.stdout

    join_all(run_all([lambda verdict=verdict: see(*verdict) for verdict in VERDICTS.values()]))


def test_what_is_cut_in_the_silence_is_told_with_the_time(server: Server) -> None:
    cuts: list[socket.socket] = []

    class Cutting(Way):
        def answer(self, upstream: socket.socket, client: socket.socket, is_changed: bool) -> None:
            if is_changed:
                timer = threading.Timer(4, self.cut, (upstream, client))
                timer.daemon = True
                timer.start()
                cuts.append(client)
            super().answer(upstream, client, False)

        @staticmethod
        def cut(*ends: socket.socket) -> None:
            for each in ends:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    with Cutting(server, "application/x-ndjson", lambda data, before: data) as way:
        done = check("--hold", "8s", url_of(way))
    said = said_of(done)
    found = re.fullmatch(r"cut after (\d+(?:\.\d)?) s: .+", said["stream"])
    assert found and cuts and 3 <= float(found[1]) <= 8 and done.returncode == 1, done.stdout


def test_what_cannot_be_opened_is_told_with_the_status_and_who_gave_it(server: Server) -> None:
    def refuse(data: bytes, before: int) -> bytes:
        return b"HTTP/1.1 403 Forbidden\r\nVia: 1.1 guard.example\r\nServer: Guard\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"  # or others would come over it, too

    with Way(server, "text/event-stream", refuse) as way:
        done = check("--hold", "0", url_of(way))
    said = said_of(done)["sse"]
    assert said.startswith("does not pass: answered 403") and "guard.example" in said and done.returncode == 1, done.stdout
    assert "PROXIES.md" in done.stdout


# Flags.

def test_it_goes_through_the_proxy_that_is_named_and_a_websocket_by_connect(server: Server) -> None:
    with Way(server) as way:
        done = check_again(0, "--proxy", f"http://user:password@127.0.0.1:{way.port}", url_of(server), no_proxy="127.0.0.1")
        assert f"127.0.0.1:{way.port}\n" in done.stdout and not re.search("user|password", done.stdout), "it is named, without user and password, whatever no_proxy says"
        assert [line for line in way.lines if line.startswith("CONNECT")] and [line for line in way.lines if line.startswith("GET http://")]
        assert [line for line in way.lines if line.startswith("POST http://")]


def test_without_it_the_environment_says_which(server: Server) -> None:
    with Way(server) as way:
        assert f", through {url_of(way)} (http_proxy)\n" in check_again(0, url_of(server), http_proxy=url_of(way)).stdout
        assert way.lines
        way.lines.clear()
        check_again(0, url_of(server), http_proxy=url_of(way), no_proxy="127.0.0.1")
        assert not way.lines
        authority = str(common_tls().authority.pair.cert)
        with Server("--http", f"127.0.0.1:0 {common_tls().pair.keys}") as both:
            secure = both.at(both.listeners("http")[1])
            with Way(secure) as other:
                check_again(0, "--ca", authority, f"https://127.0.0.1:{secure.port}", https_proxy=url_of(other))
                assert other.lines and all(line.startswith("CONNECT") for line in other.lines)


def test_whom_to_trust() -> None:
    tls = common_tls()
    with Server("--http", f"127.0.0.1:0 {tls.pair.keys}") as server:
        url = f"https://127.0.0.1:{server.listeners('http')[1]}"
        check_again(0, "--ca", str(tls.authority.pair.cert), url)
        done = check("--hold", "0", url)
        assert done.returncode == 3 and all("does not pass" in said for said in said_of(done).values()), "the system does not trust it"


def test_a_token_for_the_channel_is_needed_where_one_is() -> None:
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        def see(status: int, *words: str) -> None:
            check_again(status, *words, url_of(server))

        join_all(run_all([lambda: see(3), lambda: see(3, "--token", make_token([], ["check/**"])),
                          lambda: see(0, "--token", make_token(["check/**"], ["check/**"]))]))


# What it is.

@pytest.mark.parametrize(("words", "status"), [((), 2), (("--nonsense", "http://a"), 2), (("http://name.invalid",), 3)])
def test_the_exit_status(words: tuple[str, ...], status: int) -> None:
    assert check("--hold", "0", *words).returncode == status


def test_it_is_a_program_of_its_own_on_libcurl() -> None:
    ldd = shutil.which("ldd")
    program = pathlib.Path(SLUICE).parent / "sluice-check-network"
    if not ldd or not program.exists():
        pytest.skip("there is no ldd, or the program is not beside the server")
    libraries = {path: subprocess.run([ldd, path], capture_output=True, text=True, check=False).stdout for path in (SLUICE, str(program))}
    assert "libcurl" not in libraries[SLUICE] and "libcurl" in libraries[str(program)]


def test_the_page_of_the_browser_is_served_and_tries_the_same_ways(server: Server) -> None:
    page, script = (get(server, path) for path in ("/check.html", "/check.js"))
    assert page.status == script.status == 200
    assert all(f"{way}" in (script.body + page.body).decode() for way in WAYS)
    assert set(re.findall(r"^    (\w+) +\d+ ms  ", PAGE, re.MULTILINE)) == set(WAYS)
