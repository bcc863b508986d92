"""Render random stills that also show what render_stills.py leaves out, for teaching the world probe.

    python render_probe_stills.py OUT_DIR --count 2400 [--start 0] [--stride k/n]

Beside the random world there is luca and gia, portorosso, running, happy faces, and decoys: blue and white stripes on somebody who is not luca.
Still n is drawn from seed n alone. OUT_DIR receives 000000.jpg and captions-K.jsonl as render_stills.py writes them, and "who" and "place" besides.
Never show them to the base model: what they hold is what its LoRAs are to teach.
"""
import argparse, json, math, random
from pathlib import Path
import bpy
from render_film import Stage
from render_stills import draw, vary

SPEC = json.loads((Path(__file__).parent.parent / "harbour" / "spec.json").read_text())
WORDS = {"luca": {"hair": "brown", "style": "curly", "top": "white", "stripe": "blue", "girl": False}, "gia": {"hair": "red", "style": "long", "top": "yellow", "stripe": None, "girl": True}}


def draw_probe(number):
    rng = random.Random(f"probe-{number}")
    c, place, camera, act, caption, attributes = draw(rng)
    attributes |= {"who": None, "place": None}
    x = 0.0
    if rng.random() < 0.3:
        place = dict(SPEC["places"]["portorosso"])
        place["sun"] = [rng.uniform(38, 58), 0, rng.uniform(-40, 40)]
        x = rng.uniform(-4, 4)
        camera["at"][0] += x
        camera["look"][0] += x
        attributes |= {"kind": "town", "place": "portorosso"}
    if act is None:
        return c, place, camera, act, x, attributes
    pose, face, turn, phase = act
    who = rng.choices(["luca", "gia", "decoy", None], [0.25, 0.1, 0.1, 0.55])[0]
    if who in WORDS:
        c = dict(next(known for known in SPEC["characters"] if known["id"] == who))
        for part in ("skin", "hair", "top", "bottom"):
            c[part] = vary(rng, c[part], 0.02)
        attributes |= {"who": who, **WORDS[who]}
    elif who == "decoy":
        c["top"], c["stripes"] = vary(rng, (0.93, 0.93, 0.95)), {"color": vary(rng, (0.05, 0.18, 0.65)), "scale": 5}
        if c["hairstyle"] == "curly":
            c["hairstyle"] = attributes["style"] = rng.choice(["spiky", "long"])
        attributes |= {"top": "white", "stripe": "blue"}
    if rng.random() < 0.3:
        pose = attributes["pose"] = "running"
    if rng.random() < 0.3:
        face = attributes["expression"] = "happy"
    return c, place, camera, (pose, face, turn, phase), x, attributes


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("out"); ap.add_argument("--count", type=int, default=100); ap.add_argument("--start", type=int, default=0)
    ap.add_argument("--size", type=int, default=128); ap.add_argument("--samples", type=int, default=8); ap.add_argument("--stride", default="0/1")
    a = ap.parse_args()
    k, n = (int(v) for v in a.stride.split("/"))
    out = Path(a.out); out.mkdir(parents=True, exist_ok=True)
    log = open(out / f"captions-{k}.jsonl", "a")
    for i in range(a.start, a.start + a.count):
        path = out / f"{i:06d}.jpg"
        if i % n != k or path.exists():
            continue
        c, place, camera, act, x, attributes = draw_probe(i)
        stage = Stage({"size": [a.size, a.size]}, a.samples)
        stage.place(place, random.Random(place["seed"]))
        if act:
            pose, face, turn, phase = act
            stage.character(1, c, x, 0, math.radians(turn), pose, phase, face)
        stage.camera(camera["at"], camera["look"], camera["lens"])
        settings = stage.scene.render.image_settings
        settings.file_format, settings.color_mode, settings.quality = "JPEG", "RGB", 93
        stage.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        log.write(json.dumps({"name": path.name, "caption": "probe", **attributes}) + "\n"); log.flush()


if __name__ == "__main__":
    main()
