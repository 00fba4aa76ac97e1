"""The HTML report of `ocr-rl compare`, from a comparison that was made up, with noise from a seed."""

import random
import re

import pytest

from helpers.html_tree import Tree
from ocr_rl.comparison.outcome import outcome, parts_that_fell
from ocr_rl.data.loading import load_pages
from ocr_rl.reporting.comparison_report import comparison_report

ENDS = {
    "grpo": 0.106, "sft": 0.162, "ppo": 0.131, "dpo": 0.19, "ipo": 0.2, "kto": 0.101, "orpo": 0.175, "rloo": 0.11,
    "reinforce": 0.14, "dr-grpo": 0.108, "dapo": 0.109, "gspo": 0.112, "cispo": 0.115, "gdpo": 0.12,
}  # fmt: skip
"""The CER at the end; of 0.286 at the start."""
START = {"cer": 0.286, "pass_rate": 0.41, "exact": 0.02, "reward": 0.55}
KINDS = ("absent", "baseline", "order", "present")
EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\u0000\u202e"


def at(share, end):
    """The values of a recipe that ends at a CER of `end`, after a share of its training; `absent` gets worse."""
    cer = end + (START["cer"] - end) * (1 - share) ** 2
    gain = START["cer"] - cer
    values = {"cer": cer, "pass_rate": START["pass_rate"] + 1.5 * gain, "exact": START["exact"] + gain}
    kinds = {kind: values["pass_rate"] + 0.1 * i for i, kind in enumerate(KINDS[1:])}
    return values | {"reward": START["reward"] + 2 * gain, "kinds": kinds | {"absent": 0.9 - 0.4 * gain}}


def summary(values, texts):
    own = {name: values[name] for name in START if texts or name not in ("cer", "exact")}
    around = {f"{name}_ci": [value - 0.02, value + 0.02] for name, value in own.items()}
    kinds = {k: {"pass_rate": v, "pass_rate_ci": [v - 0.03, v + 0.03]} for k, v in values["kinds"].items()}
    return dict.fromkeys(START) | own | around | {"by_kind": kinds, "n": 193, "documents": 193}


def difference(this, other, **p):
    if this is None:
        return None
    change = this - other
    return {"difference": change, "difference_ci": [change - 0.012, change + 0.012], **p}


def curve(name, end, noise, texts):
    rows = []
    for step in range(25):
        values = at(step / 24, end + noise.gauss(0, 0.004))
        seconds = {"sft": 1.1, "ppo": 6.2, "dpo": 2.4, "ipo": 2.4}.get(name, 3.3) * step * noise.uniform(0.98, 1.02)
        row = {"step": step, "completions": 0 if name == "sft" else 256 * step, "compute_s": seconds}
        if step and name != "sft":
            row |= {"reward": values["reward"] - 0.1 + noise.gauss(0, 0.02), "entropy": 0.4 - 0.01 * step, "kl": None}
            row |= {
                "reward/similarity": values["reward"] + noise.gauss(0, 0.02),
                "reward/pass_rate": values["pass_rate"],
            }
            row |= {f"pass_rate/{kind}": value + noise.gauss(0, 0.03) for kind, value in values["kinds"].items()}
            row |= {"kl": 0.002 * step} if name in ("ppo", "kto") else {}
        row["loss"] = noise.gauss(0, 0.1)
        if step % 4 == 0:
            row |= {f"eval/{key}": values[key] for key in ("cer", "pass_rate", "reward") if texts or key != "cer"}
            row |= {f"eval/pass_rate/{kind}": value for kind, value in values["kinds"].items()}
        rows.append(row)
    return rows


