"""Stable-Baselines3's PPO as an outer loop: one policy learns on tasks as they come, and adapts to none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from torch import Tensor, nn

from metarl.adapters import Adapter, GradientAdapter, Meta
from metarl.agents import sb3_models
from metarl.agents.task_vec_env import TaskVecEnv
from metarl.errors import CheckpointError, ConfigError, NonFiniteError, require_between, require_positive, require_whole
from metarl.outer import Outcome, OuterLoop
from metarl.outer.base import State, require_finite
from metarl.outer.meta_gradient import Batch
from metarl.problems import PolicyProblem
from metarl.problems.base import Tasks
from metarl.sampling.stochastic_policy import StochasticPolicy

CRITIC = ("mlp_extractor.value_net.", "value_net.")
"""How the names of a critic's parameters begin in SB3's policies."""
FRESH = {"mean": 0.0, "var": 1.0, "count": 1e-4}
"""The moments of discounted returns before the first was seen, as SB3 has them."""


@dataclass(frozen=True)
class StableBaselinesPPO(OuterLoop):
    """Improves the policy before adaptation by Stable-Baselines3's own PPO, each episode of a newly drawn training task.

    Schulman et al. 2017, "Proximal Policy Optimization Algorithms". An iteration is one of SB3's: so many steps of so many
    environments, and the epochs on them. It begins with new episodes, so that a run in pieces is a run in one; critic,
    optimiser and the rewards' scale are kept from one to the next. The options' names and defaults are SB3's, but for
    ``n_envs`` and ``n_steps``. Every process of several takes the whole step.

    Raises:
        ConfigError: a value out of range.
    """

    learning_rate: float = 3e-4
    """Adam's rate."""
    n_envs: int = 16
    """Environments that are stepped together."""
    n_steps: int | None = None
    """Steps of each of them in an iteration; the longest episode's unless given."""
    batch_size: int = 64
    """Steps in a mini-batch."""
    n_epochs: int = 10
    """Passes over an iteration's steps."""
    gamma: float = 0.99
    """The discount."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation."""
    clip_range: float = 0.2
    """How far the likelihood ratio may leave 1 before an advantage counts no more."""
    ent_coef: float = 0.0
    """The weight of the policy's entropy."""
    vf_coef: float = 0.5
    """The weight of the critic's loss."""
    max_grad_norm: float = 0.5
    """The norm that gradients of a mini-batch are scaled down to."""
    normalise_rewards: bool = False
    """Whether rewards are divided by the deviation of the discounted returns, as SB3's VecNormalize does."""

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate, clip_range=self.clip_range, max_grad_norm=self.max_grad_norm)
        require_whole(n_envs=self.n_envs, batch_size=self.batch_size, n_epochs=self.n_epochs)
        if self.n_steps is not None:
            require_whole(n_steps=self.n_steps)
        require_between(0, 1, gamma=self.gamma, gae_lambda=self.gae_lambda)
        require_between(0, float("inf"), ent_coef=self.ent_coef, vf_coef=self.vf_coef)

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError unless the policy is one of SB3's kind, and sees what its family shows."""
        if not isinstance(adapter, GradientAdapter) or not isinstance(adapter.learner.structure, StochasticPolicy):
            raise ConfigError("outer=StableBaselinesPPO() trains a policy without memory: choose another outer loop here")
        assert isinstance(adapter.problem, PolicyProblem), "what has a policy"
        if adapter.problem.rollouts.recall:
            raise ConfigError("rollouts: recall=True has no like in the environments that SB3's PPO learns in: leave it out")
        sb3_models.linears_of(adapter.learner.structure)

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return a critic with the actor's hidden layers, drawn as SB3 does, and an optimiser before its first step."""
        actor = sb3_models.actor_of(adapter, meta, meta["theta"])
        *hidden, _ = [tuple(weight.shape) for weight, _ in actor.layers]

        def drawn(shape: tuple[int, ...], gain: float) -> Tensor:
            return nn.init.orthogonal_(torch.zeros(shape, device=generator.device), gain, generator=generator).cpu()

        critic = {}
        for i, shape in enumerate(hidden):
            critic[f"{CRITIC[0]}{2 * i}.weight"] = drawn(shape, 2**0.5)
            critic[f"{CRITIC[0]}{2 * i}.bias"] = torch.zeros(shape[0])
        last = hidden[-1][0] if hidden else actor.layers[0][0].shape[1]
        critic["value_net.weight"] = drawn((1, last), 1.0)
        critic["value_net.bias"] = torch.zeros(1)
        return {"critic": critic, "optimizer": {}, "rewards": _moments(FRESH)}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:
        """Raise CheckpointError if the optimiser's state is not one of Adam's."""
        for name, entries in theirs["optimizer"].items():
            shapes = {key: tuple(value.shape) for key, value in entries.items() if isinstance(value, Tensor)}
            of_critic = ours["critic"].get(name)
            known = shapes.keys() == {"step", "exp_avg", "exp_avg_sq"} and shapes["exp_avg"] == shapes["exp_avg_sq"]
            if not known or (of_critic is not None and shapes["exp_avg"] != tuple(of_critic.shape)):
                raise CheckpointError(
                    f"the checkpoint is damaged: its optimiser's {name} is not Adam's; use an earlier checkpoint"
                )

    def draw(self, source: Any, n: int, generator: torch.Generator, first: int) -> tuple[Tasks, Tasks]:
        """Return the source's vector environment, and a seed from which its next reset draws the tasks."""
        seed = int(torch.randint(2**31 - self.n_envs, (), generator=generator, device=generator.device))
        seeded = source.vec_env(self.n_envs), seed
        return seeded, seeded

    def gather(self, adapter: Adapter, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Batch:
        """Return the environment and the seed as they are: SB3 samples by itself."""
        return Batch([], tasks, self.n_envs)

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Take one of SB3's iterations."""
        env, of_tasks = batch.query
        env.seed(of_tasks)
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
        with _random_numbers_of(seed):
            model = self.model(adapter, meta, state, env)
            try:
                model.learn(self.n_envs * model.n_steps)
            except ValueError as error:  # torch's distributions refuse what is not finite
                require_finite("policy", *model.policy.parameters())
                reason = str(error).partition("\n")[0]
                raise NonFiniteError(f"SB3's PPO gave up, and the outer step was refused: {reason}") from error
        require_finite("policy", *model.policy.parameters())
        logged = model.logger.name_to_value.items()
        said: dict[str, float | Tensor] = {name.removeprefix("train/"): float(value) for name, value in logged}
        loss = torch.tensor(said.pop("loss"))
        returns = [episode["r"] for episode in model.ep_info_buffer or ()]
        if returns:
            said[f"{adapter.problem.metric}/after_0_steps"] = float(np.mean(returns))
        changed = sb3_models.with_actor_of(adapter, meta, model)
        return Outcome(changed, loss, metrics=said, timesteps=model.num_timesteps), _state_of(model)

    def model(self, adapter: Adapter, meta: Meta, state: State, env: TaskVecEnv) -> PPO:
        """Return SB3's model with the policy in force, and all that the iterations before left."""
        steps = self.n_steps or env.horizon
        watched: VecEnv = VecMonitor(env)
        if self.normalise_rewards:
            scaled = VecNormalize(watched, norm_obs=False, gamma=self.gamma)
            moments = {name: value.item() for name, value in state["rewards"].items()}
            scaled.ret_rms.mean, scaled.ret_rms.var = np.array(moments["mean"]), np.array(moments["var"])
            scaled.ret_rms.count = moments["count"]
            watched = scaled
        own = ("learning_rate", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "ent_coef", "vf_coef")
        model: PPO = sb3_models.model_of(
            sb3_models.actor_of(adapter, meta, meta["theta"]),
            PPO,
            watched,
            n_steps=steps,
            max_grad_norm=self.max_grad_norm,
            stats_window_size=self.n_envs * steps,
            device="cpu",
            **{name: getattr(self, name) for name in own},
        )
        model.set_logger(Logger(None, []))
        for name, value in model.policy.named_parameters():
            if name in state["critic"]:
                with torch.no_grad():
                    value.copy_(state["critic"][name])
            if name in state["optimizer"]:
                model.policy.optimizer.state[value] = {
                    key: kept.clone().cpu() for key, kept in state["optimizer"][name].items()
                }
        return model


def _state_of(model: PPO) -> State:
    """Return what the next iteration needs of a model beside its actor."""
    parameters = dict(model.policy.named_parameters())
    normaliser = model.get_vec_normalize_env()
    moments: Mapping[str, Any] = FRESH if normaliser is None else vars(normaliser.ret_rms)
    return {
        "critic": {name: value.detach().clone() for name, value in parameters.items() if name.startswith(CRITIC)},
        "optimizer": {name: dict(model.policy.optimizer.state[value]) for name, value in parameters.items()},
        "rewards": _moments(moments),
    }


def _moments(values: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(float(values[name]), dtype=torch.float64) for name in FRESH}


@contextmanager
def _random_numbers_of(seed: int) -> Iterator[None]:
    """Let the global generators, which SB3 draws from, be those of a seed, and afterwards as they were."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
