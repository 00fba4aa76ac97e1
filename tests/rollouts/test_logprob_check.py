"""After each sync the first completion is compared with the trainer's scores, and no other."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.tiny_models import make_page, make_policy
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.logprob_check import LogprobCheck
from ocr_rl.rollouts.transformers_engine import TransformersEngine

PAGE = make_page()


def sample(policy, temperature=1.0):
    return TransformersEngine(policy).generate([PAGE], Sampling(1, temperature, 24), seed=0)[0].completions[0]


@pytest.fixture
def check(policy):
    return LogprobCheck(policy, None, ". Do this")


@pytest.fixture
def policy():
    return make_policy()


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_the_policy_s_own_completions_pass(policy, check, temperature):
    assert check.known_page is None
    check.see(PAGE, sample(policy, temperature), temperature)
    assert check.known_page is PAGE


def test_a_completion_of_other_weights_is_an_error_that_ends_with_the_advice(check):
    with pytest.raises(
        EngineError, match=r"^page0: the engine's log probabilities differ .* more than 0\.001\. .*"
    ) as error:
        check.see(PAGE, sample(make_policy(seed=1)), 1.0)
    assert str(error.value).endswith("at another temperature. Do this")


def test_the_difference_is_a_mean_over_sixteen_tokens(policy):
    """One token is off by 0.32: 0.02 on average. Later tokens do not count."""
    completion = sample(policy)
    logprobs = list(completion.sampling_logprobs)
    assert len(logprobs) == 24
    first = replace(completion, sampling_logprobs=[logprobs[0] - 0.32, *logprobs[1:]])
    LogprobCheck(policy, 0.021, "").see(PAGE, first, 1.0)
    with pytest.raises(EngineError, match=r"by 0\.02 on average, more than 0\.019"):
        LogprobCheck(policy, 0.019, "").see(PAGE, first, 1.0)
    last = replace(completion, sampling_logprobs=[*logprobs[:16], *[0.0] * 8])
    LogprobCheck(policy, 1e-3, "").see(PAGE, last, 1.0)


def test_log_probabilities_that_are_not_numbers_are_an_error(policy, check):
    completion = sample(policy)
    with pytest.raises(EngineError, match="by nan on average"):
        check.see(PAGE, replace(completion, sampling_logprobs=[math.nan] * len(completion.token_ids)), 1.0)


def test_after_a_completion_has_passed_the_next_check_is_after_a_restart(policy, check):
    other = make_policy(seed=1)
    check.see(PAGE, sample(policy), 1.0)
    check.see(PAGE, sample(other), 1.0)
    check.restart(policy)
    with pytest.raises(EngineError):
        check.see(PAGE, sample(other), 1.0)
    check.restart(other)
    check.see(PAGE, sample(other), 1.0)


def test_the_default_tolerance_is_that_of_the_policy_s_dtype():
    """bfloat16: a mean difference of 0.04 passes, where float32 allows 0.001."""
    policy = make_policy(compute_dtype=torch.bfloat16)
    completion = sample(policy)
    shifted = replace(completion, sampling_logprobs=[x - 0.04 for x in completion.sampling_logprobs])
    LogprobCheck(policy, None, "").see(PAGE, shifted, 1.0)
    policy.compute_dtype = torch.float32
    with pytest.raises(EngineError, match=r"more than 0\.001"):
        LogprobCheck(policy, None, "").see(PAGE, shifted, 1.0)
