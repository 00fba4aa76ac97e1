"""Each kind of dataset that users bring, through `data check`, `train --dry-run` and `eval`: right, or one message."""

import io
from base64 import b64encode
from pathlib import Path

import datasets
import pytest
from PIL import Image, ImageDraw

from helpers.commands import run, write_rows

TEXTS = ("One line.", "Two more lines.", "A third.", "And a fourth.")


def drawn(number):
    image = Image.new("L", (96, 32), 255)
    ImageDraw.Draw(image).text((4, 8), TEXTS[number], fill=0)
    return image


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def rows(folder, **more):
    """Four pages of PNG, with the same other fields."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, text in enumerate(TEXTS):
        drawn(number).save(folder / f"{number}.png")
        made.append({"file_name": f"{number}.png", "text": text, **more})
    write_rows(folder / "metadata.jsonl", made)
    return made


def with_page(folder, name, content):
    """A fifth page, whose file has this content."""
    made = rows(folder)
    (folder / name).write_bytes(content)
    write_rows(folder / "metadata.jsonl", [*made, {"file_name": name, "text": "Five"}])


def moving(folder):
    drawn(0).save(folder.parent / "a.gif", save_all=True, append_images=[drawn(1)])
    with_page(folder, "a.gif", (folder.parent / "a.gif").read_bytes())


def frames(folder):
    drawn(0).save(folder.parent / "a.tif", save_all=True, append_images=[drawn(1), drawn(2)])
    with_page(folder, "a.tif", (folder.parent / "a.tif").read_bytes())


def pages_of_tiffs(folder):
    folder.mkdir()
    for name, first in (("a", 0), ("b", 2)):
        drawn(first).save(folder / f"{name}.tif", save_all=True, append_images=[drawn(first + 1)])
        for number in (1, 2):
            (folder / f"{name}_pg{number}.txt").write_text(TEXTS[first + number - 1])


def modes(folder):
    """CMYK, 1 bit, 16 bits and a palette."""
    folder.mkdir()
    pages = [drawn(0).convert("CMYK"), drawn(1).convert("1"), drawn(2).convert("I;16"), drawn(3).convert("P")]
    names = ["0.jpg", "1.png", "2.tif", "3.gif"]
    for page, name in zip(pages, names, strict=True):
        page.save(folder / name)
    write_rows(folder / "metadata.jsonl", [{"file_name": n, "text": t} for n, t in zip(names, TEXTS, strict=True)])


def base64(folder):
    folder.mkdir()
    images = [b64encode(encoded(drawn(number))).decode() for number in range(4)]
    datasets.Dataset.from_dict({"image": images, "text": list(TEXTS)}).to_parquet(folder / "a.parquet")


def splits(folder):
    rows(folder / "train")
    rows(folder / "test")


def chat(folder):
    made = rows(folder)
    for row in made:
        asked = {"role": "user", "content": "<image>\nRead this."}
        row["messages"] = [asked, {"role": "assistant", "content": row.pop("text")}]
    write_rows(folder / "metadata.jsonl", made)


def cut_off(folder):
    with_page(folder, "cut.png", encoded(drawn(0))[:80])


GOOD = {
    "prompts with the placeholder of the image": lambda folder: rows(folder, prompt="<image>\nRead this."),
    "characters that the tokenizer cannot write": lambda folder: rows(folder, text="日本語"),
    "pages of TIFFs": pages_of_tiffs,
    "image modes": modes,
    "base64 in parquet": base64,
    "folders of splits": splits,
    "chat messages": chat,
}
BAD = {
    "an animation": (moving, "is an animation of 2 frames; save the page as a still image"),
    "a TIFF of three pages in one row": (frames, "which has 3 pages; write a row for each, a.tif#1 to a.tif#3"),
    "an image that is cut off": (cut_off, "cut.png"),
}


def through(data):
    """The three commands' results."""
    short = ["--max-tokens", "2", "--engine", "transformers"]
    sets = ["rollout.max_tokens=2", "rollout.group_size=2", "data.validation=0.25"]
    dry = ["train", "--dry-run", *[option for value in sets for option in ("--set", value)]]
    return {
        "check": run("data", "check", data, "--model", "tiny"),
        "dry run": run(*dry, "--data", data),
        "eval": run("eval", "tiny", "--data", data, *short),
    }


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_a_good_dataset_is_read_by_all(make):
    make(Path("data").absolute())
    for name, result in through("data").items():
        assert result.exit_code == 0, f"{name}: {result.output}"


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_a_bad_page_is_named_by_all_and_skipped_on_request(make, message):
    make(Path("data").absolute())
    results = through("data")
    for name, code in (("check", 2), ("eval", (1, 2))):
        assert message in results[name].output
        assert results[name].exit_code in (code if isinstance(code, tuple) else (code,)), name
    assert message in results["dry run"].output
    assert results["dry run"].exit_code in (0, 2)
    skipped = run("eval", "tiny", "--data", "data", "--on-error", "skip", "--max-tokens", "2")
    assert skipped.exit_code == 0, skipped.output
    assert "left out because of data.on_error: 1, e.g. " in skipped.stderr
