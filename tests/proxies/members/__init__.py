# SPDX-License-Identifier: MIT
"""The proxies of the matrix, in the order of its rows."""

from . import apache, haproxy, nginx, ours, privoxy, squid, tinyproxy, varnish

MEMBERS = [member for module in (nginx, haproxy, varnish, apache, squid, tinyproxy, privoxy, ours) for member in module.MEMBERS]
