"""Make an atlas whose test relations are known, of the labelled images of another."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import run
from atlas.workflows.settings import SimulationSettings


def main(
    settings: OmitArgPrefixes[SimulationSettings],
    data: Path = Path("data"),
    out: Path = Path("data_simulated"),
) -> None:
    """Hold out labelled images as a test whose truth is known, to rehearse the whole job on.

    A copy's source stays labelled, edited copies of it are tested; a sibling's antibody keeps
    other images; of the others' antibodies nothing stays. Then run the other commands with
    --data OUT, and score.py at the end.

    Args:
        settings: How many images of which relation.
        data: The atlas folder; its own test images play no part.
        out: The atlas folder to write; images are linked or copied.
    """
    from atlas.workflows.simulate.simulation import simulate_test, told

    print("\n".join(told(simulate_test(data, out, settings), out)))


if __name__ == "__main__":
    run(main)
