"""Findings of the fuzzer: what reading an input did, where, and a smaller input for it."""

import json
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.targets import Target, reads
from benchmarks.reliability.world import remove

MINIMISED_TRIES, MINIMISED_S = 150, 5.0
PACKAGES = ("/atlas/", "/index/", "/classify/", "/retrieval/")
FINDINGS_FILE = "findings.jsonl"


@dataclass(frozen=True, kw_only=True)
class Input:
    """A folder with one changed file: the name of the file, and its bytes."""

    file: str
    content: bytes


def finding(
    target: Target, seeds: dict[str, bytes], folder: Path, one: Input
) -> tuple[str, str, str] | None:
    """Return the verdict, signature and traceback of an input, or None if it is read as it may."""
    remove(folder)
    folder.mkdir()
    for name, content in _files(target, seeds, one):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        reads(target, folder)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        verdict = "other rows" if isinstance(error, AssertionError) else "traceback"
        return verdict, _signature(error), traceback.format_exc()
    return None


def note(
    work: Path, target: Target, seeds: dict[str, bytes], folder: Path, one: Input,
    said: tuple[str, str, str],
) -> None:  # fmt: skip
    """Keep a finding, the first of its signature in a smaller form."""
    verdict, signature, text = said
    small = work / f"{abs(hash(signature))}.bin"
    if not small.exists():
        small.write_bytes(_smaller(target, seeds, folder, one, signature))
    line = {
        "verdict": verdict,
        "signature": signature,
        "text": text,
        "file": small.name,
        "name": one.file,
    }
    with (work / FINDINGS_FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")


def kept(
    out: Path, target: Target, key: tuple[str, str], name: str, content: bytes, text: str
) -> Path:
    """Write a finding to a folder of findings below `out`, unless one of its kind is there."""
    kind = "".join(c if c.isalnum() else "_" for c in f"{key[0]}_{key[1]}")
    folder = out / "findings" / target.name / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(name).name
    if not path.exists():
        path.write_bytes(content)
        (folder / "traceback.txt").write_text(f"file: {name}\n{text}\n")
    return path


def _files(target: Target, seeds: dict[str, bytes], one: Input) -> list[tuple[str, bytes]]:
    own = {} if target.alone else seeds
    return list({**own, one.file: one.content}.items())


def _signature(error: BaseException) -> str:
    """Return the type of an error and the last frame in this project."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if any(name in frame.filename for name in PACKAGES)
        and "site-packages" not in frame.filename
    ]
    last = (own or list(frames))[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, {last.name}"


def _smaller(
    target: Target, seeds: dict[str, bytes], folder: Path, one: Input, signature: str
) -> bytes:
    """Return a shorter file with the same finding: blocks are left out as long as it stays."""
    content, size, tries = one.content, len(one.content) // 2, 0
    ends = time.monotonic() + MINIMISED_S
    while size and tries < MINIMISED_TRIES and time.monotonic() < ends:
        at = 0
        while at < len(content) and tries < MINIMISED_TRIES and time.monotonic() < ends:
            tries += 1
            shorter = content[:at] + content[at + size :]
            found = finding(target, seeds, folder, Input(file=one.file, content=shorter))
            if found and found[1] == signature:
                content = shorter
            else:
                at += size
        size //= 2
    return content
