"""The command `python -m bayes_snn.fit`; the function is `from bayes_snn import fit`."""

from __future__ import annotations

if __name__ == "bayes_snn.fit":  # an import would put the module where the function belongs
    raise ImportError("bayes_snn.fit is a command and cannot be imported: write from bayes_snn import fit.")

from bayes_snn.cli.fit import main

if __name__ == "__main__":
    main()
