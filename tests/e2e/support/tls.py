# SPDX-License-Identifier: MIT
"""Certificates made for the test, and clients that trust who signed them.

With SLUICE_OVER_TLS=1 every server of a test speaks TLS on all of its listeners, and the clients of support/ with it.
"""

from __future__ import annotations

import functools
import os
import pathlib
import ssl
import subprocess
import tempfile
from dataclasses import dataclass

OVER_TLS = os.environ.get("SLUICE_OVER_TLS") == "1"
NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1"


@dataclass
class Pair:
    cert: pathlib.Path
    key: pathlib.Path

    @property
    def keys(self) -> str:
        """As a listener is told of it."""
        return f"tls-cert={self.cert} tls-key={self.key}"


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Authority:
    """Signs certificates; its files are there as long as it is."""

    def __init__(self, name: str = "Sluice's tests") -> None:
        self.holder = tempfile.TemporaryDirectory(prefix="sluice-tls-")
        self.folder = pathlib.Path(self.holder.name)
        self.pair = Pair(self.folder / "ca.pem", self.folder / "ca.key")
        openssl("req", "-x509", *self.new_key("ca"), "-out", str(self.pair.cert), "-days", "30", "-subj", f"/CN={name}")

    def new_key(self, file: str, kind: str = "ec") -> list[str]:
        options = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        return [*options, "-nodes", "-keyout", str(self.folder / f"{file}.key")]

    def issue(self, file: str, *, names: str = NAMES, subject: str = "/CN=localhost", days: int = 30, kind: str = "ec",
              usage: str = "serverAuth") -> Pair:
        """A certificate; again under the same file's name it is another one."""
        request, extensions = self.folder / f"{file}.csr", self.folder / f"{file}.ext"
        extensions.write_text((f"subjectAltName={names}\n" if names else "") + f"extendedKeyUsage={usage}\n")
        openssl("req", *self.new_key(file, kind), "-out", str(request), "-subj", subject)
        pair = Pair(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        openssl("x509", "-req", "-in", str(request), "-CA", str(self.pair.cert), "-CAkey", str(self.pair.key), "-days", str(days),
                "-extfile", str(extensions), "-out", str(pair.cert), "-CAcreateserial")
        return pair

    def context(self, client: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pair.cert))
        if client:
            context.load_cert_chain(client.cert, client.key)
        return context


class Tls:
    """What a server with TLS and its clients have in common."""

    def __init__(self, authority: Authority, pair: Pair) -> None:
        self.authority, self.pair = authority, pair
        self.client = authority.context()

    def wrap(self, plain: ssl.socket.socket) -> ssl.SSLSocket:
        return self.client.wrap_socket(plain, server_hostname="localhost")

    def declare(self, options: list[str]) -> list[str]:
        """The options of a server, its listeners with TLS."""
        declared = list(options)
        for i, word in enumerate(options[:-1]):
            if word in ("--http", "--tcp", "--admin") and not options[i + 1].startswith("unix:") and "tls-" not in options[i + 1]:
                declared[i + 1] += " " + self.pair.keys
        return declared


@functools.cache
def common_tls() -> Tls:
    """For tests to which it does not matter whose certificate it is."""
    authority = Authority()
    return Tls(authority, authority.issue("server"))
