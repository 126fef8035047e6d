# SPDX-License-Identifier: MIT
"""What docs/OPTIONS.md says of each option: its values are taken in all three places, others are refused with the bounds."""

import dataclasses
import os
import pathlib
import re
import subprocess

import pytest
from support.server import SLUICE, SOURCE
from support.tokens import key_file, make_private_key, public_pem, secret_file

PEM_FILE = key_file("documented.pem", public_pem(make_private_key("RS256")))
SET_FILE = key_file("documented.jwks", '{"keys":[{"kty":"oct","alg":"HS256","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}')
PUBLISHERS_FILE = key_file("documented.keys", "shop:" + "A" * 64 + "\n")

ROW = re.compile(r"^\| `([a-z-]+)` \| (.+?)(?:, repeatable)? \| (.+?) \| (.+) \|$", re.MULTILINE)
RANGE = re.compile(r"^(N|TIME|BYTES), (\S+) to (\S+)$")
BEYOND = {"N": ["{over}", "1.5", "-1"], "TIME": ["{over}", "5min", "1.5h"], "BYTES": ["{over}", "4MB", "1.5KiB"]}
# Values that the text of a row names; where a row has a range, its ends and its default come on top. A row of words (yes|no) names all of
# its values.
EXAMPLES = {
    "http": ["127.0.0.1:8080", "[::1]:8080", ":8080", "localhost:0 proxy-protocol=yes", "unix:/tmp/http", "unix:/tmp/http mode=0666"],
    "admin": ["127.0.0.1:8081", "unix:/tmp/admin mode=0600", ""],
    "tcp": ["127.0.0.1:5567", "[::1]:5567", "unix:/tmp/socket mode=0600", "127.0.0.1:5567 framing=crlf input=echo feed=updates",
            "127.0.0.1:5567 framing=len32 input=publish:blobs feed=a,b", "127.0.0.1:5567 framing=nul ping=30 default-channel=news"],
    "sockjs": ["/sockjs", "/a/b app=echo legacy=yes", "/c app=close websocket=no cookie=yes", "",
               "/d app=publish:chat feed=chat,news response-limit=4KiB disconnect-delay=1m client=https://host/sockjs.min.js"],
    "broker": ["memory:", "redis://user:password@host:6379/0", "redis://host:6379,host:6380", "unix:///path", "unix:///path?db=3",
               "redis-sentinel://host:26379,other:26379/master-name/0", "redis://[::1]:6379/0", "redis://127.0.0.1",
               "rediss://user:password@host:6379/0", "rediss-sentinel://host/master-name/0?sentinel-user=a&sentinel-password=b"],
    "redis-tls-ca": [""], "redis-tls-cert": [""], "redis-tls-key": [""], "redis-tls-name": [""],
    "redis-subscribe": ["updates", "scores.*"],
    "static-dir": ["/tmp", ""],
    "jwt-key": [f"HS256:{secret_file()}", f"RS256/2026:{PEM_FILE}", f"HS512/a-b:{secret_file()}", ""],
    "jwt-jwks": [SET_FILE, ""],
    "jwt-audience": ["https://push.example", "push", ""],
    "jwt-issuer": ["https://login.example", ""],
    "publish-keys": [PUBLISHERS_FILE, ""],
    "allowed-hosts": ["push.example", "192.0.2.1", "[2001:db8::1]", "*", ""],
    "trusted-proxies": ["local", "10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1", ""],
    "allowed-origins": ["https://host", "https://host:8443", "http://localhost:3000", "*"],
    "alternatives": ["https://b.example", "http://127.0.0.1:8080/push", ""],
    "ready-file": ["/tmp/ready"],
    "user": ["nobody", "nobody:nogroup", ""],
    "publish": ["auto", "key", "token", "key,token", "anyone", "nobody"],
    "history-ttl": ["100ms", "5", "5s", "5m", "5h", "5d"],
    "history-bytes": ["4096", "4KiB", "4MiB", "4GiB"],
}
WRONG = {
    "http": {"127.0.0.1": "host:port, [v6]:port or :port", "127.0.0.1:65536": "0 to 65535", "127.0.0.1:x": "0 to 65535", "": "an address is missing",
             "127.0.0.1:0 mod=0600": "mode=", "127.0.0.1:0 proxy-protocol=v2": "yes or no", "127.0.0.1:0 mode=0600": "unix:/path", "unix:/tmp/socket mode=x": "octal"},
    "admin": {"127.0.0.1": "host:port, [v6]:port or :port", "127.0.0.1:0 mode=0600": "unix:/path"},
    "tcp": {"127.0.0.1:0 framing=x": "auto, crlf, nul, len32 or resp", "127.0.0.1:0 frame=nul": "framing=, feed=, input=",
            "127.0.0.1:0 input=x": "command, echo, publish:CHANNEL or ignore", "127.0.0.1:0 feed=a,,b": "channel name",
            "127.0.0.1:0 ping=x": "number of seconds", "unix:/tmp/socket mode=999": "octal", "127.0.0.1:0 mode=0600": "unix:/path"},
    "sockjs": {"sockjs": "begins with /", "/a/": "no empty", "/channels/a": "taken", "/a app=x": "commands, echo, close or publish:CHANNEL",
               "/a apps=echo": "app=, feed=, websocket=", "/a cookie=1": "yes or no", "/a response-limit=0": "from 1 to 1GiB", "/a disconnect-delay=99ms": "from 100ms to 24h",
               "/a app=echo app=echo": "twice", "/a app=close feed=a": "app=close", "/a feed=a,a": "twice", "/a client=x\"": "URL"},
    "broker": {"memory": "memory:", "http://host": "redis://host:port/db", "redis://host:abc": "0 to 65535",
               "redis://host/x": "number", "redis-sentinel://host": "master's name", "rediss://host/x": "number",
               "redis://a:1,b:2/3": "no database but 0", "unix://relative": "absolute"},
    "redis-tls-ca": {"/etc/passwd": "has no TLS"}, "redis-tls-cert": {"/etc/passwd": "has no TLS"},
    "redis-tls-key": {"/etc/passwd": "has no TLS"}, "redis-tls-name": {"redis": "has no TLS"},
    "redis-subscribe": {"updates, scores.*": "one", "a b": "one"},
    "static-dir": {"/nonexistent": "No such file or directory", "/etc/passwd": "Not a directory"},
    "anonymous": {"maybe": "yes or no", "": "yes or no"},
    "jwt-key": {"HS256": "ALG:FILE or ALG/KID:FILE", "none:/etc/passwd": "HS256, HS384", "HS256:": "names no file", "HS256:/nonexistent": "No such file"},
    "jwt-jwks": {"/nonexistent": "No such file", "/etc/passwd": "is not JSON"},
    "publish-keys": {"/nonexistent": "No such file", "/etc/passwd": "NAME:HASH"},
    "allowed-hosts": {"https://push.example": "without a port", "push.example:80": "without a port", "a b": "host name", "2001:db8::1": "brackets"},
    "trusted-proxies": {"nowhere": "10.0.0.0/8 or fd00::/8, or local", "10.0.0.0/33": "10.0.0.0/8", "10.0.0.1/8": "first address"},
    "forwarded-header": {"x-real-ip": "x-forwarded-for|forwarded"},
    "allowed-origins": {"host": "https://host[:port]", "https://host/": "without a path"},
    "subscribe": {"key": "auto|anyone|token|nobody", "token,anyone": "one of", "": "one of"},
    "publish": {"admin": "auto|key|token|anyone|nobody", "nobody,key": "'nobody', which stands alone", "key,": "separated by commas",
                "": "separated by commas"},
    "alternatives": {"b.example": "must be a URL", "https://": "must be a URL", "https://b/?x=1": "without a query", "https://b/": "a / at its end"},
    "log-level": {"warning": "debug|info|warn|error"},
    "user": {"nosuch": "there is no user"},
}


