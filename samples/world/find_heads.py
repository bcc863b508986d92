"""Say where in each still the head is, without rendering anything: for teaching the world probe where to look,
and the lite base model's denoiser where errors count most.

    python find_heads.py heads.jsonl --count 6000 [--probe | --groups]

The stills are those of render_stills.py, with --probe of render_probe_stills.py, with --groups of render_groups.py, of the same numbers. A line a still that shows somebody:
{"name": "000000.jpg", "head": [x, y, radius]} in pixels of the 128x128 picture; a head may lie outside it.
"""
import argparse, json, math
from render_groups import PHASES, draw_group
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


def write(out, name, head):
    out.write(json.dumps({"name": name, "head": [round(v, 2) for v in head]}) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("out"); ap.add_argument("--count", type=int, default=100); ap.add_argument("--probe", action="store_true")
    ap.add_argument("--groups", action="store_true"); ap.add_argument("--start", type=int, default=0)
    a = ap.parse_args()
    with open(a.out, "w") as out:
        for number in range(a.start, a.start + a.count):
            if a.groups:
                _, _, camera, turn, stills = draw_group(number)
                for still, (pose, *_) in enumerate(stills):
                    write(out, f"{number:06d}-{still}.jpg", head_of(camera, 0, pose, turn, PHASES.get(pose, 0)))
                continue
            _, _, camera, act, x, _ = draw_probe(number) if a.probe else draw_still(number)
            if act:
                pose, _, turn, phase = act
                write(out, f"{number:06d}.jpg", head_of(camera, x, pose, turn, phase))


if __name__ == "__main__":
    main()
