"""What fixes a training run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from metarl.commands.options import options_of
from metarl.commands.settings import Settings
from metarl.registry import AGENTS, OUTER_LOOPS, OuterEntry

if TYPE_CHECKING:
    from metarl.agents import Agent

ROLLOUTS = "rollouts"
"""The prefix of the options of sampling."""


@dataclass(frozen=True)
class Uniform:
    """A number drawn once for each seed, as Meta-SGD's first rates are."""

    low: float
    high: float

    def draw(self, seed: int) -> float:
        """Return the seed's number in [low, high)."""
        import numpy as np

        return float(np.random.default_rng(seed).uniform(self.low, self.high))


@dataclass(frozen=True)
class Run:
    """Everything that fixes a training run, in plain containers."""

    agent: str = "meta-sgd"
    """The agent; `metarl list agents` names all."""
    outer: str = ""
    """The outer loop; `metarl list outer-loops` names all. Empty where the agent learns nothing."""
    env: str = "metarl/Navigation2D-v0"
    """A Gymnasium id with tasks; `metarl list families` names ours."""
    seed: int = 0
    """Fixes the run."""
    iterations: int = 100
    """Outer steps."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The environment's arguments, such as '{"shots": 10}'."""
    root: str = ""
    """The folder of an image data set; "data" unless given."""
    policy: str = "MlpPolicy"
    """The policy or network, by name."""
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments, such as '{"hidden": [64, 64], "activation": "tanh"}'."""
    validate_every: int = 10
    """Outer steps between validations, which keep the best iterate; 0 for none."""
    validation_tasks: int = 100
    """Tasks in a validation."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: str = "float32"
    """The parameters' precision, float32 or float64."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The agent's other options."""
    outer_options: Mapping[str, Any] = field(default_factory=dict)
    """The outer loop's."""
    rollouts: Mapping[str, Any] | None = None
    """How trajectories are sampled; None on episodes."""

    @classmethod
    def of(cls, settings: Settings, **changes: Any) -> "Run":
        """Return the run that settings describe: what applies to its agent, outer loop and world.

        Args:
            settings: options by name, as a preset has them.
            changes: more of them, by plain names.

        Raises:
            ConfigError: an option that nothing has.
        """
        from metarl.commands.scope import Scope  # which is about runs

        settings = {**settings, **changes}
        return Scope.of(settings).run(settings)

    def make(self, env: Any = None, verbose: int = 0, tensorboard_log: str | None = None) -> "Agent":
        """Return the agent, new.

        Args:
            env: an environment that is already made, instead of the id's.
            verbose: 1 prints the log's tables.
            tensorboard_log: TensorBoard's folder.
        """
        from metarl.problems import Rollouts

        of_env = {} if env is not None else {"env_kwargs": self._env_kwargs()}
        agent: Agent = AGENTS.load(self.agent)(
            self.policy,
            self.env if env is None else env,
            outer=self.outer_loop(),
            rollouts=None if self.rollouts is None else Rollouts(**self.rollouts),
            verbose=verbose,
            tensorboard_log=tensorboard_log,
            policy_kwargs=self.policy_kwargs,
            seed=self.seed,
            device=self.device,
            dtype=self.dtype,
            **of_env,
            **self.options,
        )
        return agent

    def outer_loop(self) -> Any:
        """Return the outer loop; None where the agent learns nothing."""
        if not self.outer:
            return None
        entry = OUTER_LOOPS[self.outer]
        inside = {loop.prefix: loop for loop in nested(entry)}
        options = {
            name: inside[name].load()(**value) if name in inside and value is not None else value
            for name, value in self.outer_options.items()
        }
        return entry.load()(**options)

    def as_dict(self) -> dict[str, Any]:
        """Return plain containers, for a file."""
        return asdict(self)

    def _env_kwargs(self) -> dict[str, Any]:
        return {**self.env_kwargs, **({"root": self.root} if self.root else {})}


def nested(entry: OuterEntry) -> list[OuterEntry]:
    """Return the outer loops that may stand inside an outer loop: fields of it with their prefix."""
    names = {option.name for option in options_of(entry.load())}
    return [loop for loop in OUTER_LOOPS.entries() if loop.name != entry.name and loop.prefix in names]
