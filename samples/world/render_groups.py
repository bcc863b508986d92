"""Render groups of captioned stills that differ in nothing but a pose or an expression, for teaching a small base model what the words mean.

    python render_groups.py OUT_DIR --count 400 [--start 0] [--size 128] [--samples 8] [--stride k/n]

Group n is drawn from seed n alone, so any part can be rendered anywhere and again. OUT_DIR receives 000000-0.jpg and captions-K.jsonl, K of --stride
(as render_stills.py, with the group's number). Everybody stands in the same place before a camera that hardly moves, closer than in the film; a moving
pose is shown where it is most telling. Groups from CLOSE_FROM on are close-ups alone, from the side as often as from the front, every second one of poses. The world leaves out what render_stills.py leaves out.
"""
import json, math, random
import bpy, bmesh  # bmesh is there once bpy is imported
from render_film import Stage
from render_stills import FACES, POSES, asked, draw, render

METRES = {"full": (4.0, 1.21), "medium": (3.15, 1.455), "close": (1.85, 1.75)}  # seen from bottom to top, and the height in the middle
PHASES = {"walking": math.pi / 2, "jumping": 0.6, "waving": 0.3}
FACES_TOLD = {"full": 0.4, "medium": 0.4, "close": 1.0}  # how often a group differs in the expression and not in the pose
WORDS = {"full": "full body", "medium": "medium shot", "close": "close-up"}
VIEWS = {"front": 0.5, "side": 0.2, "three-quarter": 0.3}
CLOSE_FROM = 2000
LENS, SENSOR = 46, 36


class QuickStage(Stage):
    """Makes the same shapes from meshes that are built once: a scene takes a tenth of a second instead of two."""

    meshes = {}

    def add(self, op, m, scale=(1, 1, 1), smooth=True, location=(0, 0, 0), rotation=(0, 0, 0), **shape):
        key = (op, smooth, *sorted(shape.items()))
        if key not in self.meshes:
            self.meshes[key] = build(op, smooth, **shape)
        o = bpy.data.objects.new("part", self.meshes[key])
        o.location, o.rotation_euler, o.scale, o.pass_index = location, rotation, scale, self.index
        o.material_slots[0].link, o.material_slots[0].material = "OBJECT", m
        self.scene.collection.objects.link(o)
        return o


def build(op, smooth, radius=1.0, radius1=1.0, radius2=0.0, depth=2.0, size=2.0, segments=32, ring_count=16, vertices=32):
    b = bmesh.new()
    if op == "primitive_uv_sphere_add":
        bmesh.ops.create_uvsphere(b, u_segments=segments, v_segments=ring_count, radius=radius)
    elif op == "primitive_cylinder_add":
        bmesh.ops.create_cone(b, cap_ends=True, segments=vertices, radius1=radius, radius2=radius, depth=depth)
    elif op == "primitive_cone_add":
        bmesh.ops.create_cone(b, cap_ends=True, segments=vertices, radius1=radius1, radius2=radius2, depth=depth)
    elif op == "primitive_cube_add":
        bmesh.ops.create_cube(b, size=size)
    else:
        bmesh.ops.create_grid(b, x_segments=1, y_segments=1, size=size / 2)
    mesh = bpy.data.meshes.new(op)
    b.to_mesh(mesh)
    b.free()
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(mesh.polygons))
    mesh.materials.append(None)
    return mesh


def draw_group(number):
    """Return the character, place, camera, turn in degrees, and the pose, expression, caption and attributes of each still."""
    rng = random.Random(f"group {number}")
    while True:
        c, place, _, act, caption, attributes = draw(rng)
        if act:
            break
    pose, face = attributes["pose"], attributes["expression"]
    if number < CLOSE_FROM:
        shot = rng.choices(["full", "medium", "close"], [0.35, 0.25, 0.4])[0]
        by_face = rng.random() < FACES_TOLD[shot]
        views = {**VIEWS, "side": 0.05} if by_face else VIEWS  # little is seen of a mouth from the side
    else:
        shot, by_face, views = "close", number % 2 == 0, dict.fromkeys(VIEWS, 1)
    view = rng.choices(list(views), list(views.values()))[0]
    turn = {"front": rng.uniform(-12, 12), "side": rng.choice([-1, 1]) * rng.uniform(68, 80), "three-quarter": rng.choice([-1, 1]) * rng.uniform(30, 45)}[view]
    high, middle = METRES[shot]
    camera = {"at": [0, -high * rng.uniform(0.97, 1.03) * LENS / SENSOR, middle + 0.1], "look": [0, 0, middle + rng.uniform(-0.02, 0.02) * high], "lens": LENS}
    acts = [(pose, other) for other in FACES] if by_face else [(other, face) for other in POSES]
    before, after = caption.split(f", {POSES[pose]}, {FACES[face]}, ")
    where = after.rsplit(", ", 2)[0]
    stills = [
        (p, f, f"{before}, {POSES[p]}, {FACES[f]}, {where}, {WORDS[shot]}, {view} view", {**attributes, "pose": p, "expression": f, "shot": shot, "view": view})
        for p, f in acts
    ]
    return c, place, camera, turn, stills


def main():
    a, out, numbers, log = asked(__doc__)
    for number in numbers:
        c, place, camera, turn, stills = draw_group(number)
        if (out / f"{number:06d}-{len(stills) - 1}.jpg").exists():
            continue
        QuickStage.meshes = {}
        stage = QuickStage({"size": [a.size, a.size]}, a.samples)
        stage.place(place, random.Random(place["seed"]))
        stage.camera(camera["at"], camera["look"], camera["lens"])
        for still, (pose, face, caption, attributes) in enumerate(stills):
            before = set(bpy.data.objects)
            stage.character(1, c, 0, 0, math.radians(turn), pose, PHASES.get(pose, 0), face)
            path = out / f"{number:06d}-{still}.jpg"
            render(stage, path)
            log.write(json.dumps({"name": path.name, "group": number, "caption": caption, **attributes}) + "\n"); log.flush()
            bpy.data.batch_remove(set(bpy.data.objects) - before)


if __name__ == "__main__":
    main()
