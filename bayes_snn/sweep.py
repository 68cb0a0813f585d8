"""The command `python -m bayes_snn.sweep`, and `study` and `read_study`, which do the same from Python."""

from __future__ import annotations

if __name__ == "__main__":  # alone: the command imports the others late, so that --help comes at once
    from bayes_snn.cli.sweep import main

    main()
else:
    from bayes_snn.studies.folder import read_study as read_study
    from bayes_snn.studies.run import study as study
