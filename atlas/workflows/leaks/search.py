"""The search for known images: embed queries, propose candidates and compare them by pixels.

Axes: N queries, K candidates, M references, T flips and rotations, C channels, B bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import ProvenanceError, Stage, UserError
from atlas.core.result_files import was_written
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore, fill_store
from index.copies.candidates import Candidates, with_proposed
from index.copies.false_alarms import NonMatches
from index.copies.hash_choice import choose_hash
from index.copies.hashes import BYTES, HashIndex, hash_images
from index.copies.images import Images
from index.copies.kept_votes import kept_votes
from index.copies.keypoint_index import VOTED, KeypointIndex
from index.copies.sketches import kept_sketches
from index.copies.trials import sample_ids
from index.copies.verification import Registrations, examine, measure_non_matches
from index.index_folder import EMBEDDER_FOLDER, INDEX_FILE, IndexFolder, load_index
from index.search.open_search import Search, exact_search, kept_neighbours, open_search
from index.settings import RULE_2018_BITS, HashKind, LeakSettings, RegistrationSettings
from retrieval.embedding import Embeds, embed_rows, load_for_queries

LAW_IMAGES = 400  # labelled images whose candidates show how non-matches agree


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The images that candidates are taken from.

    Attributes:
        search: The search of their vectors.
        further: The search of their vectors by each further embedder.
        hashes: Their hashes, or None if hashes propose no candidates.
        keypoints: Their keypoints, or None if keypoints propose no candidates.
    """

    search: Search
    further: tuple[Search, ...]
    hashes: HashIndex | None
    keypoints: KeypointIndex | None


@dataclass(frozen=True, kw_only=True)
class FurtherIndex:
    """An index of the same images whose embedder proposes candidates, too."""

    index: IndexFolder
    embedder: Embeds


@dataclass(frozen=True, kw_only=True)
class LeakSearch:
    """An index, its embedder and the atlas's images; long work is kept below `work`."""

    index: IndexFolder
    embedder: Embeds
    store: ImageStore
    work: Path
    settings: LeakSettings
    registration: RegistrationSettings
    further: tuple[FurtherIndex, ...] = ()
    measured_law: NonMatches | None = None

    def stored(self, what: str) -> Images:
        """Return the atlas's images, under a name for progress bars."""
        return Images(what=what, source=self.store)

    def embedded(
        self, ids: Sequence[str], images: Images, *, by: Embeds | None = None
    ) -> EmbeddingSet:
        """Return the vectors of images, by the embedder of the index unless another is given."""
        return embed_rows(
            by or self.embedder,
            images,
            ids,
            folder=self.work / "embeddings",
            description=f"embedding {images.what}",
        )

    @property
    def further_makers(self) -> tuple[str, ...]:
        """The fingerprints of the embedders of the further indexes."""
        return tuple(further.embedder.maker for further in self.further)

    @cached_property
    def gallery(self) -> Gallery:
        """The labelled images of the index."""
        further = tuple(open_search(other.index) for other in self.further)
        return self._gallery(open_search(self.index), further)

    def gallery_of(self, embeddings: EmbeddingSet) -> Gallery:
        """Return a gallery of stored images that are not in the index."""
        ids, images = embeddings.ids, self.stored("references")
        further = tuple(
            exact_search(self.embedded(ids, images, by=other.embedder)) for other in self.further
        )
        return self._gallery(exact_search(embeddings), further)

    def candidates(
        self,
        queries: EmbeddingSet,
        images: Images,
        *,
        among: Gallery | None = None,
        more: int = 0,
    ) -> Candidates:
        """Return the candidates of the embedders, of the hashes and of the keypoints.

        Args:
            queries: The vectors of the queries.
            images: The pixels of the queries.
            among: The gallery; by default the index.
            more: How many candidates each of them proposes beyond those of the settings.
        """
        gallery, settings = among or self.gallery, self.settings
        neighbours = settings.neighbours + more
        found = kept_neighbours(
            gallery.search, queries, neighbours, folder=self.work / "neighbours"
        )
        known = gallery.search.known
        for other, search in zip(self.further, gallery.further, strict=True):
            vectors = self.embedded(queries.ids, images, by=other.embedder)
            near = kept_neighbours(search, vectors, neighbours, folder=self.work / "neighbours")
            # The gallery may be a part of the further index.
            in_gallery_NK = np.isin(near.reference_ids_NK.astype(str), list(known.ids))
            proposed_NK = np.where(in_gallery_NK, near.reference_ids_NK, "")
            found = with_proposed(found, proposed_NK, queries, known)
        if gallery.hashes is not None and settings.hash_kind is not None:
            hashed_NK = gallery.hashes.nearest(
                queries.ids,
                self._hashes(queries.ids, images, settings.hash_kind),
                settings.hash_candidates + more,
                limits_C=self._limits(),
            )
            found = with_proposed(found, hashed_NK, queries, known)
        voted_NV = None
        if gallery.keypoints is not None:
            count = settings.keypoint_candidates + more
            most = max(VOTED, count)
            voted_NV = kept_votes(
                gallery.keypoints, queries.ids, images, most, folder=self.registered
            )
            voted_NK = voted_NV[:, :count]
            found = with_proposed(found, voted_NK, queries, known)
        return Candidates.of(found, voted_NV)

    @cached_property
    def law(self) -> NonMatches:
        """How images of this atlas agree that are no copies, measured on labelled images."""
        if self.measured_law is not None:
            return self.measured_law
        sample = sample_ids(self.index.ids, count=LAW_IMAGES, seed=self.settings.seed)
        images = self.stored("images")
        found = self.candidates(self.index.embeddings.aligned_to(sample), images)
        others = replace(
            found, reference_ids_NK=np.where(self.equal(found), "", found.reference_ids_NK)
        )
        return measure_non_matches(others, images, self.registration, folder=self.registered)

    def registrations(self, found: Candidates, images: Images) -> Registrations:
        """Return the registration of each query with each candidate.

        Args:
            found: The candidates.
            images: The pixels of the queries.
        """
        return examine(
            found, images, self.stored("references"), self.registration, self.law,
            channels=len(self.index.spec.channels), folder=self.registered,
        )  # fmt: skip

    @property
    def hashed(self) -> Path:
        """The folder in which hashes are kept."""
        return self.work / "hashes"

    @property
    def registered(self) -> Path:
        """The folder in which registrations are kept."""
        return self.work / "registrations"

    def equal(self, found: Neighbours) -> NDArray[np.bool_]:
        """Return whether the stored pixels of each query and candidate are equal, N x K."""
        keys = dict(zip(self.store.ids, self.store.keys(self.store.ids), strict=True))
        queries_N = np.array([keys[i] for i in found.query_ids], dtype=object)
        candidates_NK = np.vectorize(lambda i: keys.get(i, ""), otypes=[object])(
            found.reference_ids_NK
        )
        return np.asarray(candidates_NK == queries_N[:, None], bool)

    def _gallery(self, search: Search, further: tuple[Search, ...]) -> Gallery:
        settings, ids, images = self.settings, search.known.ids, self.stored("references")
        hashes = keypoints = None
        if settings.hash_kind is not None:
            codes_MTCB = self._hashes(ids, images, settings.hash_kind)
            hashes = HashIndex(ids=ids, upright_MCB=codes_MTCB[:, 0])
        if settings.keypoint_candidates:
            sketches = kept_sketches(images, ids, self.registered)
            keypoints = KeypointIndex(ids=ids, sketches=sketches)
        return Gallery(search=search, further=further, hashes=hashes, keypoints=keypoints)

    def _hashes(self, ids: Sequence[str], images: Images, kind: HashKind) -> NDArray[np.uint8]:
        return hash_images(ids, images, kind, folder=self.hashed)

    def _limits(self) -> NDArray[np.int64] | None:
        """Return the most bits by which the hash of each channel may differ, or None."""
        if self.settings.hashes != "rule_2018":
            return None
        channels = self.index.spec.channels
        if missing := sorted(set(RULE_2018_BITS) - set(channels)):
            raise UserError(
                f"--hashes rule_2018 needs the channels {', '.join(sorted(RULE_2018_BITS))}; this "
                f"atlas has no {', '.join(missing)}"
            )
        return np.array([RULE_2018_BITS.get(name, 8 * BYTES) for name in channels])


