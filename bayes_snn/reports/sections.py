"""The sections of a fit's report, in the order in which they are read; here those that are figures."""

from __future__ import annotations

from collections.abc import Callable

from bayes_snn.errors import ChipError
from bayes_snn.estimates.metrics import confusion_matrix
from bayes_snn.names import SAMPLERS
from bayes_snn.reports.chains import FEWEST_RANKED, acceptance, draw_ranks, draw_trace, quantities
from bayes_snn.reports.material import Material
from bayes_snn.reports.network import SHOWN_SAMPLES, draw_spikes, draw_weights
from bayes_snn.reports.page import Html, Sheet, element, gallery, joined, key, missing, paragraph
from bayes_snn.reports.scores import draw_calibration
from bayes_snn.reports.tables import accuracies, by_class, cost, provenance, verdict
from bayes_snn.reports.twin import has_twin, the_chip


def calibration(material: Material, sheet: Sheet) -> Html:
    """Reliability diagrams of the estimates, the ensemble first."""
    part = "train" if material.test is None else "test"
    samples = material.train if material.test is None else material.test
    kind = "training" if material.test is None else "test"
    drawings = [
        draw_calibration(material.predict(part, name), samples[1], name, kind)
        for name in sorted(material.result.estimates, key=lambda name: name != "ensemble")
    ]
    parts: list[object] = [
        paragraph(
            f"Answers on {len(samples[1]):,} {kind} samples, in bins of confidence, the probability of the class "
            "answered. On the dashed line, a chip that is 80% sure is right 80% of the time; below it, it is too sure. "
            "Bars are 90% intervals; the grey columns say where the samples are."
        )
    ]
    if not material.result.chip.spec.deterministic:
        parts.append(paragraph("The chip is noisy and was run afresh: errors differ a little from those of the table."))
    if material.test is None:
        parts.append(missing(f"These are training samples, which flatter. {material.why_no_test}"))
    parts.append(gallery(sheet, drawings, "four"))
    counts = confusion_matrix(material.predict(part, "ensemble"), samples[1])
    return joined([*parts, element(sheet.below, "Class by class"), by_class(material.class_names, counts, kind)])


def traces(material: Material, sheet: Sheet) -> Html:
    """Log-likelihood, acceptance, a prediction and weights against the draw."""
    shown = quantities(material)
    if (accepted := acceptance(material)) is not None:
        shown.insert(1, accepted)
    text = (
        "A trace should look like noise about one level, the same for all chains: a slope means that the warm-up was "
        "too short, levels apart that chains sit in different regions."
    )
    sampler = SAMPLERS.get(str(material.result.arguments.get("sampler")))  # None of one that is not here
    if sampler is not None and sampler.population:
        text = "The particles of a population have no order: a trace shows only their spread."
    parts: list[object] = [paragraph(text), _chain_key(material)]
    if accepted is None:
        parts.append(missing("The sampler does not record its acceptance draw by draw."))
    return joined([*parts, gallery(sheet, map(draw_trace, shown))])


def ranks(material: Material, sheet: Sheet) -> Html:
    """Rank plots of the same quantities."""
    shown = quantities(material)
    n_chains, n_draws = shown[0].values.shape
    if n_chains < 2:
        return missing("Ranks compare chains, and this fit has one: run at least 2, better 4 chains.")
    if n_draws < FEWEST_RANKED:
        return missing(f"Ranks of {n_draws} draws say nothing: at least {FEWEST_RANKED} in each chain are needed.")
    return joined(
        [
            paragraph(
                "All draws of all chains are put in order; each line shows where one chain's draws fall. Chains that "
                "sample the same distribution stay near the dashed line. A line that leans to one side belongs to a "
                "chain that sits higher or lower than the others; one high in the middle, to a chain that moves less."
            ),
            _chain_key(material),
            gallery(sheet, map(draw_ranks, shown)),
        ]
    )


def weights(material: Material, sheet: Sheet) -> Html:
    """Heat maps of every layer."""
    parts: list[object] = []
    if not material.diagnosis.get("weights_converged"):
        parts.append(
            missing(
                "The weights have not mixed. Hidden neurons may have swapped roles between chains, so that a mean over "
                "draws need not be one network: read these maps with care."
            )
        )
    spec = material.result.chip.spec
    for layer, (name, (n_pre, n_post)) in enumerate(zip(spec.weight_names, spec.weight_shapes, strict=True)):
        parts.append(element(sheet.below, f"{name}: {n_pre} by {n_post} weights"))
        parts.append(gallery(sheet, draw_weights(material, layer)))
    return joined(parts)


def spikes(material: Material, sheet: Sheet) -> Html:
    """Rasters of the chip and of the ideal chip."""
    if not callable(getattr(material.result.chip, "spikes", None)):
        return missing(
            f"This chip, a {type(material.result.chip).__name__}, does not show its hidden spikes: a chip that does "
            "has a method spikes(weights, inputs)."
        )
    classes = "class" if len(material.class_names) <= SHOWN_SAMPLES else f"of the first {SHOWN_SAMPLES} classes"
    parts: list[object] = [
        paragraph(
            f"One sample of each {classes}, with the weights of the {material.best_single or 'map'}, on the chip and "
            "on an ideal chip with the same weights. What differs is what the distortion does; training has seen the "
            "chip only, so that the ideal chip may well answer wrong."
        )
    ]
    for heading, drawings in draw_spikes(material):
        parts += [element(sheet.below, heading), gallery(sheet, drawings, "pairs")]
    return joined(parts)


Section = Callable[[Material, Sheet], Html]
CHIP = "chip"  # the section that fits with a twin alone have
SECTIONS: dict[str, tuple[str, Section]] = {
    "verdict": ("Verdict", verdict),
    "accuracies": ("Accuracies", accuracies),
    "calibration": ("Calibration", calibration),
    "traces": ("Traces", traces),
    "ranks": ("Ranks", ranks),
    "weights": ("Weights by layer", weights),
    "spikes": ("Spikes", spikes),
    CHIP: ("The chip", the_chip),
    "cost": ("Cost", cost),
    "provenance": ("Provenance", provenance),
}
RUNS_THE_CHIP = ("calibration", "spikes")


def sections_of(material: Material) -> dict[str, str]:
    """Names and titles of the sections that a fit has, in order."""
    return {name: title for name, (title, _) in SECTIONS.items() if name != CHIP or has_twin(material)}


def write_section(name: str, material: Material, sheet: Sheet) -> Html:
    """The content of a section; a chip that is missing or fails costs the section, not the report."""
    try:
        if name in RUNS_THE_CHIP and not material.has_chip:
            material.result.chip.run([], material.train[0])  # which says what to do
        return SECTIONS[name][1](material, sheet)
    except ChipError as error:
        return missing(str(error))


def _chain_key(material: Material) -> Html:
    return key([f"chain {chain}" for chain in range(min(material.result.posterior["posterior"].sizes["chain"], 12))])
