"""Pages of the documentation, and the code on them.

Python on a page stands in fenced blocks. They are run one after the other in one namespace, as a reader would type
them, and exactly as they stand. What would take minutes is made short by `short_fits`, not by another text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bayes_snn.inference import fit as fitting
from bayes_snn.names import AUTO

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
DRAWS = 15  # at most, kept and warm-up, of a chain on a page


def text_of(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


def fences(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def python_on(name: str) -> list[str]:
    """The Python blocks of a page."""
    return [content for language, content in fences(text_of(name)) if language == "python"]


def indented_lines(text: str) -> list[str]:
    """Lines of the indented blocks of a page: commands and equations."""
    return re.findall(r"^ {4}(.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def spans(text: str) -> list[str]:
    """Code spans of a page, outside its blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def run_blocks(name: str, blocks: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """Run blocks of a page, with the names that are given: all names after it."""
    namespace = {"__name__": "__main__", **given}
    for block in blocks:
        exec(compile(block, name, "exec", dont_inherit=True), namespace)
    return namespace


def short_fits(monkeypatch: Any) -> None:
    """Make every fit a short one: at most DRAWS draws in 2 chains, and no twin that is not asked for.

    It changes how `fit` reads its arguments, wherever it is called from. The sampler "auto" is then "sitewise", unless
    a budget says that the fit has a twin: learning one for each of four fits would take minutes.
    """
    sampling = fitting.Sampling

    def short(*args: Any, **kwargs: Any) -> Any:
        asked = sampling(*args, **kwargs)
        if asked.sampler == AUTO and asked.budget is None:
            asked = replace(asked, sampler="sitewise")
        draws, tune = (min(n, DRAWS) for n in asked.sizes)
        return replace(asked, draws=draws, tune=tune, chains=min(asked.n_chains, 2))

    monkeypatch.setattr(fitting, "Sampling", short)


def commands(text: str) -> Iterator[list[str]]:
    """Words of each command of a page, `make fit ARGS="..."` as the command that it runs."""
    for line in indented_lines(text):
        words = re.split(r"\s+#\s", line)[0]
        words = re.sub(r'^make fit(?: ARGS="(.*)")?$', r"python -m bayes_snn.fit \1", words)
        if match := re.match(r"(?:\S*/)?python (.*)$", words):
            yield match[1].split()
