"""The names and numbers that the commands list: known without NumPy, PyMC or Numba, so that `--help` comes at once."""

from __future__ import annotations

from pathlib import Path

BUILT_IN = ("breast_cancer", "digits", "iris", "wine")  # data sets

DISTORTIONS: dict[str, str] = {
    "comparator": "the comparator sees v + sigma g(v); sigma in units of the threshold",
    "current": "the neuron receives I + sigma g(I); sigma in units of the threshold",
    "threshold": "theta becomes theta exp(sigma e) in each neuron",
    "leak": "tau_m becomes tau_m exp(sigma e) in each neuron",
    "gain": "w becomes w exp(sigma e) in each synapse",
    "stuck": "a fraction sigma of the synapses is stuck at zero",
    "silent": "a fraction sigma of the neurons never spikes",
    "quantisation": "weights are rounded to sigma bits (a whole number from 2 to 16)",
    "noise": "v gets sigma sqrt(1 - alpha^2) xi at each step, fresh at every run; sigma in units of the threshold",
    "drift": "theta becomes theta exp(sigma B) in each neuron, B a random walk from run to run; sigma per 1,000 runs",
}
IDEAL = "none"  # the distortion of a chip without any

SAMPLERS = ("sitewise", "block", "pcn", "pymc", "demetropolis", "smc")
DRAWS, TUNE, CHAINS = 1000, 1000, 4
PSEUDO_MARGINAL, MCWM = "pseudo-marginal", "mcwm"
NOISE_KINDS = (PSEUDO_MARGINAL, MCWM)

BACKPROP = ("backprop-offline", "backprop-outputs", "backprop-spikes", "backprop-noise-aware")
METHODS = ("mh", *BACKPROP, "logistic")  # of a sweep

CHECKPOINT = "checkpoint"  # folder in a fit folder, while the fit runs and after it was stopped
REPORT = "report.html"  # the file of a report

TOKEN = "BAYES_SNN_TOKEN"  # environment variable with the token of a server
MAX_BYTES = 64 * 2**20  # of a message, by default


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
