# SPDX-License-Identifier: MIT
"""The rows of WebSocket and SockJS."""

from __future__ import annotations

from figures import Rival, Row, Work, alternate, compare, nchan, row, scale
from servers import Sluice, bare, measure, node_ws, tornado


def websocket_broadcast() -> list[Row]:
    """The bare loop sends the same frames: those of the feed, and those of the commands' messages."""
    number = {"connections": scale(10_000), "messages": scale(100)}
    rows = []
    for transport, name in (("websocket", "WebSocket broadcast"), ("commands", "WebSocket broadcast of /ws")):
        limit, ours = alternate(lambda: measure(bare, "load", transport=transport, **number),
                                lambda: measure(Sluice, "load", transport=transport, **number))
        ratio = ours["cpu_us"] / limit["cpu_us"]
        rows.append(row(f"{name} to {number['connections']:,}", f"{ours['cpu_us']:.2f} µs CPU a delivery, {ours['per_second']:,.0f}/s, "
                        f"p50 {ours['p50_us'] / 1000:.1f} ms, p99 {ours['p99_us'] / 1000:.1f} ms", f"{limit['cpu_us']:.2f} µs",
                        f"at most 1.1 times: **{ratio:.2f}**", ratio <= 1.1))
    return rows


def websocket_memory() -> list[Row]:
    rows = []
    for transport, name in (("websocket", "an idle WebSocket"), ("commands", "an idle WebSocket of /ws")):
        found = measure(Sluice, "load", transport=transport, connections=scale(10_000), messages=1)["resident"]
        rows.append(row(f"memory of {name}", f"{found:,.0f} bytes resident, subscribed to one channel", "", "at most 5 KB", found <= 5120))
    return rows


def websocket_others() -> list[Row]:
    """One message after the other is bounded by send(), which the bare loop shows; what counts under load is the other row."""
    work = {"connections": scale(5000), "transport": "websocket"}
    name = f"WebSocket broadcast to {work['connections']:,} beside others"
    node, slow = node_ws(), tornado("tornado_broadcast.py")
    alone = {"the bare loop": Rival(bare), "node's ws": Rival(node), "Tornado": Rival(slow), **nchan()}
    many = {"node's ws": Rival(node, 2, {"messages": scale(3)}), "Tornado": Rival(slow, 4, {"messages": scale(3)})}
    return [*compare(Work(f"{name}, one message after the other", "delivery", True, "load", {**work, "messages": scale(20)}, alone)),
            *compare(Work(f"{name}, 20 publishes on their way", "delivery", True, "load",
                          {**work, "messages": scale(20), "burst": 20, "pipelined": True}, many))]


def sockjs_poll() -> list[Row]:
    number = {"connections": scale(5000), "messages": scale(40)}
    poll, sockjs = alternate(lambda: measure(Sluice, "load", transport="poll", **number),
                             lambda: measure(Sluice, "load", transport="xhr", **number))
    ratio = sockjs["cpu_us"] / poll["cpu_us"]
    return [row(f"SockJS xhr-polling to {number['connections']:,} that come back", f"{sockjs['cpu_us']:.2f} µs CPU a delivery",
                f"our long-poll: {poll['cpu_us']:.2f} µs", f"at most 1.5 times: **{ratio:.2f}**", ratio <= 1.5)]
