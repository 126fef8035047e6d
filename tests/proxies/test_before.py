# SPDX-License-Identifier: MIT
"""Proxies before the server: nginx, HAProxy, Varnish, Apache."""

from checks import *  # noqa: F403 - the tests
from members import apache, haproxy, nginx, varnish

MEMBERS = nginx.MEMBERS + haproxy.MEMBERS + varnish.MEMBERS + apache.MEMBERS
