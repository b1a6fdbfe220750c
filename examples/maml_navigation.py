"""MAML under TRPO on 2D navigation: meta-train a policy, evaluate it, adapt it to one goal, and draw the paths it takes.

    python examples/maml_navigation.py

A point in the plane must find a goal that only the reward tells of. Meta-training looks for parameters from which one
gradient step, on 20 trajectories, is enough. After Finn, Abbeel and Levine 2017, section 5.3; docs/results.md says how the
settings were chosen, and what others give.
"""

import gymnasium as gym
import numpy as np
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import metarl

GOAL = (0.3, -0.2)


def main(
    iterations: int = 100, meta_batch: int = 20, trajectories: int = 20, tasks: int = 600, picture: str = "navigation.png"
) -> tuple[metarl.Evaluation, float]:
    """Run the example; return its evaluation on unseen goals, and the mean return at ``GOAL`` after adaptation.

    Args:
        iterations: outer steps.
        meta_batch: goals in an outer step.
        trajectories: for each goal, before the inner step and again after it.
        tasks: unseen goals of the evaluation.
        picture: where the paths are saved, as PNG.
    """
    agent = metarl.MAML(
        "MlpPolicy",
        "metarl/Navigation2D-v0",
        rate=0.05,  # of the inner step
        meta_batch=meta_batch,
        # the reward is minus the squared distance in training; evaluations report the distance itself
        rollouts=metarl.Rollouts(trajectories=trajectories, reward="squared", advantages="raw", inner_loss="likelihood-ratio"),
        outer=metarl.TRPO(max_kl=0.02, damping=0.1, fisher_fraction=0.2),
        seed=0,
    )
    agent.learn(iterations, progress_bar=True)

    evaluation = agent.evaluate(tasks)  # on goals of the test split
    print(evaluation)  # the return after 0 and 1 inner steps: mean and 95% interval

    # one goal: `adapt` samples trajectories there, takes the inner step, and returns a policy that SB3 can use
    env = Monitor(gym.make("metarl/Navigation2D-v0", task={"goal": GOAL}))
    policy = agent.adapt(env)
    mean_return = float(np.mean(evaluate_policy(policy, env, n_eval_episodes=5)[0]))
    print(f"return at {GOAL} after adaptation, without exploration: {mean_return:.2f}")
    env.close()

    agent.pictures()["adaptation"].savefig(picture)  # paths before and after the step, on four unseen goals
    print(f"paths: {picture}")
    return evaluation, mean_return


if __name__ == "__main__":
    main()
