"""KTO: Kahneman-Tversky optimization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ocr_rl import distributed
from ocr_rl.algorithms.preference.learner import Metrics, PreferenceLearner, mean, over_processes
from ocr_rl.algorithms.preference.packing import PackedExamples, cut_examples, totals
from ocr_rl.config.schema import Recipe
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.reference import Reference
from ocr_rl.objectives.preference_losses import implicit_rewards, kto_loss, kto_reference
from ocr_rl.rewards.preference_files import read_labels
from ocr_rl.rewards.preferences import LabelledCompletion, labels_of_groups
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.training.readable import NO_PROMPTS
from ocr_rl.types import Completion


class Kto(PreferenceLearner[LabelledCompletion]):
    """Kahneman-Tversky Optimization (arXiv 2402.01306): each completion is labelled good or bad by itself."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        super().__init__(policy, recipe)
        self.reference = Reference(policy)

    read = staticmethod(read_labels)

    def choose(self, groups: Sequence[ScoredGroup]) -> list[LabelledCompletion]:
        pairs = self.recipe.pairs
        threshold = pairs.threshold if pairs.label == "threshold" else None
        return labels_of_groups(groups, threshold, pairs.dead_zone)

    def sides(self, example: LabelledCompletion) -> Iterable[tuple[Completion, float]]:
        return ((example.completion, 1.0 if example.desirable else -1.0),)

    def accumulate(
        self, pages: Sequence[Sequence[LabelledCompletion]], prompts: Mapping[str, Prompt] = NO_PROMPTS
    ) -> Metrics:
        beta, max_tokens = self.recipe.kto.beta, self.recipe.train.micro_batch_tokens
        temperature, device = self.recipe.rollout.temperature, self.policy.device
        count = sum(map(len, pages))
        desirable = sum(label.desirable for labels in pages for label in labels)
        if not count:
            return {"loss": 0.0, "desirable": 0, "undesirable": 0}
        batches = [
            cut_examples([(label.completion,) for label in labels], self.policy.pad_id, max_tokens) for labels in pages
        ]
        strangers = [*batches[1:], *batches[:1]] if len(batches) > 1 else [[]]
        own_pages, batches = distributed.mine(pages), distributed.mine(batches)
        own_prompts = [prompts.get(labels[0].page.id) or self.policy.prompt(labels[0].page) for labels in own_pages]
        refs, z = self._references(own_prompts, batches, distributed.mine(strangers))
        weight, other_weight = self.weights(desirable, count - desirable)
        losses, rewards, goods, logprobs = [], [], [], []
        for prompt, labels, own_batches, own_refs in zip(own_prompts, own_pages, batches, refs, strict=True):
            reading = PageReader(self.policy, prompt, grad=True)
            for batch, ref in zip(own_batches, own_refs, strict=True):
                own = totals(reading, batch, temperature)[:, 0]
                good = torch.tensor([labels[i].desirable for i in batch.examples], device=device)
                loss = kto_loss(own - ref, good, z, beta=beta, desirable_weight=weight, undesirable_weight=other_weight)
                (loss.sum() / count).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
                rewards.append(implicit_rewards(own.detach(), ref, beta=beta))
                goods.append(good)
                logprobs.append(own.detach())
            reading.backward()
        reward, good, logprob = map(over_processes, (rewards, goods, logprobs))
        chosen, rejected = mean(reward[good]), mean(reward[~good])
        return {
            "loss": over_processes(losses).mean().item(),
            "kl": z.item(),
            "desirable": desirable,
            "undesirable": count - desirable,
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margin": None if chosen is None or rejected is None else chosen - rejected,
            "rewards/accuracy": ((reward > beta * z) == good).float().mean().item(),
            "logprobs/chosen": mean(logprob[good]),
            "logprobs/rejected": mean(logprob[~good]),
        }

    def weights(self, desirable: int, undesirable: int) -> tuple[float, float]:
        """lambda_D and lambda_U. If balanced, all good completions together count as much as all bad ones.

        If all completions of a step are good, or all bad, the recipe's weights are kept.
        """
        kto = self.recipe.kto
        if not (kto.balance and desirable and undesirable):
            return kto.desirable_weight, kto.undesirable_weight
        half = (desirable + undesirable) / 2
        return kto.desirable_weight * half / desirable, kto.undesirable_weight * half / undesirable

    @torch.no_grad()
    def _references(
        self,
        prompts: Sequence[Prompt],
        batches: Sequence[Sequence[PackedExamples]],
        strangers: Sequence[Sequence[PackedExamples]],
    ) -> tuple[list[list[Tensor]], Tensor]:
        """log ref of each page's completions, and z, both before the update.

        z is estimated from each page of the whole batch with the completions of the next page, its `strangers`. A batch
        of one page has no such pair, so z = 0.
        """
        temperature = self.recipe.rollout.temperature

        def logprobs(reading: PageReader, own: Sequence[PackedExamples]) -> list[Tensor]:
            return [totals(reading, batch, temperature)[:, 0] for batch in own]

        refs, strange_refs = [], []
        with self.reference.policy() as frozen:
            for prompt, own, others in zip(prompts, batches, strangers, strict=True):
                reading = PageReader(frozen, prompt)
                refs.append(logprobs(reading, own))
                strange_refs += logprobs(reading, others)
        strange = [
            part
            for prompt, others in zip(prompts, strangers, strict=True)
            if others
            for part in logprobs(PageReader(self.policy, prompt), others)
        ]
        log_ratios = over_processes([own - ref for own, ref in zip(strange, strange_refs, strict=True)])
        return refs, kto_reference(log_ratios)
