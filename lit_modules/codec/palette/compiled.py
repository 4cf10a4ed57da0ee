"""What numba compiles: loops over pixels, kept on disk and free of Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Array = NDArray[Any]
"""Of whole numbers; numba gives their arithmetic 64 bits."""


def compiled(function: Function) -> Function:
    """A function of its own."""
    return cast(Function, njit(cache=True, nogil=True)(function))


def inlined(function: Function) -> Function:
    """Part of whatever calls it: to hand over dozens of arrays costs more than what it does."""
    return cast(Function, njit(cache=True, nogil=True, forceinline=True)(function))


def of_integers(function: Function) -> Function:
    """A function of two integers, compiled once for those of all widths."""
    return cast(Function, njit("int64(int64, int64)", cache=True, nogil=True)(function))
