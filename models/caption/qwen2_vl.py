"""Qwen2-VL, 2.5-VL and 3-VL on this machine. Wang et al., 2024, arXiv 2409.12191; Bai et al., 2025, arXiv 2502.13923.

One code for all three: the checkpoint's config says which network it is, its own files say how pictures are cut into
patches and how a chat is written. Transformers' own processor is not used: it wants torchvision for videos.
"""

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, BitsAndBytesConfig, GenerationConfig, Qwen2VLImageProcessorPil

from data_contracts.records import LoraType
from models.caption.answers import UnreadableAnswer
from models.caption.asking import MAX_NEW_TOKENS, TEMPERATURE, describe_with
from models.caption.questions import Question
from models.caption.template import Facts
from models.device import gpu_or_cpu, half_precision
from models.pictures import Picture
from models.seeds import derived_seed
from models.transformers_network import load_network
from models.weights import MissingWeights

NETWORKS: dict[str, Any] = {
    "qwen2_vl": transformers.Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": transformers.Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": transformers.Qwen3VLForConditionalGeneration,
}
MIN_TOKENS, MAX_TOKENS = 128, 768
"""Tokens that a picture becomes. 128 are 317 x 317 pixels of Qwen2-VL's 28 a token: a face of 24 pixels, enlarged, is
seen by a dozen. 768 are 776 x 776: a square of a film 720 pixels high as it is; more costs time and shows nothing."""
UNQUANTISED = ("model.visual", "lm_head")
"""Left in half precision at 4 bit: a tenth of the weights, and small errors in them are seen in every answer."""


class Qwen2VL:
    """The `qwen2-vl-…`, `qwen2.5-vl-…` and `qwen3-vl-…` captioners.

    The network, 4 to 17 GB, is loaded when the first picture comes, not when a run is checked.
    """

    looks = True

    def __init__(self, folder: Path, *, four_bit: bool = False) -> None:
        """Read how the checkpoint in `folder` wants pictures and questions.

        Raises:
            MissingWeights: the folder holds another kind of network, or no chat template.
        """
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind not in NETWORKS:
            message = f"the model in {folder.name} is a {kind!r}; known are {', '.join(NETWORKS)}"
            raise MissingWeights(message)
        self._folder, self._kind, self._four_bit = folder, NETWORKS[kind], four_bit
        config: Any = self._kind.config_class.from_pretrained(folder, local_files_only=True)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
        self._chat = _chat_template(folder) or self._tokenizer.chat_template
        if not self._chat:
            message = f"the model in {folder.name} has no chat template: delete the folder and fetch it again"
            raise MissingWeights(message)
        self._pictures: Any = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
        side = self._pictures.patch_size * self._pictures.merge_size  # pixels of a token
        self._pictures.size = {"shortest_edge": MIN_TOKENS * side**2, "longest_edge": MAX_TOKENS * side**2}
        self._mark = int(config.image_token_id)
        self._mark_text = str(self._tokenizer.convert_ids_to_tokens(self._mark))
        self._network: Any = None

    def describe(
        self, crops: Sequence[Picture], known: Sequence[Facts], kind: LoraType
    ) -> list[Facts | UnreadableAnswer]:
        """Return what is known of each crop and what the network sees (see `Captioner`); all go through it at once."""
        return describe_with(self, crops, known, kind)

    def answer(self, crops: Sequence[Picture], questions: Sequence[Question], attempt: int) -> list[str]:
        """Return the network's answers (see `VisionModel`).

        Only greedy answers are made side by side: a random one would depend on those beside it.
        """
        if attempt == 0:
            return self._generate(crops, questions, None)
        pairs = zip(crops, questions, strict=True)
        return [self._generate([crop], [question], attempt)[0] for crop, question in pairs]

    def release(self) -> None:
        """Give the network's memory back, to other processes too."""
        self._network = None
        gc.collect()
        torch.cuda.empty_cache()

    @torch.inference_mode()
    def _generate(self, crops: Sequence[Picture], questions: Sequence[Question], seed: int | None) -> list[str]:
        if self._network is None:
            self._network = self._load()
        inputs = self._inputs(crops, questions)
        marks: Any = self._tokenizer
        ends = [token for token in (marks.eos_token_id, marks.pad_token_id) if token is not None]
        chosen = {"do_sample": True, "temperature": TEMPERATURE} if seed is not None else {"do_sample": False}
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=MAX_NEW_TOKENS, eos_token_id=ends, pad_token_id=ends[-1], **chosen
        )
        devices = [self._network.device] if self._network.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derived_seed(seed or 0, "caption"))
            answers = self._network.generate(**inputs, generation_config=config)
        new = answers[:, inputs["input_ids"].shape[1] :]
        return [str(text) for text in marks.batch_decode(new, skip_special_tokens=True)]

    def _inputs(self, crops: Sequence[Picture], questions: Sequence[Question]) -> dict[str, torch.Tensor]:
        """Return what the network is asked with, padded on the left to the longest question."""
        cut = self._pictures(images=list(crops), return_tensors="pt")
        patches = self._pictures.merge_size**2  # of a token
        texts = []
        for question, grid in zip(questions, cut["image_grid_thw"], strict=True):
            tokens = self._mark_text * int(grid.prod() // patches)
            texts.append(self._written(question).replace(self._mark_text, tokens, 1))
        words = self._tokenizer(texts, padding=True, return_tensors="pt")
        inputs = {
            "input_ids": words["input_ids"],  # (crops, tokens)
            "attention_mask": words["attention_mask"],
            "mm_token_type_ids": (words["input_ids"] == self._mark).int(),
            "pixel_values": cut["pixel_values"],  # (patches of all crops, channels * frames * patch * patch)
            "image_grid_thw": cut["image_grid_thw"],  # (crops, 3) patches in time, height, width
        }
        return {name: tensor.to(self._network.device) for name, tensor in inputs.items()}

    def _written(self, question: Question) -> str:
        """Return a question about one picture as the checkpoint was taught to read it."""
        chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.text}]}]
        written = self._tokenizer.apply_chat_template(
            chat, chat_template=self._chat, tokenize=False, add_generation_prompt=True
        )
        return str(written)

    def _load(self) -> Any:  # noqa: ANN401
        """Return the network: in half precision on a GPU, in 4 bit where that is asked for, in float32 on a CPU."""
        device = gpu_or_cpu()
        dtype = torch.bfloat16 if self._four_bit and device.type == "cpu" else half_precision(device)
        quantisation = _four_bit(dtype) if self._four_bit else None
        network = load_network(self._kind, self._folder, dtype=dtype, quantisation=quantisation)
        # The checkpoint's own samples, and penalises what is repeated: JSON's quotes.
        network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        return network


def _four_bit(compute: torch.dtype) -> BitsAndBytesConfig:
    """Return NF4 with doubly quantised constants. Dettmers et al., "QLoRA", 2023, arXiv 2305.14314, section 3."""
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=list(UNQUANTISED),
    )


def _chat_template(folder: Path) -> str | None:
    """Return the template that Qwen's repositories keep beside the tokenizer's, which may know no pictures."""
    file = folder / "chat_template.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["chat_template"]) if file.is_file() else None
