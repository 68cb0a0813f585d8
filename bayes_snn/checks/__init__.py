"""Questions to a prior or a posterior: are predictions calibrated, do priors differ, what do the weights rely on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayes_snn.face import face

if TYPE_CHECKING:
    from bayes_snn.checks.calibration_curve import calibration as calibration
    from bayes_snn.checks.leave_one_out import compare as compare
    from bayes_snn.checks.leave_one_out import loo as loo
    from bayes_snn.checks.prior_check import prior_predictive as prior_predictive
    from bayes_snn.checks.prior_figures import draw_prior as draw_prior
    from bayes_snn.checks.reliance import feature_reliance as feature_reliance
    from bayes_snn.checks.reliance import weight_signal as weight_signal
    from bayes_snn.checks.simulation_based import posterior_sbc as posterior_sbc
    from bayes_snn.checks.simulation_based import sbc as sbc
    from bayes_snn.checks.simulation_figures import draw_sbc as draw_sbc
    from bayes_snn.checks.uncertainty import abstain_curve as abstain_curve
    from bayes_snn.checks.uncertainty import predictive_entropy as predictive_entropy

_HOMES = {
    "abstain_curve": "bayes_snn.checks.uncertainty",
    "calibration": "bayes_snn.checks.calibration_curve",
    "compare": "bayes_snn.checks.leave_one_out",
    "draw_prior": "bayes_snn.checks.prior_figures",
    "draw_sbc": "bayes_snn.checks.simulation_figures",
    "feature_reliance": "bayes_snn.checks.reliance",
    "loo": "bayes_snn.checks.leave_one_out",
    "posterior_sbc": "bayes_snn.checks.simulation_based",
    "predictive_entropy": "bayes_snn.checks.uncertainty",
    "prior_predictive": "bayes_snn.checks.prior_check",
    "sbc": "bayes_snn.checks.simulation_based",
    "weight_signal": "bayes_snn.checks.reliance",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = face(__name__, _HOMES, globals())
