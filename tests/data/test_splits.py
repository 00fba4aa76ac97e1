"""Training and validation pages: by document, deterministic, and not moved by other pages."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.data.splits import amount_of, document_of, shared_text, split_pages
from ocr_rl.types import Page


def page(name, text="x", **metadata):
    return Page(name, open_image=lambda: None, text=text, metadata=metadata)


def pages_of(sizes):
    """A page list with `sizes[doc]` pages of each document."""
    return [page(f"{doc}-{n}.png", doc=doc) for doc, size in sizes.items() for n in range(size)]


COLLECTIONS = st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 5), min_size=2).map(pages_of)
FRACTIONS = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 99)


@given(COLLECTIONS, FRACTIONS | st.integers(1, 20), SEEDS)
def test_no_document_is_on_both_sides_and_no_page_is_lost(pages, validation, seed):
    train, held = split_pages(pages, validation, seed)
    assert train
    assert held
    assert {document_of(p) for p in train}.isdisjoint(document_of(p) for p in held)
    assert [p for p in pages if p in train or p in held] == pages
    assert len(train) + len(held) == len(pages)


@given(COLLECTIONS, FRACTIONS, SEEDS, st.randoms())
def test_the_order_of_the_pages_does_not_matter(pages, validation, seed, random):
    shuffled = random.sample(pages, len(pages))
    _, held = split_pages(pages, validation, seed)
    _, again = split_pages(shuffled, validation, seed)
    assert {p.id for p in held} == {p.id for p in again}


@given(COLLECTIONS, COLLECTIONS, FRACTIONS)
def test_more_pages_move_no_page_to_the_other_side(pages, others, validation):
    """Forty more documents see to it that no side would be empty, where small collections differ."""
    padding = pages_of({f"padding {n}": 1 for n in range(400)})
    more = [page(f"more/{p.id}", doc=p.metadata["doc"]) for p in others]
    train, held = split_pages(pages + padding, validation, 0)
    train_more, held_more = split_pages(pages + padding + more, validation, 0)
    assert {p.id for p in train} <= {p.id for p in train_more}
    assert {p.id for p in held} <= {p.id for p in held_more}


def test_a_split_is_the_same_on_every_machine():
    """The pages n of 0 to 19 for which sha256("0:n.png") begins below 0x33 = 0.2 * 256."""
    pages = [page(f"{n}.png") for n in range(20)]
    held = [n for n in range(20) if sha256(f"0:{n}.png".encode()).digest()[0] < 0x33]
    assert held == [4, 11, 14, 19]
    assert split_pages(pages, 0.2, 0)[1] == [pages[n] for n in held]
    assert split_pages(pages, 0.2, 1)[1] != [pages[n] for n in held]


def test_a_fraction_is_met_on_average():
    pages = [page(f"{n}.png") for n in range(10_000)]
    assert len(split_pages(pages, 0.1, 0)[1]) == pytest.approx(1000, rel=0.1)


def test_a_whole_number_holds_out_as_many_pages_and_the_rest_of_the_last_document():
    _, held = split_pages(pages_of(dict.fromkeys("abcdefgh", 3)), 7, 0)
    assert len(held) == 9


def test_of_two_documents_each_side_gets_one():
    for seed in range(20):
        train, held = split_pages(pages_of({"a": 9, "b": 1}), 0.01, seed)
        assert {len(train), len(held)} == {1, 9}


def test_one_document_cannot_be_split():
    with pytest.raises(ValueError, match="cannot split 3 pages of one document; name each page's document in `doc`"):
        split_pages(pages_of({"a": 3}), 0.5, 0)


@pytest.mark.parametrize("validation", [1.0, 1.5, -0.1, -1])
def test_a_share_of_everything_or_less_than_nothing_is_refused(validation):
    with pytest.raises(ValueError, match=r"give a fraction below 1\.0, or a whole number of pages"):
        split_pages(pages_of({"a": 1, "b": 1}), validation, 0)


def test_zero_validates_nothing():
    pages = pages_of({"a": 3})
    assert split_pages(pages, 0, 0) == (pages, [])


def test_a_document_is_the_doc_else_the_pdf_else_the_page():
    assert document_of(page("a/line_1.png", doc="letter 7")) == "letter 7"
    assert document_of(page("a/book.pdf#12")) == "a/book.pdf"
    assert document_of(page("a/BOOK.PDF#12")) == "a/BOOK.PDF"
    assert document_of(page("a/scan#12.png", doc="")) == "a/scan#12.png"
    assert document_of(page("hash#12")) == "hash#12"


def test_pages_of_one_pdf_stay_together():
    pages = [page(f"{book}.pdf#{n}") for book in "abcdef" for n in range(1, 4)]
    _, held = split_pages(pages, 0.3, 0)
    assert len(held) % 3 == 0


def test_a_split_that_every_page_states_is_respected():
    pages = [page(str(n), doc="one", split=name) for n, name in enumerate(["train", "val", "train", "test"])]
    train, held = split_pages(pages, 0.9, 0)
    assert [p.id for p in train] == ["0", "2"]
    assert [p.id for p in held] == ["1", "3"]


def test_pages_that_all_say_train_are_split_anyway():
    pages = [page(str(n), split="train") for n in range(10)]
    train, held = split_pages(pages, 2, 0)
    assert (len(train), len(held)) == (8, 2)


@pytest.mark.parametrize("name", [None, "holdout"])
def test_a_split_that_some_pages_do_not_state_is_an_error(name):
    stated = {"a": "train", "b": "validation", "c": name}
    pages = [page(doc, **({"split": name} if name else {})) for doc, name in stated.items()]
    with pytest.raises(ValueError, match=r'page c: "split" is .* write one of train, validation'):
        split_pages(pages, 0.5, 0)


def test_shared_text_ignores_white_space_and_composition_but_not_letters():
    train = [page("t1", "Re\u0301ponse  du\nroi"), page("t2", "Alone"), page("t3", "")]
    held = [page("v1", "R\u00e9ponse du roi "), page("v2", "alone"), page("v3", None), page("v4", "  ")]
    assert shared_text(train, held) == [("R\u00e9ponse du roi", ["t1"], ["v1"])]


def test_an_amount_is_a_part_of_a_larger_one_and_keeps_the_order():
    pages = [page(f"p{i}") for i in range(20)]
    small, large = amount_of(pages, 5), amount_of(pages, 12)
    assert (len(small), len(large)) == (5, 12)
    assert {one.id for one in small} < {one.id for one in large}
    assert [one for one in pages if one in large] == large
    assert amount_of(pages, 0) == pages
    assert amount_of(pages[::-1], 5) == small[::-1]
    with pytest.raises(ValueError, match=r"data\.amount is 21, but there are 20 pages to train on"):
        amount_of(pages, 21)
