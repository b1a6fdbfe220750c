"""Prototypical Networks on Omniglot: train with 20 ways, test with 5, one image of each class.

    python examples/prototypes_on_omniglot.py

A class's prototype is the mean of its embedded support images; a query image belongs to the class whose prototype is
nearest. Nothing takes a gradient step: adaptation is one pass through the network. Training on more ways than are tested
makes each episode harder, and the embedding better. After Snell, Swersky and Zemel 2017, sections 2.3 and 3.1.
"""

import gymnasium as gym
import numpy as np

import metarl

WAYS = 5


def main(root: str = "data", iterations: int = 2000, train_ways: int = 20, tasks: int = 600) -> tuple[metarl.Evaluation, float]:
    """Run the example; return its evaluation on unseen characters, and the accuracy on one episode of them.

    Args:
        root: the folder that holds Omniglot's ``images_background`` and ``images_evaluation``; docs/images.md says where
            they come from.
        iterations: outer steps.
        train_ways: classes of an episode in training.
        tasks: episodes of the evaluation.
    """
    env_kwargs = {"root": root, "ways": WAYS, "train_ways": train_ways, "shots": 1}
    agent = metarl.ProtoNet("Conv4", "metarl/Omniglot-v0", env_kwargs=env_kwargs, seed=0)
    agent.learn(iterations, log_interval=50, progress_bar=True)

    evaluation = agent.evaluate(tasks)  # episodes of 5 classes that training has not seen
    print(evaluation)  # accuracy: mean, 95% interval and median

    # one episode, as an environment: a support set with its classes, and query images to be classified
    env = gym.make("metarl/Omniglot-v0", root=root, ways=WAYS, shots=1, split="test")
    observation, _ = env.reset(seed=0)
    classes, _ = agent.predict(observation)  # embeds the support images, then compares
    _, accuracy, *_ = env.step(classes)
    print(f"one episode: {np.size(classes)} query images, {float(accuracy):.1%} right")
    env.close()
    return evaluation, float(accuracy)


if __name__ == "__main__":
    main()
