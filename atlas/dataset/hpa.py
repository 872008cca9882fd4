"""The Human Protein Atlas, version 18: its channels, labels, and the parts of its image ids."""

import re
from dataclasses import dataclass

# The order is that of arrays: microtubules, the protein, the nucleus, the ER.
HPA_CHANNELS = ("red", "green", "blue", "yellow")

# The 28 labels of the challenge of 2018. The number of a label is its position.
HPA_LABELS = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)

# HPA v18 publishes each channel as an RGB JPEG in the colour of the channel. These are the planes
# (of R, G, B) that hold the signal. Yellow consists of red and green.
TINT_PLANES = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}

# The colours of channels on screen, as RGB weights. Other channels are shown in gray.
DISPLAY_COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (0.5, 0.5, 0.0),
}

# 1,406 of the 74,606 ids of the table end in "_cr...". Plates of RNA interference are named "si26".
# Ids in the leak tables of 2018-19 may also start with the gene, or leave out the antibody.
_ID = re.compile(
    r"(?:ENSG[0-9]+_)?(?:(?P<antibody>[0-9]+)_)?(?P<plate>(?:si)?[0-9]+)_(?P<well>[A-P][0-9]{1,2})"
    r"_(?P<field>[0-9]+)(?:_cr[0-9a-f]+)?"
)


@dataclass(frozen=True, kw_only=True)
class HpaId:
    """The parts of an image id of HPA v18. The antibody is None if the id leaves it out."""

    antibody: str | None
    plate: str
    well: str
    field: str

    @property
    def specimen(self) -> str:
        """The well, which holds cells of one line, stained with one antibody."""
        return f"{self.plate}_{self.well}"


def parse_hpa_id(image_id: str) -> HpaId | None:
    """Parse an id of the form `[gene_][antibody_]plate_well_field[_cr...]`.

    Returns:
        The parts of the id, or None for other ids, such as those of Kaggle.

    Example:
        >>> parse_hpa_id("10005_921_B9_2").specimen
        '921_B9'
    """
    found = _ID.fullmatch(image_id)
    return None if found is None else HpaId(**found.groupdict())
