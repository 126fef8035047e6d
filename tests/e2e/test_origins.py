# SPDX-License-Identifier: MIT
"""Pages: which may change something, what they may send and read, and what a browser is told beforehand."""

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes
from support.server import Server

LISTED = "https://app.example"


@pytest.mark.parametrize(("host", "origin", "proto", "is_own"), [
    ("127.0.0.1:8080", "http://127.0.0.1:8080", "", True),
    ("127.0.0.1:8080", "HTTP://127.0.0.1:8080", "http", True),
    ("127.0.0.1:8080", "https://127.0.0.1:8080", "", False),
    ("127.0.0.1:8080", "https://127.0.0.1:8080", "https", True),
    ("127.0.0.1:8080", "http://127.0.0.1:8080", "https", False),
    ("127.0.0.1:8080", "ftp://127.0.0.1:8080", "", False),
    ("127.0.0.1:8080", "coap://127.0.0.1:8080", "", False),
    ("127.0.0.1:8080", "xhttp://127.0.0.1:8080", "", False),
    ("127.0.0.1:8080", "http://user@127.0.0.1:8080", "", False),
    ("127.0.0.1:8080", "http://127.0.0.1:8080/", "", False),
    ("127.0.0.1:8080", "http://127.0.0.1:8081", "", False),
    ("127.0.0.1:8080", "http:127.0.0.1:8080", "", False),
])
def test_whose_pages_are_the_servers_own(server: Server, channel: str, host: str, origin: str, proto: str, is_own: bool) -> None:
    response = request(server, "POST", path_of(channel), "x", Host=host, Origin=origin, X_Forwarded_Proto=proto)
    assert response.status == (201 if is_own else 403), response
    assert response.header("Access-Control-Allow-Origin") == (origin if is_own else None)
    assert response.header("Access-Control-Allow-Credentials") is None


def test_the_host_of_an_absolute_target_counts(server: Server, channel: str) -> None:
    target = f"http://127.0.0.1:8080{path_of(channel)}"
    assert request(server, "POST", target, "x", Host="b.example", Origin="http://127.0.0.1:8080").status == 201
    assert request(server, "POST", f"http://b.example{path_of(channel)}", "x", Host="127.0.0.1:8080",
                   Origin="http://127.0.0.1:8080").error == "wrong-host"


@pytest.mark.parametrize(("host", "site", "may"), [
    ("127.0.0.1:8080", "same-origin", True), ("127.7.7.7", "same-origin", True), ("localhost", "same-origin", True),
    ("[::1]:80", "same-origin", True), ("app.example", "same-origin", True), ("10.0.0.1", "same-origin", False),
    ("rebound.example", "same-origin", False), ("127.0.0.1.example", "same-origin", False), ("127.0.0.1:8080", "same-site", False),
    ("127.0.0.1:8080", "cross-site", False), ("127.0.0.1:8080", "none", False), ("127.0.0.1:8080", "", False),
])
def test_a_page_whose_host_a_proxy_has_changed(channel: str, host: str, site: str, may: bool) -> None:
    with Server("--allowed-origins", LISTED) as server:
        response = request(server, "POST", path_of(channel), "x", Host=host, Origin="https://page.example", Sec_Fetch_Site=site)
        assert response.status in ((201,) if may else (403, 421))


def test_a_name_that_anybody_can_point_here_is_not_our_own(channel: str) -> None:
    """Where it may be the server's: behind a proxy, which hands through what a page says."""
    with Server("--http", "127.0.0.1:0 proxy-protocol=yes") as server:
        for headers in ({"Origin": "http://rebound.example"}, {"Origin": "http://page.example", "Sec_Fetch_Site": "same-origin"}):
            with Connection(server.at(server.listeners("http")[1])) as connection:
                connection.send(b"PROXY UNKNOWN\r\n")
                assert connection.request("POST", path_of(channel), "x", Host="rebound.example", **headers).error == "forbidden-origin"


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 201), ("none", 201), ("", 201)])
def test_a_page_whose_browser_hides_its_origin_may_not_publish(server: Server, channel: str, site: str, status: int) -> None:
    for method, target, body in (("POST", path_of(channel), "x"), ("PUT", path_of(channel), "x"), ("POST", "/channels", "[]")):
        response = request(server, method, target, body, Sec_Fetch_Site=site)
        assert response.status in ((403,) if status == 403 else (200, 201)), response


