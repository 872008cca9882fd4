"""The measurements behind the cuts: an index asked for what is known of its own atlas."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore, fill_store
from index.copies.calibration import (
    SameImageCalibration,
    SiblingCalibration,
    calibrate_same_image,
    calibrate_sibling,
    no_siblings,
)
from index.copies.hashes import BYTES, HashIndex, hash_images, with_hashed
from index.copies.trials import (
    edit_of,
    one_of_each,
    plant_copies,
    sample_ids,
    sibling_trials,
    sources_only,
)
from index.copies.verification import Images, examine
from index.index_folder import EMBEDDER_FOLDER, IndexFolder
from index.search.chosen import Search, exact_search, search_of
from index.search.kept_neighbours import kept_neighbours
from index.settings import (
    RULE_2018_BITS,
    HashKind,
    LeakSettings,
    RegistrationSettings,
)
from retrieval.embedder import Embedder
from retrieval.embedder_files import load_embedder
from retrieval.embedding import embed_rows


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What is asked for candidates; hashes: None where none are asked."""

    search: Search
    hashes: HashIndex | None


@dataclass(frozen=True, kw_only=True)
class LeakBench:
    """The index, its embedder and the images; long work is kept below `work`."""

    index: IndexFolder
    embedder: Embedder
    store: ImageStore
    work: Path
    settings: LeakSettings
    registration: RegistrationSettings

    def stored(self, what: str) -> Images:
        return Images(what=what, read=self.store.read, keys=self.store.keys)

    def embedded(self, ids: Sequence[str], images: Images) -> EmbeddingSet:
        return embed_rows(
            self.embedder,
            images.read,
            ids,
            keys=images.keys(ids),
            folder=self.work / "embeddings",
            description=f"embedding {images.what}",
        )

    @cached_property
    def gallery(self) -> Gallery:
        """The labelled images of the index."""
        return self._gallery(search_of(self.index))

    def gallery_of(self, embeddings: EmbeddingSet) -> Gallery:
        """Of stored images other than those of the index."""
        return self._gallery(exact_search(embeddings))

    def candidates(
        self, queries: EmbeddingSet, images: Images, *, among: Gallery | None = None
    ) -> Neighbours:
        """What the embedder and the hashes propose; the queries are read from `images`.

        among: the index's own gallery where it is None.
        """
        gallery = among or self.gallery
        found = kept_neighbours(
            gallery.search, queries, self.settings.neighbours, folder=self.work / "neighbours"
        )
        kind = self.settings.hash_kind
        if kind is None or gallery.hashes is None:
            return found
        hashed_NK = gallery.hashes.nearest(
            queries.ids,
            self._hashes(kind, queries.ids, images),
            self.settings.hash_candidates,
            limits_C=self._limits(),
        )
        return with_hashed(found, hashed_NK, queries, gallery.search.known)

    def _gallery(self, search: Search) -> Gallery:
        embeddings = search.known
        kind, hashes = self.settings.hash_kind, None
        if kind is not None:
            codes_MTCB = self._hashes(kind, embeddings.ids, self.stored("references"))
            hashes = HashIndex(ids=embeddings.ids, upright_MCB=codes_MTCB[:, 0])
        return Gallery(search=search, hashes=hashes)

    def _hashes(self, kind: HashKind, ids: Sequence[str], images: Images) -> NDArray[np.uint8]:
        return hash_images(ids, images, kind, folder=self.work / "hashes")

    def _limits(self) -> NDArray[np.int64] | None:
        if self.settings.hashes != "rule_2018":
            return None
        channels = self.index.spec.channels
        if missing := sorted(set(RULE_2018_BITS) - set(channels)):
            raise UserError(f"--hashes rule_2018: this atlas has no channel {', '.join(missing)}")
        return np.array([RULE_2018_BITS.get(name, 8 * BYTES) for name in channels])

    def evidence(self, found: Neighbours, images: Images) -> NDArray[np.float32]:
        """Of each query's candidates; the queries are read from `images`."""
        return examine(
            found, images, self.stored("references"), self.registration,
            folder=self.work / "evidence",
        )  # fmt: skip


