"""`ocr-rl soup`: the average of several checkpoints of one model, which costs no more to run than one of them.

Adapters are merged first. The average of merged weights is W + mean(B A); the averages of the A and of the B separately
would be W + mean(B) mean(A), another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ocr_rl.config.schema import RewardConfig
from ocr_rl.data.splits import document_of, tuning_and_test
from ocr_rl.evaluation.paired import paired_differences
from ocr_rl.evaluation.results import PageEvaluation
from ocr_rl.evaluation.summary import summarize
from ocr_rl.metric_names import LOWER_IS_BETTER, BestBy
from ocr_rl.publishing.agreement import check_bases, check_fits, common_pages
from ocr_rl.publishing.averaging import Weights, add_share, greedy_choice
from ocr_rl.publishing.model_card import soup_card
from ocr_rl.publishing.packaging import Dtype, chosen_dtype, name_of, new_folder, rounded, write
from ocr_rl.publishing.reading import score
from ocr_rl.publishing.source import Source, find_source
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.types import Page


@dataclass(frozen=True, kw_only=True)
class SoupOptions:
    """How the checkpoints are averaged, and how the average is written."""

    weights: Sequence[float] = ()
    """The share of each checkpoint; without, all have the same."""
    greedy: bool = False
    """Add a checkpoint only if the average does not get worse on held-out pages."""
    metric: BestBy | None = None
    """What decides which checkpoint is better; None: cer where pages have texts, pass_rate elsewhere."""
    dtype: Dtype = "auto"
    """Precision of the file; `auto` is that of the base's checkpoint."""
    max_tokens: int | None = None
    """Tokens of a transcription; None: the recipe's, or 512."""


@dataclass(frozen=True)
class Ingredient:
    """A checkpoint in the pot."""

    source: Source
    share: float
    """Of the average; 0: it was left out."""
    tuning: float | None = None
    """Its metric on the half of the held-out pages that choices are made on."""
    test: float | None = None
    """Its metric on the other half."""


@dataclass(frozen=True)
class Soup:
    """What was written, and what it is made of."""

    folder: Path
    metric: str
    """"" if nothing was measured."""
    ingredients: Sequence[Ingredient]
    columns: dict[str, dict[str, Any]]
    """Evaluations on the test half: of the best checkpoint by the tuning half, and of the soup."""
    against: dict[str, Any] | None
    """The soup's paired differences to that checkpoint (`evaluation.paired.paired_differences`)."""


def soup(
    checkpoints: Sequence[str],
    out: Path,
    options: SoupOptions = SoupOptions(),
    pages: Sequence[Page] = (),
    console: Console = SILENT,
) -> Soup:
    """Write the average of checkpoints of one model.

    Held-out pages are `pages`, else those that the run of the first checkpoint holds out. One half of them, by
    document, chooses the ingredients and the best checkpoint; results are those of the other half. Without any pages
    nothing is measured, nor with pages of a single document.

    Raises:
        ValueError: two checkpoints do not fit together, `out` holds something, or there are no pages for a greedy soup;
            nothing is written.
    """
    check_options(checkpoints, options)
    sources = [find_source(name) for name in checkpoints]
    check_bases(sources)
    held_out = list(pages) or common_pages(sources)
    documents = len({document_of(page) for page in held_out})
    if options.greedy and documents < 2:
        raise ValueError(
            f"a greedy soup is chosen on held-out pages of two documents or more; there are {documents}: give --data"
        )
    if documents < 2:
        held_out = []
    with new_folder(out) as folder:
        pot = Pot(sources, options, held_out, console)
        made = pot.cook(out)
        write(pot.carrier, folder, pot.dtype)
        name, dtype = out.resolve().name, name_of(pot.dtype)
        asked = pot.carrier.prompt_format
        card = soup_card(name, sources, _how(options, made), _rows(made), made.columns, held_out, asked, dtype)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return made


