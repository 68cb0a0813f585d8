"""`tempered`: replica exchange on a simulated chip itself, for one that no twin is learned of.

Replicas of the weights are drawn at powers 1 = b_0 > b_1 > ... of the chip's likelihood, and neighbours swap places by
the Metropolis rule (Geyer, Computing Science and Statistics 1991; Hukushima and Nemoto, J. Phys. Soc. Japan 65, 1996).
Those at low powers cross between modes that `sitewise` does not leave, and hand what they find to the first one, which
is the chain. Every move leaves the product of what the replicas are drawn from as it is, so draws are exact under any
prior.

All that the replicas propose is shown to the chip: a draw costs as many sweeps as there are replicas. So this is for
chips that are simulated, whose own sweeps run again only what a move touches.

In the warm-up step sizes and powers are tuned (Miasojedow, Moulines, Vihola, J. Comput. Graph. Stat. 22, 2013), and
likelihood and prior are tempered at its start, as in sitewise.py. All of it is frozen before the first kept draw.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars
from pymc.pytensorf import make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state

from bayes_snn.posterior.readout import with_readout_variables
from bayes_snn.samplers.shared.replicas import Replicas
from bayes_snn.samplers.shared.sweepers import check_simulated
from bayes_snn.samplers.shared.watch import Watched
from bayes_snn.samplers.shared.with_readout import joined_dtype
from bayes_snn.samplers.sitewise import TEMPERED, warming
from bayes_snn.samplers.twin import make_mover

N_MOVES = 1  # of all replicas, to a draw
N_REPLICAS = 3  # fewer than on a twin: each is paid for in presentations, and three swap often enough


@dataclass_state
class TemperedState(StepMethodState):
    """What is needed to continue: how far the warm-up is."""

    tune: bool
    n_tune: int
    n_done: int


class TemperedMetropolis(Watched, ArrayStepShared):
    """Replica exchange on the chip; a draw is `n_moves` moves of all replicas, the first of which is the chain.

    Its sample stats are the share of proposals accepted in the chain's last sweep (`accept`), log L, presentations of
    all replicas, and the share of the chain's swaps that were accepted (`swaps`), nan without other replicas.

    Parameters
    ----------
    vars
        Value variables of the weights; those of the readout are moved with them.
    n_moves
        Moves of all replicas to a draw.
    n_replicas
        Replicas, 1 for none beside the chain.

    Raises
    ------
    InputError
        On a chip that is noisy or offers no sweeps of its own (`site_sweeper`), and where whole-number weights have a
        prior that ties them together.
    """

    name = "tempered_metropolis"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, []),
        "log_likelihood": (np.float64, []),
        "swaps": (np.float64, []),
        **Watched.stats_dtypes_shapes,
    }
    _state_class = TemperedState

    def __init__(
        self,
        vars: Any = None,
        *,
        n_moves: int = N_MOVES,
        n_replicas: int = N_REPLICAS,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        model = pm.modelcontext(model)
        names, vars = [value.name for value in vars], with_readout_variables(model, vars)
        self.find_op(model)
        check_simulated("tempered", self.op, model.likelihood.target)
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        # the movers have shared variables of their own: those of replicas behind the first stay where they were put
        self.replicas = Replicas(make_mover(model, names, "tempered"), n_replicas)
        self.n_moves = int(n_moves)
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.n_tune = self.n_done = 0
        self.dtype = joined_dtype(vars)

    def reset_tuning(self) -> None:
        """Forget what was learned, and where the replicas are."""
        self.replicas.begin()
        self.n_done = 0

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        super().setup_chain(rng, tune, draws)
        self.n_tune = tune
        self.reset_tuning()

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=self.dtype)
        values = {name: shared.get_value() for name, shared in self.shared.items()}
        # 1. a draw depends on places, powers and step sizes alone, so that a chain that is resumed goes on with the
        #    same bits: sweepers remember nothing from draw to draw, and begin by showing the training set
        for mover in self.replicas.movers:
            mover.forget_answers()
        # 2. move all replicas: swaps, a sweep of each, which is shown to the chip, and the swaps in the opposite order
        # 3. in the warm-up alone, learn step sizes and powers from it
        q = self.replicas.move(q, values, self.rng, self.n_moves, self.tune, self._warming())
        self.n_done += 1
        tried, swapped = self.replicas.tried, self.replicas.swapped
        stats = {
            "accept": self.replicas.movers[0].acceptance,
            "log_likelihood": self.replicas.height,
            "swaps": swapped / tried if tried else float("nan"),
        }
        return RaveledVars(q, q0.point_map_info), [{**stats, **self.tally()}]

    def _warming(self) -> tuple[float, float]:
        """Powers of likelihood and prior beside those of the replicas: at first as in sitewise.py, then 1."""
        tempered = min(self.n_tune // 2, TEMPERED)
        widest = getattr(self.replicas.movers[0], "widest", 1.0)
        return warming(self.n_done, tempered if self.tune else 0, widest)

    def checkpoint_state(self) -> dict[str, Any]:
        return {**super().checkpoint_state(), "replicas": self.replicas.checkpoint_state()}

    def restore_state(self, state: dict[str, Any]) -> None:
        super().restore_state(state)
        self.replicas.restore_state(state["replicas"])

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself
