"""What a model writes in its own format: decoded with the format's tokens, scored as markdown, reported as both."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run
from helpers.format_models import make_policy, script, token_ids
from helpers.perfect_pages import MARKDOWN, PERFECT, RECORDS
from helpers.tiny_models import make_page
from ocr_rl.config.presets import IN_SPECIAL_TOKENS, PromptFormat
from ocr_rl.config.schema import RewardConfig
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.rollouts.engine import Refused, Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Group, Page
from ocr_verifiers import OUTPUT_FORMATS
from ocr_verifiers.markup import katex

TESTS = [
    {"pdf": "a.pdf", "page": 1, "id": str(n), **record}
    for n, record in enumerate(RECORDS)
    if record["type"] != "math" or katex.installed()
]
DOCTAGS = "<doctag><title><loc_5><loc_40>Annual report</title>\n<text><loc_1>Sales rose.</text>\n</doctag>"
REPORT = "# Annual report\n\nSales rose."


def rewards(output, pages):
    return RewardFunction(make_rubric(RewardConfig()), pages).of_output(output)


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_a_perfect_page_from_token_ids_earns_everything_in_training(output):
    """`with_own_processor` is what decodes for vLLM."""
    text = PERFECT[output]
    policy = make_policy(output, text)
    page = Page("page", lambda: None, text=MARKDOWN, tests=TESTS)
    engine = TransformersEngine(policy)
    ids = token_ids(policy, text)
    completion = engine._completion(ids, [0.0] * len(ids))
    assert completion.finished
    assert completion.text == policy.with_own_processor().text(ids) == text
    (group,) = rewards(engine.output, [page]).score_groups([Group(page, [completion])])
    assert [score.malformed for score in group.scores] == [""]
    assert list(group.rewards) == [1.0]


@pytest.mark.parametrize("output", IN_SPECIAL_TOKENS)
def test_without_its_special_tokens_the_same_page_earns_less(output):
    policy = make_policy(output, PERFECT[output])
    ids = token_ids(policy, PERFECT[output])
    policy.prompt_format = PromptFormat()
    completion = TransformersEngine(policy)._completion(ids, [0.0] * len(ids))
    page = Page("page", lambda: None, text=MARKDOWN, tests=TESTS)
    assert rewards("markdown", [page]).score(page, completion).reward < 0.95


def test_ends_padding_and_images_are_never_text():
    policy = make_policy("doctags", DOCTAGS)
    tokenizer = policy.processor.tokenizer
    control = tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "<unk>", "<image>", "<break>", "</s>"])
    ids = [*control, *token_ids(policy, DOCTAGS), *control]
    assert policy.text(ids) == DOCTAGS
    pieces = policy.pieces(ids)
    assert "".join(pieces) == DOCTAGS
    assert pieces[len(control)] == "<doctag>"


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """A checkpoint that writes a page in DocTags, whatever it is asked, and a dataset of that page."""
    monkeypatch.chdir(tmp_path)
    policy = make_policy("doctags", DOCTAGS)
    policy.prompt_format = PromptFormat()
    policy.save(tmp_path / "model")
    make_page().image.save("page.png")
    Path("metadata.jsonl").write_text(json.dumps({"file_name": "page.png", "text": REPORT}) + "\n")
    script(monkeypatch, token_ids(policy, DOCTAGS))
    return tmp_path / "model"


def test_transcribe_writes_markdown_or_what_the_model_wrote(writer):
    arguments = ["transcribe", "page.png", "--model", writer, "--output", "doctags", "--max-tokens", 200]
    assert run(*arguments).stdout == REPORT + "\n"
    assert run(*arguments, "--as", "raw").stdout == DOCTAGS + "\n"
    assert run(*arguments, "--out", "a.jsonl").exit_code == 0
    assert rows_of(Path("a.jsonl")) == [{"id": "page.png", "text": REPORT, "finish_reason": "end"}]
    assert "--out" in refused(*arguments, "--as", "raw", "--out", "a.jsonl")


def test_transcribe_leaves_what_is_not_in_the_format_and_says_why(writer):
    arguments = ["transcribe", "page.png", "--model", writer, "--output", "layout_json", "--max-tokens", 200]
    printed = run(*arguments)
    assert printed.stdout == "Annual report\nSales rose.\n\n"
    assert printed.stderr.endswith(
        "page.png: is as the model wrote it: it is not JSON: Expecting value at character 1\n"
    )
    written = run(*arguments, "--out", "a.jsonl")
    assert "1 are not valid layout_json and are as the model wrote them\n" in written.stderr
    assert rows_of(Path("a.jsonl"))[0]["malformed"] == "it is not JSON: Expecting value at character 1"


def test_eval_and_rollout_score_the_markdown_and_keep_what_the_model_wrote(writer):
    result = run("eval", writer, "--data", ".", "--output", "doctags", "--max-tokens", 200, "--json", "e.json")
    assert result.exit_code == 0, result.output
    evaluated = json.loads(Path("e.json").read_text())
    (row,) = evaluated["pages"]
    assert (row["reward"], row["text"], row["raw"]) == (1.0, REPORT, DOCTAGS)
    assert "malformed" not in evaluated
    again = run("eval", "--predictions", "e.json", "--data", ".", "--json", "again.json")
    assert again.exit_code == 0, again.output
    assert json.loads(Path("again.json").read_text())["reward"] == 1.0
    options = ["--output", "doctags", "--max-tokens", 200, "--group-size", 2, "--processes", 0, "--out", "groups.jsonl"]
    assert run("rollout", writer, "--data", ".", *options).exit_code == 0
    (group,) = rows_of(Path("groups.jsonl"))
    assert (group["completions"], group["rewards"]) == ([DOCTAGS] * 2, [1.0] * 2)


def test_eval_names_pages_that_are_malformed_and_scores_them_as_they_stand(writer):
    result = run("eval", writer, "--data", ".", "--output", "layout_json", "--json", "e.json", "--html", "e.html")
    reason = "it is not JSON: Expecting value at character 1"
    assert (
        "1 of 1 pages are not in the model's output format and are scored as they stand, such as page.png: "
        f"{reason}\n" in result.stdout
    )
    evaluated = json.loads(Path("e.json").read_text())
    (row,) = evaluated["pages"]
    assert (evaluated["malformed"], row["malformed"], row["text"]) == (1, reason, "Annual report\nSales rose.\n")
    assert row["char_edits"] == 2, "the heading's mark is missing"
    assert f"malformed: {reason}" in Path("e.html").read_text()


def test_predictions_in_a_format_are_scored_as_markdown(writer):
    Path("p.jsonl").write_text(json.dumps({"id": "page.png", "text": DOCTAGS}) + "\n")
    for options, similarity in (["--output", "doctags"], 1.0), ([], 0.3):
        assert run("eval", "--predictions", "p.jsonl", "--data", ".", "--json", "e.json", *options).exit_code == 0
        assert json.loads(Path("e.json").read_text())["pages"][0]["reward"] == pytest.approx(similarity, abs=0.15)
    assert "--preset is that of a MODEL" in refused(
        "eval", "--predictions", "p.jsonl", "--data", ".", "--preset", "none"
    )
    assert 'unknown output format "doctag"; did you mean "doctags"?' in refused(
        "eval", "--predictions", "p.jsonl", "--data", ".", "--output", "doctag"
    )


def test_groups_are_scored_while_they_are_sampled(writer, monkeypatch):
    policy = make_policy("doctags", DOCTAGS)
    page = make_page(text=REPORT)
    engine = TransformersEngine(policy)
    with GroupScorer(rewards(engine.output, [page]), processes=0) as scorer:
        (group,) = scorer.roll_out(engine, [page], Sampling(2, 1.0, 200), seed=0).groups
    assert list(group.rewards) == [1.0, 1.0]
    assert group.scores[0].markdown == REPORT


def test_stored_completions_are_encoded_as_they_were_sampled():
    policy = make_policy("doctags", DOCTAGS)
    ids = token_ids(policy, DOCTAGS)
    assert TextEncoder(policy).completion(DOCTAGS, True, 500).token_ids == ids
    forged = TextEncoder(policy).completion("<doctag></s>", True, 500)
    assert len(forged.token_ids) == len("<doctag></s>") + 1, "an end token within a text is plain text"
    policy.prompt_format = PromptFormat()
    assert len(TextEncoder(policy).completion(DOCTAGS, True, 500).token_ids) == len(DOCTAGS) + 1


def test_a_prompt_may_hold_tokens_of_the_format_but_no_image(writer):
    policy = make_policy("doctags", DOCTAGS)
    engine = TransformersEngine(policy)

    def reasons(page):
        return [event.why for event in engine.stream([page], Sampling(1, 0.0, 200), 0) if isinstance(event, Refused)]

    page = make_page(text=REPORT)
    assert reasons(replace(page, prompt="<doctag>")) == []
    refusal = 'its prompt holds "<image>", a special token of the model; leave it out'
    assert reasons(replace(page, prompt="<image>")) == [refusal]
    policy = make_policy("doctags", DOCTAGS)
    policy.prompt_format = PromptFormat()
    engine = TransformersEngine(policy)
    assert "<doctag>" in reasons(replace(page, prompt="<doctag>"))[0]
