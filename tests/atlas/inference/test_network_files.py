"""Networks that somebody else made: what they give, and what is refused in one line."""

import re
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from atlas.core.errors import UserError, install_command
from atlas.inference import onnx_file
from atlas.inference.network_files import NetworkFile
from tests.atlas.inference.files import NamedOutputs, Tiny, TwoOutputs, save_onnx, save_torchscript

IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))

needs_onnx = pytest.mark.skipif(
    not onnx_file.can_run() or onnx_file.find_spec("onnxscript") is None,
    reason="the extra onnx is not installed",
)


def vectors(path: Path, kind: str, images: torch.Tensor = IMAGES, *, output: object = None):
    network = NetworkFile(path, kind, output=output)  # type: ignore[arg-type]
    with torch.inference_mode():
        return network(images)


def problem_of(path: Path, kind: str, images: torch.Tensor = IMAGES, *, output: object = None):
    with pytest.raises(UserError, match=re.escape(str(path))) as caught:
        vectors(path, kind, images, output=output)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def direct(network: nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = network.eval()(images)
    return result


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    save_torchscript(folder / "tiny.pt", Tiny())
    save_torchscript(folder / "two.pt", TwoOutputs(Tiny()))
    save_torchscript(folder / "named.pt", NamedOutputs(Tiny()))
    return folder


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    save_onnx(folder / "tiny.onnx", Tiny())
    save_onnx(folder / "one_by_one.onnx", Tiny(), any_batch=False)
    save_onnx(folder / "two.onnx", TwoOutputs(Tiny()))
    save_onnx(folder / "half.onnx", Tiny().half())
    return folder


def test_a_torchscript_file_gives_the_vectors_of_its_network(files: Path) -> None:
    # The file may run a little differently from Python, because its operations are compiled.
    torch.testing.assert_close(vectors(files / "tiny.pt", "torchscript"), direct(Tiny()))


def test_images_may_have_any_layout_in_memory(tmp_path: Path) -> None:
    class Views(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.view(len(images), -1)  # which fails unless rows follow rows

    path = save_torchscript(tmp_path / "views.pt", Views())
    given = IMAGES.contiguous(memory_format=torch.channels_last)
    assert torch.equal(vectors(path, "torchscript", given), IMAGES.flatten(1))


@needs_onnx
@pytest.mark.parametrize("name", ["tiny", "one_by_one"])
def test_an_onnx_file_gives_the_vectors_of_its_network(onnx_files: Path, name: str) -> None:
    found = vectors(onnx_files / f"{name}.onnx", "onnx")
    torch.testing.assert_close(found, direct(Tiny()), rtol=1e-4, atol=1e-5)


@needs_onnx
def test_an_onnx_file_in_half_precision_takes_the_same_images(onnx_files: Path) -> None:
    found = vectors(onnx_files / "half.onnx", "onnx")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, direct(Tiny()), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("name", "output"), [("two.pt", 1), ("named.pt", 1), ("named.pt", "vector")]
)
def test_one_of_several_outputs_is_chosen(files: Path, name: str, output: object) -> None:
    found = vectors(files / name, "torchscript", output=output)
    torch.testing.assert_close(found, direct(Tiny()))


@needs_onnx
def test_one_of_several_outputs_of_an_onnx_file_is_chosen(onnx_files: Path) -> None:
    said = problem_of(onnx_files / "two.onnx", "onnx")
    (names,) = re.findall(r"has several outputs \((.*)\)", said)
    for output in (1, names.split(", ")[1]):
        found = vectors(onnx_files / "two.onnx", "onnx", output=output)
        torch.testing.assert_close(found, direct(Tiny()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "output", "said"),
    [
        ("two.pt", None, "has several outputs (0, 1); set output in "),
        ("two.pt", 2, "has no output 2 among its outputs (0, 1)"),
        ("named.pt", None, "has several outputs (map, vector)"),
        ("named.pt", "vectors", "has no output 'vectors' among its outputs (map, vector)"),
        ("two.pt", 0, "gives an output of the shape (5, 20, 15, 15) for 5 images"),
    ],
)
def test_an_output_that_is_no_vector_is_refused(
    files: Path, name: str, output: object, said: str
) -> None:
    text = problem_of(files / name, "torchscript", output=output)
    assert said in text
    assert str((files / name).with_suffix(".toml")) in text


class Single(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean()


class Roots(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.mean((2, 3)) - 0.5).sqrt()


class Words(nn.Module):
    def forward(self, images: torch.Tensor) -> str:
        return "vector"


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (
            Single(),
            "gives an output of the shape () for 5 images, which is not one vector for each",
        ),
        (Roots(), "gives infinite or undefined numbers for an image; check scale"),
        (Words(), "gives a str and no vectors"),
    ],
)
def test_what_is_no_vector_of_numbers_is_refused(
    tmp_path: Path, network: nn.Module, said: str
) -> None:
    path = save_torchscript(tmp_path / "odd.pt", network)
    assert said in problem_of(path, "torchscript")


