"""NIR: graphs count in snnTorch and Norse as the chip does, sample by sample; what cannot be written is said."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from bayes_snn.backprop.train import BackpropResult
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.link.link import Link
from bayes_snn.errors import ForeignNeuronsWarning, InputError
from tests.chips.lif.test_chip import STRENGTHS, random_network
from tests.helpers.fits import hand_made_fit
from tests.helpers.toys import SigmoidChip

nir = pytest.importorskip("nir", reason="nir is not installed")

from bayes_snn.exports.nir import from_nir, to_nir, write_nir  # noqa: E402
from bayes_snn.names import DISTORTION_ROWS  # noqa: E402

READER_DT = {"snntorch": 1e-4, "norse": 1e-3, "numpy": 1e-3}
ALPHA = np.float32(0.9)


def fitted(chip, weights):
    """A result that deploys these weights."""
    return BackpropResult(chip, list(weights), {"mode": "offline"}, 0, 1, 0.1, 0, 1, [])


def by_hand(graph, inputs, n_steps):
    """Spike counts by NIR's equations and forward Euler, in float32."""
    nodes = [graph.nodes[name] for name in ("w_1", "lif_1", "w_2", "lif_2")]
    dt = np.float32(1e-3)
    v = [np.zeros((len(inputs), len(nodes[i].tau)), np.float32) for i in (1, 3)]
    counts = 0
    for _ in range(n_steps):
        z = inputs.astype(np.float32)
        for layer, (affine, lif) in enumerate([nodes[:2], nodes[2:]]):
            current = lif.r * (z @ affine.weight.T + affine.bias)
            v[layer] = v[layer] + dt / lif.tau * (lif.v_leak - v[layer] + current)
            z = (v[layer] > lif.v_threshold).astype(np.float32)
            v[layer] = np.where(z == 1, lif.v_reset, v[layer])
        counts = counts + z
    return counts


def in_snntorch(graph, inputs, n_steps):
    """Spike counts of snnTorch's import; it prints that it scales the thresholds."""
    pytest.importorskip("snntorch", reason="snnTorch is not installed")
    pytest.importorskip("nirtorch", reason="nirtorch, which snnTorch's import needs, is not installed")
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):
        network = import_from_nir(graph)
    return in_torch(network, inputs, n_steps)


def in_norse(graph, inputs, n_steps):
    """Spike counts of Norse's import."""
    with warnings.catch_warnings():  # torch.jit.script, and nirtorch.load, which Norse still calls
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
        network = norse.from_nir(graph)
    return in_torch(network, inputs, n_steps)


def in_torch(network, inputs, n_steps):
    import torch

    shown, state, counts = torch.tensor(inputs, dtype=torch.float32), None, 0
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small are slower on more
    try:
        with torch.no_grad():
            for _ in range(n_steps):
                spikes, state = network(shown, state)
                counts = counts + spikes
    finally:
        torch.set_num_threads(n_threads)
    return counts.numpy()


READERS = {"snntorch": in_snntorch, "norse": in_norse, "numpy": by_hand}


def differing(reader, graph, chip, weights, inputs):
    """Samples whose counts differ between a reader and the chip."""
    counts = chip.run(weights, inputs)
    assert counts.mean() > 1
    return int((READERS[reader](graph, inputs, chip.spec.n_steps) != counts).any(axis=1).sum())


# --- counts, sample by sample -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("n_steps", [32, 70])
def test_counts_are_those_of_the_ideal_chip(reader, n_steps):
    # Voltages that a different rounding puts on the other side of the threshold: measured were none in 341,400 samples
    # (docs/export.md), so less than 1e-5 of them, and two or more in these 4,000 samples less often than 1 in 1,000.
    chip, found = LIFChip((30, 16, 2), n_steps=n_steps), 0
    for seed in range(20):
        weights, inputs = random_network((30, 16, 2), 200, seed)
        graph = to_nir(fitted(chip, weights), dt=READER_DT[reader])
        found += differing(reader, graph, chip, weights, inputs)
    assert found <= 1


