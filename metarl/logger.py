"""What a run's log says of one outer step, by the names that TensorBoard shows."""

from metarl import processes
from metarl.adapters.base import Adapter, Meta
from metarl.evaluation import measure_steps, measured_steps
from metarl.outer import Outcome


def metrics(adapter: Adapter, meta: Meta, outcome: Outcome) -> dict[str, float]:
    """Return the metrics of one outer step: after each inner step, of the adaptation, of the outer step, of what is learned.

    Args:
        adapter: what adapted.
        meta: the meta-parameters that it adapted with, before the outer step.
        outcome: what the outer step saw and did.
    """
    problem = adapter.problem
    log = {"train/query_loss": float(outcome.loss)}
    log |= {name if "/" in name else f"train/{name}": float(value) for name, value in outcome.metrics.items()}
    if outcome.adaptation is None:  # pretraining adapts to no task
        return log
    measures = measure_steps(adapter, meta, outcome.adaptation, outcome.query)
    labels = stage_labels(adapter, len(outcome.adaptation.adapted) - 1)
    for label, measure in zip(labels, measures, strict=True):
        for name, values in measure.items():
            log[f"{name}/{label}"] = float(processes.mean(values.mean()))
    if len(labels) > 1:
        first, last = (log[f"{problem.metric}/{label}"] for label in (labels[0], labels[-1]))
        log["train/adaptation_gain"] = problem.sign * (last - first)
    for name, value in adapter.report(meta, outcome.adaptation).items():
        log[f"train/{name}"] = float(processes.mean(value))
    log |= {f"train/{name}": value for name, value in problem.counts().items()}
    return log | {f"train/{name}": value for name, value in adapter.describe(outcome.meta).items()}


def stage_labels(adapter: Adapter, steps: int) -> list[str]:
    """Return what the log calls the measures: after each number of inner steps, or once where adapting takes no steps."""
    takes_steps = adapter.stage == Adapter.stage
    return [f"after_{step}_steps" for step in measured_steps(steps)] if takes_steps else ["adapted"]


def seconds_by_part(adapter: Adapter, iterations: int) -> dict[str, float]:
    """Return the mean seconds of an iteration's parts since the last call: sampling, adaptation, and the rest."""
    seconds = adapter.clock.read()
    sampling, adaptation = seconds.get("sampling", 0.0), seconds.get("adaptation", 0.0)
    parts = {
        "sampling": sampling,
        "adaptation": adaptation,
        "outer_step": seconds.get("outer step", 0.0) - sampling - adaptation,
    }
    return {f"time/{name}_seconds": value / iterations for name, value in parts.items()}
