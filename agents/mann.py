"""MANN: Santoro et al. 2016, "Meta-Learning with Memory-Augmented Neural Networks"."""

from dataclasses import dataclass

from metarl.adapters import MANNReader, SupportReader
from metarl.adapters.memory.association import Start
from metarl.agents.memory import RecurrentAgent, RecurrentOptions


class MANN(RecurrentAgent):
    """Learns to write the support set into an external memory, and to find there what a query needs.

    See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(RecurrentOptions):
        """What MANN takes."""

        slots: int = 128
        """Rows of the memory, more than support examples."""
        width: int = 40
        """Entries of a row."""
        reads: int = 4
        """Heads, each of which reads and writes."""
        decay: float = 0.95
        """What is left of a row's usage a step later, in [0, 1]."""
        sharpen: bool = False
        """Let heads sharpen their reads, as Neural Turing Machines do; the paper's do not."""
        start: Start = "random"
        """Of the weights: random, or associative, as a memory that binds labels to examples from the first step."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return a memory-augmented network."""
        given = self.options
        memory = (given.slots, given.width, given.reads, given.decay, given.sharpen, given.start)
        return MANNReader(features, outputs, given.hidden, *memory, given.loss_on)
