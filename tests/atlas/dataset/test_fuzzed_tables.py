"""Mutated tables and settings of users: each is read, or refused with a message for the user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.core.errors import UserError
from atlas.dataset.manifest import read_tables
from atlas.dataset.spec import image_folders, read_spec
from atlas.dataset.tables import TABLES
from atlas.dataset.truth import read_truth
from atlas.workflows.runs.run_file import read_run_file
from atlas.workflows.submit.check import check_submission
from index.audit.leak_tables import LeakTableReader
from tests.conftest import write_tiny_atlas

EXAMPLES = 300

TRAIN = b"Id,Target,Identity,Parent\na,0,x,\nb,1 2,x,a\nc,2,,\n"
GROUPS = b"Id,Group\na,g\nb,g\n"
SUBMISSION = b"Id,Predicted\nt,0\nu,1 2\n"
TRUTH = b"Id,relation,source,edit,Target\nt,same_image,a,crop,0\nu,novel,,,1\n"
LEAKS = b"Id,Target,Match\nt,0,a\nu,1 2,b\n"
ATLAS = (
    b'name = "x"\nchannels = ["a", "b"]\nfile_pattern = "{id}_{channel}.png"\n'
    b'labels = ["zero", "one", "two"]\nmax_value = 4095\n[images]\ntest = "elsewhere"\n'
)
RUN = b'data = "data"\nseed = 1\n[embedder]\nrecipe = "frozen"\n[classifiers.a]\nrecipe = "smoke"\n'

# Pieces that parsers have stumbled over.
PIECES = (
    b",", b";", b"\t", b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf",
    b"\xff\xfe", b"sep=;\n", b"nan", b"007", b"-1", b"1e5", b"99999999999999999999", b"=1+1", b"@x",
    b"../x", b"a/b", b"\x1b[31m", "\u202e".encode(), "e\u0301".encode(), b"{id:>1000000000}",
    b"{id.__class__}", b"{id!r}", b"{}", b"[" * 2000, b"{", b"}", b"'''", b"#", b" = ", b"true",
    b"[images]", b"Id", b"Target", b"Identity", b"x" * 300,
)  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """The replacement of some bytes at a place, both as shares of the length."""

    start: float
    length: int
    new: bytes

    def applied(self, content: bytes) -> bytes:
        start = round(self.start * len(content))
        return content[:start] + self.new + content[start + self.length :]


EDITS = st.lists(
    st.builds(
        Edit,
        start=st.floats(0, 1),
        length=st.integers(0, 12),
        new=st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)),
    ),
    min_size=1,
    max_size=4,
)

fuzzed = settings(max_examples=EXAMPLES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_atlas(
        tmp_path_factory.mktemp("fuzzed") / "data", test=("t", "u"), identities={}
    )


def mutated(path: Path, content: bytes, edits: Sequence[Edit]) -> Path:
    for edit in edits:
        content = edit.applied(content)
    path.write_bytes(content)
    return path


def read_or_refused(read: Callable[[], object]) -> object:
    """Return what is read, or None if it is refused with a message."""
    try:
        return read()
    except UserError:
        return None


@pytest.mark.parametrize(("name", "content"), [("train.csv", TRAIN), ("groups.csv", GROUPS)])
def test_tables_are_read_or_refused(data: Path, name: str, content: bytes) -> None:
    (data / "groups.csv").write_bytes(GROUPS)
    (data / "train.csv").write_bytes(TRAIN)

    @fuzzed
    @given(EDITS)
    def check(edits: list[Edit]) -> None:
        mutated(data / name, content, edits)
        if manifest := read_or_refused(lambda: read_tables(data)):
            assert len(set(manifest.ids)) == len(manifest.ids)
            for row in manifest.labelled.rows:
                assert row.id.isprintable()
                assert row.labels
                assert all(0 <= label < 3 for label in row.labels)

    check()
    (data / "groups.csv").unlink()
    (data / "train.csv").write_bytes(TRAIN)


@fuzzed
@given(EDITS)
def test_truth_is_read_or_refused(data: Path, edits: list[Edit]) -> None:
    mutated(data / "truth.csv", TRUTH, edits)
    truth = read_or_refused(lambda: read_truth(data))
    if truth is not None:
        assert set(truth["Id"]) <= {"t", "u"}


@fuzzed
@given(EDITS)
def test_submissions_are_accepted_or_refused(data: Path, edits: list[Edit]) -> None:
    path = mutated(data / "submission.csv", SUBMISSION, edits)
    read_or_refused(lambda: check_submission(path, ["t", "u"], 3))


@fuzzed
@given(EDITS)
def test_leak_tables_are_read_or_refused(data: Path, edits: list[Edit]) -> None:
    path = mutated(data / "leaks.csv", LEAKS, edits)
    reader = LeakTableReader(label_count=3, test_ids=("t", "u"), hpa_ids=False)
    table = read_or_refused(lambda: reader.read(path))
    if table is not None:
        assert set(table.by_id) <= {"t", "u"}


@fuzzed
@given(EDITS)
def test_atlas_toml_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, edits) -> None:
    folder = tmp_path_factory.getbasetemp() / "settings"
    folder.mkdir(exist_ok=True)
    mutated(folder / "atlas.toml", ATLAS, edits)
    if spec := read_or_refused(lambda: read_spec(folder)):
        assert set(image_folders(folder)) == set(TABLES)
        for image_id in ("a", "a.b"):
            spec.files_in(folder, image_id)
        assert len(spec.file_stem("a", spec.channels[0])) < 1000


@fuzzed
@given(EDITS)
def test_run_files_are_read_or_refused(data: Path, edits: list[Edit]) -> None:
    path = mutated(data / "run.toml", RUN, edits)
    if run := read_or_refused(lambda: read_run_file(path)):
        for stage in run.stages:
            assert stage.folder.resolve().is_relative_to(run.out.resolve())
