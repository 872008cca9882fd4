"""COCO: one JSON file with images, categories, and an annotation for each label of an image."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atlas.core.files import write_json
from atlas.workflows.export.content import Content, ExportedImage
from atlas.workflows.export.pictures import save_pictures

ANNOTATIONS_FILE = "annotations.json"
IMAGES_FOLDER = "images"


def save_coco(folder: Path, content: Content) -> None:
    """Write annotations.json and the folder images.

    COCO has no labels of whole images, so each label is an annotation whose box is the image. The
    number of a category is that of the label. Claims and verdicts are further keys of images, and
    the most important of them are also keys of annotations, where more tools show them.
    """
    rows = [one.row for one in content.images]
    paths = save_pictures(folder, rows, content.spec, below=lambda row: IMAGES_FOLDER)
    names = {i: Path(path).name for i, path in paths.items()}
    images = enumerate(content.images, start=1)  # some tools take the number 0 for none
    records = [(_image(n, one, names[one.row.id]), _annotations(n, one)) for n, one in images]
    annotations = (one for _, of_image in records for one in of_image)
    document = {
        "info": {"description": content.spec.name},
        "licenses": [],
        "categories": [
            {"id": label, "name": name, "supercategory": ""}
            for label, name in enumerate(content.spec.labels)
        ],
        "images": [image for image, _ in records],
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations, start=1)],
    }
    write_json(folder / ANNOTATIONS_FILE, document)


def _image(number: int, one: ExportedImage, name: str) -> dict[str, Any]:
    row = one.row
    return {
        "id": number,
        "file_name": name,
        "width": row.width_px,
        "height": row.height_px,
        "atlas_id": row.id,
        "split": row.split,
        "claim": asdict(one.claim) if one.claim else None,
        "verdicts": [{"id": i, "verdict": verdict} for i, verdict in one.verdicts.items()],
    }


def _annotations(image: int, one: ExportedImage) -> Iterator[dict[str, Any]]:
    width, height = one.row.width_px, one.row.height_px
    for label in one.labels or ():
        yield {
            "image_id": image,
            "category_id": label,
            "bbox": [0, 0, width, height],
            "area": width * height,
            "segmentation": [[0, 0, width, 0, width, height, 0, height]],
            "iscrowd": 0,
            "origin": one.origin,
            "match_id": one.claim.match_id if one.claim else "",
            "relation": one.claim.relation if one.claim else "",
            "confidence": one.claim.confidence if one.claim else None,
            "verdict": one.claim.verdict if one.claim else "",
        }
