"""A chip served to other processes and machines: ZeroMQ, one run at a time, clients taking turns.

The schema is in wire.py. Who has no token does not get through the handshake (handshake.py); messages that are too
large or malformed are refused and logged. Whatever a client or the chip's driver does, the server lives on.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, ask_counts, check_chip, check_inputs, frozen
from bayes_snn.chips.levels import spec_with_levels
from bayes_snn.chips.link.link import tell_on_stderr
from bayes_snn.chips.remote.address import is_local, split_address
from bayes_snn.chips.remote.handshake import Doorkeeper, read_keys, token_bytes
from bayes_snn.chips.remote.turns import Turns
from bayes_snn.chips.remote.wire import (
    ENCRYPTED_BYTES,
    FRAME_BYTES,
    MAX_BYTES,
    Frames,
    Message,
    WireError,
    decode,
    encode,
    spec_fields,
)
from bayes_snn.errors import ChipError, ChipRaisedError, InputError, text_of
from bayes_snn.interrupt import StopOnInterrupt

POLL = 200  # ms after which an idle server looks whether it is to stop
AT_ONCE = 64  # messages that are taken in before the next run
MOST_WAITING = 8  # requests of one client
WRONG_TOKEN = "The token is wrong or missing."
MOST_KNOWN_INPUTS = 256  # of all clients together; a client whose inputs were forgotten sends them again


class Server:
    """Serves a chip at an address.

    Parameters
    ----------
    chip
        Any chip.
    bind
        Where to listen, as ZeroMQ writes it: "tcp://127.0.0.1:5555"; a port * is any that is free.
    token
        What clients must show, None to take all. Without one only addresses of this machine are allowed.
    curve
        File with the server's secret key (`python -m bayes_snn.serve --new-keys NAME`): connections are encrypted then.
    max_bytes
        Of a message. Larger ones are not read.
    log
        Called with a sentence for everything out of the ordinary.

    Attributes
    ----------
    address
        Where it listens, with the port.
    refused
        Clients and messages that were refused, by code.
    failed
        Runs in which the chip failed, by code.

    Raises
    ------
    InputError
        When the address cannot be bound, or is open to others without a token.
    """

    def __init__(
        self,
        chip: Chip,
        bind: str = "tcp://127.0.0.1:*",
        *,
        token: str | None = None,
        curve: str | Path | None = None,
        max_bytes: int = MAX_BYTES,
        log: Callable[[str], None] = tell_on_stderr,
    ) -> None:
        self.chip = check_chip(chip)
        if split_address(bind) is None:
            raise InputError(
                f"The address was {bind!r}, but tcp://HOST:PORT is expected: give for example tcp://127.0.0.1:5555."
            )
        if token is None and not is_local(bind):
            raise InputError(
                f"{bind} can be reached from other machines, but there is no token: give --token-file, or listen at "
                "tcp://127.0.0.1:5555."
            )
        if token == "":
            raise InputError("The token is empty, but a secret text is expected: put one into the file.")
        self._token = token_bytes(token)
        keys = None if curve is None else read_keys(curve, secret=True)
        self.max_bytes, self.log = int(max_bytes), log
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._lock = threading.Lock()  # of the counters: clients are let in by a thread of its own
        fields, levels = spec_fields(spec_with_levels(chip))
        told = {"subsets": bool(getattr(chip, "subsets", False))}
        told["given_inputs"] = bool(getattr(chip, "given_inputs", False))
        fields = {"spec": fields, **told, "max_bytes": self.max_bytes}
        self._description = Message("chip", 0, fields, levels)
        self.waiting = Turns[Message](MOST_WAITING)
        self._waiting_bytes = 0
        self._inputs: OrderedDict[tuple[bytes, int], NDArray[np.float64]] = OrderedDict()
        self._stopped = False
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, min(self.max_bytes, FRAME_BYTES) + ENCRYPTED_BYTES),
            (zmq.RCVHWM, MOST_WAITING),
            (zmq.SNDHWM, 4 * MOST_WAITING),
            (zmq.ROUTER_MANDATORY, 1),  # a client that is gone is an error, and so forgotten
            (zmq.HEARTBEAT_IVL, 10_000),
            (zmq.HEARTBEAT_TIMEOUT, 30_000),
        ):
            self._socket.setsockopt(option, value)
        self._doorkeeper = None
        if self._token is not None or keys is not None:
            self._doorkeeper = Doorkeeper(self._context, self._socket, self._token, keys, self._turn_away)
        try:
            self._bind(bind)
        except zmq.ZMQError as error:
            self.close()
            raise InputError(
                f"{bind} cannot be bound ({zmq.strerror(error.errno or 0)}): give another address, for example "
                "tcp://127.0.0.1:5555."
            ) from None
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _bind(self, bind: str) -> None:
        self._socket.ipv6 = "[" in bind or bind.startswith("tcp://*")
        try:
            self._socket.bind(bind)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EADDRINUSE, errno.EACCES):
                raise
            self._socket.ipv6 = True  # the name of a host that has such an address alone
            self._socket.bind(bind)

    def serve(self) -> None:
        """Answer until `stop` is called or Ctrl-C pressed; the run of that moment is still answered.

        A second Ctrl-C ends a run that hangs. What a driver raises does not, a KeyboardInterrupt of its own included.
        """
        with StopOnInterrupt(self.stop) as interrupts:
            while not self._stopped:
                self.receive(0 if len(self.waiting) else POLL)
                self.serve_one()
        if interrupts.pressed:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """End `serve`; may be called from another thread or a signal handler."""
        self._stopped = True

    def close(self) -> None:
        """Close the socket."""
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        self._socket.close(linger=500)  # so that a last answer leaves
        self._context.term()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def receive(self, timeout: int) -> None:
        """Take in what has come, waiting `timeout` ms for the first message."""
        for _ in range(AT_ONCE):
            if not self._socket.poll(timeout):
                return
            client, *frames = self._socket.recv_multipart()
            self._take(client, frames)
            timeout = 0

    def serve_one(self) -> bytes | None:
        """Run the chip for the client whose turn it is, and answer; the client, or None if none waits."""
        turn = self.waiting.next()
        if turn is None:
            return None
        client, message = turn
        self._waiting_bytes -= _size(message)
        try:
            counts = self._run(client, message)
        except _RefusedError as error:
            self._answer(client, _error(message.request, error.code, str(error)))
        else:
            self._answer(client, Message("counts", message.request, arrays=(counts,)))
        return client

    def _take(self, client: bytes, frames: Frames) -> None:
        """Answer a message, or let it wait for its turn."""
        request = 0
        try:
            message = decode(frames, self.max_bytes)
            request = message.request
            self._check_token(message)
            if message.kind == "hello":
                self._answer(client, replace(self._description, request=request))
            elif message.kind == "bye":
                self._forget(client)
            elif message.kind == "run":
                self._let_wait(client, message)
            else:
                raise WireError(f"A message of kind {message.kind!r:.60} is not known.")
        except WireError as error:
            self._refuse(client, request, error.code, str(error))

    def _check_token(self, message: Message) -> None:
        token = message.fields.get("token")
        if self._token is not None and not (
            isinstance(token, str) and hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token)
        ):
            raise WireError(WRONG_TOKEN, "token")

    def _let_wait(self, client: bytes, message: Message) -> None:
        n_layers = len(self.chip.spec.weight_shapes)
        slot = message.fields.get("inputs")
        if not isinstance(slot, int) or len(message.arrays) not in (n_layers, n_layers + 1):
            raise WireError(f"A run needs the number of its inputs and {n_layers} weight matrices.")
        size = _size(message)
        if self._waiting_bytes + size > 8 * self.max_bytes or not self.waiting.add(client, message):
            raise WireError("Too many requests wait already.", "busy")
        self._waiting_bytes += size

    def _run(self, client: bytes, message: Message) -> NDArray[np.int32]:
        """Run the chip; whatever goes wrong becomes a `_RefusedError`."""
        spec = self.chip.spec
        weights = message.arrays[: len(spec.weight_shapes)]
        try:
            shapes = tuple(matrix.shape for matrix in weights)
            if shapes != spec.weight_shapes:
                raise InputError(f"The weights have shapes {shapes}, but this chip expects {spec.weight_shapes}.")
            if not all(np.isfinite(matrix).all() for matrix in weights):
                raise InputError("The weights hold NaN or infinities, but every weight must be a number.")
            inputs = self._inputs_of(client, message)
            return ask_counts(self.chip, weights, inputs)
        except _RefusedError:
            raise
        except InputError as error:
            raise _RefusedError("input", text_of(error)) from None
        except ChipRaisedError as error:
            cause = error.__cause__ or error
            code = "link" if isinstance(cause, OSError | EOFError) else "program"
            sentence = f"{type(cause).__name__}: {text_of(cause)}"
        except ChipError as error:
            code, sentence = "chip", text_of(error)
        except BaseException as error:  # whatever a driver raises is the client's to know
            if self._stopped and isinstance(error, KeyboardInterrupt):
                raise
            code, sentence = "program", f"{type(error).__name__}: {text_of(error)}"
        self._count(self.failed, code, "The chip failed", sentence)
        raise _RefusedError(code, sentence)

    def _inputs_of(self, client: bytes, message: Message) -> NDArray[np.float64]:
        """The inputs of a run: those that came with it, which are kept, or those kept under its number.

        They are kept for clients whose identity is the server's own: one that a client chose may be taken by another.
        """
        key = client, int(message.fields["inputs"])
        if len(message.arrays) > len(self.chip.spec.weight_shapes):
            inputs = frozen(check_inputs(message.arrays[-1], self.chip.spec.layers[0]))  # a chip may prepare them once
            if not (len(client) == 5 and client[0] == 0):  # as ZeroMQ makes them, at random
                return inputs
            self._inputs[key] = inputs
            while len(self._inputs) > 1 and (
                len(self._inputs) > MOST_KNOWN_INPUTS
                or sum(kept.nbytes for kept in self._inputs.values()) > 8 * self.max_bytes
            ):
                self._inputs.popitem(last=False)
        elif key not in self._inputs:
            raise _RefusedError("unknown-inputs", "These inputs are no longer known here.")
        self._inputs.move_to_end(key)
        return self._inputs[key]

    def _refuse(self, client: bytes, request: int, code: str, sentence: str) -> None:
        self._count(self.refused, code, "Refused", sentence)
        self._answer(client, _error(request, code, sentence))

    def _turn_away(self) -> None:
        self._count(self.refused, "token", "Refused", WRONG_TOKEN)

    def _count(self, counter: Counter[str], code: str, what: str, sentence: str) -> None:
        """Log what happened for the 1st, 2nd, 4th, 8th, ... time: a flood must not fill the disk."""
        with self._lock:
            counter[code] += 1
            n = counter[code]
        if math.log2(n).is_integer():
            with contextlib.suppress(Exception):  # a log that cannot be written ends no server
                self.log(f"{what}, {n:,} so far ({code}): {sentence[:500]}")

    def _answer(self, client: bytes, message: Message) -> None:
        try:
            self._socket.send_multipart([client, *encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError:  # gone, or it does not read what it asked for
            self._forget(client)

    def _forget(self, client: bytes) -> None:
        for message in self.waiting.forget(client):
            self._waiting_bytes -= _size(message)
        for key in [key for key in self._inputs if key[0] == client]:
            del self._inputs[key]


class _RefusedError(Exception):
    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def _error(request: int, code: str, sentence: str) -> Message:
    return Message("error", request, {"code": code, "sentence": " ".join(sentence.split())[:2000]})


def _size(message: Message) -> int:
    return sum(array.nbytes for array in message.arrays)
