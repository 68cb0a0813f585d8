"""fit(): what it returns, what it charges, that it repeats itself, and how it ends when a chip or a person stops it."""

from __future__ import annotations

import signal
import threading

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import ChipError, ChipRaisedError, InputError
from bayes_snn.estimates.predict import ESTIMATES
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.likelihood import log_likelihood
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.build import available_models
from bayes_snn.posterior.weight_scales import weight_scales
from bayes_snn.samplers.by_name import STEPS
from tests.helpers.fits import CountingChip, FaultyChip, InterruptingChip, chip_for, same_draws, twin_for
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), np.arange(12) % 3
# other tests of the session may leave threads behind (torch, scikit-learn), and PyMC forks
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def small_fit(chip, sampler="block", **options):
    return fit(
        chip,
        INPUTS,
        LABELS,
        sampler=sampler,
        **{"draws": 6, "tune": 4, "chains": 2, "cores": 1, **options},
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_fit_of_three_classes(sampler, tmp_path):
    chip = chip_for(sampler, CountingChip(LIFChip((3, 4, 3), "comparator", 3.0)))
    options = twin_for(sampler, LIFChip((3, 4, 3), "comparator", 2.5))
    result = fit(chip, X, Y, sampler=sampler, draws=5, tune=4, chains=2, seed=7, feature_names=list("abc"), **options)
    assert result.cost.checks > 0
    shown = chip.shown - result.cost.checks
    tree, names = result.posterior, chip.spec.weight_names
    assert set(tree.children) == {
        "posterior", "sample_stats", "log_likelihood", "log_prior", "outputs", "observed_data", "constant_data"
    }  # fmt: skip
    for name, dims, shape in zip(names, chip.spec.weight_dims, chip.spec.weight_shapes, strict=True):
        assert tree.posterior[name].dims == ("chain", "draw", *dims)
        assert tree.posterior[name].shape == (2, 5, *shape)
        assert (np.ptp(tree.posterior[name].values, axis=(0, 1)) > 0).all()
    assert list(tree.posterior["pre_1"].values) == ["a", "b", "c"]
    np.testing.assert_array_equal(tree.observed_data["label"], Y)
    np.testing.assert_array_equal(result.train_inputs, X)
    assert "gaussian" in result.arguments["model"]
    given = {"sampler": sampler, "draws": 5, "tune": 4, "chains": 2, "seed": 7}
    assert {name: result.arguments[name] for name in given} == given
    assert result.chip is chip
    assert not result.interrupted
    assert result.seconds > 0

    # likelihood and prior of every draw, by hand
    for place in np.ndindex(2, 5):
        weights = [tree.posterior[name].values[place] for name in names]
        terms = log_likelihood(chip.chip.run(weights, X), Y, 0.5, tree.posterior["bias"].values[place])
        np.testing.assert_allclose(tree.log_likelihood["label"].values[place], terms, rtol=1e-12)
        for name, w, scale in zip(names, weights, weight_scales(chip), strict=True):
            expected = stats.norm(scale=scale).logpdf(w).sum()
            assert float(tree.log_prior[name].values[place]) == pytest.approx(expected)

    # what was shown to the chip in training is charged: all but the evaluation of the draws, and a few runs of PyMC
    # before the first draw
    evaluated = 0 if sampler == "twin" else 10 * len(X)
    assert result.presentations <= shown - evaluated <= result.presentations + 16 * len(X)
    assert result.passes == pytest.approx(result.presentations / len(X))
    if sampler in ("smc", "twin"):
        assert result.presentations == shown - evaluated
    elif sampler not in ("sitewise", "tempered"):  # whose proposals show as much as is needed
        # a presentation of each sample for each proposal, and at most one for each chain's start
        proposals = 2 * 9 * {"block": 100, "pcn": 100, "pymc": chip.spec.n_weights, "demetropolis": 1}[sampler]
        assert proposals <= result.passes <= proposals + 2

    for estimate in ESTIMATES:
        probabilities = result.predict(X[:5], estimate)
        assert probabilities.shape == (5, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    loaded = load_fit(result.save(tmp_path), chip)
    for estimate in ESTIMATES:
        np.testing.assert_array_equal(loaded.predict(X, estimate), result.predict(X, estimate))


def test_a_user_s_chip_is_not_copied_unless_it_says_so():
    chip = SigmoidChip()
    result = fit(chip, INPUTS, LABELS, sampler="block", draws=3, tune=2, chains=2)
    assert chip.runs >= result.passes >= 1000  # so all of them were runs of this very object
    chip = SigmoidChip()
    chip.copyable = True
    small_fit(chip, chains=1, cores=None)
    assert chip.runs >= 1000  # one chain needs no copy


class BareChip:
    """Nothing but the contract, and spike counts as whole floats in a list."""

    spec = ChipSpec((1, 2), 12, deterministic=True)
    __slots__ = ()

    def run(self, weights, inputs):
        return np.rint(6 + 6 * np.tanh(inputs @ weights[0])).tolist()


@forks
def test_a_chip_is_whatever_has_a_spec_and_runs():
    result = small_fit(BareChip(), draws=2, tune=1, cores=2)
    assert result.predict(INPUTS).shape == (6, 2)
    assert result.passes >= 600


@forks
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_cores_do_not_change_the_draws_and_seeds_do(sampler):
    # a tuning interval of pm.Metropolis is 20
    options = {"draws": 4, "tune": 22, "sampler": sampler, **twin_for(sampler, SigmoidChip())}
    first = small_fit(chip_for(sampler, SigmoidChip()), seed=3, **options)
    again = small_fit(chip_for(sampler, SigmoidChip()), seed=3, cores=2, **options)
    other = small_fit(chip_for(sampler, SigmoidChip()), seed=4, **options)
    assert same_draws(first, again)
    assert first.presentations == again.presentations
    assert not same_draws(first, other)
    w = first.posterior.posterior["w_1"].values
    assert (w[0] != w[1]).any()


@forks
@pytest.mark.parametrize("sampler", ["block", "smc"])
def test_noise_does_not_depend_on_cores(sampler):
    def noisy_fit(cores):
        chip = LIFChip((1, 3, 2), ["noise", "gain"], [0.3, 0.1])
        return small_fit(chip, sampler, draws=2, tune=2, cores=cores)

    assert same_draws(noisy_fit(1), noisy_fit(2))


@pytest.mark.parametrize("model", sorted(available_models()))
def test_every_model_fits(model):
    chip = LIFChip((3, 2, 2), "comparator", 3.0)
    sampler = "sitewise" if model == "grid" else "block"  # whole numbers cannot be moved on a continuous scale
    result = fit(chip, X, Y % 2, model, sampler=sampler, draws=3, tune=2, chains=2, cores=1)
    assert result.arguments["model"] == model
    log_prior, posterior = result.posterior.log_prior, result.posterior.posterior
    computed = {"w_1", "w_2"} if model == "grid" else set()
    assert set(log_prior.data_vars) == set(posterior.data_vars) - computed  # hyperparameters too
    assert np.isfinite(result.draws.logp).all()
    assert np.isfinite(result.predict(X)).all()
    # steps on hyperparameters run the chip at most once a draw: for the weights they stand at
    assert model == "grid" or 1000 <= result.passes <= 1000 + 2 * 5 + 2


def test_weights_computed_from_others_are_in_the_posterior():
    def noncentred(chip):
        scale = pm.HalfNormal("scale")
        return [scale * pm.Normal("z", shape=(1, 2))]

    posterior = small_fit(BareChip(), weights=noncentred).posterior.posterior
    assert posterior["w_1"].dims == ("chain", "draw", "pre_1", "post_1")
    np.testing.assert_allclose(posterior["w_1"], posterior["scale"].values[..., None, None] * posterior["z"].values)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_arviz_reads_a_fit():
    result = small_fit(SigmoidChip(), draws=100, chains=4, tune=10)
    tree = result.posterior
    summary = az.summary(tree)
    assert list(summary.index) == ["w_1[0, 0]", "w_1[0, 1]", "bias[0]", "bias[1]"]
    assert az.rhat(tree)["w_1"].shape == (1, 2)
    assert np.isfinite(az.ess(tree)["w_1"]).all()
    loo = az.loo(tree)
    assert loo.n_data_points == len(LABELS)
    assert loo.n_samples == 400
    terms = tree.log_likelihood["label"].values.reshape(400, -1)
    in_sample = np.log(np.exp(terms).mean(axis=0)).sum()
    assert terms.sum(axis=1).min() < loo.elpd < in_sample  # a left-out sample is harder to predict
    assert az.psense(tree)["w_1"] is not None
    assert result.diagnosis.n_chains == 4


@forks
@pytest.mark.parametrize(
    ("sampler", "fault", "says", "cores"),
    [
        ("block", lambda counts: np.full(counts.shape, np.nan), "NaN among them", 1),
        ("block", lambda counts: -1 - counts, "spike counts from -", 1),
        ("block", lambda counts: counts[:-1], r"an array of shape \(5, 2\)", 1),
        ("block", lambda counts: np.full(counts.shape, np.nan), "NaN among them", 2),
        ("block", lambda counts: counts[:-1], r"an array of shape \(5, 2\)", 2),
        ("pymc", lambda counts: counts + 100, "12 steps allow only 0 to 12", 2),
        ("sitewise", lambda counts: counts + 100, "12 steps allow only 0 to 12", 1),
    ],
)
def test_a_chip_that_answers_nonsense_is_not_believed(sampler, fault, says, cores):
    with pytest.raises(ChipError, match=says) as error:
        small_fit(FaultyChip(fault, good_runs=9), sampler, cores=cores)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


class LinkError(OSError):
    """A driver's own kind of error."""


def drop_link(counts):
    raise LinkError("link down after 9 runs")


@forks
@pytest.mark.parametrize("cores", [1, 2])
def test_a_chip_s_own_error_is_passed_on(cores):
    with pytest.raises(ChipRaisedError, match=r"The chip raised LinkError \(link down after 9 runs\) in test_fit.py"):
        small_fit(FaultyChip(drop_link, good_runs=9), cores=cores)


def test_a_chip_that_breaks_after_the_sampling():
    # its last runs evaluate the draws that were kept
    working = SigmoidChip()
    small_fit(working)
    with pytest.raises(ChipError, match="spike counts from -"):
        small_fit(FaultyChip(lambda counts: -1 - counts, good_runs=working.runs - 1))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"draws": 0}, "draws was 0"),
        ({"draws": True}, "draws was True"),
        ({"draws": 10.0}, r"draws was 10\.0"),
        ({"draws": "10"}, "draws was '10'"),
        ({"tune": -1}, "tune was -1"),
        ({"tune": False}, "tune was False"),
        ({"sampler": "sitewise", "chains": 0}, "chains was 0"),
        ({"seed": -1}, "seed was -1"),
        ({"seed": True}, "seed was True"),
        ({"seed": np.nan}, "seed was nan"),
        ({"cores": 0}, "cores was 0"),
        ({"sampler": "blok"}, "known are .*block.*: did you mean 'block'"),
        ({"sampler": "nuts"}, "Unknown sampler 'nuts'"),
        ({"weights": "gausian"}, "did you mean 'gaussian'"),
        ({"feature_names": ["a", "b"]}, "2 feature names came"),
    ],
)
def test_arguments_that_are_refused(options, says):
    chip = SigmoidChip()
    with pytest.raises(InputError, match=says) as error:
        fit(chip, INPUTS, LABELS, **options)
    assert "\n" not in str(error.value)
    assert chip.runs == 0


