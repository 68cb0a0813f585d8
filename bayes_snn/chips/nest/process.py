"""The process in which NEST runs: started as a script, it answers on its output what it is asked on its input.

    python -P process.py

NEST has one network in a process, and may be called by the thread alone that imported it. So it has a process of its
own: chips in any thread, and in copies of the process, ask it, and what a user builds in NEST is left alone. It imports
NumPy and NEST, nothing of this project.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
from typing import Any, BinaryIO

import numpy as np

RESOLUTION = 0.1  # ms, of NEST's grid of spike times
DELAY = 1.0  # ms from a spike to its arrival
DT = 1.0  # ms, a step


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=5)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message, of this project's other end of a pipe; an `EOFError` where there is none."""
    head = stream.read(8)
    data = stream.read(struct.unpack("<Q", head)[0]) if len(head) == 8 else b""
    if not data:
        raise EOFError
    return pickle.loads(data)


def simulate(
    nest: Any,
    model: str,
    neurons: list[dict[str, np.ndarray]],
    currents: np.ndarray,
    conductances: list[np.ndarray],
    n_steps: int,
    shown: list[int],
) -> list[np.ndarray]:
    """Spikes (n_samples, n_steps, n_neurons) of the layers `shown`, counted from 0.

    Parameters
    ----------
    model
        NEST's name of all neurons.
    neurons
        Parameters (n_neurons,) of each layer, by NEST's names.
    currents
        (n_samples, n_first) in pA. Each row is a copy of the network; they are side by side in one simulation.
    conductances
        (n_pre, n_post) in nS behind the first layer; negative ones inhibit.
    """
    n_samples, sizes = len(currents), [len(layer["V_th"]) for layer in neurons]
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = RESOLUTION
    layers = []
    for number, (n, layer) in enumerate(zip(sizes, neurons, strict=True)):
        parameters = {name: np.tile(values, n_samples) for name, values in layer.items()}
        parameters["V_m"] = parameters["E_L"]
        if number == 0:
            parameters["I_e"] = currents.ravel()
        layers.append(nest.Create(model, n_samples * n, params=parameters))
    firsts = [layer[0].global_id for layer in layers]
    for number, matrix in enumerate(conductances):
        n_pre, n_post = matrix.shape
        sample, pre, post = (axis.ravel() for axis in np.indices((n_samples, n_pre, n_post)))
        nest.Connect(
            firsts[number] + sample * n_pre + pre,
            firsts[number + 1] + sample * n_post + post,
            "one_to_one",
            {"weight": np.tile(matrix.ravel(), n_samples), "delay": np.full(len(pre), DELAY)},
        )
    recorder = nest.Create("spike_recorder")
    for number in shown:
        nest.Connect(layers[number], recorder)
    nest.Simulate(n_steps * DT)
    events = recorder.events
    senders = events["senders"].astype(np.int64)  # of no event NEST makes an array of floats
    # a time is that of the end of an interval of the grid; half of it off, no rounding moves it to the next step
    steps = np.floor((events["times"] - 0.5 * RESOLUTION) / DT).astype(np.int64)
    found = []
    for number in shown:
        fired = np.zeros((n_samples, n_steps, sizes[number]), np.uint8)
        places = senders - firsts[number]
        own = (places >= 0) & (places < n_samples * sizes[number])
        np.add.at(fired, (places[own] // sizes[number], steps[own], places[own] % sizes[number]), 1)
        if fired.max(initial=0) > 1:
            raise RuntimeError("a neuron spiked twice in a step")
        found.append(fired.astype(np.bool_))
    return found


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends."""
    import nest

    with contextlib.suppress(EOFError):
        while True:
            question = receive(questions)
            try:
                answer: Any = simulate(nest, **question)
            except Exception as error:  # NEST raises of all kinds; the chip says what it was
                answer = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            send(answers, answer)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its input
    with os.fdopen(os.dup(0), "rb") as ins, os.fdopen(os.dup(1), "wb") as outs:
        silent = os.open(os.devnull, os.O_RDWR)
        os.dup2(silent, 0)
        os.dup2(silent, 1)  # NEST's banner must not lie between the answers
        serve(ins, outs)
