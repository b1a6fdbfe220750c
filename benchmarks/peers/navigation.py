"""python benchmarks/peers/navigation.py [rounds]: a meta-iteration of TRPO on navigation, ours beside a jitted JAX program.

20 tasks x 20 trajectories x 100 steps, before and after one inner step (REINFORCE with the linear baseline), a 2-100-100-2 ReLU
Gaussian policy, ten Fisher products on a fifth and on all of the time-steps, a line search. In JAX the whole iteration is one
jitted function: sampling a scan over the environment's steps, a product a pushed-forward and a pulled-back vector, the line
search a while loop. First both take the same step from the same policy on the same trajectories, which ours sampled: what they
make of it is compared. Parts are measured apart: JAX's each as a jitted function of its own.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from navigation_names import AGREE
from turns import KEEPS_MEMORY, Side, print_agreement, print_seconds, take_turns

PARTS = ("sampling", "gradient", "products", "line search", "tries")

if __name__ == "__main__":
    ways = ("eager", "compiled", "bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for fraction in ("0.2", "1.0"):
            data = str(Path(folder) / f"{fraction}.npz")
            for way in ways:
                sides.append(Side(f"metarl {way}, {fraction}", "navigation_ours.py", [fraction, data, way], env=KEEPS_MEMORY))
            sides.append(Side(f"JAX, {fraction}", "navigation_jax.py", [fraction, data], "jax", KEEPS_MEMORY))
        found = take_turns(sides, int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    of_fraction = len(ways) + 1
    for i in range(0, len(sides), of_fraction):
        together = {side.name: found[side.name] for side in sides[i : i + of_fraction] if side.name in found}
        print_agreement(together, AGREE, within=1e-2)
        for name, measured in together.items():
            if "off" in measured[-1]:
                print(f"{name}: the step on all time-steps is {measured[-1]['off']:.1e} of its length off the eager one")
        print_seconds(dict(reversed(together.items())))  # JAX's first: times are of its
    print(f"{'':>24}" + "".join(f" {part:>12}" for part in PARTS) + "   (medians, seconds)")
    for name, measured in found.items():
        print(f"{name:>24}" + "".join(f" {median(one[part] for one in measured):12.3f}" for part in PARTS))