def test_whole_numbers_of_numpy_are_taken():
    result = small_fit(SigmoidChip(), draws=np.int64(2), tune=np.int32(0), chains=np.int64(1), seed=np.uint8(3))
    assert [type(result.arguments[name]) for name in ("draws", "tune", "chains", "seed")] == [int] * 4


@pytest.fixture
def handler():
    """Python's own SIGINT handler, which must stand again at the end."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("sampler", STEPS)
def test_ctrl_c_keeps_the_draws_so_far(sampler, handler):
    # a draw takes 100 runs of block and pcn, and few of the others: 4 draws of warm-up of 3 chains are over by then
    when = 2150 if sampler in ("block", "pcn") else 90
    result = small_fit(InterruptingChip(when), sampler, draws=300, chains=3)
    assert result.interrupted
    sizes = result.posterior.posterior.sizes
    assert sizes["chain"] == 3  # they take turns
    assert 2 <= sizes["draw"] < 300
    assert result.predict(INPUTS).shape == (6, 2)
    if sampler in ("block", "pcn"):
        assert sizes["draw"] == 3
        # the chip was also used for a draw that was not kept, for the other chains have none beside it
        assert 2200 <= result.passes <= 2203


def test_ctrl_c_in_the_turn_of_a_later_chain(handler):
    result = small_fit(InterruptingChip(2250), chains=3)
    assert result.interrupted
    assert result.posterior.posterior.sizes == {"chain": 3, "draw": 3, "pre_1": 1, "post_1": 2}
    assert 2300 <= result.passes <= 2303


def test_ctrl_c_in_the_warm_up_leaves_nothing(handler):
    with pytest.raises(KeyboardInterrupt):
        small_fit(InterruptingChip(250), chains=3)


def test_ctrl_c_ends_populations(handler):
    chip = InterruptingChip(750)
    with pytest.raises(KeyboardInterrupt):
        small_fit(chip, "smc", draws=200)
    assert chip.runs == 750


def test_one_particle_is_refused():
    with pytest.raises(InputError, match="draws was 1, but a whole number from 2"):
        small_fit(SigmoidChip(), "smc", draws=1)


def test_a_second_ctrl_c_ends_everything(handler):
    # well after the warm-up, both in one draw
    chip = InterruptingChip(750, 760)
    with pytest.raises(KeyboardInterrupt):
        small_fit(chip, draws=40, chains=3)
    assert chip.runs < 800


@forks
def test_ctrl_c_with_chains_in_other_processes(handler):
    # the first chain to run its chip 2,000 times signals the process that waits for draws, long before the last
    result = small_fit(InterruptingChip(2000), draws=1000, cores=2)
    assert result.interrupted
    assert 1 <= result.posterior.posterior.sizes["draw"] < 1000


@forks
def test_ctrl_c_in_the_warm_up_with_chains_in_other_processes(handler):
    with pytest.raises(KeyboardInterrupt):
        small_fit(InterruptingChip(250), tune=200, cores=2)


def test_an_error_restores_the_handler(handler):
    with pytest.raises(ChipError):
        small_fit(FaultyChip(lambda counts: counts - 100, good_runs=9))


def test_fits_in_another_thread(handler):
    # where Python allows no signal handlers
    results = []
    thread = threading.Thread(target=lambda: results.append(small_fit(SigmoidChip(), draws=2, tune=1)))
    thread.start()
    thread.join()
    assert results[0].posterior.posterior.sizes["draw"] == 2
