"""Groups for ArviZ's predictive checks: drawn from the right probabilities, charged, saved, and plotted by ArviZ."""

from __future__ import annotations

import dataclasses

import arviz_plots
import matplotlib as mpl
import numpy as np
import pytest

from bayes_snn import LIFChip, fit, load_data, load_fit, split_data
from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import Draws, run_draws
from bayes_snn.inference.predictive import GROUPS
from tests.helpers.fits import CountingChip, hand_made_fit
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

mpl.use("Agg")


@pytest.fixture(scope="module")
def result():
    data = split_data(load_data(), n_train=20)
    names = {"feature_names": data.feature_names, "class_names": data.class_names}
    options = {"sampler": "sitewise", "draws": 20, "tune": 5, "chains": 2, "cores": 1}
    found = fit(LIFChip((30, 3, 2)), data.train_inputs, data.train_labels, "hierarchical", **options, **names)
    found.add_predictive(draws=30)
    return found


def test_shapes_and_coordinates(result):
    tree = result.posterior
    assert dict(tree["posterior_predictive/label"].sizes) == {"chain": 2, "draw": 15, "observation": 20}
    assert dict(tree["prior_predictive/label"].sizes) == {"chain": 1, "draw": 30, "observation": 20}
    assert set(tree["prior"].data_vars) == set(tree["posterior"].data_vars)
    for name, array in tree["prior"].data_vars.items():
        assert array.dims == tree["posterior"][name].dims
        assert array.shape[1:] == (30, *tree["posterior"][name].shape[2:])
    np.testing.assert_array_equal(tree["prior"]["pre_1"], tree["posterior"]["pre_1"])
    for group in ("prior_predictive", "posterior_predictive"):
        assert set(np.unique(tree[group]["label"])) <= {0, 1}


def test_labels_have_the_probabilities_of_their_draws():
    """The share of each label, over seeds, against the class probabilities of the same draws."""
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS, draws=4)
    expected = run_draws(result.chip, result.draws, np.arange(8), INPUTS)[:, :, 1].reshape(2, 4, len(LABELS))
    n = 400
    shares, prior_shares, prior_expected = np.zeros_like(expected), np.zeros(len(LABELS)), np.zeros(len(LABELS))
    for seed in range(n):
        result.add_predictive(draws=8, seed=seed)
        shares += result.posterior["posterior_predictive/label"].values / n
        prior_shares += result.posterior["prior_predictive/label"].values.mean(axis=(0, 1)) / n
        weights = result.posterior["prior/w_1"].values[0]
        drawn = Draws([weights], np.zeros(8))
        prior_expected += run_draws(result.chip, drawn, np.arange(8), INPUTS)[:, :, 1].mean(axis=0) / n
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(shares - expected) <= 5 * error + 1e-12).all()
    assert (np.abs(prior_shares - prior_expected) <= 5 * np.sqrt(0.25 / n / 8)).all()
    # and not those of other draws
    assert (np.abs(shares[:, ::-1] - expected) > 5 * error).any()


def test_the_prior_is_the_prior():
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS, draws=4)
    result.add_predictive(draws=4000)
    weights = result.posterior["prior/w_1"].values.ravel()
    assert abs(weights.mean()) < 5 / np.sqrt(len(weights))
    assert abs(weights.var() - 1) < 5 * np.sqrt(2 / len(weights))
    assert result.posterior["posterior_predictive/label"].sizes["draw"] == 4  # no more than there are


@pytest.mark.parametrize("deterministic", [True, False])
def test_what_it_costs_is_charged(deterministic):
    chip = SigmoidChip()
    chip.spec = dataclasses.replace(chip.spec, deterministic=deterministic)
    result = hand_made_fit(CountingChip(chip), INPUTS, LABELS, draws=4)
    result.chip.shown = 0
    result.add_predictive(draws=8)
    assert result.cost.prediction == result.chip.shown == 16 * len(INPUTS)
    result.add_predictive(draws=8)
    assert result.cost.prediction == result.chip.shown
    assert result.chip.shown == (16 if deterministic else 32) * len(INPUTS)  # answers are remembered


def test_saved_with_the_fit(result, tmp_path):
    loaded = load_fit(result.save(tmp_path / "fit"))
    for group in GROUPS:
        assert loaded.posterior[group].dataset.identical(result.posterior[group].dataset)


def test_a_seed_repeats_it(result):
    before = {group: result.posterior[group].dataset for group in GROUPS}
    result.add_predictive(draws=30)
    assert all(result.posterior[group].dataset.identical(before[group]) for group in GROUPS)
    result.add_predictive(draws=30, seed=1)
    assert not result.posterior["prior"].dataset.identical(before["prior"])
    result.add_predictive(draws=30)


def own_prior(chip):
    import pymc as pm

    return [pm.Normal("w_1", 3.0, 1e-3, shape=chip.spec.weight_shapes[0], dims=chip.spec.weight_dims[0])]


def test_a_prior_of_one_s_own_is_not_run_unasked():
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS)
    result.arguments["model"] = "elsewhere/prior.py"
    with pytest.raises(InputError, match=r"'elsewhere/prior\.py', which is code of your own"):
        result.add_predictive()
    assert not set(GROUPS) & set(result.posterior.children)
    result.add_predictive(weights=own_prior)
    np.testing.assert_allclose(result.posterior["prior/w_1"], 3.0, atol=0.1)


@pytest.mark.parametrize(("options", "said"), [({"draws": 0}, "draws was 0"), ({"seed": -1}, "seed was -1")])
def test_refused_options(options, said):
    with pytest.raises(InputError, match=said):
        hand_made_fit(SigmoidChip(), INPUTS, LABELS).add_predictive(**options)


@pytest.mark.filterwarnings("ignore")  # what ArviZ and matplotlib deprecate of each other is not ours
@pytest.mark.parametrize(
    ("plot", "options"),
    [
        ("plot_ppc_dist", {"kind": "ecdf"}),
        ("plot_ppc_dist", {"kind": "ecdf", "group": "prior_predictive"}),
        ("plot_ppc_pava", {"data_type": "binary"}),
        ("plot_ppc_rootogram", {}),
        ("plot_ppc_tstat", {"t_stat": "mean"}),
        ("plot_prior_posterior", {"var_names": ["scale_w_1"]}),
    ],
)
def test_arviz_plots_them(result, plot, options):
    figure = getattr(arviz_plots, plot)(result.posterior, backend="matplotlib", **options)
    canvas = figure.viz["figure"].item()
    canvas.canvas.draw()
    assert any(axis.lines or axis.collections for axis in canvas.axes)
    mpl.pyplot.close(canvas)
