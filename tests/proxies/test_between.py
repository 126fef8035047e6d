# SPDX-License-Identifier: MIT
"""Proxies that clients ask: Squid, tinyproxy, Privoxy."""

from checks import *  # noqa: F403 - the tests
from members import privoxy, squid, tinyproxy

MEMBERS = squid.MEMBERS + tinyproxy.MEMBERS + privoxy.MEMBERS
