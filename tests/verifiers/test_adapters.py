"""The verifiers as a reward function of other trainers: TRL's GRPOTrainer and verl's reward manager call them."""

import inspect
import json

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from helpers import tiny_models
from helpers.tiny_models import EOS, PAD, make_tokenizer, tokens
from ocr_verifiers import Rubric, parse_test
from ocr_verifiers.adapters import compute_score, trl_reward, verl_compute_score
from ocr_verifiers.rewards.groups import OLMOCR

ABC = {"pdf": "a.pdf", "page": 1, "id": "1", "type": "present", "text": "abc"}
NO_D = {"pdf": "a.pdf", "page": 1, "id": "2", "type": "absent", "text": "d"}
RUBRIC = Rubric()


def expected(text, reference=None, records=(), finished=True):
    tests = [parse_test(record, "here") for record in records]
    return RUBRIC.score(text, reference=reference, tests=tests, finished=finished).reward


def test_rewards_are_those_of_the_rubric_row_by_row():
    texts = ["abc", "abd", "abc", ""]
    rewards = trl_reward(RUBRIC)(
        prompts=["p"] * 4,
        completions=texts,
        reference=["abc", "abc", None, "x"],
        tests=[None, [ABC, NO_D], [ABC], None],
    )
    assert rewards == [
        expected("abc", "abc"),
        expected("abd", "abc", [ABC, NO_D]),
        expected("abc", None, [ABC]),
        expected("", "x"),
    ]


def test_a_row_with_nothing_to_score_with_has_no_reward():
    rejected = ABC | {"checked": "rejected"}
    columns = {"prompts": ["p"] * 3, "completions": ["x y z"] * 3, "tests": [None, [rejected], []]}
    assert trl_reward()(**columns, reference=[None, None, "x y z"]) == [None, None, 1.0]
    assert trl_reward()(prompts=["p"], completions=["a"]) == [None]
    assert trl_reward(OLMOCR)(**columns) == [None, 0.0, None]  # olmOCR runs it


def test_conversational_completions_are_their_last_message():
    message = {"role": "assistant", "content": "abc"}
    blocks = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "bc"}]}
    completions = [[message], [{"role": "tool", "content": "zzz"}, message], [blocks]]
    assert trl_reward()(prompts=["p"] * 3, completions=completions, reference=["abc"] * 3) == [1.0] * 3


def test_tests_may_be_json_and_null_fields_count_as_left_out():
    """Arrow gives every record the fields of all records."""
    wide = [ABC | {"before": None, "max_diffs": None}, NO_D | {"before": None}]
    column = [wide, json.dumps([ABC, NO_D]), [ABC, NO_D]]
    rewards = trl_reward()(prompts=["p"] * 3, completions=["abd"] * 3, tests=column)
    assert rewards == [expected("abd", None, [ABC, NO_D])] * 3


@pytest.mark.parametrize(
    ("tests", "message"),
    [([ABC | {"max_diffs": -1}], 'row 2, test 1: "max_diffs" is -1'), ("{", 'row 2: "tests" is not JSON')],
)
def test_a_mistake_in_a_test_is_an_error_and_not_a_missing_reward(tests, message):
    with pytest.raises(ValueError, match=message):
        trl_reward()(prompts=["p"] * 2, completions=["a"] * 2, reference=["a", "a"], tests=[None, tests])


def test_a_completion_without_an_end_token_counts_as_truncated():
    """The end gate halves it."""
    reward = trl_reward(end_token_ids=[EOS])
    ids = [[*tokens("abc"), EOS], tokens("abc")]
    assert reward(prompts=["p"] * 2, completions=["abc"] * 2, completion_ids=ids, reference=["abc"] * 2) == [1.0, 0.5]


def test_processes_give_the_same_rewards():
    columns = {
        "prompts": ["p"] * 6,
        "completions": ["abc", "abd", "", "abc", "a" * 100, "d"],
        "reference": ["abc"] * 5 + [None],
        "tests": [[ABC]] * 5 + [None],
    }
    assert trl_reward(processes=2, timeout=60)(**columns) == trl_reward()(**columns)


