"""Draw an atlas of cells whose every relation is known."""

from pathlib import Path

from atlas.cli.console import run


def main(
    out: Path,
    identities: int = 1000,
    fields_per_identity: int = 6,
    size_px: int = 64,
    seed: int = 0,
    test_fields_per_identity: int = 2,
    novel_identities: int = 1000,
    copies: int = 200,
    train_table: Path | None = None,
    test_table: Path | None = None,
    jobs: int = 1,
) -> None:
    """Draw an atlas of cells whose every relation is known, for tests and rehearsals.

    With --train-table and --test-table it draws an image for every id of real tables instead, in
    the layout of HPA 2018; then only --size-px, --seed and --jobs matter beside them.

    Args:
        out: The folder to write; it must not exist yet, unless it is this very atlas.
        identities: Antibodies in train.
        fields_per_identity: Train images of each antibody.
        size_px: Side of an image.
        seed: Equal seeds and settings draw equal pixels.
        test_fields_per_identity: Test images of each antibody, known and novel.
        novel_identities: Antibodies that occur in test only.
        copies: Test images that are edited copies of train images.
        train_table: CSV table with Id and Target.
        test_table: CSV table with Id, such as sample_submission.csv.
        jobs: Processes.
    """
    from atlas.core.errors import UserError
    from atlas.synthetic.drawn_atlas import draw_atlas, draw_for_tables, read_id_tables
    from atlas.synthetic.drawn_plan import DrawnAtlasSettings

    if train_table is not None and test_table is not None:
        table, test_ids = read_id_tables(train_table, test_table)
        drawn = draw_for_tables(table, test_ids, out, size_px=size_px, seed=seed, jobs=jobs)
    elif train_table is None and test_table is None:
        settings = DrawnAtlasSettings(
            identities=identities,
            fields_per_identity=fields_per_identity,
            size_px=size_px,
            seed=seed,
            test_fields_per_identity=test_fields_per_identity,
            novel_identities=novel_identities,
            copies=copies,
        )
        drawn = draw_atlas(settings, out, jobs=jobs)
    else:
        raise UserError("--train-table and --test-table belong together: give both or neither")
    verb = "is already there" if drawn.already_there else "drawn"
    counts = f"{drawn.train_images} train and {drawn.test_images} test images"
    print(f"{drawn.folder}: {verb}, {counts}, content {drawn.content_hash}")


if __name__ == "__main__":
    run(main)
