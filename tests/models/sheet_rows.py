"""Datasets for the tests of sheets and reports: the sample film's rows from its truth, and made-up training results."""

import json
from pathlib import Path

import av
import numpy as np
from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.records import (
    Caption,
    Example,
    Expression,
    Facets,
    Frame,
    Identity,
    Layer,
    Place,
    Plate,
    Pose,
    Record,
)
from data_contracts.results import (
    CharactersPicture,
    CopyCheck,
    Evaluation,
    Finding,
    LoraFile,
    LoraWeight,
    Sight,
    StackPicture,
    WayPicture,
)
from data_contracts.validations import Drawn, Validation, read_validations

HARBOUR = Path(__file__).parents[2] / "samples" / "harbour"
FILM_FRAMES_A_PICTURE = 4


def _save(folder: Path, picture: Image.Image, name: str) -> str:
    (folder / "files").mkdir(parents=True, exist_ok=True)
    picture.save(folder / "files" / name)
    return name


def _film(every: int) -> dict[int, Image.Image]:
    """The film's pictures by number, one of `every`."""
    with av.open(str(HARBOUR / "harbour.mp4")) as container:
        shown = enumerate(container.decode(video=0))
        return {
            n // FILM_FRAMES_A_PICTURE: frame.to_image()
            for n, frame in shown
            if n % (every * FILM_FRAMES_A_PICTURE) == 0
        }


