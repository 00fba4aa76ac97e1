"""Several servers: who gets which pages, and what happens when some of them are lost. They are small, but sample."""

import json
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch

from helpers.little_servers import LittleServer
from helpers.tiny_models import make_page, make_policy
from helpers.vllm_scored import worst_difference
from ocr_rl import distributed
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.vllm import server_pool
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.server_engine import ServerEngine

PAGES = [make_page(i, (16, 16)) for i in range(8)]
SAMPLING = Sampling(2, 1.0, 3)


def other_policy(seed=9):
    return make_policy("lighton", seed)


@pytest.fixture
def servers():
    """Starts servers of other weights than the trainer's; ends them."""
    running = []

    def start(count=1, **options):
        running.extend(LittleServer(other_policy, **options) for _ in range(count))
        return running[-count:]

    yield start
    for server in running:
        server.kill()


@pytest.fixture
def connect(tmp_path):
    engines = []

    def make(servers, policy=None, **options):
        defaults = VllmOptions(rows=4, max_model_len=512, patience_s=0.3, timeout_s=100, transfer="folder")
        defaults = replace(defaults, transfer_folder=tmp_path / "weights")
        policy = policy or make_policy("lighton", 1)
        engines.append(ServerEngine(policy, [one.url for one in servers], replace(defaults, **options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
    assert not list((tmp_path / "weights").glob("*")), "the weights were not removed"


def rows(events):
    return sorted((event.page, event.row) for event in events)


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def every_row(pages=PAGES):
    return [(page, row) for page in range(len(pages)) for row in range(SAMPLING.group_size)]


def ids(groups):
    return [[list(c.token_ids) for c in group.completions] for group in groups]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What one server samples."""
    server = LittleServer(other_policy)
    folder = tmp_path_factory.mktemp("weights")
    options = VllmOptions(rows=4, max_model_len=512, transfer="folder", transfer_folder=folder)
    engine = ServerEngine(make_policy("lighton", 1), [server.url], options)
    groups = engine.generate(PAGES, SAMPLING, seed=3)
    engine.close()
    server.kill()
    return groups


# sharing


@pytest.mark.parametrize("count", [2, 3])
def test_what_is_sampled_does_not_depend_on_the_number_of_servers(servers, connect, undisturbed, count):
    """A row is drawn with the seed of its page and its number, whoever draws it."""
    group = servers(count)
    groups = connect(group).generate(PAGES, SAMPLING, seed=3)
    assert ids(groups) == ids(undisturbed)
    assert all(server.rows for server in group)


def test_the_rows_of_a_page_are_sampled_by_one_server(servers, connect):
    group = servers(2)
    connect(group).generate(PAGES, SAMPLING, seed=3)
    seeds = [seed for server in group for seed in server.requests]
    assert len(seeds) == len(set(seeds)) == len(PAGES)


@pytest.mark.parametrize(("processes", "pages"), [(1, 3), (2, 2), (9, 2)])
def test_equal_servers_get_equally_many_pages(servers, connect, monkeypatch, processes, pages):
    """Of 4 rows each, for pages of 2 rows: both get two, and one more that waits. Processes share the rows."""
    monkeypatch.setattr(distributed, "count", lambda: processes)
    group = servers(2)
    events = connect(group).stream(PAGES, SAMPLING, seed=3)
    for server in group:
        server.may_sample.clear()
    reader = threading.Thread(target=list, args=(events,))
    reader.start()
    wait_until(lambda: sum(len(server.requests) for server in group) == 2 * pages)
    time.sleep(0.1)
    asked = [len(server.requests) for server in group]
    for server in group:
        server.may_sample.set()
    reader.join()
    assert asked == [pages, pages]


def test_a_slow_server_keeps_no_pages_from_a_fast_one(servers, connect):
    """It has two pages whose rows fit, and one that waits; all others are done before it has sampled a row."""
    slow, fast = servers(2)
    events = connect([slow, fast]).stream(PAGES * 2, SAMPLING, seed=3)
    slow.may_sample.clear()
    found = [next(events) for _ in range(2 * (16 - 3))]
    assert (slow.rows, len(slow.requests), len(fast.requests)) == (0, 3, 13)
    slow.may_sample.set()
    assert rows([*found, *events]) == every_row(PAGES * 2)


def test_each_process_begins_with_another_of_equal_servers(servers, connect, monkeypatch):
    group = servers(3)
    engine = connect(group)
    monkeypatch.setattr(distributed, "rank", lambda: 2)
    engine.generate(PAGES[:1], SAMPLING, seed=0)
    assert [len(server.requests) for server in group] == [0, 0, 1]


# weights


def test_weights_are_written_once_and_every_server_has_them_after_every_sync(servers, connect):
    group = servers(3)
    engine = connect(group)
    for seed in (2, 3):
        policy = make_policy("lighton", seed)
        engine.sync(policy)
        groups = engine.generate(PAGES, SAMPLING, seed=seed)
        assert worst_difference(policy, groups) <= 1e-5
        assert len({server.loads[-1] for server in group}) == 1
    assert [len(server.loads) for server in group] == [3, 3, 3], "one for each version"
    assert len({server.version for server in group}) == 1


def test_after_a_sync_every_server_is_checked(servers, connect):
    """The third one says that it has loaded the weights, but has not."""
    group = servers(3)
    engine = connect(group)
    engine.generate(PAGES, SAMPLING, seed=0)
    group[2].deaf = {0}
    with pytest.raises(EngineError, match=r"log probabilities differ from the trainer's by") as error:
        engine.sync(make_policy("lighton", 2))
    assert f"Start the server at {group[2].url} with" in str(error.value)


def test_every_engine_of_a_data_parallel_server_is_checked(servers, connect):
    group = servers(1, engines=3)
    engine = connect(group)
    engine.generate(PAGES, SAMPLING, seed=0)
    engine.sync(make_policy("lighton", 2))
    group[0].deaf = {2}
    with pytest.raises(EngineError, match=r"engine 2 of .*log probabilities differ from the trainer's by"):
        engine.sync(make_policy("lighton", 3))


# lost servers


def test_when_one_is_lost_the_others_sample_its_pages_and_it_comes_back_at_a_sync(
    servers, connect, undisturbed, capsys
):
    group = servers(3)
    engine = connect(group)
    capsys.readouterr()
    group[1].dies_after = 3
    events = list(engine.stream(PAGES, SAMPLING, seed=3))
    assert rows(events) == every_row()
    found = {(event.page, event.row): list(event.completion.token_ids) for event in events}
    assert [[found[page, row] for row in range(2)] for page in range(len(PAGES))] == ids(undisturbed)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"{group[1].url}: .*; 2 other servers sample its pages until it answers again at a weight sync", line
    )

    engine.sync(make_policy("lighton", 2))
    asked = len(group[1].requests)
    engine.generate(PAGES, SAMPLING, seed=4)
    assert len(group[1].requests) == asked
    assert capsys.readouterr().err == "", "it is lost, which is no news"

    group[1].start()
    engine.generate(PAGES, SAMPLING, seed=4)
    assert len(group[1].requests) == asked, "it answers again, but has no weights before the next sync"

    policy = make_policy("lighton", 5)
    engine.sync(policy)
    assert capsys.readouterr().err == f"{group[1].url} answers again and has the current weights\n"
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=4)) <= 1e-5
    assert len(group[1].requests) > asked + 1


def test_a_server_whose_engine_hangs_leaves_although_it_is_healthy(servers, connect, capsys):
    """One that is the last stays."""
    good, hung = servers(2)
    engine = connect([good, hung], timeout_s=2.0)
    capsys.readouterr()
    hung.may_sample.clear()
    assert rows(engine.stream(PAGES, SAMPLING, seed=3)) == every_row()
    expected = f"{hung.url} does not answer; the other server samples its pages until it answers again at a weight sync"
    assert capsys.readouterr().err.splitlines() == [expected]
    asked = len(hung.requests)
    engine.generate(PAGES, SAMPLING, seed=4)
    assert len(hung.requests) == asked
    hung.may_sample.set()
    engine.sync(make_policy("lighton", 2))
    assert capsys.readouterr().err == f"{hung.url} answers again and has the current weights\n"


def test_a_lost_server_that_accepts_connections_and_is_silent_delays_a_sync_by_two_seconds(servers, connect):
    good, lost = servers(2)
    engine = connect([good, lost])
    lost.kill()
    engine.sync(make_policy("lighton", 2))
    with socket.create_server(("127.0.0.1", lost.port)):
        began = time.monotonic()
        engine.sync(make_policy("lighton", 3))
        assert 2 <= time.monotonic() - began < 9, "HUNG_AFTER_S is 10"


def test_a_hung_engine_behind_a_healthy_address_delays_one_sync_by_ten_seconds_and_others_by_two(
    servers, connect, capsys, monkeypatch
):
    """Here by 12 and 1: it would have 60 if no other server could sample."""
    monkeypatch.setattr(server_pool, "HUNG_AFTER_S", 12.0)
    monkeypatch.setattr(server_pool, "LOST_FOR_S", 1.0)
    good, hung = servers(2)
    engine = connect([good, hung])
    capsys.readouterr()
    hung.may_answer.clear()
    taken = []
    for seed in (2, 3):
        began = time.monotonic()
        engine.sync(make_policy("lighton", seed))
        taken.append(time.monotonic() - began)
    assert taken[0] >= 12 > taken[1] >= 1
    expected = f"{hung.url} does not answer; the other server samples its pages until it answers again at a weight sync"
    assert capsys.readouterr().err.splitlines() == [expected]
    assert len(engine.generate(PAGES[:2], SAMPLING, seed=4)) == 2
    assert not hung.requests
    hung.may_answer.set()
    engine.sync(make_policy("lighton", 4))
    assert capsys.readouterr().err == f"{hung.url} answers again and has the current weights\n"


def test_a_sync_waits_longer_for_an_engine_that_no_other_can_replace(servers, connect, capsys, monkeypatch):
    """The other one is dead, and this one is busy for longer than it would be waited for beside another."""
    monkeypatch.setattr(server_pool, "HUNG_AFTER_S", 0.5)
    monkeypatch.setattr(server_pool, "LOST_FOR_S", 0.5)
    busy, dead = servers(2)
    engine = connect([busy, dead])
    dead.kill()
    engine.sync(make_policy("lighton", 2))
    capsys.readouterr()
    busy.may_answer.clear()
    threading.Timer(2, busy.may_answer.set).start()
    engine.sync(make_policy("lighton", 3))
    assert capsys.readouterr().err == ""
    assert len(engine.generate(PAGES[:2], SAMPLING, seed=4)) == 2


def test_a_server_that_is_lost_between_two_steps_is_left_out_at_the_sync(servers, connect, capsys):
    group = servers(2)
    engine = connect(group)
    group[0].kill()
    capsys.readouterr()
    engine.sync(make_policy("lighton", 2))
    assert "; the other server samples its pages until it answers again" in capsys.readouterr().err
    assert len(engine.generate(PAGES, SAMPLING, seed=0)) == len(PAGES)


def test_when_no_server_is_left_the_error_names_all(servers, connect):
    group = servers(2)
    engine = connect(group)
    for server in group:
        server.dies_after = 2
    with pytest.raises(EngineError) as error:
        engine.generate(PAGES, SAMPLING, seed=0)
    message = str(error.value)
    assert message.startswith(f"no vLLM server is left: {group[0].url}: ")
    assert f"; {group[1].url}: " in message
    assert message.endswith("The weights and checkpoints of the run are not affected")


def test_the_last_server_is_waited_for_and_gets_the_weights_again(servers, connect, undisturbed):
    """All have been lost; one is started again while the engine waits."""
    group = servers(2)
    engine = connect(group, patience_s=20)
    group[0].dies_after, group[1].dies_after = 2, 5

    def restart():
        wait_until(lambda: not any(server.runs for server in group))
        group[0].start()

    threading.Thread(target=restart).start()
    found = list(engine.stream(PAGES, SAMPLING, seed=3))
    assert rows(found) == every_row()
    completions = {(event.page, event.row): list(event.completion.token_ids) for event in found}
    assert [[completions[page, row] for row in range(2)] for page in range(len(PAGES))] == ids(undisturbed)


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_server_that_comes_back_does_not_wait_for_another_that_loads(servers, connect, first):
    """Whichever is started first."""
    slow, fast = group = servers(2)
    engine = connect(group, patience_s=60)
    slow.dies_after, fast.dies_after = 2, 3
    events = engine.stream(PAGES, SAMPLING, seed=3)
    found = [next(events)]
    wait_until(lambda: not any(server.runs for server in group))
    slow.may_load.clear()
    loads = len(slow.loads)
    if first == 0:
        slow.start()
        wait_until(lambda: len(slow.loads) > loads)
    fast.start()
    found += [next(events) for _ in range(15)]
    if first == 1:
        slow.start()
    assert rows(found) == every_row()
    assert slow.version == "default"
    slow.may_load.set()
    assert list(events) == []
    engine.sync(make_policy("lighton", 2))
    assert slow.version == fast.version != "default"


def test_a_server_that_keeps_failing_does_not_end_the_wait_for_another(servers, connect):
    group = servers(2)
    engine = connect(group, patience_s=60)
    group[0].dies_after, group[1].dies_after, group[0].healthy = 2, 3, False
    events = engine.stream(PAGES, SAMPLING, seed=3)
    found = [next(events)]
    wait_until(lambda: not any(server.runs for server in group))
    group[0].start()
    threading.Timer(2, group[1].start).start()  # longer than four attempts take
    assert rows([*found, *events]) == every_row()


def test_outside_the_first_process_a_server_is_waited_for_until_the_first_has_delivered(servers, connect, monkeypatch):
    """Two engines stand for two processes: the second one may not deliver."""
    (server,) = servers()
    first = connect([server], patience_s=60)
    second = connect([server], patience_s=60)
    second._pool.version = first._pool.version
    server.kill()
    server.start()
    monkeypatch.setattr(distributed, "first", lambda: False)
    second._pool.lose(second._pool.members[0], ConnectionError())
    waiting = threading.Thread(target=second._pool.wait_for_one)
    waiting.start()
    waiting.join(2)  # longer than four attempts take
    assert waiting.is_alive()
    first._deliver(first.links[0], first._pool.version, 60)
    waiting.join(60)
    assert second._pool.usable


def test_a_stream_that_is_closed_while_all_servers_are_lost_ends(servers, connect):
    group = servers(2)
    engine = connect(group, patience_s=60)
    events = engine.stream(PAGES, SAMPLING, seed=0)
    next(events)
    for server in group:
        server.kill()
    events.close()


# servers that cannot be used


def test_each_server_that_cannot_be_used_is_named_with_its_url(servers, connect, tmp_path):
    good, tight, gone, wide = servers(4)
    tight.settings["model_config"] |= {"max_model_len": 100, "quantization": "fp8"}
    tight.settings["parallel_config"]["data_parallel_hybrid_lb"] = True
    gone.kill()
    policy = make_policy("lighton", 1)
    config = policy.base.config.to_dict()
    config["text_config"]["hidden_size"] = 4096
    (tmp_path / "config.json").write_text(json.dumps(config))
    wide.settings["model_config"]["model"] = str(tmp_path)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is what follows
        connect([good, tight, gone, wide], policy)
    message = str(error.value)
    apart = "data-parallel engines that one address does not reach"
    assert f"the server at {tight.url} runs with --max-model-len 100, --quantization fp8, {apart}\n" in message
    assert f"there is no vLLM server: {gone.url}: " in message
    assert f"the server at {wide.url} serves {tmp_path}, another model than the trainer's MODEL_FOLDER: " in message
    assert "text_config.hidden_size is 4096, not 32" in message
    assert good.url not in message
    assert Counter(re.findall(r"--port (\d+)", message)) == {str(one.port): 1 for one in (tight, gone, wide)}


def test_a_server_that_came_back_with_other_settings_stays_out(servers, connect, capsys):
    group = servers(2)
    engine = connect(group)
    group[1].kill()
    engine.sync(make_policy("lighton", 2))
    group[1].settings["model_config"]["dtype"] = "torch.bfloat16"
    group[1].start()
    policy = make_policy("lighton", 3)
    engine.sync(policy)
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5
    assert group[1].version == "default"


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)
