"""Backprop: the model against chip and snnTorch, gradients against finite differences, training and its cost."""

from __future__ import annotations

import builtins
import importlib
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra backprop is not installed")

from bayes_snn.backprop.chip_in_loop import CountedChip  # noqa: E402
from bayes_snn.backprop.distortion import draw_distortion  # noqa: E402
from bayes_snn.backprop.network import SURROGATES, Surrogate, effective_weights, run_network, spike_counts  # noqa: E402
from bayes_snn.backprop.train import MODES, train_backprop  # noqa: E402
from bayes_snn.backprop.trainer import Part, Trainer, scores, split_validation  # noqa: E402
from bayes_snn.chips.contract import ChipSpec  # noqa: E402
from bayes_snn.chips.lif.chip import TAU_M, LIFChip  # noqa: E402
from bayes_snn.chips.lif.distortion import stream  # noqa: E402
from bayes_snn.errors import ChipError, InputError  # noqa: E402
from bayes_snn.estimates.metrics import accuracy  # noqa: E402
from bayes_snn.likelihood import Readout  # noqa: E402
from tests.chips.lif.test_chip import STRENGTHS, networks, random_network  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def as_model(weights, inputs, dtype=np.float32):
    """Weights as one replicate, and inputs as columns, for run_network."""
    tensors = [torch.from_numpy(np.asarray(w, dtype)[None].copy()) for w in weights]
    return tensors, torch.from_numpy(np.ascontiguousarray(np.asarray(inputs, dtype).T))


def circuit(chip):
    """The model's circuit with the chip's own distortions: a peek that only a test may take."""
    return draw_distortion(chip.strengths, chip.spec, chip.tau_m, lambda name, layer: stream(chip.seed, name, layer))


def model_counts(chip, weights, inputs):
    w, x = as_model(weights, inputs)
    return spike_counts(run_network(w, x, circuit(chip), chip.spec, bits=chip.spec.weight_bits)[-1])[0].numpy()


# --- the model's spikes -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    layers=networks,
    n_samples=st.integers(1, 40),
    n_steps=st.integers(1, 70),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.3, 1.0, 3.0]),
    excitatory=st.booleans(),
)
def test_ideal_model_spikes_as_the_ideal_chip(layers, n_samples, n_steps, seed, scale, excitatory):
    weights, inputs = random_network(layers, n_samples, seed, scale, excitatory)
    chip = LIFChip(layers, n_steps=n_steps)
    w, x = as_model(weights, inputs)
    modelled = run_network(w, x, circuit(chip), chip.spec)
    for layer, spikes in zip(modelled, chip.spikes(weights, inputs), strict=True):
        np.testing.assert_array_equal(layer[0].numpy(), spikes.transpose(2, 1, 0))
    np.testing.assert_array_equal(model_counts(chip, weights, inputs), chip.run(weights, inputs))


@pytest.mark.parametrize("name", sorted(STRENGTHS.keys() - {"noise", "drift"}))
def test_distorted_model_computes_as_the_chip_of_the_same_draw(name):
    weights, inputs = random_network((6, 24, 8, 3), 200, 2, 2.0)
    chip = LIFChip((6, 24, 8, 3), name, STRENGTHS[name], 5)
    expected, found = chip.run(weights, inputs), model_counts(chip, weights, inputs)
    assert (expected != LIFChip((6, 24, 8, 3)).run(weights, inputs)).any()
    # the model tabulates the smooth functions more coarsely than the chip
    most = 0.05 if name in ("comparator", "current") else 0.0
    assert (found != expected).mean() <= most


def test_the_model_of_the_chips_own_draw_has_the_chips_parameters():
    # all frozen distortions at once, exactly: what draws for the chip draws for the model
    strengths = {name: sigma for name, sigma in STRENGTHS.items() if name != "drift"}
    chip = LIFChip((6, 24, 8, 3), list(strengths), list(strengths.values()), 5)
    layers = circuit(chip)
    for name in ("decay", "noise"):
        found = np.concatenate([getattr(layer, name) for layer in layers])
        np.testing.assert_array_equal(found, getattr(chip.circuit, name))
    silent = np.concatenate([np.isinf(layer.threshold) for layer in layers])
    np.testing.assert_array_equal(silent, np.isinf(chip.circuit.edges[:, 0]))
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 3, shape) for shape in chip.spec.weight_shapes]
    modelled = [
        effective_weights(torch.from_numpy(w[None].astype(np.float32)), layer, chip.spec, chip.spec.weight_bits)
        for w, layer in zip(weights, layers, strict=True)
    ]
    for a, b in zip(modelled, chip.effective_weights(weights), strict=True):
        np.testing.assert_array_equal(a[0].numpy(), b)


