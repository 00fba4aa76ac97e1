"""DPO, ORPO and KTO compared with the plain model and with TRL, and in whole runs."""

import copy
import json
import math
import re
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import logsigmoid

from helpers.runs import before_touching, contents, done, killed, ocr_rl, resume, train
from helpers.tiny_models import (
    ARCHITECTURES,
    EOS,
    PAD,
    assert_all_close,
    completion,
    gradients,
    group,
    make_page,
    make_policy,
    make_recipe,
    pages_of_different_sizes,
    plain_loss,
    tokens,
    weights,
)
from ocr_rl.algorithms.preference.dpo import Dpo
from ocr_rl.algorithms.preference.kto import Kto
from ocr_rl.algorithms.preference.packing import cut_examples
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.sources import of_pages
from ocr_rl.algorithms.preference.trainer import PreferenceTrainer
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy
from ocr_rl.models.reference import Reference
from ocr_rl.rewards.preference_files import label_row, pair_row
from ocr_rl.rewards.preferences import LabelledCompletion, Pair, labels_of_groups, pairs_of_groups
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.loop import TrainingLoop
from ocr_verifiers import Rubric

PAGES = pages_of_different_sizes()


def pair(page, chosen, rejected):
    return Pair(page, completion(chosen), completion(rejected), 1.0, 0.0)


def label(page, text, desirable):
    return LabelledCompletion(page, completion(text), desirable, float(desirable))


PAIRS = [
    pair(PAGES[0], "abc", "k"),
    pair(PAGES[0], "abc", "adfghi"),
    pair(PAGES[1], "", "lb"),
    pair(PAGES[2], "a", "b"),
]
LABELS = [
    label(PAGES[0], "abc", True),
    label(PAGES[0], "adfghi", False),
    label(PAGES[1], "", True),
    label(PAGES[2], "lb", False),
    label(PAGES[2], "k", False),
]


def move(policy, seed=1):
    """Change the weights, as if the policy had learned."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.05 * parameter.std().nan_to_num() * torch.randn(parameter.shape, generator=generator))


def moved(policy, algorithm, **changes):
    """A learner whose policy is no longer its reference, and the reference as a separate policy."""
    start = policy.frozen_copy()
    learner = LEARNERS[algorithm](policy, make_recipe(**changes))
    move(policy)
    return learner, start


def logprob(policy, page, text):
    """log pi(text and its end), from one forward pass over the whole sequence."""
    return -plain_loss(policy, page, [*tokens(text), EOS])


# The gradient of a step, from the equations, one completion at a time.


def dpo(h, beta, eps=0.0):
    return -(1 - eps) * logsigmoid(beta * h) - eps * logsigmoid(-beta * h)


EQUATIONS = {
    "sigmoid": ({}, dpo),
    "smoothed": ({"dpo_label_smoothing": 0.2}, lambda h, beta: dpo(h, beta, 0.2)),
    "robust": (
        {"dpo_loss": "robust", "dpo_label_smoothing": 0.2},
        lambda h, beta: (0.8 * -logsigmoid(beta * h) + 0.2 * logsigmoid(-beta * h)) / 0.6,
    ),
    "hinge": ({"dpo_loss": "hinge"}, lambda h, beta: torch.relu(1 - beta * h)),
    "ipo": ({"dpo_loss": "ipo"}, lambda h, beta: (h - 1 / (2 * beta)) ** 2),
}


def check(learner, examples, loss, tolerance=1e-5):
    """The learner's gradient and loss are those of `loss`, whose gradient is not computed yet."""
    loss.backward()
    expected = gradients(learner.policy)
    metrics = learner.accumulate(of_pages(examples))
    assert_all_close(gradients(learner.policy), expected, tolerance)
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert max(g.abs().max() for g in expected.values()) > 1e-3
    return metrics


