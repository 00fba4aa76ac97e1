"""Several recipes under one budget, from their pages to the report: `ocr-rl compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ocr_rl.comparison.experiment import run_experiment, write_json
from ocr_rl.comparison.plan import Plan, check_comparable, check_plan
from ocr_rl.config.chains import recipes_of
from ocr_rl.data.loading import recipe_pages
from ocr_rl.data.splits import held_out_pages
from ocr_rl.pipeline.job import divided
from ocr_rl.pipeline.pages import collect_pages
from ocr_rl.reporting.comparison_report import comparison_report
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.runs.folder import RunFolder
from ocr_rl.types import Page


def compare(plan: Plan, jobs: int = 1, command: str = "") -> dict[str, Any]:
    """Run what the plan still lacks, `jobs` runs at a time; then write compare.json and compare.html into its folder.

    Returns:
        The contents of compare.json. `command`, the command line, is kept in its settings.

    Raises:
        ValueError: the plan's recipes, pages or model cannot be used, or its folder holds other runs.
        TrialLostError: a run was killed, or failed on a bug; the same call continues.
    """
    check_plan(plan)
    plan.out.mkdir(parents=True, exist_ok=True)
    recipe = recipes_of(plan.recipes[plan.reference])[0]
    with RunFolder(plan.out).locked():
        pages = collect_pages(recipe, plan.out / "pages")
        _check_pages(plan, pages)
        compared = run_experiment(plan, pages, jobs)
    if command:
        compared["settings"] = {"command": command, **compared["settings"]}
    write_json(plan.out / "compare.json", compared)
    report = comparison_report(compared, {page.id: page for page in pages})
    write_atomically(plan.out / "compare.html", report)
    return compared


def check(plan: Plan) -> None:
    """Raises ValueError for what `compare` would refuse; of a collection that is not rendered yet, not its pages."""
    check_plan(plan)
    recipe, rendered = recipes_of(plan.recipes[plan.reference])[0], plan.out / "pages"
    if recipe.data.path or rendered.is_dir():
        _check_pages(plan, recipe_pages(recipe, rendered))


def _check_pages(plan: Plan, pages: Sequence[Page]) -> None:
    """Raises ValueError for pages that no recipe could be compared on, or fewer than one is to train on."""
    recipe = recipes_of(plan.recipes[plan.reference])[0]
    check_comparable(plan, held_out_pages(pages, recipe.data, recipe.train.eval_pages)[1])
    for label, system in plan.recipes.items():
        for stage in [stage for stage in recipes_of(system) if stage.data.amount]:
            try:
                divided(stage, pages)
            except ValueError as error:
                raise ValueError(f"{label}: {error}") from None