@pytest.mark.parametrize("reader", READERS)
def test_ten_percent_of_tau_gives_other_counts(reader):
    chip = LIFChip((30, 16, 2))
    weights, inputs = random_network((30, 16, 2), 200, 1)
    graph = to_nir(fitted(chip, weights), dt=READER_DT[reader])
    assert differing(reader, graph, chip, weights, inputs) <= 1
    for name in ("lif_1", "lif_2"):
        graph.nodes[name].tau *= np.float32(1.1)
    assert differing(reader, graph, chip, weights, inputs) > 60


@pytest.mark.parametrize("reader", READERS)
def test_the_other_discretisation_gives_other_counts(reader):
    chip = LIFChip((30, 16, 2))
    weights, inputs = random_network((30, 16, 2), 200, 1)
    graph = to_nir(fitted(chip, weights), discretisation="exact", dt=READER_DT[reader])
    assert differing(reader, graph, chip, weights, inputs) > 30


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("names", [["gain"], ["stuck", "silent"], ["quantisation", "gain"]])
def test_effective_weights_count_as_the_distorted_chip(reader, names):
    chip = LIFChip((30, 16, 2), names, [STRENGTHS[name] for name in names], 3)
    weights, inputs = random_network((30, 16, 2), 400, 2, 2.0)
    graph = to_nir(fitted(chip, weights), effective=True, dt=READER_DT[reader])
    assert differing(reader, graph, chip, weights, inputs) <= 1
    deployed = to_nir(fitted(chip, weights), dt=READER_DT[reader])
    ideal = LIFChip((30, 16, 2), "quantisation", chip.strengths.get("quantisation", 0))
    assert differing(reader, deployed, ideal, weights, inputs) <= 1
    assert (ideal.run(weights, inputs) != chip.run(weights, inputs)).any(axis=1).sum() > 40


@pytest.mark.parametrize("reader", ["norse", "numpy"])
@pytest.mark.parametrize("names", [["threshold"], ["leak"], ["threshold", "leak", "gain", "silent"]])
def test_each_neuron_has_its_threshold_and_leak(reader, names):
    chip = LIFChip((30, 16, 2), names, [STRENGTHS[name] for name in names], 3)
    weights, inputs = random_network((30, 16, 2), 400, 2, 2.0)
    graph = to_nir(fitted(chip, weights), effective=True)
    assert differing(reader, graph, chip, weights, inputs) <= 1
    assert (LIFChip((30, 16, 2)).run(weights, inputs) != chip.run(weights, inputs)).any(axis=1).sum() > 40


def test_a_voltage_at_the_threshold_fires():
    # alpha = 1/2, I = 1.875: v = 0.9375; I = 2: v = 1, exactly theta; NIR's LIF alone would want more than that
    chip = LIFChip((1, 1), n_steps=4, tau_m=1 / np.log(2))
    inputs = np.array([[1.0], [2.0]])
    weights = [np.ones((1, 1))]
    lif = to_nir(fitted(chip, weights)).nodes["lif_1"]
    assert chip.circuit.decay[0] == 0.5
    np.testing.assert_array_equal(np.float32(0.5) * inputs[:, 0].astype(np.float32) > lif.v_threshold, [False, True])
    assert chip.run(weights, inputs)[:, 0].tolist() == [0, 4]
    assert lif.v_threshold == np.nextafter(np.float32(1), np.float32(0))


# --- the graph --------------------------------------------------------------------------------------------------------


def test_what_the_graph_holds():
    chip = LIFChip((5, 4, 3), "gain", 0.2, n_steps=20)
    weights, _ = random_network((5, 4, 3), 1, 0)
    weights[0][0, 0] = 9.0  # beyond the range
    graph = to_nir(fitted(chip, weights))
    assert list(graph.nodes) == ["input", "w_1", "lif_1", "w_2", "lif_2", "output"]
    assert graph.nodes["w_1"].weight.shape == (4, 5)
    np.testing.assert_array_equal(graph.nodes["w_1"].weight.T, np.clip(weights[0], -4, 4).astype(np.float32))
    np.testing.assert_allclose(graph.nodes["w_2"].weight.T, weights[1], atol=2.0**-20)
    for name, size in (("lif_1", 4), ("lif_2", 3)):
        lif = graph.nodes[name]
        for values in (lif.tau, lif.r, lif.v_leak, lif.v_threshold, lif.v_reset):
            assert values.shape == (size,)
            assert values.dtype == np.float32
        np.testing.assert_array_equal(np.float32(1) - np.float32(1e-3) / lif.tau, ALPHA)
    assert graph.metadata["estimate"] == "backprop offline"
    assert graph.metadata["weights"] == "deployed"
    assert graph.metadata["n_steps"] == 20
    exact = to_nir(fitted(chip, weights), discretisation="exact").nodes["lif_1"].tau
    np.testing.assert_allclose(exact, 9.491221e-3, rtol=1e-6)


