# SPDX-License-Identifier: MIT
"""What docs/CHANNELS.md, LIMITS.md, LISTENERS.md, TLS.md, SERVICE.md and SECURITY.md say, sentence by sentence."""

import contextlib
import json
import os
import pathlib
import pwd
import re
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, Response, get, path_of, publish, request, request_bytes
from support.redis import log_lines, metric
from support.reloading import Reloading
from support.server import SLUICE, SOURCE, Server, wait_until
from support.sockjs import Session
from support.supervisor import ActivatedServer, Supervisor, is_sanitized
from support.tcp import Raw, Resp
from support.tls import Authority, Tls
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket

KEY = ("--jwt-key", f"HS256:{secret_file()}")
ADMIN = bearer(make_token(admin=True))


def check_config(*words: str, text: str | None = None, folder: pathlib.Path | None = None, **environment: str) -> tuple[int, str]:
    if text is not None and folder:
        (folder / "sluice.conf").write_text(text)
        words = ("--config", str(folder / "sluice.conf"), *words)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    done = subprocess.run([SLUICE, "check-config", *words], capture_output=True, text=True, timeout=20,
                          env={**inherited, "SLUICE_STATIC_DIR": "", **environment})
    return done.returncode, done.stdout + done.stderr


def outcome(response: Response) -> str:
    return "done" if response.status < 300 else response.error


def page(name: str) -> str:
    return (SOURCE / name).read_text()


# docs/CHANNELS.md

def test_the_first_example_does_what_its_comments_say() -> None:
    example = re.search(r"((?:^    .*\n|^\n)+)", page("docs/CHANNELS.md").split("covers:\n", 1)[1], re.MULTILINE)
    assert example
    with Reloading(re.sub("^    ", "", example[1], flags=re.MULTILINE), *KEY) as server:
        assert outcome(get(server, path_of("news/x", last=1, wait=0))) == "done"
        assert outcome(request(server, "POST", "/channels/news/x", "x")) == "no-token"
        own = bearer(make_token(["user/7"], ["**"]))
        assert outcome(get(server, path_of("user/7", last=1, wait=0), **own)) == "done"
        assert outcome(get(server, path_of("user/8", last=1, wait=0), **own)) == "forbidden-channel"
        assert outcome(request(server, "POST", "/channels/user/7", "x", **own)) == "forbidden-channel"
        for channel in ("news/x", "news/x/live"):
            publish(server, channel, **own)
        shown = {name: get(server, f"/api/channels/{name}", **ADMIN).json for name in ("news/x", "news/x/live")}
        assert [(each["options"]["history-size"], each["messages"]) for each in shown.values()] == [("1000", 1), ("0", 0)]


ORDER = ("news/x", "news/*", "news/**", "*/x", "**")


@pytest.mark.parametrize("first", range(len(ORDER) + 1))
def test_the_most_specific_section_wins_option_by_option(first: int, tmp_path: pathlib.Path) -> None:
    """Without those before it each of them wins, in the order of the page; without any the command line does."""
    sections = [f'[channel "{pattern}"]\nhistory-size = {i}\n' for i, pattern in enumerate(ORDER) if i >= first]
    text = "history-ttl = 7s\n" + "".join(reversed(sections))
    status, output = check_config("--history-size", "99", "--explain", "news/x", text=text, folder=tmp_path, SLUICE_CHANNEL_TTL="9s")
    assert status == 0
    line = next(line for line in output.splitlines() if line.startswith("history-size"))
    if first == len(ORDER):
        assert line.startswith("history-size = 99 ") and "command line" in line
    else:
        number = (tmp_path / "sluice.conf").read_text().splitlines().index(f"history-size = {first}") + 1
        assert line.startswith(f"history-size = {first} ") and f"sluice.conf:{number}" in line and f'[channel "{ORDER[first]}"]' in line
    assert "history-ttl = 7s" in output and "sluice.conf:1" in output and "channel-ttl = 9s" in output


