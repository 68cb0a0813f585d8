"""The building blocks of a report: text that is escaped, tables that scroll by themselves, figures as inline SVG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from bayes_snn.reports.style import CSS

WIDTH = 3.7  # inches of a figure: what a phone shows without shrinking the labels much
# Colours of the figures stand in for CSS variables: one drawing serves light, dark and print.
INK, FAINT = "#010203", "#040506"
LINES = ("#a10001", "#a10002", "#a10003", "#a10004", "#a10005", "#a10006")
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)"} | {
    colour: f"var(--line-{number})" for number, colour in enumerate(LINES, 1)
}
_SALT = "report"  # ids of an SVG are a hash with it: the same figure gives the same bytes
_STYLE: Any = {
    "svg.hashsalt": _SALT,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a feature may be called $x
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify": False,
}


class Html(str):
    """Markup that is right as it is; any other string is text and gets escaped."""


def markup(part: object) -> Html:
    """Text, escaped, or markup as it is."""
    return part if isinstance(part, Html) else Html(escape(printable(str(part)), quote=True))


def element(name: str, *parts: object, **attributes: object) -> Html:
    """An element with its content; `class_` is the attribute class, and a None leaves an attribute away."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{markup(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{''.join(markup(part) for part in parts)}</{name}>")


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("\n".join(markup(part) for part in parts))


def paragraph(*parts: object, class_: str | None = None) -> Html:
    return element("p", *parts, class_=class_)


def missing(sentence: object) -> Html:
    """What is not in the report, and why."""
    return paragraph(sentence, class_="missing")


def table(
    caption: object,
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    apart: Sequence[int] = (),
    class_: str | None = None,
) -> Html:
    """A table of figures, aligned right; the first column names the rows, and a line stands before rows of `apart`."""
    head = element("tr", *(element("th", part, scope="col") for part in header))
    body = [
        element(
            "tr",
            *(element("th", part, scope="row") if i == 0 else element("td", part) for i, part in enumerate(row)),
            class_="apart" if number in apart else None,
        )
        for number, row in enumerate(rows)
    ]
    parts = (_caption(caption), element("thead", head), element("tbody", joined(body)))
    return _wide(element("table", *parts, class_=class_), caption)


def pairs(caption: object, rows: Iterable[tuple[object, object]]) -> Html:
    """A table of names and what belongs to them."""
    body = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    content = (_caption(caption), element("tbody", joined(body)))
    return _wide(element("table", *content, class_="pairs"), caption)


def _wide(content: Html, caption: object) -> Html:
    # whoever has no mouse scrolls what has the focus
    return element("div", content, class_="wide", tabindex="0", role="region", aria_label=caption)


def _caption(content: object) -> Html:
    return element("caption", element("span", content))  # the span stays in sight when the table scrolls


def plot(width: float, height: float, draw: Callable[[Any], None]) -> str:
    """Draw on the axes of a figure of `width` x `height` inches: a bare <svg>."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has its own fonts
        chart = Figure(figsize=(width, height), layout="constrained")
        draw(chart.subplots())
        stream = io.StringIO()
        chart.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


class Sheet:
    """What the parts of one page share: the level of a section's heading, and the number of figures so far.

    The ids within one SVG carry its number, so that they never are those of another.
    """

    def __init__(self, level: int = 2) -> None:
        self.level = level
        self._count = 0

    @property
    def below(self) -> str:
        """The heading within a section."""
        return f"h{self.level + 1}"

    def figure(self, svg: str, alternative: str, caption: str) -> Html:
        """A figure of a bare <svg>; `alternative` says what is seen to whom cannot see it.

        A caption is a name, or a name, a colon and more.
        """
        self._count += 1
        start, rest = svg.split(">", 1)
        [box] = re.findall(r'viewBox="([^"]*)"', start)
        used = set(re.findall(r'(?:url\(#|href="#)([\w.-]+)', rest))
        rest = re.sub(r' id="([\w.-]*)"', lambda found: found[0] if found[1] in used else "", rest)
        rest = re.sub(r'(id="|url\(#|href="#)([\w.-]+)', rf"\g<1>f{self._count}-\g<2>", rest)
        rest = rest.replace("xlink:href", "href")
        # a family of its own would keep the page's from the labels
        rest = re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;\"]*", r"font-size: \2", rest)
        for colour, variable in _VARIABLES.items():
            rest = rest.replace(colour, variable)
        head = f'<svg viewBox="{box}" role="img" aria-label="{markup(alternative)}">'
        name, _, rest_of_caption = str(caption).partition(": ")
        said = element("figcaption", element("b", name), f": {rest_of_caption}" if rest_of_caption else "")
        return element("figure", said, Html(head + rest.strip()))


def key(names: Sequence[object]) -> Html:
    """The colours of the lines of the figures that follow."""
    items = (
        element("li", element("i", style=f"border-color: var(--line-{1 + i % len(LINES)})"), name)
        for i, name in enumerate(names)
    )
    return element("ul", *items, class_="key")


def page(title: str, body: Html) -> str:
    """The whole document, which loads nothing."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{markup(title)}</title>\n<link rel="icon" href="data:,">\n<style>{CSS}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def short(text: object, most: int) -> str:
    """Text that a figure has room for."""
    whole = printable(str(text))
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def printable(text: str) -> str:
    """Text without control characters and lone surrogates, which no encoding and no browser takes."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


class Drawing(NamedTuple):
    svg: str
    alternative: str
    caption: str


def gallery(sheet: Sheet, drawings: Iterable[Drawing], kind: str = "") -> Html:
    """Figures beside each other, as many as the page is wide."""
    return element("div", joined(sheet.figure(*drawing) for drawing in drawings), class_=f"figures {kind}".strip())
