# SPDX-License-Identifier: MIT
"""SockJS 0.3.3, statement by statement: the URLs of a service, its sessions, polling and what a session says."""

import json
import re
import threading

import pytest
from support.client import Connection, Response, get, request
from support.server import Server, wait_until
from support.sockjs import (ANOTHER, ESCAPED_BY_SERVER, FORM, GO_AWAY, INTERRUPTED, Session, check_not_cached, content_type,
                            held_poll, info, messages_of, streaming)

IFRAME = re.compile(r'''<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script>
    document.domain = document.domain;
    _sockjs_onload = function\(\){SockJS.bootstrap_iframe\(\);};
  </script>
  <script src="((?:/|https?://)[^"]+)"></script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>''')
GREETING = b"Welcome to SockJS!\n"


def check_kept_for_a_year(response: Response) -> None:
    assert re.search(r"\bpublic\b.*max-age=31536000\b", response.header("Cache-Control") or ""), response
    assert response.header("Expires")


def check_no_cookie(response: Response) -> None:
    assert response.header("Set-Cookie") is None


# The greeting.

@pytest.mark.parametrize("target", ["/echo", "/echo/", "/close", "/disabled_websocket_echo/"])
def test_the_service_greets(suite: Server, target: str) -> None:
    response = get(suite, target)
    assert (response.status, response.body) == (200, GREETING)
    assert content_type(response) == "text/plain;charset=utf-8"
    check_no_cookie(response)


@pytest.mark.parametrize("path", ["/a", "/a.html", "//", "///", "/a/a", "/a/a/", "/a/", "/a/a/a", "/a/a/a/", "/a/b/c/d", "/a/b/XHR",
                                  "/a/b/xhr_", "/Info"])
