# SPDX-License-Identifier: MIT
"""Tokens that somebody else's library has signed, the keys that they are verified with, and what is said of bad ones."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import jwt
import pytest
from support.client import EventStream, Response, get, path_of, request
from support.faults import FaultyServer
from support.redis import log_lines
from support.server import SLUICE, Server, wait_until
from support.tokens import (CURVES, SECRET, bearer, key_file, make_private_key, make_token, private_pem, public_pem,
                            secret_file)

ALGORITHMS = [family + size for family in ("HS", "RS", "PS", "ES") for size in ("256", "384", "512")]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server("--jwt-key", f"HS256:{secret_file()}", "--log-level", "debug") as running:
        yield running


def look(server: Server, token: str, channel: str = "a/b") -> Response:
    return get(server, path_of(channel, last=1, wait=0), **bearer(token))


def expect_error(response: Response, status: int, code: str) -> str:
    assert (response.status, response.json["error"]) == (status, code), response.json
    return response.json["message"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_every_algorithm_are_taken(algorithm: str) -> None:
    key: object = SECRET
    path = secret_file()
    if not algorithm.startswith("HS"):
        key = make_private_key(algorithm)
        path = key_file(f"{algorithm}.pem", public_pem(key))
    with Server("--jwt-key", f"{algorithm}/k1:{path}") as server:
        assert look(server, make_token(["a/*"], key=key, algorithm=algorithm, kid="k1")).status == 204
        assert look(server, make_token(["a/*"], key=key, algorithm=algorithm)).status == 204
        expect_error(look(server, make_token(["a/*"], key=key, algorithm=algorithm, kid="k2")), 401, "bad-signature")
        other = SECRET[::-1] if key == SECRET else make_private_key(algorithm)
        expect_error(look(server, make_token(["a/*"], key=other, algorithm=algorithm)), 401, "bad-signature")


def jwk(key: object) -> dict[str, object]:
    def encode(number: int, size: int) -> str:
        return jwt.utils.base64url_encode(number.to_bytes(size, "big")).decode()

    numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    if hasattr(numbers, "n"):
        return {"kty": "RSA", "n": encode(numbers.n, size), "e": encode(numbers.e, 3)}
    return {"kty": "EC", "crv": f"P-{key.key_size}", "x": encode(numbers.x, size), "y": encode(numbers.y, size)}


def test_a_key_set_holds_keys_of_several_kinds() -> None:
    private = {algorithm: make_private_key(algorithm) for algorithm in ("RS256", "PS512", *CURVES)}
    keys: list[dict[str, object]] = [{**jwk(key), "kid": name, "alg": name, "use": "sig"} for name, key in private.items()]
    keys.append({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})  # for others
    keys.append({**keys[0], "kid": "sealing", "use": "enc"})
    path = key_file("keys.jwks", json.dumps({"keys": keys}), 0o644)
    with Server("--jwt-jwks", path) as server:
        for name, key in private.items():
            assert look(server, make_token(["a/*"], key=key, algorithm=name, kid=name)).status == 204
        expect_error(look(server, make_token(["a/*"], key=private["RS256"], algorithm="RS256", kid="sealing")), 401, "bad-signature")
        expect_error(look(server, make_token(["a/*"], key=private["RS256"], algorithm="RS512", kid="RS256")), 401, "bad-signature")
        assert not log_lines(server, "key-file-readable")


def test_a_refusal_says_why(guarded: Server) -> None:
    """Each row of the table of errors that is about tokens."""
    now = int(time.time())
    expect_error(get(guarded, path_of("a/b", wait=0)), 401, "no-token")
    expect_error(look(guarded, "nonsense"), 401, "bad-token")
    expect_error(look(guarded, make_token(["a/*"], key="x" * 32)), 401, "bad-signature")
    expect_error(look(guarded, make_token(["a/*"], exp=now - 31)), 401, "token-expired")
    assert look(guarded, make_token(["a/*"], exp=now - 20)).status == 204
    expect_error(look(guarded, make_token(["a/*"], nbf=now + 60)), 401, "token-not-yet")
    expect_error(look(guarded, make_token(["a/*"], aud="others")), 401, "wrong-audience")
    message = expect_error(look(guarded, make_token(["b/*"])), 403, "forbidden-channel")
    assert "subscribe to a/b" in message
    response = request(guarded, "POST", "/channels/a/b", "x", **bearer(make_token(["a/*"])))
    assert "publish to a/b" in expect_error(response, 403, "forbidden-channel")


def test_a_signature_of_another_length_never_comes_before_cjose() -> None:
    """Which compares as many bytes of an HMAC as there should be, whatever there are: one that is not of that length is refused unseen."""
    with FaultyServer("--jwt-key", f"HS256:{secret_file()}") as server:
        signed, signature = make_token(["a/*"]).rsplit(".", 1)

        def is_seen(size: int) -> bool:
            before = server.calls("jose")
            wrong = jwt.utils.base64url_encode(bytes(size)).decode()
            expect_error(look(server, f"{signed}.{wrong}"), 401, "bad-signature")
            return server.calls("jose") > before

        assert look(server, f"{signed}.{signature}").status == 204
        assert [size for size in (1, 16, 31, 32, 33, 64, 512) if is_seen(size)] == [32]


def test_audience_and_issuer_are_what_the_options_say() -> None:
    with Server("--jwt-key", f"HS256:{secret_file()}", "--jwt-audience", "push", "--jwt-issuer", "shop") as server:
        assert look(server, make_token(["a/*"], aud=["x", "push"], iss="shop")).status == 204
        expect_error(look(server, make_token(["a/*"], iss="shop")), 401, "wrong-audience")
        expect_error(look(server, make_token(["a/*"], aud="push", iss="shops")), 401, "wrong-issuer")


def test_no_token_stands_in_the_log(guarded: Server) -> None:
    tokens = [make_token(["a/*"]), make_token(["a/*"], key="x" * 32), "not.a-token"]
    for token in tokens:
        look(guarded, token)
        get(guarded, f"/channels/a/b?wait=0&token={token}")
    assert not any(token in guarded.log() for token in tokens)


def refuse_start(*options: str) -> str:
    done = subprocess.run([SLUICE, "serve", "--http", "127.0.0.1:0", "--static-dir", "", *options], capture_output=True, text=True, timeout=20,
                          check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize("declaration, content, sentence", [
    ("HS256", "", "is empty"),
    ("HS256", "\n", "is empty"),
    ("HS256", "x" * 31, "secret of 31 bytes; HS256 wants at least 32"),
    ("HS384", "x" * 47, "wants at least 48"),
    ("HS512", "x" * 63 + "\n", "secret of 63 bytes; HS512 wants at least 64"),
    ("HS256", "public", "holds a key of another kind"),
    ("HS256", "private", "holds a key of another kind"),
    ("HS256", '{"kty":"oct","k":"' + "x" * 43 + '"}', "holds a key of another kind"),
    ("RS256", "private", "holds a private key"),
    ("RS256", "short", "an RSA key of 1024 bits"),
    ("PS256", "curve", "is not RSA"),
    ("ES256", "public", "is not EC"),
    ("ES384", "curve", "ES384 wants one of secp384r1"),
    ("RS256", "x" * 64, "does not hold a public key in PEM"),
    ("RS256", "both", "more than one key"),
    ("none", "x" * 64, "names no algorithm"),
    ("HS256/", "x" * 64, "1 to 255 bytes"),
])
def test_a_key_that_protects_nothing_is_refused_at_the_start(declaration: str, content: str, sentence: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    rsa_key = make_private_key("RS256")
    content = {"public": public_pem(rsa_key), "private": private_pem(rsa_key), "both": public_pem(rsa_key) * 2,
               "short": public_pem(rsa.generate_private_key(65537, 1024)), "curve": public_pem(make_private_key("ES256"))}.get(content, content)
    message = refuse_start("--jwt-key", f"{declaration}:{key_file('wrong', content)}")
    assert "options: jwt-key = '" in message and sentence in message, message


def test_a_key_file_that_cannot_be_read_is_said_so() -> None:
    assert "cannot be read: No such file" in refuse_start("--jwt-key", "HS256:/nonexistent")
    assert "is not a regular file" in refuse_start("--jwt-key", "HS256:/dev/null")
    assert "is not a regular file" in refuse_start("--publish-keys", "/")
    assert "jwt-jwks = '/nonexistent': the file cannot be read" in refuse_start("--jwt-jwks", "/nonexistent")
    assert "line 2 is not NAME:HASH" in refuse_start("--publish-keys", key_file("wrong", "# keys\nshop:secret\n"))
    assert 'an array "keys"' in refuse_start("--jwt-jwks", key_file("wrong", "{}"))


def test_a_secret_that_others_may_read_is_warned_of() -> None:
    for option, content, mode, event in (("--jwt-key", SECRET, 0o604, "key-file-readable"), ("--jwt-key", SECRET, 0o602, "key-file-writable"),
                                         ("--jwt-key", SECRET, 0o640, "")):
        path = key_file("open", content, mode)
        with Server(option, f"HS256:{path}") as server:
            assert bool(log_lines(server, "key-file-readable")) == (event == "key-file-readable")
            assert bool(log_lines(server, "key-file-writable")) == (event == "key-file-writable")


def test_keys_change_at_a_signal_and_a_fault_leaves_them() -> None:
    path = key_file("rotated", SECRET)
    with Server("--jwt-key", f"HS256:{path}") as server:
        old, new = make_token(["a/*"]), make_token(["a/*"], key="n" * 32)
        assert look(server, old).status == 204
        key_file("rotated", "too short")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reload-failed"), what="the refusal")
        assert "secret of 9 bytes" in log_lines(server, "reload-failed")[0]["reason"]
        assert look(server, old).status == 204
        key_file("rotated", "n" * 32)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: look(server, new).status == 204, what="the new key")
        expect_error(look(server, old), 401, "bad-signature")


def test_a_key_set_changes_at_a_signal_and_a_fault_leaves_it() -> None:
    """A token of the old key is refused, and what was open by it ends; one of the new key is good."""
    keys = {name: make_private_key("ES256") for name in ("old", "new")}

    def token(name: str) -> str:
        return make_token(["a/*"], key=keys[name], algorithm="ES256", kid=name)

    def put(content: str) -> None:
        key_file("changing.jwks", content, 0o644)
        server.process.send_signal(signal.SIGHUP)

    def set_of(name: str) -> str:
        return json.dumps({"keys": [{**jwk(keys[name]), "kid": name}]})

    with Server("--jwt-jwks", key_file("changing.jwks", set_of("old"), 0o644)) as server, EventStream(server, path_of("a/b"), **bearer(token("old"))) as stream:
        assert stream.next_block().event == "subscribed"
        expect_error(look(server, token("new")), 401, "bad-signature")
        put('{"keys":[')
        wait_until(lambda: log_lines(server, "reload-failed"), what="the refusal")
        assert "changing.jwks" in log_lines(server, "reload-failed")[0]["reason"]
        assert look(server, token("old")).status == 204
        put(set_of("new"))
        wait_until(lambda: look(server, token("new")).status == 204, what="the new set")
        expect_error(look(server, token("old")), 401, "bad-signature")
        assert stream.next_event().event == "expired"


def test_a_file_without_keys_lets_nobody_in() -> None:
    path = key_file("emptied", "# nobody yet\n")
    with Server("--publish-keys", path) as server:
        expect_error(request(server, "POST", "/channels/a", "x"), 401, "no-token")
        expect_error(get(server, path_of("a", wait=0)), 401, "no-token")


def test_a_reload_without_keys_does_not_open_a_public_address() -> None:
    file = key_file("public.conf", f"jwt-key = HS256:{key_file('public', SECRET)}\n")
    with Server("--config", file, "--allowed-hosts", "*", http="0.0.0.0:0") as server:
        key_file("public.conf", "history-size = 5\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reload-failed"), what="the refusal")
        assert "refusing to listen" in log_lines(server, "reload-failed")[0]["reason"]
        expect_error(get(server, path_of("a", wait=0)), 401, "no-token")


def run(*words: str) -> str:
    done = subprocess.run([SLUICE, *words], capture_output=True, text=True, timeout=20, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_publisher_keys_publish_and_do_no_more() -> None:
    said = run("key", "shop").splitlines()
    key, line = said[1], said[4]
    assert re.fullmatch(r"shop\.[A-Za-z0-9_-]{43}", key) and re.fullmatch(r"shop:[A-Za-z0-9_-]{64}", line)
    assert run("key", "shop").splitlines()[1] != key
    with Server("--publish-keys", key_file("publishers", f"# applications\n{line}\n")) as server:
        assert request(server, "POST", "/channels/a", "x", **bearer(key)).status == 201
        expect_error(request(server, "POST", "/channels/a", "x"), 401, "no-token")
        expect_error(request(server, "POST", "/channels/a", "x", **bearer(key[:-1] + ("A" if key[-1] != "A" else "B"))), 401, "bad-signature")
        expect_error(request(server, "POST", "/channels/a", "x", **bearer("other." + key.split(".")[1])), 401, "bad-signature")
        expect_error(get(server, path_of("a", wait=0), **bearer(key)), 403, "forbidden-channel")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_command_line_signs_what_others_verify(algorithm: str) -> None:
    key = None if algorithm.startswith("HS") else make_private_key(algorithm)
    path = key_file("signing.pem", private_pem(key)) if key else secret_file()
    token = run("token", "--key", path, "--alg", algorithm, "--kid", "k1", "--sub", 'an"na', "--aud", "push", "--iss", "me", "--expires=90s",
                "--subscribe", "news/*", "--subscribe=user/4", "--publish", "chat/**", "--admin").strip()
    claims = jwt.decode(token, key.public_key() if key else SECRET, [algorithm], audience="push")
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    assert claims["sluice"] == {"subscribe": ["news/*", "user/4"], "publish": ["chat/**"], "admin": True}
    assert (claims["sub"], claims["iss"], claims["exp"] - claims["iat"]) == ('an"na', "me", 90)
    assert len(claims["jti"]) == 22


def test_the_command_line_says_what_is_wrong_with_a_token() -> None:
    secret = secret_file()
    for words, sentence in ((["--sub", "x"], "--key FILE is needed"), (["--key"], "--key needs a value"), (["--key", secret, "--admin=yes"], "takes no value"),
                            (["--key", secret, "--alg", "none"], "must be one of HS256"), (["--key", secret, "--expires", "soon"], "--expires must be"),
                            (["--key", secret, "--subscribe", "a*"], "no channel pattern"), (["--key", secret, "--role", "x"], "--role is none"),
                            (["--key", secret, "--alg", "RS256"], "does not hold a private key"), (["--key", "/nonexistent"], "cannot be read"),
                            (["--key", secret, "--sub", "a", "--sub", "b"], "--sub is given twice")):
        done = subprocess.run([SLUICE, "token", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and sentence in done.stderr, done.stderr
    for words in ([], ["a", "b"], ["a.b"], ["x" * 65]):
        done = subprocess.run([SLUICE, "key", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "takes one name" in done.stderr, done.stderr
