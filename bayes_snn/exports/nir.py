"""Export to the Neuromorphic Intermediate Representation (NIR, package `nir`), and back.

A chip's network becomes Input -> (Affine -> LIF) for each layer -> Output. NIR's LIF is

    tau dv/dt = (v_leak - v) + R I,     z = 1 where v > v_threshold,     v = v_reset where z = 1

with v, I and v_threshold in units of the chip's threshold theta, tau in seconds, R = 1, v_leak = v_reset = 0. `Affine`
holds (n_post, n_pre) weights, transposed from the chip's (n_pre, n_post), and a bias of zeros. NIR does not say how a
simulator steps through time, so tau is chosen for the reader's rule and its step dt, so that one step of the reader is
one step (1 ms) of the chip, v[t] = alpha v[t-1] + (1 - alpha) I[t]:

    "euler"   v += dt / tau (R I - v):  tau = dt / (1 - alpha)      Norse (dt = 1e-3 s), snnTorch (dt = 1e-4 s)
    "exact"   v decays by exp(-dt / tau):  tau = -dt / log(alpha)   simulators that solve the equation over a step

The chip fires at v >= theta, NIR's LIF at v > v_threshold: v_threshold is the largest float32 below theta, which is the
same thing. All parameters are float32. docs/export.md says what each simulator makes of them, and how often its spike
counts differ.
"""

from __future__ import annotations

import io
import itertools
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.arrays import as_floats
from bayes_snn.chips.contract import Chip
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.neuron import DT, TAU_M
from bayes_snn.chips.link.link import Link
from bayes_snn.errors import ForeignNeuronsWarning, InputError, unknown_name
from bayes_snn.estimates.predict import Weights
from bayes_snn.exports.deployment import check_chain, deployment, file_path
from bayes_snn.files import UnreadableError, write_then_rename
from bayes_snn.hdf5 import Group, read_hdf5
from bayes_snn.names import DISTORTION_ROWS
from bayes_snn.version import __version__

try:
    import nir
except ImportError:
    raise InputError("NIR needs the package nir, which is not installed: run pip install 'bayes_snn[nir]'.") from None

DISCRETISATIONS = ("euler", "exact")

Float32Array = NDArray[np.float32]


