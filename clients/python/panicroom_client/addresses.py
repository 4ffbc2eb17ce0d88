"""Where a server is, and the files of TLS."""

from __future__ import annotations

import os
import stat
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import grpc

from .errors import OptionsError

_MAX_SOCKET_PATH = 107  # sun_path of a unix socket, with its zero.
_MAX_PEM_BYTES = 1 << 20
_HOST = frozenset(string.ascii_letters + string.digits + ".-")


@dataclass(frozen=True)
class TlsFiles:
    """This client's files of mutual TLS, in PEM. The key must not be open to everybody."""

    certificate: Path
    key: Path
    ca: Path


def is_local(address: str) -> bool:
    """Whether only processes of this host are behind it. OptionsError for what is no address."""
    if address.startswith("unix:"):
        path = address[len("unix:") :]
        if not path or "\0" in path:
            raise OptionsError(f"{address!r} names no socket")
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            raise OptionsError(f"{address!r}: the path of a unix socket has at most {_MAX_SOCKET_PATH} bytes")
        return True
    host, colon, port = address.rpartition(":")
    if not colon:
        raise OptionsError(f"{address!r} is no address: unix:PATH or HOST:PORT")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise OptionsError(f"{address!r}: {port!r} is no port")
    bracketed = len(host) > 2 and host[0] == "[" and host[-1] == "]"
    name = host[1:-1] if bracketed else host
    if not name or not frozenset(name) <= (_HOST | {":"} if bracketed else _HOST):
        raise OptionsError(f"{address!r}: {host!r} is no host")
    return host in ("127.0.0.1", "[::1]", "localhost")


def _read_pem(path: Path, what: str) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_PEM_BYTES:
            raise OptionsError(f"the {what} {path} is no file of at most {_MAX_PEM_BYTES} bytes")
        content = Path(path).read_bytes()
    except OSError as error:
        raise OptionsError(f"the {what} {path}: {error.strerror}") from error
    if what == "key" and stat.S_IMODE(status.st_mode) & stat.S_IRWXO:
        raise OptionsError(f"the key {path} is open to everybody: chmod o= {path}")
    if b"-----BEGIN " not in content:
        raise OptionsError(f"the {what} {path} is no PEM")
    return content


def credentials(address: str, tls: Optional[TlsFiles]) -> Optional[grpc.ChannelCredentials]:
    """What a channel to the address takes; None: plain text, which goes over no network."""
    local = is_local(address)
    if tls is not None:
        return grpc.ssl_channel_credentials(
            root_certificates=_read_pem(tls.ca, "CA"),
            private_key=_read_pem(tls.key, "key"),
            certificate_chain=_read_pem(tls.certificate, "certificate"),
        )
    if not local:
        raise OptionsError(f"{address} is on another host, which takes TLS: a certificate, its key and a CA")
    return None
