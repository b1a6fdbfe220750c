"""What both sides of ``navigation.py`` say of the same step."""

AGREE = ("surrogate loss after a tenth of the step", "norm of the gradient", "norm of the step", "KL of a tenth of the step")
