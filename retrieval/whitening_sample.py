"""The images that an embedder without training is whitened on. Nothing here imports torch."""

from collections import defaultdict
from itertools import islice, zip_longest

from atlas.core.files import content_hash
from atlas.dataset.manifest import Manifest

MOST_IMAGES = 1000
MANY_IDENTITIES = 100  # so many that half of them show how images vary


def whitening_sample(references: Manifest) -> tuple[str, ...]:
    """Return the images that an embedder is whitened on, at most MOST_IMAGES.

    They show half of the identities, so that the whitening knows nothing of the others, and each of
    them about equally often. Few identities are all needed.
    """
    if len(references.ids) <= MOST_IMAGES:
        return references.ids
    images_of: defaultdict[str, list[str]] = defaultdict(list)
    for row in sorted(references.rows, key=lambda row: content_hash(row.id)):
        images_of[row.identity or row.id].append(row.id)
    names = sorted(images_of, key=content_hash)
    if len(names) >= MANY_IDENTITIES:
        names = names[: len(names) // 2]
    first_of_each = zip_longest(*(images_of[name] for name in names))
    ordered = (i for images in first_of_each for i in images if i is not None)
    return tuple(islice(ordered, MOST_IMAGES))
