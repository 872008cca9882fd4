"""Submissions: write one, check any, score a run."""

from pathlib import Path

from tyro.conf import Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import show_table
from atlas.core.files import read_json

SUBMISSION_FILE = "submission.csv"
SHOWN_CHANGES = 8


def make_submission(
    data: Path = Path("data"),
    leaks: Path = Path("runs/leaks"),
    classifier: Path = Path("runs/classifier"),
    out: Path = Path("runs/submission"),
) -> Answer:
    """Write the leak-aware submission: a match's labels where worth it, else the classifier's.

    Args:
        data: The atlas folder; its sample_submission.csv gives the rows and their order.
        leaks: What find-leaks wrote.
        classifier: What train-classifier or train-folds wrote.
        out: Where submission.csv, origins.csv and summary.json go.
    """
    from atlas.workflows.submit import submission as workflow

    made = workflow.make_submission(data, leaks, classifier, out)
    for origin, count in sorted(made.by_origin.items()):
        print(f"{origin}: {count} rows")
    worth = made.overrides
    gains = [override.gain for override in worth.by_id.values() if override.made]
    print(
        f"{len(gains)} of {len(worth.by_id)} transfers are made, expected to change macro F1 by "
        f"{sum(gains):+.4f}; {worth.wrong_share:.1%} of the matches' labels look wrong"
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
    """Check a submission, whoever wrote it: ids, order, labels. All problems are reported at once.

    Args:
        submission: A CSV file with the columns Id and Predicted.
        data: The atlas folder, with sample_submission.csv.
    """
    from atlas.workflows.submit.check import check_submission_of

    asked = check_submission_of(data, submission)
    return Answer(
        summary=f"{submission} is a good submission: it has the {len(asked.ids)} ids of "
        "sample_submission.csv in their order, its labels lie in 0 to "
        f"{asked.label_count - 1}, and no row is empty.",
        details={"rows": len(asked.ids)},
    )


def score(data: Path = Path("data"), run: Path = Path("runs")) -> Answer:
    """Score the leaks and the submission of a run against DATA/truth.csv.

    Args:
        data: The atlas folder, with truth.csv.
        run: The folder that holds index, leaks and, if made, submission.
    """
    from atlas.workflows.submit.score import score_run, top_changes

    scored = score_run(data, run)
    leaks, labels = scored.leaks, scored.labels
    rows = [
        *((f"copies found: {edit}", share) for edit, share in leaks.copies_by_edit.items()),
        ("false same_image claims", leaks.false_copies),
        ("sibling claims that are right", leaks.sibling_precision),
        ("siblings found", leaks.sibling_recall),
    ]
    show_table(("measure", "count (share; exact 95% interval)"), rows)
    if leaks.false_copy_ids:
        print("false same_image claims: " + " ".join(leaks.false_copy_ids))
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
        show_table(columns, scores, title="macro F1 (95% interval by bootstrap over groups)")
        changes = [
            (f"{row['label']} {row['name']}", row["images"], f"{row['f1_without']:.3f}",
             f"{row['f1_with']:.3f}", f"{row['difference']:+.3f}")
            for row in top_changes(labels.by_class, SHOWN_CHANGES).to_dict("records")
        ]  # fmt: skip
        title = f"labels that transfer changes most ({len(changes)} shown)"
        show_table(("label", "images", "F1 without", "F1 with", "difference"), changes, title=title)
    return Answer(
        summary=scored.summary,
        wrote=scored.written,
        details={"score": read_json(scored.written[0])},
    )
