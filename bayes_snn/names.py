"""The names and numbers that the commands list: known without NumPy, PyMC or Numba, so that `--help` comes at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

BUILT_IN = ("breast_cancer", "digits", "iris", "penguins", "wine")  # data sets

FROZEN, NOISY, DRIFTING = "frozen", "noisy", "drifting"  # a distortion drawn once, at every run, or run by run


class Distortion(NamedTuple):
    """A way in which a chip is not ideal, as commands, errors, reports and the README describe it.

    Attributes
    ----------
    name, meaning
        What is distorted. g is a smooth random function of unit variance, e and xi are standard normal.
    unit, bounds
        What sigma is, and the least and the most that can be drawn; 0 is always the ideal chip.
    example
        A sigma to try.
    whole
        Whether sigma is a whole number.
    kind
        FROZEN, NOISY or DRIFTING.
    not_lif
        Why neurons with it are no LIF neurons with an alpha, a theta and weights of their own; "" where they are.
    """

    name: str
    meaning: str
    unit: str
    bounds: tuple[float, float]
    example: float
    whole: bool = False
    kind: str = FROZEN
    not_lif: str = ""

    @property
    def range(self) -> str:
        """Least and most sigma, as people read them."""
        least, most = self.bounds
        return f"{least:,g} to {most:,g}"

    def holds(self, sigma: float) -> bool:
        """Whether a sigma can be drawn."""
        least, most = self.bounds
        return sigma == 0 or (least <= sigma <= most and (not self.whole or sigma == int(sigma)))


_THETAS, _SPREAD = "standard deviation, in units of theta", "log-normal spread"
_STATIONARY = f"stationary {_THETAS}"
# a row here and its arithmetic in chips/lif/distortion.py, draw_layer, are all that a distortion is
# fmt: off
_ROWS = (
    Distortion("comparator", "the comparator sees v + sigma g(v), another g in each neuron", _THETAS, (0, 1e4), 3,
               not_lif="its neurons fire in several intervals of v"),
    Distortion("current", "the neuron receives I + sigma g(I), another g in each neuron", _THETAS, (0, 1e4), 3,
               not_lif="its neurons bend their input current"),
    Distortion("threshold", "theta becomes theta exp(sigma e) in each neuron", _SPREAD, (0, 10), 0.1),
    Distortion("leak", "tau_m becomes tau_m exp(sigma e) in each neuron", _SPREAD, (0, 10), 0.1),
    Distortion("gain", "w becomes w exp(sigma e) in each synapse", _SPREAD, (0, 10), 0.1),
    Distortion("stuck", "some synapses are stuck at zero", "fraction of the synapses", (0, 1), 0.1),
    Distortion("silent", "some neurons never spike", "fraction of the neurons", (0, 1), 0.1),
    Distortion("quantisation", "weights are rounded to a grid over the weight range", "whole number of bits", (2, 16),
               4, whole=True),
    Distortion("noise", "v[t] gets sigma sqrt(1 - alpha^2) xi[t], fresh at every run", _STATIONARY, (0, 1e4), 0.1,
               kind=NOISY, not_lif="its voltages are noisy"),
    Distortion("drift", "theta becomes theta exp(sigma B) in each neuron, B a random walk from run to run",
               "spread per 1,000 runs", (0, 10), 0.1, kind=DRIFTING, not_lif="its thresholds walk from run to run"),
)
# fmt: on
DISTORTION_ROWS = {row.name: row for row in _ROWS}
DISTORTIONS: dict[str, str] = {
    name: f"{row.meaning}; sigma: {row.unit}, {row.range}" for name, row in DISTORTION_ROWS.items()
}
IDEAL = "none"  # the distortion of a chip without any


class Sampler(NamedTuple):
    """What is to be known of a sampler.

    Attributes
    ----------
    make
        Where it is, "file:name" in `bayes_snn.samplers`, or itself: a `Move`; a function of value variables and
        `model` that makes a step method; or, of a population, one like `sample_smc`.
    population
        It moves particles from prior to posterior: there is no warm-up, no current point, and one is too few.
    resumable
        A fit can be stored while it runs.
    discrete
        It moves weights that are whole numbers too.
    twin
        It moves on a twin of the chip.
    simulated
        It takes simulated chips alone, without noise and with sweeps of their own.
    """

    make: Any
    population: bool = False
    resumable: bool = True
    discrete: bool = False
    twin: bool = False
    simulated: bool = False


SAMPLERS: dict[str, Sampler] = {
    "sitewise": Sampler("by_name:sitewise_or_stock", discrete=True),
    "twin": Sampler("twin:TwinMetropolis", discrete=True, twin=True),
    "tempered": Sampler("tempered:TemperedMetropolis", discrete=True, simulated=True),
    "block": Sampler("block:Block"),
    "pcn": Sampler("pcn:PCN"),
    "pymc": Sampler("metropolis:StockMetropolis", discrete=True),
    "demetropolis": Sampler("demetropolis:StockDEMetropolis"),
    "smc": Sampler("smc:sample_smc", population=True, resumable=False),
}
AUTO = "auto"  # in the place of a sampler: twin where the chip can be learned, else sitewise
DRAWS, TUNE, CHAINS = 1000, 1000, 4
TWIN_TUNE = 10  # of the sampler twin, whose warm-up begins where its twin's posterior is
BALANCED = "balanced"  # weights of classes: they count alike, however many samples they have
PSEUDO_MARGINAL, MCWM = "pseudo-marginal", "mcwm"
NOISE_KINDS = (PSEUDO_MARGINAL, MCWM)

BACKPROP = ("backprop-offline", "backprop-outputs", "backprop-spikes", "backprop-noise-aware", "backprop-twin")
METHODS = ("mh", *BACKPROP, "logistic")  # of a study

CHECKPOINT = "checkpoint"  # folder in a fit folder, while the fit runs and after it was stopped
ENDED = "ended"  # the same, of a fit that ended: what --extend continues from
TWIN = "twin"  # folder in a fit folder, of the twin that was sampled
REPORT = "report.html"  # the file of a report

TOKEN = "BAYES_SNN_TOKEN"  # environment variable with the token of a server
MAX_BYTES = 64 * 2**20  # of a message, by default


def sigma_units() -> str:
    """What sigma is of each distortion, those of one unit together."""
    names: dict[str, list[str]] = {}
    for row in DISTORTION_ROWS.values():
        names.setdefault(f"{row.unit}, {row.range}", []).append(row.name)
    return "; ".join(f"{', '.join(together)}: {unit}" for unit, together in names.items())


def strengths_in_words(strengths: Mapping[str, float]) -> str:
    """Distortions and their strengths in a few words, "ideal" where there are none."""
    return ", ".join(f"{name} {sigma:g}" for name, sigma in strengths.items()) or "ideal"


def is_path(prior: str) -> bool:
    """Whether a prior is named by the path of its model file, not as one of `available_models`."""
    return prior.endswith(".py") or "/" in prior or "\\" in prior


def model_folders() -> list[Path]:
    """Where model files are looked for: ./models first, then the ones that came with the package."""
    here = Path(__file__).parent
    return [folder for folder in (Path("models"), here / "models", here.parent / "models") if folder.is_dir()]


def available_models() -> dict[str, Path]:
    """Model files by name."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for path in sorted(folder.glob("*.py")):
            if not path.stem.startswith("_"):
                found.setdefault(path.stem, path)
    return found
