"""Write the leak-aware submission."""

from pathlib import Path

from atlas.cli.console import run


def main(
    data: Path = Path("data"),
    leaks: Path = Path("runs/leaks"),
    classifier: Path = Path("runs/classifier"),
    out: Path = Path("runs/submission"),
) -> None:
    """Write the leak-aware submission: a match's labels where worth it, else the classifier's.

    Args:
        data: the atlas folder; its sample_submission.csv gives the rows and their order.
        leaks: what find_leaks.py wrote.
        classifier: what train_classifier.py or train_folds.py wrote.
        out: where submission.csv, origins.csv and summary.json go.
    """
    from atlas.workflows.submit.submission import make_submission_of

    made = make_submission_of(data, leaks, classifier, out)
    for origin, count in sorted(made.by_origin.items()):
        print(f"{origin}: {count} rows")
    worth = made.overrides
    gains = [override.gain for override in worth.by_id.values() if override.made]
    print(
        f"{len(gains)} of {len(worth.by_id)} transfers are made, expected to change macro F1 by "
        f"{sum(gains):+.4f}; {worth.wrong_share:.1%} of the matches' labels look wrong"
    )
    print(f"{made.changed} rows differ from the classifier alone (submission_without_transfer.csv)")
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
