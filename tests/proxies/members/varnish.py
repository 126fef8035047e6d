# SPDX-License-Identifier: MIT
"""Varnish, in one process without its shell and with a small cache."""

from frame import Member

from .nginx import NO_UPGRADE

ARGUMENTS = "-F -j none -n @WORK@/varnish -a 127.0.0.1:@PORT@ -f @WORK@/proxy.conf -s default,16m -p thread_pool_min=10 -p thread_pools=1"
# A cookie may have 8 KB otherwise.
LARGE_HEADS = "-p http_req_hdr_len=32k -p http_req_size=64k -p workspace_client=128k -p workspace_backend=128k"

MEMBERS = [
    Member("varnish-untuned", "Varnish, untuned", "varnishd", ARGUMENTS, ("varnish-untuned.vcl.in",), expected={"before": NO_UPGRADE},
           cookie_kib=4, says_address=True),
    Member("varnish", "Varnish, tuned", "varnishd", f"{ARGUMENTS} {LARGE_HEADS}", ("varnish.vcl.in",), says_address=True, shortened=(("10m", "30s"),)),
]