def test_only_named_origins_are_allowed_to_send_credentials(channel: str) -> None:
    with Server("--allowed-origins", LISTED, "--allowed-origins", "null", "--allowed-origins", "*") as server:
        publish(server, channel)
        for origin, credentials in ((LISTED, "true"), ("null", "true"), ("https://other.example", None)):
            for response in (get(server, path_of(channel, last=1), Origin=origin), get(server, path_of(channel, last="x"), Origin=origin),
                             request(server, "OPTIONS", path_of(channel), Origin=origin)):
                assert response.header("Access-Control-Allow-Origin") == origin
                assert response.header("Access-Control-Allow-Credentials") == credentials
                assert "Origin" in (response.header("Vary") or "")


def test_null_has_to_be_listed(channel: str) -> None:
    for listed, status in (("null", 201), (LISTED, 403)):
        with Server("--allowed-origins", listed) as server:
            assert request(server, "POST", path_of(channel), "x", Origin="null").status == status


def test_a_preflight_allows_the_fields_that_are_asked_for(channel: str) -> None:
    with Server("--allowed-origins", LISTED) as server:
        def allowed(asked: str) -> str:
            response = request(server, "OPTIONS", path_of(channel), Origin=LISTED, Access_Control_Request_Method="PUT",
                               Access_Control_Request_Headers=asked)
            assert response.status == 204
            assert set((response.header("Vary") or "").split(", ")) == {"Origin", "Access-Control-Request-Headers"}
            return response.header("Access-Control-Allow-Headers") or ""

        usual = allowed("")
        assert {"Authorization", "Cache-Control", "X-CSRF-Token", "Idempotency-Key", "Last-Event-ID"} <= set(usual.split(", "))
        for asked in ("authorization,x-my-own", "cache-control, x-csrf-token", "a" * 1024):
            assert allowed(asked) == asked
        for asked in ("a b;c", "x\tz", "<script>", "a" * 1025):
            assert allowed(asked) == usual


def test_options_needs_no_rights(server: Server, channel: str) -> None:
    for target, methods in ((path_of(channel), "GET, HEAD, POST, PUT, OPTIONS"), ("/api/channels/x", "GET, HEAD, DELETE, OPTIONS"),
                            ("/channels", "POST, OPTIONS")):
        response = request(server, "OPTIONS", target, Origin="https://evil.example", Access_Control_Request_Method="DELETE")
        assert (response.status, response.header("Allow"), response.header("Access-Control-Allow-Origin")) == (204, methods, None)


@pytest.mark.parametrize(("target", "policy"), [
    ("/channels/a?last=1", "same-origin"), ("/channels/a?last=1&transport=json", "same-origin"), ("/api/stats", "same-origin"), ("/metrics", "same-origin"),
    ("/nothing", None), ("/", None), ("/sockjs/info", None), ("/channels/a?last=1&transport=jsonp&callback=f", None), ("/channels/a?last=x", "same-origin"),
])
def test_what_is_in_channels_is_no_image_or_script_of_other_sites(target: str, policy: str | None) -> None:
    with Server("--legacy", "yes") as server:
        publish(server, "a")
        for headers in ({}, {"Origin": f"http://127.0.0.1:{server.port}"}):
            assert get(server, target, **headers).header("Cross-Origin-Resource-Policy") == policy
        with Connection(server) as connection:
            connection.send(request_bytes("GET", "/channels/a?transport=multipart", Accept="image/png"))
            assert connection.read_head().header("Cross-Origin-Resource-Policy") is None


def test_a_page_of_ours_is_in_no_other_sites_frame_or_window(server: Server) -> None:
    page = get(server, "/")
    assert "frame-ancestors 'none'" in (page.header("Content-Security-Policy") or "")
    assert (page.header("Cross-Origin-Opener-Policy"), page.header("X-Content-Type-Options")) == ("same-origin", "nosniff")


def test_what_the_door_refuses_is_no_other_type_than_it_says(server: Server) -> None:
    with Connection(server) as connection:
        connection.send(b"<script>\r\n\r\n")
        refused = connection.read_response()
    assert (refused.status, refused.header("Content-Type"), refused.header("X-Content-Type-Options")) == (400, "application/json", "nosniff")


def test_a_preflight_is_remembered_for_two_hours(server: Server, channel: str) -> None:
    assert request(server, "OPTIONS", path_of(channel), Origin=LISTED).header("Access-Control-Max-Age") == "7200"