class Rows:
    """Datasets of the sample film, made from its truth."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        truth = [json.loads(line) for line in (HARBOUR / "truth.jsonl").read_text().splitlines()]
        self.lists: dict[type[Record], list] = {
            kind: [] for kind in (Frame, Layer, Plate, Place, Identity, Pose, Expression, Caption, Example)
        }
        for number, picture in _film(every).items():
            self._frame(truth[number], picture)

    def of(self, kind):
        return Dataset(kind, self.folder, self.lists[kind])

    def _frame(self, truth: dict, picture: Image.Image) -> None:
        n = truth["frame"]
        where = {
            "film": "harbour",
            "shot": f"harbour:s{truth['shot']:04}",
            "frame": n * FILM_FRAMES_A_PICTURE,
            "time_s": n / 6,
        }
        frame = Frame(
            id=f"harbour:{n:06}",
            **where,
            image=_save(self.folder, picture, f"f{n}.png"),
            width=picture.width,
            height=picture.height,
            shot_start=0,
            shot_end=9,
            film_frames=1344,
            sharpness=9,
            brightness=90,
            perceptual_hash="0" * 16,
        )
        self.lists[Frame].append(frame)
        mask = np.asarray(Image.open(HARBOUR / "masks" / f"{n:06}.png").convert("L"))
        for actor in truth["characters"]:
            self._layer(frame, where, picture, mask == 20 * actor["index"], actor)
        if (HARBOUR / "plates" / f"{n:06}.png").exists():
            self._plate(frame, where, truth, mask > 0)

    def _layer(self, frame: Frame, where: dict, picture: Image.Image, inside: np.ndarray, actor: dict) -> None:
        if inside.sum() < 50:
            return
        ys, xs = np.nonzero(inside)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        alpha = Image.fromarray((inside * 255).astype(np.uint8))
        cutout = picture.convert("RGBA")
        cutout.putalpha(alpha)
        track = f"{where['shot']}:t{actor['index'] - 1:02}"
        row_id = f"{frame.id}:t{actor['index'] - 1:02}"
        name = row_id.replace(":", "-")
        layer = Layer(
            id=row_id,
            **where,
            frame_id=frame.id,
            track=track,
            mask=_save(self.folder, alpha, f"m-{name}.png"),
            cutout=_save(self.folder, cutout.crop(box), f"c-{name}.png"),
            box=box,
            area=float(inside.mean()),
            sharpness=9,
            score=1,
        )
        of = {**where, "layer_id": layer.id, "track": track}
        points = tuple((float(x), float(y), float(seen)) for x, y, seen in actor["keypoints"])
        self.lists[Layer].append(layer)
        who = {"cluster": actor["index"] - 1, "name": actor["id"], "similarity": 0.9, "probability": 1}
        self.lists[Identity].append(Identity(id=f"{row_id}:identity", **of, **who))
        stance = {"view": "front", "size": "full", "full_body": True, "action": actor["pose"]}
        self.lists[Pose].append(Pose(id=f"{row_id}:pose", **of, keypoints=points, **stance))
        x, y = points[0][:2]
        face = (x - 15, y - 18, x + 15, y + 12) if points[0][2] else None
        label = {"label": actor["expression"], "confidence": 0.8, "face_box": face}
        self.lists[Expression].append(Expression(id=f"{row_id}:expression", **of, **label))
        self._caption(layer, where, picture, inside, f"{actor['id']}, {actor['pose']}, {actor['expression']}")

    def _caption(self, layer: Layer, where: dict, picture: Image.Image, inside: np.ndarray, text: str) -> None:
        side = picture.height
        x0 = min(max(0, (layer.box[0] + layer.box[2] - side) // 2), picture.width - side)
        box = (x0, 0, x0 + side, side)
        name = layer.id.replace(":", "-")
        text = f"{text}, full body, front view, in a seaside town under a wide blue sky"
        of = {**where, "source_id": layer.id}
        full = Facets(size="full")
        self.lists[Caption].append(
            Caption(id=f"{layer.id}:caption", **of, box=box, facets=full, text=text, tokens=20, lint=("comma mended",))
        )
        mask = Image.fromarray((inside * 255).astype(np.uint8)).crop(box)
        self.lists[Example].append(
            Example(
                id=f"{layer.id}:example",
                **of,
                box=box,
                facets=full,
                tokens=20,
                image=_save(self.folder, picture.crop(box), f"e-{name}.png"),
                mask=_save(self.folder, mask, f"w-{name}.png"),
                caption=text,
                repeats=2,
                split="held_out" if where["shot"].endswith("4") else "train",
                sharpness=9,
            )
        )

    def _plate(self, frame: Frame, where: dict, truth: dict, hole: np.ndarray) -> None:
        n = truth["frame"]
        classes = np.where(hole, 1, 0).astype(np.uint8)
        classes[: classes.shape[0] // 2][hole[: classes.shape[0] // 2]] = 2
        plate = Plate(
            id=f"{frame.id}:plate",
            **where,
            frame_id=frame.id,
            image=_save(self.folder, Image.open(HARBOUR / "plates" / f"{n:06}.png"), f"p{n}.png"),
            provenance=_save(self.folder, Image.fromarray(classes), f"o{n}.png"),
            hole=_save(self.folder, Image.fromarray((hole * 255).astype(np.uint8)), f"h{n}.png"),
            hole_share=float(hole.mean()),
            neighbour_share=float((classes == 1).sum() / max(1, hole.sum())),
            invented_share=float((classes == 2).mean()),
            sharpness=9,
        )
        self.lists[Plate].append(plate)
        noise = n % 54 == 0
        place = {"cluster": -1 if noise else 0, "name": "" if noise else truth["place"]}
        of = {**where, "plate_id": plate.id, "similarity": 0.8, "probability": 0.9}
        self.lists[Place].append(Place(id=f"{plate.id}:place", **of, **place))


def lora_rows(folder: Path) -> Dataset[LoraFile]:
    rng = np.random.default_rng(0)
    (folder / "files").mkdir(parents=True, exist_ok=True)
    log = [{"step": n, "loss": float(0.1 + np.exp(-n / 80) + 0.1 * rng.random()), "lr": 1e-4} for n in range(1, 401)]
    (folder / "files" / "loss.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    (folder / "files" / "luca.safetensors").write_bytes(b"0")
    samples = tuple(_save(folder, _noise(rng, n), f"sample{n}.png") for n in range(5))
    row = LoraFile(
        id="luca",
        name="luca",
        type="character",
        subject="luca",
        trigger="luca boy",
        family="sd15",
        weights="luca.safetensors",
        loss_log="loss.jsonl",
        samples=samples,
        sample_steps=(0, 100, 200, 300, 400),
        steps=400,
        final_loss=0.1532,
        dataset_digest="0" * 64,
        shots=("harbour:s0001",),
    )
    return Dataset(LoraFile, folder, [row])


def validated_lora_rows(folder: Path) -> Dataset[LoraFile]:
    """Return a LoRA of step 300 of 400, which overfits from there on."""
    (row,) = lora_rows(folder)
    falls = {0: (0.9, 0.9), 100: (0.7, 0.65), 200: (0.6, 0.5), 300: (0.55, 0.4), 400: (0.62, 0.35)}
    lines = [
        Validation(step=step, held_out=(held_out,), learnt=(learnt,)) for step, (held_out, learnt) in falls.items()
    ]
    (folder / "files" / "validation.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    losses = {"base_held_out_loss": 0.9, "held_out_loss": 0.55, "learnt_loss": 0.4}
    steps = {"validation_log": "validation.jsonl", "chosen_step": 300, "best_step": 300}
    return Dataset(LoraFile, folder, [LoraFile.model_validate(row.model_dump() | losses | steps)])


def drawn_lora_rows(folder: Path) -> Dataset[LoraFile]:
    """Return the same LoRA, whose validations drew two captions; at step 400 one of them is a learnt picture."""
    (row,) = validated_lora_rows(folder)
    likeness = {0: (0.3, 0.35), 100: (0.4, 0.45), 200: (0.5, 0.6), 300: (0.62, 0.7), 400: (0.68, 0.72)}
    course = read_validations(folder / "files" / "validation.jsonl")
    lines = []
    for n, (line, like) in enumerate(zip(course, likeness.values(), strict=True)):
        checks = tuple(
            CopyCheck(nearest="a.png", to_training=0.2, to_held_out=0.9, is_copy=line.step == 400 and place == 0)
            for place in range(2)
        )
        drawn = Drawn(pictures=2, likeness=like, text=(0.2, 0.25), copying=checks, diversity=1.9 - n / 10)
        lines.append(line.model_copy(update={"drawn": drawn}))
    names = [
        _save(folder, _noise(np.random.default_rng(place), n), f"drawn{n}-{place}.png")
        for n in range(len(course))
        for place in range(2)
    ]
    (folder / "files" / "validation.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    drawn_rows = {
        "drawn": tuple(names),
        "drawn_steps": tuple(step for step in likeness for _ in range(2)),
        "drawn_captions": ("luca boy, full body, in a harbour", "luca boy, close-up, smiling"),
        "base_likeness": 0.325,
        "likeness": 0.66,
        "copies": 0,
    }
    return Dataset(LoraFile, folder, [row.model_copy(update=drawn_rows)])


def _noise(rng: np.random.Generator, seed: int) -> Image.Image:
    low = rng.integers(0, 255, (4 + seed, 4 + seed, 3), dtype=np.uint8)
    return Image.fromarray(low).resize((64, 64), Image.Resampling.BICUBIC)


def stack_rows(
    folder: Path, names: tuple[str, ...], seeds: tuple[int, ...], *, judged: bool = False
) -> Dataset[StackPicture]:
    """Return a composition; judged, a LoRA is found where its weight is not 0, and the last only with odd seeds."""
    variants = {"base": {}} | {f"only {name}": {name: 1.0} for name in names} | {"all": dict.fromkeys(names, 0.8)}
    variants |= {f"without {out}": {name: 0.8 for name in names if name != out} for out in names}
    rng = np.random.default_rng(1)
    rows = []
    for seed in seeds:
        for n, (variant, weights) in enumerate(variants.items()):
            rows.append(
                StackPicture(
                    id=f"{seed}:{variant}",
                    variant=variant,
                    weights=tuple(LoraWeight(lora=k, weight=v) for k, v in weights.items()),
                    prompt="a film still, luca boy, running, in portorosso",
                    seed=seed,
                    image=_save(folder, _noise(rng, n), f"{seed}-{n}.png"),
                    findings=_findings(names, weights, seed) if judged else (),
                    changed=float(n),
                )
            )
    return Dataset(StackPicture, folder, rows)


def way_rows(
    folder: Path, names: tuple[str, ...], seeds: tuple[int, ...], *, judged: bool = True
) -> Dataset[WayPicture]:
    """Return a stack by three ways; judged, LoRA Switch finds nobody, the last is found with odd seeds alone."""
    weights = dict(zip(names, (1.0, 0.8, 0.6), strict=True))
    rng, rows = np.random.default_rng(4), []
    for seed in seeds:
        for n, way in enumerate(("all", "switch", "blocks")):
            rows.append(
                WayPicture(
                    id=f"{seed}:{way}",
                    variant=way,
                    weights=tuple(LoraWeight(lora=k, weight=v) for k, v in weights.items()),
                    prompt="a film still, luca boy, running, in portorosso",
                    seed=seed,
                    image=_save(folder, _noise(rng, n), f"{seed}-{way}.png"),
                    findings=_findings(names, {} if way == "switch" else weights, seed) if judged else (),
                )
            )
    return Dataset(WayPicture, folder, rows)


def characters_rows(folder: Path, seeds: tuple[int, ...], *, measured: bool = True) -> Dataset[CharactersPicture]:
    """Return luca and gia in one picture: mixed where their LoRAs are summed, apart with regional prompts."""
    names, rng, rows = ("luca", "gia"), np.random.default_rng(3), []
    for seed in seeds:
        for method, (own, other) in {"linear": (0.4, 0.4), "regional": (0.8, 0.1)}.items():
            sights = tuple(
                Sight(region=region, lora=lora, measure="found by world-probe", value=own if region == lora else other)
                for region in names
                for lora in names
            )
            rows.append(
                CharactersPicture(
                    id=f"{seed}:{method}",
                    variant=method,
                    weights=tuple(LoraWeight(lora=name, weight=1.0) for name in names),
                    prompt="luca, gia",
                    seed=seed,
                    image=_save(folder, _noise(rng, seed).resize((96, 64)), f"{seed}-{method}.png"),
                    findings=tuple(Finding(lora=name, probability=own) for name in names) if measured else (),
                    sights=sights if measured else (),
                )
            )
    return Dataset(CharactersPicture, folder, rows)


def _findings(names: tuple[str, ...], weights: dict[str, float], seed: int) -> tuple[Finding, ...]:
    found = {name: bool(weights.get(name)) and (name != names[-1] or seed % 2 == 1) for name in names}
    return tuple(Finding(lora=name, probability=0.9 if yes else 0.1) for name, yes in found.items())


def evaluation_rows(folder: Path, *, judged: bool = False) -> Dataset[Evaluation]:
    """Return an evaluation of luca; judged, he is found in half of the pictures with the LoRA."""
    rng = np.random.default_rng(2)
    rows = [
        Evaluation(
            id=f"{prompt}:{seed}:{variant}",
            variant=variant,
            weights=(LoraWeight(lora="luca", weight=1.0),) if variant == "with" else (),
            prompt=prompt,
            seed=seed,
            image=_save(folder, _noise(rng, seed), f"{len(prompt)}-{seed}-{variant}.png"),
            findings=_findings(("luca",), {"luca": variant == "with"}, seed + len(prompt)) if judged else (),
            sharpness=3,
            changed=12.5,
        )
        for prompt in ("luca boy standing on a beach at noon, full body", "luca boy, close-up")
        for seed in (1, 2)
        for variant in ("without", "with")
    ]
    return Dataset(Evaluation, folder, rows)
