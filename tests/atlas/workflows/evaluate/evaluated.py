"""An atlas whose relations any network can see, and networks that learned nothing, as folders."""

from pathlib import Path

import numpy as np

from atlas.training.backbones import build_backbone
from atlas.training.layers import ChannelStatistics
from atlas.training.weights import weights_hash
from classify.classifier import Classifier, save_classifier
from classify.networks.factory import build_network
from retrieval.class_vectors import ClassVectors
from retrieval.embedder import Embedder, save_embedder
from retrieval.embedder_folder import HeldOut
from retrieval.network import trained_network
from tests.classify.atlases import TINY
from tests.conftest import write_field
from tests.retrieval.made import settings

IDENTITIES, FIELDS, SIZE_PX = 8, 5, 32
TRAINED = 4  # identities; the others trained nothing
LABELS = ("even", "odd")
HELD_OUT = HeldOut(
    held_out_ids=tuple(f"field{a}_0" for a in range(TRAINED)),
    unseen_identity_ids=tuple(
        f"field{a}_{n}" for a in range(TRAINED, IDENTITIES) for n in range(FIELDS)
    ),
)
STATISTICS = ChannelStatistics(mean_C=(100.0,), std_C=(60.0,))


def write_evaluated_atlas(data: Path) -> Path:
    """Fields of one identity are one texture with noise, so its own kind is nearest to each.

    Labels are the parity of the identity. Test images: two copies of field0_1, a sibling of each
    identity, and a non_match.
    """
    data.mkdir(parents=True)
    (data / "atlas.toml").write_text(
        f'channels = ["gray"]\nfile_pattern = "{{id}}.png"\nlabels = {list(LABELS)}\n'
    )
    train = [
        f"{write_textured(data / 'train', f'field{a}_{n}', a)},{a % 2},identity{a}"
        for a in range(IDENTITIES)
        for n in range(FIELDS)
    ]
    truth = [
        f"{write_textured(data / 'test', f'sibling{a}', a)},sibling,identity{a},,{a % 2}"
        for a in range(IDENTITIES)
    ]
    write_textured(data / "test", "non_match", 99)
    truth.append("non_match,novel,,,1")
    for n in range(2):
        copy = write_textured(data / "test", f"copy{n}", 0, noise_of="field0_1")
        truth.append(f"{copy},same_image,field0_1,exact,0")
    _write(data / "train.csv", "Id,Target,Identity", train)
    _write(data / "truth.csv", "Id,relation,source,edit,Target", truth)
    asked = [f"{row.split(',')[0]},0" for row in truth]
    _write(data / "sample_submission.csv", "Id,Predicted", asked)
    return data


def write_textured(folder: Path, image_id: str, texture: int, *, noise_of: str = "") -> str:
    own = np.random.default_rng(texture).integers(0, 200, (1, 8, 8))
    noise = np.random.default_rng(sum(map(ord, noise_of or image_id)) + 1000)
    field = np.kron(own, np.ones((4, 4))) + noise.integers(0, 25, (1, SIZE_PX, SIZE_PX))
    write_field(folder, image_id, field.astype(np.uint8), ["gray"])
    return image_id


def save_random_embedder(
    folder: Path,
    held_out: HeldOut = HELD_OUT,
    *,
    seed: int = 0,
    class_vectors: ClassVectors | None = None,
) -> Path:
    """The mean over eight views of a random network hardly distinguishes textures, so take one."""
    how = settings(backbone="test_resnet", image_size_px=SIZE_PX, views=1)
    backbone = build_backbone(how.backbone, channels=1, stem=how.stem, weights="none", seed=seed)
    save_embedder(
        folder,
        Embedder(
            network=trained_network(how, STATISTICS, backbone),
            settings=how,
            channels=("gray",),
            image_size_px=SIZE_PX,
            provenance={"started_from": backbone.started_from, "class_is": "identity"},
            held_out=held_out,
            class_vectors=class_vectors,
        ),
    )
    return folder


def save_random_classifier(folder: Path) -> Path:
    network, started_from = build_network(TINY, STATISTICS, channels=("gray",), labels=len(LABELS))
    classifier = Classifier(
        network=network,
        settings=TINY,
        channels=("gray",),
        labels=LABELS,
        image_size_px=SIZE_PX,
        started_from=started_from,
        weights_hash=weights_hash(network),
    )
    save_classifier(folder, classifier)
    return folder


def _write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")