def open_leak_search(
    manifest: Manifest,
    index: IndexFolder,
    work: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
) -> LeakSearch:
    """Open the embedder of an index and decode the atlas's images, which are kept below `work`.

    Raises:
        ProvenanceError: Labelled images have changed since an index was built, or a further index
            has images of another size.
    """
    further = open_further(settings.further_indexes, index)
    store = fill_store(manifest, work, size_px=index.image_size_px)
    for each in (index, *further):
        each.require_pixels_of(store)
    search = LeakSearch(
        index=index,
        embedder=load_for_queries(index.folder / EMBEDDER_FOLDER),
        store=store,
        work=work,
        settings=settings,
        registration=registration,
        further=tuple(
            FurtherIndex(index=other, embedder=load_for_queries(other.folder / EMBEDDER_FOLDER))
            for other in further
        ),
    )
    return _with_hash(search) if settings.hashes == "auto" else search


def _with_hash(search: LeakSearch) -> LeakSearch:
    """Return the search with the hash that suits the labelled images best."""
    kind = choose_hash(
        search.index.ids,
        search.stored("sources"),
        channels=len(search.index.spec.channels),
        seed=search.settings.seed,
        folder=search.hashed,
    )
    return replace(search, settings=replace(search.settings, hashes=kind))


def open_further(folders: Sequence[str], index: IndexFolder) -> list[IndexFolder]:
    """Open further indexes of the images of an index.

    Raises:
        UserError: One is missing or named twice, or is the index itself.
        ProvenanceError: One was built from other data, or from images of another size.
    """
    opened: dict[Path, IndexFolder] = {index.folder.resolve(): index}
    for name in folders:
        folder = Path(name)
        if folder.resolve() in opened:
            raise UserError(f"--further-indexes {name}: this index proposes candidates already")
        opened[folder.resolve()] = _of_same_images(load_further(folder), index)
    return list(opened.values())[1:]


def load_further(folder: Path) -> IndexFolder:
    """Open a further index.

    Raises:
        UserError: There is none.
    """
    if not was_written(folder / INDEX_FILE):
        raise UserError(
            f"there is no index in {folder}, which --further-indexes names; {_to_build(folder)}"
        )
    return load_index(folder)


def _of_same_images(other: IndexFolder, index: IndexFolder) -> IndexFolder:
    if other.table_hash != index.table_hash:
        raise ProvenanceError(
            f"{other.folder} was not built from the same data as {index.folder}; "
            f"{_to_build(other.folder)}"
        )
    if other.image_size_px != index.image_size_px:
        raise ProvenanceError(
            f"{other.folder} has images of {other.image_size_px} px, but {index.folder} of "
            f"{index.image_size_px} px; train or build one of them with --image-size-px of the "
            "other"
        )
    return other


def _to_build(folder: Path) -> str:
    return (
        f"build it with  {Stage.INDEX.command} --embedder EMBEDDER --out {folder}  and the --data "
        "of the first index"
    )
