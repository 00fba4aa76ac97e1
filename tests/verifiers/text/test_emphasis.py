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
        ("**注意事项：**请在五日内答复。", "注意事项：请在五日内答复。"),
        ("本条**《合同法》**另有规定", "本条《合同法》另有规定"),
        ("計**¥1,200**也", "計¥1,200也"),
        ("**第1条**（目的）", "第1条（目的）"),
        ("これは**「見出し」**です。", "これは「見出し」です。"),
        ("금액은 **₩5,000**입니다", "금액은 ₩5,000입니다"),
        ("**비고:**내용", "비고:내용"),
        ("中文*斜体*中文**粗体**。", "中文斜体中文粗体。"),
        ("**甲****乙**", "甲乙"),
        ("**Name:****Mary**", "Name:Mary"),
        ("**bold***italic*", "bolditalic"),
        ("***all** of it*", "all of it"),
        ("*some **of it***", "some of it"),
        ("****nested****", "nested"),
        ("re*con*sider", "reconsider"),
        ("*con*sider", "consider"),
        ("con*sider*", "consider"),
        ("**Q:**What is it? **A:**A mill.", "Q:What is it? A:A mill."),
        ('He said **"no"**twice', 'He said "no"twice'),
        ("**(a)**the first", "(a)the first"),
        ("**5%**of all", "5%of all"),
        ("**a*b**", "a*b"),
        ("**foo*", "*foo"),
        ("*foo**", "foo*"),
        ("**Total***", "Total*"),
        ("_(draft)_ 1", "(draft) 1"),
        ("__init__", "init"),
        ("**Мир**овой", "Мировой"),
        ("**كلمة**و", "كلمةو"),
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
        "Name: ________ Date: ____",
        "Card ****1234, ****5678",
        "x*y + y*z",
        "10*20*30 mm",
        "f(*args, **kwargs)",
        "*(see note",
        "*(*foo)",
        "1 * 2 * 3",
        "* item one\n* item two",
        "a** b**c",
        "5*, 6* and 7*",
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
