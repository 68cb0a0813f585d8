"""How a posterior is sampled: what `fit`, its command, the estimator, cells of a study and checkpoints agree on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from bayes_snn.chips.contract import Chip, ChipSpec
from bayes_snn.errors import InputError, check_whole, unknown_name
from bayes_snn.names import AUTO, CHAINS, DRAWS, PSEUDO_MARGINAL, SAMPLERS, TUNE, TWIN_TUNE
from bayes_snn.posterior.noisy import NoiseChoice, choose_noise

CONVERGED = "converged"  # of `until`
MOST_DRAWS = 10_000  # of a chain that ends by itself, where nothing else is said
PASSES = 250  # of the training set that a fit with a twin may show to the chip where nothing else is said
LEAST_BUDGET = 100_000  # presentations, by default
LONG_CHAIN = 100  # draws that each chain should have before there are more chains
FEWEST_CHAINS = 2  # fewer cannot be compared


@dataclass(frozen=True)
class Sampling:
    """The arguments of `fit` that say how to sample; see there. An `InputError` says which cannot be used."""

    sampler: str = AUTO
    draws: int | None = None
    tune: int | None = None
    chains: int | None = None
    seed: int = 0
    cores: int | None = None
    noise: str | None = PSEUDO_MARGINAL
    repeats: int = 1
    remeasure: int | None = None
    budget: int | None = None
    until: str | int | None = None

    def __post_init__(self) -> None:
        if self.sampler not in (AUTO, *SAMPLERS):
            raise unknown_name("sampler", self.sampler, (AUTO, *SAMPLERS))
        population = self.sampler != AUTO and SAMPLERS[self.sampler].population
        least_draws = 2 if population else 1  # of one particle nothing can be learned
        if self.budget is not None and not self.may_use_twin:
            raise InputError(
                f"A budget came with sampler {self.sampler!r}, which shows the chip what its draws take: leave it out, "
                "or take sampler 'twin'."
            )
        if self.until is not None and population:
            raise InputError(
                f"Sampler {self.sampler!r} draws a population, which does not end by itself (until): leave until out, "
                "or take sampler 'twin' or 'sitewise'."
            )
        if self.until is not None and self.until != CONVERGED:
            whole = isinstance(self.until, int | np.integer) and not isinstance(self.until, bool)
            if not whole or not 0 < int(self.until) < 10**7:
                raise InputError(
                    f"until was {self.until!r:.60}, but {CONVERGED!r} or a number of effective draws is expected: "
                    "leave it out for as many draws as were asked for."
                )
            object.__setattr__(self, "until", int(self.until))
        for name, least, most, example in (
            ("draws", least_draws, 10**7, DRAWS),
            ("tune", 0, 10**7, TUNE),
            ("chains", 1, 256, CHAINS),  # each is a process
            ("seed", 0, None, 0),
            ("cores", 1, None, 1),
            ("budget", 1, 10**15, 100_000),
        ):
            if getattr(self, name) is not None or name not in ("cores", "draws", "tune", "chains", "budget"):
                check_whole(name, getattr(self, name), least, most, example)
                object.__setattr__(self, name, int(getattr(self, name)))

    def with_chains(self, n_samples: int) -> Sampling:
        """With a number of chains where it was left open: as many as can be long, at a given number of samples.

        R-hat and ESS compare halves of chains. A few long chains tell more than many short ones, and warm up less.
        """
        if self.chains is not None:
            return self
        chains = self.n_chains
        if self.may_use_twin and (self.draws is None or self.budget is not None):
            looks = self.limit(n_samples) // (n_samples * self.repeats)
            chains = min(max(looks // LONG_CHAIN, FEWEST_CHAINS), CHAINS)
        return replace(self, chains=chains)

    @property
    def n_chains(self) -> int:
        """Chains, by default where they were left open."""
        return CHAINS if self.chains is None else self.chains

    def limit(self, n_samples: int) -> int:
        """Presentations that a fit with a twin may show the chip."""
        return max(LEAST_BUDGET, PASSES * n_samples) if self.budget is None else self.budget

    @property
    def may_use_twin(self) -> bool:
        """Whether a twin is sampled, or may be."""
        return self.sampler == AUTO or SAMPLERS[self.sampler].twin

    @property
    def sizes(self) -> tuple[int, int]:
        """Kept draws and warm-up draws of each chain, by default where they were left open."""
        default = TWIN_TUNE if self.may_use_twin else TUNE
        most = DRAWS if self.until is None else MOST_DRAWS
        return most if self.draws is None else self.draws, default if self.tune is None else self.tune

    @classmethod
    def stored(cls, arguments: Mapping[str, Any], cores: int | None = None) -> Sampling:
        """That of a fit or a checkpoint, from its arguments; `cores` decide about no draw and are not stored."""
        names = {field.name for field in fields(cls)} - {"cores"}
        return cls(**{name: value for name, value in arguments.items() if name in names}, cores=cores)

    def noise_on(self, spec: ChipSpec) -> NoiseChoice:
        """How chains treat the noise of a chip, or an `InputError` where there is nothing to choose."""
        sampler = "twin" if self.sampler == AUTO else self.sampler
        return choose_noise(spec, sampler, self.noise, self.repeats, self.remeasure)

    def cores_on(self, chip: Chip) -> int:
        """Chains that run at once."""
        if chip.spec.drifting:
            if self.cores not in (None, 1):
                raise InputError(
                    f"cores was {self.cores}, but this chip drifts and copies of it would drift apart: leave cores "
                    "out, and its chains run one after the other on the one chip."
                )
            return 1
        if self.cores is not None:
            return self.cores
        return min(self.n_chains, os.cpu_count() or 1) if getattr(chip, "copyable", False) else 1

    def as_arguments(self, noise: Mapping[str, Any]) -> dict[str, Any]:
        """What `fit.json` and a checkpoint hold, all that decides about draws: with `NoiseChoice.as_dict` of a chip."""
        named = {name: getattr(self, name) for name in ("sampler", "draws", "tune", "chains", "seed")}
        named["draws"], named["tune"] = self.sizes
        named |= {name: value for name in ("budget", "until") if (value := getattr(self, name)) is not None}
        return named | dict(noise)

    def keywords(self) -> dict[str, Any]:
        """The same as keyword arguments of `fit`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