@pytest.mark.parametrize("kind", EQUATIONS)
def test_the_gradient_of_dpo_is_that_of_its_equation(policy, kind):
    options, equation = EQUATIONS[kind]
    learner, start = moved(policy, "dpo", dpo_beta=0.3, **options)
    total = torch.zeros(())
    for one in PAIRS:
        ratios = []
        for text in (one.chosen.text, one.rejected.text):
            with torch.no_grad():
                ref = logprob(start, one.page, text)
            ratios.append(logprob(policy, one.page, text) - ref)
        total = total + equation(ratios[0] - ratios[1], 0.3) / len(PAIRS)
    check(learner, PAIRS, total, 2e-5 if kind == "ipo" else 1e-5)  # a square has gradients of several units


def test_a_precomputed_reference_equals_a_live_one(policy):
    """Also for two pairs of one page, used separately and in another order than they were precomputed."""
    learner = LEARNERS["dpo"](policy, make_recipe(dpo_reference="precomputed", train_micro_batch_tokens=12))
    live = LEARNERS["dpo"](policy, make_recipe())
    learner.begin(of_pages(PAIRS))
    move(policy)
    for examples in (PAIRS, PAIRS[::-1], PAIRS[1:2]):
        metrics = live.accumulate(of_pages(examples))
        expected = gradients(policy)
        assert learner.accumulate(of_pages(examples)) == pytest.approx(metrics, rel=1e-4, abs=1e-6)
        assert_all_close(gradients(policy), expected, 1e-6)
    assert learner.reference is None


def test_averaged_margins_are_of_log_probabilities_per_token(policy):
    learner, start = moved(policy, "dpo", dpo_beta=0.3, dpo_loss="ipo", dpo_length_average=True)
    total = torch.zeros(())
    for one in PAIRS:
        ratios = []
        for text in (one.chosen.text, one.rejected.text):
            with torch.no_grad():
                ref = logprob(start, one.page, text)
            ratios.append((logprob(policy, one.page, text) - ref) / (len(text) + 1))
        total = total + (ratios[0] - ratios[1] - 1 / 0.6) ** 2 / len(PAIRS)
    check(learner, PAIRS, total)


def test_the_gradient_of_orpo_is_that_of_its_equation(policy):
    learner, _ = moved(policy, "orpo", orpo_beta=0.5)
    total = torch.zeros(())
    for one in PAIRS:
        chosen, rejected = (
            (logprob(policy, one.page, text) / (len(text) + 1)).exp() for text in (one.chosen.text, one.rejected.text)
        )
        odds = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
        total = total + (-chosen.log() - 0.5 * logsigmoid(odds.log())) / len(PAIRS)
    check(learner, PAIRS, total)


STRANGERS = [(0, ""), (1, "lb"), (1, "k"), (2, "abc"), (2, "adfghi")]
"""Each page of LABELS with the completions of the next one."""


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("balance", [False, True])
def test_the_gradient_of_kto_is_that_of_its_equation(policy, sign, balance):
    """Balanced, lambda_D = 2 (5 / 2) / 2 and lambda_U = 1 (5 / 2) / 3. Where the KL is negative, z is 0."""
    learner, start = moved(policy, "kto", kto_beta=0.3, kto_desirable_weight=2.0, kto_balance=balance)
    if sign < 0:  # the two are swapped
        here, there = weights(policy), weights(start)
        learner.reference.renew()
        policy.model.load_state_dict(there)
        start.model.load_state_dict(here)

    @torch.no_grad()
    def log_ratio(page, text):
        return logprob(policy, page, text) - logprob(start, page, text)

    kl = sum(log_ratio(PAGES[i], text) for i, text in STRANGERS) / 5
    z = kl.clamp(min=0)
    good, bad = (2.5, 2.5 / 3) if balance else (2.0, 1.0)
    total = torch.zeros(())
    for one in LABELS:
        with torch.no_grad():
            ref = logprob(start, one.page, one.completion.text)
        r = logprob(policy, one.page, one.completion.text) - ref
        away = 0.3 * (r - z) if one.desirable else 0.3 * (z - r)
        total = total + (good if one.desirable else bad) * (1 - torch.sigmoid(away)) / 5
    metrics = check(learner, LABELS, total)
    assert metrics["kl"] == pytest.approx(z.item(), rel=1e-4, abs=1e-6)


