# SPDX-License-Identifier: MIT
"""What docs/AUTH.md says of tokens, keys and publisher keys, sentence by sentence; where they may come from and what ends with them is in test_documented_bearers.py."""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator

import jwt
import pytest
from support.client import EventStream, Response, get, path_of, request
from support.redis import log_lines
from support.reloading import Reloading
from support.server import SLUICE, SOURCE, Server
from support.tokens import SECRET, bearer, key_file, make_private_key, make_token, private_pem, public_pem, secret_file
from support.websocket import WebSocket

PAGE = (SOURCE / "docs/AUTH.md").read_text()
ADMIN = bearer(make_token(admin=True))
KEY = ("--jwt-key", f"HS256:{secret_file()}")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server(*KEY) as running:
        yield running


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SLUICE, *words], capture_output=True, text=True, timeout=20)


def serve(*words: str) -> str:
    """What a start that is refused says."""
    done = run("serve", "--http", "127.0.0.1:0", "--static-dir", "", *words)
    assert done.returncode == 2, done
    return done.stderr


def outcome(response: Response) -> str:
    """The error, or that it was done."""
    return "done" if response.status < 300 else response.error


def look(server: Server, token: str | None, channel: str = "news/a", **headers: str) -> str:
    return outcome(get(server, path_of(channel, last=1, wait=0), **(bearer(token) if token else {}), **headers))


def post(server: Server, token: str | None, channel: str = "news/a", **headers: str) -> str:
    return outcome(request(server, "POST", path_of(channel), "x", **(bearer(token) if token else {}), **headers))


def publisher(name: str = "shop") -> tuple[str, str]:
    """A key, and its line of the file, as the program prints them."""
    output = run("key", name).stdout
    return re.search(rf"^{name}\..+$", output, re.MULTILINE)[0], re.search(rf"^{name}:.+$", output, re.MULTILINE)[0]  # type: ignore[index]


def raw_token(header: str | dict[str, object], claims: str | dict[str, object]) -> str:
    """Signed with the secret, whatever header and claims are."""
    def encode(value: object) -> bytes:
        text = value if isinstance(value, str) else json.dumps(value)
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=")

    signed = encode(header) + b"." + encode(claims)
    signature = base64.urlsafe_b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + signature).decode()


HEADER: dict[str, object] = {"alg": "HS256", "typ": "JWT"}
RIGHTS: dict[str, object] = {"subscribe": ["news/*"]}


# The introduction

def test_without_keys_nobody_is_asked_who_he_is(server: Server, channel: str) -> None:
    assert [post(server, None, channel), look(server, None, channel), look(server, "nonsense", channel)] == ["done"] * 3
    assert get(server, "/api/stats").status == get(server, "/metrics").status == 200
    with WebSocket(server, "/ws") as client:
        client.put_json({"op": "auth", "token": make_token(["a"])})
        assert client.take_json()["code"] == "bad-signature"
    assert "--anonymous" in serve("--http", "0.0.0.0:0")


def test_one_key_of_either_kind_closes_everything_at_once(guarded: Server) -> None:
    key, line = publisher()
    with Server("--publish-keys", key_file("one-line", line + "\n")) as keyed:
        for server in guarded, keyed:
            assert [look(server, None), post(server, None)] == ["no-token"] * 2
            assert [outcome(get(server, target)) for target in ("/api/stats", "/api/channels", "/metrics")] == ["no-token"] * 3
        assert post(keyed, key) == "done"
    assert look(guarded, make_token(["news/a"])) == post(guarded, make_token([], ["news/a"])) == "done"
    assert [outcome(get(guarded, target, **ADMIN)) for target in ("/api/stats", "/metrics")] == ["done"] * 2
    assert outcome(get(guarded, "/metrics", **bearer(make_token(["**"], ["**"])))) == "forbidden-admin"


