r"""Starts for MANN and SNAIL: what labels are for is there from the first step, and what is alike is found.

From random weights a memory-augmented network spends most of its training on a plateau, until it happens to bind a label to
the example of the step before (Santoro et al. 2016 trained for 100,000 episodes), and attention has to find that queries and
keys are of one kind. The starts below let them do so at once, and leave the embedding and all the rest to be learned. They are
this project's own; only initial values differ.
"""

import math
from typing import Literal

import torch
from torch import nn

from metarl.adapters.memory.causal import AttentionBlock
from metarl.adapters.memory.lrua import MANNCore
from metarl.errors import ConfigError

Start = Literal["random", "associative"]
"""Of a reader's weights."""
GATE = 3.0
"""Gates start at 0.05 and 0.95."""
FORGET_BIAS = -2.0
"""The hidden state is that of the present input."""
STRENGTH = 8.0
"""Where reads are sharpened, cosines are multiplied by 9 at first."""
LABELLED = 20.0
"""What is added to the logit of an example with a label: more than a query's likeness to itself."""
READOUT = 10.0
"""The first logits are between 0 and this."""


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


@torch.no_grad()
def associate_by_attention(attention: AttentionBlock, readout: nn.Linear, labels: int) -> None:
    """Let a sequence's first attention block start as Matching Networks do: the label of what is alike, and so its logit.

    Keys and queries are one orthogonal map of the embeddings, and one entry of both lets queries look at labelled examples and
    not at themselves. The first entries of a value are the label.

    Args:
        attention: whose inputs are an embedding and a label.
        readout: from all channels, the block's inputs and then its values first, to ``labels`` logits.
        labels: how many entries of an input, the last ones, are the label.

    Raises:
        ConfigError: a key of less than two entries, or values that have no room for a label.
    """
    keys, queries, values = attention.keys, attention.queries, attention.values
    if keys.out_features < 2 or values.out_features < labels:
        raise ConfigError(
            f"start='associative' needs two entries of a key and {labels} of a value in the first block, not "
            f"key_sizes[0]={keys.out_features} and value_sizes[0]={values.out_features}"
        )
    features = keys.in_features - labels
    nn.init.orthogonal_(keys.weight.zero_()[:-1, :features])
    queries.weight.copy_(keys.weight)
    keys.weight[-1, features:] = 1.0
    queries.bias.zero_()[-1] = LABELLED * math.sqrt(keys.out_features)
    keys.bias.zero_()
    nn.init.eye_(values.weight[:labels].zero_()[:, features:])
    values.bias[:labels] = 0.0
    nn.init.zeros_(readout.weight[:, keys.in_features : keys.in_features + labels]).fill_diagonal_(READOUT)
