# SPDX-License-Identifier: MIT
"""What make check asks of each proxy, whose timeouts are cut down to seconds. All of it: make proxies."""

from frame import Route, Running
from page import cells
from probes import COOKIES_KIB, address, cookies, files, hang_up, idempotent, idle, large, live, resumed, shared
from support.follow import join_all, run_all
from support.server import PATIENCE
from ways import KINDS

__all__ = [
    "test_clients_that_go_away_are_let_go", "test_nobody_is_dead_after_a_silence", "test_nothing_is_lost_when_clients_and_the_proxy_are_cut",
    "test_requests_of_many_clients", "test_the_page_says_what_is_expected", "test_ways_are_live_where_the_page_says_so",
]
IDLE_S = 4.0  # longer than the timeouts of the proxies, which are 3 s here


def test_the_page_says_what_is_expected(proxy: Running) -> None:
    for route in proxy.routes():
        said = {kind: "live" if cell.endswith(" ms") else cell for kind, cell in cells(route.title).items()}
        assert said == {kind: route.outcome(kind) for kind in KINDS}, f"{route.title}: run make proxies"


def live_kinds(route: Route) -> list[str]:
    return [kind for kind in KINDS if route.outcome(kind) == "live"]


def test_ways_are_live_where_the_page_says_so(proxy: Running) -> None:
    def check(route: Route, kind: str) -> None:
        expected = route.outcome(kind)
        found = live(route, kind, PATIENCE if expected == "live" else 1, is_to_be_measured=False)
        assert (found.outcome == "live") == (expected == "live"), f"{kind} through {route.title}: {found}"

    join_all(run_all([lambda route=route, kind=kind: check(route, kind) for route in proxy.routes() for kind in KINDS]))


def test_nothing_is_lost_when_clients_and_the_proxy_are_cut(proxy: Running) -> None:
    for route in proxy.routes():
        resumed(proxy, route, live_kinds(route))


def test_nobody_is_dead_after_a_silence(proxies: dict[str, Running]) -> None:
    """Longer than the proxies' own timeouts, which are 3 s here."""
    routes = [route for proxy in proxies.values() for route in proxy.routes()]
    join_all(run_all([lambda route=route: idle(route, live_kinds(route), IDLE_S) for route in routes]))


def test_requests_of_many_clients(proxy: Running) -> None:
    for route in proxy.routes():
        shared(route)
        assert large(route) and files(route), route.title
        found = cookies(route)
        assert all(found[size] == 204 for size in COOKIES_KIB if size <= route.member.cookie_kib or route.is_opaque), (route.title, found)
        assert idempotent(route) == ("query" if route.member.loses_headers and not route.is_opaque else "header")
        said = route.member.says_address and not route.is_opaque
        assert address(route) == ("127.0.0.2" if said else "127.0.0.1"), route.title


def test_clients_that_go_away_are_let_go(proxy: Running) -> None:
    for route in proxy.routes():
        hang_up(route, live_kinds(route))
