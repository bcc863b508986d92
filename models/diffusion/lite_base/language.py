"""The text encoder of the `lite` base model, taught to read before the U-Net learns to draw.

Stable Diffusion's text encoder knows which colour belongs to which word before its U-Net learns anything. Ours has to
learn it first as well: by answering questions about captions from what the U-Net is told of them. Without it, 8,000
steps of U-Net and text encoder together taught places and shot sizes, but the colour of a top was right in 6% of the
pictures: as often as by chance.
"""

# mypy: disable-error-code="no-untyped-call"

import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from models.diffusion.lite_base.denoiser import TOLD, Denoiser
from models.diffusion.lite_base.loop import Schedule, autocast
from models.diffusion.lite_base.vary import vary_caption
from models.seeds import seeded_generator

SCHEDULE = Schedule(steps=1200, batch=32, learning_rate=1e-3, seed=4)
QUESTIONS: Mapping[str, str] = {
    "who": r"a (boy|girl) with",
    "hair": r"with (\w+) (?:curly|long|spiky) hair",
    "style": r"with \w+ (curly|long|spiky) hair",
    "cap": r"with a (\w+) cap",
    "top": r"wearing a (\w+) (?:and \w+ striped )?shirt",
    "stripe": r"wearing a \w+ and (\w+) striped shirt",
    "bottom": r"shirt and (?:a )?(\w+) (?:shorts|pants|skirt)",
    "legs": r"shirt and (?:a )?\w+ (shorts|pants|skirt)",
    "pose": r", (standing|walking|jumping|waving|sitting)",
    "expression": r"(\w+) expression",
    "place": r"\b(town|beach|forest|room)\b",
    "wall": r"room with (\w+) walls",
    "parasol": r"with a (\w+) parasol",
    "houses": r"with (\w+) and \w+ houses",
    "other houses": r"and (\w+) houses",
    "shot": r"(full body|medium shot|close-up)",
    "view": r"(front|side|three-quarter) view",
    "empty": r"(empty) scene",
}
"""What is asked of a caption, and the words that answer it."""


class ReadingLoss:
    """How often the text encoder's states leave a question about a caption open."""

    def __init__(self, networks: Denoiser, captions: Sequence[str], schedule: Schedule, device: torch.device) -> None:
        self.networks, self.captions, self.schedule, self.device = networks, captions, schedule, device
        self.answers = answers_of(captions)
        # Class 0 of each question is "not said".
        heads = [nn.Linear(TOLD, 1 + len(words)) for words in self.answers.values()]
        self.heads = nn.ModuleList(heads).to(device)

    @property
    def learners(self) -> nn.ModuleList:
        """The modules that learn to read."""
        return nn.ModuleList([self.networks.text_encoder, self.networks.unet.add_embedding, self.heads])

    def __call__(self, step: int) -> torch.Tensor:
        """Return the mean cross-entropy over the questions about the captions of `step`."""
        generator = seeded_generator(self.schedule.seed, "language", step)
        chosen = torch.randint(len(self.captions), (self.schedule.batch,), generator=generator)
        captions = [vary_caption(self.captions[index], generator) for index in chosen.tolist()]
        logits, wanted = self._read(captions)
        losses = [functional.cross_entropy(each.float(), wanted[:, place]) for place, each in enumerate(logits)]
        return torch.stack(losses).mean()

    def right(self, captions: Sequence[str]) -> float:
        """Return the share of questions about `captions` that are answered rightly."""
        with torch.no_grad():
            logits, wanted = self._read(captions)
        found = torch.stack([each.argmax(dim=1) for each in logits], dim=1)
        return float((found == wanted).float().mean())

    def _read(self, captions: Sequence[str]) -> tuple[list[torch.Tensor], torch.Tensor]:
        tokens = self.networks.tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt")
        with autocast(self.device):
            states = self.networks.text_encoder(tokens.input_ids.to(self.device))[0]
            told = self.networks.unet.add_embedding(states)
            logits = [head(told) for head in self.heads]
        wanted = torch.tensor(
            [[answer_class(caption, name, words) for name, words in self.answers.items()] for caption in captions]
        )
        return logits, wanted.to(self.device)


def answers_of(captions: Sequence[str]) -> dict[str, list[str]]:
    """Return all words that answer each question in the captions, sorted."""
    found = {name: {match[1] for each in captions if (match := re.search(QUESTIONS[name], each))} for name in QUESTIONS}
    return {name: sorted(words) for name, words in found.items()}


def answer_class(caption: str, question: str, words: Sequence[str]) -> int:
    """Return the class of a question's answer, from 1 on; 0 where the caption does not say."""
    match = re.search(QUESTIONS[question], caption)
    return 1 + words.index(match[1]) if match and match[1] in words else 0
