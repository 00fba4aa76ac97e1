"""Imports transformers without scikit-learn and scipy, which it loads where they are, and with them pandas and pyarrow.

It needs one function of each, for assisted decoding and for object detection; here nothing does. That would be 140 MiB
and a second in every process. They are imported when a function is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

DEFERRED = ("sklearn.metrics", "scipy.optimize")


class DeferredModule(ModuleType):
    """A module of functions, which is imported when the first of them is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # what the import system asks for
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **options)

        return call


@contextmanager
def deferred(names: tuple[str, ...]) -> Iterator[None]:
    """Within: `from module import function` of these modules imports them later, unless they are there already."""
    stand_ins = {name: DeferredModule(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


with deferred(DEFERRED):
    import transformers.generation.candidate_generator
    import transformers.loss.loss_utils  # noqa: F401