def test_the_kl_of_kto_is_clamped_in_one_of_those_cases(policy):
    """So that both cases above are covered: swapping the policies changes the sign."""
    _, start = moved(policy, "kto")

    @torch.no_grad()
    def kl(one, other):
        return sum(logprob(one, PAGES[i], text) - logprob(other, PAGES[i], text) for i, text in STRANGERS)

    assert kl(policy, start) == -kl(start, policy) != 0


def test_a_batch_of_one_page_has_no_mismatched_pair_and_z_is_0(policy):
    learner, start = moved(policy, "kto")
    with torch.no_grad():
        r = logprob(policy, PAGES[0], "abc") - logprob(start, PAGES[0], "abc")
    metrics = learner.accumulate(of_pages(LABELS[:1]))
    assert metrics["kl"] == 0
    assert metrics["loss"] == pytest.approx(1 - torch.sigmoid(0.1 * r).item(), rel=1e-4)
    assert metrics["rewards/chosen"] == pytest.approx(0.1 * r.item(), rel=1e-4)
    assert metrics["rewards/rejected"] is metrics["rewards/margin"] is metrics["logprobs/rejected"] is None


# What does not matter.

EXAMPLES = {"dpo": PAIRS, "orpo": PAIRS, "kto": LABELS}


def found(policy, algorithm, examples, **changes):
    learner, start = moved(policy, algorithm, **changes)
    metrics = learner.accumulate(of_pages(examples))
    policy.model.load_state_dict(start.model.state_dict())
    return gradients(policy), {name: value for name, value in metrics.items() if value is not None}


