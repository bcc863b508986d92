"""Contact sheets: one picture a stage, on which a person sees what it did. Drawn with Pillow, from datasets.

Each function takes a stage's result and then its inputs, and returns an RGB picture about 1200 wide, or None where
the result has no rows. Large results are sampled evenly, and the sheet says how much of them it shows.
"""

from models.sheets.bodies import expressions_sheet, poses_sheet
from models.sheets.characters import characters_sheet
from models.sheets.examples import captions_sheet, examples_sheet
from models.sheets.film import frames_sheet, layers_sheet, plates_sheet
from models.sheets.generated import composition_sheet, evaluation_sheet, stacking_sheet
from models.sheets.groups import identities_sheet, places_sheet
from models.sheets.training import lora_sheet
from models.sheets.weights import weights_sheet

__all__ = [
    "captions_sheet",
    "characters_sheet",
    "composition_sheet",
    "evaluation_sheet",
    "examples_sheet",
    "expressions_sheet",
    "frames_sheet",
    "identities_sheet",
    "layers_sheet",
    "lora_sheet",
    "places_sheet",
    "plates_sheet",
    "poses_sheet",
    "stacking_sheet",
    "weights_sheet",
]