def test_the_first_example_works_as_it_stands(tmp_path: pathlib.Path) -> None:
    """Its four commands, with a folder of the test's in place of /etc/sluice."""
    block = re.search(r"^    \S*.*openssl rand.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert block
    lines = [line.strip().replace("/etc/sluice/", f"{tmp_path}/") for line in block[0].splitlines() if line.strip()]
    make_key, start, sign, ask = lines
    subprocess.run(["sh", "-c", make_key], check=True)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with Server(*start.split()[2:]) as server:
        script = f"{sign.replace('sluice', SLUICE, 1)}\n{ask.replace(':8080', f':{server.port}')} -m 1 -i -s"
        output = subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout
        assert output.startswith("HTTP/1.1 200") and "event: subscribed" in output


# Claims

@pytest.mark.parametrize(("claims", "expected"), [
    ({"sub": "s" * 255}, "done"), ({"sub": "s" * 256}, "bad-token"), ({"sub": 7}, "bad-token"),
    ({"jti": "j" * 255}, "done"), ({"jti": "j" * 256}, "bad-token"),
    ({"exp": None}, "done"), ({"exp": time.time() + 600.5}, "done"), ({"exp": "tomorrow"}, "bad-token"),
    ({"exp": int(time.time()) - 5}, "done"), ({"exp": int(time.time()) - 600}, "token-expired"),
    ({"nbf": int(time.time()) + 5}, "done"), ({"nbf": int(time.time()) + 600}, "token-not-yet"),
    ({"iat": int(time.time()) + 5}, "done"), ({"iat": int(time.time()) + 600}, "token-not-yet"),
    ({"aud": "push"}, "wrong-audience"), ({"aud": ["a", "push"]}, "wrong-audience"), ({"iss": "anybody"}, "done"),
    ({"sluice": RIGHTS}, "done"), ({"sluice": {}}, "forbidden-channel"), ({"sluice": None}, "forbidden-channel"),
    ({"sluice": {**RIGHTS, "read": []}}, "bad-token"), ({"sluice": {"subscribe": "news/*"}}, "bad-token"),
    ({"sluice": {"subscribe": ["new*"]}}, "bad-token"), ({"sluice": {"admin": True}}, "forbidden-channel"),
    ({"sluice": {"subscribe": ["news/*"] * 256}}, "done"), ({"sluice": {"subscribe": ["news/*"] * 257}}, "bad-token"),
])
def test_claims(guarded: Server, claims: dict[str, object], expected: str) -> None:
    assert look(guarded, make_token(["news/*"], **claims)) == expected


@pytest.mark.parametrize(("aud", "expected"), [("push", "done"), (["x", "other"], "done"), ("x", "wrong-audience"), (None, "wrong-audience")])
def test_the_audience_is_one_of_the_options(aud: object, expected: str) -> None:
    with Server(*KEY, "--jwt-audience", "push", "--jwt-audience", "other") as server:
        assert look(server, make_token(["news/*"], aud=aud)) == expected


def test_the_issuer_is_one_of_the_options() -> None:
    with Server(*KEY, "--jwt-issuer", "a", "--jwt-issuer", "b") as server:
        assert [look(server, make_token(["news/*"], iss=issuer)) for issuer in ("a", "b", "c", None)] == ["done", "done", "wrong-issuer", "wrong-issuer"]


def test_patterns_of_a_token(guarded: Server) -> None:
    one, tree = make_token(["news/*"]), make_token(["news/**"])
    assert [look(guarded, one, channel) for channel in ("news/a", "news/a/b", "news")] == ["done", "forbidden-channel", "forbidden-channel"]
    assert [look(guarded, tree, channel) for channel in ("news/a", "news/a/b", "news")] == ["done", "done", "forbidden-channel"]


@pytest.mark.parametrize("token", [
    raw_token(HEADER, {"sluice": {"subscribe": ["news/*"]}, "pad": "x" * 8192}),
    raw_token(HEADER, {"sluice": RIGHTS}) + "=",
    raw_token(HEADER, {"sluice": RIGHTS}).replace(".", "..", 1),
    raw_token(HEADER, '{"sluice":{"subscribe":["news/*"]},"sluice":{}}'),
    raw_token('{"alg":"HS256","alg":"HS256"}', {"sluice": RIGHTS}),
    raw_token({**HEADER, "crit": ["exp"]}, {"sluice": RIGHTS}),
    raw_token({**HEADER, "b64": True}, {"sluice": RIGHTS}),
    raw_token({**HEADER, "typ": "secevent+jwt"}, {"sluice": RIGHTS}),
    raw_token({"alg": "none"}, {"sluice": RIGHTS}),
    raw_token({"alg": "dir", "enc": "A128GCM"}, {"sluice": RIGHTS}) + ".x.y",
], ids=["long", "padding", "four parts", "claim twice", "header twice", "crit", "b64", "typ", "none", "encrypted"])
def test_what_is_refused_whatever_the_signature_says(guarded: Server, token: str) -> None:
    assert look(guarded, token) == "bad-token"


def test_what_has_two_parts_is_taken_for_a_publisher_key(guarded: Server) -> None:
    assert look(guarded, raw_token(HEADER, {"sluice": RIGHTS}).rsplit(".", 1)[0]) == "bad-signature"


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": "JWT"}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"jku": "https://evil.example/"},
                                    {"x5c": ["AAAA"]}, {"x5u": "https://evil.example/"}])
