r"""Multiplication by a fraction of whole numbers that can be undone bit for bit, as reversible learning needs it.

Maclaurin, Duvenaud and Adams 2015, "Gradient-based Hyperparameter Optimization through Reversible Learning", Algorithm 3.
"""

import copy

import torch
from torch import Tensor

from metarl.errors import ConfigError

DENOMINATOR = 2**16
"""What fractions are of: a momentum is rounded to a multiple of 1.5e-5."""
CAPACITY = 2**62
"""A word of the buffer is kept below it."""
FRACTION_BITS = 48
"""Numbers are multiples of 2^-48, 3.6e-15."""
LIMIT = 2.0 ** (61 - FRACTION_BITS)
"""Numbers may be as large as this, 8,192, so that a sum of several stays within 64 bits."""


def numerator(fraction: float) -> int:
    """Return n such that n / 2^16 is the nearest to a fraction.

    Raises:
        ConfigError: a fraction outside (0, 1], or one that is rounded to zero: what is multiplied with it is lost.
    """
    nearest = round(fraction * DENOMINATOR) if 0 < fraction <= 1 else 0
    if nearest < 1:
        raise ConfigError(
            f"momentum={fraction!r} must lie in [{1 / DENOMINATOR:.1e}, 1]: with none a step cannot be taken back"
        )
    return nearest


def to_fixed(values: Tensor) -> Tensor:
    """Return numbers as whole multiples of 2^-48, int64."""
    return (values.double() * 2.0**FRACTION_BITS).round().to(torch.int64)


def to_float(fixed: Tensor) -> Tensor:
    """Return whole multiples of 2^-48 as float64."""
    return fixed.double() * 2.0**-FRACTION_BITS


class InformationBuffer:
    r"""What whole numbers lose when they are multiplied with fractions n / d below one, so that they can be had back.

    A number loses $\log_2(d / n)$ bits in a multiplication. They go into a whole number i, one for each: i becomes
    $\lfloor (i d + (c \bmod d)) / n \rfloor$, and what this division leaves over goes back into $c$. When i could outgrow a
    word, the word is put on a stack. So the memory grows with the number of multiplications, but by the bits that are lost
    and a little more: with a momentum of 0.9 by 0.15 bits, where keeping the number itself would take 64.

    Args:
        like: any tensor of the numbers' shape and device.
    """

    def __init__(self, like: Tensor) -> None:
        self._word = torch.zeros_like(like, dtype=torch.int64)
        self._bound = 0  # no entry of the word is above it; it is known without looking at the word
        self._taken = 0
        self._stack: list[tuple[int, Tensor, int]] = []

    def shrink(self, values: Tensor, n: int) -> Tensor:
        """Return about ``values * n / d``, int64, and keep what is lost."""
        if (self._bound + 1) * DENOMINATOR > CAPACITY:
            self._stack.append((self._taken, self._word, self._bound))
            self._word, self._bound = torch.zeros_like(self._word), 0
        whole = self._word * DENOMINATOR + values.remainder(DENOMINATOR)
        self._word = whole.div(n, rounding_mode="floor")
        self._bound = ((self._bound + 1) * DENOMINATOR - 1) // n
        self._taken += 1
        return values.div(DENOMINATOR, rounding_mode="floor") * n + whole.remainder(n)

    def grow(self, values: Tensor, n: int) -> Tensor:
        """Return what the last ``shrink`` was given, from what it returned and its n."""
        whole = self._word * n + values.remainder(n)
        self._word = whole.div(DENOMINATOR, rounding_mode="floor")
        self._taken -= 1
        if self._stack and self._stack[-1][0] == self._taken:
            _, self._word, self._bound = self._stack.pop()
        return values.div(n, rounding_mode="floor") * DENOMINATOR + whole.remainder(DENOMINATOR)

    def copy(self) -> "InformationBuffer":
        """Return a buffer of the same content."""
        other = copy.copy(self)
        other._stack = list(self._stack)
        return other

    @property
    def nbytes(self) -> int:
        """The bytes that it takes now, the word at hand included."""
        return self._word.nbytes * (1 + len(self._stack))
