"""`RemoteChip`: a chip that `python -m bayes_snn.serve` serves in another process or on another machine."""

from __future__ import annotations

import os
import socket as sockets
import time
import weakref
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bayes_snn.addresses import split_address
from bayes_snn.arrays import as_floats
from bayes_snn.chip import ChipSpec, FloatArray
from bayes_snn.errors import ChipError, InputError
from bayes_snn.wire import MAX_BYTES, Message, WireError, decode, encode, spec_from

try:
    import zmq
except ImportError as error:
    raise InputError(
        "RemoteChip needs pyzmq, which is not installed: install it with pip install 'bayes_snn[remote]'."
    ) from error

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

    def __init__(self, address: str, token: str | None = None, timeout: float = 60.0) -> None:
        parts = split_address(address)
        if parts is None or (parts[0] and not parts[1]):
            raise InputError(
                f"The address was {address!r}, but tcp://HOST:PORT is expected: give what the server said at its start."
            )
        number = isinstance(timeout, int | float | np.number) and not isinstance(timeout, bool)
        if not number or not 0 < timeout <= 1e6:
            raise InputError(f"timeout was {timeout!r}, but seconds above 0 are expected: try 60.")
        self.address, self.timeout, self._token = address, float(timeout), token
        self._host_and_port = parts
        self._request = 0
        self._connection: _Connection | None = None
        self._connection, self.spec, self.subsets = self._open()

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

    def _open(self) -> tuple[_Connection, ChipSpec, bool]:
        """A new connection, what the chip is, and whether a run of few samples costs accordingly less."""
        deadline = time.monotonic() + self.timeout
        if self._host_and_port != ("", 0):
            self._knock()
        connection = _Connection(self.address)
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
        return connection, spec, reply.fields.get("subsets") is True

    def _knock(self) -> None:
        """Find out whether anybody listens, which ZeroMQ does not tell."""
        try:
            sockets.create_connection(self._host_and_port, min(self.timeout, 10.0)).close()
        except TimeoutError:
            raise TimeoutError(f"{self.address} cannot be reached: check the address and the network.") from None
        except OSError as error:
            raise ConnectionRefusedError(
                f"No server answers at {self.address} ({error.strerror or error}): start one with python -m "
                "bayes_snn.serve, or check the address."
            ) from None

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
            raise TimeoutError(f"The chip at {self.address} gave no answer within {self.timeout:g} s.") from None
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
            "program": "mend the chip's driver there",
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

    def __init__(self, address: str) -> None:
        self.process = os.getpid()
        self.max_bytes = MAX_BYTES
        self.kept: list[tuple[int, FloatArray, FloatArray]] = []  # number, the array itself, a copy
        self._slot = 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MAX_BYTES),
            (zmq.HEARTBEAT_IVL, 10_000),
            (zmq.HEARTBEAT_TIMEOUT, 30_000),
            (zmq.IPV6, int("[" in address)),
        ):
            self._socket.setsockopt(option, value)
        self._finalizer = weakref.finalize(self, _close, self._socket, self._context, self.process)
        self._socket.connect(address)

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


def _close(socket: Any, context: Any, process: int) -> None:
    if process == os.getpid():
        socket.close(linger=200)  # a farewell may still leave
        context.term()
