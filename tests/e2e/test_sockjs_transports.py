# SPDX-License-Identifier: MIT
"""SockJS 0.3.3, statement by statement: streams and what old browsers need, to the byte."""

import json
import re
from urllib.parse import quote

import pytest
from support.client import Connection, Response, get, request
from support.server import Server
from support.sockjs import ANOTHER, FORM, GO_AWAY, PRELUDE, FrameStream, Session, check_not_cached, content_type, streaming

HTMLFILE = '''<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.%s;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>'''
STREAMS = ("xhr_streaming", "eventsource", "htmlfile")
BEGINNINGS = {"xhr_streaming": "application/javascript;charset=utf-8", "eventsource": "text/event-stream;charset=utf-8",
              "htmlfile": "text/html;charset=utf-8"}


def framed(transport: str, frame: str) -> bytes:
    """A frame with what its transport puts around it."""
    return {"xhr_streaming": f"{frame}\n", "eventsource": f"data: {frame}\r\n\r\n",
            "htmlfile": f"<script>\np({json.dumps(frame)});\n</script>\r\n"}[transport].encode()


# Streams.

@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_says_everything_at_once(suite: Server, transport: str) -> None:
    session = Session(suite)
    with streaming(session, transport) as stream:
        assert content_type(stream.response) == BEGINNINGS[transport]
        check_not_cached(stream.response)
        assert stream.response.header("Content-Length") is None
        assert stream.raw() == framed(transport, "o")
        session.put("x")
        assert stream.raw() == framed(transport, 'a["x"]')
        session.put("y", "z")
        messages = []
        while len(messages) < 2:
            messages += stream.next_messages()
        assert messages == ["y", "z"]


@pytest.mark.parametrize("transport", STREAMS)
def test_control_characters_stay_escaped_in_a_stream(suite: Server, transport: str) -> None:
    session = Session(suite)
    with streaming(session, transport) as stream:
        assert stream.frame() == "o"
        assert session.post("xhr_send", r'["  \u0000\n\r \u2028</script>"]').status == 204
        raw = stream.raw()
        assert raw is not None
        if transport == "htmlfile":
            assert b"</script>" not in raw.removesuffix(b"</script>\r\n") and "\u2028".encode() not in raw
            text = json.loads(raw[len(b"<script>\np("):-len(b");\n</script>\r\n")])
        else:
            text = raw.decode().removeprefix("data: ").rstrip("\r\n")
        assert re.fullmatch(r'a\["  \\u0000\\n\\r \\u2028<(/|\\/|\\u002f|\\u002F)script>"\]', text.replace("\\u003c", "<")), text
        assert json.loads(text[1:]) == ["  \0\n\r \u2028</script>"]


def test_xhr_streaming_begins_with_two_kibibytes(suite: Server) -> None:
    with FrameStream(Session(suite)) as stream:
        assert stream.prelude() == PRELUDE
        assert stream.response.header("Access-Control-Allow-Origin") == "*"


def test_eventsource_begins_with_a_new_line(suite: Server) -> None:
    with FrameStream(Session(suite), "eventsource") as stream:
        assert stream.prelude() == b"\r\n"
        assert stream.raw() == b"data: o\r\n\r\n"


def test_the_page_of_htmlfile(suite: Server) -> None:
    with FrameStream(Session(suite), "htmlfile", "?c=%63allback") as stream:
        prelude = stream.prelude()
        assert prelude.decode().strip() == HTMLFILE % "callback"
        assert len(prelude) > 1024
        assert stream.response.header("X-Content-Type-Options") == "nosniff"
        assert stream.raw() == b'<script>\np("o");\n</script>\r\n'


@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_ends_at_its_limit_and_the_session_goes_on(suite: Server, transport: str) -> None:
    session = Session(suite)
    with streaming(session, transport) as stream:
        assert stream.frame() == "o"
        session.put(text := "x" * 4096)
        assert stream.raw() == framed(transport, f'a["{text}"]')
        assert stream.raw() is None and stream.ended_cleanly and not stream.text
    session.put("next")
    with streaming(session, transport) as stream:
        assert stream.raw() == framed(transport, 'a["next"]')


def test_the_limit_counts_the_frames_of_a_response(suite: Server) -> None:
    session = Session(suite)
    with streaming(session) as stream:
        assert stream.frame() == "o"
        for _ in range(31):
            session.put("x" * 128)
            assert stream.raw() == b'a["' + b"x" * 128 + b'"]\n'
        assert stream.raw() is None and stream.ended_cleanly