@pytest.mark.parametrize("algorithm", EXAMPLES)
def test_the_size_of_micro_batches_and_the_order_within_a_page_do_not_matter(policy, algorithm):
    examples = EXAMPLES[algorithm]
    expected, expected_metrics = found(policy, algorithm, examples)
    for other, size in ((examples, 1), (examples, 9), ([*examples[1::-1], *examples[2:]], 10_000)):
        again, metrics = found(policy, algorithm, other, train_micro_batch_tokens=size)
        assert_all_close(again, expected, 1e-5)
        assert metrics == pytest.approx(expected_metrics, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("algorithm", ["dpo", "orpo"])
def test_the_order_of_pages_does_not_matter_to_pairs(policy, algorithm):
    expected, _ = found(policy, algorithm, PAIRS)
    assert_all_close(found(policy, algorithm, PAIRS[::-1])[0], expected, 1e-5)


@pytest.mark.parametrize("algorithm", EXAMPLES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_checkpointing_does_not_change_the_step(architecture, algorithm):
    plain, recomputed = (
        found(make_policy(architecture, gradient_checkpointing=on), algorithm, EXAMPLES[algorithm])[0]
        for on in (False, True)
    )
    assert_all_close(recomputed, plain, 1e-5)


@pytest.mark.parametrize(("algorithm", "reads"), [("dpo", 2), ("orpo", 1), ("kto", 3)])
def test_a_page_is_read_once_for_all_its_completions(policy, monkeypatch, algorithm, reads):
    """By the policy and, except for ORPO, by the reference; KTO's z needs the policy's before all gradients."""
    seen, original = [], policy.read
    monkeypatch.setattr(policy, "read", lambda prompt, **options: seen.append(prompt) or original(prompt, **options))
    found(policy, algorithm, EXAMPLES[algorithm])
    assert len(seen) == 3 * reads


def test_each_completion_is_scored_once_and_micro_batches_keep_their_limit():
    """Tokens with ends: abc 4, k 2, adfghi 7. Two pairs with "abc" in common: 3 rows x 7 = 21, or 2 x 4 and 2 x 7."""
    examples = [(one.chosen, one.rejected) for one in (PAIRS[1], PAIRS[0])]
    (both,) = cut_examples(examples, PAD, max_tokens=21)
    assert both.ids.shape == (3, 7)
    assert both.examples == [1, 0]
    assert [[both.mask[row].sum().item() for row in rows] for rows in both.rows.tolist()] == [[4, 2], [4, 7]]
    small, large = cut_examples(examples, PAD, max_tokens=20)
    assert (small.ids.shape, small.examples) == ((2, 4), [1])
    assert (large.ids.shape, large.examples) == ((2, 7), [0])


# The reference.


def test_the_reference_stays_where_the_run_began_and_leaves_the_policy_where_it_is(policy):
    start = weights(policy)
    reference = Reference(policy)
    move(policy)
    here = weights(policy)
    with reference.policy() as frozen:
        assert_all_close(weights(frozen), start, 0.0)
        assert not torch.is_grad_enabled()
    assert_all_close(weights(policy), here, 0.0)
    with pytest.raises(RuntimeError), reference.policy():
        raise RuntimeError
    assert_all_close(weights(policy), here, 0.0)


def test_with_a_fresh_adapter_the_base_model_is_the_reference(saved):
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=4))
    reference = Reference(policy)
    move(policy)
    prompt = policy.prompt(PAGES[0])
    ids, mask = torch.tensor([tokens("abc")]), torch.ones(1, 3, dtype=torch.bool)
    with reference.policy() as frozen:
        found = frozen.score(frozen.read(prompt), ids, mask, 1.0).logprobs
    with policy.model.disable_adapter(), torch.no_grad():
        expected = policy.score(policy.read(prompt), ids, mask, 1.0).logprobs
    torch.testing.assert_close(found, expected)


def test_the_reference_of_a_run_that_starts_with_an_adapter_has_it_too(saved, tmp_path):
    first = Policy.load(ModelConfig(path=str(saved), lora_rank=4))
    move(first)
    with torch.no_grad():
        for name, parameter in first.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    first.save(tmp_path / "adapter")
    second = Policy.load(ModelConfig(path=str(tmp_path / "adapter")))
    metrics = Dpo(second, make_recipe()).accumulate(of_pages(PAIRS))
    assert metrics["loss"] == pytest.approx(math.log(2))
    assert metrics["rewards/chosen"] == metrics["rewards/rejected"] == 0


# Compared with TRL.


def trl_policy():
    """With a template that has answers, and a processor that pads as TRL requires."""
    policy = make_policy("qwen")
    policy.processor.chat_template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        "{% if message['role'] == 'assistant' %}</s>{% else %}<s>{% endif %}{% endfor %}"
    )
    policy.processor.padding_side = policy.processor.tokenizer.padding_side = "left"
    policy.suppressed_ids = ()  # TRL keeps image tokens in its softmax
    return policy