def test_other_paths_of_a_service_are_not_found(suite: Server, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert request(suite, method, f"/echo{path}", b"" if method == "POST" else None).status == 404


def test_a_service_is_no_prefix_of_another_path(suite: Server) -> None:
    assert get(suite, "/echoes").status == 404
    assert get(suite, "/nothing/info").status == 404


# The iframe page.

@pytest.mark.parametrize("name", ["iframe", "iframe-a", "iframe-", "iframe-0.1.2", "iframe-0.1.2abc-dirty.2144", "iframe-1.6.1"])
@pytest.mark.parametrize("query", ["", "?t=qweqweq123"])
def test_the_iframe_page(suite: Server, name: str, query: str) -> None:
    response = get(suite, f"/echo/{name}.html{query}")
    assert response.status == 200
    assert IFRAME.fullmatch(response.body.decode().strip()), response.body
    assert content_type(response) == "text/html;charset=utf-8"
    check_kept_for_a_year(response)
    assert response.header("ETag") and response.header("Last-Modified") is None
    check_no_cookie(response)


@pytest.mark.parametrize("name", ["iframe.htm", "iframe", "IFRAME.HTML", "IFRAME", "iframe.HTML", "iframe.xml", "iframe-/.html",
                                  "aiframe.html"])
def test_what_is_no_iframe_page(suite: Server, name: str) -> None:
    assert get(suite, f"/echo/{name}").status == 404


def test_the_iframe_page_is_revalidated(suite: Server) -> None:
    first, second = get(suite, "/echo/iframe.html"), get(suite, "/echo/iframe-x.html?t=1")
    assert first.header("ETag") == second.header("ETag")
    again = get(suite, "/echo/iframe.html", If_None_Match=first.header("ETag") or "")
    assert (again.status, again.body, again.header("Content-Type")) == (304, b"", None)
    assert again.header("Content-Length") == str(len(first.body)), "which a cache takes over"
    assert get(suite, "/echo/iframe.html", If_None_Match='"other"').status == 200


# Info.

def test_info(suite: Server) -> None:
    response = get(suite, "/echo/info?t=1700000000000")
    assert response.status == 200
    assert content_type(response) == "application/json;charset=utf-8"
    check_no_cookie(response)
    check_not_cached(response)
    assert response.header("Access-Control-Allow-Origin") == "*"
    about = response.json
    entropy = about.pop("entropy")
    assert type(entropy) is int and 0 <= entropy < 1 << 32
    assert about == {"websocket": True, "origins": ["*:*"], "cookie_needed": False}


def test_info_tells_entropy_and_what_a_service_does(suite: Server) -> None:
    assert len({info(suite, "/echo")["entropy"] for _ in range(20)}) == 20
    assert info(suite, "/disabled_websocket_echo")["websocket"] is False
    assert info(suite, "/cookie_needed_echo")["cookie_needed"] is True
    check_no_cookie(get(suite, "/cookie_needed_echo/info"))


# What browsers ask beforehand.

@pytest.mark.parametrize(("path", "methods"), [("/info", "OPTIONS, GET"), ("/abc/abc/xhr", "OPTIONS, POST"),
                                               ("/abc/abc/xhr_send", "OPTIONS, POST"), ("/abc/abc/xhr_streaming", "OPTIONS, POST")])
@pytest.mark.parametrize("origin", ["", "https://page.example"])
def test_options(suite: Server, path: str, methods: str, origin: str) -> None:
    response = request(suite, "OPTIONS", f"/echo{path}", Origin=origin)
    assert (response.status, response.body) == (204, b"")
    check_kept_for_a_year(response)
    assert int(response.header("Access-Control-Max-Age") or 0) > 1_000_000
    assert response.header("Access-Control-Allow-Methods") == methods
    assert response.header("Access-Control-Allow-Origin") == (origin or "*")


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming"])
def test_a_page_of_another_origin_may_read_what_a_session_says(suite: Server, transport: str) -> None:
    with Connection(suite) as connection:
        connection.send(f"POST {Session(suite).url}/{transport} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://page.example\r\n"
                        "Content-Length: 0\r\n\r\n".encode())
        response = connection.read_head()
    assert response.status == 200
    assert response.header("Access-Control-Allow-Origin") == "https://page.example"
    assert "Origin" in (response.header("Vary") or "")


def test_the_headers_that_a_page_asks_for_are_echoed(suite: Server) -> None:
    assert Session(suite).post("xhr", Access_Control_Request_Headers="a, b, c").header("Access-Control-Allow-Headers") == "a, b, c"
    assert Session(suite).post("xhr").header("Access-Control-Allow-Headers") is None
    with Connection(suite) as connection:
        connection.send(f"POST {Session(suite).url}/xhr HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Headers:\r\n"
                        "Content-Length: 0\r\n\r\n".encode())
        assert not connection.read_response().header("Access-Control-Allow-Headers")


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("GET", "/0/0/xhr", "OPTIONS, POST"), ("GET", "/0/0/xhr_send", "OPTIONS, POST"), ("GET", "/0/0/xhr_streaming", "OPTIONS, POST"),
    ("PUT", "/0/0/xhr", "OPTIONS, POST"), ("DELETE", "/0/0/xhr_send", "OPTIONS, POST"), ("POST", "/0/0/eventsource", "GET"),
    ("POST", "/0/0/htmlfile", "GET"), ("POST", "/0/0/jsonp", "GET"), ("GET", "/0/0/jsonp_send", "POST"),
    ("POST", "/0/0/websocket", "GET"), ("POST", "/websocket", "GET"), ("POST", "/info", "OPTIONS, GET"), ("POST", "/iframe.html", "GET"),
    ("POST", "", "GET"),
])
def test_another_method_is_not_allowed(suite: Server, method: str, path: str, allow: str) -> None:
    """HEAD is served where GET is."""
    response = request(suite, method, f"/echo{path}", b"" if method in ("POST", "PUT") else None)
    assert (response.status, response.body, response.header("Content-Type")) == (405, b"", None)
    told = {name.strip() for name in (response.header("Allow") or "").split(",")}
    assert told - {"HEAD", "OPTIONS"} == {name.strip() for name in allow.split(",")} - {"OPTIONS"}


# The URLs of a session.

@pytest.mark.parametrize("path", ["/a/a1", "/_/_", "/1/1", "/abcdefgh_i-j%20/abcdefg_i-j%20", "/0/%C3%A9", "/0/a+b",
                                  f"/0/{'x' * 128}"])
def test_any_value_names_a_session(suite: Server, path: str) -> None:
    for body in (b"o\n", b'a["%s"]\n' % path.encode()):
        response = request(suite, "POST", f"/echo{path}/xhr", b"")
        assert (response.status, response.body) == (200, body)
        assert request(suite, "POST", f"/echo{path}/xhr_send", json.dumps([path])).status == 204


@pytest.mark.parametrize("path", ["//", "/a./a", "/a/a.", "/./.", "/", "///", "/a/..", "/a.b/c", "/a/b.c"])
def test_nothing_empty_and_no_dot_names_a_session(suite: Server, path: str) -> None:
    assert get(suite, f"/echo{path}/xhr").status == 404
    assert request(suite, "POST", f"/echo{path}/xhr", b"").status == 404


def test_the_server_part_does_not_count(suite: Server) -> None:
    session = Session(suite).open()
    session.put("a")
    assert Session(suite, name=session.name, node="999").poll() == b'a["a"]\n'


