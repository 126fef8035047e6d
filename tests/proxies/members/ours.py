# SPDX-License-Identifier: MIT
"""Proxies of ours (tests/proxies/ours.py), with and without Upgrade."""

from frame import Member
from support.server import SOURCE

from .nginx import NO_UPGRADE

STREAMS = ("sse", "stream", "xhr", "multipart", "htmlfile", "sockjs-xhr_streaming")
WAYS = {
    "whole": ("whole answers, HTTP/1.0", dict.fromkeys(STREAMS, "end")),
    "block": ("blocks of 4 KB", {**dict.fromkeys(STREAMS, "4 KB"), "sockjs-xhr_streaming": "end"}),
    "cut": ("cuts after 10 s", {}),
    "strip": ("strips unknown headers", {**NO_UPGRADE, "websocket": "400", "ws": "400", "sockjs-websocket": "400"}),
}

# Without Upgrade and key it is an ordinary request: a long-poll.
NO_KEY = {"strip": {"websocket": "200", "sockjs-websocket": "400"}}


def member(way: str, has_upgrade: bool) -> Member:
    title, expected = WAYS[way]
    return Member(f"ours-{way}" + ("" if has_upgrade else "-no-upgrade"), f"ours: {title}" + ("" if has_upgrade else ", no Upgrade"), "python3",
                  f"{SOURCE}/tests/proxies/ours.py {way} --port @PORT@ --target @PORT1@ --seconds @LIFE@" + ("" if has_upgrade else " --no-upgrade"),
                  expected={"before": expected if has_upgrade else {**expected, **NO_UPGRADE, **NO_KEY.get(way, {})}}, loses_headers=way == "strip")


MEMBERS = [member(way, has_upgrade) for way in WAYS for has_upgrade in (True, False)]