def trl_step(trainer_class, config_class, policy, start, rows, folder, **options):
    """(gradient, weights after a step) of TRL's trainer, whose reference is `start`."""
    import datasets
    import transformers

    seen = {}

    class Spy(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            seen.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})

    config = config_class(
        output_dir=str(folder),
        per_device_train_batch_size=len(rows),
        max_steps=1,
        max_length=None,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        max_grad_norm=1e9,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    images = [[policy.budget.fit(page.image)] for page, _ in rows]
    table = datasets.Dataset.from_list([row | {"images": image} for (_, row), image in zip(rows, images, strict=True)])
    trainer = trainer_class(
        model=copy.deepcopy(policy.model),
        ref_model=copy.deepcopy(start.model),
        args=config,
        train_dataset=table.cast_column("images", datasets.List(datasets.Image())),
        processing_class=policy.processor,
        callbacks=[Spy()],
    )
    trainer.train()
    return seen, dict(trainer.model.state_dict())


def our_step(learner, examples):
    learner.accumulate(of_pages(examples))
    gradient = {name: p.grad.clone() for name, p in learner.policy.model.named_parameters() if p.grad is not None}
    learner.update([], 1e-3)  # with the gradient that is there
    return gradient, weights(learner.policy)


def compare_steps(parity, algorithm, ours, theirs):
    """Gradients to 1e-5 of 1 or of their largest entry. Weights to 1e-5, except those whose gradient is only rounding,
    which Adam's step may move either way.
    """
    (gradient, after), (their_gradient, their_after) = ours, theirs
    for name, expected in their_gradient.items():
        room = 1e-5 * max(1.0, expected.abs().max().item())
        parity(f"{algorithm}, gradient", "TRL 1.16, a step of its trainer", gradient[name], expected, atol=room)
    assert max(g.abs().max() for g in their_gradient.values()) > 1e-3
    sure = 0
    for name, expected in their_gradient.items():
        clear = expected.abs() > 1e-5
        if clear.any():
            new, theirs = after[name][clear], their_after[name][clear]
            parity(f"{algorithm}, weights after it", "TRL 1.16, a step of its trainer", new, theirs, atol=1e-5)
        sure += clear.sum().item()
    assert sure > 0.8 * sum(g.numel() for g in their_gradient.values())


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge"])
def test_a_step_of_dpo_is_that_of_trl(parity, tmp_path, loss):
    from trl import DPOConfig, DPOTrainer

    policy = trl_policy()
    learner, start = moved(
        policy,
        "dpo",
        dpo_loss=loss,
        dpo_length_average=loss == "ipo",
        train_max_grad_norm=1e9,
        train_learning_rate=1e-3,
    )
    pairs = [PAIRS[0], PAIRS[3], PAIRS[2]]
    rows = [(one.page, pair_row(one)) for one in pairs]
    theirs = trl_step(DPOTrainer, DPOConfig, policy, start, rows, tmp_path, loss_type=[loss], beta=0.1)
    name = "IPO, means of tokens" if loss == "ipo" else f"DPO, {loss}"
    compare_steps(parity, name, our_step(learner, pairs), theirs)


def test_a_step_of_kto_is_that_of_trl(parity, tmp_path):
    """Two pages with a completion each: both pair either page with the other's completion."""
    from trl import KTOConfig, KTOTrainer

    policy = trl_policy()
    learner, start = moved(policy, "kto", kto_desirable_weight=1.5, train_max_grad_norm=1e9)
    labels = [LABELS[0], LABELS[3]]
    rows = [(one.page, label_row(one)) for one in labels]
    theirs = trl_step(KTOTrainer, KTOConfig, policy, start, rows, tmp_path, beta=0.1, desirable_weight=1.5)
    compare_steps(parity, "KTO", our_step(learner, labels), theirs)


# Steps and their metrics.


def test_before_the_first_update_the_policy_is_its_reference(policy):
    """Loss log 2, rewards 0, and a tie does not count."""
    start = policy.frozen_copy()
    metrics = Dpo(policy, make_recipe()).update(of_pages(PAIRS), 1e-3)
    assert metrics["loss"] == pytest.approx(math.log(2))
    assert metrics["rewards/chosen"] == metrics["rewards/rejected"] == metrics["rewards/margin"] == 0
    assert metrics["rewards/accuracy"] == 0
    assert metrics["pairs"] == 4
    assert metrics["grad_norm"] > 0
    assert metrics["lr"] == 1e-3
    with torch.no_grad():
        chosen = sum(logprob(start, one.page, one.chosen.text) for one in PAIRS) / 4
    assert metrics["logprobs/chosen"] == pytest.approx(chosen.item(), rel=1e-5)


@pytest.mark.parametrize("algorithm", EXAMPLES)
def test_steps_on_the_same_examples_separate_good_from_bad(algorithm):
    learner = LEARNERS[algorithm](make_policy(), make_recipe())
    first, *_, last = [learner.update(of_pages(EXAMPLES[algorithm]), 2e-3) for _ in range(8)]
    assert last["loss"] < first["loss"]
    assert last["rewards/margin"] > first["rewards/margin"]
    assert last["rewards/accuracy"] == 1


@pytest.mark.parametrize("algorithm", EXAMPLES)
def test_without_an_example_no_weight_changes(policy, algorithm):
    before = weights(policy)
    metrics = LEARNERS[algorithm](policy, make_recipe(train_weight_decay=0.1)).update([], 1e-3)
    assert_all_close(weights(policy), before, 0.0)
    assert metrics["loss"] == metrics["grad_norm"] == 0


def test_if_all_completions_are_good_balance_keeps_the_weight(policy):
    kto = Kto(policy, make_recipe(kto_balance=True, kto_desirable_weight=1.5))
    assert kto.weights(0, 4) == kto.weights(4, 0) == (1.5, 1.0)
    assert kto.weights(1, 3) == (1.5 * 2, 2 / 3)


# Whole runs.

RUBRIC = Rubric(weights={"similarity": 1.0}, gates={"end": 0.5})
BANDIT = {
    "train_steps": 40,
    "train_learning_rate": 4e-3,
    "rollout_group_size": 64,
    "rollout_max_tokens": 5,
    "rollout_pages_per_step": 2,
}


def run_training(tmp_path, algorithm, name="run", policy=None, examples=None, **changes):
    policy = policy or make_policy()
    pages = [make_page(i, text="ab") for i in range(3)]
    recipe = make_recipe(**{"train_steps": 3} | changes)
    run = RunFolder.create(tmp_path / name, "")
    learner, engine = LEARNERS[algorithm](policy, recipe), TransformersEngine(policy)
    if examples is None:
        trainer = PreferenceTrainer.fresh(learner, engine, pages, GroupScorer(RewardFunction(RUBRIC, pages), 0))
    else:
        trainer = PreferenceTrainer.stored(learner, engine, examples)
    TrainingLoop(trainer, policy, pages, recipe, run, lambda step: {}).run()
    return run, policy


def metrics_of(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("dpo", {}),
        ("dpo", {"dpo_loss": "ipo", "dpo_beta": 0.02}),
        ("orpo", {}),
        ("kto", {}),
    ],
)
def test_training_raises_the_reward(tmp_path, algorithm, options):
    """A random policy learns to write "ab" for every page; white space around it costs nothing."""
    run, policy = run_training(tmp_path, algorithm, **BANDIT, **options)
    rewards = [row["reward"] for row in metrics_of(run)]
    assert sum(rewards[:2]) / 2 < 0.35
    assert sum(rewards[-3:]) / 3 > 0.8
    written = TransformersEngine(policy).generate([make_page(0)], Sampling(1, 0.0, 5), seed=0)[0].completions[0]
    assert (written.text.strip(), written.finished) == ("ab", True)


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_training_from_a_file_makes_the_preferred_text_likely(tmp_path, algorithm):
    pages = [make_page(i) for i in range(3)]
    texts = ["ab", "ba", "kl"]
    scored = [ScoredGroup(group(page, *texts), (), [1.0, 0.2, 0.0]) for page in pages]
    plain = [
        replace(g, group=replace(g.group, completions=[replace(c, token_ids=()) for c in g.group.completions]))
        for g in scored
    ]
    examples = pairs_of_groups(plain, "best-of-n") if algorithm == "dpo" else labels_of_groups(plain)
    policy = make_policy()
    with torch.no_grad():
        before = [logprob(policy, pages[0], text).item() for text in texts]
    run, policy = run_training(tmp_path, algorithm, policy=policy, examples=examples, train_steps=20)
    with torch.no_grad():
        after = [logprob(policy, pages[0], text).item() for text in texts]
    assert after[0] - before[0] > max(a - b for a, b in zip(after[1:], before[1:], strict=True)) + 2
    rows = metrics_of(run)
    assert "reward" not in rows[0]
    assert not list((run.path / "rollouts").iterdir())
    assert rows[-1]["rewards/accuracy"] == 1


