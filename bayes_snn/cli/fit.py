"""The command `python -m bayes_snn.fit`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bayes_snn.cli.chip_arguments import (
    CHIP,
    Bias,
    ChipSeed,
    Curve,
    Distortion,
    Hidden,
    OwnChip,
    Sigma,
    Steps,
    TokenFile,
)
from bayes_snn.cli.chip_options import make_chip, simulated_name
from bayes_snn.cli.resume import asked, extend_fit, resume_fit, storing
from bayes_snn.cli.terminal import help_option, option, print_warning, run_app
from bayes_snn.errors import ChipError, InputError, LinkError
from bayes_snn.files import make_folder, make_new_folder
from bayes_snn.names import (
    AUTO,
    BALANCED,
    BUILT_IN,
    CHAINS,
    CHECKPOINT,
    DRAWS,
    ENDED,
    NOISE_KINDS,
    PSEUDO_MARGINAL,
    SAMPLERS,
    TUNE,
    TWIN_TUNE,
    available_models,
)
from bayes_snn.waiting import progress_shown

if TYPE_CHECKING:  # what is not a name is imported where it is used: it takes seconds, and --help comes at once
    from bayes_snn.checkpoint.checkpoint import Checkpoint
    from bayes_snn.chips.contract import Chip
    from bayes_snn.data import Split
    from bayes_snn.inference.result import FitResult

PROGRAM = "python -m bayes_snn.fit"
FILES = ("trace.png", "reliability.png", "posterior.nc", "fit.json")  # of a fit folder, in the order of writing

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

_DATA, _SAMPLING, _OUTPUT = "Data", "Prior and sampling", "Output"
_EXAMPLES = f"""Examples:

{PROGRAM} --distortion leak,noise --sigma 0.2,0.1