def to_nir(
    result: Any,
    estimate: str = "map",
    *,
    draw: int | None = None,
    effective: bool = False,
    discretisation: str = "euler",
    dt: float = 1e-3,
) -> nir.NIRGraph:
    """A fitted chip as a NIR graph.

    Parameters
    ----------
    result
        A `FitResult`, or a `BackpropResult`, which heeds neither estimate nor draw.
    estimate
        "mean", "map", "medoid" or "distilled".
    draw
        In the place of an estimate: the number of one posterior draw, chains one after the other.
    effective
        False for the deployed weights, as the chip is programmed with them (saturated, and quantised by a simulated
        chip with `quantisation`), on ideal neurons: what the ideal `LIFChip` would do with them. True for what a
        `LIFChip` computes with: mismatched, stuck and quantised weights, and each neuron's own threshold and leak; a
        silent neuron gets no input.
    discretisation
        How the reader steps through time, "euler" or "exact"; see the module.
    dt
        The reader's time step in seconds, one of which stands for 1 ms of the chip. Norse: 1e-3 unless it is given
        otherwise. snnTorch: 1e-4, which its import has fixed.

    Returns
    -------
    A `nir.NIRGraph` with nodes input, w_1, lif_1, w_2, lif_2, ..., output. Its `metadata` say estimate, units, dt,
    n_steps, encoding, reset and weight axes. Later weights lie on the chip's grid, 2^-24 of the largest current.

    Raises
    ------
    InputError
        For an ensemble, an unknown name, or a chip with effective=True which NIR cannot express: one with comparator,
        current or noise distortion, or one that is not simulated. Also for a chip that is programmed with something
        else than one weight matrix between two layers.

    Warns
    -----
    ForeignNeuronsWarning
        When the chip is not a `LIFChip`: the graph's neurons are not its own.
    """
    if discretisation not in DISCRETISATIONS:
        raise unknown_name("discretisation", discretisation, DISCRETISATIONS)
    if isinstance(dt, bool | str) or not np.isfinite(dt) or dt <= 0:
        raise InputError(f"dt was {dt!r} s, but a positive time is expected: give 1e-3, or 1e-4 for snnTorch.")
    chosen = deployment(result, estimate, draw)
    spec = chosen.chip.spec
    if spec.weight_shapes != tuple(itertools.pairwise(spec.layers)):
        raise InputError(
            f"The chip is programmed with {', '.join(spec.weight_names)}, but a graph of LIF layers has one weight "
            "matrix between two layers and no more: export .npz instead."
        )
    simulated = _expressible(chosen.chip) if effective else _ideal(chosen.chip)
    weights = simulated.effective_weights(chosen.weights)
    if (kind := _other_kind(chosen.chip)) is not None:
        warnings.warn(
            f"The graph has ideal LIF neurons with tau_m {simulated.tau_m:.4g} ms, but the chip is a {kind}, whose "
            "neurons are not known here: trust a simulator's answers only where the chip gives the same.",
            ForeignNeuronsWarning,
            stacklevel=2,
        )
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([spec.layers[0]])})}
    for layer, (w, (alpha, theta)) in enumerate(zip(weights, simulated.effective_neurons(), strict=True), 1):
        # a silent neuron has no threshold, one with alpha = 1 no current: without input neither fires anywhere
        active = np.isfinite(theta) & (alpha < 1)
        alpha, theta = np.where(active, alpha, np.float32(0.9)), np.where(active, theta, np.float32(1.0))
        zeros = np.zeros(len(theta), np.float32)
        nodes[f"w_{layer}"] = nir.Affine(np.ascontiguousarray(np.where(active, w, np.float32(0.0)).T), zeros)
        nodes[f"lif_{layer}"] = nir.LIF(
            tau=_tau(alpha, discretisation, dt),
            r=np.ones_like(zeros),
            v_leak=zeros,
            v_threshold=np.nextafter(theta, np.float32(-np.inf)),
            v_reset=zeros,
        )
    nodes["output"] = nir.Output({"output": np.array([spec.layers[-1]])})
    names = list(nodes)
    metadata = {
        "project": "bayes_snn",
        "version": __version__,
        "estimate": chosen.source,
        "weights": "effective" if effective else "deployed",
        "neurons": "ideal LIF" if kind is None else f"ideal LIF; those of the chip, a {kind}, are not known",
        "chip": repr(chosen.chip),
        "n_steps": spec.n_steps,
        "dt": float(dt),
        "discretisation": discretisation,
        "tau_m": float(simulated.tau_m),
        "units": "tau and dt in s; v, v_threshold, currents and weights in units of the chip's threshold; tau_m, of an "
        "undistorted neuron, in ms; one dt of the reader is 1 ms of the chip",
        "weight_axes": "post, pre",
        "encoding": "direct current: the standardised features are the input of every one of n_steps steps, from v = 0",
        "reset": "to v_reset in the step of the spike",
        "threshold": "v_threshold is the largest float32 below theta: v > v_threshold is the chip's v >= theta",
        "readout": "softmax(beta c + bias) of the spike counts c of the last layer over n_steps steps",
        **chosen.described_readout(),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata)


def write_nir(
    result: Any,
    path: str | Path,
    estimate: str = "map",
    *,
    draw: int | None = None,
    effective: bool = False,
    discretisation: str = "euler",
    dt: float = 1e-3,
) -> Path:
    """Write a fitted chip to a NIR file (HDF5), whole or not at all; see `to_nir` for arguments and errors.

    Also raises `InputError` when the file cannot be written.
    """
    path = file_path(path)
    graph = to_nir(result, estimate, draw=draw, effective=effective, discretisation=discretisation, dt=dt)
    buffer = io.BytesIO()  # on a full disk HDF5 does not raise an error, it takes Python down with it
    nir.write(buffer, graph)
    write_then_rename(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))
    return path


@dataclass(frozen=True)
class NIRNetwork:
    """A network of LIF layers, read from NIR.

    Attributes
    ----------
    weights
        (n_pre, n_post) for each layer, in units of each neuron's threshold: R w / theta.
    tau_m
        (n_post,) for each layer, in ms of the chip, so that alpha = exp(-1 ms / tau_m).
    n_steps
        Steps of a presentation, None where the graph does not say.
    metadata
        What the graph says of itself.
    """

    weights: Weights
    tau_m: list[NDArray[np.float64]]
    n_steps: int | None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        """Neurons of each layer, inputs first."""
        return (len(self.weights[0]), *(w.shape[1] for w in self.weights))

    def chip(self, n_steps: int | None = None) -> LIFChip:
        """The ideal chip that runs `weights`; its range is widened where they need it.

        Raises `InputError` when neurons differ in tau_m, which no ideal chip has, or nothing says n_steps.
        """
        taus = np.concatenate(self.tau_m)
        if np.ptp(taus) > 1e-5 * taus.min():
            raise InputError(
                f"The neurons have tau_m from {taus.min():.4g} to {taus.max():.4g} ms, but an ideal chip has one: run "
                "the graph in a simulator that reads NIR."
            )
        steps = self.n_steps if n_steps is None else n_steps
        if steps is None:
            raise InputError("The graph does not say how many steps a presentation has: give n_steps, 32 for example.")
        largest = max(4.0, *(float(np.abs(w).max()) for w in self.weights))
        return LIFChip(self.layers, n_steps=steps, tau_m=float(taus[0]), weight_range=(-largest, largest))


