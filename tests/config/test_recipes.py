"""Recipes read aloud; a mistake in one is an error that says where and what to write."""

import dataclasses
import re
import tomllib

import pytest

from ocr_rl.config.chains import load_system, recipes_of
from ocr_rl.config.loader import RECIPES, check_model_path, load_recipe, recipe_names, to_toml
from ocr_rl.config.schema import ALIASES, DpoConfig, GrpoConfig, ModelConfig, Recipe


def write(tmp_path, text, name="my.toml"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads_and_its_resolved_form_is_the_same_recipe(name, tmp_path):
    recipe = load_recipe(name)
    assert load_recipe(write(tmp_path, to_toml(recipe))) == recipe


FAMILY = {
    "grpo-paper": GrpoConfig(normalizer="sequence", beta=0.01, kl="k3"),
    # arXiv 2503.14476: clip-higher, dynamic sampling, token-level loss, overlong filtering, no KL
    "dapo": GrpoConfig(
        clip_low=0.2, clip_high=0.28, refill=3, normalizer="token", mask_truncated=True, updates_per_batch=2
    ),
    # arXiv 2503.20783: no deviation, no length
    "dr-grpo": GrpoConfig(divide_by_std=False, normalizer="constant"),
    # arXiv 2507.18071, section 5.1: 3e-4 and 4e-4
    "gspo": GrpoConfig(ratio="sequence", normalizer="sequence", clip_low=3e-4, clip_high=4e-4, updates_per_batch=2),
    # arXiv 2506.13585: no lower bound, one mean over all tokens; the largest weight, 5, is TRL's advice
    "cispo": GrpoConfig(surrogate="cispo", clip_low=1.0, clip_high=4.0, normalizer="token", updates_per_batch=2),
    # arXiv 2601.05242
    "gdpo": GrpoConfig(advantage="decoupled"),
    # arXiv 2402.14740: the completion is one action, the KL is part of its reward
    "rloo": GrpoConfig(
        advantage="leave_one_out", ratio="product", normalizer="sequence", beta=0.01, kl="k1", kl_in="reward"
    ),
    # Williams, 1992
    "reinforce": GrpoConfig(surrogate="reinforce", divide_by_std=False),
}
ON_THE_SAME_PAGES = [*FAMILY, "sft", "ocd", "scheduled", "dpo", "ipo", "kto", "orpo", "ppo", "reward-model"]


def test_the_shipped_recipes_are_all_there():
    assert set(recipe_names()) == {
        "grpo",
        "grpo-lines",
        "grpo-7b-lora",
        "unlabelled",
        "tests-consensus",
        *ON_THE_SAME_PAGES,
    }


@pytest.mark.parametrize("name", FAMILY)
def test_a_recipe_of_the_family_is_grpo_but_for_what_its_paper_says(name):
    assert load_recipe(name) == dataclasses.replace(load_recipe("grpo"), grpo=FAMILY[name])


@pytest.mark.parametrize("name", ON_THE_SAME_PAGES)
def test_a_recipe_on_the_same_pages_says_only_what_differs_from_grpo(name):
    """Whatever it says changes something; model, pages, reward and token limit are not among it."""
    own, grpo = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8")), load_recipe("grpo")
    assert own.pop("base") == "grpo"
    assert own.pop("algorithm", "grpo") == load_recipe(name).algorithm
    assert not own.keys() & {"model", "data", "render", "reward"}
    for section, values in own.items():
        for key, value in values.items():
            assert value != getattr(getattr(grpo, section), key), f"{section}.{key}"
    assert load_recipe(name).rollout.max_tokens == grpo.rollout.max_tokens


def test_ipo_is_dpo_with_another_loss():
    assert load_recipe("ipo") == dataclasses.replace(load_recipe("dpo"), dpo=DpoConfig(loss="ipo"))


def test_a_resolved_recipe_spells_out_every_default():
    text = to_toml(Recipe())
    for section in dataclasses.fields(Recipe):
        value = getattr(Recipe(), section.name)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                assert re.search(rf"^(\[{section.name}\.)?{field.name}\b", text, re.MULTILINE), field.name


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load_recipe(write(tmp_path, "")) == dataclasses.replace(Recipe(), model=ModelConfig("tiny"))


def test_a_file_and_then_overrides_in_order(tmp_path):
    path = write(tmp_path, "[train]\nsteps = 5\nlearning_rate = 1\n")
    recipe = load_recipe(path, ["train.steps=7", "train.seed=3", "train.steps=9"])
    assert (recipe.train.steps, recipe.train.seed) == (9, 3)
    assert recipe.train.learning_rate == 1.0
    assert isinstance(recipe.train.learning_rate, float)


def test_servers_are_one_address_or_a_list_in_a_file_and_in_an_override(tmp_path):
    one, two = "http://gpu1:8000", "http://gpu2:8000"
    assert load_recipe(write(tmp_path, f'[vllm]\nserver = "{one}"\n')).vllm.server == [one]
    path = write(tmp_path, f'[vllm]\nserver = ["{one}", "{two}"]\n')
    assert load_recipe(path).vllm.server == [one, two]
    assert load_recipe(path, [f"vllm.server={two}"]).vllm.server == [two]
    assert load_recipe(path, [f'vllm.server=["{two}", "{one}"]']).vllm.server == [two, one]
    for nothing in ("vllm.server=", 'vllm.server=""', "vllm.server=[]"):
        assert load_recipe(path, [nothing]).vllm.server == Recipe().vllm.server == []


# Other names of keys.


def test_a_key_may_have_its_other_name_in_a_file_and_in_an_override(tmp_path):
    for alias, key in ALIASES.items():
        (section, name), other = key.split("."), alias.split(".")[1]
        value = "true" if key == "rollout.ahead" else "1"
        written = load_recipe(write(tmp_path, f"[{section}]\n{other} = {value}\n"))
        assert written == load_recipe(write(tmp_path, f"[{section}]\n{name} = {value}\n"))
        assert written == load_recipe(write(tmp_path, ""), [f"{alias}={value}"])
        assert written != Recipe()


def test_an_other_name_overrides_the_key_of_a_base(tmp_path):
    write(tmp_path, "[rollout]\nrows = 64\n", "base.toml")
    assert load_recipe(write(tmp_path, 'base = "base.toml"\n[rollout]\nmax_num_seqs = 32\n')).rollout.rows == 32


def test_a_key_under_both_names_is_an_error(tmp_path):
    path = write(tmp_path, "[rollout]\nrows = 64\nmax_num_seqs = 32\n")
    message = f"{path}: rollout.max_num_seqs is another name of rollout.rows; write one of them"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_recipe(path)


# A recipe on another's base.


@pytest.mark.parametrize("name", ["grpo", "sft", "grpo-lines", "few"])
@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ([], "tiny"),
        (["model.path="], "tiny"),
        (["data.path=scans/"], "tiny-scans"),
        (["data.path=scans/", "model.path=tiny"], "tiny"),
    ],
)
def test_where_no_model_is_named_an_embedded_policy_is_that_suits_the_pages(name, overrides, path):
    assert recipes_of(load_system(name, overrides))[0].model.path == path


