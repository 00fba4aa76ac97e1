"""`ocr-rl pairs`: from groups to files that `ocr-rl train` and TRL read."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from ocr_rl.cli.main import main


def run(*arguments):
    return CliRunner().invoke(main, ["pairs", *map(str, arguments)], catch_exceptions=False)


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def groups(tmp_path, pages):
    """Of the six rendered pages: the first five with a best and a worst, the last without a difference."""
    names = [json.loads(line)["file_name"] for line in (pages / "metadata.jsonl").read_text().splitlines()]
    rows = [
        {
            "id": name,
            "completions": ["good", "fair", "bad"],
            "finished": [True, True, False],
            "rewards": [1.0, 0.6, 0.1],
        }
        for name in names
    ]
    rows[-1]["rewards"] = [0.5, 0.45, 0.44]
    file = tmp_path / "groups.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_the_best_and_the_worst_of_each_page(groups, tmp_path):
    out = tmp_path / "pairs.jsonl"
    result = run(groups, "--out", out)
    assert result.output == f"5 pairs of 5 pages in {out}; 1 pages give none\n"
    first = written(out)[0]
    assert first == {
        "id": written(groups)[0]["id"],
        "prompt": [{"role": "user", "content": [{"type": "image"}]}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
        "chosen_reward": 1.0,
        "rejected_reward": 0.1,
        "chosen_finished": True,
        "rejected_finished": False,
    }


def test_the_same_groups_give_the_same_file(groups, tmp_path):
    for name in ("a", "b"):
        run(groups, "--out", tmp_path / name, "--choose", "margin", "--margin", 0.3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len(written(tmp_path / "a")) == 5 * 3


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--choose", "best-of-n"], 10),
        (["--choose", "margin", "--margin", "0.45"], 10),
        (["--choose", "margin", "--margin", "0.005"], 18),
        (["--choose", "margin", "--most", "2"], 10),
        (["--labels"], 18),
        (["--labels", "--threshold", "0.9"], 18),
        (["--labels", "--threshold", "0.9", "--dead-zone", "0.35"], 5 + 3),
    ],
)
def test_how_many_lines_there_are(groups, tmp_path, options, count):
    out = tmp_path / "out.jsonl"
    assert run(groups, "--out", out, *options).exit_code == 0
    assert len(written(out)) == count


def test_a_file_without_the_margin_is_refused_with_the_largest_that_it_has(groups, tmp_path):
    out = tmp_path / "pairs.jsonl"
    result = run(groups, "--out", out, "--margin", "0.95")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {groups}: no two completions of a page are 0.95 apart in reward; the largest difference is 0.9. "
        "Give a lower --margin, or sample larger groups\n"
    )
    assert list(tmp_path.iterdir()) == [groups]
    result = run(groups, "--out", out, "--labels", "--dead-zone", "1")
    assert result.exit_code == 2
    assert "no completion is far enough from the threshold" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "0.5"], "--threshold is about labels; add --labels"),
        (["--labels", "--choose", "margin"], "--choose is about pairs; leave it out with --labels"),
        (["--most", "3"], "--most is a bound for --choose margin; leave it out"),
        (["--where", "level=line"], "--where is about a dataset; add --data"),
        (["--prompt", "Read."], "--prompt is about a dataset; add --data"),
    ],
)
def test_an_option_that_would_do_nothing_is_a_mistake(groups, tmp_path, options, message):
    result = run(groups, "--out", tmp_path / "pairs.jsonl", *options)
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")
    assert list(tmp_path.iterdir()) == [groups]


def test_a_mistake_in_the_groups_leaves_an_older_file_alone(groups, tmp_path):
    out = tmp_path / "pairs.jsonl"
    run(groups, "--out", out)
    before = out.read_bytes()
    with groups.open("a") as file:
        file.write('{"id": "x", "completions": ["a"]}\n')
    result = run(groups, "--out", out)
    assert result.exit_code == 2
    assert result.stderr.startswith(f'Error: {groups}:7: "rewards" is missing; score the completions with ')
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == sorted([groups, out])


def test_scores_of_the_verifiers_make_pairs_of_unscored_groups(tmp_path):
    """The second completion is the better one."""
    from ocr_verifiers.cli.main import main as verify

    groups, scores, out = tmp_path / "groups.jsonl", tmp_path / "scores.jsonl", tmp_path / "pairs.jsonl"
    groups.write_text(json.dumps({"id": "p", "reference": "Dear Sir", "completions": ["x", "Dear Sir"]}) + "\n")
    scored = CliRunner().invoke(verify, ["groups", str(groups), "--json", str(scores)], catch_exceptions=False)
    assert scored.exit_code == 0
    assert run(groups, "--out", out, "--scores", scores).exit_code == 0
    assert written(out)[0]["chosen"][0]["content"] == "Dear Sir"


def test_trl_reads_pairs_and_labels_with_their_images(groups, tmp_path, pages):
    """Through its own collators, as its trainers do: an image for each row, tokens of both answers."""
    import datasets
    from transformers import AutoProcessor
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference
    from trl.trainer.kto_trainer import DataCollatorForVisionUnpairedPreference

    from ocr_rl.config.embedded import EMBEDDED

    processor = AutoProcessor.from_pretrained(EMBEDDED["tiny"])
    processor.chat_template = (  # the embedded policy's own has no answers in it
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )

    def load(*options):
        out = tmp_path / "out.jsonl"
        assert run(groups, "--out", out, "--data", pages, "--prompt", "Read.", *options).exit_code == 0
        rows = datasets.load_dataset("json", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
        return rows.cast_column("images", datasets.List(datasets.Image()))

    rows = load()
    assert {"prompt", "chosen", "rejected", "images"} <= set(rows.column_names)
    with Image.open(pages / rows[0]["id"]) as image:
        assert rows[0]["images"][0].size == image.size
    batch = DataCollatorForVisionPreference(processor)([rows[0], rows[1]])
    chosen, rejected = (batch["input_ids"][i][batch["completion_mask"][i].bool()] for i in (0, 2))
    assert "good" in processor.tokenizer.decode(chosen)
    assert "bad" in processor.tokenizer.decode(rejected)
    assert len(batch["pixel_values"]) > 0

    rows = load("--labels")
    assert {"prompt", "completion", "label", "images"} <= set(rows.column_names)
    batch = DataCollatorForVisionUnpairedPreference(processor)([rows[0], rows[1]])
    assert batch["label"].tolist() == [True, True]


def test_pages_of_a_table_get_image_files_beside_the_pairs(tmp_path):
    import datasets

    picture = Image.new("RGB", (20, 10), "red")
    table = datasets.Dataset.from_list([{"image": picture, "text": "a", "id": "p/1"}])
    table = table.cast_column("image", datasets.Image())
    table.save_to_disk(str(tmp_path / "table"))
    groups = tmp_path / "groups.jsonl"
    groups.write_text(json.dumps({"id": "p/1", "completions": ["a", "b"], "rewards": [1, 0]}) + "\n")
    assert run(groups, "--out", tmp_path / "pairs.jsonl", "--data", tmp_path / "table").exit_code == 0
    (path,) = written(tmp_path / "pairs.jsonl")[0]["images"]
    assert path == str(tmp_path / "pairs_images" / "p%2F1.png")
    with Image.open(path) as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_the_help_has_examples_and_pairs_need_no_torch(groups, tmp_path):
    assert (
        "ocr-rl pairs groups.jsonl --out pairs.jsonl --choose margin --margin 0.2 --data scans/" in run("--help").output
    )
    code = (
        "import sys; from ocr_rl.cli.main import main\n"
        f"main(['pairs', {str(groups)!r}, '--out', {str(tmp_path / 'p.jsonl')!r}], standalone_mode=False)\n"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert done.splitlines()[-1] == "[]"
