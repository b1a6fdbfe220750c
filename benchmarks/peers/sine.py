"""python benchmarks/peers/sine.py [rounds]: meta-iterations at the sine protocol, ours compiled beside other libraries'.

4 tasks, 5 shots, 10 queries, a 1-40-40-1 regressor, one second-order inner step, Adam; every iteration draws new tasks. Ours is
``agent.learn``, a step to a call or ten (``steps_per_call``). JAX's step is jitted with the drawing of its tasks, one to a call
or a hundred; the libraries on PyTorch go from one task to the next in a loop, as in their examples. All take the meta-gradient
of the same tasks first, to see that they do the same.
"""

import sys

from turns import Side, print_agreement, print_seconds, take_turns

SIDES = (
    Side("metarl, a step a call", "sine_ours.py", ["1"]),
    Side("metarl, 10 steps a call", "sine_ours.py", ["10"]),
    Side("JAX, a step a call", "sine_jax.py", ["1"], "jax"),
    Side("JAX, 100 steps a call", "sine_jax.py", ["100"], "jax"),
    Side("learn2learn", "sine_torch.py", ["learn2learn"], "learn2learn"),
    Side("higher", "sine_torch.py", ["higher"], "higher"),
    Side("TorchOpt", "sine_torch.py", ["torchopt"], "torchopt"),
)

if __name__ == "__main__":
    found = take_turns(SIDES, int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    print_agreement(found, ("loss", "norm of the meta-gradient"), within=1e-4)
    print_seconds(found, unit=1e-3, heading="milliseconds", digits=3)
