"""Addresses as ZeroMQ writes them: tcp://HOST:PORT, and ipc://PATH for a file of this machine."""

from __future__ import annotations

import ipaddress
import re

ANY_PORT = "*"
_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.%\w]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5}|\*)")


def split_address(address: object) -> tuple[str, int] | None:
    """Host and port of a tcp address (0 for *), ("", 0) for a file of this machine, None for anything else."""
    if not isinstance(address, str):
        return None
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        return "", 0
    if (found := _TCP.fullmatch(address)) is None:
        return None
    port = 0 if found["port"] == ANY_PORT else int(found["port"])
    return (found["host"].strip("[]"), port) if port < 2**16 else None


def is_local(address: str) -> bool:
    """Whether a server that listens there can be reached from this machine alone."""
    parts = split_address(address)
    if parts is None:
        return False
    try:
        return parts[0] in ("", "localhost") or ipaddress.ip_address(parts[0]).is_loopback
    except ValueError:  # the name of a host or of a network card
        return False
