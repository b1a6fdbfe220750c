"""What adaptation leaves behind: a policy with SB3's interface, or a predictor."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from metarl.adapters.base import Adapted, Adapter, Meta
from metarl.adapters.memory import TrialAdapter
from metarl.adapters.memory.policy import by_row
from metarl.errors import ConfigError
from metarl.sampling.distributions import Distribution
from metarl.sampling.spaces import flatten


def _kept(values: Any) -> Any:
    """Return tensors as they are now: an agent that goes on learning does not change them."""
    return tree_map(lambda tensor: tensor.detach().clone(), values)


class AdaptedPolicy(BasePolicy):
    """A policy after (or before) adaptation; it works wherever SB3 takes a model, such as ``evaluate_policy``.

    Args:
        observation_space: the environment's.
        action_space: the environment's.
        adapter: applies the adapted parameters.
        distribution: the action distribution.
        meta: the meta-parameters.
        adapted: what one task became.
    """

    like: Tensor
    wrapper: ClassVar[str] = ""
    """What shows the observations that it wants, by name; nothing where the family itself does."""

    def __init__(
        self,
        observation_space: gym.spaces.Space[Any],
        action_space: gym.spaces.Space[Any],
        adapter: Adapter,
        distribution: Distribution,
        meta: Meta,
        adapted: Adapted,
    ) -> None:
        super().__init__(observation_space, action_space, features_extractor_class=FlattenExtractor)
        self.distribution = distribution
        self._apply_adapted = partial(adapter.apply, _kept(meta), _kept(adapted))
        self.register_buffer("like", meta["theta"].detach()[:0].clone())

    def obs_to_tensor(self, observation: Any) -> tuple[Any, bool]:
        """Return a batch of observations as SB3 makes tensors of them, and whether a batch was given.

        Raises:
            ConfigError: observations that lack what a wrapper shows beside the family's own.
        """
        try:
            return super().obs_to_tensor(observation)
        except ValueError as error:
            if not self.wrapper:
                raise
            wanted, given = self.observation_space.shape, np.shape(observation)
            raise ConfigError(
                f"observation: {type(self).__name__} wants the shape {wanted}, not {given}: wrap the environment in "
                f"{self.wrapper}(env)"
            ) from error

    def forward(self, observation: Any) -> Tensor:
        """Return the distribution parameters at a batch of observations, as SB3 makes tensors of them."""
        outputs: Tensor = self._apply_adapted(self._flat(observation))[0]
        return outputs

    def _flat(self, observation: Any) -> Tensor:
        """Return a batch of observations as vectors, shape (batch, entries)."""
        if isinstance(self.observation_space, gym.spaces.Box):
            flat: Tensor = observation.flatten(1).to(self.like)
            return flat
        arrays = tree_map(lambda tensor: tensor.cpu().numpy(), observation)
        count = len(tree_leaves(arrays)[0])
        rows = [flatten(self.observation_space, tree_map(lambda array: array[i], arrays)) for i in range(count)]  # noqa: B023
        return torch.as_tensor(np.stack(rows)).to(self.like)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self._of_space(self._choose(self(observation), deterministic))

    def _of_space(self, actions: Tensor) -> Tensor:
        """Return actions as the space has them."""
        if isinstance(self.action_space, gym.spaces.Box):  # whatever the policy's precision, actions are of their space
            return actions.to(getattr(torch, np.dtype(self.action_space.dtype).name))
        return actions + int(getattr(self.action_space, "start", 0))

    def _choose(self, parameters: Tensor, deterministic: bool) -> Tensor:
        """Return the distributions' modes, or samples of them."""
        if deterministic:
            return self.distribution.mode(parameters)
        generator = (
            torch.default_generator
            if parameters.device.type == "cpu"
            else torch.cuda.default_generators[parameters.device.index]
        )
        noise = self.distribution.noise(tuple(parameters.shape[:-1]), generator, parameters)
        return self.distribution.sample(parameters, noise)


