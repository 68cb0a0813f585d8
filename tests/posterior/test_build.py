"""build_model: names, shapes, what runs the chip and what does not, and everything it refuses."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path

import cloudpickle
import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import _other_steps
from bayes_snn.likelihood import log_likelihood
from bayes_snn.posterior.build import available_models, build_model, weight_variables
from bayes_snn.posterior.priors import load_prior
from bayes_snn.posterior.readout import readout_function
from bayes_snn.samplers.by_name import make_step
from tests.helpers.fits import CountingChip
from tests.helpers.refusals import refusal
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

LAYERS = (3, 2, 4, 2)
X = np.random.default_rng(0).normal(size=(7, 3))
Y = np.array([0, 1, 1, 0, 1, 0, 0])
MODELS = sorted(available_models())
# a random function written in Python is what PyMC's predictive sampling warns of
in_python = pytest.mark.filterwarnings("ignore:Numba will use object mode to run CustomDist:UserWarning")


def noncentred(chip):
    matrices = []
    for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True):
        scale = pm.HalfNormal(f"scale_{name}")
        matrices.append(scale * pm.Normal(f"z_{name}", dims=dims))
    return matrices


def test_names_dims_and_coordinates():
    model = build_model(LIFChip(LAYERS), X, Y, feature_names=("age", "size", "mass"), class_names=["ill", "well"])
    dims = {"w_1": ("pre_1", "post_1"), "w_2": ("pre_2", "post_2"), "w_3": ("pre_3", "post_3")}
    assert {name: model.named_vars_to_dims[name] for name in dims} == dims
    assert [v.name for v in model.free_RVs] == [*dims, "bias"]
    assert {dim: list(values) for dim, values in model.coords.items()} == {
        "pre_1": ["age", "size", "mass"],
        "post_1": [0, 1],
        "pre_2": [0, 1],
        "post_2": [0, 1, 2, 3],
        "pre_3": [0, 1, 2, 3],
        "post_3": ["ill", "well"],
        "observation": list(range(7)),
    }
    plain = build_model(LIFChip(LAYERS), X, Y)
    assert list(plain.coords["pre_1"]) == [0, 1, 2]
    assert list(plain.coords["post_3"]) == [0, 1]


def test_observes_the_labels_and_keeps_the_inputs():
    inputs = X.copy()
    model = build_model(LIFChip(LAYERS), inputs, Y.tolist())
    [observed] = model.observed_RVs
    assert observed.name == "label"
    assert model.named_vars_to_dims["label"] == ("observation",)
    np.testing.assert_array_equal(model.rvs_to_values[observed].eval(), Y)
    inputs[:] = 0  # the caller's own array, to do with as they like
    np.testing.assert_array_equal(model.likelihood.op.inputs, X)
    with pytest.raises(ValueError, match="read-only"):
        model.likelihood.op.inputs[0, 0] = 1


def test_the_model_has_what_its_docstring_names():
    model = build_model(LIFChip(LAYERS), X, Y)
    told = build_model.__doc__
    named = [*re.findall(r"[Aa]ttribute `(\w+)`", told), *re.findall(r"`model\.([\w.]+)`", told)]
    assert named == ["likelihood", "likelihood.op"]
    for name in named:
        assert attrgetter(name)(model) is not None
    assert not re.findall(r"`\w+\(model\)`", told)  # no function of it is meant


def test_nine_models_come_with_the_package():
    names = {"gaussian", "standard_normal", "grid", "hierarchical", "horseshoe", "laplace", "learned_readout"}
    names |= {"sparse", "student_t"}
    assert names <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_file_builds(name):
    chip = LIFChip((3, 2, 2), "comparator", 3.0)
    model = build_model(chip, X, Y, name)
    point = model.initial_point()
    variables = weight_variables(model)
    free = [variable.name for variable in variables]
    weights = {}
    for weight, matrix, v in zip(
        chip.spec.weight_names, model.replace_rvs_by_values(model.likelihood.weights), variables, strict=True
    ):
        weights[weight] = point[weight] if weight in point else matrix.eval({v: point[v.name]})
    for variable, weight, shape in zip(free, chip.spec.weight_names, chip.spec.weight_shapes, strict=True):
        assert point[variable].shape == weights[weight].shape == shape
        assert model.named_vars_to_dims[weight]
    terms = model.point_logps(point, round_vals=12)
    assert all(np.isfinite(term) for term in terms.values()), terms
    # the chip's part, and nothing else, stands under the labels' name
    counts = chip.run(list(weights.values()), X)
    readout = readout_function(model)(point)
    assert terms["label"] == pytest.approx(readout.log_p([counts], Y).sum())
    assert readout.bias.tolist() == [0.0, 0.0]
    assert readout.beta == pytest.approx(np.exp(point["beta_log__"]) if "beta_log__" in point else 0.5)
    assert ("bias" in point) == (name != "standard_normal")
    assert load_prior(name).__doc__.startswith("One (n_pre, n_post) matrix for each layer")


def test_log_density_is_prior_plus_chip():
    chip = SigmoidChip()
    model = build_model(chip, INPUTS, LABELS, "standard_normal")
    logp = model.compile_logp()
    for seed in range(5):
        w = np.random.default_rng(seed).normal(size=(1, 2)) * 2
        counts = SigmoidChip().run([w], INPUTS)
        expected = stats.norm.logpdf(w).sum() + log_likelihood(counts, LABELS, 0.5).sum()
        assert float(logp({"w_1": w})) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["hierarchical", "horseshoe", "student_t"])
def test_hyperparameters_move_without_the_chip(name):
    chip = CountingChip(LIFChip((3, 2, 2)))
    model = build_model(chip, X, Y, name)
    assert {v.name for v in weight_variables(model)} == {"w_1", "w_2"}
    with model:
        others = _other_steps(model, make_step("block", model))
    assert [type(step).__name__ for step in others] == ["HyperparameterSlice", "ReadoutSlice"]
    point = before = model.initial_point()
    for step in others:
        step.setup_chain(np.random.default_rng(0), 20, 0)
        point, _ = step.step(point)  # finds out how likely the weights are that it starts from
        runs = chip.runs
        for _ in range(20):
            point, _ = step.step(point)
        assert chip.runs == runs == (type(step).__name__ == "ReadoutSlice")
    assert all(np.array_equal(point[w], before[w]) for w in ("w_1", "w_2"))
    moved = {key for key in point if not np.array_equal(point[key], before[key])}
    assert moved == set(point) - {"w_1", "w_2"}


@pytest.mark.parametrize("name", ["gaussian", "hierarchical"])
def test_nuts_on_the_weights_is_refused(name):
    with build_model(LIFChip((3, 2, 2)), X, Y, name) as model, pytest.raises(NotImplementedError) as error:
        pm.NUTS([model.rvs_to_values[model["w_1"]]])
    assert str(error.value).startswith("The likelihood is a chip, which has no gradient: sample the weights with a Met")
    assert "\n" not in str(error.value)


def test_weights_computed_from_others():
    model = build_model(LIFChip((3, 2, 2)), X, Y, noncentred)
    # layer by layer; a scale's value is its logarithm
    names = [v.name for v in weight_variables(model)]
    assert {*names[:2]} == {"scale_w_1_log__", "z_w_1"}
    assert {*names[2:]} == {"scale_w_2_log__", "z_w_2"}
    assert [v.name for v in model.deterministics] == ["w_1", "w_2"]
    assert model.named_vars_to_dims["w_1"] == ("pre_1", "post_1")
    z, scale, w = pm.draw([model["z_w_2"], model["scale_w_2"], model["w_2"]], random_seed=0)
    np.testing.assert_allclose(w, z * scale)


def test_dims_are_given_to_weights_that_have_none():
    model = build_model(SigmoidChip(), INPUTS, LABELS, lambda chip: [pm.Normal("w_1", shape=(1, 2))])
    assert model.named_vars_to_dims["w_1"] == ("pre_1", "post_1")


def test_a_layer_may_be_held_fixed():
    model = build_model(LIFChip((3, 2, 2)), X, Y, lambda chip: [np.ones((3, 2)), pm.Normal("w_2", shape=(2, 2))])
    assert [v.name for v in weight_variables(model)] == ["w_2"]
    np.testing.assert_array_equal(pm.draw(model["w_1"]), np.ones((3, 2)))


def one_too_few(chip):
    return [pm.Normal("w_1", shape=(3, 2))]


def one_too_many(chip):
    return [pm.Normal(f"w_{i}", shape=shape) for i, shape in enumerate([(3, 2), (2, 2), (2, 2)])]


def transposed(chip):
    return [pm.Normal("w_1", shape=(2, 3)), pm.Normal("w_2", shape=(2, 2))]


def flat(chip):
    return [pm.Normal("w_1", shape=6), pm.Normal("w_2", shape=4)]


def not_the_weight(chip):
    return [2 * pm.Normal("w_1", shape=(3, 2)), pm.Normal("w_2", shape=(2, 2))]


def swapped_names(chip):
    return [pm.Normal("w_2", shape=(3, 2)), pm.Normal("w_1", shape=(2, 2))]


@pytest.mark.parametrize(
    ("prior", "says"),
    [
        (one_too_few, "'one_too_few' returned weights of shapes [(3, 2)], but this chip expects [(3, 2), (2, 2)]"),
        (one_too_many, "shapes [(3, 2), (2, 2), (2, 2)], but"),
        (transposed, "shapes [(2, 3), (2, 2)], but"),
        (flat, "shapes [(6,), (4,)], but"),
        (not_the_weight, "'w_1' which is not the weight matrix that the prior"),
        (swapped_names, "another name, for example 'z_w_1'"),
        (lambda chip: None, "returned None, but a list of PyMC variables is expected"),
        (lambda chip: pm.Normal("w", shape=(3, 2)), "returned w, but a list"),
        (lambda chip: ["w_1", "w_2"], "but a list of PyMC variables"),
        (lambda chip: [np.ones((3, 2)), np.ones((2, 2))], "without a random variable in them"),
    ],
)
def test_priors_that_do_not_fit(prior, says):
    assert says in refusal(build_model, LIFChip((3, 2, 2)), X, Y, prior)


@pytest.mark.parametrize(
    ("inputs", "labels", "says"),
    [
        (np.where(X[2, 1] == X, np.nan, X), Y, "nan at sample 2, feature 1"),
        (np.where(X[2, 1] == X, np.inf, X), Y, "inf at sample 2, feature 1"),
        (X[:, :2], Y, "have shape (7, 2)"),
        (X[:, 0], Y, "have shape (7,)"),
        (X[:0], Y[:0], "have shape (0, 3)"),
        ([["a", "b", "c"]], [0], "are not numbers"),
        (X * 1e8, Y, "at most 1e6"),
        (X, Y[:5], "labels have shape (5,)"),
        (X, Y[:, None], "labels have shape (7, 1)"),
        (X, Y + 1, "labels run from 1 to 2, but a chip with 2 output neurons"),
        (X, Y - 1, "labels run from -1 to 0"),
        (X, Y / 2, "whole numbers from 0 to 1"),
        (X, np.where(Y == 1, "ill", "well"), "whole numbers from 0 to 1 are expected: encode the classes"),
        (X, np.where(Y == 1, np.nan, 0.0), "whole numbers from 0 to 1"),
    ],
)
def test_data_that_do_not_fit(inputs, labels, says):
    assert says in refusal(build_model, LIFChip((3, 2, 2)), inputs, labels)


def test_names_of_the_wrong_length():
    chip = LIFChip((3, 2, 2))
    assert "2 feature names came, but this chip has 3" in refusal(build_model, chip, X, Y, feature_names=["a", "b"])
    assert "3 class names came, but this chip has 2" in refusal(build_model, chip, X, Y, class_names="abc")


def test_what_is_no_chip():
    assert "The chip was str" in refusal(build_model, "chip", X, Y)
    assert "`run(weights, inputs)`" in refusal(build_model, type("Half", (), {"spec": ChipSpec((3, 2))})(), X, Y)


def sigma_of(variable):
    """Standard deviation of a Normal, read off its density at the mean."""
    density = np.exp(pm.logp(variable, np.zeros((1, 2))).eval())
    assert np.ptp(density) == 0
    return pytest.approx(1 / (density[0, 0] * np.sqrt(2 * np.pi)))


def test_model_files_by_name_and_path(tmp_path, monkeypatch):
    source = Path(available_models()["gaussian"]).read_text()
    monkeypatch.chdir(tmp_path)
    assert set(available_models()) == set(MODELS)  # from anywhere, those of the package
    path = tmp_path / "mine.py"
    path.write_text(source.replace("sigma=scale", "sigma=0.25"))
    for given in (path, str(path), "./mine.py", "mine.py"):
        model = build_model(SigmoidChip(), INPUTS, LABELS, given)
        assert sigma_of(model["w_1"]) == 0.25
    # ./models comes first, and what starts with an underscore is no model
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gaussian.py").write_text(source.replace("sigma=scale", "sigma=0.5"))
    (tmp_path / "models" / "_shared.py").write_text("")
    assert set(available_models()) == set(MODELS)
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    assert sigma_of(model["w_1"]) == 0.5


def test_model_files_that_are_refused(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    message = refusal(load_prior, "gausian")
    assert all(name in message for name in MODELS)
    assert "did you mean 'gaussian'?" in message
    assert "There is no model file" in refusal(load_prior, tmp_path / "absent.py")
    assert "holds no function `weights(chip)`" in refusal(load_prior, write("empty.py", "x = 1"))
    assert "holds no function" in refusal(load_prior, write("number.py", "weights = 3"))
    assert "does not run (ZeroDivisionError: division by zero)" in refusal(load_prior, write("bad.py", "1 / 0"))
    assert "does not run (SyntaxError" in refusal(load_prior, write("worse.py", "def weights(chip:\n"))
    assert "does not run (ModuleNotFoundError" in refusal(load_prior, write("lost.py", "import no_such_module_"))
    assert "ends in .py" in refusal(load_prior, write("model.txt", "def weights(chip): ..."))


def test_a_mistake_in_a_prior_is_told_and_where_it_is(tmp_path):
    (tmp_path / "typo.py").write_text("def weights(chip):\n    return pm_normal('w_1')\n")
    message = refusal(build_model, SigmoidChip(), INPUTS, LABELS, tmp_path / "typo.py")
    assert "NameError" in message
    assert str(tmp_path / "typo.py") in message


def test_plain_metropolis_samples_the_model():
    chip = SigmoidChip()
    with build_model(chip, INPUTS, LABELS):
        trace = pm.sample(
            20, tune=10, chains=2, cores=1, step=pm.Metropolis(), progressbar=False, quiet=True, random_seed=1,
            compute_convergence_checks=False,
        )  # fmt: skip
    assert trace.posterior["w_1"].dims == ("chain", "draw", "pre_1", "post_1")
    assert float(trace.posterior["w_1"].std()) > 0
    assert chip.runs >= 2 * 30


class IgnorantChip:
    """Answers [0, 0, 4] spikes whatever it is given."""

    spec = ChipSpec((3, 3), 8)

    def run(self, weights, inputs):
        assert [w.shape for w in weights] == [(3, 3)]
        return np.tile([0, 0, 4], (len(inputs), 1))


@in_python
def test_prior_predictive_labels():
    with build_model(IgnorantChip(), X, Y, "standard_normal"):
        drawn = pm.sample_prior_predictive(draws=400, random_seed=1)
    labels = drawn.prior_predictive["label"]
    assert labels.dims == ("chain", "draw", "observation")
    assert labels.shape == (1, 400, 7)
    assert labels.dtype == np.int64
    # chi-squared of 2,800 independent labels against the softmax, beyond 25 once in 270,000 times
    expected = labels.size * np.exp([0, 0, 2]) / np.exp([0, 0, 2]).sum()
    observed = np.bincount(labels.values.ravel(), minlength=3)
    assert len(observed) == 3
    assert ((observed - expected) ** 2 / expected).sum() < 25
    # each sample has its own label
    assert (labels.values != labels.values[..., :1]).any()


@in_python
def test_prior_predictive_runs_the_chip_on_each_draw():
    chip = CountingChip(LIFChip((3, 2, 2)))
    with build_model(chip, X, Y):
        drawn = pm.sample_prior_predictive(draws=6, random_seed=1)
    assert set(np.unique(drawn.prior_predictive["label"])) <= {0, 1}
    assert chip.runs == 6


@pytest.mark.parametrize("sampler", ["block", "pcn", "pymc", "demetropolis"])
def test_steps_travel_to_other_processes(sampler):
    """What PyMC does where processes cannot be forked (macOS, Windows)."""
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    step = make_step(sampler, model)
    copy = cloudpickle.loads(cloudpickle.dumps(step))
    points = []
    for one in (step, copy):
        one.setup_chain(np.random.default_rng(5), 3, 0)
        point = model.initial_point()
        for _ in range(3):
            point, _ = one.step(point)
        points.append(point["w_1"])
    np.testing.assert_array_equal(*points)
    assert (points[0] != 0).any()


@in_python
def test_beta_is_one_for_likelihood_and_drawn_labels():
    chip = LIFChip((3, 4, 2), n_steps=20)
    model = build_model(chip, X, Y, "standard_normal", beta=30.0)
    assert model.likelihood.fixed.beta == 30.0
    weights = [np.full(shape, 0.7) for shape in chip.spec.weight_shapes]
    terms = model.compile_fn(model.logp(vars=[model.likelihood.label], sum=False)[0], inputs=model.value_vars)
    terms = terms(dict(zip(chip.spec.weight_names, weights, strict=True)))
    np.testing.assert_allclose(terms, log_likelihood(chip.run(weights, X), Y, 30.0))
    for beta in (0.0, -1.0, np.nan, "x", True, None):
        with pytest.raises(InputError, match="beta was"):
            build_model(chip, X, Y, beta=beta)