def test_a_base_gives_what_the_file_does_not_say(tmp_path):
    """Key by key in a section; a table of a key is taken whole, however it is written."""
    base = 'algorithm = "sft"\n[train]\nsteps = 5\nseed = 7\n[rollout]\nmax_tokens = 9\n'
    base += "[reward]\nend_gate = 0.1\nweights = { exact = 1.0, similarity = 2.0 }\n"
    write(tmp_path, base, "base.toml")
    for table in ("[reward]\nweights = { numbers = 3.0 }", "[reward.weights]\nnumbers = 3.0"):
        path = write(tmp_path, f'base = "base.toml"\n[train]\nsteps = 6\n[grpo]\nbeta = 1\n{table}\n')
        recipe = load_recipe(path, ["train.eval_every=2"])
        assert recipe.algorithm == "sft"
        assert (recipe.train.steps, recipe.train.seed, recipe.train.eval_every) == (6, 7, 2)
        assert (recipe.rollout.max_tokens, recipe.grpo.beta) == (9, 1.0)
        assert (recipe.reward.end_gate, recipe.reward.weights) == (0.1, {"numbers": 3.0})


def test_a_base_may_be_shipped_or_lie_next_to_the_file_and_have_a_base_itself(tmp_path):
    write(tmp_path, 'base = "../first/a.toml"\n[train]\nseed = 8\n', "second/b.toml")
    write(tmp_path, 'base = "grpo-paper"\n[train]\nseed = 7\nsteps = 3\n', "first/a.toml")
    recipe = load_recipe(write(tmp_path, 'base = "second/b.toml"\n[grpo]\nclip_high = 0.3\n'))
    assert (recipe.train.seed, recipe.train.steps, recipe.train.learning_rate) == (8, 3, 1e-4)
    assert recipe.grpo == dataclasses.replace(FAMILY["grpo-paper"], clip_high=0.3)


