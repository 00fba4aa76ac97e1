"""One vLLM server, as a trainer uses it: its settings, and how it gets the weights of a sync."""

from __future__ import annotations

from typing import Protocol

from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.logprob_check import LogprobCheck
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.server_client import ANSWER_TIMEOUT_S, CACHES, ServerError, VllmServer
from ocr_rl.rollouts.vllm.server_setup import ServerRequirements, check_server, model_name, serve_command

HEALTH_TIMEOUT_S = 10.0
"""For the route that answers while the engine computes."""


class Weights(Protocol):
    """Those of the last sync, and the way to a server: `FolderWeights` or `NcclWeights`."""

    def take(self, policy: Policy, version: str) -> None: ...

    def send(self, server: VllmServer, timeout: float, restarted: bool) -> None: ...

    def close(self) -> None: ...


class ServerLink:
    """A server at `url`, which `read_settings` has to find fit first.

    Attributes:
        start_command: the command that starts it.
        max_model_len: tokens of a prompt and its completion.
        max_rows: rows that one of its engines samples at a time.
        engines: how many engines are behind its address (--data-parallel-size).
        check: compares its log probabilities with the trainer's.
    """

    max_model_len: int
    max_rows: int
    engines: int

    def __init__(self, policy: Policy, url: str, required: ServerRequirements, options: VllmOptions) -> None:
        self.server = VllmServer(url)
        self._policy, self._required = policy, required
        self.start_command = serve_command(model_name(policy), required, options.rows, self.server.port)
        self.advice = (
            f"\nStart the server at {self.url} with:\n    {self.start_command}\n"
            "The weights and checkpoints of the run are not affected"
        )
        self.check = LogprobCheck(policy, options.tolerance, self.advice)

    @property
    def url(self) -> str:
        return self.server.url

    def read_settings(self) -> None:
        """Raises ServerUnreachableError, or ValueError if the trainer cannot use it."""
        try:
            settings = check_server(self.server, self._required, self._policy)
        except ValueError as error:
            raise ValueError(f"{error}\nStart it with:\n    {self.start_command}") from None
        self.max_model_len = int(settings["model_config"]["max_model_len"])
        self.max_rows = int(settings["scheduler_config"]["max_num_seqs"])
        self.engines = int(settings["parallel_config"]["data_parallel_size"])

    def version(self, answer_s: float = ANSWER_TIMEOUT_S) -> str:
        """Of its weights, the same in all of its engines, which have `answer_s` seconds to answer.

        Raises ServerUnreachableError or ServerError.
        """
        try:
            self.server.get("/health", min(answer_s, HEALTH_TIMEOUT_S))
        except ServerError as error:
            raise ServerError(error.status, "its engine has died") from None
        return str(self.server.get("/weight_info", answer_s)["weight_version"])

    def deliver(self, weights: Weights, version: str, run: str, answer_s: float, load_s: float) -> None:
        """Give it these weights while nothing is sampled, unless it has them. Those of this run begin with `run`.

        Its engines have `answer_s` seconds to answer at all, and `load_s` to load the weights.

        Raises:
            ServerUnreachableError, ServerError: it does not take them.
            ValueError: it was started again with other settings.
        """
        found = self.version(answer_s)
        if found == version:
            return
        restarted = not found.startswith(run)
        if restarted:
            self.read_settings()
        self.server.post("/pause?mode=abort&clear_cache=false", timeout=answer_s)
        weights.send(self.server, load_s, restarted)
        for route in CACHES:
            if self.server.post(route).get("success") is False:
                raise ServerError(500, f"{route} fails: a request is still running")
        self.server.post("/update_weight_version", {"new_version": version})
        self.server.post("/resume")
