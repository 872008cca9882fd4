"""The main job from end to end on a small drawn atlas, by the functions that the commands call."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from atlas.core.contents import update_contents
from atlas.core.errors import (
    DataError,
    MissingStageError,
    ProvenanceError,
    Stage,
    UserError,
    command_line,
)
from atlas.core.row_cache import cache_folder
from atlas.dataset.image_keys import keys_in
from atlas.dataset.spec import read_spec, spec_text
from atlas.dataset.verdicts import Verdict, add_verdicts, verdicts_beside
from atlas.inference.settings import RuntimeOptions
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.classify.training import train_classifier
from atlas.workflows.embed.embedder import train_embedder
from atlas.workflows.embed.index import build_index, open_index
from atlas.workflows.embed.lookup import lookup
from atlas.workflows.embed.verdicts import judge_beside
from atlas.workflows.explain.explanation import explanation_of
from atlas.workflows.explain.run_so_far import read_run
from atlas.workflows.leaks.finding import find_leaks
from atlas.workflows.run_folder import RunFolder
from atlas.workflows.runs.update import update
from atlas.workflows.submit.score import score_run
from atlas.workflows.submit.submission import make_submission
from classify import recipes as classifier_recipes
from index.index_folder import load_index
from index.search.open_search import open_search, open_vectors
from index.settings import LeakSettings, SearchSettings
from retrieval import settings as embedder_settings

pytestmark = pytest.mark.slow

DRAWN = DrawnAtlasSettings(
    identities=20, fields_per_identity=4, size_px=64, seed=5, test_fields_per_identity=1,
    novel_identities=10, copies=18,
)  # fmt: skip
# After one epoch the embedder orders little, so most sources are proposed by hashes and keypoints.
LEAKS = LeakSettings(
    neighbours=10,
    planted_copies=40,
    natural_queries=40,
    accept_unproven_copies=True,
    accept_unproven_siblings=True,
)


def one_epoch(settings):
    return replace(settings, training=replace(settings.training, epochs=1))


def whole_job(data: Path, run: Path) -> None:
    train_embedder(data, run / "embedder", one_epoch(embedder_settings.RECIPES["smoke"]))
    build_index(data, str(run / "embedder"), run / "index")
    find_leaks(data, run / "index", run / "leaks", LEAKS)
    train_classifier(data, run / "classifier", one_epoch(classifier_recipes.RECIPES["smoke"]))
    make_submission(data, run / "leaks", run / "classifier", run / "submission")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    """A drawn atlas and a finished run on it."""
    folder = tmp_path_factory.mktemp("job")
    draw_atlas(DRAWN, folder / "data", jobs=1)
    whole_job(folder / "data", folder / "run")
    return folder / "data", folder / "run"


def test_the_embedder_has_a_model_card_of_this_training(job):
    _, run = job
    card = (run / "embedder" / "MODEL_CARD.md").read_text()
    about = json.loads((run / "embedder" / "embedder.json").read_text())
    assert about["fingerprint"] in card
    assert "| `training.epochs` | 1 |" in card
    assert f"| {about['provenance']['validation_top1']:.4f} |" in card
    assert (run / "embedder" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_copies_are_found_and_nothing_is_claimed_falsely(job):
    leaks = score_run(*job).leaks
    assert leaks.copies_by_edit["all"].count >= 17
    assert leaks.false_copies.count == 0


def test_reasons_say_how_copies_were_made(job):
    """Most planted edits rotate or crop."""
    matches = pd.read_csv(job[1] / "leaks" / "matches.csv").set_index(["query_id", "match_id"])
    leaks = pd.read_csv(job[1] / "leaks" / "leaks.csv").query("relation == 'same_image'")
    leaks = leaks[leaks["confidence"] < 1]  # equal pixels need no words
    pairs = matches.loc[list(zip(leaks["Id"], leaks["match_id"], strict=True))]
    rotated = (pairs["rotation_degrees"].abs() > 1).tolist()
    cropped = (pairs["overlap"] < 0.98).tolist()
    assert any(rotated)
    assert any(cropped)
    assert leaks["reason"].str.contains(r"; .*rotated by -?\d+°", regex=True).tolist() == rotated
    assert leaks["reason"].str.contains(r"\d+% of the match is shown").tolist() == cropped


def test_the_submission_has_the_asked_rows_in_their_order_none_empty(job):
    data, run = job
    asked = pd.read_csv(data / "sample_submission.csv", dtype=str)
    made = pd.read_csv(run / "submission" / "submission.csv", dtype=str, keep_default_na=False)
    origins = pd.read_csv(run / "submission" / "origins.csv", dtype=str, keep_default_na=False)
    assert list(made["Id"]) == list(origins["Id"]) == list(asked["Id"])
    assert (made["Predicted"] != "").all()
    assert (origins["reason"] != "").all()


def test_a_row_is_explained_up_to_where_the_classifier_looked(job):
    data, run = job
    truth = pd.read_csv(data / "truth.csv", dtype=str).set_index("Id")["source"]
    leaks = pd.read_csv(run / "leaks" / "leaks.csv", dtype=str).query("relation == 'same_image'")
    image_id = leaks["Id"].iloc[0]
    page = explanation_of(image_id, read_run(data, run))
    assert page.missing == {}
    assert page.neighbours[0].id == truth[image_id]
    given = [bar.label for bar in page.classifier.bars if bar.given]
    assert [int(picture.said.split()[0]) for picture in page.maps] == given
    without = pd.read_csv(run / "submission" / "submission_without_transfer.csv", dtype=str)
    assert set(without.set_index("Id")["Predicted"][image_id].split()) == set(map(str, given))


def test_a_transferred_row_carries_the_labels_of_its_match(job):
    data, run = job
    train = pd.read_csv(data / "train.csv", dtype=str).set_index("Id")["Target"]
    made = pd.read_csv(run / "submission" / "submission.csv", dtype=str).set_index("Id")
    origins = pd.read_csv(run / "submission" / "origins.csv", dtype=str, keep_default_na=False)
    copies = origins[origins["origin"] == "same_image"]
    assert len(copies) >= 17
    for row in copies.itertuples():
        assert made.at[row.Id, "Predicted"].split() == train[row.match_id].split()


def test_equal_work_gives_equal_bytes(job, tmp_path):
    data, run = job
    whole_job(data, tmp_path / "again")
    names = [
        "embedder/weights.safetensors", "index/embeddings.h5", "index/references.csv",
        "index/embedder/runtime.json",
        "leaks/matches.csv", "leaks/leaks.csv", "leaks/calibration.json", "leaks/calibration.png",
        "classifier/test_probabilities.h5", "submission/submission.csv", "submission/origins.csv",
    ]  # fmt: skip
    differing = [
        n for n in names if (run / n).read_bytes() != (tmp_path / "again" / n).read_bytes()
    ]
    assert differing == []


def test_nothing_in_a_run_is_pickled_but_training_checkpoints(job):
    others = ("checkpoints", "logs")  # TensorBoard's own format in the second
    endings = {p.suffix for p in job[1].rglob("*") if p.is_file() and p.parent.name not in others}
    a_model = {".xml", ".bin"}  # OpenVINO's: a description and plain numbers
    assert endings <= {
        ".safetensors", ".h5", ".json", ".csv", ".png", ".html", ".md", ".parquet", *a_model,
    }  # fmt: skip


def test_an_index_needs_nothing_but_itself_and_its_atlas(job, tmp_path):
    data, run = job
    shutil.copytree(run / "index", tmp_path / "index")
    truth = pd.read_csv(data / "truth.csv", dtype=str).set_index("Id")
    copy = truth[truth["edit"] == "exact"].index[0]
    found = lookup([copy], tmp_path / "index", k=3, montage=tmp_path / "m.png")
    first = found.table.iloc[0]
    assert first["match_id"] == truth.at[copy, "source"]
    assert first["registration_score"] > 8
    assert len(found.table) == 3
    assert cv2.imread(str(found.montage)) is not None


def test_a_path_is_looked_up_as_its_id_is_but_may_find_itself(job, tmp_path):
    data, run = job
    image_id = load_index(run / "index").embeddings.ids[0]
    path = str(next((data / "train").glob(f"{image_id}_green.png")))
    by_path = lookup([path], run / "index", k=1, montage=tmp_path / "m.png").table.iloc[0]
    assert by_path["match_id"] == image_id
    assert by_path["similarity"] == pytest.approx(1.0, abs=1e-6)
    by_id = lookup([image_id], run / "index", k=1, montage=tmp_path / "m.png").table.iloc[0]
    assert by_id["match_id"] != image_id


def test_stored_and_single_embeddings_are_equal_bit_for_bit(job, tmp_path):
    index = load_index(job[1] / "index")
    ids = list(index.embeddings.ids[:5])
    together = lookup(ids, job[1] / "index", k=2, montage=tmp_path / "m.png").table
    for image_id in ids:
        alone = lookup([image_id], job[1] / "index", k=2, montage=tmp_path / "m.png").table
        same = together[together["query"] == image_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, same)
    stored = open_search(index).vectors.search(index.embeddings.aligned_to(ids), 2).similarity_NK
    np.testing.assert_array_equal(
        together["similarity"].to_numpy(np.float32).reshape(stored.shape), stored
    )


def test_mistakes_name_the_next_step(job, tmp_path):
    data, run = job
    with pytest.raises(MissingStageError, match=f"{command_line('train_embedder')}"):
        build_index(data, str(tmp_path / "none"), tmp_path / "index")
    with pytest.raises(MissingStageError, match=f"{command_line('build_index')}"):
        find_leaks(data, tmp_path / "none", tmp_path / "l", LEAKS)
    with pytest.raises(MissingStageError, match=f"{command_line('find_leaks')}"):
        make_submission(data, tmp_path, run / "classifier", tmp_path / "s")
    with pytest.raises(MissingStageError, match=f"{command_line('train_classifier')}"):
        make_submission(data, run / "leaks", tmp_path, tmp_path / "s")
    with pytest.raises(UserError, match="no image of that id"):
        lookup(["nobody"], run / "index", k=1, montage=tmp_path / "m.png")


def test_an_index_of_other_data_is_refused(job, write_atlas, tmp_path):
    other = write_atlas(channels=("red", "green", "blue", "yellow"), test=("t",), size=(64, 64))
    with pytest.raises(ProvenanceError, match="not built from this data"):
        find_leaks(other, job[1] / "index", tmp_path / "l", LEAKS)
    gray = write_atlas("gray", test=("t",), size=(64, 64))
    with pytest.raises(DataError, match="trained on channels"):
        build_index(gray, str(job[1] / "embedder"), tmp_path / "index")


def test_labels_that_changed_since_the_index_was_made_are_refused(job, tmp_path):
    data, run = job
    shutil.copytree(data, tmp_path / "data")
    table = pd.read_csv(tmp_path / "data" / "train.csv", dtype=str)
    table.loc[0, "Target"] = "27" if table.loc[0, "Target"] != "27" else "26"
    table.to_csv(tmp_path / "data" / "train.csv", index=False)
    with pytest.raises(
        ProvenanceError, match=f"labels or groups have changed.*{command_line('build_index')}"
    ):
        find_leaks(tmp_path / "data", run / "index", tmp_path / "l", LEAKS)


def test_leaks_of_other_test_images_are_refused(job, tmp_path):
    data, run = job
    shutil.copytree(run / "leaks", tmp_path / "leaks")
    leaks = pd.read_csv(tmp_path / "leaks" / "leaks.csv", dtype=str, keep_default_na=False)
    leaks["Id"] = "other" + leaks["Id"]
    leaks.to_csv(tmp_path / "leaks" / "leaks.csv", index=False)
    with pytest.raises(UserError, match=r"leaks\.csv was changed or damaged"):
        make_submission(data, tmp_path / "leaks", run / "classifier", tmp_path / "s")
    update_contents(tmp_path / "leaks" / "leaks.csv")
    with pytest.raises(ProvenanceError, match="is not a test image"):
        make_submission(data, tmp_path / "leaks", run / "classifier", tmp_path / "s")


def test_an_atlas_that_moved_is_asked_for(job, tmp_path):
    data, run = job
    shutil.copytree(run / "index", tmp_path / "index")
    about = tmp_path / "index" / "index.json"
    about.write_text(about.read_text().replace(str(data), str(tmp_path / "gone")))
    update_contents(about)
    image_id = load_index(run / "index").embeddings.ids[0]
    with pytest.raises(UserError, match="--data"):
        lookup([image_id], tmp_path / "index", k=1, montage=tmp_path / "m.png")
    found = lookup([image_id], tmp_path / "index", k=1, montage=tmp_path / "m.png", data=data)
    assert len(found.table) == 1


def test_a_description_that_changed_is_noticed_by_lookup(job, tmp_path):
    data, run = job
    shutil.copytree(data, tmp_path / "data")
    image_id = load_index(run / "index").embeddings.ids[0]
    changed = spec_text(replace(read_spec(data), name="renamed"))
    (tmp_path / "data" / "atlas.toml").write_text(changed)
    with pytest.raises(ProvenanceError, match=r"atlas\.toml has changed"):
        lookup([image_id], run / "index", k=1, montage=tmp_path / "m.png", data=tmp_path / "data")


def test_nothing_but_an_older_result_is_replaced(job, tmp_path):
    data, run = job
    for out in (data, run):
        with pytest.raises(UserError, match="was not written by make-submission"):
            make_submission(data, run / "leaks", run / "classifier", out)
    assert (data / "train.csv").exists()
    assert (run / "embedder" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"neighbours": 0}, {"seed": -1}, {"copy_share": 2.0}, {"sibling_precision": float("nan")}],
)
def test_settings_that_cannot_work_are_refused(job, tmp_path, wrong):
    data, run = job
    with pytest.raises(UserError, match="--"):
        find_leaks(data, run / "index", tmp_path / "l", replace(LEAKS, **wrong))


def test_one_image_more_and_one_fewer_end_as_a_full_run_with_the_same_calibration(job, tmp_path):
    """A labelled image goes, a test image with a copy in train goes, and both come back."""
    data, run = job
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(run, tmp_path / "run")
    tables = {name: (data / name).read_text() for name in ("train.csv", "sample_submission.csv")}
    for name, text in tables.items():
        head, _, *rest = text.splitlines()
        (tmp_path / "data" / name).write_text("\n".join([head, *rest]) + "\n")
    fewer = update(tmp_path / "data", tmp_path / "run")
    assert (len(fewer.added), len(fewer.removed)) == (0, 1)
    assert len(fewer.submission.submission.ids) == len(tables["sample_submission.csv"].split()) - 2
    for name, text in tables.items():
        (tmp_path / "data" / name).write_text(text)
    again = update(tmp_path / "data", tmp_path / "run")
    assert (len(again.added), len(again.removed)) == (1, 0)
    names = [
        "index/references.csv", "leaks/matches.csv", "leaks/leaks.csv", "leaks/groups.csv",
        "leaks/calibration.json", "submission/submission.csv", "submission/origins.csv",
    ]  # fmt: skip
    assert [n for n in names if (tmp_path / "run" / n).read_bytes() != (run / n).read_bytes()] == []
    vectors = [
        load_index(folder / "index").embeddings.vectors_ND for folder in (tmp_path / "run", run)
    ]
    assert np.array_equal(*vectors)


def test_a_store_gives_the_same_bytes_and_follows_updates(job, tmp_path):
    """Milvus Lite searches in place of this process, until the store is lost."""
    pytest.importorskip("milvus_lite", reason="Milvus is not installed: pip install '.[milvus]'")
    before = job[1]
    data, run = (Path(shutil.copytree(path, tmp_path / path.name)) for path in job)
    shutil.rmtree(
        cache_folder(run / "leaks") / "neighbours"
    )  # so that everything is searched again
    store = SearchSettings(store=str(run / "vectors.db"))
    build_index(data, str(run / "embedder"), run / "index", store)
    find_leaks(data, run / "index", run / "leaks", LEAKS)
    make_submission(data, run / "leaks", run / "classifier", run / "submission")
    names = [
        "leaks/matches.csv", "leaks/leaks.csv", "leaks/groups.csv", "leaks/calibration.json",
        "submission/submission.csv", "submission/origins.csv",
    ]  # fmt: skip
    assert [n for n in names if (run / n).read_bytes() != (before / n).read_bytes()] == []
    head, first, *rest = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join([head, *rest]) + "\n")
    assert update(data, run).removed == {first.split(",")[0]}
    index = open_index(run / "index")
    assert len(open_vectors(index.opened)) == len(index) == len(rest)
    assert list(index.search(index.opened.ids[0], k=3)["rank"]) == [1, 2, 3]
    assert "embeddings" not in vars(index.opened)  # the vectors of the folder were not read
    shutil.rmtree(run / "vectors.db")
    with pytest.raises(MissingStageError, match=r"vectors\.db does not exist.*atlas build-index"):
        index.search(index.opened.ids[0])


def test_a_further_index_proposes_candidates_until_the_data_change(job, tmp_path, monkeypatch):
    """Its embedder is another one, and `update` brings it up to date, too."""
    data, run = job
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(run, tmp_path / "run")
    data, run, second = tmp_path / "data", tmp_path / "run", tmp_path / "run" / "second"
    recipe = embedder_settings.RECIPES["smoke"]
    other = replace(recipe, training=replace(recipe.training, seed=9, epochs=1))
    train_embedder(data, run / "other", other)
    build_index(data, str(run / "other"), second)
    settings = replace(
        LEAKS, neighbours=2, hashes="none", keypoint_candidates=0, further_indexes=(str(second),)
    )
    found = find_leaks(data, run / "index", run / "leaks", settings)
    proposed = found.matches.table.groupby("query_id")["match_id"].agg(set)
    for index in (run / "index", second):
        nearest = open_index(index).search(list(found.test_ids), k=2)
        for query, match in zip(nearest["query"], nearest["match"], strict=True):
            assert match in proposed[query]
    assert found.calibration.same_image.candidate_recall.keys() >= {"crop", "gamma"}
    table = (data / "train.csv").read_text().splitlines(keepends=True)
    (data / "train.csv").write_text("".join([table[0], *table[2:]]))
    build_index(data, str(run / "embedder"), run / "index")
    with pytest.raises(ProvenanceError, match="second was not built from the same data"):
        find_leaks(data, run / "index", run / "leaks", settings)
    monkeypatch.chdir(tmp_path / "data")  # indexes are found from wherever the command is typed
    assert len(update(data, run).leaks.matches.table) > 0
    assert load_index(second).embeddings.ids == load_index(run / "index").embeddings.ids
    assert RunFolder(run).state(Stage.LEAKS) == "done"
    maker = load_index(run / "index").embeddings.provenance["embedder"]
    assert judge_beside(run / "index", maker).copies is not None


def test_a_further_index_has_to_be_there_and_to_be_another_one(job, tmp_path):
    """Nothing is replaced where an update would build another index."""
    data, run = job
    shutil.copytree(run, tmp_path / "run")
    run, first, second = tmp_path / "run", tmp_path / "run" / "index", tmp_path / "run" / "second"
    for names, said in (
        (("nowhere",), "there is no index in nowhere"),
        ((str(first),), "proposes candidates already"),
        ((str(second), str(second)), "proposes candidates already"),
    ):
        if second.name in names[0]:
            shutil.copytree(first, second)
        with pytest.raises(UserError, match=said):
            find_leaks(data, first, run / "leaks", replace(LEAKS, further_indexes=names))
    find_leaks(data, first, run / "leaks", replace(LEAKS, further_indexes=(str(second),)))
    before = (first / "index.json").stat().st_mtime_ns
    torch_alone = RuntimeOptions(runtime="torch", precision="float32")  # which needs no check
    build_index(data, "frozen", second, runtime=torch_alone)
    with pytest.raises(UserError, match=r"second is not the index with which .*leaks was made"):
        update(data, run)
    shutil.rmtree(second)
    with pytest.raises(UserError, match=r"there is no index in .*second"):
        update(data, run)
    assert (first / "index.json").stat().st_mtime_ns == before


def test_a_replaced_test_image_is_noticed_and_an_update_takes_it_in(job, tmp_path):
    """A copy becomes the picture of another test image, so its old labels must not be submitted."""
    data, run = job
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(run, tmp_path / "run")
    ids = pd.read_csv(data / "sample_submission.csv", dtype=str)["Id"]
    for file in (tmp_path / "data" / "test").glob(f"{ids.iloc[0]}_*"):
        shutil.copyfile(file.with_name(file.name.replace(ids.iloc[0], ids.iloc[-1])), file)
    stale = tmp_path / "run"
    with pytest.raises(
        ProvenanceError, match=f"image {ids.iloc[0]}, .*{command_line('find_leaks')}"
    ):
        make_submission(tmp_path / "data", stale / "leaks", stale / "classifier", tmp_path / "made")
    made = update(tmp_path / "data", stale).submission.table.set_index("Id")["Predicted"]
    before = pd.read_csv(run / "submission" / "submission.csv", dtype=str).set_index("Id")
    assert made[ids.iloc[0]] == made[ids.iloc[-1]]
    assert (made[1:] == before["Predicted"][1:]).mean() > 0.9


def test_verdicts_change_the_submission_and_last(job, tmp_path):
    """A rejected copy is not claimed again, and an accepted pair is, though no score claims it."""
    shutil.copytree(job[0], tmp_path / "data")
    shutil.copytree(job[1], tmp_path / "run")
    data, run = tmp_path / "data", RunFolder(tmp_path / "run")
    leaks = pd.read_csv(run.leaks / "leaks.csv", dtype=str)
    copy = leaks[leaks["relation"] == "same_image"].iloc[0]
    truth = pd.read_csv(data / "truth.csv", dtype=str).set_index("Id")["relation"]
    new = next(i for i in truth.index[truth == "novel"] if i not in set(leaks["Id"]))
    match = copy["match_id"]
    key_of = keys_in(data, cache_folder(run.leaks))
    said = [(copy["Id"], "different"), (new, "same")]
    add_verdicts(
        verdicts_beside(run.leaks),
        [
            Verdict(query_id=i, match_id=match, query_key=key_of[i], match_key=key_of[match],
                    verdict=verdict)
            for i, verdict in said
        ],
    )  # fmt: skip
    assert run.state(Stage.SUBMISSION) == "stale"

    def check(made):
        origins = made.submission.origins.set_index("Id")
        assert origins.at[copy["Id"], "match_id"] != match
        assert origins.at[new, "match_id"] == match
        assert "reviewer has confirmed" in origins.at[new, "reason"]
        labels = pd.read_csv(data / "train.csv", dtype=str).set_index("Id")["Target"]
        assert made.table.set_index("Id").at[new, "Predicted"] == labels[match]
        assert run.state(Stage.SUBMISSION) == "done"

    check(make_submission(data, run.leaks, run.classifier, run.submission))
    page = explanation_of(copy["Id"], read_run(data, run.path))
    assert page.claim is None or page.claim.match_id != match
    check(update(data, run.path).submission)
    found = find_leaks(data, run.index, run.leaks, replace(LEAKS, neighbours=5)).table
    assert not (found["Id"].eq(copy["Id"]) & found["match_id"].eq(match)).any()
    assert found.set_index("Id").at[new, "match_id"] == match
    groups = pd.read_csv(run.leaks / "groups.csv", dtype=str).set_index("Id")["Group"]
    assert groups[new] == groups[match]
    assert groups.get(copy["Id"]) != groups[match]
    looked_up = lookup([copy["Id"], new], run.index, k=80, montage=tmp_path / "m.png").verdicts
    assert f"copy of {match}" not in looked_up[copy["Id"]]
    assert looked_up[new].startswith(f"is a copy of {match}")
    assert looked_up[new].endswith("as a reviewer has confirmed")


def test_an_update_needs_an_index(tmp_path):
    with pytest.raises(MissingStageError, match=r"build.index"):
        update(tmp_path, tmp_path / "run")