def test_trls_trainer_takes_two_steps_with_it(tmp_path):
    """A text-only model with random weights: every reward that TRL sees is the rubric's, and its log has the parts."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=tiny_models.VOCABULARY,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
            eos_token_id=EOS,
            pad_token_id=PAD,
            bos_token_id=None,
        )
    )
    rows = [
        {"prompt": "ab", "reference": "abc", "tests": [ABC, NO_D | {"case_sensitive": False}]},
        {"prompt": "cd", "reference": None, "tests": [ABC]},
    ]
    reward, calls = trl_reward(RUBRIC, end_token_ids=[EOS]), []

    def watched(**columns):
        rewards = reward(**columns)
        calls.append((columns, rewards))
        return rewards

    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=[watched, reward],
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=6,
            max_steps=2,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=make_tokenizer({}),
    )
    trainer.train()

    assert len(calls) == 2
    for columns, rewards in calls:
        for text, ids, reference, tests, found in zip(
            columns["completions"],
            columns["completion_ids"],
            columns["reference"],
            columns["tests"],
            rewards,
            strict=True,
        ):
            records = [{name: value for name, value in test.items() if value is not None} for test in tests]
            assert found == pytest.approx(expected(text, reference, records, ids[-1] == EOS))
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(steps) == 2
    for entry, (_, rewards) in zip(steps, calls, strict=True):
        assert entry["rewards/ocr_reward/mean"] == pytest.approx(sum(rewards) / 4, abs=1e-6)
        assert {"ocr/similarity", "ocr/pass_rate", "ocr/end"} <= entry.keys()


def test_verls_function_takes_what_verl_gives_and_returns_a_number():
    """verl 0.9.1 calls it with these four names, and others that depend on the configuration."""
    score = compute_score(
        data_source="books",
        solution_str="abd",
        ground_truth="abc",
        extra_info={"tests": json.dumps([ABC, NO_D]), "num_turns": None, "rollout_reward_scores": {}},
        reward_router_address=None,
    )
    assert type(score) is float
    assert score == expected("abd", "abc", [ABC, NO_D])
    assert not inspect.iscoroutinefunction(compute_score)  # verl awaits those


def test_verls_page_may_have_a_reference_only_or_tests_only():
    assert compute_score("books", "abd", "abc") == expected("abd", "abc")
    assert compute_score("books", "abc", None, {"tests": [ABC]}) == 1.0
    assert verl_compute_score(OLMOCR)("books", "", None, {"tests": [NO_D]}) == 1.0


def test_a_page_that_verl_cannot_score_is_an_error():
    with pytest.raises(ValueError, match="the page cannot be scored"):
        compute_score("books", "abc", None, {})
    with pytest.raises(ValueError, match="extra_info, test 1: "):
        compute_score("books", "abc", "abc", {"tests": [{}]})


def test_verls_reward_manager_pays_what_the_rubric_says():
    """verl's own manager and loader; two completions of different lengths, the reward on the last token of each."""
    verl = pytest.importorskip("verl", reason="verl is not installed; its calls are mirrored above")
    import numpy as np
    from verl.utils.import_utils import load_extern_object
    from verl.workers.reward_manager.naive import NaiveRewardManager

    texts = ["abc", "abd abc"]
    ids = torch.tensor([tokens(text) + [EOS] + [PAD] * (7 - len(text)) for text in texts])
    mask = torch.cat([torch.ones(2, 2), (ids != PAD).float()], dim=1).long()
    infos = [{"tests": json.dumps([ABC, NO_D])}, {}]
    data = verl.DataProto.from_dict(
        tensors={"prompts": torch.tensor([tokens("ab")] * 2), "responses": ids, "attention_mask": mask},
        non_tensors={
            "data_source": np.array(["books"] * 2, dtype=object),
            "reward_model": np.array([{"ground_truth": "abc"}] * 2, dtype=object),
            "extra_info": np.array(infos, dtype=object),
        },
    )
    loaded = load_extern_object("pkg://ocr_verifiers.adapters", "compute_score")
    rewards = NaiveRewardManager(make_tokenizer({}), num_examine=0, compute_score=loaded)(data)
    assert rewards.sum(dim=1).tolist() == pytest.approx(
        [expected("abc", "abc", [ABC, NO_D]), expected("abd abc", "abc")]
    )
    assert rewards.nonzero().tolist() == [[0, 3], [1, 7]]
