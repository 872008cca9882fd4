"""A gallery: an index with the images that were added to it since, open for queries.

A query is read (`Gallery.read`), embedded and searched for, perhaps together with others
(`nearest`), compared with its neighbours by pixels (`answer`), and judged (`Answer.verdict`). The
answer does not depend on the other queries.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import checksum
from atlas.core.errors import ProvenanceError, Stage, UserError
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from atlas.dataset.image_keys import keys_of
from atlas.dataset.images import ImageProblem
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.queries import AtlasFiles
from atlas.dataset.spec import SPEC_FILE, has_spec, read_spec
from atlas.dataset.verdicts import (
    NOTHING_JUDGED,
    Judged,
    Verdicts,
    read_verdicts,
    verdicts_beside,
)
from atlas.workflows.embed.open_index import Files, OpenIndex, read_image, read_query
from atlas.workflows.embed.verdicts import Compared, Judge, QueryVerdict, judge_beside
from index.added_images import AddedImage, AddedImages, added_beside, read_added
from index.copies.false_alarms import ASSUMED_LAW
from index.copies.registration import Registration, register
from index.index_folder import IndexFolder, load_index
from index.search.joined import JoinedIndex
from index.search.vector_index import build_index
from index.siblings.features import IdentityFeatures, KnownIdentities, gather_features
from retrieval.embedding import about, embed_images


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A neighbour of a query, with its pixels, C x H x W."""

    id: str
    similarity: float
    field: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A query and its hits, best first; `files` are those of the query."""

    name: str
    field: NDArray[np.uint8]
    vectors: EmbeddingSet
    hits: list[Hit]
    files: Files


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the comparison of a query with its hits has shown.

    Attributes:
        compared: The hits, in their order.
        registrations: How the query lies over each of them.
        verdict: What is known of the query.
        labels: The labels that follow: those of the images in the verdict. None if there are none,
            or if these images have different labels.
    """

    compared: tuple[Compared, ...]
    registrations: tuple[Registration, ...]
    verdict: QueryVerdict
    labels: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The known images, and what is needed to compare queries with them.

    Attributes:
        opened: The index.
        added: The images that were added since it was built.
        judge: The thresholds of claims.
        verdicts: What people have said about pairs of images.
    """

    opened: OpenIndex
    added: AddedImages
    judge: Judge = field(default_factory=Judge)
    verdicts: Verdicts = field(default_factory=Verdicts)

    @property
    def index(self) -> IndexFolder:
        """The index without the images that were added."""
        return self.opened.index

    def __len__(self) -> int:
        return len(self.index.ids) + len(self.added.by_id)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.added.by_id or image_id in self.opened.identities

    def labels_of(self, image_id: str) -> tuple[int, ...]:
        """Return the labels of a known image."""
        added = self.added.by_id.get(image_id)
        return added.labels if added else self.index.labels[image_id]

    def identity_of(self, image_id: str) -> str:
        """Return the identity of a known image; "" if it has none, or if no other image has it."""
        name = self._own_identity(image_id)
        return name if name and self._identity_count(name) > 1 else ""

    @cached_property
    def files(self) -> AtlasFiles:
        """The files of the atlas and of the images that were added."""
        return replace(self.opened.files, added=self.added.files_of)

    def read(self, files: Files) -> NDArray[np.uint8]:
        """Read an image whose headers nobody has checked yet, C x size x size.

        Raises:
            ImageProblem: The atlas would refuse the image, or it cannot be read.
        """
        return read_query(files, self.index.spec, self.index.image_size_px)

    def embedded(self, names: Sequence[str], fields: Sequence[NDArray[np.uint8]]) -> EmbeddingSet:
        """Return the vectors of images, which are those that the index would have of them."""
        embedder = self.opened.embedder
        return EmbeddingSet(
            ids=tuple(names),
            vectors_ND=embed_images(embedder, np.stack(fields)),
            provenance=about(embedder),
        )

    def nearest(self, vectors: EmbeddingSet, k: int) -> Neighbours:
        """Return the k most similar known images of each vector, never its own id."""
        return self._search.search(vectors, k)

    def answer(
        self, query: EmbeddingSet, field: NDArray[np.uint8], files: Files, found: Neighbours
    ) -> Answer:
        """Return a query with the pixels of its neighbours.

        Args:
            query: The vector of the query.
            field: The pixels of the query, C x size x size.
            files: The files of the query.
            found: The neighbours of the query, in its first row.

        Raises:
            UserError: The files of a known image cannot be read.
            ProvenanceError: They have changed since the index was built.
        """
        pairs = zip(found.reference_ids_NK[0], found.similarity_NK[0], strict=True)
        hits = [
            Hit(id=str(match), similarity=float(cosine), field=self._reference(str(match)))
            for match, cosine in pairs
            if match
        ]
        return Answer(name=query.ids[0], field=field, vectors=query, hits=hits, files=files)

    def judged(self, answers: Sequence[Answer]) -> Judged:
        """Return what people have said about queries and their hits."""
        if not self.verdicts.verdicts:
            return NOTHING_JUDGED
        files_of = {hit.id: self.files.query(hit.id).files for one in answers for hit in one.hits}
        files_of |= {answer.name: answer.files for answer in answers}
        rows = tuple(
            ImageRow(id=i, split="test", files=files, width_px=0, height_px=0)
            for i, files in files_of.items()
        )
        images = Manifest(spec=self.index.spec, rows=rows)
        return self.verdicts.judged(keys_of(images, cache_folder(self.index.folder), keep=False))

    def judgement(self, answer: Answer, judged: Judged) -> Judgement:
        """Register a query with its hits, and say what is known of it."""
        judge = self.judge
        found = register(
            answer.field, [hit.field for hit in answer.hits], judge.registration,
            judge.law or ASSUMED_LAW,
        )  # fmt: skip
        compared = tuple(
            Compared(
                id=hit.id,
                similarity=hit.similarity,
                score=registration.score,
                same_pixels=self._same_pixels(answer, hit),
                identity=self.identity_of(hit.id),
            )
            for hit, registration in zip(answer.hits, found, strict=True)
        )
        verdict = judge.verdict(
            compared,
            lambda: self._features(answer, compared),
            {hit.id: judged.of(answer.name, hit.id) for hit in answer.hits},
        )
        proposed = {self.labels_of(image_id) for image_id in verdict.matches}
        return Judgement(
            compared=compared,
            registrations=tuple(found),
            verdict=verdict,
            labels=proposed.pop() if len(proposed) == 1 else None,
        )

    @cached_property
    def _search(self) -> JoinedIndex:
        if not self.added.by_id:
            return JoinedIndex(parts=(self.opened.search,))
        later = build_index(self.added.embeddings(self.index.provenance))
        return JoinedIndex(parts=(self.opened.search, later))

    @cached_property
    def _known(self) -> KnownIdentities:
        """The known images that have an identity."""
        embeddings = self.index.embeddings
        if not self.added.by_id:
            return KnownIdentities.of(embeddings, self.index.identities)
        later = self.added.embeddings(embeddings.provenance)
        embeddings = EmbeddingSet(
            ids=(*embeddings.ids, *later.ids),
            vectors_ND=np.concatenate([embeddings.vectors_ND, later.vectors_ND]),
            provenance=embeddings.provenance,
        )
        return KnownIdentities.of(embeddings, {i: self.identity_of(i) for i in embeddings.ids})

    @cached_property
    def _added_identities(self) -> Counter[str]:
        return Counter(image.identity for image in self.added.by_id.values())

    def _own_identity(self, image_id: str) -> str:
        added = self.added.by_id.get(image_id)
        return added.identity if added else self.opened.identities[image_id]

    def _identity_count(self, name: str) -> int:
        return self.opened.identity_counts[name] + self._added_identities[name]

    def _reference(self, image_id: str) -> NDArray[np.uint8]:
        index, files = self.index, self.files.query(image_id).files
        try:
            field = read_image(files, index.spec, index.image_size_px)
        except ImageProblem as problem:
            raise UserError(str(problem)) from problem
        added = self.added.by_id.get(image_id)
        if added is None:
            index.require_pixels({image_id: checksum(field)})
        elif checksum(field) != added.pixels:
            raise ProvenanceError(f"the files of {image_id} in {self.added.folder} have changed")
        return field

    def _features(self, answer: Answer, compared: Sequence[Compared]) -> IdentityFeatures:
        """Return the features of a query and the identities that it resembles."""
        ids = np.array([[one.id for one in compared]], dtype=object)
        similarity = np.array([[one.similarity for one in compared]], np.float32)
        candidates = Neighbours(
            query_ids=(answer.name,), reference_ids_NK=ids, similarity_NK=similarity
        )
        scores = np.array([[one.score for one in compared]])
        return gather_features(self._known, answer.vectors, candidates, scores)

    def _same_pixels(self, answer: Answer, hit: Hit) -> bool:
        """Return whether the files agree in every pixel at their own size."""
        if not np.array_equal(answer.field, hit.field):
            return False
        spec, files = self.index.spec, self.files.query(hit.id).files
        return np.array_equal(read_image(answer.files, spec), read_image(files, spec))


def open_gallery(index_folder: Path, data: Path | None = None) -> Gallery:
    """Open an index, the images that were added to it, and the thresholds and verdicts beside it.

    Args:
        index_folder: The folder of the index.
        data: Where the atlas lies now; None for where it lay when the index was made.

    Raises:
        MissingStageError: There is no index.
        UserError: The atlas is not there, or a file is damaged.
        ProvenanceError: The description of the atlas has changed.
    """
    index = load_index(index_folder)
    if data is not None:
        index = replace(index, data=data)
    if not index.data.is_dir():
        raise UserError(f"the atlas is no longer at {index.data}; give its folder with --data")
    if has_spec(index.data) and read_spec(index.data) != index.spec:
        raise ProvenanceError(
            f"{index.data / SPEC_FILE} has changed since {index_folder} was built; run "
            f"{Stage.INDEX.command} again"
        )
    opened = OpenIndex(index=index)
    gallery = Gallery(
        opened=opened,
        added=read_added(added_beside(index_folder)),
        judge=judge_beside(index_folder, opened.embedder.maker),
        verdicts=read_verdicts(verdicts_beside(index_folder)),
    )
    return _brought_up_to_date(gallery)


def _brought_up_to_date(gallery: Gallery) -> Gallery:
    """Leave out added images that the index has by now, and embed those of another embedder."""
    added, maker = gallery.added, gallery.opened.embedder.maker
    known = {i: one for i, one in added.by_id.items() if i not in gallery.opened.identities}
    for image_id, image in known.items():
        if image.embedder != maker:
            known[image_id] = embedded_again(gallery, image)
    return replace(gallery, added=replace(added, by_id=known))


def embedded_again(gallery: Gallery, image: AddedImage) -> AddedImage:
    """Return an added image as the embedder of the gallery sees it.

    Raises:
        UserError: Its files cannot be read.
    """
    try:
        field = gallery.read(image.files_in(gallery.added.folder))
    except ImageProblem as problem:
        raise UserError(f"{gallery.added.folder}: {problem}") from problem
    vector_D = gallery.embedded([image.id], [field]).vectors_ND[0]
    maker = gallery.opened.embedder.maker
    return replace(image, vector_D=vector_D, pixels=checksum(field), embedder=maker)


def plain_gallery(index: IndexFolder) -> Gallery:
    """Return the gallery of an open index alone, without added images and thresholds."""
    nothing: Mapping[str, AddedImage] = {}
    added = AddedImages(folder=added_beside(index.folder), by_id=nothing)
    return Gallery(opened=OpenIndex(index=index), added=added)
