"""What a vision-language model is asked of a crop: by LoRA type, and never for what the caption may not say.

What a caption names, the trigger does not learn. A model that is not asked for hair and clothes of the character that
the LoRA is about cannot put them into its captions.
"""

from dataclasses import dataclass

from data_contracts.records import UNSAID, LoraType
from models.caption.template import ACTION_WORDS, Facts

ASKED: dict[LoraType, tuple[str, ...]] = {
    "character": ("action", "expression", "place", "details"),
    "pose": ("who", "expression", "place", "details"),
    "expression": ("who", "action", "place", "details"),
    "background": ("details",),
}
"""The facts that a type's captions name; of these, a model is asked for what is not known, and always for details."""
MEANINGS = {
    "who": 'age, hair and clothes of the one in the middle, such as "a girl with red hair in a yellow shirt"',
    "action": 'what the body does, such as "leaning on a wall"',
    "expression": 'the mood of the face in one adjective, such as "surprised"',
    "place": 'where it is, such as "on a wooden pier"',
}
DETAILS: dict[LoraType, str] = {
    "character": 'what the hands do and what is near, such as "holding a red ball" or "a boat behind"',
    "pose": 'things that are near, such as "a red ball on the ground" or "a boat behind"',
    "expression": 'what the hands do and what is near, such as "chin in one hand" or "a boat behind"',
    "background": 'what stands, lies or hangs in this view, such as "boats at the quay" or "cobbled street"',
}
NEVER: dict[LoraType, str] = {
    "character": "hair, skin, face, body or clothes, and no name",
    "pose": "what body, arms or legs do, and no name",
    "expression": "the face, the eyes, the mouth or a mood, and no name",
    "background": "people, animals or anybody's clothes",
}
MAX_DETAILS = 4
MAX_WORDS = 14
"""A phrase; longer ones are sentences, of which a caption's 77 tokens hold two."""
FRAME = """This is a crop of an animated film. Answer with one JSON object and nothing else, with these keys:
{keys}
Each is a short phrase without a full stop, at most {words} words; "" or [] where it cannot be seen. {rules}"""
RULES = (
    "Say only what is seen, never what is missing. Say nothing of light, shadow, style, quality or camera. "
    "Never mention {never}."
)


@dataclass(frozen=True)
class Question:
    """What is asked of one crop.

    asked: keys of the JSON object that answers it, each a field of `Facts`.
    text: the question in words.
    """

    asked: tuple[str, ...]
    text: str

    def again(self, fault: object) -> "Question":
        """Return the question with what was wrong with the last answer."""
        return Question(self.asked, f"{self.text}\nYour last answer could not be read: {fault}. Answer again.")


def question_of(kind: LoraType, known: Facts) -> Question:
    """Return what to ask of a crop for a LoRA of type `kind`, given what is `known` of it."""
    asked = tuple(key for key in ASKED[kind] if key == "details" or getattr(known, key) in UNSAID)
    meanings = {**MEANINGS, "details": f"a list of at most {MAX_DETAILS} phrases: {DETAILS[kind]}"}
    keys = "\n".join(f'"{key}": {meanings[key]}' for key in asked)
    rules = RULES.format(never=NEVER[kind])
    if said := [_in_words(key, known) for key in ASKED[kind] if key not in asked]:
        rules += f" Known already, not to be repeated: {'; '.join(said)}."
    return Question(asked, FRAME.format(keys=keys, words=MAX_WORDS, rules=rules))


def _in_words(key: str, known: Facts) -> str:
    """Return a known fact as the caption words it."""
    value = str(getattr(known, key))
    return ACTION_WORDS.get(value, value) if key == "action" else value
