"""The same spiking network in other people's tools: what the forward run of `LIFChip` is timed against.

Every peer computes the ideal chip's equations. I of the first layer is constant over time, I of a later layer
comes from the spikes of the layer before it in the same step:

    I_1 = inputs @ w_1,   I_l[t] = s_(l-1)[t] @ w_l
    v[t] = alpha v[t-1] + (1 - alpha) I[t]
    s[t] = 1 if v[t] >= theta else 0
    v[t] = 0 where s[t] = 1

A `make_*` function takes

    weights   list of float32 (n_pre, n_post) arrays, one for each layer of neurons
    inputs    float32 (n_samples, n_in)
    n_steps, alpha, theta

and returns a function without arguments that answers the output spike counts (n_samples, n_out), whole
numbers in the tool's own kind of array. All that can be prepared is prepared before: arrays are converted,
transposed and scaled, functions compiled. So a peer's time is the least that one evaluation of one proposal
can cost with it. The run begins with the weights, the product of inputs and w_1 included: a sampler changes
the weights between any two runs.

Each peer is written in the way that was fastest for it among those tried; `*_plain` are NumPy and JAX as most people
would write them. Where the layout is ours to choose,
arrays are (n_neurons, n_samples): a last axis of two output neurons leaves vector units idle. Every peer runs
on one thread: PyTorch is told so here, the others by the environment that run.py sets before the import.

No peer had to be left out: all of them install and import on Python 3.12 with NumPy 2.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Run = Callable[[], Any]


def _neurons_first(
    weights: Sequence[Float32Array], inputs: Float32Array, alpha: float
) -> tuple[list[Float32Array], Float32Array]:
    """Weights times 1 - alpha as (n_post, n_pre) arrays, and inputs as (n_in, n_samples)."""
    scaled = [np.ascontiguousarray(w.T * np.float32(1 - alpha)) for w in weights]
    return scaled, np.ascontiguousarray(inputs.T)


def make_numpy(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """NumPy, a loop over time of operations on whole layers, in place."""
    scaled, x = _neurons_first(weights, inputs, alpha)

    def run() -> Float32Array:
        drive = scaled[0] @ x
        voltages = [np.zeros((w.shape[0], x.shape[1]), np.float32) for w in scaled]
        counts = np.zeros_like(voltages[-1])
        for _ in range(n_steps):
            signal = drive
            for layer, v in enumerate(voltages):
                v *= alpha
                v += signal if layer == 0 else scaled[layer] @ signal
                fired = v >= theta
                v *= ~fired  # half the time of v[fired] = 0
                signal = fired.astype(np.float32)
            counts += signal
        return counts.T

    return run


def make_numpy_plain(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """NumPy, the equations as they are written down, samples first; what `make_numpy` does better."""
    leak, inflow = np.float32(alpha), np.float32(1.0 - alpha)

    def run() -> Float32Array:
        drive = inputs @ weights[0]
        voltages = [np.zeros((len(inputs), w.shape[1]), np.float32) for w in weights]
        counts = np.zeros((len(inputs), weights[-1].shape[1]), np.float32)
        for _ in range(n_steps):
            signal = drive
            for layer, w in enumerate(weights):
                current = signal if layer == 0 else signal @ w
                voltages[layer] = leak * voltages[layer] + inflow * current
                fired = voltages[layer] >= theta
                voltages[layer][fired] = 0
                signal = fired.astype(np.float32)
            counts += signal
        return counts

    return run


def _torch_run(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int,
    alpha: float,
    theta: float,
    compiled: bool,
) -> Run:
    import torch

    torch.set_num_threads(1)

    def counts_of(scaled: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        drive = scaled[0] @ x
        voltages = [torch.zeros((w.shape[0], x.shape[1])) for w in scaled]
        counts = torch.zeros_like(voltages[-1])
        for _ in range(n_steps):
            signal = drive
            for layer, v in enumerate(voltages):
                v.mul_(alpha).add_(signal if layer == 0 else scaled[layer] @ signal)
                signal = (v >= theta).to(v.dtype)
                # v - v s is the reset: faster than masked_fill_, and compiled in a tenth of its time.
                v.addcmul_(v, signal, value=-1)
            counts.add_(signal)
        return counts.T

    # The weights stay arguments: closed over, the compiler could fold their products into constants.
    forward = torch.compile(counts_of, fullgraph=True, dynamic=False) if compiled else counts_of
    arrays, array = _neurons_first(weights, inputs, alpha)
    tensors, tensor = [torch.from_numpy(w) for w in arrays], torch.from_numpy(array)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return forward(tensors, tensor)

    if compiled:
        run()
    return run


def make_torch_loop(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """PyTorch, eager: the loop over time of `make_numpy`, in inference mode."""
    return _torch_run(weights, inputs, n_steps, alpha, theta, compiled=False)


def make_torch_compile(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """PyTorch, the loop of `make_torch_loop` fused by torch.compile, which needs a C++ compiler."""
    return _torch_run(weights, inputs, n_steps, alpha, theta, compiled=True)


def make_jax_scan(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """JAX, what `make_jax_scan_plain` does better: neurons first; unroll=2 was the fastest of 1, 2, 4, 8 and 32."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def counts_of(scaled: list[jax.Array], x: jax.Array) -> jax.Array:
        drive = scaled[0] @ x
        voltages = [jnp.zeros((w.shape[0], x.shape[1]), jnp.float32) for w in scaled]

        def step(carry: tuple[list[jax.Array], jax.Array], _: None) -> tuple[Any, None]:
            voltages, counts = carry
            signal, after = drive, []
            for layer, before in enumerate(voltages):
                v = alpha * before + (signal if layer == 0 else scaled[layer] @ signal)
                fired = v >= theta
                after.append(jnp.where(fired, 0.0, v))
                signal = fired.astype(v.dtype)
            return (after, counts + signal), None

        start = (voltages, jnp.zeros_like(voltages[-1]))
        (_, counts), _ = jax.lax.scan(step, start, None, length=n_steps, unroll=2)
        return counts.T

    arrays, array = _neurons_first(weights, inputs, alpha)
    scaled, x = [jnp.asarray(w) for w in arrays], jnp.asarray(array)

    def run() -> jax.Array:
        return counts_of(scaled, x).block_until_ready()

    run()
    return run


