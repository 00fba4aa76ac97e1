"""`ocr-verify groups`: lines of completions in, lines of scores out, for any trainer."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import ocr_verifiers
from ocr_verifiers import Rubric, parse_test
from ocr_verifiers.cli.main import main


def unit_test(kind, number="1", **fields):
    return {"pdf": "a.pdf", "page": 1, "id": number, "type": kind, **fields}


ONE = unit_test("present", "one", text="one")
TWO = unit_test("absent", "two", text="two")


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Scores lines of rollout.jsonl in an empty folder: the result of the run."""
    monkeypatch.chdir(tmp_path)

    def run(lines, *options, file="rollout.jsonl"):
        text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        if file == "-":
            return CliRunner().invoke(main, ["groups", file, *options], input=text)
        Path(file).write_text(text, encoding="utf-8")
        return CliRunner().invoke(main, ["groups", file, *options])

    return run


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def complaint(result):
    """The one line on stderr of a run that ends with exit code 2."""
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    return line


def test_each_line_is_answered_in_order_with_rewards_parts_and_verdicts(groups):
    """Similarity of "one two" and "one" 3/7; 1 of 2 tests, which pays no more than the similarity: 3/7."""
    lines = [
        {"id": "b", "reference": "one", "completions": ["one", "on"]},
        {"id": "a", "reference": "one", "tests": [ONE, TWO], "completions": ["one two"]},
    ]
    result = groups(lines, "--json", "out.jsonl")
    assert (result.exit_code, result.stdout) == (0, "2 groups, 3 completions, mean reward 0.698\n")
    first, second = rows(Path("out.jsonl").read_text(encoding="utf-8"))
    assert [first["id"], second["id"]] == ["b", "a"]
    assert [score["reward"] for score in first["completions"]] == [1, pytest.approx(2 / 3)]
    assert first["completions"][0]["verdicts"] == []
    (score,) = second["completions"]
    assert score.keys() == {"reward", "parts", "verdicts"}
    assert score["reward"] == pytest.approx(3 / 7)
    assert score["parts"] == {
        "similarity": pytest.approx(3 / 7),
        "exact": 0,
        "pass_rate": 0.5,
        "end": 1,
        "repetition": 1,
    }
    assert score["verdicts"][0] == {"id": "one", "passed": True, "why": ""}
    assert (score["verdicts"][1]["id"], score["verdicts"][1]["passed"]) == ("two", False)
    assert score["verdicts"][1]["why"]


def test_rewards_are_those_of_the_default_rubric(groups):
    texts = ["one", "two one", "", "one " * 500]
    result = groups([{"id": 1, "reference": "one", "tests": [ONE, TWO], "completions": texts}])
    tests = [parse_test(record, "here") for record in (ONE, TWO)]
    expected = [Rubric().score(text, reference="one", tests=tests).reward for text in texts]
    assert [score["reward"] for score in rows(result.stdout)[0]["completions"]] == expected


def test_standard_input_and_output_make_it_a_filter(groups):
    result = groups([{"id": 7, "reference": "x", "completions": ["x"]}], file="-")
    (row,) = rows(result.stdout)
    assert (row["id"], row["completions"][0]["reward"]) == (7, 1)
    assert result.stderr == "1 groups, 1 completions, mean reward 1.000\n"


