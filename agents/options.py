"""What an agent can be told, said once: constructors, checkpoints, the command line and its help read it here."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch

from metarl.errors import ConfigError, require_flag, require_whole, unknown_name
from metarl.normalisation import Statistics

Dtype = Literal["float32", "float64"]
O = TypeVar("O", bound="Options")  # noqa: E741


@dataclass(frozen=True)
class Options:
    """What every agent takes.

    Raises:
        ConfigError: a value that is none of those that can be chosen, or a count that is not positive.
    """

    meta_batch: int | None = None
    """Tasks in an outer step (in pretraining: images); 20 for policies and 4 for predictors unless given."""
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of a policy or network given by name, such as {"hidden": [64, 64], "activation": "tanh"}."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of an environment given by id, such as {"shots": 10}."""
    seed: int = 0
    """Fixes the run: on one CPU bit for bit."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Dtype = "float32"
    """The parameters' precision."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            if choices and value not in choices:
                raise unknown_name(name, value, map(str, choices))
            if kind is bool:
                require_flag(**{name: value})
        for name in ("policy_kwargs", "env_kwargs"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise ConfigError(f"{name}={value!r} must be a dictionary of arguments")
            object.__setattr__(self, name, dict(value or {}))
        if self.meta_batch is not None:
            require_whole(meta_batch=self.meta_batch)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"seed={self.seed!r} must be a whole number, not negative")


@dataclass(frozen=True)
class GradientOptions(Options):
    """What agents take that adapt by gradient steps."""

    inner_steps: int = 1
    """T, the inner steps in training; 0 to learn without adaptation."""
    first_order: bool = False
    """Treat inner gradients and losses as constants."""
    inner_clip: float | None = None
    """Clip every entry of the inner gradients to plus or minus this."""
    adapted: str | Sequence[str] = "all"
    """Which parameters the inner loop changes: all, head (as ANIL), or name patterns."""
    batch_norm: Statistics = "batch"
    """Whose statistics batch-normalisation uses: the set's at hand (batch), the support set's, or running averages."""
    support_batch: int | None = None
    """How many support examples each inner step sees, drawn with replacement; all unless given, or if there are no more
    (predictors only)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.adapted, str):
            names = list(self.adapted)
            object.__setattr__(self, "adapted", names[0] if len(names) == 1 else names)


@dataclass(frozen=True)
class RateOptions(GradientOptions):
    """What agents take whose rule is gradient descent."""

    rate: float | Sequence[float] = 0.1
    """Alpha, the inner rate: one for all steps, or one for each (the last for all further ones)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.rate, (list, tuple)):
            object.__setattr__(self, "rate", self.rate[0] if len(self.rate) == 1 else list(self.rate))


def checked(kind: type[O], name: str, given: Mapping[str, Any]) -> O:
    """Return options of a kind from keyword arguments.

    Raises:
        ConfigError: an option that this agent does not take, with the nearest ones, or a value out of range.
    """
    known = [field.name for field in fields(kind)]
    for option in given:
        if option not in known:
            raise unknown_name(f"{name}'s option", option, known)
    return kind(**given)


def signature(kind: type[Options], before: Sequence[inspect.Parameter]) -> inspect.Signature:
    """Return a constructor's signature: the parameters before the options, and the options with their types and defaults."""
    hints = get_type_hints(kind)
    options = []
    for option in fields(kind):
        default = option.default_factory() if callable(option.default_factory) else option.default
        parameter = inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[option.name]
        )
        options.append(parameter)
    return inspect.Signature([*before, *options])


def device_of(name: str) -> torch.device:
    """Return the device that ``"auto"``, ``"cpu"`` or ``"cuda"`` means here.

    Raises:
        ConfigError: an unknown device, or one that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown_name("device", name, ["auto", "cpu", "cuda"]) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name!r} is not to be had: PyTorch sees no GPU here; use 'cpu' or 'auto'")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else device
