"""`RemoteChip`: a chip that `python -m bayes_snn.serve` serves in another process or on another machine."""

from __future__ import annotations

import os
import secrets
import socket as sockets
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bayes_snn.arrays import as_floats
from bayes_snn.chips.contract import ChipSpec, FloatArray
from bayes_snn.chips.remote.address import numeric, split_address
from bayes_snn.chips.remote.wire import (
    ENCRYPTED_BYTES,
    FRAME_BYTES,
    MAX_BYTES,
    Message,
    WireError,
    decode,
    encode,
    spec_from,
)
from bayes_snn.errors import ChipError, InputError

try:
    import zmq
except ImportError as error:
    raise InputError(
        "RemoteChip needs pyzmq, which is not installed: install it with pip install 'bayes_snn[remote]'."
    ) from error

from bayes_snn.chips.remote.handshake import Handshake, Keys, as_client, mechanism_of, read_keys, token_bytes

MOST_KEPT = 4  # inputs that are not sent again: training and test, and two more


class RemoteChip:
    """A chip behind a server.

    Parameters
    ----------
    address
        Where the server listens: "tcp://10.0.0.7:5555".
    token
        What the server wants to be shown, None if nothing.
    timeout
        Seconds that an answer may take; other clients' runs may come first.
    curve
        File with the public key of a server that encrypts its connections, NAME.key; None for one that does not.

    Attributes
    ----------
    spec
        The `ChipSpec` of the served chip.

    Raises
    ------
    TimeoutError, ConnectionError
        When there is no answer, there is no server, or its chip's link failed. A later run connects anew; `Link`
        repeats runs on such errors.
    ChipError
        When the served chip answered something else than spike counts.
    InputError
        When the server refuses the token or the message, when its chip's program failed, or when the chip is another
        one than it was: a repetition would not help.

    Notes
    -----
    Copies in other processes make connections of their own. Serves one thread at a time.
    """

    copyable = True

    def __init__(
        self, address: str, token: str | None = None, timeout: float = 60.0, *, curve: str | Path | None = None
    ) -> None:
        parts = split_address(address)
        if parts is None or (parts[0] and not parts[1]):
            raise InputError(
                f"The address was {address!r}, but tcp://HOST:PORT is expected: give what the server said at its start."
            )
        number = isinstance(timeout, int | float | np.number) and not isinstance(timeout, bool)
        if not number or not 0 < timeout <= 1e6:
            raise InputError(f"timeout was {timeout!r}, but seconds above 0 are expected: try 60.")
        token_bytes(token)
        self.address, self.timeout, self._token = address, float(timeout), token
        self._server_key = None if curve is None else read_keys(curve, secret=False)
        self._host_and_port = parts
        self._request = 0
        self._connection: _Connection | None = None
        self._connection, self.spec, told = self._open()
        self.subsets, self.given_inputs = (told.get(name) is True for name in ("subsets", "given_inputs"))

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Show every input to the chip once: spike counts (n_samples, n_out); see `Chip.run`."""
        connection = self._connected()
        deadline = time.monotonic() + self.timeout
        matrices = [as_floats("The weights", matrix) for matrix in weights]
        inputs = as_floats("The inputs", inputs)
        slot = connection.slot_of(inputs)
        if slot is not None:
            reply = self._ask(connection, "run", deadline, {"inputs": slot}, matrices)
        if slot is None or reply.fields.get("code") == "unknown-inputs":
            arrays = [*matrices, inputs]
            reply = self._ask(connection, "run", deadline, {"inputs": connection.keep(inputs)}, arrays)
        if reply.kind != "counts" or len(reply.arrays) != 1:
            connection.kept.clear()
            self._fail(reply)
        return np.array(reply.arrays[0], np.int32)

    def close(self) -> None:
        """Take leave of the server; a later run connects again."""
        if self._connection is not None and self._connection.process == os.getpid():
            self._connection.send(Message("bye", 0, self._fields()))
        self._disconnect()

    def _connected(self) -> _Connection:
        """A connection of this process, to the chip that it was at first."""
        if self._connection is not None and self._connection.process == os.getpid():
            return self._connection
        self._disconnect()
        connection, spec, _ = self._open()
        if spec != self.spec:
            connection.close()
            raise InputError(f"The chip at {self.address} was {self.spec}, but is {spec} now: begin a new fit with it.")
        self._connection = connection
        return connection

    def _open(self) -> tuple[_Connection, ChipSpec, dict[str, Any]]:
        """A new connection, what the chip is, and all that the server said of it."""
        deadline = time.monotonic() + self.timeout
        connection = self._connect(deadline)
        try:
            reply = self._ask(connection, "hello", deadline, {}, [])
            if reply.kind != "chip":
                self._fail(reply)
            spec = spec_from(reply.fields.get("spec"), reply.arrays)
        except WireError as error:
            connection.close()
            raise ConnectionError(f"{self.address} does not answer as a chip's server does. {error}") from None
        except BaseException:
            connection.close()
            raise
        limit = reply.fields.get("max_bytes")
        connection.max_bytes = limit if isinstance(limit, int) else MAX_BYTES
        return connection, spec, reply.fields

    def _connect(self, deadline: float) -> _Connection:
        """A connection that the server has let in."""
        address, mechanism = self._knock(deadline)
        token = token_bytes(self._token)
        if self._server_key is not None and mechanism != "CURVE":
            raise InputError(f"The server at {self.address} does not encrypt: leave --curve or curve= out.")
        if mechanism == "CURVE" and self._server_key is None:
            raise InputError(
                f"The server at {self.address} encrypts: give the file with its public key, with --curve or curve=."
            )
        if mechanism == "NULL":
            token = None  # it is not asked for
        elif mechanism == "PLAIN" and not token:
            self._refuse_token()
        connection, failed = _Connection.open(address, token, self._server_key, deadline)
        if failed is None:
            return connection
        if failed == "keys":
            raise InputError(
                f"The connection to {self.address} cannot be encrypted with this key: give the .key file of the server "
                "that runs there, with --curve or curve=."
            )
        if failed == "token":
            self._refuse_token()
        raise self._no_answer()

    def _refuse_token(self) -> NoReturn:
        raise InputError(
            f"The server at {self.address} refused (token): The token is wrong or missing: give the server's token, "
            "with --token-file or token=."
        )

    def _no_answer(self) -> TimeoutError:
        return TimeoutError(f"The chip at {self.address} gave no answer within {self.timeout:g} s.")

    def _knock(self, deadline: float) -> tuple[str, str]:
        """Where somebody listens, of all addresses that the name has, and what is asked for there: see `mechanism_of`.

        ZeroMQ tells neither whether anybody listens, nor does it try more than one address of a name.
        """
        is_file = self._host_and_port == ("", 0)
        try:
            limit = min(self.timeout, 10.0)
            found = _open_file(self.address) if is_file else sockets.create_connection(self._host_and_port, limit)
        except TimeoutError:
            raise TimeoutError(f"{self.address} cannot be reached: check the address and the network.") from None
        except OSError as error:
            raise ConnectionRefusedError(
                f"No server answers at {self.address} ({error.strerror or error}): start one with python -m "
                "bayes_snn.serve, or check the address."
            ) from None
        with found:
            address = self.address if is_file else numeric(found.getpeername())
            try:
                mechanism = mechanism_of(found, deadline)
            except TimeoutError:
                raise self._no_answer() from None
            except OSError:  # it hung up
                mechanism = ""
        if not mechanism:
            raise ConnectionError(f"{self.address} does not answer as a chip's server does: check the address.")
        return address, mechanism

    def _ask(
        self,
        connection: _Connection,
        kind: str,
        deadline: float,
        fields: dict[str, Any],
        arrays: Sequence[NDArray[Any]],
    ) -> Message:
        """Send a message and wait for its answer; answers to earlier ones are dropped."""
        self._request += 1
        message = Message(kind, self._request, {**fields, **self._fields()}, tuple(arrays))
        try:
            connection.send(message)
            while True:
                reply = connection.receive(deadline)
                if reply.request == self._request or (reply.request == 0 and reply.kind == "error"):
                    return reply
        except TimeoutError:
            self._disconnect()
            raise self._no_answer() from None
        except (zmq.ZMQError, WireError) as error:
            self._disconnect()
            raise ConnectionError(f"The connection to {self.address} failed: {error}") from None

    def _fields(self) -> dict[str, Any]:
        return {} if self._token is None else {"token": self._token}

    def _fail(self, reply: Message) -> NoReturn:
        """Raise what an answer without counts stands for."""
        code, sentence = reply.fields.get("code"), str(reply.fields.get("sentence"))
        if code == "chip":
            raise ChipError(sentence)
        if code in ("link", "busy", "unknown-inputs"):
            raise ConnectionError(f"The chip at {self.address} could not be run. {sentence}")
        if code == "input":
            raise InputError(sentence)
        what_next = {
            "token": "give the server's token, with --token-file or token=",
            "too-large": "start the server with a larger --max-bytes",
            "schema": "install the same version of bayes_snn on both sides",
            "program": "fix the chip's driver there",
        }.get(str(code), "install the same version of bayes_snn on both sides")
        raise InputError(f"The server at {self.address} refused ({code}): {sentence.rstrip('.')}: {what_next}.")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}

    def __repr__(self) -> str:
        layers = "-".join(str(n) for n in self.spec.layers)
        return f"RemoteChip({self.address}, {layers}, n_steps={self.spec.n_steps})"


class _Connection:
    """A socket, and which inputs the server knows from it. Of one process: a fork must neither use nor close it."""

    _abroad: list[Any] = []  # noqa: RUF012 - what a fork brought along, kept from being collected

    def __init__(self, address: str, token: bytes | None, server_key: Keys | None) -> None:
        self.process = os.getpid()
        self.max_bytes = MAX_BYTES
        self.kept: list[tuple[int, FloatArray, FloatArray]] = []  # number, the array itself, a copy
        self._slot = secrets.randbits(60)  # a number that no other client guesses
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, FRAME_BYTES + ENCRYPTED_BYTES),
            (zmq.HEARTBEAT_IVL, 10_000),
            (zmq.HEARTBEAT_TIMEOUT, 30_000),
            (zmq.IPV6, int("[" in address)),
            (zmq.RECONNECT_IVL, 1000),  # ms; a client that is not let in is closed before it tries again
        ):
            self._socket.setsockopt(option, value)
        self._finalizer = weakref.finalize(self, _close, self._socket, self._context, self.process)
        as_client(self._socket, token, server_key)

    @classmethod
    def open(
        cls, address: str, token: bytes | None, server_key: Keys | None, deadline: float
    ) -> tuple[_Connection, str | None]:
        """A connection, and None or what its handshake failed at, after which it is closed again."""
        connection = cls(address, token, server_key)
        try:
            handshake = Handshake(connection._socket)
            connection._socket.connect(address)
            failed = handshake.wait(deadline)
        except zmq.ZMQError as error:
            connection.close()
            raise InputError(
                f"The address was {address!r:.200} ({zmq.strerror(error.errno or 0)}), but one that ZeroMQ can connect "
                "to is expected: give what the server said at its start."
            ) from None
        except BaseException:
            connection.close()
            raise
        if failed is not None:
            connection.close()
        return connection, failed

    def send(self, message: Message) -> None:
        frames = encode(message)
        size = sum(len(frame) for frame in frames)
        if size > self.max_bytes:
            raise InputError(
                f"A run takes {size:,} bytes, but the server takes at most {self.max_bytes:,}: show fewer samples at "
                "once, or start it with a larger --max-bytes."
            )
        self._socket.send_multipart(frames)

    def receive(self, deadline: float) -> Message:
        """The next message; a `TimeoutError` if there is none by then."""
        if not self._socket.poll(max(0, round(1000 * (deadline - time.monotonic())))):
            raise TimeoutError
        return decode(self._socket.recv_multipart())

    def slot_of(self, inputs: FloatArray) -> int | None:
        """The number under which the server knows these inputs."""
        for slot, array, copy in self.kept:
            # only an array that owns its data and cannot be written to is sure to be the same
            if inputs is array and array.base is None and not array.flags.writeable:
                return slot
            if np.array_equal(inputs, copy):
                return slot
        return None

    def keep(self, inputs: FloatArray) -> int:
        """A new number for inputs that are being sent."""
        self._slot += 1
        self.kept = [(self._slot, inputs, np.array(inputs, np.float64)), *self.kept[: MOST_KEPT - 1]]
        return self._slot

    def close(self) -> None:
        if self.process == os.getpid():
            self._finalizer()
        else:
            self._finalizer.detach()
            self._abroad.append((self._socket, self._context))


def _open_file(address: str) -> sockets.socket:
    """A connection to an ipc address; on Linux an @ stands for a name that is no file."""
    path = address.removeprefix("ipc://")
    found = sockets.socket(sockets.AF_UNIX)
    try:
        found.connect("\0" + path[1:] if path.startswith("@") else path)
    except BaseException:
        found.close()
        raise
    return found


def _close(socket: Any, context: Any, process: int) -> None:
    if process == os.getpid():
        socket.close(linger=200)  # a farewell may still leave
        context.term()
