"""The page that `ocr-rl review` writes, from rows written by hand, and in Chromium."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from helpers.commands import refused, run, write_rows
from helpers.html_tree import Tree
from ocr_rl.data.loading import load_pages
from ocr_verifiers.text.offsets import prefix_lengths

HOSTILE = '</textarea><script>alert("&amp;")</script>'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def row(name, text, confidence, words=(), spans=(), samples=()):
    return {
        "id": name,
        "text": text,
        "finish_reason": "end",
        "confidence": confidence,
        "lines": [[0, len(text), confidence]],
        "words": list(words),
        "spans": list(spans),
        "samples": list(samples),
    }


SURE = row("a.png", "Dear Sir", 0.99, [[0, 4, 0.99], [5, 8, 0.99]], [[0, 8, 0.99]], ["Dear Sir"] * 4)
UNSURE = row(
    "b.png",
    "the housc",
    0.8,
    [[0, 3, 0.99], [4, 9, 0.3]],
    [[0, 8, 0.98], [8, 9, 0.4]],
    ["the house", "the house", "the housc", "a house"],
)
BROKEN = {"id": "c.png", "text": "", "error": "cannot be read"}


@pytest.fixture
def rows():
    Path("scans").mkdir()
    for name, side in (("a.png", 30), ("b.png", 40)):
        Image.new("L", (4 * side, side), 200).save(f"scans/{name}")
    Path("out.settings.json").write_text(json.dumps({"data": str(Path("scans").resolve())}))
    return write_rows(Path("out.jsonl"), [SURE, UNSURE, BROKEN])


def review(file, *options):
    result = run("review", file, "--html", "review.html", *options)
    assert result.exit_code == 0, result.output
    return Tree(Path("review.html").read_text(encoding="utf-8"))


def test_the_least_sure_page_is_first_with_its_doubts_marked_and_its_readings_beside(rows):
    tree = review(rows)
    assert [e["data-id"] for e in tree.all("article")] == ["b.png", "a.png"]
    assert [e["text"] for e in tree.all("mark") if e["class"] == "bad"] == ["Marked so", "c"]
    [word] = tree.all("span", **{"class": "word"})
    assert (word["text"], word["data-start"], word["data-end"]) == ("housc", "4", "9")
    assert word["title"] == "0.30; samples: house (3)"
    assert [e["data-text"] for e in tree.all("button", **{"class": "reading"})] == ["the house", "a house"]
    assert [e["text"].strip("\n") for e in tree.all("textarea")] == ["the housc", "Dear Sir"]
    assert len([e for e in tree.all("img") if e["src"].startswith("data:image/jpeg;base64,")]) == 2


def test_a_limit_leaves_the_surest_pages_out(rows):
    assert [e["data-id"] for e in review(rows, "--limit", "1").all("article")] == ["b.png"]


def test_pages_that_were_selected_are_shown_in_their_order(rows):
    write_rows(Path("next.jsonl"), [{"id": "a.png"}, {"id": "b.png"}])
    assert [e["data-id"] for e in review(rows, "--only", "next.jsonl").all("article")] == ["a.png", "b.png"]
    write_rows(Path("next.jsonl"), [{"id": "c.png"}])
    expected = """next.jsonl:1: "id" is 'c.png', which has no transcription; leave it out"""
    assert expected in refused("review", rows, "--only", "next.jsonl", "--html", "r.html")
    write_rows(Path("next.jsonl"), [{"id": ["a.png"]}])
    expected = """next.jsonl:1: "id" is ['a.png']; write the name of the page"""
    assert expected in refused("review", rows, "--only", "next.jsonl", "--html", "r.html")
    write_rows(Path("next.jsonl"), [{"id": "a.png"}, {"id": "a.png"}])
    expected = """next.jsonl:2: "id" is 'a.png', as on line 1; keep one line of each page"""
    assert expected in refused("review", rows, "--only", "next.jsonl", "--html", "r.html")


def test_a_limit_that_nobody_gave_leaves_out_no_page_that_was_selected(rows, monkeypatch):
    monkeypatch.setattr("ocr_rl.cli.review.LIMIT", 1)
    write_rows(Path("next.jsonl"), [{"id": "a.png"}, {"id": "b.png"}])
    assert len(review(rows, "--only", "next.jsonl").all("article")) == 2
    assert len(review(rows, "--only", "next.jsonl", "--limit", "1").all("article")) == 1
    assert len(review(rows).all("article")) == 1


def test_a_confidence_may_be_a_whole_number(rows):
    write_rows(rows, [SURE | {"confidence": 1}])
    assert [e["text"] for e in review(rows).all("small")] == ["1.00"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"data": 3}', '"data" is 3; transcribe the pages again, or remove the file and add --data'),
        ('{"crop": {"x": 1}}', '"crop.x" is 1; transcribe'),
        ('{"crop": {"level": "word"}}', """"crop.level" is 'word'; transcribe"""),
        ("[1", "holds no JSON object; transcribe"),
        ("3", "holds no JSON object; transcribe"),
    ],
)
def test_damaged_settings_are_named(rows, settings, message):
    Path("out.settings.json").write_text(settings)
    said = refused("review", rows, "--html", "r.html")
    assert said.startswith(f"out.settings.json: {message}")


def test_other_rows_have_another_place_in_the_browser(rows):
    def place():
        return review(rows).all("form", id="bar")[0]["data-rows"]

    before = place()
    write_rows(rows, [SURE, UNSURE | {"text": "the houze"}])
    changed = place()
    write_rows(rows, [SURE, UNSURE])
    assert changed != before == place()


def test_a_page_is_aligned_with_each_sample_once(rows, monkeypatch):
    """Three doubtful words and two different samples: two alignments."""
    pairs = []

    def counted(*pair):
        pairs.append(pair)
        return prefix_lengths(*pair)

    monkeypatch.setattr("ocr_rl.reporting.review.prefix_lengths", counted)
    words = [[0, 1, 0.1], [2, 3, 0.1], [4, 5, 0.1]]
    write_rows(rows, [row("a.png", "a b c", 0.5, words, [[0, 5, 0.1]], ["a x c", "a x c", "d b c"])])
    titles = [e["title"] for e in review(rows).all("span", **{"class": "word"})]
    assert titles == ["0.10; samples: d (1)", "0.10; samples: x (2)", "0.10"]
    assert sorted(pairs) == [("a b c", "a x c"), ("a b c", "d b c")]


def test_a_page_without_an_image_cannot_be_accepted(rows):
    Path("scans/b.png").write_bytes(b"no image")
    tree = review(rows)
    assert len(tree.all("article")) == 2
    assert len(tree.all("button", **{"class": "accept"})) == len(tree.all("img")) == 1


def test_everything_is_escaped_and_only_the_own_script_may_run(rows):
    write_rows(rows, [row("a.png", HOSTILE, 0.5, [[0, len(HOSTILE), 0.1]], [[0, len(HOSTILE), 0.1]], [HOSTILE + '"'])])
    tree = review(rows)
    html = Path("review.html").read_text(encoding="utf-8")
    assert len(tree.all("script")) == len(re.findall("<script", html)) == 1
    assert HOSTILE in tree.all("textarea")[0]["text"]
    assert "script-src 'sha256-" in html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": None}, 'out.jsonl:1: "confidence" is None; transcribe the page again with --confidence'),
        ({"id": "z.png"}, "out.jsonl: z.png is not in "),
        ({"samples": [["x"]]}, """out.jsonl:1: "samples.0" is ['x']; transcribe the page again with --confidence"""),
        ({"words": [[0, 1]]}, 'out.jsonl:1: "words.0.2" is [0, 1]; transcribe the page again'),
        ({"words": [[0, 1, "x"]]}, """out.jsonl:1: "words.0.2" is 'x'; transcribe the page again"""),
        ({"spans": [[0, 1, float("nan")]]}, 'out.jsonl:1: "spans.0.2" is nan; transcribe the page again'),
        ({"confidence": True}, 'out.jsonl:1: "confidence" is True; transcribe the page again'),
        ({"words": [[0, 9, 0.3]]}, '"words.0" is from 0 to 9, which do not follow on 0 in a text of 8 characters;'),
        ({"spans": [[0, 4, 0.3], [3, 5, 0.3]]}, '"spans.1" is from 3 to 5, which do not follow on 4 in a text of 8'),
        ({"id": ["a"]}, """out.jsonl:1: "id" is ['a']; write the name of the page"""),
        ({"id": "b.png"}, """out.jsonl:2: "id" is 'b.png', as on line 1; keep one line of each page"""),
    ],
)
def test_a_bad_row_is_named(rows, change, message):
    write_rows(rows, [SURE | change, UNSURE])
    assert message in refused("review", rows, "--html", "review.html")
    assert not Path("review.html").exists()


def test_rows_without_confidences_or_images_say_what_to_do(rows):
    write_rows(Path("plain.jsonl"), [{"id": "a.png", "text": "a"}])
    assert 'plain.jsonl:1: has no "confidence"; write it with' in refused("review", "plain.jsonl", "--html", "r.html")
    Path("out.settings.json").unlink()
    assert "add --data" in refused("review", rows, "--html", "r.html")
    assert review(rows, "--data", "scans").all("article")
    Path("out.settings.json").write_text(json.dumps({"data": "/nowhere"}))
    expected = "its images were in /nowhere, which does not exist; add --data"
    assert expected in refused("review", rows, "--html", "r.html")


def saved_in_chromium(script):
    """The file that the page saves after the script has run at its end."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium to open the page with; Debian: apt install chromium")  # see tests/conftest.py
    html = Path("review.html").read_text(encoding="utf-8")
    html = re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", html)
    Path("opened.html").write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    target, preferences = Path("downloads").resolve(), Path("profile/Default/Preferences").resolve()
    preferences.parent.mkdir(parents=True)
    preferences.write_text(json.dumps({"download": {"default_directory": str(target), "prompt_for_download": False}}))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={preferences.parents[1]}"]
    browser = subprocess.Popen(
        [chromium, *options, Path("opened.html").resolve().as_uri()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and browser.poll() is None:
            if found := list(target.glob("*.jsonl")):
                return found[0]
            time.sleep(0.1)
    finally:
        browser.terminate()
        browser.wait(30)
    pytest.fail("the browser saved no file")


def test_in_chromium_a_line_is_edited_with_keys_and_the_saved_file_is_a_dataset(rows):
    """The first page takes the second reading, then more is typed; the second is accepted as it is."""
    review(rows)
    file = saved_in_chromium("""
        const press = (key, more = {}) => document.activeElement.dispatchEvent(
          new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
        press("2"); press("Enter");
        document.activeElement.value += "\\n<s> é 𝔄";
        document.activeElement.dispatchEvent(new Event("input", { bubbles: true }));
        press("Enter", { ctrlKey: true });
        press("a");
        press("s");
    """)
    assert file.name == "out.corrections.jsonl"
    pages = load_pages(file)
    assert [page.text for page in pages] == ["a house\n<s> é 𝔄", "Dear Sir"]
    assert [page.image.size for page in pages] == [(160, 40), (120, 30)]
    assert [page.metadata["doc"] for page in pages] == ["b.png", "a.png"]
    checked = run("data", "check", file)
    assert checked.exit_code == 0, checked.output


def test_in_chromium_what_is_left_out_of_the_saved_file_is_counted(rows):
    """The first page, b.png, has no image and is not accepted; a.png is accepted without a text, and then with one."""
    Path("scans/b.png").write_bytes(b"no image")
    review(rows)
    file = saved_in_chromium("""
        const press = (key) => document.activeElement.dispatchEvent(
          new KeyboardEvent("keydown", { key, bubbles: true }));
        const said = [], click = HTMLAnchorElement.prototype.click;
        HTMLAnchorElement.prototype.click = () => {};
        press("a"); press("Enter"); document.activeElement.value = " "; press("Escape"); press("a"); press("s");
        said.push(document.getElementById("count").value);
        press("u"); press("a"); press("s");
        said.push(document.getElementById("count").value);
        HTMLAnchorElement.prototype.click = click;
        corrections = () => JSON.stringify(said);
        press("s");
    """)
    assert json.loads(file.read_text()) == [
        "1 of 2 accepted, 0 saved; 1 left out: the text is empty",
        "1 of 2 accepted, 1 saved",
    ]
