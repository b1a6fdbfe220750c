"""python benchmarks/peers/images.py [rounds]: a meta-gradient of image tasks, ours beside the libraries on PyTorch.

Omniglot-shaped Conv4-64 with max-pooling, 32 tasks of 5-way 1-shot with 15 queries a class, one inner step, second order. Ours
takes tasks together, theirs one after another in a loop, as in their examples. All with the memory settings that metarl's
command line makes, which keep what large tensors leave; and theirs once more as they come, without. All take the meta-gradient
of the same images, to see that they do the same.
"""

import sys

from turns import KEEPS_MEMORY, Side, print_agreement, print_seconds, take_turns

LIBRARIES = {"learn2learn": "learn2learn", "higher": "higher", "TorchOpt": "torchopt"}
SIDES = (
    Side("metarl", "images_ours.py", env=KEEPS_MEMORY),
    *(Side(name, "images_torch.py", [library], library, KEEPS_MEMORY) for name, library in LIBRARIES.items()),
    *(Side(f"{name}, memory given back", "images_torch.py", [library], library) for name, library in LIBRARIES.items()),
)

if __name__ == "__main__":
    found = take_turns(SIDES, int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    print_agreement(found, ("loss", "norm of the meta-gradient"), within=1e-3)
    print_seconds(found)
