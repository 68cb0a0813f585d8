"""The command `python -m bayes_snn.twin`: learn how a chip answers, and see what is wrong with it."""

from __future__ import annotations

from bayes_snn.cli.twin import main

if __name__ == "__main__":
    main()