def test_a_session_belongs_to_its_service(suite: Server) -> None:
    session = Session(suite).open()
    assert Session(suite, "/disabled_websocket_echo", name=session.name).post("xhr_send", '["a"]').status == 404


# Polling.

def test_a_new_session_is_opened_and_echoes(suite: Server) -> None:
    session = Session(suite)
    response = session.post("xhr")
    assert (response.status, response.body) == (200, b"o\n")
    assert content_type(response) == "application/javascript;charset=utf-8"
    check_not_cached(response)
    assert response.header("Access-Control-Allow-Origin") == "*"
    sent = session.post("xhr_send", '["x"]')
    assert (sent.status, sent.body) == (204, b"")
    assert content_type(sent) == "text/plain;charset=utf-8"
    check_not_cached(sent)
    assert sent.header("Access-Control-Allow-Origin") == "*"
    assert session.poll() == b'a["x"]\n'


def test_messages_that_wait_come_in_one_frame_and_in_order(suite: Server) -> None:
    session = Session(suite).open()
    session.put("1", "2")
    session.put("3")
    assert session.poll() == b'a["1","2","3"]\n'


def test_a_poll_is_held_until_there_is_a_message(suite: Server) -> None:
    session = Session(suite).open()
    with held_poll(session) as connection:
        session.put("late")
        assert connection.read_response().body == b'a["late"]\n'


def test_a_second_receiver_is_turned_away_and_the_first_goes_on(suite: Server) -> None:
    session = Session(suite)
    with streaming(session) as first:
        assert first.frame() == "o"
        for _ in range(2):
            second = session.post("xhr")
            assert (second.status, second.body.decode()) == (200, f"{ANOTHER}\n")
            with streaming(session) as third:
                assert [third.frame(), third.frame()] == [ANOTHER, None]
        session.put("a")
        assert first.frame() == 'a["a"]'


def test_a_session_that_does_not_exist_is_sent_nothing(suite: Server) -> None:
    for transport in ("xhr_send", "jsonp_send"):
        assert Session(suite).post(transport, '["a"]', Content_Type="text/plain").status == 404
    assert Session(suite, name="bad_session").post("xhr_send", '["a"]').status == 404


@pytest.mark.parametrize("body", ['["x', '["x"', "[", "x", '["x"]]', '{"a"', '["\\x"]', '["\n"]', '["\\ud8"]', "['x']", '["a",]', '[,]'])
def test_broken_json_is_refused_and_the_session_goes_on(suite: Server, body: str) -> None:
    session = Session(suite).open()
    response = session.post("xhr_send", body)
    assert response.status == 500 and b"Broken JSON encoding." in response.body, response
    session.put("a")
    assert session.poll() == b'a["a"]\n'


def test_nothing_is_no_payload(suite: Server) -> None:
    session = Session(suite).open()
    response = session.post("xhr_send", b"")
    assert response.status == 500 and b"Payload expected." in response.body, response
    session.put("a")
    assert session.poll() == b'a["a"]\n'


def test_bytes_that_are_no_utf8_are_refused(suite: Server) -> None:
    session = Session(suite).open()
    assert session.post("xhr_send", b'["\xff"]').status == 500
    session.put("a")
    assert session.poll() == b'a["a"]\n'


def test_messages_of_any_content_type_are_taken(suite: Server) -> None:
    session = Session(suite).open()
    types = ["text/plain", "T", "application/json", "application/xml", "", "application/json; charset=utf-8",
             "text/xml; charset=utf-8", "text/xml"]
    for name in types:
        response = session.post("xhr_send", '["a"]', Content_Type=name)
        assert (response.status, response.body) == (204, b"")
    assert session.poll() == b"a[" + b",".join([b'"a"'] * len(types)) + b"]\n"


# Closing.

def test_a_closed_session_says_so_to_everybody_who_asks(suite: Server) -> None:
    session = Session(suite, "/close")
    assert session.poll() == b"o\n"
    for _ in range(3):
        assert session.poll().decode() == f"{GO_AWAY}\n"
    assert session.jsonp().decode() == f"/**/x({json.dumps(GO_AWAY)});\r\n"


def test_the_close_frame_comes_rather_than_that_another_connection_is_open(suite: Server) -> None:
    session = Session(suite, "/close")
    with streaming(session) as first, streaming(session) as second:
        assert [first.frame(), first.frame(), first.frame()] == ["o", GO_AWAY, None]
        assert [second.frame(), second.frame()] == [GO_AWAY, None]


