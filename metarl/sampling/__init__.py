"""Sampling: trajectories, the vector environments they come from, and the distributions that actions are drawn from.

Nothing is imported here: a worker process imports what steps environments, and no torch.
"""
