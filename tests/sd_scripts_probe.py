"""What sd-scripts themselves make of a data set, of sizes and of adapters, as JSON; runs in their environment.

`python sd_scripts_probe.py CHECKOUT dataset DATASET.toml` in the data set's folder: bucket, scaled size and pixels of
each picture. `… buckets RESOLUTION MIN MAX STEP …`: the sizes of each such line of four. `… lora RANK CONV_RANK …`: of
each family and conv_rank, keys and shapes of `networks.lora` on networks of the real size, without their memory.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any

TRAINERS = Path(__file__).parents[1] / "models" / "trainers"
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
LARGE_TEXT = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}


def module(name: str) -> Any:
    return importlib.import_module(name)


def dataset(toml: str) -> dict[str, Any]:
    """Return by its path what is read of each picture, and digests of the pixels that are encoded and of its mask."""
    train_network, config, util = module("train_network"), module("library.config_util"), module("library.train_util")
    arguments = train_network.setup_parser().parse_args([])
    generator = config.BlueprintGenerator(config.ConfigSanitizer(True, True, True, True))  # noqa: FBT003
    blueprint = generator.generate(config.load_user_config(toml), arguments)
    groups = config.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    found: dict[str, Any] = {}
    for split, group in zip(("train", "held_out"), groups, strict=True):
        for each in group.datasets if group else ():
            each.verify_bucket_reso_steps(64)  # as train_network.py does
            for info in each.image_data.values():
                subset = each.image_to_subset[info.image_key]
                loaded = util.load_images_and_masks_for_caching([info], subset.alpha_mask, subset.random_crop)
                pixels = ((loaded[0][0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
                mask = None if loaded[1][0] is None else (loaded[1][0] * 255).round().byte().numpy()
                found[info.absolute_path] = {
                    "split": split,
                    "regularisation": info.is_reg,
                    "caption": info.caption,
                    "repeats": info.num_repeats,
                    "bucket": info.bucket_reso,
                    "scaled": info.resized_size,
                    "pixels": hashlib.sha256(pixels.tobytes()).hexdigest(),
                    "mask": None if mask is None else hashlib.sha256(mask.tobytes()).hexdigest(),
                }
    return found


def buckets(numbers: list[int]) -> list[list[tuple[int, int]]]:
    """Return the sizes of each line of four: resolution, shortest side, longest side, step."""
    make = module("library.model_util").make_bucket_resolutions
    lines = [numbers[start : start + 4] for start in range(0, len(numbers), 4)]
    return [make((resolution, resolution), least, most, step) for resolution, least, most, step in lines]


def lora(family: str, rank: int, conv_rank: int) -> dict[str, list[int]]:
    """Return the shape of each tensor of an adapter on networks of the real size."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    networks = module("networks.lora")
    convolutions = {} if not conv_rank else {"conv_dim": str(conv_rank), "conv_alpha": "1"}
    with torch.device("meta"):
        text_encoders: Any = CLIPTextModel(CLIPTextConfig(**TEXT))
        if family == "sdxl":
            text_encoders = [text_encoders, CLIPTextModelWithProjection(CLIPTextConfig(**LARGE_TEXT))]
            unet = module("library.sdxl_original_unet").SdxlUNet2DConditionModel()
        else:
            config = module("library.model_util").create_unet_diffusers_config(v2=False)
            unet = module("library.original_unet").UNet2DConditionModel(**config)
        network = networks.create_network(1.0, rank, rank, None, text_encoders, unet, **convolutions)
        network.apply_to(text_encoders, unet)
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def main(arguments: list[str]) -> None:
    checkout, what, *rest = arguments
    sys.path[:0] = [checkout, str(TRAINERS)]
    if importlib.util.find_spec("torchvision") is None:
        module("kohya_launch").stand_in_for_torchvision()
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        if what == "dataset":
            answer: Any = dataset(rest[0])
        elif what == "buckets":
            answer = buckets([int(number) for number in rest])
        else:
            rank, *convolutions = map(int, rest)
            # in this order: with convolutions, networks.lora lengthens a list that is the class's own
            kinds = [(family, each) for each in sorted(convolutions) for family in ("sd15", "sdxl")]
            answer = {f"{family}-{each}": lora(family, rank, each) for family, each in kinds}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