def test_a_network_that_fails_on_images_is_reported_in_a_line(files: Path) -> None:
    said = problem_of(files / "tiny.pt", "torchscript", IMAGES[:, :1])
    assert "fails on images of 1 x 32 x 32 px (RuntimeError: Given groups=1" in said
    assert "check channels and size_px in" in said


@needs_onnx
def test_an_onnx_file_that_fails_on_images_is_reported_in_a_line(onnx_files: Path) -> None:
    said = problem_of(onnx_files / "tiny.onnx", "onnx", torch.zeros(2, 3, 48, 48))
    assert "fails on images of 3 x 48 x 48 px" in said
    assert "Expected: 32" in said


def test_files_that_hold_no_torchscript_program_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no network")
    assert "is not a TorchScript file" in problem_of(tmp_path / "text.pt", "torchscript")
    torch.save(Tiny().state_dict(), tmp_path / "weights.pt")
    assert "weights without a program" in problem_of(tmp_path / "weights.pt", "torchscript")
    with zipfile.ZipFile(tmp_path / "broken.pt", "w") as archive:
        archive.writestr("broken/code/__torch__.py", "class Net(Module):\n")
    assert "torch cannot load" in problem_of(tmp_path / "broken.pt", "torchscript")


class Writes(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.save(images, self.path)
        return images.mean((2, 3))


class Reads(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) + torch.from_file("secret", False, 3, dtype=torch.float32)


def test_programs_that_reach_files_are_not_loaded(tmp_path: Path) -> None:
    written = save_torchscript(tmp_path / "writes.pt", Writes(str(tmp_path / "stolen")))
    assert "its program contains the name save" in problem_of(written, "torchscript")
    assert not (tmp_path / "stolen").exists()
    read = save_torchscript(tmp_path / "reads.pt", Reads())
    assert "its program contains the name from_file" in problem_of(read, "torchscript")


@needs_onnx
def test_weights_in_a_second_onnx_file_are_neither_read_nor_missed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    onnx.save_model(
        onnx.load(save_onnx(tmp_path / "one.onnx", Tiny())), tmp_path / "two.onnx",
        save_as_external_data=True, location="two.data", size_threshold=0,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)  # where the other file would be found
    assert (tmp_path / "two.data").exists()
    assert "external_data=False" in problem_of(tmp_path / "two.onnx", "onnx")


@needs_onnx
def test_unsuitable_onnx_files_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save_model

    (tmp_path / "text.onnx").write_text("no network")
    assert "onnxruntime cannot load" in problem_of(tmp_path / "text.onnx", "onnx")

    def save(name: str, types: dict[str, int]) -> Path:
        shape = ["batch", 3]
        inputs = [helper.make_tensor_value_info(i, t, shape) for i, t in types.items()]
        same = helper.make_node("Identity", [next(iter(types))], ["vector"])
        output = helper.make_tensor_value_info("vector", next(iter(types.values())), shape)
        graph = helper.make_graph([same], "graph", inputs, [output])
        opset = [helper.make_opsetid("", 18)]
        save_model(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / name)
        return tmp_path / name

    whole = save("whole.onnx", {"images": TensorProto.UINT8})
    assert "must have one input, of float images (its inputs are images: tensor(uint8))" in (
        problem_of(whole, "onnx")
    )
    two = save("two.onnx", {"images": TensorProto.FLOAT, "mask": TensorProto.FLOAT})
    assert "mask: tensor(float)" in problem_of(two, "onnx")


def test_without_onnxruntime_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    (tmp_path / "any.onnx").write_bytes(b"")
    assert install_command("onnx") in problem_of(tmp_path / "any.onnx", "onnx")


def test_a_damaged_torchscript_file_is_reported_in_a_line(files: Path, tmp_path: Path) -> None:
    sound = (files / "tiny.pt").read_bytes()
    with zipfile.ZipFile(files / "tiny.pt") as archive:
        code = next(entry for entry in archive.infolist() if entry.filename.endswith(".py"))
    header = code.header_offset  # 30 bytes, the name and an extra field stand before the code
    names = sum(int.from_bytes(sound[header + n : header + n + 2], "little") for n in (26, 28))
    place = header + 30 + names + code.compress_size // 2
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
    assert "is damaged (" in problem_of(damaged, "torchscript")


@pytest.mark.parametrize("output", [1, "vector"])
def test_an_output_that_a_program_with_one_does_not_have_is_refused(
    files: Path, output: object
) -> None:
    assert "has no output" in problem_of(files / "tiny.pt", "torchscript", output=output)
    assert torch.equal(vectors(files / "tiny.pt", "torchscript", output=0), direct(Tiny()))