def test_estimates_and_draws_of_a_fit():
    rng = np.random.default_rng(0)
    fit = hand_made_fit(LIFChip((4, 6, 3)), rng.normal(size=(30, 4)), rng.integers(0, 3, 30))
    for estimate in ("mean", "map", "medoid"):
        graph = to_nir(fit, estimate)
        np.testing.assert_array_equal(graph.nodes["w_1"].weight.T, fit.weights(estimate)[0].astype(np.float32))
        assert graph.metadata["estimate"] == estimate
    graph = to_nir(fit, draw=7)
    np.testing.assert_array_equal(graph.nodes["w_1"].weight.T, fit.draws[7][0].astype(np.float32))
    assert graph.metadata["estimate"] == "draw 7"


def test_any_chip_can_be_exported():
    chip = SigmoidChip()
    weights = [np.full(shape, 0.5) for shape in chip.spec.weight_shapes]
    with pytest.warns(ForeignNeuronsWarning, match="but the chip is a SigmoidChip, whose neurons are not known"):
        graph = to_nir(fitted(chip, weights))
    assert graph.metadata["n_steps"] == chip.spec.n_steps
    assert "SigmoidChip" in graph.metadata["neurons"]
    # how a chip is reached is no part of what it is
    linked = Link(LIFChip((1, 2)))
    assert to_nir(fitted(linked, weights)).metadata["neurons"] == "ideal LIF"
    with pytest.raises(InputError, match="effective weights of a SigmoidChip"):
        to_nir(fitted(chip, weights), effective=True)


@pytest.mark.parametrize("discretisation", ["euler", "exact"])
@pytest.mark.parametrize("bits", [0, 4])
def test_a_file_read_back_runs_alike_on_the_chip(tmp_path, discretisation, bits):
    chip = LIFChip((6, 8, 7, 3), "quantisation", bits, n_steps=40, tau_m=15.0, weight_range=(-3, 5))
    weights, inputs = random_network((6, 8, 7, 3), 300, 5, 1.5)
    path = write_nir(fitted(chip, weights), tmp_path / "net.nir", discretisation=discretisation, dt=2e-4)
    network = from_nir(path)
    again = network.chip()
    assert (network.layers, network.n_steps) == ((6, 8, 7, 3), 40)
    assert network.metadata["units"].startswith("tau and dt in s")
    for ours, theirs in zip(network.weights, chip.effective_weights(weights), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.circuit.decay, chip.circuit.decay)
    np.testing.assert_array_equal(again.run(network.weights, inputs), chip.run(weights, inputs))


def test_a_graph_from_elsewhere_runs_on_the_chip():
    # Linear in the place of Affine, R and v_threshold other than 1, no metadata, names in no order
    rng = np.random.default_rng(0)
    w, ones = rng.normal(size=(3, 5)), np.ones(3)
    lif = nir.LIF(tau=0.01 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=0.5 * ones)
    nodes = {"b": nir.Output({"output": np.array([3])}), "c": lif, "a": nir.Input({"input": np.array([5])})}
    graph = nir.NIRGraph({**nodes, "d": nir.Linear(w)}, [("c", "b"), ("a", "d"), ("d", "c")])
    network = from_nir(graph, discretisation="euler", dt=1e-3)
    np.testing.assert_allclose(network.weights[0], 4 * w.T, rtol=1e-6)
    assert network.n_steps is None
    with pytest.raises(InputError, match="give n_steps"):
        network.chip()
    chip = network.chip(32)
    assert chip.circuit.decay.tolist() == [ALPHA] * 3
    assert chip.run(network.weights, np.abs(rng.normal(size=(10, 5)))).shape == (10, 3)


