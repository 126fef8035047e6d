# SPDX-License-Identifier: MIT
"""Proxies of ours: whole answers, blocks of 4 KB, cuts, header fields that are lost."""

from checks import *  # noqa: F403 - the tests
from members import ours

# Without Upgrade the others are as one of them.
MEMBERS = [member for member in ours.MEMBERS if "no-upgrade" not in member.name or "whole" in member.name]