def compared(recipes=10, texts=True, seeds=(0, 1, 2)):
    """What compare.json holds."""
    noise = random.Random(0)
    ends = dict(list(ENDS.items())[:recipes])
    start = summary(at(0, 0.1), texts)
    reference = summary(at(1, ENDS["grpo"]), texts)
    found = {}
    for name, end in ends.items():
        final = summary(at(1, end), texts)
        p = 0.0004 if abs(end - ENDS["grpo"]) > 0.01 else 0.21
        against = {key: difference(final[key], reference[key], p=p / 4, p_holm=p) for key in START}
        found[name] = {
            "algorithm": name,
            "rate": 3e-4 if name == "ppo" else 1e-4,
            "tuning": {
                rate: {"reward": 0.7 + i / 50, "cer": 0.2 if texts else None, "pass_rate": 0.6, "failed": None}
                for i, rate in enumerate(("3e-05", "0.0001", "0.0003"))
            },
            "failed": {},
            "final": final,
            "gain": {key: difference(final[key], start[key], p=0.0001) for key in START},
            "against": None if name == "grpo" else against,
            "seeds": {
                str(seed): {key: final[key] and final[key] + noise.gauss(0, 0.005) for key in START}
                | {"path": f"runs/{name}/seed_{seed}"}
                for seed in seeds
            },
            "cost": {"steps": 24, "completions": 0 if name == "sft" else 6144, "pages": 384, "tokens": 250123}
            | {"compute_s": 80.1, "peak_memory_mib": 912, "models": ["policy", "critic"][: 2 if name == "ppo" else 1]},
            "own_budget": name != "sft",
            "drift": {"entropy": 0.213, "kl": 0.0521},
            "curves": {str(seed): curve(name, end, noise, texts) for seed in seeds},
        }
    words = "The quick brown fox jumps over the lazy dog near the river bank. " * 6
    pairs = [("grpo", "sft")] * 5
    return {
        "settings": {
            "command": "ocr-rl compare --recipe grpo --recipe sft",
            "recipes": list(ends),
            "seeds": list(seeds),
            "tuning_seed": 1000,
            "rates": [3e-5, 1e-4, 3e-4],
            "budget": {"completions": 6144},
            "tuning_share": 0.5,
            "reference": "grpo",
            "chosen_by": "reward",
            "threads": 2,
        },
        "pages": {"train": 600, "tuning": 190, "test": 193, "test_documents": 193},
        "environment": {"ocr-rl": "0.1.0", "torch": "2.13.0"},
        "start": start,
        "recipes": found,
        "differing_pages": [
            {
                "id": f"page_{i:06d}.png",
                "reference": words if texts else None,
                "recipes": list(pair),
                "rewards": [0.9, 0.3 + i / 20],
                "texts": [words.replace("fox", "fax"), words[: 60 * (i + 1)].replace("o", "0")],
            }
            for i, pair in enumerate(pairs)
        ],
    }


def failing(compared, name, seeds):
    """The runs of these seeds stopped."""
    own = compared["recipes"][name]
    own["failed"] = {str(seed): "step 12: the gradient norm is nan; a lower train.lr may help" for seed in seeds}
    for seed in own["failed"]:
        del own["seeds"][seed]
        own["curves"][seed] = own["curves"][seed][:12]
    if not own["seeds"]:
        own |= {"final": None, "gain": None, "against": None, "drift": None, "cost": None}
    return compared


def tree(compared, pages=None):
    return Tree(comparison_report(compared, pages or {}))


def headings(tree):
    return [" ".join(e["words"]) for e in tree.all("h2")]


def words(tree, id):
    (table,) = tree.all("table", id=id)
    return " ".join(table["words"])


def drawn(tree, column):
    """What the plots of a column say in words."""
    labels = [e["aria-label"] for e in tree.all("svg") if "aria-label" in e]
    columns = [e["data-metric"] for e in tree.all("figure") if "data-metric" in e]
    return [label for label, name in zip(labels, columns, strict=True) if name == column]


def numbers_in(value):
    """All numbers of compare.json."""
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(one)
    elif isinstance(value, int | float):
        yield value


def test_a_comparison_has_every_section():
    report = tree(compared())
    assert headings(report) == [
        "Outcome",
        "Results",
        "Learning curves",
        "Kinds of tests",
        "Training curves",
        "Parts that fell",
        "Entropy and KL",
        "Cost",
        "Tuning",
        "Seeds",
        "Pages on which two recipes differ most",
        "Settings",
        "Environment",
    ]
    about = " ".join(report.all("header")[0]["words"])
    assert about.startswith("Comparison 10 recipes × 3 seeds; 6,144 completions each; tested on 193 pages")
    assert about.endswith("at the start CER 0.286, pass rate 0.410, exact 0.020, reward 0.550")