def test_what_a_header_says_of_keys_is_not_looked_at(guarded: Server, header: dict[str, object]) -> None:
    assert look(guarded, raw_token({"alg": "HS256", **header}, {"sluice": RIGHTS})) == "done"
    forged = jwt.encode({"sluice": RIGHTS}, "another secret of enough bytes, forged", "HS256", header)
    assert look(guarded, forged) == "bad-signature"


# Keys

def test_a_secret_is_the_file_but_for_the_end_of_the_line() -> None:
    for content in (SECRET, SECRET + "\n", SECRET + "\r\n"):
        with Server("--jwt-key", f"HS256:{key_file('line-end', content)}") as server:
            assert look(server, make_token(["news/*"])) == "done"
    binary = bytes(range(256))
    with Server("--jwt-key", f"HS512:{key_file('binary', binary)}") as server:
        assert look(server, make_token(["news/*"], key=binary, algorithm="HS512")) == "done"


def test_a_certificate_is_a_public_key_too(tmp_path: pathlib.Path) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out", tmp_path / "cert", "-subj", "/CN=x"],
                   check=True, capture_output=True)
    with Server("--jwt-key", f"RS256/2026:{tmp_path / 'cert'}") as server:
        private = (tmp_path / "key").read_text()
        assert look(server, make_token(["news/*"], key=private, algorithm="RS256", kid="2026")) == "done"
        assert look(server, make_token(["news/*"], key=private, algorithm="RS512", kid="2026")) == "bad-signature"


def test_eight_keys_that_fit_are_tried_and_a_key_id_chooses() -> None:
    secrets = [f"secret number {i} " + "x" * 32 for i in range(9)]
    words = [word for i, secret in enumerate(secrets) for word in ("--jwt-key", f"HS256/k{i}:{key_file(f'many-{i}', secret)}")]
    with Server(*words) as server:
        without = [look(server, make_token(["news/*"], key=secret)) for secret in secrets]
        assert without == ["done"] * 8 + ["bad-signature"]
        assert look(server, make_token(["news/*"], key=secrets[8], kid="k8")) == "done"
        assert look(server, make_token(["news/*"], key=secrets[8], kid="k7")) == "bad-signature"
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        assert look(server, make_token(["news/*"], kid="whatever")) == "done", "a key without an id is tried"


def test_a_key_set_without_algorithms() -> None:
    rsa_key, curve_key = make_private_key("RS256"), make_private_key("ES384")
    rsa_jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key()))
    numbers = curve_key.public_key().public_numbers()
    encoded = {name: base64.urlsafe_b64encode(getattr(numbers, name).to_bytes(48, "big")).rstrip(b"=").decode() for name in "xy"}
    for_others = [{**rsa_jwk, "kid": "enc", "use": "enc"}, {**rsa_jwk, "kid": "ops", "key_ops": ["encrypt"]}, {**rsa_jwk, "kid": "alg", "alg": "RSA-OAEP"}]
    rsa_jwk.pop("key_ops", None)
    keys = [{**rsa_jwk, "kid": "r"}, {"kty": "EC", "crv": "P-384", "kid": "e", **encoded}, *for_others]
    with Server("--jwt-jwks", key_file("plain.jwks", json.dumps({"keys": keys}))) as server:
        assert look(server, make_token(["news/*"], key=rsa_key, algorithm="RS256", kid="r")) == "done"
        assert look(server, make_token(["news/*"], key=rsa_key, algorithm="PS256", kid="r")) == "bad-signature"
        assert look(server, make_token(["news/*"], key=curve_key, algorithm="ES384", kid="e")) == "done"
        for kid in ("enc", "ops", "alg"):
            assert look(server, make_token(["news/*"], key=rsa_key, algorithm="RS256", kid=kid)) == "bad-signature"


@pytest.mark.parametrize(("declaration", "content"), [
    ("HS256", ""), ("HS256", "x" * 31), ("HS384", "x" * 47), ("HS512", "x" * 63), ("HS256", public_pem(make_private_key("RS256"))),
    ("RS256", private_pem(make_private_key("RS256"))), ("ES256", public_pem(make_private_key("ES384"))), ("RS256", public_pem(make_private_key("ES256")))])
def test_keys_that_protect_nothing_stop_the_start(declaration: str, content: str) -> None:
    path = key_file("nothing", content)
    assert f"jwt-key = '{declaration}:{path}': " in serve("--jwt-key", f"{declaration}:{path}")


def test_a_secret_for_everybody_is_warned_of() -> None:
    with Server("--jwt-key", f"HS256:{key_file('open', SECRET, 0o644)}") as server:
        assert log_lines(server, "key-file-readable")
    with Server("--jwt-key", f"HS256:{key_file('group', SECRET, 0o640)}") as server:
        assert not log_lines(server, "key-file-readable")


