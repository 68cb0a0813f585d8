"""A fit with a learned readout: every prediction, file and group uses it, and a fit without one is as it was."""

from __future__ import annotations

import json

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

from bayes_snn.checks.prior_check import prior_predictive
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import CheckpointError, InputError
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import best_draw
from bayes_snn.exports.npz import read_metadata, write_weights
from bayes_snn.groups import READOUT
from bayes_snn.inference.fit import fit
from bayes_snn.inference.fit_summary import readout_in_words
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.resume import resume
from bayes_snn.likelihood import PLAIN, Readout
from bayes_snn.reports.write import write_report
from tests.helpers.fits import CountingChip, hand_made_fit, same_draws
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(14, 3)), np.arange(14) % 3
NEW = rng.normal(size=(9, 3))
SIZES = {"sampler": "sitewise", "draws": 6, "tune": 4, "chains": 2, "seed": 2}


def make_chip():
    return LIFChip((3, 5, 3), "comparator", 2.0, 1, n_steps=12)


@pytest.fixture(scope="module")
def result():
    return fit(make_chip(), X, Y, "learned_readout", class_names=["a", "b", "c"], **SIZES)


def by_hand(result, inputs, draw):
    """Class probabilities of one draw, from its weights and readout in the posterior."""
    posterior = result.posterior["posterior"].dataset
    place = {"chain": draw // 6, "draw": draw % 6}
    counts = make_chip().run([posterior[name].isel(place).values for name in ("w_1", "w_2")], inputs)
    scores = np.exp(posterior["beta"].isel(place).item() * counts + posterior["bias"].isel(place).values)
    return scores / scores.sum(axis=1, keepdims=True)


def test_the_posterior_holds_it_by_name(result):
    posterior = result.posterior["posterior"].dataset
    assert posterior["bias"].dims == ("chain", "draw", "post_2")
    assert list(posterior["bias"]["post_2"].values) == ["a", "b", "c"]
    assert (posterior["beta"] > 0).all()
    assert np.unique(posterior["beta"]).size > 6
    assert {"beta", "bias[a]", "bias[b]", "bias[c]"} <= set(result.summary().index)
    prior = result.posterior["log_prior"].dataset
    np.testing.assert_allclose(prior["bias"], stats.norm.logpdf(posterior["bias"], scale=1.5).sum(axis=2))
    assert "beta" not in result.arguments


def test_each_draw_is_told_by_its_own(result):
    each = np.array([by_hand(result, X, draw) for draw in range(12)])
    terms = result.posterior["log_likelihood/label"].values.reshape(12, -1)
    np.testing.assert_allclose(terms, np.log(each[:, np.arange(14), Y]), rtol=1e-9)
    new = np.array([by_hand(result, NEW, draw) for draw in range(12)])
    np.testing.assert_allclose(result.predict(NEW), new.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.predict(NEW, "map"), new[best_draw(result.draws)], rtol=1e-12)
    medoid = np.abs(each - each.mean(axis=0)).mean(axis=(1, 2)).argmin()
    np.testing.assert_allclose(result.predict(NEW, "medoid"), new[medoid], rtol=1e-12)
    posterior = result.posterior["posterior"].dataset.mean(("chain", "draw"))
    mean = Readout(posterior["beta"].item(), posterior["bias"].values)
    expected = mean.probabilities(make_chip().run([posterior["w_1"].values, posterior["w_2"].values], NEW))
    np.testing.assert_allclose(result.predict(NEW, "mean"), expected, rtol=1e-9)
    # and not by the plain one
    assert not np.allclose(result.predict(NEW, "map"), PLAIN.probabilities(make_chip().run(result.weights("map"), NEW)))


def test_what_is_stored_is_read_back_and_the_distilled_weights_have_theirs(result, tmp_path):
    weights = result.distil(n_inputs=5, sweeps=2)
    readout = result.readout("distilled")
    assert readout.beta in result.posterior["posterior/beta"].values
    expected = readout.probabilities(make_chip().run(weights, NEW))
    np.testing.assert_allclose(result.predict(NEW, "distilled"), expected, rtol=1e-12)
    result.scores["train"] = result.evaluate(X, Y)
    result.save(tmp_path)
    again = load_fit(tmp_path)
    for estimate in result.estimates:
        np.testing.assert_array_equal(again.predict(NEW, estimate), result.predict(NEW, estimate))
        assert evaluate(again.predict(X, estimate), Y) == pytest.approx(result.scores["train"][estimate])


@pytest.mark.parametrize("estimate", ["mean", "map", "distilled"])
def test_an_exported_file_names_the_readout_of_its_weights(result, estimate, tmp_path):
    if result.distilled is None:
        result.distil(n_inputs=2, sweeps=1)
    found = read_metadata(write_weights(result, tmp_path / "w.npz", estimate))["readout"]
    expected = result.readout(estimate)
    assert found == {"beta": expected.beta, "bias": expected.bias.tolist()}
    assert expected.bias.shape == (3,)
    assert read_metadata(write_weights(result, tmp_path / "d.npz", draw=4))["readout"] == {
        "beta": result.posterior["posterior/beta"].values[0, 4],
        "bias": result.posterior["posterior/bias"].values[0, 4].tolist(),
    }


def test_checks_of_the_prior_draw_it_too(result):
    result.add_predictive(draws=12, seed=1)
    tree = result.posterior
    assert tree["prior/bias"].dims == tree["posterior/bias"].dims
    assert np.unique(tree["prior/beta"]).size == 12
    # of an unmoving chip: probabilities differ from draw to draw by the biases alone
    found = prior_predictive(SilentChip(), X, "learned_readout", draws=400).data["probability"]
    assert np.ptp(found.values, axis=1).max() == 0
    expected = stats.norm.rvs(scale=1.5, size=(100_000, 3), random_state=0)
    expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    assert float(found[:, 0].std()) == pytest.approx(expected.std(), rel=0.1)
    plain = prior_predictive(SilentChip(), X, "standard_normal", draws=5).data["probability"]
    np.testing.assert_allclose(plain, 1 / 3)


class SilentChip(SigmoidChip):
    def __init__(self):
        self.spec = make_chip().spec

    def run(self, weights, inputs):
        return np.zeros((len(inputs), 3), int)


def test_the_summary_and_the_report_tell_it(result, tmp_path):
    mean = result.readout()
    told = f"a spike weighs {mean.beta:.3g}, class biases are {', '.join(f'{b:.2f}' for b in mean.bias)}"
    assert readout_in_words(result) == f"{told}, posterior means"
    result.save(tmp_path / "learned", overwrite=True)
    plain = hand_made_fit(make_chip(), X, Y)
    plain.save(tmp_path / "plain")
    assert readout_in_words(plain) == ""
    assert told in write_report([tmp_path / "learned"], tmp_path / "one.html").read_text()
    both = write_report([tmp_path / "learned", tmp_path / "plain"], tmp_path / "both.html").read_text()
    assert f"readout</th><td>{told}, posterior means</td><td>plain</td>" in both


# functions, checkpoints and folders


def gaussian(chip):
    pairs = zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    return [pm.Normal(name, dims=dims) for name, dims in pairs]


def readout(chip):
    return pm.HalfNormal("beta"), pm.math.stack([0.0, pm.Normal("ahead")])


def other_readout(chip):
    return pm.HalfNormal("beta"), pm.math.stack([0.0, pm.Normal("ahead") + 0.0])


class Stopping(SigmoidChip):
    """Fails at a run."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def run(self, weights, inputs):
        if self.runs >= self.last:
            raise OSError("the bench is dark")
        return super().run(weights, inputs)


def test_a_stopped_fit_goes_on_to_the_same_draws(tmp_path):
    options = {"sampler": "block", "draws": 4, "tune": 2, "chains": 2, "seed": 1}
    whole = fit(SigmoidChip(), INPUTS, LABELS, gaussian, readout=readout, **options)
    with pytest.raises(Exception, match="the bench is dark"):
        fit(Stopping(700), INPUTS, LABELS, gaussian, readout=readout, checkpoint=tmp_path, **options)
    with pytest.raises(CheckpointError, match="begun with another readout"):
        resume(tmp_path, Stopping(10**9), gaussian, readout=other_readout)
    with pytest.raises(CheckpointError, match="begun with another readout"):
        resume(tmp_path, Stopping(10**9), gaussian)
    again = resume(tmp_path, Stopping(10**9), gaussian, readout=readout)
    assert same_draws(whole, again)
    for name in ("beta", "bias", "ahead"):
        values = whole.posterior["posterior"][name].values
        np.testing.assert_array_equal(again.posterior["posterior"][name].values, values)
        assert np.ptp(values) > 0
    with pytest.raises(InputError, match="pass readout= as to fit"):
        again.add_predictive(draws=2, weights=gaussian)


def test_a_readout_of_numbers_is_kept_with_the_draws(tmp_path):
    def numbers(chip):
        return 0.9, [0.0, 1.5]

    found = fit(SigmoidChip(), INPUTS, LABELS, gaussian, readout=numbers, sampler="pymc", draws=2, tune=1, chains=1)
    counts = SigmoidChip().run(found.weights("map"), INPUTS)
    expected = Readout(0.9, np.array([0.0, 1.5])).probabilities(counts)
    np.testing.assert_allclose(found.predict(INPUTS, "map"), expected)
    found.save(tmp_path)
    np.testing.assert_allclose(load_fit(tmp_path, SigmoidChip()).predict(INPUTS, "map"), expected)


def named_beta(chip):
    """A prior with hyperparameters that are called as a readout's."""
    scale, bias = pm.HalfNormal("beta"), pm.Normal("bias", shape=2)
    return [pm.Normal("w_1", bias, scale, shape=(1, 2))]


def test_hyperparameters_of_these_names_are_no_readout(tmp_path):
    found = fit(SigmoidChip(), INPUTS, LABELS, named_beta, sampler="pymc", draws=2, tune=1, chains=1, beta=0.8)
    expected = Readout(0.8).probabilities(SigmoidChip().run(found.weights("map"), INPUTS))
    np.testing.assert_allclose(found.predict(INPUTS, "map"), expected)
    found.save(tmp_path)
    np.testing.assert_allclose(load_fit(tmp_path, SigmoidChip()).predict(INPUTS, "map"), expected)


def test_folders_without_a_readout_load_as_before(tmp_path):
    made = hand_made_fit(CountingChip(SigmoidChip()), INPUTS, LABELS)
    made.save(tmp_path)
    stored = json.loads((tmp_path / "fit.json").read_text())
    assert "beta" not in stored["arguments"]
    again = load_fit(tmp_path, SigmoidChip())
    expected = PLAIN.probabilities(SigmoidChip().run(again.weights("mean"), INPUTS))
    np.testing.assert_array_equal(again.predict(INPUTS, "mean"), expected)
    assert (again.readout().beta, again.readout().bias) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("beta", "bias", "says"),
    [
        (None, np.zeros((2, 10, 2)), r"its readout has no beta of the shape \(2, 10\)"),
        (np.ones((2, 10)), None, r"its readout has no bias of the shape \(2, 10, 2\)"),
        (np.ones((2, 10)), np.zeros((2, 10, 3)), r"its readout has no bias of the shape \(2, 10, 2\)"),
        (np.ones((2, 10)), np.full((2, 10, 2), np.nan), "its readout has no bias"),
        (-np.ones((2, 10)), np.zeros((2, 10, 2)), "the beta of its readout is not above 0"),
    ],
)
def test_folders_with_another_readout_than_the_chip_s_are_refused(beta, bias, says, tmp_path):
    made = hand_made_fit(SigmoidChip(), INPUTS, LABELS)
    made.save(tmp_path)
    dataset = made.posterior["posterior"].dataset.assign_attrs({READOUT: 1})
    for name, values, dims in (("beta", beta, ()), ("bias", bias, ("of_class",))):
        if values is not None:
            dataset[name] = (("chain", "draw", *dims), values)
    made.posterior["posterior"] = xr.DataTree(dataset)
    made.posterior.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=says) as error:
        load_fit(tmp_path, SigmoidChip())
    assert "\n" not in str(error.value)
