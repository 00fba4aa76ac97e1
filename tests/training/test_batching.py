"""The order of pages."""

from ocr_rl.training.batching import epochs


def test_an_epoch_visits_every_page_once_and_batches_span_epochs():
    batches = epochs(range(5), 3, seed=0)
    drawn = [item for _ in range(5) for item in next(batches)]
    assert [sorted(drawn[i : i + 5]) for i in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert drawn[:5] != drawn[5:10] or drawn[5:10] != drawn[10:]


def test_the_order_of_pages_follows_the_seed():
    first, again, other = (next(epochs(range(50), 50, seed)) for seed in (1, 1, 2))
    assert first == again != other
