"""The LSTM that reads its support set: the baseline of Santoro et al. 2016."""

from metarl.adapters import LSTMReader, SupportReader
from metarl.agents.memory import RecurrentAgent


class LSTM(RecurrentAgent):
    """Learns to remember the support set in an LSTM's state, and what a query needs of it.

    See ``Agent`` for the arguments. ``MetaLSTM`` is another thing: an LSTM that writes a learner's weights.
    """

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return an LSTM."""
        return LSTMReader(features, outputs, self.options.hidden, self.options.loss_on)
