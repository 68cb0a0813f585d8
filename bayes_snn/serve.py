"""The command `python -m bayes_snn.serve`: a chip for other processes and machines."""

from __future__ import annotations

from bayes_snn.cli.serve import main

if __name__ == "__main__":
    main()
