# SPDX-License-Identifier: MIT
"""Privoxy as a forward proxy, with Debian's actions."""

from frame import Member

# It passes on what comes down behind a 101, and nothing that goes up.
ONE_WAY = {"ws": "silent", "sockjs-websocket": "silent"}
# Its filters want to have a page whole, and take every text for one but text/plain.
FILTERED = {"sse": "end", "htmlfile": "end", "sockjs-xhr_streaming": "end"}
VARIABLES = {"CONFDIR": "/etc/privoxy"}
ARGUMENTS = "--no-daemon @WORK@/proxy.conf"
ROUTES = ("http", "https")

MEMBERS = [
    Member("privoxy-untuned", "Privoxy, untuned", "privoxy", ARGUMENTS, ("privoxy-untuned.config.in",), ROUTES,
           {"http": {**ONE_WAY, **FILTERED}}, variables=VARIABLES),
    Member("privoxy", "Privoxy, tuned", "privoxy", ARGUMENTS, ("privoxy.config.in", "privoxy.action.in"), ROUTES, {"http": ONE_WAY},
           variables=VARIABLES),
]
