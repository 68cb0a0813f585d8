"""The command `python -m bayes_snn.report`, and `write_report`, which does the same from Python."""

from __future__ import annotations

if __name__ == "__main__":  # alone: the command imports the other late, so that --help comes at once
    from bayes_snn.cli.report import main

    main()
else:
    from bayes_snn.reports.write import write_report as write_report