{PROGRAM} --data mine.csv --target species --hidden 8
"""


@app.command(epilog=_EXAMPLES, add_help_option=False)
def command(
    context: typer.Context,
    data: Annotated[str, option(_DATA, "NAME", f"{', '.join(BUILT_IN)}, or a CSV file.")] = "breast_cancer",
    target: Annotated[str | None, option(_DATA, "NAME", "Column of the CSV file that holds the class.")] = None,
    no_header: Annotated[
        bool | None,
        option(_DATA, None, "The first line is a sample; --target is a column number.", "--no-header/--header"),
    ] = None,
    separator: Annotated[
        str | None, option(_DATA, "X", "What separates the file's fields: a character, or tab. [default: recognised]")
    ] = None,
    decimal: Annotated[str, option(_DATA, "X", "Decimal point of the file's numbers, or a comma.")] = ".",
    missing: Annotated[
        list[str],
        option(_DATA, "X", "Value that means missing, beside NA and empty: its samples are left out. Repeatable."),
    ] = [],  # noqa: B006
    n_train: Annotated[int | None, option(_DATA, "N", "Training samples. [default: all but the test part]")] = None,
    split_seed: Annotated[int, option(_DATA, "N", "Seed of the split; the test part is 30% of the samples.")] = 0,
    distortion: Distortion = ["comparator"],  # noqa: B006
    sigma: Sigma = ["3"],  # noqa: B006
    chip_seed: ChipSeed = 0,
    hidden: Hidden = "16",
    steps: Steps = 32,
    bias: Bias = True,
    own_chip: OwnChip = None,
    token_file: TokenFile = None,
    curve: Curve = None,
    check: Annotated[
        bool, option(CHIP, None, "Only check how the chip behaves: its noise, weights and counters.", "--check")
    ] = False,
    model: Annotated[
        str, option(_SAMPLING, "NAME", f"Prior: {', '.join(sorted(available_models()))}, or the path of a model file.")
    ] = "gaussian",
    sampler: Annotated[str, option(_SAMPLING, "NAME", f"{AUTO}, {', '.join(SAMPLERS)}.")] = AUTO,
    twin: Annotated[
        str | None, option(_SAMPLING, "PATH", "Folder of the chip's twin. [default: one is learned]")
    ] = None,
    budget: Annotated[
        int | None,
        option(_SAMPLING, "N", "Presentations for the twin and the draws. [default: 250 passes, at least 100000]"),
    ] = None,
    class_weight: Annotated[
        str | None,
        option(_SAMPLING, "X", f"How often samples of a class count: {BALANCED}, or NAME:2,OTHER:1. [default: once]"),
    ] = None,
    ms_per_presentation: Annotated[
        float | None,
        option(_SAMPLING, "X", "Milliseconds per sample on the chip; prints how long the fit takes there."),
    ] = None,
    draws: Annotated[
        int | None, option(_SAMPLING, "N", f"Draws kept from each chain. [default: by the budget, or {DRAWS}]")
    ] = None,
    tune: Annotated[
        int | None, option(_SAMPLING, "N", f"Warm-up draws of each chain. [default: {TWIN_TUNE} on a twin, or {TUNE}]")
    ] = None,
    chains: Annotated[
        int | None,
        option(
            _SAMPLING,
            "N",
            f"Number of chains; convergence needs at least 2. [default: {CHAINS}; 2 or 3 where they would be short]",
        ),
    ] = None,
    until: Annotated[
        str | None,
        option(
            _SAMPLING, "WHEN", "End when 'converged', or at so many effective draws. --draws and --budget are the most."
        ),
    ] = None,
    seed: Annotated[int, option(_SAMPLING, "N", "Seed of the sampling: starting points and steps.")] = 0,
    noise: Annotated[
        str, option(_SAMPLING, "NAME", f"Noisy chips only: {', '.join(NOISE_KINDS)}; see docs/noise.md.")
    ] = PSEUDO_MARGINAL,
    repeats: Annotated[int, option(_SAMPLING, "N", "Noisy chips only: runs averaged for each likelihood.")] = 1,
    remeasure: Annotated[
        int | None,
        option(_SAMPLING, "N", "Draws between re-measurements of the current point. [default: 10 if the chip drifts]"),
    ] = None,
    distil: Annotated[
        bool, option(_SAMPLING, None, "Also train one set of weights to answer as the ensemble does.", "--distil")
    ] = False,
    out: Annotated[str | None, option(_OUTPUT, "PATH", "Folder of the fit. [default: a new one in fits/]")] = None,
    overwrite: Annotated[bool, option(_OUTPUT, None, "Replace the fit in --out.", "--overwrite")] = False,
    resume: Annotated[str | None, option(_OUTPUT, "PATH", "Continue the stopped fit in this folder.")] = None,
    extend: Annotated[
        str | None, option(_OUTPUT, "PATH", "Add draws to the fit in this folder: --draws says how many it has then.")
    ] = None,
    trust: Annotated[
        bool,
        option(
            _OUTPUT, None, "With --resume: allow a fit from another computer to run the code that it names.", "--trust"
        ),
    ] = False,
    show_help: Annotated[bool, help_option(_OUTPUT)] = False,
) -> None:
    """Train a distorted spiking chip by Metropolis-Hastings and score it.

    The weights get a prior, the chip itself is the likelihood. The fit folder holds the posterior (posterior.nc), the
    scores (fit.json) and two figures. Ctrl-C ends the sampling early and keeps the draws so far; --resume continues
    from there, and after a kill or a power loss.
    """
    if extend is not None:
        extend_fit(context, extend, draws, command)
        return
    if resume is not None:
        resume_fit(context, resume, command)
        return
    from bayes_snn.cli.chip_options import chip_for_data, short_name
    from bayes_snn.cli.summary import check_pace, print_fit, time_in_words
    from bayes_snn.data import check_parts, load_data, split_data
    from bayes_snn.estimates.baselines import baseline_scores
    from bayes_snn.inference.fit import fit
    from bayes_snn.inference.rescue import draws_kept, draws_saved
    from bayes_snn.inference.sampling import Sampling
    from bayes_snn.posterior.build import build_model
    from bayes_snn.posterior.priors import load_prior
    from bayes_snn.posterior.sample_weights import find_sample_weights
    from bayes_snn.twins.folder import load_twin

    left: Checkpoint | None = context.obj  # that of a stopped fit
    if trust and left is None:
        raise InputError("--trust came without --resume, which names the fit to continue with: give both, or neither.")
    ending = int(until) if until is not None and until.isdecimal() else until
    sampling = Sampling(sampler, draws, tune, chains, seed, None, noise, repeats, remeasure, budget, ending)
    check_pace(ms_per_presentation)
    known_twin = None if twin is None else load_twin(twin)
    if not 0 <= split_seed < 2**32:  # there are three seeds, so that it must be said which
        raise InputError(f"--split-seed was {split_seed}, but a number from 0 to 2**32 - 1 is expected: try 0.")
    prior = load_prior(model)
    reading = asked_reading(no_header, separator, decimal, missing)
    split = check_parts(split_data(load_data(data, target, **reading), n_train=n_train, seed=split_seed))
    chip: Any
    if own_chip is None and (token_file is not None or curve is not None):
        given = "--token-file" if token_file is not None else "--curve"
        raise InputError(f"{given} came without --chip, which names a server: give both, or neither.")
    if own_chip is None:
        split = split.with_bias() if bias else split
        chip = make_chip(split, distortion, sigma, chip_seed, hidden, steps)
        name = simulated_name(chip)
    else:
        unusual = {"--distortion": distortion != ["comparator"], "--sigma": sigma != ["3"], "--steps": steps != 32}
        unusual |= {"--chip-seed": chip_seed != 0, "--hidden": hidden != "16"}
        beside = [name for name, given in unusual.items() if given]
        chip, name = chip_for_data(own_chip, token_file, split, beside, curve, bias), short_name(own_chip)
        split = split.with_bias() if chip.spec.layers[0] > split.n_features else split
    sampling.noise_on(chip.spec)  # for its refusal
    counting = _class_weights(class_weight, split)
    find_sample_weights(split.train_labels, split.n_classes, None, counting)  # for its refusal
    # faults of the prior are reported before the folder is made and the kernels are compiled
    checked = build_model(chip, split.train_inputs[:1], split.train_labels[:1], prior)
    if check:
        _tell_behaviour(chip, checked, split)
        return
    chosen = left.folder.parent if left else _choose_folder(out, overwrite)
    with (
        _made(chosen, f"{split.name}-{name}") as folder,
        storing(left, folder, sampler, context.params, overwrite, split) as checkpoint,
        draws_saved(folder),
    ):
        if left is None and not overwrite:
            _refuse_taken(folder)  # by a fit that ended while this one waited for its folder
        console.print(
            f"{split.name}: {split.n_train} training and {split.n_test} test samples, {split.n_features} features"
            f"{' and a bias' if split.bias else ''}, {split.n_classes} classes\n{chip!r}; {chip.spec.n_weights} "
            f"weights, prior {model}, sampler {sampler}",
            highlight=False,
            markup=False,
        )
        if ms_per_presentation is not None and sampling.may_use_twin and draws is None:
            limit = sampling.limit(split.n_train)
            console.print(
                f"A fit with a twin shows the chip at most {limit:,} samples, which take "
                f"{time_in_words(limit, ms_per_presentation)}.",
                highlight=False,
            )
        with console.status("Compiling the chip's kernels (the first time, about half a minute)"):
            _compile(chip, split)
        result = fit(
            chip,
            split.train_inputs,
            split.train_labels,
            prior,
            **sampling.keywords(),
            feature_names=split.input_names,
            class_names=split.class_names,
            progress=_progress(chains or CHAINS),
            checkpoint=checkpoint,
            twin=known_twin,
            class_weight=counting,
        )
        result.arguments |= asked({"model": model, "data": data, "target": target}, left)
        result.arguments |= {"reading": reading} if reading else {}
        result.arguments |= {"n_train": split.n_train, "split_seed": split_seed}
        result.arguments |= {"bias": True} if split.bias else {}
        result.arguments |= {} if own_chip is None else {"chip": own_chip}
        console.print("Deploying the posterior on the chip")
        with progress_shown(console), draws_kept(result.posterior):
            if distil:
                _later("The ensemble was not distilled", result.distil)
            for part, inputs, labels in (
                ("train", split.train_inputs, split.train_labels),
                ("test", split.test_inputs, split.test_labels),
            ):
                if (found := _later(f"The {part} scores are missing", result.evaluate, inputs, labels)) is not None:
                    result.scores[part] = found
            if "test" in result.scores and chip.spec.deterministic:  # nothing is shown again: answers are remembered
                result.scores["classes"] = result.by_class(split.test_inputs, split.test_labels)
            result.scores["baselines"] = baseline_scores(split, result.sample_weight)
        with progress_shown(console):
            _write(result, split, folder)
        if checkpoint is not None and not result.interrupted:
            checkpoint.end(folder / ENDED)
    print_fit(console, result, split, folder, ms_per_presentation)


def asked_reading(
    no_header: bool | None, separator: str | None, decimal: str, missing: Sequence[str]
) -> dict[str, Any]:
    """The options of how a file is read, for `load_data`, without those that were not given."""
    options = {"no_header": no_header, "separator": separator, "decimal": decimal, "missing": list(missing)}
    return {name: value for name, value in options.items() if value not in (None, ".", [])}


def _tell_behaviour(chip: Chip, model: Any, split: Split) -> None:
    """Ask the chip how it behaves, with draws from the prior and training samples, and print what came."""
    from bayes_snn.inference.fit import ask_behaviour

    found = ask_behaviour(model, chip, split.train_inputs)
    for sentence in found.sentences():
        console.print(sentence, highlight=False, markup=False)
    console.print(f"It was shown {found.presentations:,} samples for this.", highlight=False)


def _choose_folder(out: str | None, overwrite: bool) -> Path | None:
    """The fit's folder that --out names, None without."""
    if out is not None:
        if not out.strip():
            raise InputError("--out was empty, but the name of a folder is expected: give one, or leave it out.")
        folder = Path(os.path.expanduser(out))
        if not overwrite and not os.path.lexists(folder / CHECKPOINT):  # else its fit may still run, or be stopped
            _refuse_taken(folder)
        return folder
    if overwrite:
        raise InputError("--overwrite came without --out, which names the fit to replace: give both, or neither.")
    return None


