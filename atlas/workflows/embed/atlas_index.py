"""An index opened beside the atlas that it was made from."""

from pathlib import Path

from atlas.core.errors import ProvenanceError, Stage
from atlas.dataset.manifest import Manifest, read_manifest
from index.index_folder import IndexFolder, load_index


def open_atlas_index(data: Path, index_folder: Path) -> tuple[Manifest, IndexFolder]:
    """Raises ProvenanceError where the labelled tables are not those that the index holds."""
    index = load_index(index_folder)
    manifest = read_manifest(data)
    if manifest.labelled.table_hash != index.table_hash:
        raise ProvenanceError(
            "the index was not made from this data, or its labelled images, labels or groups have "
            f"changed since: run  {Stage.INDEX.command}  with the same --data"
        )
    return manifest, index
