r"""A start for MANN: what labels are for is there from the first step, and what is alike is found.

From random weights a memory-augmented network spends most of its training on a plateau, until it happens to bind a label to
the example of the step before (Santoro et al. 2016 trained for 100,000 episodes). The start below lets it do so at once, and
leaves the embedding, the readout and all the rest to be learned. It is this project's own; only initial values differ.
"""

import torch

from metarl.adapters.memory.lrua import MANNCore
from metarl.errors import ConfigError

GATE = 3.0
"""Gates start at 0.05 and 0.95."""
FORGET_BIAS = -2.0
"""The hidden state is that of the present input."""
STRENGTH = 8.0
"""Where reads are sharpened, cosines are multiplied by 9 at first."""


@torch.no_grad()
def associate(core: MANNCore, labels: int) -> None:
    """Let a memory-augmented network start as an associative memory.

    One half of the controller's units sees the embedding, the other the label of the example before; none sees the past. The
    first half of the heads writes the embedding's units into fresh rows. The others write the label's units into the row that
    was read last: the label's own example's, as all heads read by what the first one writes.

    Args:
        core: whose weights are set.
        labels: how many entries of an input, the last ones, are the label.

    Raises:
        ConfigError: fewer than two heads or two units.
    """
    hidden, reads, width, controller = core.controller.outputs, core.reads, core.width, core.controller
    if min(hidden, reads) < 2:
        raise ConfigError(f"start='associative' needs two heads and two units, not reads={reads} and hidden={hidden}")
    features, half, first = controller.input_weights.shape[1] - labels, hidden // 2, reads // 2
    sees = controller.input_weights.zero_().view(4, hidden, -1)
    sees[:, :half, :features].normal_(std=features**-0.5)
    sees[:, half:, features:].normal_()
    controller.hidden_weights.zero_()
    controller.bias[hidden : 2 * hidden] = FORGET_BIAS
    vectors = 2 * reads * width
    keys, additions = core.heads.weight.zero_()[:vectors].view(2, reads, width, hidden)
    additions[:first, :, :half].normal_(std=half**-0.5)
    additions[first:, :, half:].normal_(std=(hidden - half) ** -0.5)
    keys.copy_(additions[:1].expand_as(keys))
    core.heads.bias.zero_()
    gates, strengths = torch.split(core.heads.bias[vectors:], [reads, len(core.heads.bias) - vectors - reads])
    gates[:first], gates[first:] = -GATE, GATE
    strengths.fill_(STRENGTH)