def make_jax_scan_plain(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """JAX, jax.jit of lax.scan over the equations as they are written down, samples first, each step's spikes kept."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def counts_of(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        drive = x @ weights[0]

        def step(voltages: list[jax.Array], _: None) -> tuple[list[jax.Array], jax.Array]:
            signal, after = drive, []
            for layer, before in enumerate(voltages):
                current = signal if layer == 0 else signal @ weights[layer]
                v = alpha * before + (1 - alpha) * current
                fired = (v >= theta).astype(v.dtype)
                after.append(v * (1 - fired))
                signal = fired
            return after, signal

        start = [jnp.zeros((x.shape[0], w.shape[1]), jnp.float32) for w in weights]
        _, spikes = jax.lax.scan(step, start, None, length=n_steps)
        return spikes.sum(0)

    arrays, x = [jnp.asarray(w) for w in weights], jnp.asarray(inputs)

    def run() -> jax.Array:
        return counts_of(arrays, x).block_until_ready()

    run()
    return run


def make_snntorch(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """snnTorch, `snn.Leaky` with reset_mechanism="zero".

    Leaky has no factor 1 - alpha, so the weights carry it. Its default reset_delay=True clears the membrane
    when the next step begins and not when this one ends: the same spikes as with reset_delay=False, in fewer
    operations. It fires at v > theta instead of v >= theta. surrogate_disable=True leaves out what only
    gradients need.
    """
    import snntorch as snn
    import torch

    torch.set_num_threads(1)
    x = torch.from_numpy(np.ascontiguousarray(inputs))
    scaled = [torch.from_numpy(w * np.float32(1 - alpha)) for w in weights]
    layers = [snn.Leaky(beta=alpha, threshold=theta, reset_mechanism="zero", surrogate_disable=True) for _ in scaled]

    def run() -> torch.Tensor:
        with torch.inference_mode():
            drive = x @ scaled[0]
            voltages = [torch.zeros((x.shape[0], w.shape[1])) for w in scaled]
            counts = torch.zeros_like(voltages[-1])
            for _ in range(n_steps):
                signal = drive
                for layer, leaky in enumerate(layers):
                    current = signal if layer == 0 else signal @ scaled[layer]
                    signal, voltages[layer] = leaky(current, voltages[layer])
                counts += signal
            return counts

    return run


def make_norse(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """Norse, `lif_box_feed_forward_step`: its LIF neuron without a synaptic current, dt / tau = 1 - alpha.

    The functional step was faster than the module LIFBoxCell around it. It fires at v > theta instead of
    v >= theta.
    """
    import torch
    from norse.torch import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step

    torch.set_num_threads(1)
    x = torch.from_numpy(np.ascontiguousarray(inputs))
    tensors = [torch.from_numpy(np.ascontiguousarray(w)) for w in weights]
    dt = 1e-3
    neuron = LIFBoxParameters(tau_mem_inv=torch.as_tensor((1 - alpha) / dt), v_th=torch.as_tensor(theta))

    def run() -> torch.Tensor:
        with torch.inference_mode():
            drive = x @ tensors[0]
            states = [LIFBoxFeedForwardState(v=torch.zeros((x.shape[0], w.shape[1]))) for w in tensors]
            counts = torch.zeros_like(states[-1].v)
            for _ in range(n_steps):
                signal = drive
                for layer, state in enumerate(states):
                    current = signal if layer == 0 else signal @ tensors[layer]
                    signal, states[layer] = lif_box_feed_forward_step(current, state, neuron, dt)
                counts += signal
            return counts

    return run


def make_spikingjelly(
    weights: Sequence[Float32Array],
    inputs: Float32Array,
    n_steps: int = 32,
    alpha: float = 0.9,
    theta: float = 1.0,
) -> Run:
    """SpikingJelly, `LIFNode` with decay_input=True, v_reset=0 and tau = 1 / (1 - alpha).

    In its multi-step mode a layer sees all time steps before the next layer does: faster than step by step.
    """
    import torch
    from spikingjelly.activation_based.neuron import LIFNode

    torch.set_num_threads(1)
    x = torch.from_numpy(np.ascontiguousarray(inputs))
    tensors = [torch.from_numpy(np.ascontiguousarray(w)) for w in weights]
    tau = 1 / (1 - alpha)
    nodes = [LIFNode(tau, decay_input=True, v_threshold=theta, v_reset=0.0, step_mode="m") for _ in tensors]

    def run() -> torch.Tensor:
        with torch.inference_mode():
            drive = x @ tensors[0]
            signal = drive.expand(n_steps, *drive.shape)
            for layer, node in enumerate(nodes):
                node.reset()
                signal = node(signal if layer == 0 else signal @ tensors[layer])
            return signal.sum(0)

    return run


class Peer(NamedTuple):
    """A peer's `make` function and the modules that it imports."""

    make: Callable[..., Run]
    modules: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """What keeps this peer from running here, None when nothing does."""
        absent = [name for name in self.modules if find_spec(name) is None]
        if absent:
            return f"{', '.join(absent)} not installed"
        if self.make is make_torch_compile and not _has_compiler():
            return "torch.compile needs a C++ compiler"
        return None


def _has_compiler() -> bool:
    """Whether one of the compilers that torch.compile looks for is here."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


PEERS: dict[str, Peer] = {
    "numpy": Peer(make_numpy),
    "numpy_plain": Peer(make_numpy_plain),
    "torch_loop": Peer(make_torch_loop, ("torch",)),
    "torch_compile": Peer(make_torch_compile, ("torch",)),
    "jax_scan": Peer(make_jax_scan, ("jax",)),
    "jax_scan_plain": Peer(make_jax_scan_plain, ("jax",)),
    "snntorch": Peer(make_snntorch, ("torch", "snntorch")),
    "norse": Peer(make_norse, ("torch", "norse")),
    "spikingjelly": Peer(make_spikingjelly, ("torch", "spikingjelly")),
}