def test_what_comes_between_two_responses_is_not_lost(suite: Server) -> None:
    """The client comes back after each response; what was sent meanwhile stands in the next, once and in order."""
    session, seen = Session(suite), []
    for number in range(10):
        with streaming(session) as stream:
            if number == 0:
                assert stream.frame() == "o"
            session.put(f"{number}", "x" * 4096)
            seen += stream.next_messages()
            while len(seen) % 3 == 1:
                seen += stream.next_messages()
            assert stream.frame() is None
        session.put(f"between {number}")
        assert (messages := session.take_messages()) == [f"between {number}"]
        seen += messages
    assert [text for text in seen if text[0] != "x"] == [each for number in range(10) for each in (f"{number}", f"between {number}")]


@pytest.mark.parametrize("transport", STREAMS)
def test_a_closed_session_ends_each_stream(suite: Server, transport: str) -> None:
    session = Session(suite, "/close")
    for frames in (["o", GO_AWAY, None], [GO_AWAY, None]):
        with streaming(session, transport) as stream:
            assert [stream.frame() for _ in frames] == frames
            assert stream.ended_cleanly


@pytest.mark.parametrize("transport", STREAMS)
def test_another_connection_is_turned_away_on_every_transport(suite: Server, transport: str) -> None:
    session = Session(suite)
    with streaming(session) as first:
        assert first.frame() == "o"
        with streaming(session, transport) as second:
            assert second.raw() == framed(transport, ANOTHER)
            assert second.frame() is None
        assert session.jsonp() == b"/**/x(" + json.dumps(ANOTHER).encode() + b");\r\n"


@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_over_http_1_0_ends_with_its_connection(suite: Server, transport: str) -> None:
    session = Session(suite, "/close")
    with streaming(session, transport, version="HTTP/1.0", Connection="Keep-Alive") as stream:
        assert stream.response.header("Transfer-Encoding") is None and stream.response.header("Content-Length") is None
        assert [stream.frame(), stream.frame(), stream.frame()] == ["o", GO_AWAY, None]


def test_a_connection_is_kept_after_a_stream_over_http_1_1(suite: Server) -> None:
    session = Session(suite, "/close")
    with streaming(session) as stream:
        assert stream.response.header("Transfer-Encoding") == "chunked"
        assert [stream.frame(), stream.frame(), stream.frame()] == ["o", GO_AWAY, None]
        assert stream.request("POST", f"{session.url}/xhr", b"").body.decode() == f"{GO_AWAY}\n"


@pytest.mark.parametrize("following", ["xhr", "xhr_streaming", "eventsource", "htmlfile", "jsonp"])
@pytest.mark.parametrize("first", ["xhr", "xhr_streaming", "eventsource", "htmlfile", "jsonp"])
def test_a_session_goes_on_over_another_transport(suite: Server, first: str, following: str) -> None:
    """A stream is left at its limit: one that the client breaks off ends the session."""
    session = Session(suite)
    for transport, expected in ((first, "o"), (following, 'a["x"]')):
        if transport == "xhr":
            assert session.poll().decode() == f"{expected}\n"
        elif transport == "jsonp":
            assert session.jsonp() == b"/**/x(" + json.dumps(expected).encode() + b");\r\n"
        else:
            with streaming(session, transport) as stream:
                assert stream.frame() == expected
                session.put("x" * 5000)
                while stream.frame():
                    pass
        session.put("x")


# JSONP.

def test_jsonp(suite: Server) -> None:
    """Since 0.3.20 sockjs-node puts a comment before the callback (SWF files by JSONP); clients run the script, whatever stands there."""
    session = Session(suite)
    response = session.get("jsonp?c=%63allback")
    assert (response.status, response.body) == (200, b'/**/callback("o");\r\n')
    assert content_type(response) == "application/javascript;charset=utf-8"
    assert response.header("X-Content-Type-Options") == "nosniff"
    check_not_cached(response)
    sent = session.post("jsonp_send", "d=%5B%22x%22%5D", Content_Type=FORM)
    assert (sent.status, sent.body) == (200, b"ok")
    assert content_type(sent) == "text/plain;charset=utf-8"
    check_not_cached(sent)
    assert session.jsonp("callback") == b'/**/callback("a[\\"x\\"]");\r\n'


def test_jsonp_send_takes_forms_and_text(suite: Server) -> None:
    session = Session(suite)
    assert session.jsonp() == b'/**/x("o");\r\n'
    for body, name in (("d=%5B%22abc%22%5D", FORM), ('["%61bc"]', "text/plain"), ("d=%5B%22a+b%22%5D", FORM),
                       ("i=a1&d=%5B%22%C3%A9%26%22%5D&x=y", f"{FORM}; charset=UTF-8")):
        assert session.post("jsonp_send?i=a1b2", body, Content_Type=name).body == b"ok"
    assert session.jsonp() == b'/**/x("a[\\"abc\\",\\"%61bc\\",\\"a b\\",\\"' + "é".encode() + b'&\\"]");\r\n'


