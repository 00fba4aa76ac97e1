"""What transformers would import for functions that nothing here calls is imported when they are called."""

import subprocess
import sys

import pytest

from ocr_rl.models.deferred_imports import deferred

HEAVY = ("sklearn", "scipy", "pandas", "pyarrow", "datasets", "matplotlib", "tensorboard", "peft")

LOADED = f"""
import sys
import ocr_rl.pipeline.job
print([name for name in sys.modules if name.partition(".")[0] in {HEAVY!r}])

from transformers.generation.candidate_generator import roc_curve
print(*roc_curve([0, 1], [.1, .9])[1])
from transformers.loss.loss_for_object_detection import linear_sum_assignment
print(*linear_sum_assignment([[0, 1], [1, 0]])[1])
"""


def test_training_imports_no_packages_for_tables_and_statistics():
    """They take 140 MiB in every process. Their functions work: the curve rises to 1, and the diagonal is cheapest."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")  # it is in requirements/train.txt
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "0.0 1.0 1.0", "0 1"]


def test_only_names_of_the_import_system_are_missing_in_a_deferred_module(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with deferred(("colorsys",)):
        from colorsys import rgb_to_hls

        assert not hasattr(sys.modules["colorsys"], "__path__")
    assert "colorsys" not in sys.modules
    assert rgb_to_hls(1, 0, 0) == (0, 0.5, 1)


def test_a_module_that_is_there_is_not_replaced():
    import json

    with deferred(("json",)):
        assert sys.modules["json"] is json
    assert sys.modules["json"] is json