def small_graph(tau, weight=None):
    """Three inputs, two neurons."""
    like = [np.full_like(tau, value) for value in (1.0, 0.0, 1.0, 0.0)]
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "w": nir.Linear(np.ones((2, 3)) if weight is None else weight),
        "lif": nir.LIF(tau, *like),
        "output": nir.Output({"output": np.array([2])}),
    }
    return nir.NIRGraph(nodes, [("input", "w"), ("w", "lif"), ("lif", "output")], type_check=False)


@pytest.mark.parametrize("tau", [np.array(0.01), np.array([0.01]), np.array([[0.01]]), np.ma.array([0.01, 0.01])])
def test_one_number_stands_for_all_neurons_of_a_layer(tau, tmp_path):
    expected = from_nir(small_graph(np.full(2, 0.01)))
    graphs = [small_graph(tau)]
    if tau.ndim:  # a file has no scalars
        nir.write(tmp_path / "graph.nir", small_graph(np.asarray(tau)))
        graphs.append(tmp_path / "graph.nir")
    for graph in graphs:
        found = from_nir(graph)
        assert [values.tolist() for values in found.tau_m] == [values.tolist() for values in expected.tau_m]
        np.testing.assert_array_equal(found.weights, expected.weights)
        assert found.chip(8).spec.layers == (3, 2)


@pytest.mark.parametrize(
    ("tau", "weight", "says"),
    [
        (np.full(3, 0.01), None, r"v_leak of shape \(3,\) in a layer of 2 neurons"),
        (np.full((2, 1), 0.01), None, r"of shape \(2, 1\) in a layer of 2"),
        (np.ma.array([0.01, 0.01], mask=[0, 1]), None, "masked entries"),
        (np.array([0.01 + 1j, 0.01]), None, "complex"),
        (np.full(2, 0.01), np.ones((1, 2, 3)), r"weights of shape \(1, 2, 3\)"),
        (np.full(2, 0.01), np.ones((2, 3)) + 0j, "weights are complex"),
        (np.full(2, 0.01), np.ma.array(np.ones((2, 3)), mask=np.eye(2, 3)), "weights have masked entries"),
    ],
)
def test_parameters_of_other_shapes_and_kinds_are_refused(tau, weight, says):
    with pytest.raises(InputError, match=says):
        from_nir(small_graph(tau, weight))


def test_neurons_that_never_fire():
    # a spread beyond float32: alpha is 1 or 0 in some neurons
    chip = LIFChip((4, 40, 2), ["leak", "silent"], [10.0, 0.2], 1)
    assert {0.0, 1.0} <= set(chip.circuit.decay.tolist())
    weights, inputs = random_network((4, 40, 2), 50, 0)
    graph = to_nir(fitted(chip, weights), effective=True)
    for name in ("lif_1", "lif_2"):
        assert all(np.isfinite(graph.nodes[name].tau))
        assert all(graph.nodes[name].tau > 0)
        assert all(np.isfinite(graph.nodes[name].v_threshold))
    np.testing.assert_array_equal(by_hand(graph, inputs, 32), chip.run(weights, inputs))


# --- errors -----------------------------------------------------------------------------------------------------------


def test_the_page_names_the_distortions_that_nir_cannot_express():
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    *most, last = (name for name, row in DISTORTION_ROWS.items() if row.not_lif)
    assert f"Distortions {', '.join(most)} and {last} have no place in NIR's LIF" in page


@pytest.mark.parametrize("name", ["comparator", "current", "noise", "drift"])
def test_distortions_that_nir_cannot_express(name):
    chip = LIFChip((4, 3, 2), ["gain", name], [0.1, STRENGTHS[name]])
    weights, _ = random_network((4, 3, 2), 1, 0)
    assert to_nir(fitted(chip, weights)).metadata["weights"] == "deployed"
    with pytest.raises(InputError, match=rf"{name} distortion cannot be written as NIR \(its .* leave out effective"):
        to_nir(fitted(chip, weights), effective=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"estimate": "ensemble"}, "take 'mean', 'map', 'medoid' or 'distilled', or give draw="),
        ({"estimate": "maps"}, "did you mean 'map'"),
        ({"draw": 20}, "draw was 20, but this fit's draws are numbered from 0 to 19"),
        ({"draw": True}, "draw was True"),
        ({"discretisation": "eulr"}, "did you mean 'euler'"),
        ({"dt": 0}, "dt was 0 s"),
        ({"dt": "1"}, "dt was '1' s"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, words):
    rng = np.random.default_rng(0)
    fit = hand_made_fit(LIFChip((4, 6, 3)), rng.normal(size=(30, 4)), rng.integers(0, 3, 30))
    with pytest.raises(InputError, match=words):
        to_nir(fit, **arguments)


