"""What to expect of this machine."""

from atlas.cli.answers import Answer
from atlas.cli.console import show_table
from atlas.core.errors import command_line
from atlas.core.progress import duration

EXPECTED = (1_000, 10_000, 100_000)  # images; the last line says what the most of them take


def bench(size_px: int = 512) -> Answer:
    """Measure how fast this machine is, and print how long large atlases take. It takes minutes.

    Two small atlases of four channels are drawn in a temporary folder, indexed with the embedder
    `frozen`, and searched for copies.

    Args:
        size_px: Side of the images.
    """
    from atlas.workflows.bench import measure_speed

    speeds = measure_speed(size_px)
    show_table(
        ["command", "once", "images/s", *(f"{count:,} images" for count in EXPECTED)],
        [
            [
                command_line(speed.command),
                duration(speed.once_s),
                f"{speed.images_per_s:.1f}",
                *(duration(speed.seconds(count)) for count in EXPECTED),
            ]
            for speed in speeds
        ],
        justify="right",
    )
    (index, leaks), most = speeds, EXPECTED[-1]
    return Answer(
        summary=f"About {index.images_per_s:.0f} images/s here, of four channels of {size_px} px: "
        f"{most:,} images take {duration(index.seconds(most))} to index and "
        f"{duration(leaks.seconds(most))} to search for copies.",
        details={
            speed.command: {"once_s": speed.once_s, "images_per_s": speed.images_per_s}
            for speed in speeds
        },
    )