def test_the_outcome_says_so_when_the_reference_is_not_first():
    """kto is 0.005 ahead of grpo, p = 0.21; dr-grpo and rloo are as near, all others 0.025 and more behind."""
    assert outcome(compared()) == [
        "kto has the lowest CER on the test pages: 0.101, from 0.286 at the start.",
        "The reference grpo is not first: kto is ahead (difference -0.005, p = 0.2100), but not significantly.",
        "Not significantly different from the reference grpo: kto, dr-grpo and rloo.",
        "Worse than the reference grpo: ppo, reinforce, sft, orpo, dpo and ipo.",
        "All are better than the start.",
    ]
    found = compared()
    found["recipes"]["kto"]["against"]["cer"] |= {"p_holm": 0.003, "difference_ci": [-0.009, -0.001]}
    assert outcome(found)[1:4] == [
        "The reference grpo is not first: kto is better (difference -0.005, p = 0.0030).",
        "Better than the reference grpo: kto.",
        "Not significantly different from the reference grpo: dr-grpo and rloo.",
    ]


def test_the_outcome_when_the_reference_is_first():
    """Of grpo, sft, ppo, dpo and ipo, by CER."""
    assert outcome(compared(5))[:2] == [
        "grpo has the lowest CER on the test pages: 0.106, from 0.286 at the start.",
        "Worse than the reference grpo: ppo, sft, dpo and ipo.",
    ]


def test_a_small_p_value_with_an_interval_around_0_is_not_significant():
    """The p-value swaps pages and knows nothing of other seeds; the interval does."""
    found = compared(3)
    found["recipes"]["sft"]["against"]["cer"]["difference_ci"] = [-0.01, 0.12]
    assert "Not significantly different from the reference grpo: sft." in outcome(found)


def test_who_is_no_better_than_the_start_is_named():
    found = compared(3)
    found["recipes"]["ppo"]["gain"]["cer"] |= {"p": 0.3}
    found["recipes"]["sft"]["gain"]["cer"] |= {"difference": 0.1, "difference_ci": [0.05, 0.15]}
    assert outcome(found)[-1] == "Not shown to be better than the start: ppo and sft."


def test_recipes_with_equal_values_are_first_together():
    found = compared(2)
    found["recipes"]["sft"]["final"]["cer"] = found["recipes"]["grpo"]["final"]["cer"]
    assert outcome(found)[0].startswith("grpo and sft have the lowest CER on the test pages: 0.106")


def test_results_are_sorted_by_cer_with_intervals_and_differences():
    report = tree(compared())
    rows = [e["words"] for e in report.all("tr")]
    assert [row[0] for row in rows[:12]][1:] == [
        *("start", "kto", "grpo", "dr-grpo", "rloo", "ppo"),
        *("reinforce", "sft", "orpo", "dpo", "ipo"),
    ]
    kto, grpo = (" ".join(row) for row in rows[2:4])
    assert kto.startswith("kto 1e-4 3 0.101 0.081–0.121 0.688 0.667–0.708 0.205 0.185–0.225 0.920 0.900–0.940 -0.005")
    assert "-0.005 -0.017 to +0.007 p = 0.2100 +0.008 -0.004 to +0.020 p = 0.2100" in kto
    assert grpo.endswith("reference reference")
    assert "ppo 3e-4 3 0.131" in words(report, "results")


def test_the_best_value_of_each_column_is_marked():
    report = tree(compared())
    best = [e["words"][0] for e in report.all("span", **{"class": "best"})]
    assert best[:4] == ["0.101", "0.688", "0.205", "0.920"]


def test_every_number_of_the_results_is_one_of_the_data():
    found = compared()
    known = {f"{abs(number):.{digits}f}" for number in numbers_in(found) for digits in (3, 4)}
    report = tree(found)
    for id in ("results", "gains", "seeds", "tuning"):
        shown = re.findall(r"\d+\.\d{3,4}", words(report, id))
        assert len(shown) > 80
        assert set(shown) <= known


def test_what_samples_nothing_has_no_curve_over_completions():
    report = tree(compared())
    over_completions, over_compute = drawn(report, "eval/cer")
    assert over_completions.startswith("CER over completions: grpo 0.286 at 0, 0.10")
    assert "sft" not in over_completions
    assert "sft 0.286 at 0, 0.1" in over_compute
    text = " ".join(report.all("body")[0]["words"])
    assert "Shown only over compute, as no completions are sampled: sft." in text
    assert "Trained for the compute of the reference, as not all steps sample completions: sft." in text