def test_drift_is_drawn_as_after_a_thousand_runs():
    spec, streams = LIFChip((2, 5, 3)).spec, {}

    def stream(name, layer):
        return streams.setdefault((name, layer), np.random.default_rng(layer))

    layers = draw_distortion({"drift": 0.5}, spec, 9.5, stream)
    for layer, drawn in enumerate(layers):
        expected = np.exp(0.5 * np.random.default_rng(layer).normal(size=spec.layers[layer + 1]))
        np.testing.assert_array_equal(drawn.threshold, expected.astype(np.float32))
    assert streams.keys() == {("drift", 0), ("drift", 1)}


def test_noise_of_the_model_has_the_strength_of_the_chip():
    # subthreshold current: only noise makes spikes
    inputs, weights = np.full((2000, 1), 0.8), [np.ones((1, 1))]
    chip = LIFChip((1, 1), "noise", 0.2, 3)
    w, x = as_model(weights, inputs)
    found = run_network(w, x, circuit(chip), chip.spec, noise=np.random.default_rng(1))[-1][0].sum(dim=1)[0].numpy()
    expected = chip.run(weights, inputs)[:, 0]
    error = np.hypot(found.std(), expected.std()) / np.sqrt(len(inputs))
    assert expected.mean() > 0.3
    assert abs(found.mean() - expected.mean()) < 5 * error


def test_ideal_model_spikes_as_snntorch():
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    # all in steps of 1/64: sums are exact in any order
    rng = np.random.default_rng(4)
    weights = [np.rint(64 * rng.normal(0, s, shape)) / 64 for s, shape in ((1.0, (7, 12)), (2.0, (12, 3)))]
    inputs = np.rint(64 * rng.normal(size=(150, 7))) / 64
    chip = LIFChip((7, 12, 3))
    alpha = np.exp(np.float64(-1 / TAU_M)).astype(np.float32)
    inflow = torch.tensor(np.float32(1) - alpha)
    cells = [
        snntorch.Leaky(beta=torch.tensor(alpha), threshold=1.0, reset_mechanism="zero", reset_delay=False)
        for _ in weights
    ]
    w = [torch.tensor(layer, dtype=torch.float32) for layer in weights]
    x = torch.tensor(inputs, dtype=torch.float32)
    memories, total = [cell.init_leaky() for cell in cells], 0
    for _ in range(chip.spec.n_steps):
        spikes = x
        for depth, cell in enumerate(cells):
            spikes, memories[depth] = cell(inflow * (spikes @ w[depth]), memories[depth])
        total = total + spikes
    assert total.sum() > 100
    np.testing.assert_array_equal(model_counts(chip, weights, inputs), total.detach().numpy())


# --- gradients --------------------------------------------------------------------------------------------------------

PRIMITIVES = {
    "fast_sigmoid": lambda x, k: 0.5 * (1 + k * x / (1 + k * np.abs(x))),
    "arctan": lambda x, k: 0.5 + np.arctan(0.5 * np.pi * k * x) / np.pi,
    "boxcar": lambda x, k: np.clip(0.5 + k * x, 0, 1),
}


def smoothed(weights, inputs, n_steps, step, resets=None):
    """LIF layers in float64 that emit step(v - 1) in the place of spikes: (n_samples, n_steps, n_neurons) each.

    They are reset by what they emit, or by `resets`, trains that are held.
    """
    alpha, emitted = np.exp(-1 / TAU_M).astype(np.float32).astype(float), []
    for depth, w in enumerate(weights):
        v, trains = np.zeros((len(inputs), w.shape[1])), []
        for t in range(n_steps):
            v = alpha * v + (1 - alpha) * ((inputs if depth == 0 else emitted[-1][:, t]) @ w)
            trains.append(step(v - 1))
            v = v * (1 - (trains[-1] if resets is None else resets[depth][:, t]))
        emitted.append(np.stack(trains, axis=1))
    return emitted


