"""Submissions: write one, check any, and score a run."""

from pathlib import Path

from tyro.conf import Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import show, show_table
from atlas.core.result_files import read_json
from atlas.core.wording import counted

SHOWN_CHANGES = 8


def make_submission(
    data: Path = Path("data"),
    leaks: Path = Path("runs/leaks"),
    classifier: Path = Path("runs/classifier"),
    out: Path = Path("runs/submission"),
) -> Answer:
    """Write a submission: the labels of known images where they help, else the classifier's.

    Labels are transferred from a known image if this is expected to raise macro F1.

    Args:
        data: Atlas folder; its sample_submission.csv gives the rows and their order.
        leaks: Leaks folder, as find-leaks writes it.
        classifier: Folder of a classifier, folds or ensemble, as train-classifier, train-folds or
            ensemble writes it.
        out: Folder to write, with submission.csv, origins.csv and summary.json.
    """
    from atlas.workflows.run_folder import SUBMISSION_FILE
    from atlas.workflows.submit import submission as workflow

    made = workflow.make_submission(data, leaks, classifier, out)
    for origin, count in sorted(made.by_origin.items()):
        show(f"{origin}: {counted(count, 'row')}")
    overrides = made.overrides
    gains = [override.gain for override in overrides.by_id.values() if override.made]
    show(
        f"{len(gains):,} of {len(overrides.by_id):,} transfers are made, with an expected gain of "
        f"{sum(gains):+.4f} in macro F1"
    )
    if overrides.judged:
        shares = overrides.shares
        show(
            f"the labels of {counted(overrides.judged, 'match', 'matches')} were judged: about "
            f"{shares.right:.1%} seem right, {shares.one_off:.1%} have one label too many or "
            f"missing, and {shares.random:.1%} are those of another image"
        )
    return Answer(
        summary=made.summary,
        wrote=[out],
        page=made.report if made.report.exists() else None,
        next_command=following("check_submission", str(out / SUBMISSION_FILE), data=data),
        details={"rows": len(made.table), "by_origin": made.by_origin, "changed": made.changed},
    )


def check_submission(
    submission: Positional[Path] = Path("runs/submission/submission.csv"),
    data: Path = Path("data"),
) -> Answer:
    """Check a submission: its ids, their order, and its labels. All problems are reported together.

    Args:
        submission: CSV file with the columns Id and Predicted.
        data: Atlas folder with sample_submission.csv.
    """
    from atlas.workflows.submit.check import check_submission_of

    asked = check_submission_of(data, submission)
    return Answer(
        summary=f"{submission} is a valid submission: it has the {len(asked.ids)} ids of "
        "sample_submission.csv in their order, its labels are numbers from 0 to "
        f"{asked.label_count - 1}, and no row is empty.",
        details={"rows": len(asked.ids)},
    )


def score(data: Path = Path("data"), run: Path = Path("runs")) -> Answer:
    """Score the leaks and the submission of a run against DATA/truth.csv.

    Args:
        data: Atlas folder with truth.csv.
        run: Run folder with an index, leaks and, optionally, a submission.
    """
    from atlas.workflows.submit.label_score import top_changes
    from atlas.workflows.submit.score import score_run

    scored = score_run(data, run)
    leaks, labels = scored.leaks, scored.labels
    rows = [
        *((f"copies found: {edit}", share) for edit, share in leaks.copies_by_edit.items()),
        ("copies claimed with a wrong source", leaks.wrong_source),
        ("copies missed", leaks.missed),
        ("false claims of copies", leaks.false_copies),
        ("correct claims of siblings", leaks.sibling_precision),
        ("claims of siblings with equal labels", leaks.sibling_labels),
        ("siblings found", leaks.sibling_recall),
    ]
    if leaks.sibling_identified:
        rows.append(("siblings identified at a false alarm rate of 1%", leaks.sibling_identified))
    show_table(("measure", "count (share; exact 95% interval)"), rows)
    if leaks.wrong_source_ids:
        show("copies claimed with a wrong source: " + " ".join(leaks.wrong_source_ids))
    if leaks.false_copy_ids:
        show("false claims of copies: " + " ".join(leaks.false_copy_ids))
    if labels:
        columns = (
            "test images", "images", "groups", "labels", "without transfer", "with transfer",
            "difference",
        )  # fmt: skip
        scores = [
            (one.relation, one.images, one.groups, one.labels, one.without_transfer,
             one.with_transfer, one.difference.signed)
            for one in labels.by_relation
        ]  # fmt: skip
        show_table(columns, scores, title="Macro F1 (95% interval by bootstrap over groups)")
        gains = [
            (one.relation, one.rows, one.macro_f1, one.difference.signed) for one in labels.by_claim
        ]
        show_table(
            ("claims", "rows changed", "macro F1", "difference"),
            gains,
            title="Macro F1 if only the claims of one relation transfer labels",
        )
        changes = [
            (f"{row['label']} {row['name']}", row["images"], f"{row['f1_without']:.3f}",
             f"{row['f1_with']:.3f}", f"{row['difference']:+.3f}")
            for row in top_changes(labels.by_class, SHOWN_CHANGES).to_dict("records")
        ]  # fmt: skip
        title = f"Labels whose F1 the transfer changes most ({len(changes)} shown)"
        show_table(("label", "images", "F1 without", "F1 with", "difference"), changes, title=title)
    return Answer(
        summary=scored.summary,
        wrote=scored.written,
        details={"score": read_json(scored.written[0])},
    )