def test_under_a_budget_of_time_nobody_is_given_the_compute_of_another():
    found = compared()
    found["settings"]["budget"] = {"minutes": 2.5}
    found["recipes"]["sft"]["own_budget"] = True
    text = " ".join(tree(found).all("body")[0]["words"])
    assert "3 seeds; 2.5 minutes each;" in text
    assert "Trained for the compute of the reference" not in text


def test_a_recipe_has_one_look_on_the_whole_page():
    """By the markers of its swatches: as many different ones as recipes."""
    html = comparison_report(compared(14), {})
    swatches = re.findall(r'(<svg class="swatch".*?</svg>)([\w-]+)', html)
    looks = {(name, svg) for svg, name in swatches}
    assert len(swatches) > 100
    assert len(looks) == len({svg for _, svg in looks}) == 14


def test_each_part_and_each_kind_of_test_has_a_plot_with_all_in_it():
    report = tree(compared())
    for column in ("reward", "reward/similarity", "reward/pass_rate", *(f"pass_rate/{kind}" for kind in KINDS)):
        (label,) = drawn(report, column)
        assert label.count(";") == 8, column  # nine recipes sample
    for kind in KINDS:
        (label,) = drawn(report, f"eval/pass_rate/{kind}")
        assert label.count(";") == 9


def test_a_part_that_fell_while_the_reward_rose_is_listed():
    """`absent` loses 0.4 of what CER gains: 0.9 - 0.4 * 0.18 with grpo. What rose, and what fell by less, is not."""
    found = compared(2)
    assert list(parts_that_fell(found)) == [
        ("grpo", "absent", 0.9, pytest.approx(0.828)),
        ("sft", "absent", 0.9, pytest.approx(0.8504)),
    ]
    assert words(tree(found), "fell").startswith(
        "reward part start end change grpo 0.550 → 0.910 absent 0.900 0.828 -0.072 sft"
    )
    final = found["recipes"]["grpo"]["final"]
    final["by_kind"]["absent"]["pass_rate"] = 0.89
    final["cer"] = 0.4
    assert next(parts_that_fell(found)) == ("grpo", "cer", 0.286, 0.4)
    final["reward"] = START["reward"]
    assert [recipe for recipe, *_ in parts_that_fell(found)] == ["sft"]


def test_entropy_and_kl_are_a_table_and_curves_of_those_that_log_them():
    report = tree(compared())
    assert "grpo 0.213 0.0521" in words(report, "drift")
    (kl,) = drawn(report, "kl")
    assert re.findall(r"(?:: |; )([\w-]+) ", kl) == ["ppo", "kto"]


def test_costs_are_those_of_the_data():
    assert "ppo 24 6,144 384 250,123 80 912 policy and critic" in words(tree(compared()), "cost")


def test_tuning_marks_the_chosen_rate_and_says_when_it_lies_at_the_edge():
    """ppo took the highest of three; the others the middle one."""
    found = compared(3)
    found["recipes"]["sft"]["tuning"]["0.0003"] = dict.fromkeys(("reward", "cer", "pass_rate")) | {"failed": "nan"}
    report = tree(found)
    assert words(report, "tuning").startswith("learning rate 3e-5 1e-4 3e-4 grpo 0.700 CER 0.200 pass rate 0.600 0.720")
    (table,) = report.all("table", id="tuning")
    assert "0.720 CER 0.200 pass rate 0.600 nan ppo" in " ".join(table["words"])
    text = " ".join(report.all("body")[0]["words"])
    assert "so a better rate may lie beyond it: ppo (3e-4, the highest)." in text
    assert "with seed 1000 and 50% of the budget" in text


def test_without_tuning_there_is_no_such_section():
    found = compared(2)
    for own in found["recipes"].values():
        own["tuning"] = {}
    assert "Tuning" not in headings(tree(found))


def test_a_seed_that_stopped_is_marked_and_left_out_of_the_curves():
    found = failing(compared(), "dpo", [2])
    report = tree(found)
    ends = [found["recipes"]["dpo"]["curves"][seed][-1]["eval/cer"] for seed in ("0", "1")]
    assert "dpo 1e-4 2 1 stopped 0.190" in words(report, "results")
    assert "dpo 2 – – – – step 12: the gradient norm is nan; a lower train.lr may help" in words(report, "seeds")
    assert f"dpo 0.286 at 0, {sum(ends) / 2:.3g} at 6,144" in drawn(report, "eval/cer")[0]