def from_nir(
    source: str | Path | nir.NIRGraph, *, discretisation: str | None = None, dt: float | None = None
) -> NIRNetwork:
    """Read a network of LIF layers from a NIR file or graph: those of `to_nir`, and others of that form.

    Parameters
    ----------
    source
        A path, or a graph. Accepted is a chain of `Linear` or `Affine` without bias, each followed by `LIF` with
        v_leak = v_reset = 0; resistance and threshold are taken into the weights.
    discretisation, dt
        The rule that tau was chosen for, and its step in seconds; by default what the metadata say, else "exact" and
        1e-3.

    Raises
    ------
    InputError
        When the file is missing, torn or not NIR, or the network is not of this form.
    """
    graph = source if isinstance(source, nir.NIRGraph) else _read(Path(source))
    said = graph.metadata
    rule = str(said.get("discretisation", "exact")) if discretisation is None else discretisation
    if rule not in DISCRETISATIONS:
        raise unknown_name("discretisation", rule, DISCRETISATIONS)
    step = _said(said, "dt", 1e-3) if dt is None else float(dt)
    weights, taus = [], []
    for linear, lif in _layers(graph):
        matrix = as_floats("The graph's weights", linear.weight)
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise InputError(
                f"The graph has weights of shape {matrix.shape}, but a matrix (n_post, n_pre) is expected between two "
                "layers: reshape them."
            )
        if np.any(_of_each(linear, "bias", len(matrix)) if hasattr(linear, "bias") else 0.0):
            raise InputError("The graph has biases, but the chip has none: give an input that is always 1 instead.")
        if np.any(_of_each(lif, "v_leak", len(matrix))) or np.any(_of_each(lif, "v_reset", len(matrix))):
            raise InputError("The graph has a v_leak or v_reset other than 0, but the chip has both at 0: shift v.")
        tau, r = _of_each(lif, "tau", len(matrix)), _of_each(lif, "r", len(matrix))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # v > v_threshold is v >= the next float32
            threshold = _of_each(lif, "v_threshold", len(matrix)).astype(np.float32)
            theta = np.nextafter(threshold, np.float32(np.inf)).astype(np.float64)
            alpha = 1.0 - step / tau if rule == "euler" else np.exp(-step / tau)
            weights.append((matrix * (r / theta)[:, None]).T)
        if not (np.all(theta > 0) and np.all((alpha > 0) & (alpha < 1))):
            raise InputError(
                f"The graph has a threshold that is not positive, or a tau that does not fit steps of {step:g} s by "
                f"the rule {rule!r}: give the reader's dt= and discretisation=."
            )
        taus.append(-DT / np.log(alpha))
    n_steps = round(_said(said, "n_steps", 0.0)) if "n_steps" in said else None
    return NIRNetwork(check_chain(weights), taus, n_steps, dict(said))


def _of_each(node: Any, name: str, n_neurons: int) -> NDArray[np.float64]:
    """A parameter of each neuron of a layer, where one number stands for all of them; or an `InputError`."""
    values = as_floats(f"The {name} of the graph's neurons", getattr(node, name))
    if values.size != 1 and values.shape != (n_neurons,):
        raise InputError(
            f"The graph has {name} of shape {values.shape} in a layer of {n_neurons} neurons, but one number, or one "
            "for each neuron, is expected: give that."
        )
    return np.broadcast_to(values.ravel(), n_neurons)


def _other_kind(chip: Chip) -> str | None:
    """What a chip is that is not known to have LIF neurons; None for a simulated one."""
    chip = chip.chip if isinstance(chip, Link) else chip
    return None if isinstance(chip, LIFChip) else str(getattr(chip, "name", None) or type(chip).__name__)