@pytest.mark.parametrize("transport", ["jsonp", "htmlfile"])
def test_a_callback_is_required(suite: Server, transport: str) -> None:
    for query in ("", "?d=x", "?c=", "?callback="):
        response = get(suite, f"/echo/a/a/{transport}{query}")
        assert response.status == 500, (query, response)
        assert b'"callback" parameter' in response.body
    assert b'"callback" parameter required' in get(suite, f"/echo/a/a/{transport}").body


@pytest.mark.parametrize("transport", ["jsonp", "htmlfile"])
@pytest.mark.parametrize("name", ["alert(1)", "a;b", "a b", "<script>", "a\nb", "a\u2028", "%", "a" * 33, "a/**/", "x[0]", "é", "\0"])
def test_a_callback_is_a_name(suite: Server, transport: str, name: str) -> None:
    session = Session(suite)
    response = session.get(f"{transport}?c={quote(name, safe='')}")
    assert response.status in (400, 500) and name.encode() not in response.body, response
    if response.status == 500:
        assert b'invalid "callback" parameter' in response.body
    assert session.post("xhr_send", '["a"]').status == 404, "a session was opened"


@pytest.mark.parametrize("name", ["a", "_jp.aq3bz5", "A_9.b", "a" * 32])
def test_the_names_that_clients_use(suite: Server, name: str) -> None:
    assert Session(suite).jsonp(name).decode() == f'/**/{name}("o");\r\n'
    with FrameStream(Session(suite), "htmlfile", f"?c={name}") as stream:
        assert f"var c = parent.{name};\n".encode() in stream.prelude()


@pytest.mark.parametrize(("body", "says"), [
    ("d=%5B%22x", "Broken JSON encoding."), ("", "Payload expected."), ("d=", "Payload expected."), ("p=p", "Payload expected."),
    ("d=%5B%22%zz%22%5D", "Broken JSON encoding."), ("d=%5B%22%ff%22%5D", "Broken JSON encoding."),
])
def test_what_a_form_must_hold(suite: Server, body: str, says: str) -> None:
    session = Session(suite)
    assert session.jsonp() == b'/**/x("o");\r\n'
    response = session.post("jsonp_send", body, Content_Type=FORM)
    assert response.status == 500 and says.encode() in response.body, response
    assert session.post("jsonp_send", "d=%5B%22b%22%5D", Content_Type=FORM).body == b"ok"
    assert session.jsonp() == b'/**/x("a[\\"b\\"]");\r\n'


def test_what_is_dangerous_in_a_script_is_escaped(suite: Server) -> None:
    session = Session(suite)
    assert session.jsonp() == b'/**/x("o");\r\n'
    text = "</script><!--\u2028\u2029\"'\\\n"
    session.put(text)
    script = session.jsonp().decode()
    for forbidden in ("</", "\u2028", "\u2029", "\n"):
        assert forbidden not in script.removesuffix("\r\n"), script
    frame = json.loads(script.removeprefix("/**/x(").removesuffix(");\r\n"))
    assert json.loads(frame.removeprefix("a")) == [text]


# What is off unless it is asked for.

def legacy_answers(server: Server, service: str) -> list[Response]:
    session = Session(server, service).open()
    return [session.get("jsonp?c=x"), session.get("htmlfile?c=x"), session.post("jsonp_send", "d=%5B%22x%22%5D", Content_Type=FORM)]


def test_jsonp_and_htmlfile_are_off_unless_legacy_is_asked_for() -> None:
    with Server("--sockjs", "/modern app=echo") as server:
        assert [answer.status for answer in legacy_answers(server, "/modern")] == [404, 404, 404]


def test_the_limit_of_a_response_is_128_kib_by_default() -> None:
    with Server("--sockjs", "/plain app=echo") as server:
        session = Session(server, "/plain")
        with streaming(session) as stream:
            assert stream.frame() == "o"
            size = 0
            while size + 8003 < 128 * 1024 - 10:
                session.put("x" * 8000)
                frame = stream.raw()
                assert frame is not None, f"the stream ended after {size} bytes"
                size += len(frame)
            session.put("x" * 8000)
            assert stream.raw() is not None and stream.raw() is None


def test_a_service_without_websocket_refuses_it(suite: Server) -> None:
    for target in ("/disabled_websocket_echo/0/0/websocket", "/disabled_websocket_echo/websocket"):
        with Connection(suite) as connection:
            answer = connection.request("GET", target, Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="13",
                                        Sec_WebSocket_Key="x3JJHMbDL1EzLkh9GBhXDw==")
            assert answer.status == 404


def test_the_default_service_speaks_commands(server: Server) -> None:
    assert get(server, "/sockjs").body == b"Welcome to SockJS!\n"
    session = Session(server, "/sockjs").open()
    session.put('{"op":"ping","ref":5}')
    (answer,) = session.take_messages()
    assert json.loads(answer) == {"op": "pong", "ref": 5}
    assert request(server, "GET", "/sockjs/0/0/jsonp?c=x").status == 404