def test_a_recipe_without_any_seed_that_ended_is_last_and_named():
    found = failing(compared(), "dpo", [0, 1, 2])
    found["recipes"]["dpo"]["curves"] = {}
    report = tree(found)
    assert words(report, "results").endswith("dpo 1e-4 0 3 stopped – – – – – –")
    assert outcome(found)[-1] == "Without a result, because no seed reached its end: dpo."
    assert "only over compute, as no completions are sampled: sft." in " ".join(report.all("body")[0]["words"])
    assert "dpo" not in words(report, "cost")


def test_pages_without_texts_are_compared_by_pass_rate():
    found = compared(texts=False)
    report = tree(found)
    assert outcome(found)[0] == "kto has the highest pass rate on the test pages: 0.688, from 0.410 at the start."
    assert "Worse than the reference grpo: ppo, reinforce, sft, orpo, dpo and ipo." in outcome(found)
    heads = "rate seeds pass rate reward pass rate against grpo start"
    assert words(report, "results").startswith(heads)
    assert "CER" not in " ".join(report.all("body")[0]["words"])


def test_a_single_recipe_is_set_against_the_start_alone():
    found = compared(1)
    report = tree(found)
    assert outcome(found) == [
        "grpo, CER on the test pages: 0.106, from 0.286 at the start.",
        "It is better than the start.",
    ]
    assert words(report, "results").startswith("rate seeds CER pass rate exact reward start")
    assert "grpo -0.180 -0.192 to -0.168 p = 0.0001" in words(report, "gains")
    assert "Holm" not in " ".join(report.all("body")[0]["words"])


def test_what_differs_most_is_the_image_beside_both_diffs(pages):
    found = compared()
    loaded = load_pages(pages)
    by_id = {row["id"]: page for row, page in zip(found["differing_pages"], loaded, strict=False)}
    report = tree(found, by_id)
    assert len(report.all("article")) == len(report.all("img")) == 5
    heads = [" ".join(e["words"]) for e in report.all("b") if "reward" in e["words"] and e["text"].endswith("00")]
    assert heads[:2] == ["grpo: reward 0.900", "sft: reward 0.300"]
    assert "o" in [e["text"] for e in report.all("del")]
    assert "a" in [e["text"] for e in report.all("ins")]
    assert tree(found).all("img") == []
    assert len(tree(found).all("article")) == 5


def test_names_texts_and_messages_are_escaped():
    found = failing(compared(3), "sft", [2])
    found["recipes"] = {name if name != "ppo" else EVIL: own for name, own in found["recipes"].items()}
    found["recipes"]["sft"]["failed"]["2"] = found["recipes"]["sft"]["tuning"]["3e-05"]["failed"] = EVIL
    found["recipes"]["grpo"]["seeds"]["0"]["path"] = EVIL
    found["settings"]["command"] = found["environment"]["torch"] = EVIL
    found["differing_pages"][0] |= {"id": EVIL, "reference": EVIL, "texts": [EVIL, "x"], "recipes": [EVIL, "sft"]}
    for rows in found["recipes"]["grpo"]["curves"].values():
        rows[3][f"pass_rate/{EVIL}"] = 0.5
        rows[4][f"eval/pass_rate/{EVIL}"] = 0.5
    report = tree(found)
    assert report.all("script") == report.all("img") == report.all("link") == []
    body = report.all("body")[0]["text"]
    assert body.count("<script>alert(1)</script>") >= 10
    assert "<U+0000><U+202E>" in report.all("article")[0]["text"]


def test_in_chromium_every_table_and_plot_is_there_and_the_console_stays_silent(browse, tmp_path):
    """The one line that it has is that a script was refused, so its silence about the rest means something."""
    (tmp_path / "compare.html").write_text(comparison_report(compared(14), {}), encoding="utf-8")
    report, console = browse(tmp_path / "compare.html", "the.last.line;")
    assert ["Content Security Policy" in line for line in console] == [True]
    ids = [e["id"] for e in report.all("table")]
    assert ids == ["results", "gains", "fell", "drift", "cost", "tuning", "seeds"]
    assert len(report.all("svg", **{"class": "curve"})) == 3 + 6 + 4 + 1 + 6 + 2
