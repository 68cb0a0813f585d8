"""`write_report()`: a fit, or several, as one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bayes_snn.chips.contract import FloatArray, IntArray
from bayes_snn.errors import InputError
from bayes_snn.files import make_folder, write_then_rename
from bayes_snn.inference.fit_summary import readout_in_words
from bayes_snn.inference.result import FitResult
from bayes_snn.names import REPORT as FILE
from bayes_snn.names import strengths_in_words
from bayes_snn.reports.comparison import comparison
from bayes_snn.reports.material import Material, gather
from bayes_snn.reports.page import Html, Sheet, element, joined, page, paragraph
from bayes_snn.reports.sections import sections_of, write_section

Fit = FitResult | str | Path


def write_report(
    fits: Fit | Sequence[Fit],
    path: str | Path = FILE,
    *,
    test: tuple[FloatArray, IntArray] | None = None,
    chip: str | None = None,
    progress: Callable[[str, float], Any] | None = None,
) -> Path:
    """Write fits as one HTML file that loads nothing else.

    Parameters
    ----------
    fits
        A fit folder or a result, or several: then a table compares them. Of a chip that is not a `LIFChip`, pass
        `load_fit(folder, chip=chip)`; a folder alone gives a report without calibration and spikes.
    path
        The file; an old one is replaced when the new one is complete.
    test
        (n_samples, n_in) inputs and (n_samples,) labels that no fit was trained on. By default they are split again
        from the data set that the fit names.
    chip
        "module:name", or the address of a server, of the chip of folders whose chip was not simulated.
    progress
        Called with what is under way and the share that is done, from 0 to 1.

    Returns
    -------
    The path. The chip is run to predict: some hundred passes of the training and of the test samples.

    Raises
    ------
    InputError
        When there is no fit, one cannot be read, `test` does not fit the chip, or the file cannot be written.
    """
    path = Path(path)
    given = [fits] if isinstance(fits, FitResult | str | Path) else list(fits)
    if not given:
        raise InputError("There was no fit, but at least one is expected: pass a fit folder or a FitResult.")
    if path.is_dir():
        raise InputError(f"{path} is a folder, but the name of a file is expected: give {path / FILE}.")
    folder = make_folder(path.parent)  # its faults are reported before the work
    text = render(given, test=test, chip=chip, progress=progress)
    write_then_rename(folder / path.name, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def render(
    fits: Sequence[Fit],
    *,
    test: tuple[FloatArray, IntArray] | None = None,
    chip: str | None = None,
    progress: Callable[[str, float], Any] | None = None,
) -> str:
    """The report as text; see `write_report`."""
    tell = progress or (lambda what, share: None)
    tell("reading", 0.0)
    materials = _named_apart([gather(fit, test, chip) for fit in fits])
    several = len(materials) > 1
    sheet = Sheet(level=3 if several else 2)
    n_parts, done = sum(len(sections_of(material)) for material in materials) + several, 0
    parts: list[object] = []
    if several:
        tell("comparison", 0.0)
        sheet.level = 2
        parts += [element("h2", "Comparison", id="comparison"), comparison(materials, sheet)]
        sheet.level, done = 3, 1
    for number, material in enumerate(materials, 1):
        prefix = f"fit-{number}-" if several else ""
        sections = []
        for name, title in sections_of(material).items():
            tell(f"{material.name}: {title.lower()}" if several else title.lower(), done / n_parts)
            heading = element(f"h{sheet.level}", title, id=f"{prefix}{name}")
            sections.append(element("section", heading, write_section(name, material, sheet), class_="part"))
            done += 1
        if several:
            head = [element("h2", material.name, id=f"fit-{number}"), paragraph(_summary(material), class_="lead")]
            links = _contents(material, prefix, material.name)
            parts.append(element("article", *head, links, joined(sections), class_="fit"))
        else:
            parts.append(joined(sections))
    tell("done", 1.0)
    title = f"{len(materials)} fits" if several else f"Fit {materials[0].name}"
    lead = ", ".join(m.name for m in materials) if several else _summary(materials[0])
    fits_in_order = [("comparison", "Comparison"), *((f"fit-{i}", m.name) for i, m in enumerate(materials, 1))]
    contents = _links(fits_in_order, "Fits") if several else _contents(materials[0], "", "Sections")
    header = element("header", element("h1", title), paragraph(lead, class_="lead"), contents)
    return page(f"{title} - bayes_snn report", joined([header, element("main", joined(parts))]))


def _named_apart(materials: list[Material]) -> list[Material]:
    """Fits whose folders have the same name get a number."""
    names = [material.name for material in materials]
    taken: set[str] = set()
    for material, name in zip(materials, names, strict=True):
        number = 1
        while material.name in taken or (names.count(name) > 1 and number == 1):
            material.name, number = f"{name} ({number})", number + 1
        taken.add(material.name)
    return materials


def _summary(material: Material) -> str:
    """What was fitted, in a line."""
    described, arguments = material.stored.get("chip", {}), material.result.arguments
    layers = "-".join(str(n) for n in material.result.chip.spec.layers)
    distortions = described.get("distortions") or {}
    chip = f"{described.get('class', 'chip')} {layers}"
    chip += f", {strengths_in_words(distortions)}" if distortions else ""
    sizes = material.result.posterior["posterior"].sizes
    data = f"{arguments['data']}, " if arguments.get("data") else ""
    readout = f", readout: {words}," if (words := readout_in_words(material.result)) else ""
    return (
        f"{data}{len(material.train[1]):,} training samples; {chip}; prior {arguments.get('model')}{readout}, sampler "
        f"{arguments.get('sampler')}, {sizes['chain']} chains of {sizes['draw']:,} draws."
    )


def _contents(material: Material, prefix: str, label: str) -> Html:
    return _links([(f"{prefix}{name}", title) for name, title in sections_of(material).items()], label)


def _links(links: Sequence[tuple[str, str]], label: str) -> Html:
    items = (element("li", element("a", title, href=f"#{name}")) for name, title in links)
    return element("nav", element("ul", joined(items)), aria_label=label)
