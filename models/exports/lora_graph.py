"""Graphs of ComfyUI's nodes, and their two files: what its page opens, and what its HTTP interface runs.

The first is its workflow format 0.4 (docs.comfy.org/specs/workflow_json_0.4), the second what "Export (API)" writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A class of nodes: what it takes from others, type by name; its values in the page's order; its outputs' types."""

    links: Mapping[str, str] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


_MODEL_ONLY, _LATENT_SIZE = {"model": "MODEL"}, ("width", "height", "batch_size")
KINDS: Mapping[str, Kind] = {
    "CheckpointLoaderSimple": Kind(values=("ckpt_name",), outputs=("MODEL", "CLIP", "VAE")),
    "UNETLoader": Kind(values=("unet_name", "weight_dtype"), outputs=("MODEL",)),
    "CLIPLoader": Kind(values=("clip_name", "type", "device"), outputs=("CLIP",)),
    "DualCLIPLoader": Kind(values=("clip_name1", "clip_name2", "type", "device"), outputs=("CLIP",)),
    "VAELoader": Kind(values=("vae_name",), outputs=("VAE",)),
    "LoraLoader": Kind(
        {"model": "MODEL", "clip": "CLIP"}, ("lora_name", "strength_model", "strength_clip"), ("MODEL", "CLIP")
    ),
    "LoraLoaderModelOnly": Kind(_MODEL_ONLY, ("lora_name", "strength_model"), ("MODEL",)),
    "CLIPSetLastLayer": Kind({"clip": "CLIP"}, ("stop_at_clip_layer",), ("CLIP",)),
    "ModelSamplingDiscrete": Kind(_MODEL_ONLY, ("sampling", "zsnr"), ("MODEL",)),
    "ModelSamplingAuraFlow": Kind(_MODEL_ONLY, ("shift",), ("MODEL",)),
    "CLIPTextEncode": Kind({"clip": "CLIP"}, ("text",), ("CONDITIONING",)),
    "FluxGuidance": Kind({"conditioning": "CONDITIONING"}, ("guidance",), ("CONDITIONING",)),
    "ConditioningZeroOut": Kind({"conditioning": "CONDITIONING"}, (), ("CONDITIONING",)),
    "EmptyLatentImage": Kind(values=_LATENT_SIZE, outputs=("LATENT",)),
    "EmptySD3LatentImage": Kind(values=_LATENT_SIZE, outputs=("LATENT",)),
    "KSampler": Kind(
        {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"},
        ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
        ("LATENT",),
    ),
    "VAEDecode": Kind({"samples": "LATENT", "vae": "VAE"}, (), ("IMAGE",)),
    "SaveImage": Kind({"images": "IMAGE"}, ("filename_prefix",)),
}
_COLUMN, _ROW, _LEFT_ROWS = (340, 180, 4)


@dataclass(frozen=True)
class Output:
    """What a node gives: the node's number, and the place among its outputs."""

    node: int
    slot: int


@dataclass(frozen=True)
class Node:
    """A node of a graph, with all that its kind asks for."""

    number: int
    kind: str
    inputs: Mapping[str, Any]

    def values(self) -> dict[str, Any]:
        """Return its values in the order of its page."""
        return {name: self.inputs[name] for name in KINDS[self.kind].values}


class Graph:
    """Nodes, each made after those that it takes from."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, kind: str, **inputs: Any) -> tuple[Output, ...]:  # noqa: ANN401  text, numbers and outputs
        """Add a node and return its outputs.

        Raises:
            ValueError: an input is missing or unknown, or an output goes where another type is wanted.
        """
        rule = KINDS[kind]
        if set(inputs) != {*rule.links, *rule.values}:
            message = f"{kind} takes {sorted({*rule.links, *rule.values})}, given were {sorted(inputs)}"
            raise ValueError(message)
        for name, wanted in rule.links.items():
            source: Output = inputs[name]
            given = KINDS[self.nodes[source.node - 1].kind].outputs[source.slot]
            if given != wanted:
                message = f"{kind}.{name} takes a {wanted}, given was a {given}"
                raise ValueError(message)
        number = len(self.nodes) + 1
        self.nodes.append(Node(number, kind, inputs))
        return tuple(Output(number, slot) for slot in range(len(rule.outputs)))

    def to_api(self) -> dict[str, Any]:
        """Return what ComfyUI's HTTP interface runs: `POST /prompt` with it as `prompt`."""
        return {
            str(node.number): {
                "class_type": node.kind,
                "inputs": {
                    name: [str(value.node), value.slot] if isinstance(value, Output) else value
                    for name, value in node.inputs.items()
                },
                "_meta": {"title": node.kind},
            }
            for node in self.nodes
        }

    def to_page(self) -> dict[str, Any]:
        """Return what is opened by dropping it onto ComfyUI's page."""
        links = [
            [source.node, source.slot, node.number, place, wanted]
            for node in self.nodes
            for place, (name, wanted) in enumerate(KINDS[node.kind].links.items())
            for source in [node.inputs[name]]
        ]
        numbered = [[number, *link] for number, link in enumerate(links, start=1)]
        return {
            "last_node_id": len(self.nodes),
            "last_link_id": len(numbered),
            "nodes": [self._drawn(node, numbered) for node in self.nodes],
            "links": numbered,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }

    def _drawn(self, node: Node, links: list[list[Any]]) -> dict[str, Any]:
        rule, place = KINDS[node.kind], node.number - 1
        into = {slot: number for number, _, _, target, slot, _ in links if target == node.number}
        values = list(node.values().values())
        if node.kind == "KSampler":
            values.insert(1, "fixed")  # the page's own switch behind the seed: what becomes of it after a picture
        return {
            "id": node.number,
            "type": node.kind,
            "pos": [_COLUMN * (place // _LEFT_ROWS), _ROW * (place % _LEFT_ROWS)],
            "size": [_COLUMN - 40, _ROW - 60],
            "flags": {},
            "order": place,
            "mode": 0,
            "inputs": [
                {"name": name, "type": wanted, "link": into[slot]}
                for slot, (name, wanted) in enumerate(rule.links.items())
            ],
            "outputs": [
                {
                    "name": given,
                    "type": given,
                    "links": [link[0] for link in links if (link[1], link[2]) == (node.number, slot)],
                    "slot_index": slot,
                }
                for slot, given in enumerate(rule.outputs)
            ],
            "properties": {"Node name for S&R": node.kind},
            "widgets_values": values,
        }
