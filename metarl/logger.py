"""What a run's log says: the figures of one outer step, by the names that TensorBoard shows."""

from typing import Any

from torch import Tensor

from metarl import processes
from metarl.adaptation import Adaptation, InnerLoop, Meta
from metarl.outer import Outcome
from metarl.problems import Problem

FEW = 20
"""Inner steps up to which every one is measured."""


def measured_steps(steps: int) -> list[int]:
    """Return after which numbers of inner steps figures are measured: 0, 1, ... up to 20, else eleven evenly spaced ones."""
    return list(range(steps + 1)) if steps <= FEW else sorted({round(i * steps / 10) for i in range(11)})


def measure_steps(problem: Problem[Any], adaptation: Adaptation, query: Any) -> list[dict[str, Tensor]]:
    """Return the problem's measures after each of ``measured_steps``, each of shape (tasks,).

    A policy is judged by the trajectories it sampled itself, a predictor by the query set throughout.
    """
    parameters = adaptation.parameters
    experiences = [*adaptation.experiences, query] if problem.on_policy else [query] * len(parameters)
    return [problem.measure(parameters[step], experiences[step]) for step in measured_steps(len(parameters) - 1)]


def figures(inner: InnerLoop, meta: Meta, outcome: Outcome) -> dict[str, float]:
    """Return the figures of one outer step: of each inner step, of the adaptation, of the outer step, of gates and rates."""
    problem, found = inner.problem, {}
    found["train/query_loss"] = float(outcome.loss)
    found |= {f"train/{name}": float(value) for name, value in outcome.metrics.items()}
    if outcome.adaptation is None:  # pretraining adapts to no task
        return found
    measures = measure_steps(problem, outcome.adaptation, outcome.query)
    steps = measured_steps(inner.steps)
    for step, measure in zip(steps, measures, strict=True):
        for name, values in measure.items():
            found[f"{name}/after_{step}_steps"] = float(processes.mean(values.mean()))
    first, last = (found[f"{problem.figure}/after_{step}_steps"] for step in (0, inner.steps))
    found["train/adaptation_gain"] = problem.gain * (last - first)
    for step, loss in enumerate(outcome.adaptation.losses):
        found[f"train/support_loss_before_step_{step + 1}"] = float(processes.mean(loss.mean()))
    for step, state in enumerate(outcome.adaptation.states):
        for name, values in inner.rule.gates(state).items():
            found[f"train/{name.replace(' ', '_')}_of_step_{step + 1}"] = float(processes.mean(values.mean()))
    rates = inner.rule.rates_of(meta)
    if rates is not None:
        found |= {"train/rate_mean": float(rates.mean()), "train/rate_std": float(rates.std(correction=0))}
    return found


def seconds_by_part(inner: InnerLoop, iterations: int) -> dict[str, float]:
    """Return the mean seconds of an iteration's parts since the last call: sampling, adaptation, and the rest."""
    seconds = inner.clock.read()
    sampling, adaptation = seconds.get("sampling", 0.0), seconds.get("adaptation", 0.0)
    parts = {
        "sampling": sampling,
        "adaptation": adaptation,
        "outer_step": seconds.get("outer step", 0.0) - sampling - adaptation,
    }
    return {f"time/{name}_seconds": value / iterations for name, value in parts.items()}
