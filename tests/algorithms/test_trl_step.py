"""A whole step beside TRL 1.16's GRPOTrainer: the same rollouts give the same advantages and the same gradient."""

import copy
import math

import datasets
import pytest
import torch

from helpers.tiny_models import EOS, gradients, make_page, make_policy, make_recipe
from ocr_rl.algorithms.grpo import GrpoLearner, advantages_of
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.types import Completion, Group

PAGES = [make_page(0, (48, 32), "ab"), make_page(1, (64, 64), "c")]
GROUP_SIZE = 4


def reward(completions, **_):
    """Anything that differs from one completion to the next."""
    return [sum(map(ord, completion[0]["content"])) % 7 / 7 for completion in completions]


@pytest.fixture(scope="module")
def trainer_of(tmp_path_factory):
    """Makes a real trainer on the Qwen policy, stopped at the first call of its loss: (trainer, inputs)."""
    import trl

    def make(loss_type, **options):
        policy = make_policy("qwen")
        policy.processor.padding_side = "left"
        rows = [
            {
                "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": page.prompt}]}],
                "image": policy.budget.fit(page.image),
            }
            for page in PAGES
        ]
        config = trl.GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            per_device_train_batch_size=len(PAGES) * GROUP_SIZE,
            num_generations=GROUP_SIZE,
            max_completion_length=8,
            max_steps=1,
            loss_type=loss_type,
            shuffle_dataset=False,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            **options,
        )
        trainer = trl.GRPOTrainer(
            model=copy.deepcopy(policy.model),
            reward_funcs=reward,
            args=config,
            train_dataset=datasets.Dataset.from_list(rows).cast_column("image", datasets.Image()),
            processing_class=policy.processor,
        )
        seen = []
        original = trainer._compute_loss

        def spy(model, inputs):
            if not seen:
                seen.append(inputs)
            return original(model, inputs)

        trainer._compute_loss = spy
        start = copy.deepcopy(trainer.model.state_dict())
        trainer.train()
        trainer.model.load_state_dict(start)
        trainer.model.zero_grad()
        return policy, trainer, seen[0]

    return make


def scored_groups(policy, inputs):
    """TRL's completions as ours, page by page, with the rewards that they earned."""
    completions = []
    for ids, mask in zip(inputs["completion_ids"], inputs["completion_mask"], strict=True):
        row = ids[mask.bool()].tolist()
        text = policy.text(row)
        completions.append(Completion(row, text, "end" if row[-1] == EOS else "length", [math.nan] * len(row)))
    order = [0 if n.item() == (48 // 16) * (32 // 16) else 1 for n in (inputs["prompt_ids"] == 4).sum(1)]
    groups = []
    for i, page in enumerate(PAGES):
        mine = [c for c, which in zip(completions, order, strict=True) if which == i]
        groups.append(ScoredGroup(Group(page, mine), (), reward([[{"content": c.text}] for c in mine])))
    return groups, order


@pytest.mark.parametrize(
    ("loss_type", "normalizer", "name"),
    [("dapo", "token", "DAPO"), ("grpo", "sequence", "GRPO"), ("dr_grpo", "constant", "Dr. GRPO")],
)
def test_advantages_and_the_gradient_of_a_step_are_those_of_trl(parity, trainer_of, loss_type, normalizer, name):
    policy, trainer, inputs = trainer_of(loss_type, beta=0.0)
    policy.suppressed_ids = ()  # TRL keeps image tokens in its softmax
    scored, order = scored_groups(policy, inputs)
    recipe = make_recipe(grpo_normalizer=normalizer)

    advantages, spread = advantages_of(scored, recipe.grpo)
    assert spread.all()
    theirs = torch.stack([inputs["advantages"][torch.tensor(order) == i] for i in range(len(PAGES))])
    parity("GRPO, advantages", "TRL 1.16, a step of its trainer", advantages, theirs, atol=1e-5, rtol=1e-5)

    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    expected = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    learner = GrpoLearner(policy, recipe)
    learner.accumulate(scored, learner.prepare(scored, advantages, spread))
    found = gradients(policy)
    ours = (learner.sums[0], {parameter: found[parameter] for parameter in expected})
    parity(f"{name}, loss", "TRL 1.16, a step of its trainer", ours, (loss.detach(), expected), atol=1e-5)
    assert max(g.abs().max() for g in expected.values()) > 1e-2
