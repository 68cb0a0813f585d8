"""Before the first message: who may connect to a chip's server, and whether the connection is encrypted.

A server with a token asks for it in ZeroMQ's own handshake, so nothing else of a client without it is ever read.
Without keys that is the mechanism PLAIN, in the clear. With a key of the server it is CURVE: everything is encrypted,
the client knows the server by its public key, and the server knows the client by a key made of the token.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from bayes_snn.errors import InputError

USER = b"bayes_snn"  # PLAIN's user name
MOST_TOKEN = 255  # bytes, of PLAIN's password
HANDSHAKE_TIME = 10_000  # ms that a client has for it
_ZAP = "inproc://zeromq.zap.01"
_WATCH = "inproc://bayes_snn.handshakes"
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03"  # its first 11 bytes: the signature and the version


@dataclass(frozen=True)
class Keys:
    """A CURVE key pair in ZeroMQ's text form (Z85); of somebody else the public one alone."""

    public: bytes
    secret: bytes | None = None

    def __repr__(self) -> str:
        return f"Keys({self.public.decode()})"


def read_keys(path: str | Path, secret: bool) -> Keys:
    """The keys in a file as `make_keys`, or pyzmq's `zmq.auth.create_certificates`, writes it.

    Raises `InputError` when it cannot be read, or when a secret key is wanted and it holds none.
    """
    try:
        with Path(path).expanduser().open("rb"):  # pyzmq does not say why it cannot
            pass
        public, private = zmq.auth.load_certificate(os.fspath(Path(path).expanduser()))
        if any(len(key) != 40 or len(z85.decode(key)) != 32 for key in (public, private) if key is not None):
            raise ValueError("its keys are not 40 characters of Z85")
        if private is not None and zmq.curve_public(private) != public:
            raise ValueError("its keys do not belong together")
    except (OSError, ValueError, KeyError, IndexError, TypeError, zmq.ZMQError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"The key file {path} cannot be used ({reason}): make one with python -m bayes_snn.serve --new-keys NAME."
        ) from None
    if secret and private is None:
        raise InputError(
            f"The key file {path} holds no secret key, which a server needs: give the file that ends in .key_secret."
        )
    return Keys(public, private if secret else None)


def make_keys(name: str | Path) -> tuple[Path, Path]:
    """Write NAME.key, for clients, and NAME.key_secret, for its owner alone; an `InputError` where one exists."""
    public, secret = zmq.curve_keypair()
    made: list[Path] = []
    for suffix, mode, lines in (
        ("key_secret", 0o600, {"public-key": public, "secret-key": secret}),
        ("key", 0o644, {"public-key": public}),
    ):
        path = Path(f"{name}.{suffix}")
        text = "metadata\ncurve\n" + "".join(f'    {key} = "{value.decode()}"\n' for key, value in lines.items())
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
                file.write(text)
        except (OSError, ValueError) as error:
            for other in made:
                other.unlink()
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"The key file {path} cannot be written ({reason}): give another name.") from None
        made.append(path)
    return made[1], made[0]


def token_bytes(token: str | None) -> bytes | None:
    """A token as it is sent; an `InputError` for one that is too long for the handshake."""
    if token is None:
        return None
    sent = token.encode("utf-8", "surrogatepass")
    if len(sent) > MOST_TOKEN:
        raise InputError(f"The token has {len(sent):,} bytes, but at most {MOST_TOKEN} are taken: make a shorter one.")
    return sent


def client_keys(token: bytes | None) -> Keys:
    """The keys of a client: made of its token, which the server has too; any where there is none."""
    if token is None:
        return Keys(*zmq.curve_keypair())
    secret = z85.encode(hashlib.sha256(b"bayes_snn/1 client key:" + token).digest())
    return Keys(zmq.curve_public(secret), secret)


def as_client(dealer: Any, token: bytes | None, server: Keys | None) -> None:
    """Set up a client's socket, before it connects."""
    if server is not None:
        keys = client_keys(token)
        dealer.curve_serverkey, dealer.curve_publickey, dealer.curve_secretkey = server.public, keys.public, keys.secret
    elif token:
        dealer.plain_username, dealer.plain_password = USER, token


