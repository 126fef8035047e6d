# SPDX-License-Identifier: MIT
"""tinyproxy as a forward proxy: there is nothing to tune."""

from frame import Member

from .nginx import NO_UPGRADE

MEMBERS = [Member("tinyproxy", "tinyproxy", "tinyproxy", "-d -c @WORK@/proxy.conf", ("tinyproxy.conf.in",), ("http", "https"), {"http": NO_UPGRADE})]