class ToldPolicy(AdaptedPolicy):
    """A policy that is told the task: its observations are those of ``metarl.envs.ToldTask``. See ``AdaptedPolicy``."""

    wrapper = "metarl.envs.ToldTask"


class RecallingPolicy(AdaptedPolicy):
    """A policy without memory that sees what was done and got at the step before: ``Rollouts(recall=True)``.

    Its observations are those of ``metarl.envs.Trial``. See ``AdaptedPolicy`` for the arguments.
    """

    wrapper = "metarl.envs.Trial"


class RememberingPolicy(RecallingPolicy):
    """A policy with memory, empty or after some episodes; ``predict`` takes and gives it as SB3's recurrent policies do.

    Its observations are those of ``metarl.envs.Trial``. See ``AdaptedPolicy`` for the arguments.
    """

    def __init__(
        self,
        observation_space: gym.spaces.Space[Any],
        action_space: gym.spaces.Space[Any],
        adapter: TrialAdapter,
        distribution: Distribution,
        meta: Meta,
        adapted: Adapted,
    ) -> None:
        super().__init__(observation_space, action_space, adapter, distribution, meta, adapted)
        self._adapter, self._meta = adapter, _kept(meta)
        self._lived = tree_map(lambda tensor: tensor[:1], _kept(adapted))  # one trial's

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Return actions for a batch of observations, and the memory to hand in at the next step.

        Args:
            observation: as ``metarl.envs.Trial`` shows it, or a batch of such.
            state: what the step before returned; None at first.
            episode_start: which trials of the batch start: their memory is what it was at first.
            deterministic: the distributions' modes instead of samples.

        Raises:
            ConfigError: a trial that is longer than the memory has room for.
        """
        shown, vectorised = self.obs_to_tensor(observation)
        inputs = self._flat(shown)
        lived = tree_map(lambda tensor: tensor.expand(len(inputs), *tensor.shape[1:]), self._lived)
        with torch.no_grad():
            first, empty = self._adapter.start(self._meta, lived, inputs)
            if state is None:
                inputs, memory = first, empty
            else:
                memory, chosen = state
                # what the space clipped was seen as it was chosen in training
                inputs = torch.cat([inputs[:, : -chosen.shape[1] - 2], chosen, inputs[:, -2:]], dim=1)
                starts = torch.as_tensor(np.zeros(len(inputs)) if episode_start is None else episode_start).to(inputs.device)
                inputs, memory = (by_row(starts.bool(), *pair) for pair in ((first, inputs), (empty, memory)))
            self._adapter.require_room(self._meta, memory)
            parameters, memory = self._adapter.apply(self._meta, lived, inputs, memory)
            chosen = self._choose(parameters, deterministic)
        actions = self._of_space(chosen).cpu().numpy().reshape((-1, *(self.action_space.shape or ())))
        if isinstance(self.action_space, gym.spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        return (actions if vectorised else actions.squeeze(axis=0)), (memory, self.distribution.encode(chosen).to(inputs))


class AdaptedPredictor:
    """A predictor after adaptation to a support set.

    Args:
        adapter: applies what the task became.
        meta: the meta-parameters.
        adapted: what one task became.
        decide: makes predictions of outputs.
    """

    def __init__(self, adapter: Adapter, meta: Meta, adapted: Adapted, decide: Callable[[Tensor], Tensor]) -> None:
        self._apply = partial(adapter.apply, _kept(meta), _kept(adapted))
        self._like = meta["theta"].detach()[:0].clone()
        self._decide = decide

    def outputs(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the network's outputs for inputs of shape (examples, ...): values, or logits of shape (examples, ways)."""
        return self._outputs(inputs).cpu().numpy()

    def predict(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the predictions for inputs of shape (examples, ...): values, or classes of shape (examples,)."""
        return self._decide(self._outputs(inputs)).cpu().numpy()

    def _outputs(self, inputs: NDArray[Any]) -> Tensor:
        with torch.no_grad():
            outputs, _ = self._apply(torch.as_tensor(np.asarray(inputs)).to(self._like))
        return outputs