def mechanism_of(peer: socket.socket, deadline: float) -> str:
    """What a ZeroMQ server asks clients for: "NULL", "PLAIN" or "CURVE"; "" where the peer is none.

    It tells in its greeting (ZMTP 3, 64 bytes), which it sends once it has seen the first 11 bytes of the client's.
    ZeroMQ's own events leave it to chance which side sees first that the two do not fit. Raises `TimeoutError`.
    """
    peer.sendall(_GREETING)
    greeting = b""
    while len(greeting) < 64:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        peer.settimeout(left)
        more = peer.recv(64 - len(greeting))
        if not more:
            return ""
        greeting += more
    if greeting[0] != 0xFF or greeting[9] != 0x7F or greeting[10] < 3:
        return ""
    return greeting[12:32].rstrip(b"\0").decode("ascii", "replace")


class Handshake:
    """A client's wait for the end of its handshake; made before the socket connects."""

    def __init__(self, dealer: Any) -> None:
        self._dealer = dealer
        self._watch = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | _FAILED)

    def wait(self, deadline: float) -> str | None:
        """None when it succeeded, else what went wrong: "token", "keys" or "time"."""
        try:
            while self._watch.poll(max(0, round(1000 * (deadline - time.monotonic())))):
                event = parse_monitor_message(self._watch.recv_multipart())["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return None
                if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    return "token"
                if self._dealer.mechanism == zmq.CURVE:
                    return "keys"  # the server cuts a connection when it cannot read what comes
            return "time"
        finally:
            self._dealer.disable_monitor()
            self._watch.close(linger=0)


class Doorkeeper:
    """Lets clients of a server's socket in, or not, in a thread of its own: the chip may be running meanwhile.

    Parameters
    ----------
    router
        The server's socket, not bound yet.
    token
        What clients must show, None for all.
    keys
        Of the server, where connections are encrypted.
    refuse
        Called, in that thread, for each client that is not let in.
    """

    def __init__(
        self, context: Any, router: Any, token: bytes | None, keys: Keys | None, refuse: Callable[[], None]
    ) -> None:
        self._token, self._refuse = token, refuse
        self._client_key = None if token is None else z85.decode(client_keys(token).public)
        router.handshake_ivl = HANDSHAKE_TIME
        router.zap_domain = USER
        if keys is not None:
            router.curve_server, router.curve_publickey, router.curve_secretkey = True, keys.public, keys.secret
        else:
            router.plain_server = True
        self._router = router
        self._asked = context.socket(zmq.REP)
        self._asked.bind(_ZAP)
        # a client that goes away in its handshake is none that was refused
        watched = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_MONITOR_STOPPED
        router.monitor(_WATCH, watched)
        self._watch = context.socket(zmq.PAIR)
        self._watch.connect(_WATCH)
        self._thread = threading.Thread(target=self._work, name="bayes_snn-doorkeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; before the server's socket is closed."""
        self._router.monitor(None, 0)
        self._thread.join()

    def _work(self) -> None:
        poller = zmq.Poller()
        poller.register(self._asked, zmq.POLLIN)
        poller.register(self._watch, zmq.POLLIN)
        with self._asked, self._watch:
            while True:
                ready = dict(poller.poll())
                if self._asked in ready:
                    version, request, _, _, _, mechanism, *shown = self._asked.recv_multipart()
                    status = (b"200", b"OK") if self._knows(mechanism, shown) else (b"400", b"NO ACCESS")
                    self._asked.send_multipart([version, request, *status, b"", b""])
                if self._watch in ready:
                    event = parse_monitor_message(self._watch.recv_multipart())
                    if event["event"] == zmq.EVENT_MONITOR_STOPPED:
                        return
                    self._refuse()

    def _knows(self, mechanism: bytes, shown: list[bytes]) -> bool:
        if self._token is None:
            return True
        if mechanism == b"CURVE" and self._client_key is not None:
            return len(shown) == 1 and hmac.compare_digest(shown[0], self._client_key)
        return mechanism == b"PLAIN" and len(shown) == 2 and hmac.compare_digest(shown[1], self._token)