def test_a_recipe_on_a_base_is_resolved_without_it(tmp_path):
    path = write(tmp_path, 'base = "grpo"\n')
    assert load_recipe(path) == load_recipe("grpo")
    assert "base" not in tomllib.loads(to_toml(load_recipe(path)))


@pytest.mark.parametrize(
    ("base", "shown"), [('"grop"', "'grop'"), ('"no.toml"', "'no.toml'"), ("5", "5"), ('""', "''")]
)
def test_an_unknown_base_is_an_error_that_lists_the_shipped_ones(tmp_path, base, shown):
    path = write(tmp_path, f"base = {base}\n")
    message = re.escape(f"{path}: base is {shown}; write one of cispo, ") + r".*, grpo, .*, or the path of a TOML file"
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


def test_a_base_that_leads_back_is_an_error(tmp_path, monkeypatch):
    """One file on itself; and three, of which the last leads back to the second."""
    write(tmp_path, 'base = "itself.toml"\n', "itself.toml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'^itself.toml: base is "itself.toml", which is based on this file'):
        load_recipe("itself.toml")
    write(tmp_path, 'base = "c.toml"\n', "b.toml")
    again = f"../{tmp_path.name}/b.toml"
    last = write(tmp_path, f'base = "{again}"\n', "c.toml")
    with pytest.raises(ValueError, match=re.escape(f'{last}: base is "{again}", which is based on this file')):
        load_recipe(write(tmp_path, 'base = "b.toml"\n'))


def test_a_mistake_in_a_base_names_the_base_and_one_in_the_file_the_file(tmp_path):
    base = write(tmp_path, "[train]\nstpes = 1\n", "base.toml")
    path = write(tmp_path, 'base = "base.toml"\n[train]\nsteps = 1\n')
    with pytest.raises(ValueError, match=re.escape(f'{base}: "stpes" is not a key of [train]; did you mean "steps"?')):
        load_recipe(path)
    path = write(tmp_path, 'base = "grpo"\n[train]\nsteps = "many"\n')
    with pytest.raises(ValueError, match=re.escape(f"{path}: train.steps is 'many'")):
        load_recipe(path)


def test_what_goes_together_is_checked_of_the_whole_and_not_of_the_base(tmp_path):
    write(tmp_path, "[rollout]\ngroup_size = 1\n", "base.toml")
    assert load_recipe(write(tmp_path, 'base = "base.toml"\nalgorithm = "ppo"\n')).rollout.group_size == 1
    with pytest.raises(ValueError, match="group_size is 1"):
        load_recipe(write(tmp_path, 'base = "base.toml"\n'))


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.steps=5", "train", "steps", 5),
        ("train.learning_rate=3e-5", "train", "learning_rate", 3e-5),
        ("train.learning_rate=1", "train", "learning_rate", 1.0),
        ("model.freeze_vision=true", "model", "freeze_vision", True),
        ("data.path=scans/1890", "data", "path", "scans/1890"),
        ('data.path="a b"', "data", "path", "a b"),
        ("data.path=", "data", "path", ""),
        ("grpo.normalizer=constant", "grpo", "normalizer", "constant"),
        ("render.lines=[1, 2]", "render", "lines", [1, 2]),
        ("train.betas=[0, 0.95]", "train", "betas", [0.0, 0.95]),
        ("reward.weights.exact=0.3", "reward", "weights", {"similarity": 0.7, "pass_rate": 0.3, "exact": 0.3}),
        ("reward.weights={ exact = 1 }", "reward", "weights", {"exact": 1.0}),
        ('data.where.level=["line"]', "data", "where", {"level": ["line"]}),
        ("data.columns.text=ground_truth", "data", "columns", {"text": "ground_truth"}),
    ],
)
def test_an_override_is_toml_or_a_bare_string(override, section, key, value):
    recipe = load_recipe("grpo", [override])
    assert getattr(getattr(recipe, section), key) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train", "not valid TOML: "),
        ("[trian]\nsteps = 1", '"trian" is not a section; did you mean "train"?'),
        ("[train]\nstpes = 1", '"stpes" is not a key of [train]; did you mean "steps"?'),
        ("[data]\nqqqqqqq = 1", '"qqqqqqq" is not a key of [data]; write one of path, where, columns'),
        ("train = 5", "train is a section; write its keys in [train], or --set train.key=value"),
        ('[train]\nsteps = "many"', "train.steps is 'many'; write an integer of at least 0"),
        ("[train]\nsteps = 1.5", "train.steps is 1.5; write an integer of at least 0"),
        ("[train]\nsteps = true", "train.steps is True; write an integer of at least 0"),
        ("[train]\nlearning_rate = true", "train.learning_rate is True; write a number of at least 0"),
        ("[model]\npath = 5", "model.path is 5; write a string"),
        ("[model]\nfreeze_vision = 1", "model.freeze_vision is 1; write true or false"),
        ('[grpo]\nkl = "k4"', "grpo.kl is 'k4'; write one of 'k1', 'k2', 'k3'"),
        ("[render]\nlines = 3", "render.lines is 3; write a list of 2 values, each an integer of at least 1"),
        ('[render]\nlines = ["a", 2]', "render.lines is ['a', 2]; write a list of 2 values, each an integer"),
        ("[reward]\nweights = 1", "reward.weights is 1; write a table { name = value }, each value a number"),
        ('[reward.weights]\nexact = "x"', "reward.weights.exact is 'x'; write a number of at least 0"),
        ('algorithm = "trpo"', "algorithm is 'trpo'; write one of 'grpo'"),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_what_to_write(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        load_recipe(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", "--set train.steps: no '='; write --set section.key=value, e.g. --set train.steps=100"),
        ("trian.steps=1", '--set trian.steps=1: "trian" is not a section; did you mean "train"?'),
        ("train.stepps=1", '--set train.stepps=1: "stepps" is not a key of [train]; did you mean "steps"?'),
        ("train.steps=soon", "--set train.steps=soon: train.steps is 'soon'; write an integer of at least 0"),
        ("train.steps.x=1", "--set train.steps.x=1: train.steps has no entries; write --set train.steps=value"),
        ("train=5", "--set train=5: train is a section; write its keys in [train], or --set train.key=value"),
        ("reward.weights.exact=x", "reward.weights.exact is 'x'; write a number of at least 0"),
        ("algorithm=trpo", "algorithm is 'trpo'; write one of 'grpo'"),
    ],
)
def test_a_mistake_in_an_override_repeats_it(override, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_recipe("grpo", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.group_size=1", "rollout.group_size is 1; write at least 2: a group of one has no advantage"),
        ("grpo.updates_per_batch=17", "grpo.updates_per_batch is 17; write between 1 and rollout.pages_per_step"),
        ("render.lines=[4, 2]", "render.lines is [4, 2]; write the lower number first"),
        ("render.characters=[9, 8]", "render.characters is [9, 8]; write the lower number first"),
        (
            'vllm.server=["http://a:8000", "http://b:8000", "http://A:8000/"]',
            "vllm.server is ['http://a:8000', 'http://b:8000', 'http://A:8000/']; write each address once",
        ),
        ("vllm.stop_repetition=[20]", "vllm.stop_repetition is [20]; write a length and a count of at least 2"),
        ("vllm.stop_repetition=[20, 1]", "vllm.stop_repetition is [20, 1]; write a length and a count of at least 2"),
    ],
)
def test_what_types_cannot_say_is_checked_too(override, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        load_recipe("grpo", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.temperature=0", "rollout.temperature is 0; write a number from 0.01 to 100"),
        ("rollout.temperature=inf", "rollout.temperature is inf; write a finite number from 0.01 to 100"),
        ("rollout.max_tokens=0", "rollout.max_tokens is 0; write an integer of at least 1"),
        ("rollout.rows=0", "rollout.rows is 0; write an integer of at least 1"),
        ("train.steps=-1", "train.steps is -1; write an integer of at least 0"),
        ("train.learning_rate=-1", "train.learning_rate is -1; write a number of at least 0"),
        ("train.learning_rate=inf", "train.learning_rate is inf; write a finite number of at least 0"),
        ("train.max_grad_norm=-1", "train.max_grad_norm is -1; write a number of at least 0"),
        ("train.max_grad_norm=nan", "train.max_grad_norm is nan; write a finite number of at least 0"),
        ("train.micro_batch_tokens=0", "train.micro_batch_tokens is 0; write an integer of at least 1"),
        ("train.keep_checkpoints=0", "train.keep_checkpoints is 0; write an integer of at least 1"),
        ("train.warmup_steps=-3", "train.warmup_steps is -3; write an integer of at least 0"),
        ("train.eval_every=-1", "train.eval_every is -1; write an integer of at least 0"),
        ("train.eval_pages=-1", "train.eval_pages is -1; write an integer of at least 0"),
        ("train.checkpoint_every=-1", "train.checkpoint_every is -1; write an integer of at least 0"),
        ("train.seed=99999999999999", "train.seed is 99999999999999; write an integer from 0 to 4294967295"),
        (
            "train.betas=[0.9]",
            "train.betas is [0.9]; write a list of 2 values, each a number of at least 0 and below 1",
        ),
        ("train.betas=[1.0, 0.9]", "train.betas is [1.0, 0.9]; write a list of 2 values, each a number of at least 0"),
        ("rollout.pages_per_step=0", "rollout.pages_per_step is 0; write an integer of at least 1"),
        ("grpo.inner_epochs=0", "grpo.inner_epochs is 0; write an integer of at least 1"),
        ("grpo.clip_low=-1", "grpo.clip_low is -1; write a number from 0 to 1"),
        ("grpo.clip_high=-1", "grpo.clip_high is -1; write a number of at least 0"),
        ("grpo.beta=-0.1", "grpo.beta is -0.1; write a number of at least 0"),
        ("model.lora_alpha=0", "model.lora_alpha is 0; write an integer of at least 1"),
        ("model.max_pixels=-5", "model.max_pixels is -5; write an integer of at least 0"),
        ("data.validation=1.0", "data.validation is 1.0; write a number above 0 and below 1"),
        ("data.validation=0", "data.validation is 0; write a number above 0 and below 1"),
        ("render.pages=1", "render.pages is 1; write an integer of at least 2"),
        ("render.lines=[1]", "render.lines is [1]; write a list of 2 values, each an integer of at least 1"),
        ("render.characters=[]", "render.characters is []; write a list of 2 values, each an integer of at least 1"),
        ("vllm.stop_repetition=[1, 2, 3]", "vllm.stop_repetition is [1, 2, 3]; write a list of at most 2 values"),
        ("reward.weights.exact=-1", "reward.weights.exact is -1; write a number of at least 0"),
    ],
)
def test_a_number_out_of_bounds_is_an_error_that_names_key_value_and_bounds(override, message):
    with pytest.raises(ValueError, match=f"^--set {re.escape(f'{override}: {message}')}"):
        load_recipe("grpo", [override])


def test_an_unknown_recipe_is_an_error_that_lists_the_shipped_ones():
    with pytest.raises(ValueError, match=r'no recipe "grop"; write one of .*grpo.*, or the path of a TOML file'):
        load_recipe("grop")


def test_a_file_that_is_not_utf_8_is_no_toml(tmp_path):
    (tmp_path / "my.toml").write_bytes(b"[train]\n# \xff\n")
    with pytest.raises(ValueError, match="not valid TOML"):
        load_recipe(str(tmp_path / "my.toml"))


def test_a_run_given_as_a_model_proposes_its_newest_checkpoint(tmp_path):
    (tmp_path / "resolved.toml").write_text("")
    with pytest.raises(ValueError, match=r"is a run, not a model; it has no checkpoint yet$"):
        check_model_path(str(tmp_path))
    for step in (2, 10):
        (tmp_path / "checkpoints" / f"step_{step:06}").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"not a model; give its newest checkpoint, .*/checkpoints/step_000010$"):
        check_model_path(str(tmp_path))
