"""Chips that answer differently each time: how their likelihood is estimated, and what a chain does with the estimate.

A run of such a chip gives spike counts c that depend on its noise. The likelihood is the mean over the noise,

    L(W) = prod_i p(y_i | x_i, W),      p(y | x, W) = E_noise softmax(beta c + b)_y

and R repeated runs estimate each factor by the mean of its R values. Where noise is independent from sample to sample
and from run to run, the product of these means is an unbiased estimate of L(W), for every R. (The mean of R products
would be one as well, of larger variance.) Two kinds of chain use it:

pseudo-marginal     The current point keeps its estimate until a proposal is accepted. As the estimate is unbiased, the
                    target is the posterior under L(W) for every R (Beaumont, Genetics 2003; Andrieu and Roberts, Ann.
                    Stat. 2009). A lucky estimate makes the chain stick.
mcwm                Monte Carlo within Metropolis: the current point is run again at each proposal (O'Neill, Balding,
                    Becker, Eerola, Mollison, Appl. Stat. 2000). It does not stick, but its target is another one, which
                    comes near the posterior as R grows (Medina-Aguayo, Lee, Roberts, Stat. Comput. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.errors import InputError, check_whole, unknown_name
from bayes_snn.names import MCWM as MCWM
from bayes_snn.names import NOISE_KINDS as KINDS
from bayes_snn.names import PSEUDO_MARGINAL as PSEUDO_MARGINAL
from bayes_snn.names import SAMPLERS

REMEASURE = 10  # draws between two re-measurements on a drifting chip
MOST_REPEATS = 10_000


@dataclass(frozen=True)
class NoiseChoice:
    """How chains treat noise: the kind, the runs averaged per evaluation, and the draws between re-measurements.

    `remeasure` is 0 where the current point is not re-measured. `goes_on` is True where all chains run one after the
    other on one chip that drifts; else a simulated chip starts anew with each chain.
    """

    kind: str = PSEUDO_MARGINAL
    repeats: int = 1
    remeasure: int = 0
    goes_on: bool = False

    @property
    def refreshes(self) -> bool:
        """Whether the current point is run again at each proposal."""
        return self.kind == MCWM

    def as_dict(self, spec: ChipSpec) -> dict[str, object]:
        """For a fit's arguments; on a deterministic chip there was no choice, and `noise` is None."""
        kind = None if spec.deterministic else self.kind
        return {"noise": kind, "repeats": self.repeats, "remeasure": self.remeasure}


def choose_noise(
    spec: ChipSpec, sampler: str, noise: str | None = None, repeats: int = 1, remeasure: int | None = None
) -> NoiseChoice:
    """Check what was chosen for a chip and a sampler.

    Parameters
    ----------
    noise
        "pseudo-marginal", which None stands for, or "mcwm".
    repeats
        Runs averaged in each evaluation of the likelihood.
    remeasure
        Draws from one re-measurement of the current point to the next, 0 for none; None for 10 on a drifting chip and
        none on any other.

    Raises
    ------
    InputError
        For a name or a number that cannot be used, and where there is nothing to choose: on a deterministic chip, and
        for `smc`, whose particles must keep their estimates.
    """
    noise = PSEUDO_MARGINAL if noise is None else noise
    if noise not in KINDS:
        raise unknown_name("noise", noise, KINDS)
    check_whole("repeats", repeats, 1, MOST_REPEATS, 10)
    if remeasure is not None:
        check_whole("remeasure", remeasure, 0, 10**7, REMEASURE)
    if spec.deterministic:
        for name, value, default in (
            ("noise", noise, PSEUDO_MARGINAL),
            ("repeats", repeats, 1),
            ("remeasure", remeasure or 0, 0),
        ):
            if value != default:
                raise InputError(
                    f"{name} was {value!r}, but this chip is deterministic and one run says it all: leave {name} out, "
                    "or give the chip a ChipSpec with deterministic=False if its answers vary."
                )
    if SAMPLERS[sampler].population:
        _check_population(sampler, spec, noise, remeasure)
    every = (REMEASURE if spec.drifting else 0) if remeasure is None else int(remeasure)
    return NoiseChoice(noise, int(repeats), every, spec.drifting)


def noise_in_words(arguments: Mapping[str, Any]) -> str:
    """What a fit's arguments say of noise, in words; empty for a deterministic chip, and for fits that do not say."""
    kind = arguments.get("noise")
    if kind not in KINDS:
        return ""
    keeps = "is run again at each proposal" if kind == MCWM else "keeps its estimate"
    repeats, every = arguments.get("repeats", 1), arguments.get("remeasure", 0)
    runs = "one run" if repeats == 1 else f"the mean of {repeats:,} runs"
    watched = f", and is measured anew every {every:,} draws" if every else ""
    return f"{kind}, {runs} for each evaluation; the current point {keeps}{watched}"


def _check_population(sampler: str, spec: ChipSpec, noise: str, remeasure: int | None) -> None:
    instead = "take another sampler, for example 'sitewise'"
    if noise == MCWM:
        raise InputError(
            f"Sampler {sampler!r} came with noise='mcwm', but its particles are weighted by estimates that must stay: "
            f"{instead}, or noise='pseudo-marginal'."
        )
    if remeasure:
        raise InputError(
            f"Sampler {sampler!r} came with remeasure={remeasure}, but a population has no current point to re-measure:"
            f" {instead}, or remeasure=0."
        )
    if spec.drifting and remeasure is None:
        raise InputError(
            f"Sampler {sampler!r} came with a drifting chip, but it compares particles that were run long ago: "
            f"{instead}, or say remeasure=0 to have it all the same."
        )
