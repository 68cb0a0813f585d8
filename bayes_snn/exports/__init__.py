"""Weights of a fit for other programs: NIR and plain .npz files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayes_snn.face import face

if TYPE_CHECKING:
    from bayes_snn.exports.nir import from_nir as from_nir
    from bayes_snn.exports.nir import to_nir as to_nir
    from bayes_snn.exports.nir import write_nir as write_nir
    from bayes_snn.exports.npz import read_metadata as read_metadata
    from bayes_snn.exports.npz import read_weights as read_weights
    from bayes_snn.exports.npz import write_weights as write_weights

_HOMES = {
    "from_nir": "bayes_snn.exports.nir",
    "read_metadata": "bayes_snn.exports.npz",
    "read_weights": "bayes_snn.exports.npz",
    "to_nir": "bayes_snn.exports.nir",
    "write_nir": "bayes_snn.exports.nir",
    "write_weights": "bayes_snn.exports.npz",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = face(__name__, _HOMES, globals())