def test_a_run_writes_what_its_folder_promises(tmp_path):
    run, _ = run_training(tmp_path, "dpo", pairs_margin=0.2)
    for row in metrics_of(run):
        assert {"reward", "completion_length", "unused_fraction", "pairs", "loss", "grad_norm", "lr"} <= row.keys()
        file = run.path / "rollouts" / f"step_{row['step']:06d}.jsonl"
        rollouts = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(rollouts) == 2 * 4
        assert [sum(r["advantage"] == side for r in rollouts) for side in (1, -1)] == [row["pairs"]] * 2
        assert row["unused_fraction"] == 1 - row["pairs"] / 2
        for one in rollouts:
            if one["advantage"] == 1:
                assert one["reward"] == max(r["reward"] for r in rollouts if r["page"] == one["page"])
        if row["pairs"]:
            assert row["rewards/margin"] == pytest.approx(row["rewards/chosen"] - row["rewards/rejected"], abs=1e-6)


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_two_runs_with_one_seed_are_identical(tmp_path, algorithm):
    (first, a), (again, b) = (run_training(tmp_path, algorithm, str(i), train_seed=5) for i in range(2))
    clock = ("time", "tokens_per_s", "peak_memory")
    assert [{k: v for k, v in row.items() if not k.startswith(clock)} for row in metrics_of(first)] == [
        {k: v for k, v in row.items() if not k.startswith(clock)} for row in metrics_of(again)
    ]
    assert_all_close(weights(a), weights(b), 0.0)


