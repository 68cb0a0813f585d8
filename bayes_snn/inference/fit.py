"""`fit()`: sample the posterior of a chip's weights."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike
from pymc.sampling.mcmc import assign_step_methods, instantiate_steppers
from pymc.sampling.parallel import ParallelSamplingError
from rich.console import Console

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.identity import Before
from bayes_snn.chips.behaviour import N_INPUTS, N_SETS, Behaviour, check_behaviour
from bayes_snn.chips.contract import Chip, FloatArray, IntArray, check_chip
from bayes_snn.chips.presentations import AnswerMemory, Presentations, RememberingChip
from bayes_snn.errors import ChipError, DataWarning, InputError, LinkError
from bayes_snn.groups import ALIKE, OUTPUTS, PROGRAMMINGS, UNRESPONSIVE
from bayes_snn.inference.compiling import Compiling, compile_steps
from bayes_snn.inference.drift import collect
from bayes_snn.inference.faults import keeping_faults
from bayes_snn.inference.interleaved import can_take_turns, sample_in_turns
from bayes_snn.inference.pointwise import add_inputs, evaluate_draws, take_counts
from bayes_snn.inference.rehearsal import rehearse
from bayes_snn.inference.rescue import Traces, draws_kept
from bayes_snn.inference.result import FitResult
from bayes_snn.inference.sampling import Sampling
from bayes_snn.inference.starts import prior_starts
from bayes_snn.inference.twinning import DOUBTFUL, Prepared, affordable_draws, moves_for, prepare_twin
from bayes_snn.inference.until import Until, check_chains
from bayes_snn.interrupt import InterruptGuard
from bayes_snn.likelihood import BETA
from bayes_snn.names import AUTO, PSEUDO_MARGINAL, SAMPLERS
from bayes_snn.posterior.build import make_model
from bayes_snn.posterior.prior_draws import draw_prior
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction, load_prior, load_readout
from bayes_snn.posterior.readout import readout_variables
from bayes_snn.posterior.sample_weights import ClassWeight, sample_weights_of
from bayes_snn.samplers.by_name import make_step, sample_population
from bayes_snn.samplers.hyperparameters import TARGET_ACCEPT, HyperparameterSlice, independent_terms
from bayes_snn.samplers.readout import ReadoutSlice
from bayes_snn.samplers.shared.sweepers import check_simulated
from bayes_snn.twins.asking import AskedChip
from bayes_snn.twins.folder import load_twin
from bayes_snn.waiting import progress_shown

_FAR = 5.0  # thresholds: a mean or standard deviation that no standardised column has
_FLAT = 0.01  # a standard deviation that no weight in a usual range makes spikes of


@keeping_faults
def fit(
    chip: Chip,
    inputs: FloatArray,
    labels: IntArray,
    weights: str | Path | PriorFunction | None = None,
    *,
    sampler: str = AUTO,
    draws: int | None = None,
    tune: int | None = None,
    chains: int | None = None,
    seed: int = 0,
    cores: int | None = None,
    noise: str | None = PSEUDO_MARGINAL,
    repeats: int = 1,
    remeasure: int | None = None,
    beta: float = BETA,
    readout: ReadoutFunction | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    progress: bool | str = False,
    checkpoint: str | Path | Checkpoint | None = None,
    twin: Chip | str | Path | None = None,
    budget: int | None = None,
    until: str | int | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
) -> FitResult:
    """Train a chip: draw from the posterior of its weights given the training data.

    Parameters
    ----------
    chip
        Any object with `spec` and `run`.
    inputs, labels
        Training data: (n_samples, n_in) standardised floats, and (n_samples,) whole numbers from 0.
    weights
        The prior: a function `weights(chip)`, or the name or path of a model file (default "gaussian").
    sampler
        "auto" (twin where the chip can be learned, else sitewise), "twin" (draws on a twin of the chip, each checked on
        the chip), "sitewise" (one weight at a time, re-running only what it touches), "tempered" (replica exchange, on
        simulated chips), "block" (all weights at once), "pcn" (all at once, for Normal priors), "pymc" and
        "demetropolis" (PyMC's own steps, one weight and all at a time) or "smc" (a population from prior to posterior);
        see `bayes_snn.names.SAMPLERS`.
    draws, tune, chains
        Draws kept from each chain, warm-up draws before them, and number of chains. For "smc": particles of each
        population, nothing, and number of populations. By default 1,000, 1,000 and 4; with a twin as many draws as the
        budget allows, after a warm-up that the chip takes no part in, and 2 or 3 chains where 4 would be short.
    seed
        Of everything random: starting points and steps. The draws do not depend on `cores`.
    cores
        Chains that run at once, each in a process with a copy of the chip; by default as many as there are, but 1 for a
        chip that does not say it is `copyable`, as a chip on a bench is not. With 1 the chains take turns, a draw each,
        so that a fit that is stopped has draws of all of them. A drifting chip is one chip, whose copies would drift
        apart: its chains run one after the other, and `cores` can only be 1.
    noise, repeats
        For a noisy chip: "pseudo-marginal" (the current point keeps its estimate of the likelihood) or "mcwm" (it is
        run again at each proposal), and how many runs an estimate averages; see `bayes_snn.posterior.noisy`.
    remeasure
        Draws after which the current point is run again and the chain continues from that, so that it follows a chip
        that drifts; 0 for never. By default 10 on a drifting chip, never on others.
    beta
        Weight of a spike in the likelihood, and so in every prediction; see `bayes_snn.likelihood`.
    readout
        A function `readout(chip)` that returns (beta, bias), numbers or PyMC variables, or `readout(chip, beta)`. By
        default that of the model file, or, where it has none, a random bias of each class
        (`bayes_snn.posterior.class_biases`); of a prior that is a function, beta and no biases.
    feature_names, class_names
        Names for the coordinates of the posterior; features are named after the columns of a DataFrame.
    progress
        Show a progress bar; a string names one of the styles of `pm.sample`, for example "split" or "combined".
    checkpoint
        A folder in which the fit is stored every few seconds while it runs, so that `bayes_snn.resume` can continue
        after a kill or Ctrl-C. A `Checkpoint` says how often.
    twin
        With a twin: one that was learned before, or its folder, or any chip that shall stand in for one. By default one
        is learned.
    budget
        With a twin: presentations that the fit may show the chip, learning and draws together; what is predicted later
        is not limited. By default 250 times the training samples, 100,000 at least; without limit where `draws` are
        given.
    until
        When to end: "converged" (the verdict on the predictions), or effective draws that log-likelihood and
        predictions must have. `draws` and `budget` are then the most, and 10,000 draws where neither says so; see
        `bayes_snn.inference.until`.
    sample_weight, class_weight
        How often samples count in the likelihood: (n_samples,) numbers >= 0; and "balanced", which lets all classes
        count alike, or a number for each class; see `bayes_snn.posterior.sample_weights`. With them it is a weighted
        likelihood: its draws are as sure as if there were so many samples.

    Returns
    -------
    The posterior and what can be asked of it.

    Raises
    ------
    InputError
        When an argument cannot be used.
    ChipError
        When the chip answers something else than spike counts, or raises an exception, which is the error's cause.
    LinkError
        When the chip is a `Link` and cannot be reached; `draws` of the error holds the draws so far, but with "smc".
    KeyboardInterrupt
        On Ctrl-C before there is a draw to keep, with "smc" at any time; later, the result holds the draws so far and
        says `interrupted`.
    """
    sampling = Sampling(sampler, draws, tune, chains, seed, cores, noise, repeats, remeasure, budget, until)
    started = time.perf_counter()
    choice = sampling.noise_on(check_chip(chip).spec)
    sampling.cores_on(chip)  # for its refusal
    twin = load_twin(twin) if isinstance(twin, str | Path) else twin
    if twin is not None and not sampling.may_use_twin:
        raise InputError(
            f"A twin came with sampler {sampler!r}, which uses none: leave it out, or take sampler 'twin'."
        )
    prior = load_prior(weights)
    readout = load_readout(readout, prior)
    feature_names = column_names(inputs) if feature_names is None else feature_names
    model = make_model(
        *(chip, inputs, labels, prior, readout),
        feature_names=feature_names,
        class_names=class_names,
        beta=beta,
        noise=choice,
        sample_weight=sample_weights_of(chip.spec, inputs, labels, sample_weight, class_weight),
    )
    if sampler != AUTO and SAMPLERS[sampler].simulated:  # before anything is shown
        check_simulated(sampler, model.likelihood.op, model.likelihood.target)
    _warn_of_scale(model.likelihood.op.inputs, feature_names)
    sampling = sampling.with_chains(len(labels))
    if sampling.until is not None:  # before anything is shown; a twin that cannot be learned may still end it later
        check_chains(model.likelihood.op, sampling.n_chains, sampling.cores_on(chip), sampling.may_use_twin)
    compiling = Compiling(started, shown=bool(progress))
    start_seed, sample_seed, noise_seed, twin_seed = np.random.SeedSequence(seed).spawn(4)
    if chip.spec.drifting and hasattr(chip, "restart_noise"):  # chains then continue where the one before them ended
        chip.restart_noise(int(noise_seed.generate_state(1)[0]))
    arguments = {
        "model": str(weights or "gaussian") if isinstance(weights, str | Path | None) else prior.__module__,
        **sampling.as_arguments(choice.as_dict(chip.spec)),
        **({} if beta == BETA else {"beta": float(beta)}),
        **({} if model.likelihood.sample_weight is None else {"weighted": True}),
    }
    note, prepared, learning = "", None, (0, 0)
    recording: list[int] = []
    saving = Checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint

    def begin() -> None:
        if saving is not None:
            names = {"feature_names": feature_names, "class_names": class_names}
            told = Before(note, learning)
            saving.begin(chip, model, (prior, readout), not callable(weights), starts, arguments, names, told)

    with model, _quiet_pymc(), contextlib.closing(saving) if saving else contextlib.nullcontext():
        try:
            with compiling:
                starts = prior_starts(model, sampling.n_chains, start_seed)
                rehearse(model, chip, starts[0], arguments)  # before the first run: no draw is lost at the end
            if not sampling.may_use_twin:
                begin()
                if saving is not None:  # of a fit that is continued, and whose sampler was chosen before
                    note, learning = saving.before.note, saving.before.learning
            behaviour = ask_behaviour(model, chip, model.likelihood.op.inputs)
            if behaviour.contradicts:  # the draws would be wrong
                raise ChipError(behaviour.sentences()[0])
            for sentence in behaviour.sentences() if progress else ():
                Console().print(sentence, highlight=False, markup=False)
            if sampling.may_use_twin:
                sampling, prepared, learning, note = ready_twin(
                    model, chip, starts, sampling, twin, twin_seed, saving, compiling, progress, behaviour.presentations
                )
                if prepared is None and chains is None:  # chains that are not short
                    sampling = replace(sampling, chains=None).with_chains(len(labels))
                    starts = prior_starts(model, sampling.n_chains, start_seed)
                if saving is not None and saving.extended is not None:  # beyond the budget that it was learned with
                    sampling = replace(sampling, draws=saving.extended)
                arguments |= sampling.as_arguments(choice.as_dict(chip.spec))
                arguments |= {"twin": "given"} if twin is not None else {}
                begin()
            sampler, chains, (draws, tune) = sampling.sampler, sampling.n_chains, sampling.sizes
            rng = np.random.default_rng(sample_seed)
            asked, ending = RememberingChip(chip, AnswerMemory(), recording.append), None
            if sampling.until is not None:
                check_chains(model.likelihood.op, chains, sampling.cores_on(chip), prepared is not None)
                ending = Until(sampling.until, model, asked, chains, draws)
            if SAMPLERS[sampler].population:
                trace, interrupted = sample_population(sampler, model, draws, chains, rng, bool(progress)), False
                presentations = int(trace.sample_stats["presentations"].isel(draw=-1).sum())
            else:
                trace, presentations, interrupted = _sample_chains(
                    model,
                    sampler,
                    starts if prepared is None else prepared.starts,
                    saving,
                    compiling,
                    prepared,
                    ending,
                    draws=draws,
                    tune=tune,
                    chains=chains,
                    cores=sampling.cores_on(chip),
                    random_seed=rng,
                    progressbar=progress,
                )
        except Exception as error:
            cause = _cause(error)
            raise cause from cause.__cause__
    model.likelihood.op.stand_in = None  # the chains may have ended it in processes of their own
    if choice.remeasure:
        collect(trace, choice.goes_on)
    known, written = take_counts(trace, len(model.likelihood.labels), chip.spec.layers[-1]), None
    if PROGRAMMINGS in trace.sample_stats:
        written = behaviour.programmings + learning[1] + int(trace.sample_stats[PROGRAMMINGS].isel(draw=-1).sum())
    with _quiet_pymc(), draws_kept(trace), progress_shown(Console() if progress else None):
        evaluate_draws(trace, model, asked, known)
    add_inputs(trace, model)
    if behaviour.same_whatever_weights and trace[OUTPUTS].attrs[ALIKE]:
        trace[OUTPUTS].attrs[UNRESPONSIVE] = 1
    result = FitResult(
        chip=chip,
        posterior=trace,
        arguments=arguments,
        cost=Presentations(
            learning=learning[0],
            training=presentations,
            log_likelihood=sum(recording),
            checks=behaviour.presentations + (saving.presentations if saving else 0),
        ),
        seconds=time.perf_counter() - started - compiling.seconds + (saving.spent if saving else 0.0),
        interrupted=interrupted,
        compile_seconds=compiling.seconds,
        behaviour=behaviour.as_dict(),
        note=note,
        programmings=written,
        twin=None if prepared is None else prepared.twin,
        twin_check=None if prepared is None else prepared.as_dict(),
    )
    result.memory = asked.memory  # the draws that were recorded are those that predict
    return result


def column_names(inputs: Any) -> list[str] | None:
    """Names of the columns of a DataFrame; None for an array, and for columns that are mere numbers."""
    columns = list(getattr(inputs, "columns", ()))
    if not columns or all(isinstance(name, int | np.integer) for name in columns):
        return None
    return [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in columns]


def _warn_of_scale(inputs: FloatArray, feature_names: Sequence[str] | None) -> None:
    """A `DataWarning` for inputs that are far from standardised ones."""
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    far = np.flatnonzero((np.abs(mean) > _FAR) | (std > _FAR))
    varies = (inputs != inputs[0]).any(axis=0)  # rounding may leave equal values a tiny std
    flat = varies.any() and std[varies].max() < _FLAT
    if not len(far) and not flat:
        return
    worst = int(np.argmax(np.maximum(np.abs(mean), std)) if len(far) else np.argmax(std))
    name = str(worst) if feature_names is None else repr(feature_names[worst])
    more = f", and {len(far) - 1} more are far off as well" if len(far) > 1 else ""
    warnings.warn(
        f"The inputs look unscaled: column {name} has mean {mean[worst]:.3g} and standard deviation {std[worst]:.3g}"
        f"{more}, but they are currents in units of the threshold: standardise them by the training samples, as "
        "split_data and scikit-learn's StandardScaler do.",
        DataWarning,
        stacklevel=4,
    )


def _sample_chains(
    model: pm.Model,
    sampler: str,
    starts: list[dict[str, Any]],
    saving: Checkpoint | None,
    compiling: Compiling,
    prepared: Prepared | None,
    ending: Until | None,
    **arguments: Any,
) -> tuple[xr.DataTree, int, bool]:
    """Chains of a step method: the trace, presentations, and whether Ctrl-C ended them early; `arguments` of PyMC."""
    guard, traces = InterruptGuard(), Traces(model, arguments["tune"])
    charged: dict[int, int] = {}  # presentations of each chain so far, those of draws that are not kept included

    def callback(trace: Any, draw: Any) -> None:
        charged[draw.chain] = max(int(stats.get("presentations", 0)) for stats in draw.stats)
        traces.note(trace)
        guard.callback(trace, draw)
        if ending is not None:
            ending.look(traces)

    with guard:
        with compiling:
            # the chip's steps come last, so that their count of presentations includes those of all others
            steps = make_steps(sampler, model) if prepared is None else prepared.steps
            compile_steps(model, steps)
        try:
            steps = steps if saving is None else saving.wrap(steps, model)
            if arguments["cores"] == 1 and arguments["chains"] > 1 and can_take_turns(model.likelihood.op):
                in_turns = {name: value for name, value in arguments.items() if name != "cores"}
                trace = sample_in_turns(model, steps, starts, callback=callback, **in_turns)
            else:
                trace = pm.sample(
                    step=steps, initvals=starts, callback=callback, compute_convergence_checks=False, **arguments
                )
        except Exception as error:
            if isinstance(cause := _cause(error), LinkError):
                cause.draws = traces.draws()
                raise cause from None
            if guard.interrupted:
                raise KeyboardInterrupt from None
            raise
    if ending is not None and ending.trace is not None:
        trace = ending.trace
    if trace.posterior.sizes["draw"] == 0:
        raise KeyboardInterrupt
    return trace, sum(charged.values()), guard.interrupted


def ask_behaviour(model: pm.Model, chip: Chip, inputs: FloatArray) -> Behaviour:
    """How the chip behaves with draws from the prior, on a few of the inputs."""
    drawn = draw_prior(model.likelihood.weights, N_SETS, np.random.default_rng(0))
    chosen = np.unique(np.linspace(0, len(inputs) - 1, min(N_INPUTS, len(inputs))).round().astype(int))
    return check_behaviour(chip, inputs[chosen], [[layer[n] for layer in drawn] for n in range(N_SETS)])


def make_steps(sampler: str, model: pm.Model, **options: Any) -> list[Any]:
    """The steps of a model: those of hyperparameters and readout, and the sampler's."""
    step = make_step(sampler, model, **options)
    return [*_other_steps(model, step), step]


def ready_twin(
    model: pm.Model,
    chip: Chip,
    starts: list[dict[str, Any]],
    sampling: Sampling,
    twin: Any,
    seed: np.random.SeedSequence,
    saving: Checkpoint | None,
    compiling: Compiling,
    progress: bool | str,
    spent: int,
) -> tuple[Sampling, Prepared | None, tuple[int, int], str]:
    """A twin to sample, where there is one: how to sample then, the twin, its cost, and a sentence that says which.

    The cost is presentations and programmings, of a twin that is not used too; `spent` is what the chip was shown
    before.
    """
    n_samples, budget = len(model.likelihood.op.inputs), sampling.budget
    limit = sampling.limit(n_samples) - spent
    asked = AskedChip(chip, journal=None if saving is None else saving.journal())

    def steps(twin: Chip) -> list[Any]:
        with compiling:
            return make_steps("twin", model, twin=twin)

    prepared, reason = None, ""
    try:
        with progress_shown(Console() if progress else None):
            prepared = prepare_twin(model, steps, starts, asked, seed, twin, limit)
        if prepared.is_hopeless:
            reason = (
                f"its twin is off by {prepared.spread:.1f} nats where the posterior is, so hardly any check would be "
                "accepted"
            )
    except InputError as error:
        reason = f"no twin of it can be learned: {str(error)[:1].lower()}{str(error)[1:].rstrip('.')}"
    cost = asked.presentations, asked.programmings
    if sampling.sampler == AUTO and reason:
        if twin is not None and prepared is not None:
            raise InputError(
                f"The twin that was given is off by {prepared.spread:.1f} nats where the posterior is and has "
                f"{prepared.wrong:.0%} of the counts wrong there, so hardly any check would be accepted: the chip has "
                "changed, or the twin is that of another one, so learn it again, or leave the twin out."
            )
        if budget is not None or twin is not None:
            raise InputError(f"The chip cannot be trained within a budget, because {reason}: leave the budget out.")
        return replace(sampling, sampler="sitewise"), None, cost, f"Sampled by sitewise, because {reason}."
    if prepared is None:
        raise InputError(f"Sampler 'twin' cannot be used, because {reason}.")
    draws = sampling.draws
    if draws is None or budget is not None:
        noise = model.likelihood.op.noise
        room = (limit, asked.presentations, n_samples, sampling.n_chains, noise.repeats)
        draws = affordable_draws(*room, draws, noise.remeasure)
    prepared.steps[-1].n_moves = moves_for(draws)
    way = getattr(getattr(prepared.twin, "learned", None), "way", None)
    learned = "the twin that was given" if twin is not None else f"a twin learned from the chip's {way}"
    note = f"Sampled on {learned}, each draw checked on the chip."
    if twin is not None and prepared.wrong > DOUBTFUL:
        note += (
            f" The twin had {prepared.wrong:.0%} of the counts wrong where the posterior is: the chip has changed, or "
            "the twin was learned from too few presentations, so learn it again."
        )
    return replace(sampling, sampler="twin", draws=draws), prepared, cost, note


def _other_steps(model: pm.Model, step: Any) -> list[Any]:
    """Steps for the variables that `step` leaves, hyperparameters mostly: slices, else what PyMC picks."""
    _, selected = assign_step_methods(model, step)
    smooth = selected.pop(pm.NUTS, [])
    sliced = [value for value in smooth if independent_terms(model, value) is not None]
    steps: list[Any] = [HyperparameterSlice(sliced, model=model)] if sliced else []
    of_readout = [value for value in readout_variables(model) if value in smooth]
    steps += [ReadoutSlice(of_readout, model=model)] if of_readout else []
    if tied := [value for value in smooth if value not in (*sliced, *of_readout)]:
        selected[pm.NUTS] = tied
    if not selected:
        return steps
    picked = instantiate_steppers(
        model, [], selected, step_kwargs={"nuts": {"target_accept": TARGET_ACCEPT}} if tied else None
    )
    return [*steps, *(picked if isinstance(picked, list) else [picked])]


def _cause(error: BaseException) -> BaseException:
    """The error that a person can act on, out of PyMC's and PyTensor's wrapping."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, InputError | ChipError):
            cause = type(seen)(str(seen).split("\n")[0])  # PyTensor adds a dump of the graph behind it
            cause.__dict__.update(vars(seen))
            cause.__dict__.pop("__notes__", None)  # PyTensor's
            cause.__cause__ = seen.__cause__
            return cause
        seen = seen.__cause__ or seen.__context__
    # a chip's own error, raised in another process, is the cause of PyMC's
    return error.__cause__ if isinstance(error, ParallelSamplingError) and error.__cause__ else error


@contextlib.contextmanager
def _quiet_pymc() -> Iterator[None]:
    """PyMC's own log lines say nothing that the closing table does not; a fit may have more chains than draws."""
    logger = logging.getLogger("pymc")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found chain dimension to be longer", UserWarning)
            yield
    finally:
        logger.setLevel(before)