def _class_weights(text: str | None, split: Split) -> str | dict[int, float] | None:
    """Weights of classes by label, or the word that stands for them."""
    if text is None or text == BALANCED:
        return text
    found: dict[int, float] = {}
    for part in text.split(","):
        name, _, number = part.rpartition(":")
        try:
            found[split.class_names.index(name)] = float(number)
        except ValueError:
            raise InputError(
                f"--class-weight was {text!r:.60}, but {BALANCED}, or a number for each of the classes "
                f"{', '.join(split.class_names)} is expected: for example {split.class_names[0]}:2."
            ) from None
    return found


def _refuse_taken(folder: Path) -> None:
    """Raise an `InputError` when a folder holds a fit."""
    if any(os.path.lexists(folder / file) for file in FILES):
        raise InputError(f"{folder} already holds a fit: give another folder, or --overwrite to replace it.")


def _compile(chip: Chip, split: Split) -> None:
    """Have Numba compile, or load, what a fit will call: a run, and a sweep that proposes nothing new."""
    import numpy as np

    from bayes_snn.chips.lif.chip import LIFChip
    from bayes_snn.likelihood import Readout

    if not isinstance(chip, LIFChip):
        return
    weights = [np.zeros(shape) for shape in chip.spec.weight_shapes]
    chip.run(weights, split.train_inputs)
    if (sweeper := chip.site_sweeper(split.train_inputs, split.train_labels)) is not None:
        sweeper.start(weights, Readout())
        n = chip.spec.n_weights
        sweeper.sweep(np.zeros(n), np.full(n, np.inf), np.arange(n))


