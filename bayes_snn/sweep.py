"""The command `python -m bayes_snn.sweep`, and `sweep` and `read_sweep`, which do the same from Python."""

from __future__ import annotations

if __name__ == "__main__":  # alone: the command imports the others late, so that --help comes at once
    from bayes_snn.cli.sweep import main

    main()
else:
    from bayes_snn.sweeps.folder import read_sweep as read_sweep
    from bayes_snn.sweeps.sweep import sweep as sweep
