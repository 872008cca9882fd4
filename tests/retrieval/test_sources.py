"""What `--embedder` may name."""

from pathlib import Path

import pytest

from atlas.core.errors import UserError
from retrieval.sources import FileSource, PretrainedSource, files_of, is_untrained, source_of


def test_a_folder_is_a_path() -> None:
    for text in ("runs/embedder", "timm", "frozen2", "C:/runs", "runs/onnx:2"):
        assert source_of(text) == Path(text)
        assert not is_untrained(text)
        assert files_of(text) == ()


def test_networks_that_need_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net@2.pt"
    file.touch()
    assert source_of("frozen") == PretrainedSource()
    assert source_of("timm:resnet50.a1_in1k") == PretrainedSource(network="resnet50.a1_in1k")
    assert source_of(f"timm:resnet18@{file}") == PretrainedSource(network="resnet18", weights=file)
    for kind in ("torchscript", "onnx"):
        assert source_of(f"{kind}:{file}") == FileSource(kind=kind, file=file)
        assert is_untrained(f"{kind}:{file}")
        assert files_of(f"{kind}:{file}") == (file, tmp_path / "net@2.toml")
    assert files_of(f"timm:resnet18@{file}") == (file,)
    assert files_of("frozen") == files_of("timm:resnet18") == ()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert source_of("onnx:~/net@2.pt") == FileSource(kind="onnx", file=file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timm:", "give the name of a network"),
        ("timm:@weights.safetensors", "give the name of a network"),
        ("timm:resnet18@", "there is no file ''"),
        ("timm:resnet18@nowhere.safetensors", "there is no file 'nowhere.safetensors'"),
        ("onnx:", "there is no file ''"),
        ("torchscript:nowhere.pt", "there is no file 'nowhere.pt'"),
        ("onnx:~nobody/model.onnx", "there is no file '~nobody/model.onnx'"),
        ("TorchScript:net.pt", "write torchscript: in small letters"),
    ],
)
def test_what_is_not_there_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"--embedder {text}: {said}"):
        source_of(text)