def gradient_error(surrogate, step):
    """Largest difference of the backward pass from central differences of the smoothed network, relative."""
    rng = np.random.default_rng(8)
    spec, n_steps = ChipSpec((3, 5, 4, 2), 9, weight_range=(-20.0, 20.0)), 9
    weights = [rng.normal(1.5, 3, shape) for shape in spec.weight_shapes]
    weights = [weights[0], *[np.round(w * 1024) / 1024 for w in weights[1:]]]  # on the chip's grid
    inputs, readout = rng.normal(0, 2, (12, 3)), rng.normal(size=(12, n_steps, 2))
    base = smoothed(weights, inputs, n_steps, step)

    def loss(changed):
        return (np.tanh(smoothed(changed, inputs, n_steps, step, base)[-1]) * readout).sum()

    given = [torch.from_numpy(train.transpose(2, 1, 0)[None].copy()) for train in base]
    tensors, columns = as_model(weights, inputs, np.float64)
    tensors = [w.requires_grad_() for w in tensors]
    ideal = draw_distortion({}, spec, TAU_M, lambda name, layer: rng)
    spikes = run_network(tensors, columns, ideal, spec, given=given, surrogate=surrogate)
    (torch.tanh(spikes[-1][0]) * torch.from_numpy(readout.transpose(2, 1, 0).copy())).sum().backward()
    largest, worst = 0.0, 0.0
    for depth, w in enumerate(weights):
        for place in np.ndindex(w.shape):
            sides = []
            for h in (1e-6, -1e-6):
                changed = [layer.copy() for layer in weights]
                changed[depth][place] += h
                sides.append(loss(changed))
            difference = (sides[0] - sides[1]) / 2e-6
            worst = max(worst, abs(difference - tensors[depth].grad[0][place].item()))
            largest = max(largest, abs(difference))
    assert largest > 0.01
    return worst / largest


@pytest.mark.parametrize("steepness", [0.7, 2.0])
@pytest.mark.parametrize("name", SURROGATES)
def test_backward_pass_is_the_gradient_of_the_smoothed_network(name, steepness):
    surrogate = Surrogate(name, steepness)
    assert gradient_error(surrogate, lambda x: PRIMITIVES[name](x, steepness)) < 1e-6


def test_gradient_check_fails_for_a_wrong_gradient(monkeypatch):
    surrogate, primitive = Surrogate("arctan", 2.0), lambda x: PRIMITIVES["arctan"](x, 2.0)
    monkeypatch.setitem(SURROGATES, "arctan", lambda x, k: -0.5 * k / (1 + (0.5 * np.pi * k * x) ** 2))
    assert gradient_error(surrogate, primitive) > 0.1
    monkeypatch.setitem(SURROGATES, "arctan", lambda x, k: 0.51 * k / (1 + (0.5 * np.pi * k * x) ** 2))
    assert gradient_error(surrogate, primitive) > 1e-3


def test_gradient_through_a_distorted_neuron_follows_its_comparator_and_its_current():
    # one neuron, one step: ds/dw = S'(h(v) - theta) h'(v) (1 - alpha) f'(I) x, with f and h tabulated
    chip = LIFChip((1, 1), ["comparator", "current"], [0.5, 0.5], 3, n_steps=1)
    (layer,) = circuit(chip)
    slope, h = Surrogate("arctan", 2.0), 1e-4

    def tabulated(table, reach, x):
        return np.interp(x, np.linspace(-reach, reach, table.shape[1]), table[0].astype(float))

    def emitted(w):
        current = w * 3.0
        current += tabulated(layer.current, 64.0, current)
        v = (1 - layer.decay[0].astype(float)) * current
        return PRIMITIVES["arctan"](v + tabulated(layer.comparator, layer.reach, v) - 1.0, 2.0)

    for value in (0.51, 1.37, -0.83):
        (w,), x = as_model([np.array([[value]])], np.array([[3.0]]), np.float64)
        w.requires_grad_()
        run_network([w], x, [layer], chip.spec, surrogate=slope)[-1].sum().backward()
        assert w.grad.item() == pytest.approx((emitted(value + h) - emitted(value - h)) / (2 * h), rel=1e-3)


