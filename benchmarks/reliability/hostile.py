"""Hostile names, patterns and images: none may crash, hang, fill memory or reach a terminal.

Each input is a folder of a user, on which commands run. A command may refuse it in an error that
begins with "error:", or do its work.
"""

import os
import re
import resource
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability import warm
from benchmarks.reliability.hostile_images import IMAGE_FILES, SIDE_PX
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import Outcome, one_line
from benchmarks.reliability.world import copy_tree, remove

MEMORY_BYTES = 3 << 30  # an ordinary command needs about 1 GiB
LARGEST_BYTES = 64 << 30  # of addresses, so that a bomb does not end other processes
LIMIT_S = 90.0
IMAGES = 12
# A sign alone makes a number or the sum of unknown names, which a spreadsheet shows as an error.
RUN_BY_SPREADSHEETS = re.compile(r"[=@]|[+-].*[(|!+*&]")
ESCAPE = "\x1b]0;owned\x07\x1b[31m"
NAMES = {
    "brackets": "w[a1]", "closing bracket": "wt [/ko 0]", "bold": "[bold]x",
    "formula": "=cmd|' -C calc'!A0", "plus": "+1+1", "at": "@SUM(A1)", "minus": "-2+3",
    "quote": 'a"b', "apostrophe": "it's", "script": "<script>alert(1)<,script>",
    "image tag": "<img src=x onerror=alert(1)>", "template": "{{7*7}}", "format": "{id:>9}",
    "percent": "%s%n%x", "ampersand": "a&b;c", "semicolon": "a;b", "comma": "a,b",
    "newline": "a\nb", "tab": "a\tb", "carriage return": "a\rb", "escape": f"a{ESCAPE}b",
    "bell": "a\x07b", "C1 control": "a\x9b31mb", "bidi": "a\u202egpj.b", "zero width": "a\u200bb",
    "decomposed": unicodedata.normalize("NFD", "Zürich"), "emoji": "\U0001f9ec" * 3,
    "space": " a ", "dots": "a..b", "dot first": ".hidden", "dash first": "--help",
    "tilde": "~root", "dollar": "$HOME", "backtick": "`id`", "star": "a*?", "backslash": "a\\b",
    "long": "x" * 240, "device": "CON", "null word": "null", "nan": "nan", "number": "007",
    "exponent": "1e5", "boolean": "True", "date": "2018-11-01",
    "not UTF-8": os.fsdecode(b"a\xff\xfeb"), "latin": os.fsdecode(b"caf\xe9"),
}  # fmt: skip
PATTERNS = {
    "width": "{id:>1000000000}.png", "precision": "{id:.3}.png", "attribute": "{id.__class__}.png",
    "index": "{id[0]}.png", "conversion": "{id!r}.png", "nested": "{id:{id}}.png",
    "absolute": "/etc/{id}.png", "above": "../{id}.png", "no id": "x.png", "twice": "{id}{id}.png",
    "unknown": "{id}_{other}.png", "open brace": "{id", "close brace": "id}.png", "empty": "",
    "star": "{id}*.png", "newline": "{id}\\n.png", "globals": "{id.__init__.__globals__}.png",
    "long": "{id}" + "y" * 300 + ".png",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Input:
    """A folder to make, and the words of the commands that run on it.

    Attributes:
        make: A function that fills the data folder.
        commands: The words of the commands; each `{out}` is a new place.
        text: What must not reach a page or a terminal as it is, or "".
    """

    make: Callable[[Path], None]
    commands: tuple[tuple[str, ...], ...]
    text: str = ""


FIND = ("find", "data/known", "data/new", "--out", "run/found", "--planted-copies", "20",
        "--natural-queries", "20")  # fmt: skip
TABLES = (
    ("explore", "--data", "data", "--out", "run/exploration"),
    ("build-index", "--data", "data", "--embedder", "frozen", "--out", "run/index"),
    ("lookup", "data/test", "--index", "run/index", "--montage", "run/lookup.png"),
    ("audit-labels", "--data", "data", "--index", "run/index", "--out", "run/audit"),
)  # fmt: skip


def run(lab: Lab) -> None:
    """Run commands on every hostile input."""
    inputs = dict(_inputs())
    if lab.small:
        inputs = {name: said for n, (name, said) in enumerate(inputs.items()) if n % 6 == 0}
    _export_networks(lab)
    lab.each("hostile", list(inputs.items()), _attack)


def _inputs() -> Iterator[tuple[str, Input]]:
    for name, text in NAMES.items():
        yield f"id: {name}", Input(make=_table_of(text), commands=TABLES, text=text)
        yield f"file: {name}", Input(make=_pictures_named(text), commands=(FIND,), text=text)
    for name, pattern in PATTERNS.items():
        yield f"pattern: {name}", Input(make=_pattern(pattern), commands=TABLES[:1])
    for name, make in IMAGE_FILES.items():
        yield f"image: {name}", Input(make=_beside(make), commands=(FIND,))
        yield f"image of a table: {name}", Input(make=_in_place(make), commands=TABLES[:2])


def _export_networks(lab: Lab) -> None:
    """Run the commands on harmless inputs, and keep the networks that they export."""
    kept = lab.folder / "exported"
    if kept.exists():
        return
    for make, commands in ((_table_of("a"), TABLES), (_pictures_named("a"), (FIND,))):
        remove(lab.world)
        (lab.world / "data").mkdir(parents=True)
        lab.scratch.mkdir(parents=True, exist_ok=True)
        make(lab.world / "data")
        for words in commands:
            lab.run_words(list(words))
        for run_folder in ("run", "run/found"):
            runtimes = f"{run_folder}/store/runtimes"
            if (lab.world / runtimes).exists():
                copy_tree(lab.world / runtimes, kept / runtimes)


def _attack(lab: Lab, trial: str, hostile: Input) -> Iterator[Outcome]:
    remove(lab.world)
    remove(lab.scratch)
    lab.scratch.mkdir(parents=True)
    copy_tree(lab.folder / "exported", lab.world)
    (lab.world / "data").mkdir(parents=True)
    try:
        hostile.make(lab.world / "data")
    except OSError as error:
        yield Outcome(trial=trial, detail=f"the file system refuses it: {error}")
        return
    for words in hostile.commands:
        ended = lab.run_words(list(words), prepare=_bounded, limit_s=LIMIT_S)
        if fault := _fault(ended, lab.world / "run", hostile.text):
            said = one_line(ended.err) or one_line(ended.out)
            yield Outcome(
                trial=trial, verdict=fault, detail=f"{words[0]}: {said}", group=trial.split(":")[0]
            )
            return
        if ended.status:
            break
    said = f"{words[0]}: {one_line(ended.err) if ended.status else 'done'}"
    yield Outcome(trial=trial, detail=said, group=trial.split(":")[0])


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_BYTES, LARGEST_BYTES))