@pytest.fixture
def labels_file(place):
    """Labels of all eight pages, including the held-out ones."""
    pages = [replace(make_page(i), id=f"page{i}.png") for i in range(8)]
    found = labels_of_groups([ScoredGroup(group(page, "ab", "k"), (), [1.0, 0.0]) for page in pages])
    (place / "labels.jsonl").write_text("".join(json.dumps(label_row(one)) + "\n" for one in found))
    return place / "labels.jsonl"


@pytest.fixture
def pairs_file(place):
    """Two pairs of each of all eight pages."""
    pages = [replace(make_page(i), id=f"page{i}.png") for i in range(8)]
    scored = [ScoredGroup(group(page, "ab", "k", "lb"), (), [1.0, 0.0, 0.1]) for page in pages]
    found = pairs_of_groups(scored, "best-of-n", 0.1, 8)
    (place / "pairs.jsonl").write_text("".join(json.dumps(pair_row(one)) + "\n" for one in found))
    return place / "pairs.jsonl"


@pytest.mark.parametrize("kind", ["dpo", "dpo with lora", "dpo from a file", "kto from a file"])
def test_a_run_killed_and_resumed_equals_one_that_was_not(place, fresh, labels_file, pairs_file, kind):
    options = ["--set=algorithm=dpo", "--set=pairs.margin=0.01"]
    if kind == "dpo with lora":
        options.append("--set=model.lora_rank=4")
    if kind == "dpo from a file":
        options += [f"--set=pairs.path={pairs_file}", "--set=dpo.reference=precomputed"]
    if kind == "kto from a file":
        options = ["--set=algorithm=kto", f"--set=pairs.path={labels_file}"]
    whole = place / kind.replace(" ", "-")
    done(train(whole, *options))
    killed(train(fresh, *options, kill=before_touching("metrics.jsonl", 6)))
    assert RunFolder(fresh).checkpoints()
    done(resume(fresh))
    assert contents(fresh) == contents(whole)
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert len({row["grad_norm"] for row in rows}) > 3  # it learned


