"""The interpreter takes maxima and minima as a device does, which leaves NaN out."""

from collections.abc import Iterator
from functools import partialmethod
from typing import Any

import numpy as np
import pytest


def binary(self: Any, one: Any, other: Any, *, operator: Any) -> Any:
    return self.binary_op(one, other, operator)


@pytest.fixture(autouse=True)
def extremes_without_nan() -> Iterator[None]:
    try:
        from triton.runtime.interpreter import InterpreterBuilder
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, operator in (("create_maxnumf", np.fmax), ("create_minnumf", np.fmin)):
            patch.setattr(InterpreterBuilder, name, partialmethod(binary, operator=operator))
        yield