@pytest.mark.parametrize("transport", ["xhr", "jsonp", "xhr_streaming", "eventsource", "htmlfile"])
def test_an_aborted_receiver_ends_its_session(suite: Server, transport: str) -> None:
    session = Session(suite).open()
    with held_poll(session, transport) if transport in ("xhr", "jsonp") else streaming(session, transport):
        assert session.poll().decode() == f"{ANOTHER}\n"
    frames: list[str] = []
    wait_until(lambda: frames.append(session.poll().decode()) or frames[-1] != f"{ANOTHER}\n", what="noticing that it is gone")
    assert frames[-1] in ("o\n", f"{INTERRUPTED}\n")


# Cookies.

@pytest.mark.parametrize(("method", "path"), [
    ("POST", "xhr"), ("POST", "xhr_streaming"), ("GET", "eventsource"), ("GET", "htmlfile?c=x"), ("GET", "jsonp?c=x"),
])
@pytest.mark.parametrize(("sent", "told"), [("", "dummy"), ("JSESSIONID=abcdef", "abcdef"), ("a=b; JSESSIONID=abc-1.x; c=d", "abc-1.x"),
                                            ("XJSESSIONID=no", "dummy")])
def test_a_cookie_for_load_balancers(suite: Server, method: str, path: str, sent: str, told: str) -> None:
    with Connection(suite) as connection:
        cookie = f"Cookie: {sent}\r\n" if sent else ""
        connection.send(f"{method} {Session(suite, '/cookie_needed_echo').url}/{path} HTTP/1.1\r\nHost: localhost\r\n{cookie}"
                        "Content-Length: 0\r\n\r\n".encode())
        response = connection.read_head()
    assert response.status == 200
    name, where = (response.header("Set-Cookie") or "").split(";")[:2]
    assert name == f"JSESSIONID={told}" and where.strip().lower() == "path=/"


def test_the_cookie_comes_with_what_is_sent_too(suite: Server) -> None:
    session = Session(suite, "/cookie_needed_echo").open()
    for response in (session.post("xhr_send", '["x"]'), session.post("jsonp_send", "d=%5B%22x%22%5D", Content_Type=FORM)):
        assert (response.header("Set-Cookie") or "").replace(" ", "").lower().startswith("jsessionid=dummy;path=/")


def test_other_services_set_no_cookie(suite: Server) -> None:
    session = Session(suite)
    for response in (session.post("xhr", Cookie="JSESSIONID=abcdef"), session.post("xhr_send", '["x"]', Cookie="JSESSIONID=abcdef")):
        check_no_cookie(response)


# Escaping.

def test_what_browsers_mangle_is_escaped(suite: Server) -> None:
    session = Session(suite).open()
    session.put(text := "".join(map(chr, ESCAPED_BY_SERVER)))
    assert session.post("xhr_send", json.dumps([text], ensure_ascii=False)).status == 204
    escaped = "".join(f"\\u{code:04x}" for code in ESCAPED_BY_SERVER)
    assert session.poll().decode() == f'a["{escaped}","{escaped}"]\n'


def test_control_characters_are_escaped_as_json_does(suite: Server) -> None:
    session = Session(suite).open()
    session.put("".join(map(chr, range(0x20))) + '"\\/\x7f')
    frame = session.poll().decode()
    assert messages_of(frame) == ["".join(map(chr, range(0x20))) + '"\\/\x7f']
    assert not any(ord(character) < 0x20 for character in frame.removesuffix("\n"))


def test_all_characters_come_back(suite: Server) -> None:
    codes = [code for code in range(1, 0x10000) if not 0xd800 <= code < 0xe000] + [0x10000, 0x1f600, 0x10fffe, 0x10ffff]
    for is_escaped in (True, False):
        session = Session(suite).open()
        text = "".join(map(chr, codes))
        assert session.post("xhr_send", json.dumps([text], ensure_ascii=is_escaped)).status == 204
        assert session.take_messages() == [text]


# HTTP.

@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_greeting_keeps_the_connection_as_the_version_wants(suite: Server, version: str) -> None:
    with Connection(suite) as connection:
        response = connection.request("GET", "/echo", version=version, Connection="Keep-Alive")
        assert (response.status, response.body) == (200, GREETING)
        assert response.header("Content-Length") == "19" and response.header("Transfer-Encoding") is None
        assert (response.header("Connection") or "").lower() in (("keep-alive",) if version == "HTTP/1.0" else ("keep-alive", ""))
        assert connection.request("GET", "/echo", version=version).status == 200


def test_many_sessions_at_once_are_kept_apart(suite: Server) -> None:
    faults: list[str] = []

    def talk(number: int) -> None:
        session = Session(suite).open()
        for turn in range(10):
            session.put(f"{number} {turn}")
            if (got := session.take_messages()) != [f"{number} {turn}"]:
                faults.append(f"{session.name}: {got}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