@contextlib.contextmanager
def _made(folder: Path | None, name: str) -> Iterator[Path]:
    """Make a folder, or the first free one of this name below fits/, which no other process then takes.

    It is taken away again if it is still empty at the end: a fit came to nothing.
    """
    fits = Path("fits")  # is taken away too, whoever made it: of several commands the last one leaves none
    missing = [fits] if folder is None else [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        if folder is None:
            folder = make_new_folder(fits, name)
            missing.insert(0, folder)
        make_folder(folder)
        yield folder
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def _progress(chains: int) -> str:
    """The style of PyMC's progress bar that the window has room for."""
    if chains > console.height // 2:
        return "combined"
    return "split+stats" if console.width >= 110 else "split"


def _later(missing: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns; None with a warning where it fails: it can be done later, and the draws cannot."""
    try:
        return function(*arguments)
    except LinkError:
        raise  # the draws are saved, and the checkpoint is kept
    except (InputError, ChipError) as error:
        print_warning(f"{missing}: {error} The fit is saved without.")
        return None


def _write(result: FitResult, split: Split, folder: Path) -> None:
    """Write all files in a folder of their own, then move them, so that an old fit is replaced as a whole."""
    from bayes_snn.inference.figures import draw_reliability, draw_trace, save_figure
    from bayes_snn.inference.kept_twin import move_twin

    predictions: dict[str, Any] = {}
    if "test" in result.scores:
        predictions = {name: result.predict(split.test_inputs, name) for name in ("ensemble", "mean")}
    make_folder(folder)
    with tempfile.TemporaryDirectory(prefix=".fit-", dir=folder) as name:
        new = Path(name)
        result.save(new)
        save_figure(draw_trace(result), new / "trace.png")
        if predictions:
            save_figure(draw_reliability(predictions, split.test_labels), new / "reliability.png")
        try:
            for file in FILES:
                if (new / file).exists():
                    os.replace(new / file, folder / file)
                else:  # of the fit that is replaced
                    (folder / file).unlink(missing_ok=True)
            move_twin(new, folder)
            shutil.rmtree(folder / ENDED, ignore_errors=True)  # of the fit that is replaced
        except OSError as error:
            raise InputError(
                f"{folder / file} cannot be replaced ({error.strerror}): give another folder, for example --out "
                "fits/mine."
            ) from None


def main() -> None:
    """Run the command; what a person can fix is said in one sentence, with exit code 2."""
    run_app(
        app,
        PROGRAM,
        "Interrupted: no fit was written.",
        "The fit does not fit into memory: ask for fewer draws, chains, hidden neurons or steps.",
    )
