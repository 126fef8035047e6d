# SPDX-License-Identifier: MIT
"""Keys in files, and tokens as an application makes them, by PyJWT."""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Iterable

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}

_folder = tempfile.TemporaryDirectory(prefix="sluice-keys-")


def key_file(name: str, content: str | bytes, mode: int = 0o600) -> str:
    path = pathlib.Path(_folder.name) / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


def secret_file() -> str:
    return key_file("secret", SECRET + "\n")


def make_private_key(algorithm: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVES[algorithm]()) if algorithm in CURVES else rsa.generate_private_key(65537, 2048)


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def make_token(subscribe: Iterable[str] = (), publish: Iterable[str] = (), *, admin: bool = False, key: object = SECRET,
               algorithm: str = "HS256", kid: str | None = None, life: float = 600, **claims: object) -> str:
    """Claims by name go on top, and None leaves one out."""
    all_claims = {"exp": int(time.time() + life), "iat": int(time.time()),
                  "sluice": {"subscribe": list(subscribe), "publish": list(publish), "admin": admin}, **claims}
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm, {"kid": kid} if kid else None)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
