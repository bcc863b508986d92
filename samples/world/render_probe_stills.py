"""Render random stills that also show what render_stills.py leaves out, for teaching the world probe.

    python render_probe_stills.py OUT_DIR --count 2400 [--start 0] [--stride k/n]

Beside the random world there is luca and gia, portorosso, running, happy faces, and decoys: blue and white stripes on somebody who is not luca.
Still n is drawn from seed n alone. OUT_DIR receives 000000.jpg and captions-K.jsonl as render_stills.py writes them, and "who" and "place" besides.
From still 480 on close-ups come nearer, as crops of faces do that LoRAs learn from, and more of them are luca.
Never show them to the base model: what they hold is what its LoRAs are to teach.
"""
import json, random
from pathlib import Path
from render_stills import draw, main, vary

SPEC = json.loads((Path(__file__).parent.parent / "harbour" / "spec.json").read_text())
WORDS = {"luca": {"hair": "brown", "style": "curly", "top": "white", "stripe": "blue", "girl": False}, "gia": {"hair": "red", "style": "long", "top": "yellow", "stripe": None, "girl": True}}

FIRST = 480  # stills before the close-ups came nearer


def draw_probe(number):
    rng = random.Random(f"probe-{number}")
    c, place, camera, act, _, attributes = draw(rng)
    attributes = {"caption": "probe", **attributes, "who": None, "place": None}
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
    who = rng.choices(["luca", "gia", "decoy", None], [0.25, 0.1, 0.1, 0.55] if number < FIRST else [0.45, 0.1, 0.15, 0.3])[0]
    if number >= FIRST and attributes["shot"] == "close":
        camera["lens"] *= rng.uniform(1, 1.8)
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


if __name__ == "__main__":
    main(__doc__, draw_probe)
