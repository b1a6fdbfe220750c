"""Meta-World's environments of this process, lent to whoever needs one of their class.

Each has a model of some 20 MB of its own and takes a tenth of a second to make. Rows of a meta-batch change their class from
one iteration to the next; what one leaves goes to the next that needs it, so that there are never many more than rows.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from metarl.envs.metaworld.benchmarks import metaworld

UNLIMITED = 2**62
"""Steps that no episode has: the time limit is Gymnasium's."""


class Kind(NamedTuple):
    """Which of Meta-World's environments; the arguments are its own.

    Attributes:
        env_name: the class, such as ``"reach-v3"``.
        reward_function_version: ``"v1"`` or ``"v2"``.
        render_mode: ``"rgb_array"`` or None.
        camera_name: where pictures are taken from.
        width: of pictures, in pixels.
        height: of pictures, in pixels.
    """

    env_name: str
    reward_function_version: str
    render_mode: str | None
    camera_name: str | None
    width: int
    height: int


_free: defaultdict[Kind, list[Any]] = defaultdict(list)


def borrow(kind: Kind) -> Any:
    """Return an environment that nobody has, made anew if there is none."""
    return _free[kind].pop() if _free[kind] else _make(kind)


def _make(kind: Kind) -> Any:
    arguments = kind._asdict()
    env = metaworld().env_dict.ALL_V3_ENVIRONMENTS[arguments.pop("env_name")](**arguments)
    env.max_path_length = UNLIMITED
    return env


def give_back(kind: Kind, env: Any) -> None:
    """Let others have an environment."""
    _free[kind].append(env)
