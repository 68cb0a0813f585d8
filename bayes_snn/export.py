"""The command `python -m bayes_snn.export`: the weights of a fit as NIR or as plain .npz."""

from __future__ import annotations

from bayes_snn.cli.export import main

if __name__ == "__main__":
    main()