def test_check_config_prints_all_sections_the_more_specific_first(tmp_path: pathlib.Path) -> None:
    text = "".join(f'[channel "{pattern}"]\nhistory-size = 1\n' for pattern in reversed(ORDER))
    status, output = check_config(text=text, folder=tmp_path)
    assert status == 0 and re.findall(r'^\[channel "(.*)"\]', output, re.MULTILINE) == list(ORDER)


@pytest.mark.parametrize("pattern", ["user*", "a/**/b", "**/a", "a//b", "", "a/../b"])
def test_patterns_that_cover_something_else_than_they_look_like(pattern: str, tmp_path: pathlib.Path) -> None:
    status, output = check_config(text=f'retry = 3\n[channel "{pattern}"]\n', folder=tmp_path)
    assert status == 2 and "sluice.conf:2" in output, output


def test_which_options_a_section_may_have(tmp_path: pathlib.Path) -> None:
    """Those that docs/OPTIONS.md marks with *channel*, and no others."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:[^|]|\\\|)* \| (?:[^|]|\\\|)* \| (.*) \|$", page("docs/OPTIONS.md"), re.MULTILINE)
    marked = {name for name, text in rows if text.endswith("*channel*")}
    assert "history-size" in marked and "retry" not in marked and len(rows) > 60
    for name in (name for name, _ in rows if name != "config"):
        status, output = check_config(text=f'[channel "a"]\n{name} = 1\n', folder=tmp_path)
        refused = status == 2 and "a section may have" in output
        assert refused != (name in marked), output


def test_a_reload_takes_all_or_nothing_and_names_file_and_line() -> None:
    with Reloading('[channel "a"]\nsubscribe = nobody\n') as server:
        line = server.change('[channel "a"]\nsubscribe = anyone\nhistory-size = x\n', "reload-failed")
        assert f"{server.configuration.name}:3" in line["reason"]
        assert outcome(get(server, path_of("a", last=1, wait=0))) == "forbidden-channel"


@pytest.mark.parametrize(("text", "place"), [
    ("retry = 3\njwt-key = HS256:/nonexistent\n", "sluice.conf:2: jwt-key = "), ("retry = 3\nuser = nosuch-user\n", "sluice.conf:2: user = "),
    ("http = 127.0.0.1:0\nhttp = localhost\n", "sluice.conf:1,2: http = 'localhost'"), ("broker = redis:1\n", "sluice.conf:1: broker: "),
    ("publish-keys = /nonexistent\n", "sluice.conf:1: publish-keys = "), ("tcp = 127.0.0.1:0 framing=x\n", "sluice.conf:1: tcp = "),
    ("tls-cert = x\n", "sluice.conf:1: 'tls-cert' stands behind an address"), ("allowed-origins = https://*.example.org\n", "sluice.conf:1: allowed-origins = ")])
def test_whatever_is_wrong_is_told_with_its_line(text: str, place: str, tmp_path: pathlib.Path) -> None:
    status, output = check_config(text=text, folder=tmp_path)
    assert status == 2 and place in output, output


def test_what_is_wrong_in_the_environment_or_found_by_a_reload_has_its_place_too() -> None:
    assert "environment SLUICE_JWT_KEY: jwt-key = " in check_config(SLUICE_JWT_KEY="HS256:/nonexistent")[1]
    with Reloading("") as server:
        reason = server.change("retry = 3\njwt-key = HS256:/nonexistent\n", "reload-failed")["reason"]
        assert f"{server.configuration.name}:2: jwt-key = " in reason


# docs/LIMITS.md

EVERYWHERE = ("--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp")


def test_rates_in_the_words_of_whatever_the_client_speaks() -> None:
    with Server("--publish-rate", "1", "--rate-burst", "0", *EVERYWHERE) as server:
        def post() -> Response:
            return request(server, "POST", "/channels/a", "x")

        wait_until(lambda: post().status == 429)
        answer = post()
        assert answer.error == "publish-rate" and int(answer.header("Retry-After") or 0) >= 1
        item = request(server, "POST", "/channels", '[{"channel":"a","data":1},{"channel":"a","data":2}]', Content_Type="application/json").json[1]
        assert item["error"] == "publish-rate" and item["retry_after"] >= 1
        with WebSocket(server, "/ws") as client:
            for _ in range(2):
                client.put_json({"op": "publish", "channel": "a", "data": 1})
            second = [client.take_json() for _ in range(2)][1]
            assert second["code"] == "publish-rate" and second["retry_after"] >= 1
        with Raw(server, 0) as raw, Resp(server, 1) as resp:
            assert re.match(rb"ERROR publish-rate .*\d", [raw.ask(b"PUBLISH a x") for _ in range(2)][1])
            assert re.search(r"-.*\d", str([resp.run("PUBLISH", "a", "x") for _ in range(2)][1]))
        assert metric(server, "publishes_over_rate_total") >= 5


def test_an_event_source_over_a_rate_gets_a_stream_of_retry_only() -> None:
    with Server("--subscribe-rate", "1", "--rate-burst", "0") as server:
        wait_until(lambda: get(server, path_of("a", wait=0, last=1)).status == 429)
        answer = get(server, path_of("a"), Accept="text/event-stream")
        assert answer.status == 200 and re.fullmatch(rb"retry: ?\d+\n+", answer.body), answer
        assert metric(server, "subscriptions_over_rate_total") >= 1


def test_too_many_channels_and_sessions() -> None:
    with Server("--max-channels-per-connection", "2", "--max-channels", "3", "--max-sessions", "1", "--sockjs", "/sockjs disconnect-delay=1m") as server:
        query = "&".join(f"channel=c{i}" for i in range(64))
        assert get(server, f"/channels/a?{query}&wait=0").error == "too-many-channels"
        with WebSocket(server, "/ws") as client:
            client.put_json({"op": "subscribe", "channels": ["a", "b", "c"]})
            assert client.take_json()["code"] == "too-many-channels"
        Session(server, "/sockjs").open()
        assert b"too-many-sessions" in Session(server, "/sockjs").post("xhr").body
        assert metric(server, "sockjs_sessions_refused_total") == 1
        for name in "abc":
            publish(server, name)
        refused = request(server, "POST", "/channels/d", "x")
        assert (refused.status, refused.error) == (503, "channel-limit") and metric(server, "channels_refused_total") == 1


def test_too_many_connections_of_an_address() -> None:
    """A server of its own: the connections of whoever asked it something before are counted until it has seen their end."""
    with Server("--max-connections-per-ip", "3", "--trusted-proxies", "") as server:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                wait_until(lambda: stack.enter_context(Connection(server)).request("GET", "/healthz").status == 200)
            answer = wait_until(lambda: (told := get(server, "/healthz")).status == 503 and told)
            assert answer.error == "too-many-from-address"
        wait_until(lambda: get(server, "/healthz").status == 200)
        wait_until(lambda: re.search(rb"^sluice_connections_refused_total [1-9]", get(server, "/metrics").body, re.MULTILINE))


def test_who_speaks_for_many_and_rates_of_a_token() -> None:
    with Server("--publish-rate", "1", "--publish-rate-per-token", "2", "--rate-burst", "0", *KEY) as server:
        def posts(token: str) -> list[int]:
            return [request(server, "POST", "/channels/a", "x", **bearer(token)).status for _ in range(4)]

        assert posts(make_token([], ["**"], admin=True)) == [201] * 4
        anna = make_token([], ["**"], sub="anna")
        assert posts(anna)[-1] == 429


# docs/LISTENERS.md

def test_the_environment_separates_addresses_by_semicolons(tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    environment = {"SLUICE_ADMIN": f"unix:{first} mode=0666; unix:{second}"}
    with Server(environment=environment):
        assert [path.stat().st_mode & 0o777 for path in (first, second)] == [0o666, 0o660]


@pytest.mark.parametrize(("address", "complaint"), [
    ("127.0.0.1:0 mode=0600", "unix:/path"), ("127.0.0.1:0 tls-cert=x", "tls-key"), ("127.0.0.1:0 nonsense=1", "proxy-protocol="),
    ("127.0.0.1:0 proxy-protocol=v1", "yes or no"), ("127.0.0.1", "host:port, [v6]:port or :port")])
def test_check_config_says_what_is_wrong_with_an_address(address: str, complaint: str) -> None:
    for option in ("http", "admin"):
        status, output = check_config(f"--{option}", address)
        assert status == 2 and option in output and complaint in output, output


def test_an_admin_listener_needs_no_right_and_hides_the_rest() -> None:
    with Server("--admin", "127.0.0.1:0", *KEY) as server:
        admin = server.at(server.listeners("admin")[0])
        for target in ("/api/stats", "/metrics", "/api/channels"):
            assert get(admin, target).status == 200 and get(server, target).status == 404
            assert get(server, target, **ADMIN).status == 200
            assert outcome(get(server, target, **bearer(make_token(["**"], ["**"])))) == "forbidden-admin"
            assert outcome(get(server, target, **bearer(make_token(admin=True, exp=1)))) == "token-expired"
        assert outcome(get(admin, path_of("a", last=1, wait=0))) == "no-token"


def test_behind_the_proxy_protocol_and_trusted_proxies() -> None:
    with Server("--http", "127.0.0.1:0 proxy-protocol=yes", "--log-level", "debug", "--trusted-proxies", "127.0.0.1", "--head-timeout", "5s") as server:
        behind = server.at(server.listeners("http")[1])

        def told(header: bytes) -> str:
            before = len(log_lines(server, "request"))
            with Connection(behind) as connection:
                connection.send(header + request_bytes("GET", "/healthz"))
                assert connection.read_response().status == 200
            return wait_until(lambda: log_lines(server, "request")[before:])[0]["peer"]

        assert told(b"PROXY TCP4 192.0.2.1 127.0.0.1 1234 80\r\n") == "192.0.2.1:1234"
        assert told(b"PROXY UNKNOWN\r\n").startswith("127.0.0.1:")
        assert told(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").startswith("127.0.0.1:")
        with Connection(behind, source="127.0.0.2") as stranger:
            assert stranger.is_closed()
        with Connection(behind) as silent:
            silent.send(b"GET / HTTP/1.1\r\n\r\n")
            assert silent.is_closed()
        for event in ("not-a-trusted-proxy", "no-proxy-header"):
            wait_until(lambda event=event: log_lines(server, event))
    status, output = check_config("--http", "0.0.0.0:0 proxy-protocol=yes", "--anonymous", "yes")
    assert status == 2 and "trusted-proxies" in output


@pytest.mark.parametrize(("host", "status"), [
    ("localhost:99", 200), ("127.0.0.1", 200), ("[::1]:1", 200), ("push.example", 200), ("www.example:8443", 200), ("evil.example", 421), ("192.0.2.1", 421)])
def test_names_on_loopback(host: str, status: int) -> None:
    with Server("--allowed-hosts", "push.example", "--allowed-origins", "https://www.example") as server:
        answer = get(server, "/channels/a?wait=0&last=1", Host=host)
        assert answer.status in ((status,) if status == 421 else (200, 204)), answer
        assert (status == 421) == bool(log_lines(server, "wrong-host"))
        assert get(server, "/healthz", Host=host).status == get(server, "/readyz", Host=host).status == 200


def test_allowed_hosts_of_all() -> None:
    with Server("--allowed-hosts", "*") as server:
        assert get(server, "/channels/a?wait=0&last=1", Host="evil.example").status == 204


# docs/TLS.md

@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Tls:
    return Tls(authority, authority.issue("server"))


@pytest.fixture(scope="module")
def secure(tls: Tls) -> Iterator[Server]:
    with Server("--admin", "127.0.0.1:0", "--tcp", "127.0.0.1:0 framing=resp", tls=tls) as running:
        yield running


def s_client(port: int, *words: str) -> str:
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *words], input="", capture_output=True, text=True,
                          timeout=20)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("words", "taken"), [
    (("-tls1_3",), True), (("-tls1_2",), True), (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), False), (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), False),
    (("-tls1_2", "-cipher", "ECDHE+AESGCM"), True), (("-tls1_2", "-cipher", "ECDHE+CHACHA20"), True), (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"), False),
    (("-tls1_2", "-cipher", "DHE:kRSA:@SECLEVEL=0"), False), (("-alpn", "http/1.1"), True), (("-alpn", "h2,http/1.1"), True), (("-alpn", "h2"), False)])
def test_what_is_spoken(secure: Server, words: tuple[str, ...], taken: bool) -> None:
    output = s_client(secure.port, *words)
    assert bool(re.search(r"Cipher is (?!\(NONE\))", output)) == taken, output
    if "-alpn" in words and taken:
        assert "ALPN protocol: http/1.1" in output


def test_alpn_of_raw_tcp_and_resumption(secure: Server, tls: Tls) -> None:
    port = secure.listeners("tcp")[0]
    assert "ALPN protocol: sluice" in s_client(port, "-alpn", "sluice")
    assert not re.search(r"Cipher is (?!\(NONE\))", s_client(port, "-alpn", "http/1.1"))
    output = s_client(secure.port, "-tls1_2", "-reconnect")
    assert output.count("Reused, ") == 5, output
    assert "Compression: NONE" in output


def test_who_begins_without_tls_is_told_so(secure: Server) -> None:
    plain = object.__new__(Server)
    plain.__dict__ |= {**secure.__dict__, "tls": None}
    assert request(plain, "GET", "/healthz").error == "tls-wanted"
    with Connection(plain.at(secure.listeners("tcp")[0])) as client:
        client.send(b"*1\r\n$4\r\nPING\r\n")
        assert b"tls-wanted" in client.read_to_end()
    assert metric(secure.at(secure.listeners("admin")[0]), "tls_failed_total") >= 0


def test_the_example_to_try_it_works_as_it_stands(tmp_path: pathlib.Path) -> None:
    lines = [line.strip() for line in page("docs/TLS.md").split("## To try it")[1].split("##")[0].replace("\\\n", " ").splitlines() if line.strip()]
    subprocess.run(["sh", "-c", lines[0]], cwd=tmp_path, check=True, capture_output=True)
    listener = re.search(r'"127.0.0.1:8443 (.*)"', lines[1])
    assert listener
    keys = listener[1].replace("=", f"={tmp_path}/")
    with Server("--admin", f"127.0.0.1:0 {keys}") as server:
        command = lines[2].replace("8443", str(server.listeners("admin")[0]))
        assert subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True).stdout == "ok\n"


def test_a_certificate_of_a_client_is_a_token_without_patterns(tls: Tls, tmp_path: pathlib.Path) -> None:
    people = Authority("people")
    anna = people.issue("anna", names="URI:spiffe://anna,DNS:anna.example", subject="/CN=anna", usage="clientAuth")
    nameless = people.issue("nobody", names="", subject="/O=x", usage="clientAuth")
    not_for_it = people.issue("server", usage="serverAuth")
    config = '[channel "keys/*"]\npublish = key\n[channel "never/*"]\nsubscribe = nobody\n'
    listener = f"127.0.0.1:0 {tls.pair.keys} tls-client-ca={people.pair.cert} tls-client=optional"
    with Reloading(config, *KEY, "--admin", f"127.0.0.1:0 {tls.pair.keys}", "--http", listener) as server:
        port = server.listeners("http")[1]

        def curl(pair: object, target: str, *words: str) -> str:
            shown = ["--cert", str(pair.cert), "--key", str(pair.key)] if pair else []  # type: ignore[attr-defined]
            done = subprocess.run(["curl", "-s", "--cacert", str(tls.authority.pair.cert), *shown, *words, f"https://localhost:{port}{target}"],
                                  capture_output=True, text=True, timeout=20)
            return done.stdout if done.returncode == 0 else f"failed {done.returncode}"

        look = "/channels/a/b?last=1&wait=0"
        assert curl(anna, look) == "" and '"id"' in curl(anna, "/channels/a/b", "-d", "x")
        assert "forbidden-admin" in curl(anna, "/metrics") or "not-found" in curl(anna, "/metrics")
        assert "forbidden-channel" in curl(anna, "/channels/keys/x", "-d", "x") and "forbidden-channel" in curl(anna, "/channels/never/x?wait=0")
        less = f"Authorization: Bearer {make_token(['other'])}"
        assert "forbidden-channel" in curl(anna, look, "-H", less)
        assert "no-token" in curl(None, look)
        assert curl(nameless, look).startswith("failed") or "no-token" in curl(nameless, look)
        assert curl(not_for_it, look).startswith("failed")
        admin = server.at(server.listeners("admin")[0])
        admin.tls = tls
        assert request(admin, "DELETE", "/api/tokens?sub=spiffe://anna").status == 200
        wait_until(lambda: "token-revoked" in curl(anna, look))


def test_a_certificate_that_ends_soon_is_warned_of(authority: Authority) -> None:
    for days, warned in ((13, True), (16, False)):
        with Server(tls=Tls(authority, authority.issue(f"days-{days}", days=days))) as server:
            assert bool(log_lines(server, "certificate-ends")) == warned


def test_certificates_are_read_again_without_dropping_anybody(tls: Tls, authority: Authority, tmp_path: pathlib.Path) -> None:
    pair = authority.issue("changing")
    with Server(tls=Tls(authority, pair)) as server, EventStream(server, "/channels/a") as stream:
        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", server.port))

        stream.next_block()
        first = shown()
        key = pair.key.read_text()
        pair.key.write_text("nonsense")
        server.process.send_signal(1)
        assert wait_until(lambda: log_lines(server, "reload-failed"))[0]["reason"]
        assert shown() == first
        pair.key.write_text(key)
        authority.issue("changing")
        server.process.send_signal(1)
        wait_until(lambda: log_lines(server, "reloaded"))
        assert shown() != first
        publish(server, "a", "still here")
        assert stream.next_event().data == "still here"


# docs/SERVICE.md

def test_what_a_service_manager_is_told() -> None:
    with Supervisor(WATCHDOG_USEC="200000") as supervisor:
        server = Server(environment=supervisor.environment)
        server.start()
        assert supervisor.await_("READY")["READY"] == "1"
        supervisor.await_("WATCHDOG")
        server.process.send_signal(1)
        assert "MONOTONIC_USEC" in supervisor.await_("RELOADING")
        supervisor.await_("READY")
        server.process.send_signal(15)
        supervisor.await_("STOPPING")
        server.stop()


def test_sockets_that_are_passed_take_the_places_of_addresses() -> None:
    with ActivatedServer("http,tcp", "--tcp", "127.0.0.1:1 framing=resp") as server:
        assert get(server, "/healthz").status == 200
        with Resp(server) as client:
            assert client.run("PING") == "+PONG"


def test_the_unit_is_as_the_page_says() -> None:
    unit = page("contrib/sluice.service")
    for line in ("Type=notify", "WatchdogSec=", "Environment=SLUICE_SECCOMP=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=\n", "LimitCORE=0", "ExecReload="):
        assert line in unit
    assert "FileDescriptorName=http" in page("contrib/sluice.socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_root_becomes_the_user_for_good() -> None:
    server = Server("--user", "nobody")
    os.chown(server.folder.name, pwd.getpwnam("nobody").pw_uid, -1)
    with server:
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        identities = re.search(r"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$", status, re.MULTILINE)
        assert identities and len(set(identities.groups())) == 1 and identities[1] != "0"
        assert "NoNewPrivs:\t1" in status


def test_nobody_gets_new_privileges_and_the_filter_is_on_every_thread() -> None:
    with Server() as plain:
        assert "NoNewPrivs:\t1" in pathlib.Path(f"/proc/{plain.process.pid}/status").read_text()
    if is_sanitized():
        return
    with Server("--seccomp", "yes") as server:
        assert get(server, "/healthz").status == 200
        for thread in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
            assert "Seccomp:\t2" in (thread / "status").read_text()


# SECURITY.md

def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:tests/[\w/.]+)|(?:test_\w+\.py))`", page("SECURITY.md"))
    assert len(named) > 8
    for name in named:
        assert (SOURCE / (name if "/" in name else f"tests/e2e/{name}")).exists(), name


def test_a_token_in_an_address_is_not_logged_and_not_passed_on() -> None:
    with Server(*KEY, "--log-level", "debug") as server:
        tokens = [make_token(["a"]), make_token(["a"], key="k" * 32)]
        for token in tokens:
            answer = get(server, path_of("a", last=1, wait=0, token=token))
            assert answer.header("Referrer-Policy") == "no-referrer", answer
            assert token.encode() not in answer.body
        assert not any(token in server.log() for token in tokens)


def test_no_answer_and_no_line_of_the_log_repeats_the_password_of_the_broker() -> None:
    with Server("--broker", "redis://user:hunter22@127.0.0.1:1/0", "--log-level", "debug", *EVERYWHERE) as server:
        wait_until(lambda: get(server, "/readyz").status == 503)
        answers = [get(server, target).body for target in ("/readyz", "/metrics", "/api/stats", "/channels/a?wait=0")]
        answers.append(request(server, "POST", "/channels/a", "x").body)
        assert not any(b"hunter22" in answer for answer in answers) and "hunter22" not in server.log()
    assert "hunter22" in check_config("--broker", "redis://user:hunter22@127.0.0.1:1/0")[1]


def test_401_and_403_do_not_depend_on_whether_a_channel_exists() -> None:
    with Server(*KEY) as server:
        publish(server, "there", **bearer(make_token([], ["there"])))
        for headers in ({}, bearer(make_token(["x"]))):
            answers = [get(server, path_of(name, wait=0), **headers) for name in ("there", "gone")]
            assert len({(each.status, each.error, each.json["message"].replace("there", "").replace("gone", "")) for each in answers}) == 1


def test_no_address_is_open_to_the_network_by_mistake() -> None:
    for address in ("0.0.0.0:0", "[::]:0", ":0"):
        status, output = check_config("--http", address)
        done = subprocess.run([SLUICE, "serve", "--static-dir", "", "--http", address], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "--anonymous" in done.stderr, done
        assert status == 2, output


@pytest.mark.parametrize("text", ["\r\nevent: x", "a\ndata: b", "</script>", "level=error event=forged"])
def test_what_is_published_ends_no_event_and_no_line_of_the_log(text: str) -> None:
    with Server("--log-level", "debug") as server, EventStream(server, "/channels/a") as stream:
        stream.next_block()
        assert request(server, "POST", "/channels/a?event=" + "x%0Ay", "x").status == 400
        publish(server, "a", text)
        event = stream.next_event()
        assert event.event is None and event.data == text.replace("\r\n", "\n")
        get(server, "/channels/a%0Alevel=error%20event=forged?wait=0")
        assert not [line for line in server.log().splitlines() if line.startswith("level=") or line.startswith("event=")]
        assert not log_lines(server, "forged")
