"""Checkpoints of version 1, as metarl 0.1.0 wrote them, in today's form."""

from collections.abc import Mapping
from typing import Any

from metarl.agents.options import Options
from metarl.errors import CheckpointError
from metarl.registry import AGENTS

AGENTS_OF_1 = {
    "MAML": "maml",
    "MetaSGD": "meta-sgd",
    "MetaLSTM": "meta-lstm",
    "MetaLSTM2": "meta-lstm-2",
    "TURTLE": "turtle",
    "AlphaMAML": "alpha-maml",
    "TrainFromScratch": "scratch",
    "Finetuning": "finetuning",
    "BaselinePlusPlus": "baseline++",
    "NearestNeighbour": "nearest-neighbour",
    "BaselineFinetune": "baseline-finetune",
}
OUTER_OF_1 = {
    "TRPO": "trpo",
    "GradientDescent": "gradient_descent",
    "HypergradientDescent": "hypergradient_descent",
    "Pretraining": "pretraining",
}
RULES_OF_1 = {
    "GradientDescent": "gradient-descent",
    "MetaSGD": "meta-sgd",
    "MetaLSTM": "lstm",
    "TURTLE": "turtle",
    "Adam": "adam",
}
RENAMED = {"normalization": "normalisation", "vectorization": "vectorisation"}


def current(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint of version 1 holds in today's form.

    Raises:
        CheckpointError: an entry is missing or of another kind.
    """
    try:
        return _current(held)
    except (KeyError, AttributeError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"the checkpoint of version {held.get('version')!r} is damaged: {type(error).__name__} {error}; use an earlier one"
        ) from error


def _current(held: Mapping[str, Any]) -> dict[str, Any]:
    made = held["arguments"]
    name = AGENTS_OF_1.get(held["agent"], held["agent"])
    options = _options(name, made)
    rollouts = None if made["rollouts"] is None else {RENAMED.get(key, key): value for key, value in made["rollouts"].items()}
    if rollouts is not None and rollouts.get("vectorisation") == "async":
        rollouts["vectorisation"] = "workers"
    outer = {**made["outer"], "name": OUTER_OF_1.get(made["outer"]["name"], made["outer"]["name"])}
    meta = _meta(name, held["meta"], held.get("running", {}))
    best = held["best"]
    if best is not None:
        meta_of_best = _meta(name, best["meta"], best.get("running", {}))
        best = {"score": best["score"], "iteration": best["iteration"], "meta": meta_of_best}
    learned = [key for key in meta if not key.startswith("running.")]
    return {
        "agent": name,
        "policy": made["policy"],
        "env": made["env"],
        "options": options,
        "outer": outer,
        "rollouts": rollouts,
        "meta": meta,
        "outer_state": _outer_state(name, outer["name"], held["outer"], learned, held["iteration"]),
        "streams": {"tasks": held["generator"], "noise": None, "adaptation": None},  # it had one for all
        "device": held["device"],
        "iteration": held["iteration"],
        "num_timesteps": held["num_timesteps"],
        "best": best,
    }


def _options(name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an agent: what it took itself, and what its rule took."""
    same = {key: made[key] for key in made if key not in ("policy", "env", "rule", "rule_kwargs", "outer", "rollouts", "dtype")}
    options = {**same, **made["rule_kwargs"], "dtype": made["dtype"]}
    options["env_kwargs"] = {RENAMED.get(key, key): value for key, value in made["env_kwargs"].items()}
    if name not in AGENTS:
        kept = {key: value for key, value in same.items()}
        return {
            **kept,
            "dtype": made["dtype"],
            "rule": RULES_OF_1.get(made["rule"], made["rule"]),
            "rule_kwargs": made["rule_kwargs"],
        }
    kind: type[Options] = AGENTS.load(name).Options
    return {key: value for key, value in options.items() if key in kind.__dataclass_fields__}


def _meta(name: str, meta: Mapping[str, Any], running: Mapping[str, Any]) -> dict[str, Any]:
    """Return the meta-parameters with the running averages among them; an embedding had a head that nothing used."""
    values = dict(meta)
    if name == "nearest-neighbour":
        values = {"theta": values["shared"]}
    return values | {f"running.{key}": value for key, value in running.items()}


def _outer_state(agent: str, outer: str, held: Mapping[str, Any], learned: list[str], iteration: int) -> dict[str, Any]:
    """Return an outer loop's state; optimisers numbered what is now known by name."""

    def of(state: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
        return {names[int(number)]: dict(values) for number, values in state["state"].items()}

    if outer == "gradient_descent":
        return {"optimizer": of(held, learned), "steps": iteration}
    if outer == "hypergradient_descent":
        names = list(held["last"])
        return {"beta": held["beta"], "last": dict(held["last"]), "optimizer": of(held["optimizer"], names)}
    if outer == "pretraining":
        classifier = dict(held["classifier"])
        names = [key for key in ("theta", "shared") if key in learned] + [f"classifier.{key}" for key in classifier]
        state = held["optimizer"]
        if agent == "nearest-neighbour":  # its theta was the head that nothing used, its shared parameters are theta now
            moments = {int(number): values for number, values in state["state"].items()}
            body = ["theta", *names[1:]]
            renamed = {name: moments[number + 1] for number, name in enumerate(body) if number + 1 in moments}
            plain = [key.rpartition(".")[2] for key in classifier]
            classifier = dict(zip(plain, classifier.values(), strict=True))
            optimizer = {
                (f"classifier.{name.rpartition('.')[2]}" if name.startswith("classifier.") else name): dict(values)
                for name, values in renamed.items()
            }
            return {"classifier": classifier, "optimizer": optimizer}
        return {"classifier": classifier, "optimizer": of(state, names)}
    return dict(held)