def _ideal(chip: Chip) -> LIFChip:
    """The ideal chip of a chip's size, with its range and, where it is simulated, its quantisation."""
    bits = getattr(chip, "strengths", {}).get("quantisation", 0)
    spec, tau_m = chip.spec, getattr(chip, "tau_m", TAU_M)
    return LIFChip(spec.layers, "quantisation", bits, 0, spec.n_steps, tau_m=tau_m, weight_range=spec.weight_range)


def _expressible(chip: Chip) -> LIFChip:
    """The chip itself, when NIR's LIF can be what its neurons are; an `InputError` says why not."""
    if not isinstance(chip, LIFChip):
        raise InputError(
            f"The effective weights of a {type(chip).__name__} are not known, only those of a LIFChip: leave out "
            "effective to export the deployed ones."
        )
    for name in chip.strengths:
        if why := DISTORTION_ROWS[name].not_lif:
            raise InputError(
                f"The chip's {name} distortion cannot be written as NIR ({why}, where NIR's LIF has one constant "
                "threshold, a linear current and no noise): leave out effective to export the deployed weights on "
                "ideal neurons."
            )
    return chip


def _tau(alpha: Float32Array, discretisation: str, dt: float) -> Float32Array:
    """tau in s, of float32 alpha < 1, such that one step dt of the reader is one step of the chip."""
    a = np.maximum(alpha.astype(np.float64), np.finfo(np.float32).tiny)
    return (dt / (1.0 - a) if discretisation == "euler" else -dt / np.log(a)).astype(np.float32)


def _read(path: Path) -> nir.NIRGraph:
    """The graph in a file, whose HDF5 is read apart from this process."""
    again = "take it from a copy, or write it again with write_nir"
    try:
        root = read_hdf5(path)
        if "node" not in root.groups:
            raise UnreadableError("it has no group node, as every NIR file has")
        # without type checks: shapes are checked below, in sentences
        graph = nir.dict2NIRNode({**_plain(root.groups["node"]), "type_check": False})
    except UnreadableError as error:
        raise error.input_error(path, again) from None
    # what nir raises at a graph with a part missing or of another kind
    except (KeyError, ValueError, TypeError, AttributeError, AssertionError, IndexError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        reason = UnreadableError(f"it holds no whole NIR graph ({type(error).__name__}{': ' if text else ''}{text})")
        raise reason.input_error(path, again) from None
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(f"{path} holds a {type(graph).__name__}, but a NIR graph is expected: give another file.")
    return graph


def _said(metadata: dict[str, Any], name: str, default: float) -> float:
    """A number of the metadata, which anybody may have written."""
    value = metadata.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < 1e9:
        raise InputError(f"The graph says that {name} is {value!r:.60}, but a positive number is expected.")
    return number


def _plain(group: Group) -> dict[str, Any]:
    """A group as `nir.dict2NIRNode` takes it: texts and numbers in the place of arrays without dims."""
    found: dict[str, Any] = {name: _plain(below) for name, below in group.groups.items()}
    for name, array in group.arrays.items():
        value = array.values[()]  # a scalar where it has no dims
        if isinstance(value, np.bytes_):
            value = value.decode("utf-8", "replace")
        found[name] = str(value) if isinstance(value, str) else value
    return found


def _layers(graph: nir.NIRGraph) -> list[tuple[Any, Any]]:
    """(Affine or Linear, LIF) of each layer, from the input on."""
    if lost := sorted({str(name) for edge in graph.edges for name in edge} - {str(name) for name in graph.nodes}):
        raise InputError(
            f"The graph has edges from or to {lost[0]!r:.60}, which is no node of it: take it from a copy."
        )
    following = dict(graph.edges)
    [name, *more] = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)] or [None]
    chain: list[Any] = []
    while name in following and len(chain) < len(graph.nodes):
        name = following[name]
        chain.append(graph.nodes[name])
    is_chain = not more and len(following) == len(graph.edges) == len(graph.nodes) - 1 == len(chain)
    body, pattern = chain[:-1], (nir.Affine | nir.Linear, nir.LIF)
    fits = all(isinstance(node, pattern[i % 2]) for i, node in enumerate(body))
    if not (is_chain and fits and body and len(body) % 2 == 0 and isinstance(chain[-1], nir.Output)):
        kinds = " -> ".join(type(node).__name__ for node in graph.nodes.values())
        raise InputError(
            f"The graph is {kinds or 'empty'}, but a chain of Affine or Linear and LIF, between Input and Output, is "
            "expected: a network of another form cannot run on the chip."
        )
    return list(zip(body[::2], body[1::2], strict=True))
