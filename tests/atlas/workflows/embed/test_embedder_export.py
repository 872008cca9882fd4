import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.core.errors import MissingStageError, Stage, UserError, install_command
from atlas.inference import onnx_file
from atlas.inference.onnx_file import INPUT, OUTPUT
from atlas.workflows.embed.embedder import export_embedder
from atlas.workflows.embed.vectors import with_views
from retrieval.embedder import load_embedder, save_embedder
from retrieval.embedding import embed_images
from tests.atlas.training.stirred import stirred
from tests.atlas.workflows.evaluate.evaluated import SIZE_PX, save_random_embedder

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("views", [1, 8])
def test_the_file_gives_torchs_vectors_for_any_number_of_images(tmp_path: Path, views) -> None:
    images = np.random.default_rng(0).integers(0, 255, (7, 1, SIZE_PX, SIZE_PX), np.uint8)
    embedder = with_views(load_embedder(save_random_embedder(tmp_path / "first")), views)
    stirred(embedder.network, torch.from_numpy(images))
    embedder = replace(embedder)  # whose weights have another hash now
    save_embedder(tmp_path / "embedder", embedder)
    made = export_embedder(tmp_path / "embedder", tmp_path / "model.onnx")
    assert made.shape_CHW == (1, SIZE_PX, SIZE_PX)
    assert made.least_cosine is not None
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    expected = embed_images(embedder, images)
    for count in (1, 7):
        (vectors,) = session.run([OUTPUT], {INPUT: images[:count]})
        assert vectors.dtype == np.float32
        assert (vectors * expected[:count]).sum(1).min() > 0.9999
    said = session.get_modelmeta().custom_metadata_map
    assert said["embedder"] == embedder.fingerprint
    assert said["channels"] == "gray"
    content = (tmp_path / "model.onnx").read_bytes()
    assert str(Path(__file__).parents[4]).encode() not in content  # nothing of this machine
    export_embedder(tmp_path / "embedder", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == content


def test_mistakes_name_the_next_step(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(MissingStageError, match=re.escape(Stage.EMBEDDER.command)):
        export_embedder(tmp_path / "none", tmp_path / "model.onnx")
    save_random_embedder(tmp_path / "embedder")
    with pytest.raises(UserError, match="is a folder"):
        export_embedder(tmp_path / "embedder", tmp_path)
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape(install_command("onnx"))):
        export_embedder(tmp_path / "embedder", tmp_path / "model.onnx")
