"""The HTML report of a training run, from a run folder that was written by hand on six rendered pages."""

import json
import re

import pytest
from click.testing import CliRunner

from helpers.html_tree import Tree
from ocr_rl.cli.main import main
from ocr_rl.config.loader import load_recipe, to_toml
from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.evaluation.results import score_pages
from ocr_rl.evaluation.summary import evaluation
from ocr_rl.reporting.html import diff
from ocr_rl.reporting.run_report import close_with_report, duration, run_report
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.runs.folder import RunFolder
from ocr_rl.types import Completion
from ocr_verifiers import Rubric

RUBRIC = Rubric(weights={"similarity": 0.7, "pass_rate": 0.3})
ARTICLES = 4 + 1 + 4 + 1
"""The most improved pages, the one that lost, the worst, and that of a group of completions."""
EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\u0000\u202e"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pages"
    render_collection(folder, 6, seed=0, layouts=[Layout()], style=STYLES["clean"])
    return folder


def evaluated(pages, read):
    reward_function = RewardFunction(RUBRIC, pages)
    return evaluation(score_pages(pages, [Completion((), read(page), "end", ()) for page in pages], reward_function))


def metrics(step):
    """20 seconds a step: 8 to generate, 1 to score, 10 to learn, and 1 for nothing of these."""
    row = {"step": step, "time_s": 20.0 * step, "loss": 0.1, "reward": 0.1 * step, "cer": 1 - 0.1 * step, "kl": None}
    row |= {"reward/similarity": 0.1 * step, "pass_rate": 0.5, "pass_rate/present": 0.2, "pass_rate/absent": 0.9}
    return row | {"time/generate": 8.0, "time/score": 1.0, "time/learn": 10.0}


def rollout(page, completion, reward, advantage):
    row = {"page": page, "completion": completion, "finish_reason": "end", "reward": reward, "advantage": advantage}
    return row | {"parts": {"similarity": reward}, "tests": {"a": True, "b": False}}


@pytest.fixture
def run(tmp_path, collection):
    """Three steps, after which every page is read without an error but the first, which got worse."""
    run = RunFolder.create(tmp_path / "run", to_toml(load_recipe("grpo", [f"data.path={collection}", "train.steps=3"])))
    pages = load_pages(collection)
    first, *rest = pages
    for step in (1, 2, 3):
        run.log(metrics(step) | ({"eval/cer": 0.4, "eval/cer_ci": [0.3, 0.5]} if step == 2 else {}))
    alike = [rollout(rest[0].id, "same", 0.5, 0.0)] * 2
    apart = [rollout(first.id, "worse", 0.1, -0.7), rollout(first.id, first.text, 0.9, 0.7)]
    run.write_rollouts(3, [*alike, *apart])
    run.write_eval("before", evaluated(pages, lambda page: page.text[:-3]))
    run.write_eval("after", evaluated(pages, lambda page: "nonsense" if page is first else page.text))
    return run


def tree(run, **options):
    return Tree(run_report(run, **options))


def texts(elements):
    return [" ".join(element["words"]) for element in elements]


def headings(tree):
    return texts(tree.all("h2"))


def test_a_finished_run_has_every_section(run):
    report = tree(run)
    assert headings(report) == [
        "Before and after",
        "Curves",
        "Parts of the reward",
        "Kinds of tests",
        "Training",
        "Time",
        "Most improved pages",
        "Pages that lost most",
        "Worst pages afterwards",
        "Errors",
        "One group of completions",
        "Configuration",
    ]
    assert texts(report.all("title")) == ["run"]
    assert "3 of 3 steps; 1 min 0 s" in report.all("header")[0]["text"]


def test_the_table_has_before_and_after_with_intervals_and_the_change(run):
    before, after = (json.loads((run.path / "eval" / f"{name}.json").read_text()) for name in ("before", "after"))
    (table,) = tree(run).all("table", id="summary")
    words = " ".join(table["words"])
    assert words.startswith("before after change cer")
    cells = [f"{e['cer']:.3f} {e['cer_ci'][0]:.3f}–{e['cer_ci'][1]:.3f}" for e in (before, after)]
    assert f"cer {cells[0]} {cells[1]} {after['cer'] - before['cer']:+.3f}" in words
    assert {"present", "order", "baseline"} <= set(table["words"])


def test_steps_that_teach_nothing_are_a_warning_at_the_top(run):
    assert tree(run).all("p", role="alert") == []
    for step in (4, 5, 6, 7):
        run.log(metrics(step) | {"reward_std": 0.0})
    report = run_report(run)
    (box,) = Tree(report).all("p", role="alert")
    assert box["text"].startswith("steps 4 to 7 teach nothing: all completions of each page have the same reward")
    assert report.index('role="alert"') < report.index("<h2")


