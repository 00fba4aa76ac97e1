"""What a vLLM server is asked for a page, and how its answer is read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ocr_rl.errors import EngineError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.prompts import FINISH_REASONS, PagePrompt, PromptReader, prompt_mismatch, sampled_completion
from ocr_rl.rollouts.vllm.server_client import ServerError, StreamConnections
from ocr_rl.rollouts.vllm.server_link import ServerLink
from ocr_rl.types import Completion, Page

STREAM_INTERVAL = 64
"""Tokens of a row that are sent together: often enough to show that the server is alive."""
NEVER = -1e30
"""Bias of a suppressed token: exp of it is 0 in every precision, and unlike -inf it exists in JSON."""


@dataclass(frozen=True)
class PageRequest:
    """A page to ask the server for."""

    page: Page
    body: dict[str, Any]
    expanded_ids: list[int]
    """The prompt's token ids as the trainer reads them."""
    group_size: int

    @property
    def rows(self) -> int:
        """Rows that the server samples."""
        rows: int = self.body["sampling_params"]["n"]
        return rows


class PageRequests:
    """Makes requests for the pages of a policy, and reads the answers. Any thread may use it."""

    def __init__(self, policy: Policy, prompts: PromptReader, options: VllmOptions) -> None:
        self._policy, self._prompts, self._options = policy, prompts, options

    def make(self, page: Page, sampling: Sampling, seed: int) -> PageRequest:
        """Raises as `PromptReader.read` does."""
        prompt = self._prompts.read(page, sampling.max_tokens)
        body = {
            "token_ids": prompt.prompt_ids,
            "content_parts": [{"type": "image_url", "url": _png_url(prompt)}],
            "return_token_ids": True,
            "sampling_params": self._sampling_params(sampling, seed),
        }
        return PageRequest(page, body, prompt.expanded_ids, sampling.group_size)

    def _sampling_params(self, sampling: Sampling, seed: int) -> dict[str, Any]:
        loops = self._options.stop_repetition
        return {
            "n": sampling.group_size if sampling.temperature else 1,  # greedy rows are identical
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": seed,  # row i is drawn with seed + i
            "stop_token_ids": self._policy.end_ids,
            "ignore_eos": True,  # the policy's end tokens, and no others
            "logit_bias": dict.fromkeys(map(str, self._policy.suppressed_ids), NEVER) or None,
            "logprobs": 0,
            "flat_logprobs": True,
            "detokenize": False,
            "stream_interval": STREAM_INTERVAL,
            "repetition_detection": loops
            and {"max_pattern_size": loops[0], "min_pattern_size": 1, "min_count": loops[1]},
        }

    def answer(
        self,
        request: PageRequest,
        link: ServerLink,
        calls: StreamConnections,
        version: str,
        timeout: float,
        engine: int | None = None,
    ) -> Iterator[tuple[int, Completion]]:
        """Rows as they end, without their text; from one of the server's engines if that is given.

        Args:
            version: of the weights that they must be sampled from.
            timeout: seconds between two pieces of the answer.

        Raises:
            ServerUnreachableError, ServerError: the rest does not come.
            EngineError: the server reads another prompt.
        """
        ids: dict[int, list[int]] = {}
        logprobs: dict[int, list[float]] = {}
        with closing(link.server.generate(request.body, timeout, calls, engine)) as pieces:
            for piece in pieces:
                read = piece.get("prompt_token_ids")
                if read is not None and read != request.expanded_ids:
                    mismatch = prompt_mismatch(request.page, len(read), len(request.expanded_ids))
                    raise EngineError(mismatch + link.advice)
                for choice in piece["choices"]:
                    row = choice["index"]
                    ids.setdefault(row, []).extend(choice["token_ids"])
                    logprobs.setdefault(row, []).extend(token["logprob"] for token in choice["logprobs"]["content"])
                    if choice["finish_reason"] is None:
                        continue
                    _check_finished(choice, ids[row], version)
                    completion = sampled_completion(
                        ids[row], logprobs[row], choice["finish_reason"], self._policy.end_ids
                    )
                    for same_row in range(request.group_size) if request.rows == 1 else [row]:
                        yield same_row, completion


def _check_finished(choice: dict[str, Any], token_ids: list[int], version: str) -> None:
    """Raises ServerError for a row that was aborted, or sampled from other weights."""
    versions = {span["version"] for span in choice["weight_versions"] or []}
    if versions != {version}:
        raise ServerError(500, f"a row was sampled from weights {versions}, not from {version}")
    if choice["finish_reason"] not in FINISH_REASONS or not token_ids:
        raise ServerError(500, f"a row was aborted ({choice['finish_reason']})")


def _png_url(prompt: PagePrompt) -> str:
    png = io.BytesIO()
    prompt.image.save(png, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
