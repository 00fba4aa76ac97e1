"""Measures how much faster several processes score a batch than one: 32 pages x G=28 by default.

    python scripts/bench/parallel_scoring.py --processes 2

Pages of 600 words and a table, with 15 unit tests each, and completions with up to 10 % wrong letters, from a fixed
seed. Wall time, best of the repeats, with a warm pool, as in training; the scores must be the same.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from random import Random

from ocr_verifiers import Rubric, Score, UnitTest, parse_test
from ocr_verifiers.rewards.groups import Group, score_groups
from ocr_verifiers.rewards.scoring_pool import ScoringPool

Scored = list[tuple[Group, list[Score]]]

SYLLABLES = "ka lo mi ren sta vor chi del ung pa tis eth gro zan bel qui".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=32)
    parser.add_argument("--group-size", type=int, default=28)
    parser.add_argument("--words", type=int, default=600)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    random = Random(0)
    groups = [make_group(random, n, options.words, options.group_size) for n in range(options.pages)]
    rubric = Rubric()

    alone, expected = best(lambda: list(score_groups(rubric, groups)), options.repeats)
    print(f"{options.pages} pages x G={options.group_size} on {os.cpu_count()} cores")
    print(f"this process        {alone:7.2f} s  {1000 * alone / sum(len(g.completions) for g in groups):.2f} ms each")
    with ScoringPool(rubric, options.processes, timeout=60) as pool:
        list(pool.score_groups(groups[: options.processes]))  # starts the processes
        together, found = best(lambda: list(pool.score_groups(groups)), options.repeats)
    same = "the same scores" if found == expected else "DIFFERENT scores"
    print(f"{options.processes} processes         {together:7.2f} s  {alone / together:.2f}x, {same}")


def make_group(random: Random, n: int, words: int, group_size: int) -> Group:
    said = ["".join(random.choices(SYLLABLES, k=random.randint(1, 4))) for _ in range(words)]
    prose = [" ".join(said[i : i + 12]) + "." for i in range(0, words, 12)]
    cells = [[str(random.randint(100, 9999)) for _ in range(6)] for _ in range(10)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], ["---"] * 6, *cells[1:]])
    reference = "\n\n".join([*prose, table])
    completions = tuple(misread(random, reference, random.random() / 10) for _ in range(group_size))
    return Group(f"page {n}", n, reference, make_tests(prose, cells), completions, (True,) * group_size)


def make_tests(prose: list[str], cells: list[list[str]]) -> tuple[UnitTest, ...]:
    records: list[dict[str, object]] = [{"type": "baseline"}]
    records += [{"type": "present", "text": sentence, "max_diffs": 3} for sentence in prose[:5]]
    records += [{"type": "absent", "text": f"Page {i} of 20"} for i in range(2)]
    records += [
        {"type": "order", "before": before, "after": after, "max_diffs": 2}
        for before, after in zip(prose[5:9], prose[9:13], strict=True)
    ]
    records += [
        {"type": "table", "cell": cells[i][i], "left": cells[i][i - 1], "up": cells[i - 1][i]} for i in (2, 3, 4)
    ]
    page = {"pdf": "page.pdf", "page": 1}
    return tuple(parse_test({**page, "id": str(i), **record}, "test") for i, record in enumerate(records))


def misread(random: Random, text: str, rate: float) -> str:
    return "".join(random.choice("aeiou") if random.random() < rate else character for character in text)


def best(run: Callable[[], Scored], repeats: int) -> tuple[float, Scored]:
    """The shortest wall time, and the result."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        scored = run()
        times.append(time.perf_counter() - begin)
    return min(times), scored


if __name__ == "__main__":
    main()
