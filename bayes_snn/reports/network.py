"""The figures of a report that look into the network: weights as heat maps, spikes as rasters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ask_spikes
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.neuron import TAU_M
from bayes_snn.reports.material import Material
from bayes_snn.reports.page import FAINT, INK, LINES, WIDTH, Drawing, plot, short

SHOWN_SAMPLES = 3
_LONGEST = 24  # letters of a name
_MOST_LABELS = 40  # names beside a heat map
_MOST_NEURONS = 64  # of a layer in a raster
_MOST_COUNTS = 4  # in a caption
_MOST_CLASSES = 12  # with names beside a raster
_OUTPUT_PITCH = 2.4  # height of an output neuron, in hidden ones: it has a name

Array = NDArray[np.float64]


def draw_weights(material: Material, layer: int) -> list[Drawing]:
    """Posterior mean, standard deviation and |mean| / sd of the weights of a layer, counted from 0."""
    spec = material.result.chip.spec
    name, dims = spec.weight_names[layer], spec.weight_dims[layer]
    array = material.result.posterior[f"posterior/{name}"].transpose("chain", "draw", *dims)
    values = array.values.reshape(-1, *array.shape[2:])
    pre, post = _names(array, dims[0]), _names(array, dims[1])
    sides = (_side(layer, len(spec.layers)), _side(layer + 1, len(spec.layers)))
    mean = values.mean(axis=0)
    i, j = np.unravel_index(int(np.abs(mean).argmax()), mean.shape)
    reach = float(np.abs(mean).max()) or 1.0
    drawings = [
        Drawing(
            _heat_map(mean, (pre, post), sides, "RdBu_r", (-reach, reach)),
            f"Heat map of the posterior mean of {name}, {len(pre)} by {len(post)} weights, from {mean.min():.2f} to "
            f"{mean.max():.2f}; the largest in size is {mean[i, j]:.2f}, from {pre[i]} to {post[j]}.",
            "posterior mean: red excites, blue inhibits.",
        )
    ]
    if len(values) < 2:
        return drawings
    sd = values.std(axis=0, ddof=1)
    signal = np.divide(np.abs(mean), sd, out=np.full_like(mean, np.nan), where=sd > 0)
    clear = int((signal > 2).sum())
    i, j = np.unravel_index(int(sd.argmin()), sd.shape)
    drawings.append(
        Drawing(
            _heat_map(sd, (pre, post), sides, "viridis", (0.0, float(sd.max()) or 1.0)),
            f"Heat map of the posterior standard deviation of {name}, from {sd.min():.2f} to {sd.max():.2f}, median "
            f"{np.median(sd):.2f}; the best known weight leads from {pre[i]} to {post[j]}.",
            "posterior standard deviation: the darker, the better known.",
        )
    )
    top = float(np.nanmax(signal)) if np.isfinite(signal).any() else 0.0
    drawings.append(
        Drawing(
            _heat_map(signal, (pre, post), sides, "viridis", (0.0, max(top, 2.0))),
            f"Heat map of |mean| over standard deviation of {name}: {clear} of {signal.size} weights are more than 2 "
            f"standard deviations from 0; the largest ratio is {top:.1f}.",
            f"|mean| / sd: above 2 in {clear} of {signal.size} weights.",
        )
    )
    return drawings


def draw_spikes(material: Material) -> Iterator[tuple[str, list[Drawing]]]:
    """Of a sample of each class, a few at most: a heading, and rasters of the chip and of the ideal chip.

    Both run the same weights. The chip must offer `spikes`.
    """
    result: Any = material.result
    chip, spec, classes = result.chip, result.chip.spec, material.class_names
    part = "training" if material.test is None else "test"
    inputs, labels = material.train if material.test is None else material.test
    chosen = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:SHOWN_SAMPLES]]
    weights = result.weights(material.best_single or "map")
    tau_m = float(getattr(chip, "tau_m", TAU_M))
    ideal = LIFChip(spec.layers, n_steps=spec.n_steps, tau_m=tau_m, weight_range=spec.weight_range)
    shown = inputs[chosen]
    fired = {"chip": ask_spikes(result.asked, weights, shown), "ideal chip": ideal.spikes(weights, shown)}
    for place, sample in enumerate(chosen):
        drawings = []
        for name, layers in fired.items():
            trains = [np.asarray(layer[place], dtype=bool) for layer in layers]
            counts = trains[-1].sum(axis=0)
            winners = [classes[k] for k in np.flatnonzero(counts == counts.max())]
            answer = winners[0] if len(winners) == 1 else "a tie"
            out = ", ".join(f"{label}: {count}" for label, count in zip(classes, counts, strict=True))
            seen = out if len(classes) <= _MOST_COUNTS else f"{counts.max()} at most"
            drawings.append(
                Drawing(
                    _raster(trains, classes),
                    f"Spike raster of {part} sample {sample} on the {name}: "
                    f"{sum(int(train.sum()) for train in trains[:-1])} hidden spikes; output spikes: {out}.",
                    f"{name}: answers {answer}; output spikes {seen}.",
                )
            )
        yield f"{part.capitalize()} sample {sample}, class {classes[int(labels[sample])]}", drawings


def _raster(trains: list[NDArray[np.bool_]], classes: list[str]) -> str:
    """Spikes, (n_steps, n_neurons) of each layer, from the first layer at the bottom to the output at the top."""
    shown = [train[:, :_MOST_NEURONS] for train in trains]
    pitches = [*(1.0 for _ in shown[:-1]), _OUTPUT_PITCH]
    heights = [train.shape[1] * pitch for train, pitch in zip(shown, pitches, strict=True)]
    starts = np.cumsum([0.0, *(height + 1 for height in heights)])

    def draw(axes: Any) -> None:
        ticks: list[float] = []
        names: list[str] = []
        for layer, (train, pitch, start) in enumerate(zip(shown, pitches, starts, strict=False)):
            steps, neurons = np.nonzero(train)
            low, gap = start + (neurons + 0.14) * pitch, np.full(len(steps), np.nan)
            # one path for all spikes of a layer: an element for each would make a page of megabytes
            x, y = np.stack([steps, steps, gap], 1), np.stack([low, low + 0.72 * pitch, gap], 1)
            last = layer == len(shown) - 1
            axes.plot(x.ravel(), y.ravel(), color=LINES[1] if last else INK, lw=1.6 if last else 1.1)
            if last and train.shape[1] == len(classes) <= _MOST_CLASSES:
                ticks += [start + (k + 0.5) * pitch for k in range(len(classes))]
                names += [short(label, 16) for label in classes]
            else:
                ticks.append(start + heights[layer] / 2)
                names.append("output" if last else "hidden" if len(shown) == 2 else f"hidden {layer + 1}")
            if not last:
                axes.axhline(start + heights[layer] + 0.5, color=FAINT, lw=0.7)
        axes.set_yticks(ticks, names)
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(-1, len(shown[0])), ylim=(-0.5, starts[-1] - 0.5), xlabel="step")

    return plot(WIDTH, min(5.0, 0.8 + 0.075 * float(starts[-1])), draw)


def _heat_map(
    values: Array,
    names: tuple[list[str], list[str]],
    sides: tuple[str, str],
    colours: str,
    limits: tuple[float, float],
) -> str:
    def draw(axes: Any) -> None:
        image = axes.imshow(
            values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="none", origin="upper"
        )
        axes.figure.colorbar(image, ax=axes, shrink=0.9, aspect=25).outline.set_visible(False)
        step = -(-len(names[0]) // _MOST_LABELS)
        axes.set_yticks(range(0, len(names[0]), step), [short(name, _LONGEST) for name in names[0][::step]], fontsize=7)
        longest = max(len(short(name, _LONGEST)) for name in names[1])
        step = -(-len(names[1]) // {1: 16, 2: 11, 3: 8, 4: 6}.get(longest, 16))
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if longest > 4 and len(names[1]) > 2 else {}
        axes.set_xticks(
            range(0, len(names[1]), step), [short(name, _LONGEST) for name in names[1][::step]], fontsize=7, **turned
        )
        axes.set(ylabel=sides[0], xlabel=sides[1])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)

    return plot(WIDTH, min(5.6, 1.15 + 0.135 * max(6, len(names[0]))), draw)


def _side(layer: int, n_layers: int) -> str:
    if layer == 0:
        return "input"
    if layer == n_layers - 1:
        return "output neuron"
    return "hidden neuron" if n_layers == 3 else f"neuron of layer {layer}"


def _names(array: Any, dim: str) -> list[str]:
    return [str(name) for name in (array.coords[dim].values if dim in array.coords else range(array.sizes[dim]))]
