"""The cells of a study: one fit of one method on one chip each, and what makes a cell the same as another."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from bayes_snn.chips.lif.distortion import check_distortions
from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import BACKPROP, BUILT_IN, DISTORTIONS
from bayes_snn.names import IDEAL as IDEAL
from bayes_snn.names import METHODS as METHODS

IN_THE_LOOP = ("backprop-outputs", "backprop-spikes")  # backprop that shows the training data to the chip itself
ON_TWIN = "backprop-twin"
FORMAT = 1  # of the identity: cells of another format are other cells
MOST_CELLS = 1_000_000
# a logistic regression takes seconds at most, backprop less than MH, whose time grows with draws and samples
_RELATIVE_COST = {"logistic": 0.0, **dict.fromkeys(BACKPROP, 0.01), "mh": 1.0}


@dataclass(frozen=True, order=True)
class Cell:
    """One fit. Two cells are the same when all fields are, and only then.

    Attributes
    ----------
    method
        One of METHODS.
    data, target
        As `load_data` takes them; target is "" where it is not needed.
    distortion, sigma
        A name, several with a plus sign ("leak+gain"), or "none"; and the strength of each of them, but for those with
        a strength of their own ("comparator:3+quantisation").
    n_train, split_seed, chip_seed, hidden, n_steps
        As in `python -m bayes_snn.fit`; `hidden` is text, "32,16" for two layers.
    model, sampler, draws, tune, chains
        Of method mh; "" and 0 for all others, which do not depend on them. With a budget draws of 0 are as many as it
        allows, and the warm-up is the sampler's own.
    budget
        Presentations of a fit with a twin, and of the twin that "backprop-twin" trains on; 0 for none.
    bias
        Whether the chip has one more input, which is 1 for all samples.
    seed
        Another seed, another run of the same method on the same chip and data.
    reading
        How the data's file is read, the options of `load_data` as JSON text; "" where none was given.
    data_digest, model_digest
        Of the user's own file, where data is a CSV or model a path; "" otherwise. A changed file makes new cells.
    """

    method: str
    data: str = "breast_cancer"
    target: str = ""
    distortion: str = "comparator"
    sigma: float = 3.0
    n_train: int = 398
    split_seed: int = 0
    chip_seed: int = 0
    hidden: str = "16"
    n_steps: int = 32
    model: str = "gaussian"
    sampler: str = "sitewise"
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    seed: int = 0
    data_digest: str = ""
    model_digest: str = ""
    reading: str = ""
    budget: int = 0
    bias: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        object.__setattr__(self, "sigma", float(self.sigma) + 0.0)  # 3 and 3.0, -0.0 and 0.0 are one strength
        check_distortions(self.distortion_names, self.sigmas)

    @property
    def distortion_names(self) -> list[str]:
        """The distortions, to hand to `LIFChip`."""
        return [] if self.distortion == IDEAL else [part.split(":")[0] for part in self.distortion.split("+")]

    @property
    def sigmas(self) -> list[float]:
        """The strength of each distortion."""
        parts = [part.partition(":") for part in self.distortion.split("+")]
        return [] if self.distortion == IDEAL else [float(own) if colon else self.sigma for _, colon, own in parts]

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name the cell; other settings, another id."""
        return self._hash("cell")[:16]

    @property
    def random_seed(self) -> int:
        """The seed of the method's run, from 0 to 2**32 - 1: it depends on what the cell is and nothing else."""
        return int(self._hash("seed")[:8], 16)

    @property
    def cost(self) -> float:
        """How long the cell will take compared to others, roughly."""
        return _RELATIVE_COST[self.method] * self.n_train * max(1, self.chains * (self.draws + self.tune))

    def _hash(self, purpose: str) -> str:
        said = asdict(self)
        for name in LATER:  # so that cells of before it was there keep their ids
            if not said[name]:
                del said[name]
        text = json.dumps([FORMAT, purpose, said], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


LATER = ("reading", "budget", "bias")  # fields that cells once had not, in which their ids had no part
IDENTITY = tuple(field.name for field in fields(Cell))


def canonical(cell: Cell) -> Cell:
    """The cell without the settings that its method does not depend on, so that a result is computed once."""
    if cell.method == "mh":
        return cell
    cell = replace(cell, model="", model_digest="", sampler="", draws=0, tune=0, chains=0)
    if cell.method != ON_TWIN:
        cell = replace(cell, budget=0)
    if cell.method == "logistic":  # digital: there is no chip
        cell = replace(cell, distortion=IDEAL, sigma=0.0, chip_seed=0, hidden="", n_steps=0, seed=0, bias=False)
    return cell


def make_grid(
    methods: Sequence[str],
    strengths: Sequence[tuple[str, float]],
    n_train: Sequence[int],
    chips: Sequence[int],
    splits: Sequence[int] | None,
    budgets: Sequence[tuple[int, int]] = ((1000, 1000),),
    **settings: object,
) -> list[Cell]:
    """Every combination, each cell once; `strengths` are pairs of distortion and sigma, `budgets` of draws and tune.

    Without `splits` each chip has the split of its own number: then what varies over chips is that of the data as well.
    Chips come one after the other, the longest cells of each first: a study cut short has whole chips to show.
    """
    places = [(seed, seed) for seed in chips] if splits is None else list(itertools.product(chips, splits))
    size = len(methods) * len(strengths) * len(n_train) * len(places) * len(budgets)
    if size > MOST_CELLS:
        raise InputError(
            f"The grid has {size:,} cells, but at most {MOST_CELLS:,} can be kept track of: make several studies of it."
        )
    cells = set[Cell]()
    for combination in itertools.product(methods, strengths, n_train, places, budgets):
        method, (distortion, sigma), n, (chip, split), (draws, tune) = combination
        varied = {"distortion": distortion, "sigma": sigma, "n_train": n, "chip_seed": chip, "split_seed": split}
        cells.add(canonical(Cell(method, **varied, draws=draws, tune=tune, **settings)))  # type: ignore[arg-type]
    return sorted(cells, key=lambda cell: (cell.chip_seed, cell.split_seed, -cell.cost, cell))


def parse_strengths(entries: Iterable[str], sigmas: Sequence[float]) -> list[tuple[str, float]]:
    """Pairs of distortion and sigma from entries such as "leak", "leak+gain", "leak:0.5" or "comparator:3+leak:0.5".

    A strength behind the last name holds for every name without one of its own: "leak+gain:0.3" is 0.3 for both. An
    entry without it is combined with each of `sigmas`.
    """
    pairs: list[tuple[str, float]] = []
    for entry in entries:
        parts = [tuple(each.strip() for each in part.partition(":")) for part in entry.split("+")]
        names = [name for name, _, _ in parts]
        for name in names:
            if name not in (IDEAL, *DISTORTIONS):
                raise unknown_name("distortion", name, (IDEAL, *DISTORTIONS))
        if IDEAL in names:
            if len(names) > 1 or parts[0][1]:
                raise InputError(f"--distortion was {entry!r}, but none stands alone: leave out what is beside it.")
            pairs.append((IDEAL, 0.0))
            continue
        try:
            own = [float(text) if colon else None for _, colon, text in parts]
        except ValueError:
            raise InputError(
                f"--distortion was {entry!r}, but a number >= 0 is expected behind the colon: give leak:0.5."
            ) from None
        fixed = [f"{name}:{value:g}" if value is not None else name for name, value in zip(names, own, strict=True)]
        name = "+".join([*fixed[:-1], names[-1]])
        for sigma in list(sigmas) if own[-1] is None else [own[-1]]:
            check_distortions(names, [sigma if value is None else value for value in own])
            pairs.append((name, sigma))
    return list(dict.fromkeys(pairs))


def digest_file(name: str) -> str:
    """16 hexadecimal digits of a file's content; "" for a name that is no file."""
    path = os.path.expanduser(name)
    if name in BUILT_IN or not os.path.isfile(path):
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}): check the file and its permissions.") from None
