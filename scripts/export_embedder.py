"""Write an embedder as an ONNX file."""

from pathlib import Path

from atlas.cli.console import run


def main(embedder: Path = Path("runs/embedder"), out: Path = Path("runs/embedder.onnx")) -> None:
    """Write an embedder as an ONNX file, for programs without torch.

    Args:
        embedder: what train_embedder.py wrote, or the folder `embedder` of an index.
        out: the file; uint8 images in, vectors of unit length out, for any number of images.
    """
    from atlas.workflows.embed.embedder import export_embedder

    made = export_embedder(embedder, out)
    channels, height, width = made.shape_CHW
    print(f"uint8 N x {channels} x {height} x {width} -> float32 N x {made.dimension}")
    if made.least_cosine is None:
        print("not compared with torch: pip install '.[onnx]'")
    else:
        print(f"cosine to torch at least {made.least_cosine:.6f}")
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