def test_each_part_of_the_reward_and_each_kind_of_test_has_a_curve_of_its_own(run):
    """So that a falling `absent` cannot hide under a rising mean. `kl` is null at every step and has none."""
    drawn = [e["data-metric"] for e in tree(run).all("figure") if "data-metric" in e]
    kinds = ["pass_rate/absent", "pass_rate/baseline", "pass_rate/order", "pass_rate/present"]
    assert drawn == ["reward", "cer", "pass_rate", "reward/similarity", *kinds, "loss"]


def test_held_out_points_are_those_before_between_and_after(run):
    html = run_report(run)
    (cer,) = [part for part in html.split("<figure")[1:] if part.startswith(' data-metric="cer"')]
    assert cer.partition("</figure>")[0].count('class="held-out"') == 3


def test_the_time_is_split_into_phases_and_the_rest(run):
    """8 + 1 + 10 of 20 seconds a step, three steps."""
    (table,) = tree(run).all("table", id="time")
    assert " ".join(table["words"]) == (
        "in all share per step generate 24 s 40% 8.00 s score 3 s 5% 1.00 s learn 30 s 50% 10.00 s other 3 s 5% 1.00 s"
    )


def test_generation_that_ran_ahead_counts_for_as_long_as_it_was_waited_for(run):
    """Of 4 seconds of waiting 1 went into taking weights over and 1 into scoring: 2 of the 8 of generation are left."""
    for step in (1, 2, 3):
        row = json.loads(run.metrics.read_text().splitlines()[step - 1])
        run.log(row | {"step": step + 3, "time_s": 60 + 15.0 * step, "time/wait": 4.0, "time/sync": 1.0})
    (table,) = tree(run).all("table", id="time")
    words = " ".join(table["words"])
    assert words.startswith("in all share per step generate 30 s 29% 5.00 s score 6 s 6% 1.00 s learn")
    assert "sync 3 s 3% 0.50 s" in words


def test_pages_show_their_image_beside_what_was_misread_before_and_after(run, collection):
    pages = load_pages(collection)
    report = tree(run)
    heads = [e["words"][0] for e in report.all("h3")]
    assert set(heads[:4]) < {page.id for page in pages[1:]}
    assert heads[4:6] == [pages[0].id, pages[0].id]  # lost most, and worst
    assert [e["src"][:23] for e in report.all("img")] == ["data:image/jpeg;base64,"] * len(heads)
    assert pages[1].text.replace("\n", " ")[-3:].strip() in " ".join(texts(report.all("del")))


def test_the_group_whose_rewards_are_furthest_apart_is_shown_the_best_completion_first(run):
    (table,) = tree(run).all("table", id="rollouts")
    assert table["words"][:7] == ["advantage", "reward", "completion", "similarity", "tests", "ended", "by"]
    assert " ".join(table["words"]).index("+0.70 0.900") < " ".join(table["words"]).index("-0.70 0.100")
    assert "same" not in table["words"]


def test_the_configuration_is_the_resolved_recipe(run):
    assert (run.path / "resolved.toml").read_text().strip() in tree(run).all("details")[0]["text"]


def test_the_environment_is_that_of_the_newest_checkpoint(run):
    def save(folder):
        (folder / "trainer").mkdir()
        (folder / "trainer" / "state.json").write_text('{"step": 3, "environment": {"torch": "2.99", "threads": 2}}')

    run.write_checkpoint(3, save, keep=1)
    report = tree(run)
    assert "Environment" in headings(report)
    assert texts(report.all("dt")) == ["torch", "threads"]
    assert texts(report.all("dd")) == ["2.99", "2"]


def test_what_pages_and_completions_say_is_escaped_and_controls_are_named(run):
    after = json.loads((run.path / "eval" / "after.json").read_text())
    after["pages"][1] |= {"text": EVIL, "reward": 0.0}
    run.write_eval("after", after)
    run.write_rollouts(3, [rollout(EVIL, EVIL, 0.1, -0.7), rollout(EVIL, "x", 0.9, 0.7)])
    report = tree(run)
    assert report.all("script") == []
    assert all(e["src"].startswith("data:image/jpeg;base64,") for e in report.all("img"))
    assert "<script>alert(1)</script>" in report.all("table", id="rollouts")[0]["text"]
    assert "<U+0000><U+202E>" in report.all("table", id="rollouts")[0]["text"]


def test_the_report_needs_no_network_no_script_and_no_other_file(run):
    report = tree(run)
    assert report.all("link") == report.all("script") == []
    (policy,) = [e["content"] for e in report.all("meta") if e.get("http-equiv")]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_a_run_of_an_older_version_has_what_its_files_say(run):
    """Without verdicts, references and kinds in its evaluations, and without `time/...` in its metrics."""
    for name in ("before", "after"):
        old = json.loads((run.path / "eval" / f"{name}.json").read_text())
        kept = ("id", "text", "reward", "cer")
        rows = [{key: row[key] for key in kept} for row in old["pages"]]
        run.write_eval(name, {k: v for k, v in old.items() if not k.startswith("by_")} | {"pages": rows})
    report = tree(run)
    assert "Most improved pages" in headings(report)
    assert report.all("del")  # the references are those of the dataset


