"""The figures of a report on scores and chains: accuracies, calibration, traces and ranks.

Each function returns drawings: a bare <svg>, what it shows in words and numbers, and a caption.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bayes_snn.reports.material import Material
from bayes_snn.reports.page import INK, LINES, WIDTH, Drawing, plot, short

_MOST_POINTS = 500  # of a chain in a trace, which is about a point for each pixel
_MOST_RANKED = 20  # bins of a rank plot
FEWEST_RANKED = 20  # draws of a chain, below which its ranks say nothing
_DASHES = ("-", "--", ":", "-.")

Array = NDArray[np.float64]


class Quantity(NamedTuple):
    """Something that has a value at every draw, (n_chains, n_draws)."""

    name: str
    values: Array
    unit: str = ""


def quantities(material: Material) -> list[Quantity]:
    """The log-likelihood, the prediction that has mixed least, and of each layer that weight and the median one."""
    tree = material.result.posterior
    terms = np.asarray(tree["log_likelihood/label"].transpose("chain", "draw", ...).values, dtype=np.float64)
    terms = terms.reshape(*terms.shape[:2], -1)
    predicted = np.exp(terms)
    sample = int(np.argmax(disagreement(predicted)))
    found = [
        Quantity("log-likelihood", terms.sum(axis=2), "nats"),
        Quantity(
            f"least mixed prediction: the class of training sample {sample}", predicted[:, :, sample], "probability"
        ),
    ]
    for name, dims in zip(material.result.chip.spec.weight_names, material.result.chip.spec.weight_dims, strict=True):
        array = tree[f"posterior/{name}"].transpose("chain", "draw", *dims)
        values = array.values.reshape(*array.shape[:2], -1)
        order = np.argsort(disagreement(values), kind="stable")
        for what, place in (("least mixed", order[-1]), ("median", order[len(order) // 2])):
            pre, post = (int(i) for i in np.unravel_index(place, array.shape[2:]))
            label = f"{_label(array, dims[0], pre)} → {_label(array, dims[1], post)}"
            found.append(Quantity(f"{what} weight of {name}: {label}", values[:, :, place], "weight"))
    return found


def acceptance(material: Material) -> Quantity | None:
    """Share of proposals accepted at each draw, where the sampler says it draw by draw."""
    tree = material.result.posterior
    if "sample_stats" not in tree.children or "accept" not in tree["sample_stats"]:
        return None
    accept: Any = tree["sample_stats/accept"]
    if not {"chain", "draw"} <= set(accept.dims):
        return None
    mean = accept.mean([dim for dim in accept.dims if dim not in ("chain", "draw")])
    return Quantity("acceptance", np.asarray(mean.transpose("chain", "draw").values, dtype=np.float64))


def disagreement(values: Array) -> Array:
    """How far halves of chains (n_chains, n_draws, n) lie apart, in their own variance: (n,), as split R-hat orders."""
    half = values.shape[1] // 2
    if half < 2:
        return np.asarray(values.std(axis=(0, 1)))
    halves = np.concatenate([values[:, :half], values[:, -half:]])
    within = halves.var(axis=1).mean(axis=0)
    between = halves.mean(axis=1).var(axis=0)
    return np.asarray(np.divide(between, within, out=np.where(between > 0, np.inf, 0.0), where=within > 0))


def draw_trace(quantity: Quantity) -> Drawing:
    """A quantity against the draw, a line for each chain."""
    n_chains, n_draws = quantity.values.shape

    def draw(axes: Any) -> None:
        for chain, values in enumerate(quantity.values):
            axes.plot(*thinned(values), **line_of(chain), lw=0.8)
        axes.set(xlabel="draw", ylabel=quantity.unit)
        axes.margins(x=0.01)

    means = quantity.values[:, n_draws // 2 :].mean(axis=1)
    return Drawing(
        plot(WIDTH, 2.1, draw),
        f"Trace of {quantity.name}: {_n(n_chains, 'chain')} of {_n(n_draws, 'draw')}; means of the second half: "
        f"{_listed(means)}; all values from {quantity.values.min():.3g} to {quantity.values.max():.3g}.",
        quantity.name,
    )


def draw_ranks(quantity: Quantity) -> Drawing:
    """Ranks of each chain's draws among those of all chains: their share in each bin, 1 when chains agree."""
    shares = rank_shares(quantity.values)

    def draw(axes: Any) -> None:
        edges = np.linspace(0, 1, shares.shape[1] + 1)
        axes.axhline(1, color=INK, lw=0.8, ls="--")
        for chain, share in enumerate(shares):
            axes.stairs(share, edges, baseline=None, **line_of(chain), lw=1.2)
        axes.set(xlim=(0, 1), xlabel="rank among all draws", ylabel="share (1: even)")
        axes.set_ylim(0, max(2.0, 1.05 * shares.max()))

    chain, place = np.unravel_index(int(np.argmax(np.abs(shares - 1))), shares.shape)
    return Drawing(
        plot(WIDTH, 2.1, draw),
        f"Rank plot of {quantity.name}: {_n(len(shares), 'chain')}; even would be 1 in each of {shares.shape[1]} bins. "
        f"Shares run from {shares.min():.2f} to {shares.max():.2f}; the furthest from even is chain {chain}, "
        f"{shares[chain, place]:.2f} in bin {place + 1}.",
        quantity.name,
    )


def rank_shares(values: Array) -> Array:
    """(n_chains, n_bins) of values (n_chains, n_draws): draws of a chain in a bin of ranks, over an even share."""
    n_chains, n_draws = values.shape
    n_bins = max(2, min(_MOST_RANKED, n_draws // 5))
    # spike counts make ties, which must not pile up in one bin: they are broken at random, the same way each time
    order = np.random.default_rng(0).permutation(values.size)
    ranks = np.empty(values.size, np.int64)
    ranks[order] = rankdata(values.ravel()[order], method="ordinal") - 1
    bins = ranks.reshape(values.shape) * n_bins // values.size
    even = np.bincount(np.arange(values.size) * n_bins // values.size, minlength=n_bins) / n_chains
    return np.stack([np.bincount(row, minlength=n_bins) / even for row in bins])


def thinned(values: Array) -> tuple[NDArray[np.int64], Array]:
    """Draws and values to plot: all, or of every stretch the lowest and the highest, so that no excursion is lost."""
    if len(values) <= _MOST_POINTS:
        return np.arange(len(values)), values
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(values)), _MOST_POINTS // 2):
        low, high = stretch[np.argmin(values[stretch])], stretch[np.argmax(values[stretch])]
        kept.extend(sorted({int(low), int(high)}))
    return np.array(kept), values[kept]


def line_of(chain: int) -> dict[str, str]:
    """Colour and dashes of a chain's line."""
    return {"color": LINES[chain % len(LINES)], "ls": _DASHES[chain // len(LINES) % len(_DASHES)]}


def _label(array: Any, dim: str, place: int) -> str:
    return short(str(array.coords[dim].values[place]) if dim in array.coords else str(place), 24)


def _n(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _listed(values: Array) -> str:
    if len(values) > 8:
        return f"{values.min():.3g} to {values.max():.3g}"
    return ", ".join(f"{value:.3g}" for value in values)
