"""MANN as a reader: the support set is read into an external memory.

Santoro, Bartunov, Botvinick, Wierstra and Lillicrap 2016, "Meta-Learning with Memory-Augmented Neural Networks".
"""

from typing import get_args

from metarl.adapters.memory.association import Start, associate
from metarl.adapters.memory.lrua import MANNCore
from metarl.adapters.memory.recurrent import LossOn, RecurrentReader
from metarl.errors import unknown_name


class MANNReader(RecurrentReader):
    """Reads the support set into an external memory.

    Args:
        features: the entries of an embedding.
        outputs: the ways of a task, or the numbers of a target.
        hidden: see ``MANNCore``, as are ``slots``, ``width``, ``reads``, ``decay`` and ``sharpen``.
        start: of the weights: ``"random"``, or ``"associative"``, see ``associate``.
        loss_on: see ``RecurrentReader``.

    Raises:
        ConfigError: a size that is not positive, more heads than slots, too few for the start, a decay outside [0, 1], or an
            unknown ``start`` or ``loss_on``.
    """

    core: MANNCore

    def __init__(
        self,
        features: int,
        outputs: int,
        hidden: int = 200,
        slots: int = 128,
        width: int = 40,
        reads: int = 4,
        decay: float = 0.95,
        sharpen: bool = False,
        start: Start = "random",
        loss_on: LossOn = "sequence",
    ) -> None:
        super().__init__(MANNCore(features + outputs, hidden, slots, width, reads, decay, sharpen), outputs, loss_on)
        if start not in get_args(Start):
            raise unknown_name("start", start, get_args(Start))
        if start == "associative":
            associate(self.core, outputs)
