"""Imports transformers without scikit-learn and scipy, and so without pandas and pyarrow.

transformers imports them where they are installed, for one function of each: of assisted decoding and of object
detection, which nothing here uses. That would be 140 MiB and a second in every process. Here they are imported when
such a function is called.
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
            remove(self)  # or it would be imported instead
            return getattr(import_module(self.__name__), name)(*args, **options)

        return call


def remove(stand_in: ModuleType) -> None:
    if sys.modules.get(stand_in.__name__) is stand_in:
        del sys.modules[stand_in.__name__]


@contextmanager
def deferred(names: tuple[str, ...]) -> Iterator[None]:
    """Within: `from module import function` of these modules imports them later, unless they are there already."""
    stand_ins = {name: DeferredModule(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for stand_in in stand_ins.values():
            remove(stand_in)


with deferred(DEFERRED):
    import transformers.generation.candidate_generator
    import transformers.loss.loss_utils  # noqa: F401
