"""Training captions: what is known of a picture, put into words that leave the trigger its meaning.

| name                   | backend                                                 | weights (Hugging Face)           |
|------------------------|---------------------------------------------------------|----------------------------------|
| `template`             | the earlier stages' facts alone; looks at no picture    | none                             |
| `qwen2-vl-2b`, `-7b`   | Qwen2-VL, in half precision on a GPU                    | 4.4, 16.6 GB, Apache-2.0         |
| `qwen2.5-vl-3b`        | Qwen2.5-VL                                              | 7.5 GB, Qwen's research licence  |
| `qwen2.5-vl-7b`        | Qwen2.5-VL                                              | 16.6 GB, Apache-2.0              |
| `qwen3-vl-2b`, `-4b`,  | Qwen3-VL                                                | 4.3, 8.9, 17.5 GB, Apache-2.0    |
| `-8b`                  |                                                         |                                  |
| `qwen2-vl-7b-4bit`,    | the same weights, held in 4 bits by bitsandbytes: about | those of the same name           |
| `qwen2.5-vl-7b-4bit`,  | 7 GB, for a GPU that the others do not fit              |                                  |
| `qwen3-vl-8b-4bit`     |                                                         |                                  |
| `openai-server`        | what a server such as `vllm serve` serves at            | the server's                     |
|                        | `caption.server`: many pictures at once                 |                                  |
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from data_contracts.records import LoraType
from models.backends import Backend, Backends
from models.caption.answers import UnreadableAnswer
from models.caption.template import Facts, Template
from models.pictures import Picture
from models.weights import BITSANDBYTES, HubModel


class Captioner(Protocol):
    """Says what a crop shows, where the stages before could not."""

    @property
    def looks(self) -> bool:
        """Whether it looks at pictures; where it does not, none need be read."""
        ...

    def describe(
        self, crops: Sequence[Picture], known: Sequence[Facts], kind: LoraType
    ) -> Sequence[Facts | UnreadableAnswer]:
        """Return what is known of each crop, completed by what is seen; what is known already is kept.

        Args:
            crops: `(H, W, 3)` RGB uint8 of any sizes; not read where the captioner does not look.
            known: what the stages before found out, one a crop.
            kind: of the LoRA. Its own subject is never described.

        Returns:
            The facts of each crop; in their place, of a crop for which no answer could be read, what was wrong with
            the last one.
        """
        ...

    def release(self) -> None:
        """Give back memory and connections; the captioner is not asked again."""
        ...


def _template(server: str | None = None, model: str | None = None) -> Captioner:  # noqa: ARG001
    """Return the captioner that needs neither a network nor a server."""
    return Template()


def _qwen(
    weights: HubModel,
    server: str | None = None,  # noqa: ARG001
    model: str | None = None,  # noqa: ARG001
    *,
    four_bit: bool = False,
) -> Captioner:
    from models.caption.qwen2_vl import Qwen2VL  # noqa: PLC0415

    return Qwen2VL(weights.path(), four_bit=four_bit)


def _openai_server(server: str | None = None, model: str | None = None) -> Captioner:
    from models.caption.openai_server import OpenAIServer  # noqa: PLC0415

    return OpenAIServer(server, model)


def _qwen_model(name: str, revision: str, megabytes: float, shards: int, licence: str = "Apache-2.0") -> HubModel:
    weights = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    files = ["model.safetensors"] if shards == 1 else ["model.safetensors.index.json", *weights]
    words = ["config.json", "preprocessor_config.json", "chat_template.json", "tokenizer.json", "tokenizer_config.json"]
    return HubModel(f"Qwen/{name}-Instruct", revision, licence, megabytes, (*words, *files))


QWEN = {
    "qwen2-vl-2b": _qwen_model("Qwen2-VL-2B", "895c3a49bc3fa70a340399125c650a463535e71c", 4430, 2),
    "qwen2-vl-7b": _qwen_model("Qwen2-VL-7B", "eed13092ef92e448dd6875b2a00151bd3f7db0ac", 16590, 5),
    "qwen2.5-vl-3b": _qwen_model(
        "Qwen2.5-VL-3B", "66285546d2b821cf421d4f5eb2576359d3770cd3", 7520, 2, "LicenseRef-Qwen-Research"
    ),
    "qwen2.5-vl-7b": _qwen_model("Qwen2.5-VL-7B", "cc594898137f460bfe9f0759e9844b3ce807cfb5", 16600, 5),
    "qwen3-vl-2b": _qwen_model("Qwen3-VL-2B", "89644892e4d85e24eaac8bacfd4f463576704203", 4267, 1),
    "qwen3-vl-4b": _qwen_model("Qwen3-VL-4B", "ebb281ec70b05090aa6165b016eac8ec08e71b17", 8887, 2),
    "qwen3-vl-8b": _qwen_model("Qwen3-VL-8B", "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b", 17546, 4),
}
FOUR_BIT = ("qwen2-vl-7b", "qwen2.5-vl-7b", "qwen3-vl-8b")
CAPTIONERS: Backends[Captioner] = Backends(
    "captioner",
    {
        "template": Backend(_template),
        **{name: Backend(partial(_qwen, model), (model,)) for name, model in QWEN.items()},
        **{
            f"{name}-4bit": Backend(partial(_qwen, QWEN[name], four_bit=True), (QWEN[name], BITSANDBYTES))
            for name in FOUR_BIT
        },
        "openai-server": Backend(_openai_server),
    },
)
"""Made from a server's address and a model's name there, or None; backends that need no server ignore both."""
