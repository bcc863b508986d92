"""Say where in each still the head is, without rendering anything: for teaching the world probe where to look,
and the lite base model's denoiser where errors count most.

    python find_heads.py heads.jsonl --count 6000 [--probe]

The stills are those of render_stills.py, or with --probe of render_probe_stills.py, of the same numbers. A line a still that shows somebody:
{"name": "000000.jpg", "head": [x, y, radius]} in pixels of the 128x128 picture; a head may lie outside it.
"""
import argparse, json, math
from render_stills import draw_still
from render_probe_stills import draw_probe
from mathutils import Vector  # there once bpy is imported

SIZE, SENSOR, RADIUS = 128, 36, 0.33  # pixels; millimetres; metres
LEAN = {"running": -0.22, "walking": -0.05}
LIFT = {"jumping": 0.45, "running": 0.08, "walking": 0.03}


def head_of(camera, x, pose, turn, phase):
    """Project the head that Stage.character places."""
    depth = -0.02 + LEAN.get(pose, 0)
    height = 1.9 + LIFT.get(pose, 0) * abs(math.sin(phase))
    turn = math.radians(turn)
    head = Vector((x - depth * math.sin(turn), depth * math.cos(turn), height))
    at = Vector(camera["at"])
    seen = (Vector(camera["look"]) - at).to_track_quat("-Z", "Y").inverted() @ (head - at)
    scale = SIZE * camera["lens"] / SENSOR / -seen.z
    return [SIZE / 2 + scale * seen.x, SIZE / 2 - scale * seen.y, scale * RADIUS]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("out"); ap.add_argument("--count", type=int, default=100); ap.add_argument("--probe", action="store_true")
    a = ap.parse_args()
    with open(a.out, "w") as out:
        for number in range(a.count):
            _, _, camera, act, x, _ = draw_probe(number) if a.probe else draw_still(number)
            if act:
                pose, _, turn, phase = act
                head = [round(v, 2) for v in head_of(camera, x, pose, turn, phase)]
                out.write(json.dumps({"name": f"{number:06d}.jpg", "head": head}) + "\n")


if __name__ == "__main__":
    main()
