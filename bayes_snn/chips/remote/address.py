"""Addresses as ZeroMQ writes them: tcp://HOST:PORT, and ipc://PATH for a file of this machine."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

ANY_PORT = "*"
_TCP = re.compile(r"tcp://(?P<host>\[[^\s/\[\]]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5}|\*)")


def split_address(address: object) -> tuple[str, int] | None:
    """Host and port of a tcp address (0 for *), ("", 0) for a file of this machine, None for anything else."""
    if not isinstance(address, str):
        return None
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        return None if "\0" in address else ("", 0)
    if (found := _TCP.fullmatch(address)) is None or not _is_host(found["host"]):
        return None
    port = 0 if found["port"] == ANY_PORT else int(found["port"])
    return (found["host"].strip("[]"), port) if port < 2**16 else None


def numeric(sockaddr: tuple[Any, ...]) -> str:
    """The tcp address of a socket's peer, in digits: ZeroMQ itself tries one address of a name alone."""
    host, port = socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _is_host(host: str) -> bool:
    """Whether this may be a host: an IPv6 address in brackets, or what can be looked up by name."""
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        else:
            host.encode("idna")
    except ValueError:  # a UnicodeError is one
        return False
    return "\0" not in host


def is_local(address: str) -> bool:
    """Whether a server that listens there can be reached from this machine alone."""
    parts = split_address(address)
    if parts is None:
        return False
    try:
        return parts[0] in ("", "localhost") or ipaddress.ip_address(parts[0]).is_loopback
    except ValueError:  # the name of a host or of a network card
        return False
