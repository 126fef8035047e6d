# SPDX-License-Identifier: MIT
"""Apache httpd with its event MPM."""

from frame import Member

from .nginx import NO_UPGRADE

VARIABLES = {"MODULES": "/usr/lib/apache2/modules"}
ARGUMENTS = "-f @WORK@/proxy.conf -D FOREGROUND"

MEMBERS = [
    Member("apache-untuned", "Apache, untuned", "apache2", ARGUMENTS, ("apache-untuned.conf.in",), expected={"before": NO_UPGRADE}, cookie_kib=4,
           shortened=(("Timeout 60", "Timeout 3"),), variables=VARIABLES, says_address=True),
    Member("apache", "Apache, tuned", "apache2", ARGUMENTS, ("apache.conf.in",), shortened=(("timeout=600", "timeout=30"),),
           variables=VARIABLES, says_address=True),
]
