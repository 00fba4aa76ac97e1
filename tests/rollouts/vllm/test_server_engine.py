"""Rollouts from a real `vllm serve` beside the trainer, started once, with the command that the engine prints."""

import math
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from helpers.tiny_models import BREAK, END, EOS, IMAGE, make_page
from helpers.vllm_models import make_policy
from helpers.vllm_scored import completions, worst_difference
from helpers.vllm_servers import KEY, Server
from ocr_rl.config.schema import ModelConfig
from ocr_rl.data.images import ImageError
from ocr_rl.errors import EngineError
from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Refused, Sampled, Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.rollouts.vllm import server_client, server_engine, server_link, server_weights
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.server_client import KEY_VARIABLE, VllmServer
from ocr_rl.rollouts.vllm.server_engine import ServerEngine
from ocr_rl.rollouts.vllm.server_weights import PolicySource

PAGES = [make_page(i, size, prompt="ab" * i) for i, size in enumerate([(48, 32), (64, 64), (32, 64), (20, 70)])]
LONG = [make_page(i, (64, 64), prompt="abc" * 60) for i in range(4)]
"""Prompts of 197 tokens: longer than a block of vLLM's prefix cache, which on a CPU has 128."""
SAMPLING = Sampling(4, 1.0, 8)


@pytest.fixture(scope="module")
def server(vllm, tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"))
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture
def connect(server, tmp_path):
    """Makes engines; closes them."""
    if server.process is None:
        server.start()
    engines = []

    def make(policy, url=server.url, **options):
        defaults = VllmOptions(
            rows=32,
            max_model_len=512,
            timeout_s=60,
            patience_s=60,
            transfer="folder",
            transfer_folder=tmp_path / "weights",
        )
        urls = [url] if isinstance(url, str) else url
        engines.append(ServerEngine(policy, urls, replace(defaults, **options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
    assert not list((tmp_path / "weights").glob("*")), "the weights were not removed"


@pytest.fixture
def engine(connect, policy):
    return connect(policy)


def update(policy, rate=0.1):
    """One optimiser step on random tokens; the vision tower trains too."""
    optimizer = torch.optim.SGD(policy.trainable_parameters(), rate)
    ids = torch.randint(9, 22, (2, 6))
    state = policy.read(policy.prompt(LONG[0]), grad=True)
    scores = policy.score(state, ids, torch.ones_like(ids, dtype=torch.bool), 1.0)
    scores.logprobs.mean().neg().backward()
    state.backward()
    torch.nn.utils.clip_grad_norm_(policy.trainable_parameters(), 10.0)
    optimizer.step()


def with_head(policy, wanted):
    """The policy with these tokens' logits multiplied: where they are positive, it prefers them."""
    with torch.no_grad():
        for token, factor in wanted.items():
            policy.head.weight[token] *= factor
    return policy


def rows(events):
    return sorted((event.page, event.row) for event in events if isinstance(event, Sampled))


def ids(groups):
    return [c.token_ids for c in completions(groups)]


# what is sampled


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_sampling_logprobs_are_the_trainer_s_own(engine, policy, temperature):
    """The engine compares prompts, token for token."""
    groups = engine.generate(PAGES, Sampling(5, temperature, 12), seed=1)
    assert [group.page for group in groups] == PAGES
    assert [len(group.completions) for group in groups] == [5] * 4
    assert worst_difference(policy, groups, temperature) <= 1e-5


def test_prompts_of_twenty_sizes_are_the_trainer_s_token_for_token(engine, policy):
    pages = [make_page(i, (1 + 37 * i % 200, 1 + 53 * i % 190), prompt="abc"[: i % 4]) for i in range(20)]
    assert len({len(policy.prompt(page)) for page in pages}) > 8
    assert [group.page for group in engine.generate(pages, Sampling(1, 1.0, 2), seed=0)] == pages


def test_a_prompt_that_differs_from_the_trainer_s_is_an_error(engine, monkeypatch):
    """As if trainer and server had different pixel budgets: 48 x 32 pixels are 3 x 2 image tokens, plus one of text."""
    policy = engine._requests._prompts.policy
    prompt_ids = policy.prompt_ids
    monkeypatch.setattr(policy, "prompt_ids", lambda page: [IMAGE, *prompt_ids(page)])
    with pytest.raises(EngineError, match=r"page0: the engine's prompt \(7 tokens\) differs from .* \(8 tokens\)"):
        engine.generate(PAGES[:1], SAMPLING, seed=0)


def test_greedy_completions_are_those_of_the_transformers_engine(engine, policy):
    sampling = Sampling(2, 0.0, 24)
    ours = completions(engine.generate(PAGES, sampling, seed=0))
    theirs = completions(TransformersEngine(policy).generate(PAGES, sampling, seed=0))
    assert [(c.token_ids, c.text, c.finish_reason) for c in ours] == [
        (c.token_ids, c.text, c.finish_reason) for c in theirs
    ]


def test_the_same_seed_gives_the_same_completions_and_another_seed_others(engine):
    first, again, other = (ids(engine.generate(PAGES, SAMPLING, seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len(set(map(tuple, first))) > 12, "the rows of a page must differ"


def test_suppressed_tokens_are_never_sampled_and_have_no_probability(connect, policy):
    engine = connect(with_head(policy, dict.fromkeys((IMAGE, BREAK, END), 30.0)))
    groups = engine.generate(PAGES, Sampling(8, 1.0, 8), seed=0)
    for completion in completions(groups):
        assert not {IMAGE, BREAK, END} & set(completion.token_ids)
        assert all(math.isfinite(x) for x in completion.sampling_logprobs)
    assert worst_difference(policy, groups) <= 1e-5


def test_a_completion_ends_with_its_end_token_or_at_the_limit(connect, policy):
    engine = connect(with_head(policy, {EOS: 3.0}))
    found = completions(engine.generate(PAGES, Sampling(8, 1.0, 10), seed=2))
    assert {c.finish_reason for c in found} == {"end", "length"}
    for completion in found:
        if completion.finish_reason == "end":
            assert list(completion.token_ids).index(EOS) == len(completion.token_ids) - 1
        else:
            assert EOS not in completion.token_ids
            assert len(completion.token_ids) == 10


def test_a_loop_ends_early_if_the_options_say_so(connect, policy):
    """Greedy decoding of random weights ends in a loop."""
    whole = completions(connect(policy).generate(PAGES, Sampling(1, 0.0, 60), seed=0))
    cut = completions(connect(policy, stop_repetition=(8, 3)).generate(PAGES, Sampling(1, 0.0, 60), seed=0))
    assert "repetition" in {c.finish_reason for c in cut}
    for one, other in zip(cut, whole, strict=True):
        assert list(one.token_ids) == list(other.token_ids)[: len(one.token_ids)]
        assert one.finished == (one.finish_reason == "end")


def test_rows_longer_than_a_piece_of_the_stream_are_complete(connect, policy):
    """Pieces of 64 tokens after the first one; the end token has a logit of 0."""
    engine = connect(with_head(policy, {EOS: 0.0}))
    groups = engine.generate(PAGES[:2], Sampling(8, 1.0, 200), seed=0)
    assert max(len(c.token_ids) for c in completions(groups)) > 129
    assert worst_difference(policy, groups) <= 1e-5


def test_pages_that_are_unreadable_or_too_long_are_refused_and_the_others_sampled(engine):
    def unreadable():
        raise ImageError("scan.png", "is not an image")

    pages = [PAGES[0], replace(PAGES[1], open_image=unreadable), replace(PAGES[2], prompt="a" * 600), PAGES[3]]
    events = list(engine.stream(pages, Sampling(2, 1.0, 4), seed=0))
    refused = {event.page: event.why for event in events if isinstance(event, Refused)}
    assert refused[1] == "scan.png: is not an image"
    assert "its prompt of 609 tokens and a completion of 4 exceed the engine's 512; start the server" in refused[2]
    assert rows(events) == [(0, 0), (0, 1), (3, 0), (3, 1)]


def test_a_page_that_the_server_refuses_is_refused_with_its_message(engine):
    events = list(engine.stream(PAGES[:1], Sampling(2, 2.5, 4), seed=0))
    assert [(type(event), event.page) for event in events] == [(Refused, 0)]
    assert "temperature must be in [0, 2], got 2.5" in events[0].why


def test_a_group_larger_than_the_server_s_limit_is_an_error(engine):
    with pytest.raises(EngineError, match="33 completions of a page are more than the server's --max-num-seqs 32"):
        engine.generate(PAGES, Sampling(33, 1.0, 4), seed=0)


def test_pages_are_taken_as_there_is_room_and_a_stream_may_be_closed_early(engine, policy):
    """Of a million pages: with G = 2, 32 rows and 8 pages ahead make 16 + 8 at most, besides the finished."""
    taken = 0

    def million():
        nonlocal taken
        for i in range(1_000_000):
            taken += 1
            yield make_page(i % 7)

    events = engine.stream(million(), Sampling(2, 1.0, 4), seed=0)
    for _ in range(40):
        next(events)
    events.close()
    assert 20 <= taken <= 24 + 40
    update(policy)
    engine.sync(policy)
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5


# weights


def test_after_every_update_of_tower_and_language_model_log_probabilities_are_the_trainer_s(
    engine, policy, monkeypatch
):
    """Whether they are in one file or in many."""
    seen = []
    for files in (1, 1, 20, 20):
        groups = engine.generate(LONG, SAMPLING, seed=0)
        assert worst_difference(policy, groups) <= 1e-5
        seen.append([c.sampling_logprobs for c in completions(groups)])
        before = [p.detach().clone() for p in policy.trainable_parameters()]
        update(policy)
        assert all(not p.equal(old) for p, old in zip(policy.trainable_parameters(), before, strict=True) if p.ndim > 1)
        assert worst_difference(policy, groups) > 1e-3, "the update changed nothing"
        monkeypatch.setattr(server_weights, "SHARD_BYTES", 10_000 if files > 1 else 2**30)
        engine.sync(policy)
        assert (len(list(engine._weights._written.iterdir())) == 1) == (files == 1)
        assert [engine._weights._written] == list(engine._weights.folder.iterdir()), "old weights were not removed"
    assert worst_difference(policy, engine.generate(LONG, SAMPLING, seed=0)) <= 1e-5


def test_a_prefix_cache_that_was_not_reset_is_found_at_once(engine, policy, monkeypatch):
    engine.generate(LONG, SAMPLING, seed=0)
    monkeypatch.setattr(server_link, "CACHES", ("/reset_encoder_cache", "/reset_mm_cache"))
    for _ in range(3):
        update(policy)
    with pytest.raises(EngineError, match=r"log probabilities differ from the trainer's by .*prefix cache"):
        engine.sync(policy)


def test_weights_that_never_arrive_are_found_at_once(engine, policy, monkeypatch):
    engine.generate(PAGES, SAMPLING, seed=0)
    monkeypatch.setattr(engine._weights, "send", lambda *_: None)
    update(policy)
    with pytest.raises(EngineError, match=r"more than 0.001(.|\n)*vllm serve"):
        engine.sync(policy)


def test_before_any_page_is_known_the_first_row_is_compared(connect, monkeypatch):
    monkeypatch.setattr(server_weights.FolderWeights, "send", lambda *_: None)
    engine = connect(make_policy(seed=5))
    with pytest.raises(EngineError, match=r"page\d: the engine's log probabilities differ from the trainer's"):
        next(engine.stream(PAGES, SAMPLING, seed=0))


def test_weights_that_the_server_cannot_load_are_an_error_with_their_path(engine, policy, monkeypatch):
    monkeypatch.setattr(server_weights, "save", lambda tensors: b"not safetensors")
    with pytest.raises(EngineError, match=r"the server cannot load .*, which it must see under the same path"):
        engine.sync(policy)


def test_adapters_are_merged_into_the_weights_that_the_server_gets(connect, tmp_path):
    make_policy().save(tmp_path / "base")
    policy = Policy.load(ModelConfig(path=str(tmp_path / "base"), lora_rank=2, lora_alpha=8))
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    engine = connect(policy)
    assert f"vllm serve {tmp_path}/base " in engine.links[0].start_command
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5
    with policy.model.disable_adapter():
        assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) > 1e-2


def test_the_metadata_for_nccl_are_those_of_the_weights(tmp_path):
    make_policy().save(tmp_path / "base")
    for policy in (make_policy(), Policy.load(ModelConfig(path=str(tmp_path / "base"), lora_rank=2))):
        source = PolicySource(partial(checkpoint_tensors, policy))
        assert source.metadata() == [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in source]


# faults


@contextmanager
def bad_line(server, lengths):
    """A proxy of `server` that breaks off one completion after each of these numbers of bytes, and then no more."""
    left = list(lengths)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, target, limit):
        with suppress(OSError):
            while limit > 0 and (data := source.recv(min(limit, 4096))):
                target.sendall(data)
                limit -= len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", server.port))
            generate = b"/generate" in client.recv(64, socket.MSG_PEEK)
            limit = left.pop(0) if left and generate else math.inf
            threading.Thread(target=pump, args=(client, upstream, math.inf), daemon=True).start()
            threading.Thread(target=pump, args=(upstream, client, limit), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", left
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_after_broken_connections_every_row_comes_once_and_unchanged(server, connect, policy, monkeypatch):
    undisturbed = connect(policy).generate(PAGES, SAMPLING, seed=3)
    with bad_line(server, []) as (url, left):
        engine = connect(policy, url)
        engine.generate(PAGES[:1], SAMPLING, seed=0)
        monkeypatch.setattr(server_engine, "ATTEMPTS", 8)  # in case all broken connections hit one page
        left += [0, 500, 5000, 4000, 3000, 5000, 4500]
        events = list(engine.stream(PAGES, SAMPLING, seed=3))
        assert not left
    assert rows(events) == [(page, row) for page in range(4) for row in range(4)]
    found = {(event.page, event.row): event.completion.token_ids for event in events}
    assert [found[key] for key in sorted(found)] == ids(undisturbed)


def test_a_server_with_other_weights_gets_ours_again_during_a_stream(server, connect, policy):
    """Like a restarted server: the weights of its checkpoint, under the version `default`."""
    engine = connect(policy)
    engine.generate(PAGES, SAMPLING, seed=0)
    link = VllmServer(server.url)
    model = {"weights_path": str(server.log.parent / "model")}
    link.post("/collective_rpc", {"method": "reload_weights", "kwargs": model})
    for route in server_client.CACHES:
        link.post(route)
    link.post("/update_weight_version", {"new_version": "default"})
    groups = engine.generate(PAGES, SAMPLING, seed=0)
    assert [len(group.completions) for group in groups] == [4] * 4
    assert worst_difference(policy, groups) <= 1e-5


def test_two_trainers_on_one_server_are_an_error(connect, policy, monkeypatch):
    """Each loads its own weights when it finds the other's; here the other one never stops."""
    engine = connect(policy)
    link = engine.links[0].server
    post = VllmServer.post

    def of_another(self, path, body=None, timeout=60.0):
        return post(self, path, {"new_version": "another"} if path == "/update_weight_version" else body, timeout)

    monkeypatch.setattr(VllmServer, "post", of_another)
    post(link, "/update_weight_version", {"new_version": "another"})
    with pytest.raises(EngineError, match=r"page\d was requested 4 times .*from weights \{'another'\}"):
        engine.generate(PAGES, SAMPLING, seed=0)


def test_a_server_that_hangs_is_lost_and_used_again_when_it_continues(server, connect, policy, monkeypatch):
    monkeypatch.setattr(server_link, "HEALTH_TIMEOUT_S", 0.5)
    engine = connect(policy, timeout_s=1, patience_s=1)
    engine.generate(PAGES, SAMPLING, seed=0)
    server.send(signal.SIGSTOP)
    try:
        with pytest.raises(EngineError, match=r"the vLLM server is lost: http://127.0.0.1:\d+ does not answer"):
            engine.generate(PAGES, SAMPLING, seed=0)
    finally:
        server.send(signal.SIGCONT)
    engine.options = replace(engine.options, timeout_s=60)
    assert len(engine.generate(PAGES, SAMPLING, seed=0)) == 4


# servers that a trainer cannot use


def test_the_server_s_key_is_taken_from_the_environment(server, connect, policy, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ValueError, match=f"requires a key; set the variable {KEY_VARIABLE} to its --api-key"):
        connect(policy)


def test_a_server_with_other_settings_is_refused_with_what_is_wrong_and_the_right_command(connect):
    with pytest.raises(ValueError, match=r"runs with --dtype float32\nStart it with:\n.* vllm serve .*-dtype bfloat16"):
        connect(make_policy(compute_dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="runs with an output head tied to the embedding on a CPU"):
        connect(make_policy(tied=True))


def test_without_a_server_the_error_shows_the_command_that_starts_one(policy, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            ValueError, match=r"there is no vLLM server: .*refused\n.*\n *VLLM_SERVER_DEV_MODE=1 .*vllm"
        ):
            ServerEngine(policy, [url], VllmOptions(transfer="folder", transfer_folder=tmp_path))


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (404, b"{}", "is not a vLLM server, or was started without VLLM_SERVER_DEV_MODE=1"),
        (200, b"<html>", "does not answer as vLLM 0.32 does"),
        (200, b'{"version": "0.29.1"}', "runs vLLM 0.29.1; this version of ocr-rl works with 0.32"),
    ],
)
def test_another_kind_of_server_is_an_error(policy, tmp_path, status, answer, message):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{other.server_port}"
    try:
        with pytest.raises(ValueError, match=message):
            ServerEngine(policy, [url], VllmOptions(transfer="folder", transfer_folder=tmp_path))
    finally:
        other.shutdown()
        other.server_close()


@pytest.mark.parametrize(
    "url", ["gpu1:8000", "http://", "ftp://gpu1", "http://gpu1:70000", "http://[gpu1", "http://me@gpu1:8000"]
)
def test_an_address_is_http_and_a_host(url):
    with pytest.raises(ValueError, match=r'vllm.server is ".*"; write an address such as "http://gpu1:8000"'):
        VllmServer(url)


def test_a_proxy_in_the_environment_is_not_used(connect, policy, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    connect(policy)


def test_a_transfer_needs_its_folder_or_its_gpu(server, policy):
    with pytest.raises(ValueError, match=r'vllm.transfer is "folder"; set vllm.transfer_folder'):
        ServerEngine(policy, [server.url], VllmOptions(transfer="folder"))
    with pytest.raises(ValueError, match=r'vllm.transfer is "nccl", but the policy is not on a CUDA GPU'):
        ServerEngine(policy, [server.url], VllmOptions(max_model_len=512))


# the server's end


def test_a_lost_server_is_an_error_after_a_while_that_says_what_to_do(server, connect, policy):
    engine = connect(policy, patience_s=1)
    server.kill()
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"the vLLM server is lost: .*refused(.|\n)*vllm serve(.|\n)*not affected"):
        engine.generate(PAGES, SAMPLING, seed=0)
    assert time.monotonic() - began > 1
    with pytest.raises(EngineError, match="is lost"):
        engine.sync(policy)


@pytest.mark.slow
def test_a_stream_survives_a_restart_of_the_server(server, connect, policy):
    engine = connect(policy, patience_s=400)
    undisturbed = engine.generate(PAGES * 4, SAMPLING, seed=0)
    events = engine.stream(PAGES * 4, SAMPLING, seed=0)
    found = [next(events)]
    server.kill()
    over = threading.Event()
    threading.Thread(target=lambda: (server.start(), over.wait())).start()  # the server ends with its thread
    try:
        found += events
    finally:
        over.set()
        server.kill()
    assert rows(found) == [(page, row) for page in range(16) for row in range(4)]
    ordered = sorted(found, key=lambda event: event[:2])
    assert [event.completion.token_ids for event in ordered] == ids(undisturbed)