def test_with_one_process_a_line_is_answered_before_the_next_is_read():
    command = [sys.executable, "-c", "from ocr_verifiers.cli.main import main; main()", "groups", "-"]
    folder = str(Path(ocr_verifiers.__file__).parents[1])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PYTHONPATH": folder}
    ) as process:
        for n in range(2):
            process.stdin.write(json.dumps({"id": n, "reference": "x", "completions": ["x"]}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == n


def test_a_group_without_completions_is_fine(groups):
    result = groups([{"id": "a", "reference": "x", "completions": []}])
    assert (result.exit_code, rows(result.stdout)) == (0, [{"id": "a", "completions": []}])
    assert "mean reward -" in result.stderr


def test_a_completion_that_was_cut_off_is_marked_by_finished(groups):
    """The end gate halves it."""
    line = {"id": "a", "reference": "x", "completions": ["x", "x"], "finished": [True, False]}
    (row,) = rows(groups([line]).stdout)
    assert [score["reward"] for score in row["completions"]] == [1, 0.5]


def test_a_rejected_test_is_not_run_and_has_no_verdict(groups):
    line = {"id": "a", "tests": [TWO | {"checked": "rejected"}, ONE], "completions": ["one two"]}
    (row,) = rows(groups([line]).stdout)
    assert [verdict["id"] for verdict in row["completions"][0]["verdicts"]] == ["one"]
    assert row["completions"][0]["reward"] == 1


def test_compat_runs_rejected_tests_and_pays_for_absent_texts_on_an_empty_page(groups):
    """olmOCR's reward: 1 of 2 tests passes on the empty page; one of them is rejected and run."""
    line = {"id": "a", "tests": [TWO | {"checked": "rejected"}, ONE], "completions": [""]}
    (row,) = rows(groups([line], "--compat", "olmocr").stdout)
    verdicts = [(verdict["id"], verdict["passed"]) for verdict in row["completions"][0]["verdicts"]]
    assert verdicts == [("two", True), ("one", False)]
    assert row["completions"][0]["reward"] == row["completions"][0]["parts"]["pass_rate"] == 0.5


def test_compat_takes_what_olmocr_takes(groups):
    """Its "x<B>" has four characters, because it drops only lower-case tags; ours has one, so no edit is allowed."""
    order = unit_test("order", before="x<B>", after="</B>y", max_diffs=2)
    line = {"id": "a", "tests": [order], "completions": ["x<B> z </B>y"]}
    assert groups([line]).exit_code == 2
    (row,) = rows(groups([line], "--compat", "olmocr").stdout)
    assert row["completions"][0]["verdicts"][0]["passed"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "a", "completions": [""]}, 'has neither "reference" nor "tests"; there is nothing to score with'),
        ({"id": "a", "tests": [], "completions": []}, 'has neither "reference" nor "tests"'),
        ({"reference": "x", "completions": []}, '"id" must be a string or an integer'),
        ({"id": "a", "reference": 1, "completions": []}, '"reference" must be a string'),
        ({"id": "a", "reference": "x"}, '"completions" must be a list of strings'),
        ({"id": "a", "reference": "x", "completions": "x"}, '"completions" must be a list of strings'),
        ({"id": "a", "reference": "x", "completions": ["x"], "finished": [1]}, '"finished" must be a list of true or'),
        ({"id": "a", "reference": "x", "completions": ["x"], "finished": []}, '"finished" must be a list of true or'),
        ({"id": "a", "reference": "x", "test": [ONE], "completions": []}, 'unknown field "test"; did you mean "tests"'),
        ({"id": "a", "tests": {}, "completions": []}, '"tests" must be a list of objects'),
        ({"id": "a", "tests": [TWO | {"checked": "rejected"}], "completions": []}, "the page cannot be scored"),
        ("{\n", "not JSON"),
        ("[1]\n", "is not an object"),
    ],
)
def test_a_line_that_cannot_be_scored_is_an_addressed_error(groups, line, message):
    good = {"id": "a", "reference": "x", "completions": []}
    assert complaint(groups([good, line], "--json", "out.jsonl")).startswith(f"Error: rollout.jsonl:2: {message}") or (
        message in complaint(groups([good, line], "--json", "out.jsonl"))
    )


def test_a_mistake_in_a_test_is_addressed_by_line_and_place(groups):
    line = {"id": "a", "tests": [ONE, ONE | {"max_diffs": -1}], "completions": []}
    assert complaint(groups([line])) == 'Error: rollout.jsonl:1, test 2: "max_diffs" is -1; write an integer >= 0'
    assert complaint(groups([line], file="-")).startswith("Error: <stdin>:1, test 2: ")


def test_other_fields_are_the_writers_own(groups):
    line = {"id": "a", "reference": "x", "completions": ["x"], "step": 3, "page_id": "a#1"}
    assert groups([line]).exit_code == 0


def test_what_was_scored_before_a_mistake_stays_under_another_name(groups):
    good = {"id": "a", "reference": "x", "completions": ["x"]}
    result = groups([good, good, "{}\n"], "--json", "out.jsonl", "--processes", "2")
    assert complaint(result).endswith("; the scores before it are in out.jsonl.part")
    assert not Path("out.jsonl").exists()
    assert len(rows(Path("out.jsonl.part").read_text(encoding="utf-8"))) == 2


def test_a_mistake_on_the_first_line_leaves_no_file(groups):
    assert "part" not in complaint(groups(["{}\n"], "--json", "out.jsonl"))
    assert [path.name for path in Path().iterdir()] == ["rollout.jsonl"]


