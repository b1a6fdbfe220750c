"""Stable-Baselines3's models from agents and back: SB3's learning goes on from a meta-learned policy, and ours from SB3's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from metarl.adapters import Adapter, GradientAdapter
from metarl.adapters.base import Meta, shared
from metarl.agents.sources import name_of
from metarl.errors import ConfigError
from metarl.networks import ACTIVATIONS
from metarl.sampling.stochastic_policy import StochasticPolicy

if TYPE_CHECKING:
    from metarl.agents.base import Agent

LOG_STD = "log_std"


class Actor(NamedTuple):
    """A multilayer perceptron that gives distribution parameters.

    Attributes:
        hidden: the widths of its hidden layers.
        activation: between them, by name; see ``metarl.networks.ACTIVATIONS``.
        layers: weight and bias of every layer, the output's last.
        log_std: of continuous actions, shape (actions,); None of discrete ones.
    """

    hidden: tuple[int, ...]
    activation: str
    layers: list[tuple[Tensor, Tensor]]
    log_std: Tensor | None


def to_sb3(agent: Agent, algorithm: type[OnPolicyAlgorithm], env: gym.Env[Any, Any] | VecEnv, steps: int, **kwargs: Any) -> Any:
    """Return an SB3 model that starts at an agent's policy; see ``Agent.to_sb3``."""
    if not (isinstance(algorithm, type) and issubclass(algorithm, OnPolicyAlgorithm)):
        raise ConfigError(f"algorithm={algorithm!r} has no stochastic actor of its own to start with: give PPO or A2C")
    actor = _of_agent(agent, "to_sb3()", env, steps)
    return model_of(actor, algorithm, env, **kwargs)


def model_of(actor: Actor, algorithm: type[OnPolicyAlgorithm], env: Any, **kwargs: Any) -> Any:
    """Return an SB3 model with an actor and a new critic.

    Raises:
        ConfigError: ``policy_kwargs`` that change the actor's layers, or an environment that it does not fit.
    """
    policy_kwargs = {
        "net_arch": {"pi": list(actor.hidden), "vf": list(actor.hidden)},
        "activation_fn": ACTIVATIONS[actor.activation],
        **kwargs.pop("policy_kwargs", {}),
    }
    model = algorithm("MlpPolicy", env, policy_kwargs=policy_kwargs, **kwargs)
    layers = _layers_of(model)
    if not _fit(model, actor):
        raise ConfigError(
            f"env: the spaces {model.observation_space} and {model.action_space} are not those of this agent, whose policy "
            f"takes {actor.layers[0][0].shape[1]} numbers and gives {len(actor.layers[-1][1])}: give one of its family"
        )
    if [tuple(layer.weight.shape) for layer in layers] != [tuple(weight.shape) for weight, _ in actor.layers]:
        raise ConfigError(f"policy_kwargs={policy_kwargs!r} changes the actor's layers, which are {actor.hidden} here")
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, actor.layers, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        if actor.log_std is not None:
            model.policy.log_std.copy_(actor.log_std)
    return model


def from_sb3(kind: type[Agent], model: Any, env: str | gym.Env[Any, Any], **options: Any) -> Any:
    """Return an agent whose meta-learning starts at an SB3 model's actor; see ``Agent.from_sb3``."""
    if not isinstance(model, OnPolicyAlgorithm):
        raise ConfigError(f"model={type(model).__name__} has no stochastic actor of its own: give a PPO or A2C")
    layers = _layers_of(model)
    activation = _activation_of(model.policy.mlp_extractor.policy_net)
    hidden = tuple(layer.out_features for layer in layers[:-1])
    agent = kind("MlpPolicy", env, policy_kwargs={"hidden": hidden, "activation": activation}, **options)
    try:
        if not _fit(model, _of_agent(agent, "from_sb3()")):
            raise ConfigError(
                f"env={name_of(agent.env)} does not fit the model, which was made for the spaces {model.observation_space} "
                f"and {model.action_space}"
            )
    except ConfigError:
        agent.close()
        raise
    agent.meta = with_actor_of(agent.adapter, agent.meta, model)
    return agent


def _fit(model: OnPolicyAlgorithm, actor: Actor) -> bool:
    """Return whether an SB3 model's observations and actions are those of an actor, whatever layers lie between."""
    layers = _layers_of(model)
    theirs = layers[0].in_features, layers[-1].out_features, hasattr(model.policy, LOG_STD)
    return theirs == (actor.layers[0][0].shape[1], len(actor.layers[-1][1]), actor.log_std is not None)