def _fault(ended: warm.Ended, run_folder: Path, text: str) -> str:
    """Return what no input may cause, or ""."""
    if ended.fault:
        return ended.fault
    if ended.peak_bytes > MEMORY_BYTES:
        return f"more than {MEMORY_BYTES >> 30} GiB of memory"
    if ended.status and "error:" not in ended.err:
        return "no error line"
    shown = ended.out + ended.err
    if re.search(r"[\x1b\x07\x9b\u202e]", shown):
        return "control characters reach the terminal"
    for page in run_folder.rglob("*.html"):
        said = page.read_text(encoding="utf-8", errors="replace")
        if text and "<" in text and text.replace(",", "/") in said:
            return "markup reaches a page"
    if RUN_BY_SPREADSHEETS.match(text) and _is_formula(run_folder, text):
        return "a formula in a table"
    return ""


def _is_formula(run_folder: Path, text: str) -> bool:
    """Return whether a table that people open has a cell that a spreadsheet would compute."""
    cell = re.compile(r'(^|,)"?' + re.escape(text[:4]), re.MULTILINE)
    tables = (
        path
        for path in run_folder.rglob("*.csv")
        if not set(path.relative_to(run_folder).parts) & {"data", "store", "index"}
    )
    return any(cell.search(path.read_text(errors="replace")) for path in tables)


def _picture(number: int) -> Image.Image:
    """Return a picture of soft spots, which is unlike those of other numbers."""
    dice = np.random.default_rng(number)
    small = dice.integers(0, 256, (8, 8), dtype=np.uint8)
    return Image.fromarray(small).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)


def _table_of(text: str) -> Callable[[Path], None]:
    """Return a function that makes an atlas whose ids and identities contain a text."""

    def make(data: Path) -> None:
        for split in ("train", "test"):
            (data / split).mkdir()
        ids = [f"{text}{n}" if n % 2 else f"plain{n}" for n in range(IMAGES)]
        for n, image_id in enumerate(ids):
            split = "train" if n < IMAGES - 3 else "test"
            _picture(n).save(data / split / f"{image_id.replace('/', ',')}.png")
        _write_tables(data, ids, text)

    return make


def _write_tables(data: Path, ids: list[str], identity: str) -> None:
    rows = [
        f"{_cell(image_id)},{n % 3},{_cell(identity)}"
        for n, image_id in enumerate(ids[: IMAGES - 3])
    ]
    tests = [f"{_cell(image_id)},0" for image_id in ids[IMAGES - 3 :]]
    for name, lines in (
        ("train.csv", ["Id,Target,Identity", *rows]),
        ("sample_submission.csv", ["Id,Predicted", *tests]),
    ):
        text = "\n".join(lines) + "\n"
        (data / name).write_bytes(text.encode("utf-8", errors="surrogateescape"))
    _write_toml(data, "{id}.png")


def _write_toml(data: Path, pattern: str) -> None:
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\\\\n", "\\n")
    (data / "atlas.toml").write_text(
        f'channels = ["gray"]\nfile_pattern = "{quoted}"\nlabels = ["a", "b", "c"]\n'
    )


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _pictures_named(text: str) -> Callable[[Path], None]:
    """Return a function that makes two folders of pictures, with a text in names and folders."""

    def make(data: Path) -> None:
        for kind, first in (("known", 0), ("new", 4)):
            folder = data / kind / text.replace("/", ",")
            folder.mkdir(parents=True)
            for n in range(first, first + IMAGES // 2):
                _picture(n).save(folder / f"{text.replace('/', ',')}{n}.png")

    return make


def _pattern(pattern: str) -> Callable[[Path], None]:
    def make(data: Path) -> None:
        _table_of("a")(data)
        _write_toml(data, pattern)

    return make


def _beside(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return a function that puts a hostile file among ordinary pictures."""

    def make(data: Path) -> None:
        _pictures_named("a")(data)
        write(data / "known" / "a" / "hostile.png")

    return make


def _in_place(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return a function that puts a hostile file in the place of an image of a table."""

    def make(data: Path) -> None:
        _table_of("a")(data)
        file = data / "train" / "a1.png"
        file.unlink()
        write(file)

    return make
