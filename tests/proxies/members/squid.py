# SPDX-License-Identifier: MIT
"""Squid as a forward proxy."""

from frame import Member

from .nginx import NO_UPGRADE

ARGUMENTS = "-N -f @WORK@/proxy.conf"
ROUTES = ("http", "https")

MEMBERS = [
    Member("squid-untuned", "Squid, untuned", "squid", ARGUMENTS, ("squid-untuned.conf.in",), ROUTES, {"http": NO_UPGRADE}, says_address=True),
    Member("squid", "Squid, tuned", "squid", ARGUMENTS, ("squid.conf.in",), ROUTES, says_address=True),
]
