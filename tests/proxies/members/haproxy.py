# SPDX-License-Identifier: MIT
"""HAProxy in mode http."""

from frame import Member

ARGUMENTS = "-db -f @WORK@/proxy.conf"

MEMBERS = [
    Member("haproxy-untuned", "HAProxy, untuned", "haproxy", ARGUMENTS, ("haproxy-untuned.cfg.in",), cookie_kib=8,
           shortened=(("50000", "3000"),)),
    Member("haproxy", "HAProxy, tuned", "haproxy", ARGUMENTS, ("haproxy.cfg.in",), says_address=True, shortened=(("10m", "30s"),)),
]
