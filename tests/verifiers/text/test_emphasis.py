"""Emphasis markers: CommonMark's flanking rules, and what readers of scripts without spaces expect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers.text.emphasis import emphases, without_emphasis


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("请**注意**以下事项", "请注意以下事项"),
        ("**注意：**请看", "注意：请看"),
        ("他说**“你好”**然后走了", "他说“你好”然后走了"),
        ("これは**重要（必読）**です", "これは重要（必読）です"),
        ("请*注意*以下", "请注意以下"),
        ("이것은 **중요**합니다", "이것은 중요합니다"),
        ("นี่คือ**สำคัญ**มาก", "นี่คือสำคัญมาก"),
        ("**第一**和**第二**与**第三**", "第一和第二与第三"),
        ("**N**ame", "Name"),
        ("*N*ame", "Name"),
        ("un**believ**able", "unbelievable"),
        ("**Note:**see page 3", "Note:see page 3"),
        ("*Note:*see page 3", "Note:see page 3"),
        ("**over\ntwo lines**", "over\ntwo lines"),
        ("**a *b* c**", "a b c"),
        ("***one** two*", "one two"),
    ],
)
def test_markers_that_a_reader_does_not_see_are_dropped(written, plain):
    assert without_emphasis(written) == plain


@pytest.mark.parametrize(
    "text",
    [
        "2**3**4",
        "2*3*4",
        "a*b*c",
        "snake_case_name",
        "変数_名前_です",
        "** spaced **",
        r"\*not\* \*\*this\*\*",
        "price* and cost*",
        "*over\ntwo lines*",
        "**over\n\ntwo paragraphs**",
        "____ ****",
    ],
)
def test_markers_that_a_reader_sees_stay(text):
    assert without_emphasis(text) == text


@given(st.text(alphabet="*_a中 .\n\\"))
def test_every_span_opens_before_it_closes_and_has_no_space_just_inside(text):
    for _, (_, start), (end, _) in emphases(text):
        assert start <= end
        assert not text[start : start + 1].isspace()
        assert not text[end - 1 : end].isspace()


@given(st.text(alphabet="*_a中 .\n\\"))
def test_nothing_but_markers_is_dropped_and_never_half_of_a_pair(text):
    plain = without_emphasis(text)
    assert [c for c in plain if c not in "*_"] == [c for c in text if c not in "*_"]
    assert (text.count("*") - plain.count("*")) % 2 == 0
    assert (text.count("_") - plain.count("_")) % 2 == 0
