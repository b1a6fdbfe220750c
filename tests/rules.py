"""The table of update rules that the contract tests run over: a new rule adds one line."""

from typing import Any

from metarl.rules import TURTLE, Adam, GradientDescent, LearnedOptimiser, MetaLSTM, MetaSGD, UpdateRule

RULES: dict[str, tuple[type[UpdateRule], dict[str, Any]]] = {
    "gradient descent": (GradientDescent, {"rate": 0.1}),
    "a learned rate": (GradientDescent, {"rate": 0.1, "learned": "global"}),
    "rates by step": (GradientDescent, {"rate": [0.1, 0.05], "learned": "step", "steps": 3}),
    "rates by layer": (GradientDescent, {"rate": 0.1, "learned": "layer"}),
    "rates by layer and step": (GradientDescent, {"rate": 0.1, "learned": "layer-step", "steps": 3}),
    "Meta-SGD": (MetaSGD, {"rate": 0.1}),
    "LSTM": (MetaLSTM, {"hidden": 3}),
    "LSTM2": (MetaLSTM, {"hidden": 3, "preprocess": False}),
    "LSTM as gradient descent": (MetaLSTM, {"hidden": 3, "rate": 0.1}),
    "TURTLE": (TURTLE, {"hidden": (4, 4), "activation": "tanh"}),
    # one hidden layer: from the second on the units that carry nothing sit in the ReLU's kink, where no difference is right
    "TURTLE as gradient descent": (TURTLE, {"hidden": (4,), "rate": 0.1}),
    "TURTLE, gradient history": (
        TURTLE,
        {"hidden": (4,), "inputs": ("gradient", "gradient-history", "time"), "activation": "tanh", "beta": 0.4, "steps": 3},
    ),
    "TURTLE, update history": (
        TURTLE,
        {
            "hidden": (4,),
            "inputs": ("gradient", "loss", "update-history"),
            "activation": "tanh",
            "alpha": "ones",
            "steps": 3,
        },
    ),
    "learned optimiser": (LearnedOptimiser, {"hidden": 3}),
    "learned optimiser, raw gradients": (LearnedOptimiser, {"hidden": 3, "preprocess": False}),
    "Adam": (Adam, {"rate": 0.01, "eps": 1e-3}),
    "TURTLE, fixed rates": (TURTLE, {"hidden": (), "alpha": "fixed", "rate": 0.1}),
}