def gradients(mode, chip, weights, part):
    trainer = Trainer(CountedChip(chip), mode, chip.tau_m, None, {}, Surrogate(), np.random.default_rng(0))
    leaves = [torch.from_numpy(w).requires_grad_() for w in weights]
    counts = trainer.counts(leaves, part)
    torch.nn.functional.cross_entropy(0.5 * counts.flatten(0, 1), part.targets.repeat(len(counts))).backward()
    return counts.detach().numpy(), [w.grad.numpy() for w in leaves]


def test_in_the_loop_on_an_ideal_chip_gradients_are_those_of_the_model():
    rng = np.random.default_rng(3)
    weights = [np.abs(rng.normal(0, 2, (2, *shape))).astype(np.float32) for shape in ((4, 9), (9, 6), (6, 3))]
    part = Part(rng.normal(size=(25, 4)), rng.integers(3, size=25), np.ones(25))
    chip = LIFChip((4, 9, 6, 3))
    expected_counts, expected = gradients("offline", chip, weights, part)
    assert all(np.abs(gradient).max() > 0 for gradient in expected)
    for mode in ("outputs", "spikes", "noise-aware"):
        counts, found = gradients(mode, chip, weights, part)
        np.testing.assert_array_equal(counts, expected_counts)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    # and on a distorted chip they are not, though the loss is at the chip's counts
    distorted = LIFChip((4, 9, 6, 3), "threshold", 0.5, 1)
    chip_counts = np.stack([distorted.run([w[r] for w in weights], part.inputs) for r in range(2)])
    assert (chip_counts != expected_counts).any()
    for mode in ("outputs", "spikes"):
        counts, found = gradients(mode, distorted, weights, part)
        np.testing.assert_array_equal(counts, chip_counts)
        assert any((a != b).any() for a, b in zip(found, expected, strict=True))


# --- training ---------------------------------------------------------------------------------------------------------


class CountingChip:
    """Any chip: only `spec`, `run` and, if wanted, `spikes` are seen; samples shown are counted."""

    def __init__(self, chip, shows_spikes=True):
        self.spec, self.chip, self.shown, self.weights = chip.spec, chip, 0, []
        if shows_spikes:
            self.spikes = lambda weights, inputs: self._count(weights, inputs) or chip.spikes(weights, inputs)

    def _count(self, weights, inputs):
        self.shown += len(inputs)
        self.weights += [np.concatenate([np.ravel(w) for w in weights])]

    def run(self, weights, inputs):
        return self._count(weights, inputs) or self.chip.run(weights, inputs)


