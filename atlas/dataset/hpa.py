"""The Human Protein Atlas, version 18: channels, labels, and what the ids of its fields say."""

import re
from dataclasses import dataclass

# In the order in which arrays hold them: microtubules, the protein, the nucleus, the ER.
HPA_CHANNELS = ("red", "green", "blue", "yellow")

# The 28 labels of the challenge of 2018; the position is the number.
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

# HPA v18 publishes each channel as an RGB JPEG tinted in its own colour: the planes (of R, G, B)
# that carry the signal. Yellow light is red and green together.
TINT_PLANES = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}

# How a channel shows on screen, as RGB weights; channels without a colour of their own are gray.
DISPLAY_COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (0.5, 0.5, 0.0),
}

# 1,406 of the 74,606 ids of the table end in "_cr..."; RNA interference plates are named "si26".
# The leak tables of 2018-19 also put the gene in front, or leave the antibody out.
_ID = re.compile(
    r"(?:ENSG[0-9]+_)?(?:(?P<antibody>[0-9]+)_)?(?P<plate>(?:si)?[0-9]+)_(?P<well>[A-P][0-9]{1,2})"
    r"_(?P<field>[0-9]+)(?:_cr[0-9a-f]+)?"
)


@dataclass(frozen=True, kw_only=True)
class HpaId:
    """antibody: None where the id leaves it out."""

    antibody: str | None
    plate: str
    well: str
    field: str

    @property
    def specimen(self) -> str:
        """The well: cells of one line, stained with one antibody. No two antibodies share one."""
        return f"{self.plate}_{self.well}"


def parse_hpa_id(image_id: str) -> HpaId | None:
    """Parse `[gene_][antibody_]plate_well_field[_cr...]`; None for other ids, such as Kaggle's."""
    found = _ID.fullmatch(image_id)
    return None if found is None else HpaId(**found.groupdict())