def test_without_a_reward_for_single_transcriptions_pages_are_ranked_by_their_cer(run):
    for name in ("before", "after"):
        old = json.loads((run.path / "eval" / f"{name}.json").read_text())
        rows = [row | {"reward": None} for row in old["pages"]]
        run.write_eval(name, old | {"reward": None, "reward_ci": None, "pages": rows})
    report = tree(run)
    assert "Most improved pages" in headings(report)
    about = " ".join(report.all("body")[0]["words"])
    assert re.search(r"CER 0\.\d{3} → 0\.\d{3}", about)
    assert "before: CER 0." in about


def test_a_run_that_was_stopped_has_a_report_of_what_there_is(run):
    (run.path / "eval" / "after.json").unlink()
    assert "Worst pages before training" in headings(tree(run))
    (run.path / "eval" / "before.json").unlink()
    (run.path / "metrics.jsonl").unlink()
    assert headings(tree(run)) == ["Configuration"]


def test_without_its_dataset_a_run_has_a_report_without_images(run, tmp_path):
    moved = to_toml(load_recipe("grpo", ["data.path=gone", "train.steps=3"]))
    (run.path / "resolved.toml").write_text(moved)
    report = tree(run)
    assert report.all("img") == []
    assert len(report.all("article")) == ARTICLES
    assert (
        "gone cannot be read here, so there are no images: gone: no such file or folder"
        in report.all("body")[0]["text"]
    )


def test_the_command_writes_into_the_run_or_to_another_file(run, tmp_path):
    result = CliRunner().invoke(main, ["report", str(run.path)])
    assert (result.exit_code, result.stdout) == (0, f"report: {run.path}/report.html\n")
    CliRunner().invoke(main, ["report", str(run.path), "--html", str(tmp_path / "a.html")])
    assert (tmp_path / "a.html").read_text() == (run.path / "report.html").read_text()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "resolved.toml").unlink(), "{run} holds no run: it has no resolved.toml; give a folder"),
        (
            lambda run: (run / "eval" / "after.json").write_text('{"cer": 0.'),
            "{run}/eval/after.json: is damaged; it should hold a JSON object",
        ),
        (
            lambda run: (run / "rollouts" / "step_000003.jsonl").write_text('{"page": "a"}\n{"pa'),
            "{run}/rollouts/step_000003.jsonl:2: is damaged; it should hold a JSON object",
        ),
    ],
)
def test_what_cannot_be_reported_is_one_message_and_leaves_the_old_report(run, damage, message):
    (run.path / "report.html").write_text("old")
    damage(run.path)
    result = CliRunner().invoke(main, ["report", str(run.path)])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: " + message.format(run=run.path))
    assert (run.path / "report.html").read_text() == "old"


def test_a_report_that_fails_does_not_fail_the_run(run):
    (run.path / "eval" / "after.json").write_text("{")
    said = []
    close_with_report(run, said.append)
    (message,) = said
    assert message.startswith("no report (ValueError: ")
    assert message.endswith(f"to try again: ocr-rl report {run.path}")
    assert not (run.path / "report.html").exists()


@pytest.mark.parametrize(("seconds", "text"), [(59.4, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("reference", "completion", "inside"),
    [
        ("cat", "cut", "c<del>a</del><ins>u</ins>t"),
        ("a b", "a\nb", "a\nb"),  # costs nothing, so it is no difference
        ("ab", "a b", "a<ins>␣</ins>b"),
        ("a\nb", "ab", "a<del>⏎</del>b"),
        ("e\u0301", "\u00e9", "\u00e9"),
        (None, "x < y", "x &lt; y"),
        ("", "x", "<ins>x</ins>"),
        ("a", " a\n", "a"),
    ],
)
def test_a_diff_shows_what_costs_edits(reference, completion, inside):
    assert diff(reference, completion) == f'<pre dir="auto">{inside}</pre>\n'


def test_a_long_diff_is_cut_and_counted():
    html = diff("x" * 10_000, "x" * 10_000)
    assert "and 4,000 more characters" in html
    assert html.count("x") == 6_000


def test_in_chromium_every_row_is_there_and_the_console_stays_silent(run, browse):
    """The one line that it has is that a script was refused, so its silence about the rest means something."""
    (run.path / "report.html").write_text(run_report(run), encoding="utf-8")
    report, console = browse(run.path / "report.html", "the.last.line;")
    assert ["Content Security Policy" in line for line in console] == [True]
    assert [e["id"] for e in report.all("table")] == [
        "summary",
        "time",
        "error_classes",
        "character_confusions",
        "word_confusions",
        "rollouts",
    ]
    assert len(report.all("svg", **{"class": "curve"})) == 9
    assert len(report.all("article")) == ARTICLES