@dataclasses.dataclass
class Option:
    name: str
    values: list[str]
    wrong: dict[str, str]


def option(name: str, value: str, default: str) -> Option:
    values, wrong = list(EXAMPLES.get(name, [])), dict(WRONG.get(name, {}))
    if "\\|" in value and not values:
        values = value.split("\\|")
        wrong |= {"perhaps": "yes or no" if values == ["yes", "no"] else "|".join(values)}
    if found := RANGE.match(value):
        kind, least, most = found.groups()
        values += [least, most, default]
        unit = re.sub(r"\d", "", most)
        over = f"{int(re.sub('[^0-9]', '', most)) + 1}{unit}"
        wrong |= {text.format(over=over): f"from {least} to {most}" for text in BEYOND[kind]}
        if least not in ("0", "1"):
            wrong["0"] = f"from {least} to {most}"
    return Option(name, values, wrong)


OPTIONS = [option(*row[:3]) for row in ROW.findall((SOURCE / "docs/OPTIONS.md").read_text()) if row[0] != "config"]
ROUNDS = range(max(len(option.values) for option in OPTIONS))


def check_config(*words: str, file: pathlib.Path | None = None, **environment: str) -> tuple[int, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    if file:
        words = ("--config", str(file), *words)
    # The folder that is built in is there after `make install` only.
    if not any("static-dir" in word for word in words) and (not file or "static-dir" not in file.read_text()):
        environment.setdefault("SLUICE_STATIC_DIR", "/tmp")
    done = subprocess.run([SLUICE, "check-config", *words], capture_output=True, text=True, env={**inherited, **environment}, timeout=20)
    return done.returncode, done.stdout + done.stderr


def in_force(output: str, name: str) -> str:
    line, = re.findall(rf"^{name} = (.*?) *; .*$", output, re.MULTILINE)
    return line


@pytest.mark.parametrize("number", ROUNDS)
def test_documented_values_are_taken_in_all_three_places(number: int, tmp_path: pathlib.Path) -> None:
    """One value of each option at a time; poll-wait and poll-wait-max go up together."""
    values = {option.name: option.values[number % len(option.values)] for option in OPTIONS}
    file = tmp_path / "file.ini"
    file.write_text("# comment\n; comment\n" + "".join(f"{name} = {value} ; the rest\n" for name, value in values.items()))
    variables = {"SLUICE_" + name.upper().replace("-", "_"): value for name, value in values.items()}
    by_words = check_config(*(word for name, value in values.items() for word in (f"--{name}", value)))
    for status, output in by_words, check_config(file=file), check_config(**variables):
        assert status == 0, output
        assert {name: in_force(output, name) for name in values} == {name: in_force(by_words[1], name) for name in values}


@pytest.mark.parametrize("option", [each for each in OPTIONS if each.wrong], ids=lambda option: option.name)
def test_other_values_are_refused_with_what_is_allowed(option: Option, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    file.write_text(f"{option.name} = {next(iter(option.wrong))}\n")
    assert check_config(file=file)[0] == 2
    for value, allowed in option.wrong.items():
        status, output = check_config(f"--{option.name}", value)
        assert status == 2, f"{value!r} was taken:\n{output}"
        assert option.name in output and allowed in output, output


def test_the_command_line_precedes_the_environment_and_that_the_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    file.write_text("history-size = 3\nretry = 3\nshards = 3\n")
    status, output = check_config("--history-size", "1", file=file, SLUICE_HISTORY_SIZE="2", SLUICE_RETRY="2")
    assert status == 0
    assert [in_force(output, name) for name in ("history-size", "retry", "shards")] == ["1", "2s", "3"]


def test_repeatable_options_are_repeated_or_separated(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    file.write_text("redis-subscribe = a\nredis-subscribe = b.*\n")
    for status, output in (check_config("--redis-subscribe", "a", "--redis-subscribe", "b.*"), check_config(file=file),
                           check_config(SLUICE_REDIS_SUBSCRIBE="a, b.*"), check_config(SLUICE_REDIS_SUBSCRIBE="a b.*")):
        assert status == 0
        assert re.findall(r"^redis-subscribe = (\S+)", output, re.MULTILINE) == ["a", "b.*"]


@pytest.mark.parametrize(("text", "complaint"), [
    ("[server]\nretry = 1\n", "section"),
    ("retry = 1\n[channel \"a b\"]\n", "a channel pattern"),
    ("retry = 1\n[channel \"a\"]\nretry = 1\n", "a section may have subscribe"),
    ("[channel \"a\"]\n[channel \"a\"]\n", "twice"),
    ("retry = 1\nretry = 2\n", "twice"),
    ("retry\n", "name = value"),
    ("histry = 1\n", "history-size"),
    ("config = /tmp/other\n", "command line or in the environment only"),
])
def test_mistakes_in_a_file_are_told_with_their_line(tmp_path: pathlib.Path, text: str, complaint: str) -> None:
    file = tmp_path / "file.ini"
    file.write_text(text)
    status, output = check_config(file=file)
    assert status == 2
    assert f"{file}:" in output and complaint in output


SECTIONS = """history-size = 5
[channel "news/**"]     ; everything below news
subscribe = anyone
history-size = 6

[channel "news/*"]
history-ttl = 3h
[channel "news/x"]
history-size = 7
"""


def test_sections_are_printed_as_they_can_be_read_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    file.write_text(SECTIONS)
    status, first = check_config(file=file)
    assert status == 0 and f'\n[channel "news/**"]    ; {file}:2\nsubscribe = anyone    ; {file}:3\n' in first
    again = tmp_path / "again.ini"
    again.write_text("\n".join(line for line in first.splitlines() if line.strip() and not line.startswith("config =")))
    status, second = check_config(file=again)
    assert status == 0, second
    assert [line.split("    ;")[0] for line in second.splitlines() if not line.startswith("config =")] == \
        [line.split("    ;")[0] for line in first.splitlines() if not line.startswith("config =")]


def test_it_is_explained_where_a_channels_options_come_from(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.ini"
    file.write_text(SECTIONS)
    for words in (("--explain", "news/x"), ("--explain=news/x",)):
        status, output = check_config(*words, "--history-bytes", "1MiB", file=file, SLUICE_MESSAGE_SIZE="2KiB")
        assert (status, output.splitlines()[:8]) == (0, [
            f'subscribe = anyone    ; {file}:3 [channel "news/**"]', "publish = auto    ; default",
            f'history-size = 7    ; {file}:9 [channel "news/x"]', f'history-ttl = 3h    ; {file}:7 [channel "news/*"]',
            "history-bytes = 1MiB    ; command line", "channel-ttl = 1h    ; default", "message-size = 2KiB    ; environment SLUICE_MESSAGE_SIZE",
            "idempotency-time = 2m    ; default"])
    assert in_force(check_config("--explain", "blog", file=file)[1], "history-size") == "5"
    for name in ("", "a//b", "news/*", "**"):
        status, output = check_config("--explain", name, file=file)
        assert status == 2 and "a channel name" in output
    assert check_config("--explain", file=file)[0] == 2