def test_other_things_than_results():
    with pytest.raises(InputError, match="The result was a dict"):
        to_nir({})


def chain(*nodes):
    return nir.NIRGraph.from_list(*nodes)


def lif(n, **changed):
    values = {"tau": np.full(n, 0.01), "r": np.ones(n), "v_leak": np.zeros(n), "v_threshold": np.ones(n)}
    return nir.LIF(**{**values, **changed})


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([nir.Linear(np.ones((2, 3)))], "a chain of Affine or Linear and LIF"),
        ([lif(2)], "a chain of Affine or Linear and LIF"),
        ([nir.Linear(np.ones((2, 3))), lif(2), lif(2)], "a chain of Affine or Linear and LIF"),
        ([nir.Affine(np.ones((2, 3)), np.array([0.0, 1.0])), lif(2)], "has biases"),
        ([nir.Linear(np.ones((2, 3))), lif(2, v_leak=np.array([0.0, 0.5]))], "v_leak or v_reset"),
        ([nir.Linear(np.ones((2, 3))), lif(2, v_threshold=np.zeros(2) - 1)], "a threshold that is not positive"),
        ([nir.Linear(np.ones((2, 3))), lif(2, tau=np.zeros(2))], "a tau that does not fit"),
        ([nir.Linear(np.full((2, 3), np.nan)), lif(2)], "NaN"),
    ],
)
def test_graphs_of_another_form(nodes, words):
    with pytest.raises(InputError, match=words):
        from_nir(chain(*nodes))


def test_a_graph_with_a_loop():
    graph = chain(nir.Linear(np.ones((2, 2))), lif(2))
    graph.edges.append(("lif", "linear"))
    with pytest.raises(InputError, match="a chain of Affine or Linear and LIF"):
        from_nir(graph)


def test_neurons_that_differ_have_no_ideal_chip():
    graph = chain(nir.Linear(np.ones((2, 3))), lif(2, tau=np.array([0.01, 0.02])))
    with pytest.raises(InputError, match="tau_m from 10 to 20 ms"):
        from_nir(graph).chip(32)
    with pytest.raises(InputError, match="did you mean 'exact'"):
        from_nir(graph, discretisation="exactly")


def test_files_that_are_not_nir(tmp_path):
    chip = LIFChip((4, 3, 2))
    path = write_nir(fitted(chip, random_network((4, 3, 2), 1, 0)[0]), tmp_path / "net.nir")
    whole = path.read_bytes()
    for part in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:part])
        with pytest.raises(InputError, match=r"net\.nir cannot be read, because it .*: take it from a copy"):
            from_nir(path)
    path.write_bytes(b"not HDF5" * 100)
    with pytest.raises(InputError, match=r"net\.nir cannot be read, because it .*: take it from a copy"):
        from_nir(path)
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(InputError, match=r"net\.nir cannot be read, because it .*: take it from a copy"):
        from_nir(path)
    with pytest.raises(InputError, match="cannot be read"):
        from_nir(tmp_path / "missing.nir")
    with pytest.raises(InputError, match="cannot be read"):
        from_nir(tmp_path)


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    chip = LIFChip((4, 3, 2))
    result = fitted(chip, random_network((4, 3, 2), 1, 0)[0])
    path = write_nir(result, tmp_path / "net.nir")
    before = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        write_nir(result, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.nir"]
    with pytest.raises(InputError, match="cannot be written"):
        write_nir(result, tmp_path / "missing" / "net.nir")
    with pytest.raises(InputError, match="the name of a file"):
        write_nir(result, tmp_path)


def test_without_nir_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def no_nir(name, *arguments, **keywords):
        if name == "nir":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "bayes_snn.exports.nir")
    monkeypatch.setattr(builtins, "__import__", no_nir)
    with pytest.raises(InputError, match=r"pip install 'bayes_snn\[nir\]'"):
        importlib.import_module("bayes_snn.exports.nir")
