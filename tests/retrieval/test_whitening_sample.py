from types import SimpleNamespace

import pytest

from retrieval.whitening_sample import MOST_IMAGES, whitening_sample


def references(identities: int, fields: int, *, named: bool = True):
    """Labelled images, whose ids read `identity.field`."""
    rows = [
        SimpleNamespace(id=f"{n}.{m}", identity=str(n) if named else None)
        for n in range(identities)
        for m in range(fields)
    ]
    return SimpleNamespace(rows=rows, ids=tuple(row.id for row in rows))


def test_few_images_are_all_used():
    assert whitening_sample(references(100, 10)) == references(100, 10).ids


@pytest.mark.parametrize(("identities", "fields"), [(120, 50), (1100, 1), (400, 9)])
def test_half_of_the_identities_are_left_alone_and_the_others_are_even(identities, fields):
    sample = whitening_sample(references(identities, fields))
    shown = [i.split(".")[0] for i in sample]
    counts = [shown.count(name) for name in set(shown)]
    assert len(counts) <= identities // 2
    assert max(counts) - min(counts) <= 1
    assert len(sample) == min(MOST_IMAGES, identities // 2 * fields)
    assert len(set(sample)) == len(sample)


def test_few_identities_are_all_used():
    sample = whitening_sample(references(5, 2000))
    assert {i.split(".")[0] for i in sample} == set("01234")
    assert len(sample) == MOST_IMAGES


def test_images_without_an_identity_count_each_for_itself():
    sample = whitening_sample(references(3, 1000, named=False))
    assert len(sample) == MOST_IMAGES