def test_a_key_is_changed_as_the_page_says() -> None:
    """The new one beside the old one, then without it; what hangs on the old one ends with the signal, the rest goes on."""
    old, new = f"jwt-key = HS256/old:{key_file('old', SECRET)}\n", f"jwt-key = HS256/new:{key_file('new', SECRET[::-1])}\n"
    by_old, by_new = make_token(["news/*"], kid="old"), make_token(["news/*"], kid="new", key=SECRET[::-1])
    with Reloading(old) as server:
        with EventStream(server, path_of("news/a"), **bearer(by_old)) as first:
            server.reload(old + new)
            assert [look(server, by_old), look(server, by_new)] == ["done"] * 2
            with EventStream(server, path_of("news/a"), **bearer(by_new)) as second:
                assert "reason" in server.change(old + "jwt-key = HS256:/nonexistent\n", "reload-failed")
                assert look(server, by_old) == "done"
                server.reload(new)
                assert first.next_event().event == "expired" and first.next_block() is None
                assert [look(server, by_old), look(server, by_new)] == ["bad-signature", "done"]
                assert post(server, make_token([], ["news/*"], kid="new", key=SECRET[::-1])) == "done"
                assert second.next_event().data == "x"


# Publisher keys

def test_a_publisher_key_publishes_where_keys_may_and_can_do_nothing_else() -> None:
    (key, line), (other, other_line) = publisher(), publisher("news-room")
    file = pathlib.Path(key_file("publishers", f"{line}\n{other_line}\n"))
    assert key.split(".", 1)[1] not in file.read_text()
    rules = f'publish-keys = {file}\n[channel "locked/*"]\npublish = token\n[channel "open/*"]\nsubscribe = anyone\n'
    with Reloading(rules, *KEY) as server:
        assert [post(server, key), post(server, other, "a/b/c"), post(server, key, "locked/x")] == ["done", "done", "forbidden-channel"]
        assert look(server, key) == "forbidden-channel" and outcome(get(server, "/metrics", **bearer(key))) == "forbidden-admin"
        with EventStream(server, path_of("open/x"), **bearer(key)) as stream:
            stream.next_block()
            file.write_text(f"{other_line}\n")
            server.reload(rules)
            assert stream.next_event().event == "expired"
        assert [post(server, key), post(server, other)] == ["bad-signature", "done"]


def test_two_keys_of_one_name_have_other_salts() -> None:
    assert publisher()[1] != publisher()[1]


def test_hashes_are_no_secret() -> None:
    with Server("--publish-keys", key_file("hashes", publisher()[1] + "\n", 0o644)) as server:
        assert not log_lines(server, "key-file-readable")


# Signing by hand

def claims_of(*words: str) -> dict[str, float]:
    return jwt.decode(run("token", "--key", secret_file(), *words).stdout.strip(), SECRET, ["HS256"])


@pytest.mark.parametrize("name", ["token", "key"])
def test_a_subcommand_says_what_it_takes(name: str) -> None:
    for words in (("help", name), (name, "--help")):
        assert run(*words).stdout.startswith(f"sluice {name}: ") and run(*words).stdout.count("\n") == 1


def test_the_program_signs_what_a_library_reads() -> None:
    words = ["--key", secret_file(), "--kid", "k", "--sub", "anna", "--iss", "me", "--aud", "you", "--expires", "2h", "--subscribe", "a", "--subscribe", "b/*",
             "--publish", "c/**", "--admin"]
    token = run("token", *words).stdout.strip()
    claims = jwt.decode(token, SECRET, ["HS256"], audience="you")
    assert jwt.get_unverified_header(token)["kid"] == "k"
    assert (claims["sub"], claims["iss"], claims["exp"] - claims["iat"]) == ("anna", "me", 7200)
    assert claims["sluice"] == {"subscribe": ["a", "b/*"], "publish": ["c/**"], "admin": True}
    again = jwt.decode(run("token", "--key", secret_file(), "--expires", "never").stdout.strip(), SECRET, ["HS256"])
    assert "exp" not in again and again["jti"] != claims["jti"]
    assert jwt.decode(run("token", "--key", secret_file(), "--jti", "mine").stdout.strip(), SECRET, ["HS256"])["jti"] == "mine"
    assert 3500 < claims_of("--sub", "x")["exp"] - time.time() <= 3600, "an hour, when nothing is said"
    private = make_private_key("ES256")
    signed = run("token", "--key", key_file("sign.pem", private_pem(private)), "--alg", "ES256").stdout.strip()
    assert jwt.decode(signed, public_pem(private), ["ES256"])["exp"]