def with_actor_of(adapter: Adapter, meta: Meta, model: OnPolicyAlgorithm) -> Meta:
    """Return meta-parameters with an SB3 model's actor, of the same layers, in the place of the network."""
    learner = adapter.learner
    policy = learner.structure
    assert isinstance(policy, StochasticPolicy)
    names = [f"network.{name}.{part}" for name in linears_of(policy) for part in ("weight", "bias")]
    theirs = [value for layer in _layers_of(model) for value in (layer.weight, layer.bias)]
    values = dict(zip(names, theirs, strict=True))
    if hasattr(policy, LOG_STD):
        values[LOG_STD] = model.policy.log_std
    layouts = {"theta": learner.layout, "shared": learner.shared_layout}
    with torch.no_grad():
        changed = {name: layouts[name].flatten(values).clone().to(meta[name]) for name in layouts if name in meta}
    return {**meta, **changed}


def _of_agent(agent: Agent, asked: str, env: gym.Env[Any, Any] | VecEnv | None = None, steps: int = 0) -> Actor:
    """Return an agent's policy, after steps on an environment's own task if there are any.

    Args:
        agent: whose policy.
        asked: what an error calls the wish for it.
        env: whose task.
        steps: inner steps.

    Raises:
        ConfigError: an agent without policies that gradient steps adapt, or a policy that SB3 has no like of.
    """
    adapter = agent.adapter
    if not isinstance(adapter, GradientAdapter) or not adapter.problem.on_policy:
        raise ConfigError(
            f"{asked} needs a policy that gradient steps adapt, such as MAML's, and {type(agent).__name__} has none"
        )
    return actor_of(adapter, agent.meta, agent.adapted_to(env, steps)[1][0] if steps else agent.meta["theta"])


def actor_of(adapter: Adapter, meta: Meta, theta: Tensor) -> Actor:
    """Return the policy with theta, shape (P,), in the place of the network's adapted parameters.

    Raises:
        ConfigError: SB3 has no like of it.
    """
    policy = adapter.learner.structure
    assert isinstance(policy, StochasticPolicy), "the source of policies makes no other"
    linears = linears_of(policy)
    values = adapter.learner.layout.unflatten(theta)
    values |= adapter.learner.shared_layout.unflatten(shared(meta))
    layers = [(values[f"network.{name}.weight"], values[f"network.{name}.bias"]) for name in linears]
    return Actor(tuple(len(bias) for _, bias in layers[:-1]), _activation_of(policy.network), layers, values.get(LOG_STD))


def linears_of(policy: StochasticPolicy) -> list[str]:
    """Return the names of a policy's layers within its network.

    Raises:
        ConfigError: its network is no multilayer perceptron with one activation, or normalises observations.
    """
    network = policy.network
    parts = dict(network.named_children()) if isinstance(network, nn.Sequential) else {}
    activations = {type(part) for part in parts.values()} - {nn.Linear}
    if not parts or len(activations) > 1 or not activations <= set(ACTIVATIONS.values()):
        raise ConfigError(
            f"policy={type(network).__name__} is no multilayer perceptron with one activation, as SB3's MlpPolicy is"
        )
    if not isinstance(policy.norm, nn.Identity):
        raise ConfigError(
            "rollouts: normalise_observations=True has no like in an SB3 policy: train without it, or in SB3's VecNormalize"
        )
    return [name for name, part in parts.items() if isinstance(part, nn.Linear)]


def _layers_of(model: OnPolicyAlgorithm) -> list[nn.Linear]:
    """Return the linear layers of an SB3 model's actor.

    Raises:
        ConfigError: a policy with other layers before them.
    """
    policy: Any = model.policy
    if not hasattr(policy, "mlp_extractor") or any(True for _ in policy.features_extractor.parameters()):
        raise ConfigError(f"model: {type(policy).__name__} is no MlpPolicy, and no other starts or is started from")
    return [*(layer for layer in policy.mlp_extractor.policy_net if isinstance(layer, nn.Linear)), policy.action_net]


def _activation_of(network: nn.Module) -> str:
    """Return the name of the one activation between a perceptron's layers; any where there is none.

    Raises:
        ConfigError: one that our perceptrons do not have.
    """
    kinds = {type(layer) for layer in network.children()} - {nn.Linear}
    if not kinds:
        return "tanh"
    for name, kind in ACTIVATIONS.items():
        if kinds == {kind}:
            return name
    named = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ConfigError(f"activation_fn={named} is not one of {', '.join(ACTIVATIONS)}: train with one of these")
