# SPDX-License-Identifier: MIT
"""nginx, with gzip as Debian has it."""

from frame import Member

NO_UPGRADE = {"websocket": "426", "ws": "426", "sockjs-websocket": "426"}
ARGUMENTS = "-p @WORK@ -c @WORK@/proxy.conf"

MEMBERS = [
    Member("nginx-untuned", "nginx, untuned", "nginx", ARGUMENTS, ("nginx-untuned.conf.in",), expected={"before": NO_UPGRADE}, cookie_kib=4,
           shortened=(("proxy_pass ", "proxy_read_timeout 3s;\n            proxy_pass "),)),
    Member("nginx", "nginx, tuned", "nginx", ARGUMENTS, ("nginx.conf.in",), shortened=(("proxy_read_timeout 10m", "proxy_read_timeout 30s"),),
           says_address=True),
]
