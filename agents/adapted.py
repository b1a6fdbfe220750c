"""What adaptation leaves behind: a policy with SB3's interface, or a predictor."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor

from metarl.learner import Learner
from metarl.problems import SupervisedProblem
from metarl.problems.distributions import Distribution
from metarl.tasks import Examples


class AdaptedPolicy(BasePolicy):
    """A policy after (or before) adaptation; it works wherever SB3 takes a model, such as ``evaluate_policy``.

    Args:
        observation_space: the environment's.
        action_space: the environment's.
        learner: maps observations to distribution parameters.
        distribution: the action distribution.
        parameters: the learner's full parameters, shape (P + S,).
    """

    parameters_: Tensor

    def __init__(
        self,
        observation_space: gym.spaces.Space[Any],
        action_space: gym.spaces.Space[Any],
        learner: Learner,
        distribution: Distribution,
        parameters: Tensor,
    ) -> None:
        super().__init__(observation_space, action_space, features_extractor_class=FlattenExtractor)
        self.learner = learner
        self.distribution = distribution
        self.register_buffer("parameters_", parameters.detach().clone())

    def forward(self, observation: Tensor) -> Tensor:
        """Return the distribution parameters at observations of shape (batch, ...)."""
        flat = observation.flatten(1).to(self.parameters_)
        return self.learner(self.parameters_, flat)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        first = int(getattr(self.action_space, "start", 0))
        parameters = self(observation)
        if deterministic:
            return self.distribution.mode(parameters) + first
        generator = (
            torch.default_generator
            if parameters.device.type == "cpu"
            else torch.cuda.default_generators[parameters.device.index]
        )
        noise = self.distribution.noise(tuple(parameters.shape[:-1]), generator, parameters)
        return self.distribution.sample(parameters, noise) + first


class AdaptedPredictor:
    """A predictor after adaptation to a support set.

    Args:
        problem: maps inputs (examples, ...) to outputs.
        parameters: the learner's full parameters, shape (P + S,).
        decide: makes predictions of outputs.
        support: the support set, if the outputs depend on it otherwise than through the parameters.
    """

    def __init__(
        self,
        problem: SupervisedProblem,
        parameters: Tensor,
        decide: Callable[[Tensor], Tensor],
        support: Examples | None = None,
    ) -> None:
        self._problem = problem
        self.parameters_ = parameters.detach().clone()
        self._decide = decide
        self._support = support

    def outputs(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the network's outputs for inputs of shape (examples, ...): values, or logits of shape (examples, ways)."""
        return self._outputs(inputs).cpu().numpy()

    def predict(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the predictions for inputs of shape (examples, ...): values, or classes of shape (examples,)."""
        return self._decide(self._outputs(inputs)).cpu().numpy()

    def _outputs(self, inputs: NDArray[Any]) -> Tensor:
        with torch.no_grad():
            return self._problem.outputs(
                self.parameters_, torch.as_tensor(np.asarray(inputs)).to(self.parameters_), self._support
            )