def blobs(n=90, seed=0):
    """Three well separated classes in four dimensions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = 3 * np.eye(3, 4) - 1
    return centres[labels] + 0.4 * rng.normal(size=(n, 4)), labels


QUICK = {"epochs": 15, "learning_rates": (0.03, 0.1), "restarts": 2}
X, Y = blobs()


@pytest.mark.parametrize("mode", MODES)
def test_learns_an_easy_task_within_the_range_and_charges_what_it_shows(mode):
    test_inputs, test_labels = blobs(300, 1)
    low, high = -2.0, 3.0
    lif = LIFChip((4, 10, 3), "threshold", 0.2, 3, weight_range=(low, high))
    chip = CountingChip(lif)
    told = {"noise-aware": {"distortion": "threshold", "sigma": 0.2}, "twin": {"budget": 400}}.get(mode, {})
    result = train_backprop(chip, X, Y, mode, 1, **QUICK, **told)
    assert result.presentations == chip.shown
    assert result.passes == result.presentations / len(X)
    # 72 samples train and 18 validate
    if mode == "twin":
        assert 0 < result.presentations <= 400
    else:
        assert result.presentations == (4 * 15 * (72 + 18) if mode in ("outputs", "spikes") else 0)
    shown = [] if mode == "twin" else chip.weights  # a chip that is learned is asked beyond its range too
    for w in [*shown, *[np.concatenate([np.ravel(w) for w in result.weights])]]:
        assert w.min() >= low
        assert w.max() <= high
    assert [w.shape for w in result.weights] == [(4, 10), (10, 3)]

    probabilities = result.predict(test_inputs)
    np.testing.assert_array_equal(probabilities, result.readout.probabilities(lif.run(result.weights, test_inputs)))
    assert accuracy(probabilities, test_labels) > 0.95
    assert result.evaluate(test_inputs, test_labels)["accuracy"] == accuracy(probabilities, test_labels)
    assert result.presentations == chip.shown - 2 * 300  # predicting is not training


@pytest.mark.parametrize("mode", MODES)
def test_what_is_deployed_is_the_best_epoch_of_the_history(mode):
    chip = LIFChip((4, 10, 3), "comparator", 1.0, 3)
    result = train_backprop(chip, X, Y, mode, 2, **QUICK, **({"budget": 300} if mode == "twin" else {}))
    assert [row["epoch"] for row in result.history] == list(range(1, 16))
    losses = [row["validation_loss"] for row in result.history]
    best = min(result.history, key=lambda row: (-row["validation_accuracy"], row["validation_loss"]))
    assert result.best_epoch == best["epoch"]
    assert result.learning_rate in QUICK["learning_rates"]
    assert result.restart in range(2)
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert result.mode == result.arguments["mode"] == mode
    json.dumps(result.arguments)
    if mode in ("outputs", "spikes"):  # the validation part can be drawn again, and shown to the chip
        split = np.random.default_rng(np.random.SeedSequence(2).spawn(4)[0])
        _, rows = split_validation(Y, 0.2, split)
        shown = result.evaluate(X[rows], Y[rows])
        assert -shown["log_score"] == pytest.approx(losses[result.best_epoch - 1])
        assert shown["accuracy"] == pytest.approx(result.history[result.best_epoch - 1]["validation_accuracy"])


def test_loss_scores_and_predictions_are_those_of_the_readout():
    bias = np.array([0.5, -1.0, 0.0])
    readout = Readout(0.9, bias)
    counts, targets = np.random.default_rng(0).integers(0, 9, size=(2, 40, 3)), np.arange(40) % 3
    losses, accuracies = scores(torch.from_numpy(0.9 * counts + bias), Part(np.zeros((40, 4)), targets, np.ones(40)))
    for loss, right, replicate in zip(losses, accuracies, counts, strict=True):
        assert loss == pytest.approx(-readout.log_p([replicate], targets).mean(), rel=1e-12)
        assert right == pytest.approx(accuracy(readout.probabilities(replicate), targets))
    chip, options = LIFChip((4, 5, 3)), {"epochs": 2, "learning_rates": (0.1,), "restarts": 1}
    result = train_backprop(chip, X, Y, "outputs", 1, beta=0.9, bias=bias, **options)
    np.testing.assert_array_equal(result.predict(X), readout.probabilities(chip.run(result.weights, X)))
    assert (result.arguments["beta"], result.arguments["bias"]) == (0.9, bias.tolist())
    plain = train_backprop(chip, X, Y, "outputs", 1, **options)
    assert not any(map(np.array_equal, result.weights, plain.weights))
    with pytest.raises(InputError, match="3 finite numbers are expected, one for each class"):
        train_backprop(chip, X, Y, bias=[1.0])


def test_samples_count_in_loss_and_accuracy_as_often_as_their_weights_say():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 40, 3)))
    targets, counted = np.arange(40) % 3, np.arange(40) % 4 + 1
    rows = np.repeat(np.arange(40), counted)
    weighted = scores(logits, Part(np.zeros((40, 4)), targets, counted.astype(float)))
    copied = scores(logits[:, rows], Part(np.zeros((len(rows), 4)), targets[rows], np.ones(len(rows))))
    np.testing.assert_allclose(weighted[0] * 40, copied[0] * len(rows), rtol=1e-9)
    np.testing.assert_allclose(weighted[1], copied[1], rtol=1e-9)


def test_weights_of_samples_and_classes_are_trained_with():
    """Those of weight 0 are not shown, and a class that counts much is recalled."""
    chip, options = LIFChip((4, 5, 2)), {"epochs": 12, "learning_rates": (0.1,), "restarts": 2}
    rng = np.random.default_rng(2)
    inputs, labels = rng.normal(size=(120, 4)), (rng.random(120) < 0.2).astype(int)  # nothing to be told but the share
    shown = train_backprop(chip, inputs, labels, "outputs", 1, sample_weight=np.arange(120) < 60, **options)
    half = train_backprop(chip, inputs[:60], labels[:60], "outputs", 1, **options)
    assert all(map(np.array_equal, shown.weights, half.weights))
    assert (shown.presentations, shown.n_train) == (half.presentations, half.n_train)
    recalls = []
    for weights in (None, {1: 50.0}):
        result = train_backprop(chip, inputs, labels, "outputs", 1, class_weight=weights, **options)
        recalls.append(np.mean(result.predict(inputs)[labels == 1].argmax(axis=1)))
        assert result.arguments.get("weighted", False) == (weights is not None)
    assert recalls[0] < 0.5 < recalls[1]
    with pytest.raises(InputError, match="sample weights have shape"):
        train_backprop(chip, inputs, labels, sample_weight=np.ones(3))


def test_a_learned_bias_makes_up_for_an_output_neuron_that_says_nothing():
    chip, labels = OneMute(LIFChip((4, 5, 2))), (X[:, 0] > 0).astype(int)
    options = {"epochs": 30, "learning_rates": (0.1,), "restarts": 2}
    learned = train_backprop(chip, X, labels, "outputs", 1, **options)
    counts = chip.run(learned.weights, X)
    np.testing.assert_array_equal(learned.predict(X), learned.readout.probabilities(counts))
    assert learned.arguments["bias"] == "learned"
    assert learned.readout.beta == 0.5
    assert learned.readout.bias[0] > learned.readout.bias[1]  # the class whose neuron is mute
    without = train_backprop(chip, X, labels, "outputs", 1, bias=None, **options)
    assert without.arguments["bias"] == [0.0, 0.0]
    assert learned.evaluate(X, labels)["log_score"] > without.evaluate(X, labels)["log_score"] + 0.1
    with pytest.raises(InputError, match="bias was 'lernt', but 'learned'"):
        train_backprop(chip, X, labels, "outputs", bias="lernt")


class OneMute:
    """A chip whose first output neuron never fires."""

    def __init__(self, chip):
        self.chip, self.spec = chip, chip.spec

    def run(self, weights, inputs):
        return self.chip.run(weights, inputs) * np.array([0, 1])


def test_training_ends_when_nothing_improves():
    chip = CountingChip(LIFChip((4, 10, 3), "silent", 1.0))  # counts nothing, whatever the weights
    result = train_backprop(chip, X, Y, "outputs", epochs=50, patience=4, bias=None)
    assert len(result.history) == 5
    assert result.presentations == chip.shown == 5 * 24 * len(X)
    assert result.history[0]["validation_loss"] == pytest.approx(np.log(3))
    assert result.history[0]["validation_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_gives_one_result_and_another_seed_another(mode):
    quick = {"epochs": 3, "learning_rates": (0.03,), "restarts": 2} | ({"budget": 100} if mode == "twin" else {})
    chip = LIFChip((4, 6, 3), ["comparator", "gain"], [1.0, 0.2], 3)
    np.random.seed(1)  # noqa: NPY002  global seeds play no part
    torch.manual_seed(1)
    first = train_backprop(chip, X, Y, mode, 5, **quick)
    torch.manual_seed(2)
    again, other = (train_backprop(chip, X, Y, mode, seed, **quick) for seed in (5, 6))
    assert first.history == again.history
    for a, b, c in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_shuffled_labels_teach_nothing():
    labels = np.random.default_rng(5).permutation(Y)
    test_inputs, test_labels = blobs(600, 1)
    chip = LIFChip((4, 10, 3), "threshold", 0.2, 3)
    learnt, shuffled = (train_backprop(chip, X, y, "spikes", 1, **QUICK) for y in (Y, labels))
    assert learnt.evaluate(test_inputs, test_labels)["accuracy"] > 0.95
    # the nearest blob's majority label may be right by chance, or wrong
    assert shuffled.evaluate(test_inputs, test_labels)["accuracy"] < 0.8
    assert shuffled.evaluate(X, labels)["accuracy"] < 0.8


def test_replicates_train_as_each_would_alone():
    chip = LIFChip((4, 6, 3), "comparator", 1.0, 3)
    part, validation = Part(X[:60], Y[:60], np.ones(60)), Part(X[60:], Y[60:], np.ones(len(X) - 60))

    def trained(starts, rates):
        trainer = Trainer(CountedChip(chip), "spikes", chip.tau_m, None, {}, Surrogate(), np.random.default_rng(0))
        return trainer.train(starts, rates, part, validation, 3, 3, 20, np.random.default_rng(7))

    rng = np.random.default_rng(2)
    starts = [torch.from_numpy(rng.normal(size=(2, *shape)).astype(np.float32)) for shape in chip.spec.weight_shapes]
    together = trained(starts, [0.01, 0.1])
    for replicate, (rate, start) in enumerate([(0.01, 0), (0.01, 1), (0.1, 0), (0.1, 1)]):
        alone = trained([w[start : start + 1] for w in starts], [rate])
        np.testing.assert_allclose(alone.validation_losses[0], together.validation_losses[0][replicate], rtol=1e-3)
        for a, b in zip(alone.weights_of(0), together.weights_of(replicate), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)


def test_adam_is_torch_adam_at_each_learning_rate():
    # one batch an epoch; a cosine schedule over three of them
    chip = LIFChip((4, 6, 3))
    part = Part(X, Y, np.ones(len(X)))
    trainer = Trainer(CountedChip(chip), "offline", chip.tau_m, None, {}, Surrogate(), np.random.default_rng(0))
    starts = trainer.initial_weights(1, part, np.random.default_rng(1))
    trained = trainer.train(starts, [0.02], part, part, 3, 3, len(X), np.random.default_rng(7))
    rng, weights = np.random.default_rng(7), [w.clone().requires_grad_() for w in starts]
    optimiser = torch.optim.Adam(weights, lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3)
    losses = []
    for _ in range(3):
        batch = part.take(rng.permutation(len(X)))
        counts = trainer.counts(weights, batch)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(0.5 * counts[0], batch.targets).backward()
        optimiser.step()
        schedule.step()
        losses.append(trainer.validate(weights, torch.zeros(1, 1, 3), part)[0].item())
    assert np.ravel(trained.validation_losses) == pytest.approx(losses, rel=1e-3)


def test_starting_points_make_every_layer_spike():
    rng = np.random.default_rng(0)
    chip = LIFChip((30, 16, 16, 2))
    part = Part(rng.normal(size=(100, 30)), np.arange(100) % 2, np.ones(100))
    trainer = Trainer(CountedChip(chip), "offline", chip.tau_m, None, {}, Surrogate(), rng)
    weights = trainer.initial_weights(5, part, rng)
    *hidden, outputs = run_network(weights, part.columns, trainer.ideal, chip.spec)
    for layer in hidden:
        assert (layer.mean(dim=(1, 2, 3)) > 0.02).all()  # of the steps
    # few outputs may all be inhibited; restarts are there for that
    assert outputs.mean() > 0.005


def test_deep_quantised_and_noisy_chips_train():
    test_inputs, test_labels = blobs(300, 1)
    chip = LIFChip((4, 12, 8, 3), ["quantisation", "noise"], [4, 0.1], 2)
    for mode in set(MODES) - {"twin"}:  # noise is what a twin does not know
        result = train_backprop(chip, X, Y, mode, 1, epochs=25, learning_rates=(0.03, 0.1), restarts=2)
        assert result.evaluate(test_inputs, test_labels)["accuracy"] > 0.9


@pytest.mark.parametrize("n_each", [1, 2, 3])
def test_a_handful_of_samples_is_enough(n_each):
    labels = np.repeat(np.arange(3), n_each)
    rows, validation = split_validation(labels, 0.2, np.random.default_rng(0))
    assert set(labels[rows]) == {0, 1, 2}
    assert len(validation)
    inputs = blobs(3 * n_each)[0][np.argsort(np.arange(3 * n_each) % 3, kind="stable")]
    result = train_backprop(LIFChip((4, 6, 3)), inputs, labels, "outputs", epochs=3)
    assert result.presentations == 3 * 24 * (len(rows) + len(validation))


def test_validation_part_is_stratified_and_apart():
    labels = np.array([0] * 50 + [1] * 10 + [2])
    rows, validation = split_validation(labels, 0.2, np.random.default_rng(0))
    assert sorted([*rows, *validation]) == list(range(61))
    assert np.bincount(labels[validation], minlength=3).tolist() == [10, 2, 0]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "spike"}, "did you mean 'spikes'"),
        ({"surrogate": "arctangent"}, "did you mean 'arctan'"),
        ({"steepness": 0}, "steepness was 0"),
        ({"learning_rates": ()}, "learning_rates were"),
        ({"learning_rates": (0.1, -1)}, "learning_rates were"),
        ({"learning_rates": "fast"}, "learning_rates were 'fast'"),
        ({"restarts": 0}, "restarts was 0"),
        ({"epochs": 1.5}, "epochs was 1.5"),
        ({"patience": True}, "patience was True"),
        ({"batch_size": 0}, "batch_size was 0"),
        ({"seed": -1}, "seed was -1"),
        ({"validation_size": 1}, "validation_size was 1"),
        ({"mode": "spikes", "distortion": "gain", "sigma": 0.1}, "take mode 'noise-aware'"),
        ({"mode": "noise-aware", "distortion": "gains", "sigma": 0.1}, "did you mean 'gain'"),
        ({"mode": "noise-aware", "distortion": "gain"}, "sigma"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, words):
    with pytest.raises(InputError, match=words):
        train_backprop(LIFChip((4, 6, 3)), X, Y, **arguments)


def test_data_and_chips_that_cannot_be_used():
    chip = LIFChip((4, 6, 3))
    with pytest.raises(InputError, match="labels run from"):
        train_backprop(chip, X, Y + 1)
    with pytest.raises(InputError, match="inputs have shape"):
        train_backprop(chip, X[:, :2], Y)
    with pytest.raises(InputError, match="a chip has `spec`"):
        train_backprop(object(), X, Y)
    blind = CountingChip(chip, shows_spikes=False)
    with pytest.raises(InputError, match=r"shows its hidden spikes.*'outputs'"):
        train_backprop(blind, X, Y, "spikes")
    with pytest.raises(InputError, match="give distortion= and sigma="):
        train_backprop(blind, X, Y, "noise-aware")
    assert blind.shown == 0
    assert train_backprop(blind, X, Y, "outputs", epochs=1).presentations == blind.shown


@pytest.mark.parametrize(
    ("mode", "answer", "words"),
    [
        ("outputs", lambda n: np.full((n, 3), 33), "allow only 0 to"),
        ("outputs", lambda n: np.full((n, 3), np.nan), "not whole numbers"),
        ("spikes", lambda n: [np.zeros((n, 32, 6), bool)], "spikes have shapes"),
        ("spikes", lambda n: None, "answered a NoneType"),
        ("spikes", lambda n: [np.zeros((n, 32, 6)), np.full((n, 32, 3), 0.5)], "other values than 0 and 1"),
    ],
)
def test_a_chip_that_answers_nonsense_is_not_believed(mode, answer, words):
    chip = CountingChip(LIFChip((4, 6, 3)))
    chip.run = chip.spikes = lambda weights, inputs: answer(len(inputs))
    with pytest.raises(ChipError, match=words):
        train_backprop(chip, X, Y, mode)


def test_without_torch_the_extra_is_named(monkeypatch):
    import bayes_snn

    real = builtins.__import__

    def no_torch(name, *arguments, **keywords):
        if name.split(".")[0] == "torch":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.startswith("bayes_snn.backprop")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(bayes_snn.__dict__, "train_backprop", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(InputError, match=r"pip install 'bayes_snn\[backprop\]'"):
        importlib.import_module("bayes_snn").train_backprop  # noqa: B018
