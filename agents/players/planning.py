"""Value iteration in tabular MDPs of a finite horizon."""

import numpy as np

from metarl.agents.players.base import Numbers


def plan(transitions: Numbers, rewards: Numbers, horizon: int) -> tuple[Numbers, Numbers]:
    """Return the best policies of many MDPs and their values, by going back from an episode's end (Bellman 1957).

    Args:
        transitions: probabilities of the next state, shape (rows, states, actions, states).
        rewards: mean rewards, shape (rows, states, actions).
        horizon: steps of an episode.

    Returns:
        The actions by step and state, shape (rows, horizon, states), and the mean returns from each state at the first step,
        shape (rows, states).
    """
    rows, states, actions = rewards.shape
    policy = np.empty((rows, horizon, states), dtype=np.int64)
    values = np.zeros((rows, states))
    flat = transitions.reshape(rows, states * actions, states)
    for step in range(horizon - 1, -1, -1):
        of_actions = rewards + (flat @ values[..., None]).reshape(rewards.shape)
        policy[:, step], values = of_actions.argmax(-1), of_actions.max(-1)
    return policy, values