def test_rollouts_become_pairs_and_pairs_a_run(place, fresh):
    """Three commands; the run learns from the file, and skips its held-out pages."""
    groups, pairs = place / "groups.jsonl", place / "pairs.jsonl"
    groups.unlink(missing_ok=True)
    sample = ["--data", place / "pages", "--out", groups, "--max-tokens", "6", "--processes", "0"]
    done(ocr_rl("rollout", place / "policy", *sample, run=fresh))
    done(ocr_rl("pairs", groups, "--out", pairs, "--choose", "margin", "--margin", "0.01", "--most", "2", run=fresh))
    done(train(fresh, "--set=algorithm=dpo", f"--set=pairs.path={pairs}", "--steps=3"))
    rows = [json.loads(line) for line in (fresh / "metrics.jsonl").read_text().splitlines()]
    assert [row["pairs"] for row in rows] == [4, 4, 4]  # two pages, two of each
    assert rows[0]["loss"] == pytest.approx(math.log(2))
    assert rows[2]["loss"] != rows[0]["loss"]
    assert "loss" in (fresh / "report.html").read_text()


def test_a_file_of_preferences_that_has_changed_is_another_run(place, fresh, labels_file):
    options = ["--set=algorithm=kto", f"--set=pairs.path={labels_file}"]
    killed(train(fresh, *options, kill=before_touching("metrics.jsonl", 6)))
    labels_file.write_text(labels_file.read_text().replace('"ab"', '"ba"'))
    finished = resume(fresh)
    assert finished.status == 2
    assert f"the preferences in {labels_file} have changed since the run began" in finished.output


def test_a_file_of_the_other_kind_is_refused_before_anything_is_written(place, fresh, labels_file):
    finished = train(fresh, "--set=algorithm=dpo", f"--set=pairs.path={labels_file}")
    assert finished.status == 2
    assert f'{labels_file}:1: "chosen" must be ' in finished.output
    assert not fresh.exists()


@pytest.mark.parametrize("algorithm", ["sft", "dpo", "orpo", "kto"])
def test_a_dry_run_reports_what_a_run_would_take(fresh, algorithm):
    finished = done(train(fresh, f"--set=algorithm={algorithm}", "--dry-run"))
    assert "time        about " in finished.output
    assert not fresh.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pairs.margin=0", "pairs.margin is 0; write a number above 0 and at most 1"),
        ("pairs.most=0", "pairs.most is 0; write an integer of at least 1"),
        ("pairs.dead_zone=-1", "pairs.dead_zone is -1; write a number from 0 to 1"),
        ("dpo.beta=0", "dpo.beta is 0; write a number above 0"),
        ("dpo.label_smoothing=0.5", "dpo.label_smoothing is 0.5; write a number of at least 0 and below 0.5"),
        ("kto.beta=0", "kto.beta is 0; write a number above 0"),
        ("kto.desirable_weight=-1", "kto.desirable_weight is -1; write a number of at least 0"),
        ("kto.undesirable_weight=-1", "kto.undesirable_weight is -1; write a number of at least 0"),
        ("orpo.beta=-1", "orpo.beta is -1; write a number of at least 0"),
    ],
)
def test_an_invalid_setting_is_refused(override, message):
    with pytest.raises(ValueError, match=f"^--set {re.escape(f'{override}: {message}')}$"):
        load_recipe("dpo", [override])


def test_a_loss_without_label_smoothing_says_so():
    with pytest.raises(ValueError, match=r"^dpo\.label_smoothing is 0\.1; write 0: the loss hinge has none$"):
        load_recipe("dpo", ["dpo.label_smoothing=0.1", "dpo.loss=hinge"])
    assert load_recipe("dpo", ["dpo.label_smoothing=0.1", "dpo.loss=robust"]).dpo.label_smoothing == 0.1