def open_bench(
    manifest: Manifest,
    index: IndexFolder,
    work: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
) -> LeakBench:
    """Images are decoded below `work`."""
    return LeakBench(
        index=index,
        embedder=load_embedder(index.folder / EMBEDDER_FOLDER),
        store=fill_store(manifest, work, size_px=index.image_size_px),
        work=work,
        settings=settings,
        registration=registration,
    )


@dataclass(frozen=True, kw_only=True)
class SameImageMeasurement:
    """calibration; recall of planted copies by edit; evidence of each sampled image's nearest
    distinct one; pairs of labelled images that reach the cut (query_id, match_id, evidence)."""

    calibration: SameImageCalibration
    planted_recall: dict[str, float]
    natural: NDArray[np.float64]
    suspected: pd.DataFrame


def measure_same_image(bench: LeakBench) -> SameImageMeasurement:
    """Plants copies of the atlas's own images, and compares its images with one another."""
    settings, ids = bench.settings, bench.index.embeddings.ids
    copies = plant_copies(
        ids,
        bench.stored("sources"),
        channels=len(bench.index.spec.channels),
        count=settings.planted_copies,
        seed=settings.seed,
    )
    images = copies.images
    found = bench.candidates(bench.embedded(copies.ids, images), images)
    planted = bench.evidence(sources_only(found), images)[:, 0].astype(float)
    sample = sample_ids(ids, count=settings.natural_queries, seed=settings.seed)
    nearest = bench.candidates(
        bench.index.embeddings.aligned_to(sample), bench.stored("labelled images")
    )
    pairs = bench.evidence(nearest, bench.stored("distinct pairs")).astype(float)
    best = pairs.max(axis=1)
    natural = best[best > -1.0]
    calibration = calibrate_same_image(planted, natural, settings)
    edits = pd.Series(planted >= calibration.cut, index=[edit_of(i) for i in copies.ids])
    recall = {str(edit): float(share) for edit, share in edits.groupby(level=0).mean().items()}
    return SameImageMeasurement(
        calibration=calibration,
        planted_recall=recall,
        natural=natural,
        suspected=_suspected(nearest, pairs, calibration.cut),
    )


def _suspected(nearest: Neighbours, pairs: NDArray[np.float64], cut: float) -> pd.DataFrame:
    """Pairs of the atlas's own images that reach the cut, each once, best first."""
    rows, columns = np.nonzero(pairs >= cut)
    ids = [
        tuple(sorted((nearest.query_ids[n], str(nearest.reference_ids_NK[n, k]))))
        for n, k in zip(rows, columns, strict=True)
    ]
    table = pd.DataFrame(ids, columns=["query_id", "match_id"])
    table["evidence"] = pairs[rows, columns]
    table = table.sort_values(["evidence", "query_id", "match_id"], ascending=[False, True, True])
    return table.drop_duplicates(["query_id", "match_id"]).reset_index(drop=True)


def measure_sibling(bench: LeakBench) -> SiblingCalibration:
    identities = bench.index.identities
    if not any(identities.values()):
        return no_siblings("no identity occurs twice")
    count, seed = bench.settings.sibling_queries, bench.settings.seed
    held_out = bench.embedder.held_out
    fields = [image_id for image_id, name in identities.items() if name]
    # An embedder that trained on none of these images, frozen or of another atlas, saw no field.
    unlearned = [i for i in held_out.held_out_ids if identities.get(i)] or fields
    # Fields of identities that trained nothing stand for new ones, where the embedder kept some.
    new = [i for i in held_out.unseen_identity_ids if identities.get(i)] or unlearned
    # Fields of one identity stand or fall together: one of each is a trial of its own.
    known, unknown = (
        sample_ids(one_of_each(ids, identities, seed=seed), count=count, seed=seed)
        for ids in (unlearned, new)
    )
    trials = sibling_trials(bench.index, known_ids=known, unknown_ids=unknown)
    return calibrate_sibling(trials, bench.settings)