class Pot:
    """The checkpoints, one model that takes the weights of each and of their averages, and the pages to measure them.

    Three copies of the weights are in memory: those of the carrier, of the average, and of the checkpoint being added.
    Everything is measured with the rounding of the file that will be written.
    """

    def __init__(
        self, sources: Sequence[Source], options: SoupOptions, pages: Sequence[Page], console: Console
    ) -> None:
        self.sources, self.options, self.console = sources, options, console
        self.carrier = sources[0].load().merged()
        first = sources[0]
        trusts = first.recipe is not None and first.recipe.model.trust_remote_code
        self.dtype = chosen_dtype(options.dtype, first.base, self.carrier, trusts)
        self.max_tokens = options.max_tokens or first.max_tokens
        self.tuning, self.test = tuning_and_test(pages) if pages else ([], [])
        texts = any(page.text is not None for page in pages)
        self.metric: str = (options.metric or ("cer" if texts else "pass_rate")) if pages else ""
        self.sign = -1 if self.metric in LOWER_IS_BETTER else 1
        self.rewards: RewardFunction | None = None
        if pages:
            rewards = RewardFunction(make_rubric(RewardConfig()), pages)
            self.rewards = rewards.of_output(self.carrier.prompt_format.output)

    def cook(self, out: Path) -> Soup:
        """The carrier holds the soup afterwards."""
        count = len(self.sources)
        alone = [self._measured([i], [*self.tuning, *self.test]) for i in range(count)] if self.metric else []
        tuning, test = ([_of(results, half) for results in alone] for half in (self.tuning, self.test))
        values = [self._value(results) for results in tuning]
        shares = list(self.options.weights) or [1 / count] * count
        if self.options.greedy:
            kept = greedy_choice(values, lambda chosen: self._value(self._measured(chosen, self.tuning)), self.sign)
            shares = [1 / len(kept) if i in kept else 0.0 for i in range(count)]
        self._fill({i: share for i, share in enumerate(shares) if share})
        if not self.metric:
            return Soup(out, "", [Ingredient(s, w) for s, w in zip(self.sources, shares, strict=True)], {}, None)
        best = max(range(count), key=lambda i: self.sign * values[i])
        mixed, name = self._score("the soup", self.test), self.sources[best].name
        ingredients = [
            Ingredient(source, share, value, self._value(results))
            for source, share, value, results in zip(self.sources, shares, values, test, strict=True)
        ]
        columns = {f"best checkpoint, {Path(name).name}": summarize(test[best]), "soup": summarize(mixed)}
        return Soup(out, self.metric, ingredients, columns, paired_differences(mixed, test[best], name))

    def _measured(self, chosen: Sequence[int], pages: Sequence[Page]) -> list[PageEvaluation]:
        """The plain average of some checkpoints on some pages."""
        self._fill(dict.fromkeys(chosen, 1 / len(chosen)))
        return self._score(" + ".join(Path(self.sources[i].name).name for i in chosen), pages)

    def _score(self, label: str, pages: Sequence[Page]) -> list[PageEvaluation]:
        assert self.rewards is not None
        return score(self.carrier, pages, self.max_tokens, self.rewards, self.console, label)

    def _value(self, results: Sequence[PageEvaluation]) -> float:
        value = summarize(results)[self.metric]
        if value is None:
            raise ValueError(f"no held-out page has what {self.metric} needs; give another --metric")
        return float(value)

    def _fill(self, shares: dict[int, float]) -> None:
        """Put the average of some checkpoints into the carrier."""
        total: Weights = {}
        for i, share in shares.items():
            total = add_share(total, self._weights(i), share)
        self.carrier.model.load_state_dict(total)
        rounded(self.carrier, self.dtype)

    def _weights(self, i: int) -> Weights:
        policy = self.sources[i].load().merged()
        check_fits(self.carrier, policy, self.sources[0].name, self.sources[i].name)
        weights: Weights = policy.model.state_dict()
        return weights


def check_options(checkpoints: Sequence[str], options: SoupOptions) -> None:
    """Raises ValueError for options that do not go together."""
    if len(checkpoints) < 2:
        raise ValueError("a soup needs at least two checkpoints; `ocr-rl merge` writes a single one")
    if twice := next((name for name in checkpoints if checkpoints.count(name) > 1), None):
        raise ValueError(f"{twice} is named twice; --weights gives it a larger share")
    if options.metric is not None and options.metric not in get_args(BestBy):
        raise ValueError(f"--metric {options.metric}: write one of {', '.join(get_args(BestBy))}")
    if not options.weights:
        return
    if options.greedy:
        raise ValueError("--greedy chooses equal shares itself; leave out --weights")
    if len(options.weights) != len(checkpoints):
        raise ValueError(f"--weights has {len(options.weights)} shares for {len(checkpoints)} checkpoints")
    if min(options.weights) <= 0 or abs(sum(options.weights) - 1) > 1e-6:
        raise ValueError(f"--weights adds up to {sum(options.weights):g}; write shares above 0 that add up to 1")


def _of(results: Sequence[PageEvaluation], pages: Sequence[Page]) -> list[PageEvaluation]:
    """The results of some of the pages."""
    ids = {page.id for page in pages}
    return [result for result in results if result.page.id in ids]


def _how(options: SoupOptions, made: Soup) -> str:
    kept = sum(one.share > 0 for one in made.ingredients)
    if options.greedy:
        return (
            f"Its weights are the average of {kept} of {len(made.ingredients)} checkpoints, chosen greedily by "
            f"{made.metric} on held-out pages that are not those below (Wortsman et al. 2022, arXiv 2203.05482)."
        )
    kind = "weighted average" if options.weights else "average"
    return f"Its weights are the {kind} of {kept} checkpoints (Wortsman et al. 2022, arXiv 2203.05482)."


def _rows(made: Soup) -> list[dict[str, Any]]:
    rows = []
    for one in made.ingredients:
        source = one.source
        name = f"`{Path(source.name).resolve().name}`"
        if source.run is not None:
            name = f"step {source.step} of `{source.run.path.resolve().name}`"
        row: dict[str, Any] = {"checkpoint": name}
        row["share"] = one.share
        if made.metric:
            row |= {f"{made.metric}, to choose by": one.tuning, f"{made.metric}, other half": one.test}
        rows.append(row)
    return rows