def test_a_file_or_folder_that_is_not_there_is_an_error(groups, tmp_path):
    result = CliRunner().invoke(main, ["groups", "nothing.jsonl"])
    assert complaint(result) == "Error: nothing.jsonl: No such file or directory"
    good = {"id": "a", "reference": "x", "completions": ["x"]}
    assert complaint(groups([good], "--json", "no/out.jsonl")) == "Error: no/out.jsonl: the folder no does not exist"


def test_a_mean_reward_below_the_bar_is_exit_code_1(groups):
    """The mean of 1 and 1/2."""
    lines = [
        {"id": "a", "reference": "ab", "completions": ["ab"]},
        {"id": "b", "reference": "ab", "completions": ["a"]},
    ]
    assert groups(lines, "--fail-under", "0.75").exit_code == 0
    assert groups(lines, "--fail-under", "0.76").exit_code == 1
    assert groups([], "--fail-under", "0").exit_code == 1


def test_scores_do_not_depend_on_the_number_of_processes(groups):
    lines = [
        {"id": n, "reference": f"page {n}", "tests": [ONE, TWO], "completions": [f"one {i % 11}" for i in range(25)]}
        for n in range(9)
    ]
    outputs = {groups(lines, "--processes", str(n)).stdout for n in (1, 2, 3)}
    assert len(outputs) == 1
    assert len(rows(outputs.pop())) == 9


def test_any_text_survives(groups):
    """Lone surrogates, NUL, every line end that Unicode knows."""
    text = "one\ud800 \x00 \u2028 \x85 \x0c two"
    line = {"id": text, "reference": text, "tests": [ONE, TWO], "completions": [text, ""]}
    (row,) = rows(groups([line]).stdout)
    assert row["id"] == text
    assert row["completions"][0]["parts"]["exact"] == 1


def test_memory_does_not_grow_with_the_file(tmp_path):
    """150 MB of lines are scored in less than 120 MB: the peak of the command and of its process.

    `ru_maxrss` of the command itself would start at what the tests hold when it is forked: VmHWM does not.
    """
    if not Path("/proc/self/status").exists():
        # only Linux tells a process's own peak: ru_maxrss starts at the parent's
        pytest.skip("no /proc to read the peak from")
    file = tmp_path / "rollout.jsonl"
    with file.open("w") as out:
        for n in range(150):
            out.write(json.dumps({"id": n, "reference": "x", "completions": ["y"], "prompt": "z" * 1_000_000}) + "\n")
    code = (
        "import re, resource\nfrom ocr_verifiers.cli.main import main\n"
        f"main(['groups', {str(file)!r}, '--json', {str(tmp_path / 'out')!r}], standalone_mode=False)\n"
        "own = int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"
        "print([peak // 1024 for peak in (own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    summary, peaks = run.stdout.splitlines()
    assert summary.startswith("150 groups")
    assert max(json.loads(peaks)) < 120


def test_ctrl_c_ends_the_command_and_its_processes(tmp_path):
    command = [sys.executable, "-c", "from ocr_verifiers.cli.main import main; main()", "groups", "-"]
    line = {"id": 1, "reference": "x", "completions": ["x"]}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()  # it runs
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 1
        assert process.stderr.read().splitlines()[-1] == b"Aborted!"  # its end: nobody holds the pipe any more


@pytest.mark.parametrize("name", ["sample", "heavy", "table", "text"])
def test_compat_verdicts_are_those_of_olmocr(groups, oracle, name):
    """The stored workloads, through the command; runs in which olmOCR raised are set aside."""
    names = ("text_workload", "text_verdicts") if name == "text" else (f"workload_{name}", f"verdicts_olmocr_{name}")
    workload, stored = map(oracle, names)
    pages = workload["pages"]
    lines = [{"id": page["page_id"], "tests": page["tests"], "completions": page["completions"]} for page in pages]
    result = groups(lines, "--compat", "olmocr", "--processes", "2")
    assert result.exit_code == 0, result.stderr
    raised = {(test, n) for test, runs in stored.get("errors", {}).items() for n, _ in runs}
    differing = []
    for page, row in zip(pages, rows(result.stdout), strict=True):
        runs = stored["verdicts"][page["page_id"]]
        for n, (score, expected) in enumerate(zip(row["completions"], runs, strict=True)):
            for verdict, passed in zip(score["verdicts"], expected, strict=True):
                if verdict["passed"] != passed and (verdict["id"], n) not in raised:
                    differing.append((verdict["id"], n))
    assert not differing
