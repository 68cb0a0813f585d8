"""Run the benchmarks, one thread each, and print one Markdown table for every group.

    make bench
    make bench ARGS='-k "ideal or numpy" --output bench.md'

A benchmark may say more about itself in `benchmark.extra_info`; each of these may be missing:

    label         str, the row's name in the table, otherwise the name of the test
    lif_updates   int, neuron updates of one run: gives a column of updates per second
    operations    int, proposals of one run: gives a column of time for each
    reference     bool, True for the row that the others of its group are compared with
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# Libraries read these when they are imported, hence the child process. One thread is the fair measure here:
# chains run side by side, one core each.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # XLA: no threads within an operation (XLA_FLAGS), one thread in the pool of the CPU client (NPROC).
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "NPROC": "1",
    "JAX_PLATFORMS": "cpu",
    # torch.compile would otherwise keep a pool of compiler processes beside the benchmarks.
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    # No peer may move to a GPU that happens to be there.
    "CUDA_VISIBLE_DEVICES": "",
}

PYTEST_OPTIONS = [
    # pyproject.toml keeps benchmarks out of the test suite and makes warnings errors, but the peers do warn.
    *("-o", "addopts=", "-o", "filterwarnings=ignore"),
    *("-q", "-rs"),
    *("--benchmark-quiet", "--benchmark-disable-gc", "--benchmark-min-rounds=20"),
]


def run_pytest(expression: str | None) -> tuple[int, dict[str, Any]]:
    """Run what matches pytest's -k `expression`: pytest's exit code and pytest-benchmark's report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", str(HERE), *PYTEST_OPTIONS, f"--benchmark-json={report}"]
        if expression:
            command += ["-k", expression]
        done = subprocess.run(command, env=os.environ | ENVIRONMENT, cwd=HERE.parents[1], check=False)
        # With no benchmark selected, or an interrupted run, the file is empty or missing.
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    return done.returncode, json.loads(text) if text else {}


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that reads as plain text too: first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *numbers = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join([first.strip().ljust(widths[0]), *numbers])} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def compared(seconds: float, reference: float) -> str:
    """How much slower or faster than the reference, in words."""
    ratio = seconds / reference
    return f"{ratio:.3g}x slower" if ratio >= 1 else f"{1 / ratio:.3g}x faster"


def group_table(benchmarks: list[dict[str, Any]]) -> str:
    """The table of one group, fastest first; a column that no row can fill is left out."""
    benchmarks = sorted(benchmarks, key=lambda entry: entry["stats"]["median"])
    references = [entry for entry in benchmarks if entry["extra_info"].get("reference")]
    rated = any(entry["extra_info"].get("lif_updates") for entry in benchmarks)
    shared = any(entry["extra_info"].get("operations") for entry in benchmarks)

    def name(entry: dict[str, Any]) -> str:
        return str(entry["extra_info"].get("label") or entry["name"])

    header = ["name", "median (us)"]
    if rated:
        header.append("LIF updates (million/s)")
    if shared:
        header.append("each proposal (us)")
    if references:
        header.append(f"against {name(references[0])}")
    rows = []
    for entry in benchmarks:
        median = entry["stats"]["median"]
        row = [name(entry), f"{median * 1e6:,.1f}"]
        if rated:
            updates = entry["extra_info"].get("lif_updates")
            row.append(f"{updates / median / 1e6:,.1f}" if updates else "-")
        if shared:
            operations = entry["extra_info"].get("operations")
            row.append(f"{median * 1e6 / operations:,.1f}" if operations else "-")
        if references:
            first = references[0]
            row.append("1x" if entry is first else compared(median, first["stats"]["median"]))
        rows.append(row)
    return markdown_table(header, rows)


def setting(report: dict[str, Any]) -> str:
    """What the times depend on: processor, Python, and versions of the packages of requirements.txt."""
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line.split(">=")[0] for line in lines if line and not line.startswith("#")]
    versions = []
    for package in ["numpy", "numba", *required]:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    machine = report["machine_info"]
    processor = machine.get("cpu", {}).get("brand_raw", machine.get("machine", "unknown processor"))
    return f"One thread each on {processor}; Python {machine['python_version']}, {', '.join(versions)}."


def render(report: dict[str, Any]) -> str:
    """All groups of a report as Markdown, in the order in which they ran."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in report["benchmarks"]:
        groups.setdefault(entry["group"] or "without a group", []).append(entry)
    parts = [f"### {title}\n\n{group_table(entries)}" for title, entries in groups.items()]
    return "\n\n".join([*parts, setting(report)]) + "\n"


def main() -> int:
    """Parse the command line, run, print; the exit code is pytest's, so that a wrong peer does not pass."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and print a table for each group.")
    parser.add_argument("-k", dest="expression", metavar="EXPR", help="only tests that match")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the tables to this file too")
    arguments = parser.parse_args()

    code, report = run_pytest(arguments.expression)
    if not report.get("benchmarks"):
        print("No benchmark ran: read pytest's output above, check the expression of -k.", file=sys.stderr)
        return code or 1
    text = render(report)
    print(f"\n{text}", end="")
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
