"""Make a film and its truth of what render_film.py rendered, and pictures that name its characters and places.

    python join_film.py RENDERED FOLDER [--hold 4] [--cut oskar=48 …] [--scene pinewood=5 …]

FOLDER receives NAME.mp4 (NAME is the folder's), truth.jsonl, masks/ and plates/; FOLDER/references a cut-out of each
character named by --cut and a picture of each place named by --scene, from the rendered frame of that number.
Needs av, numpy and Pillow.
"""
import argparse, json
from pathlib import Path
import av
import numpy as np
from PIL import Image

FPS, CRF = 24, "20"
STEP = 20  # between the grey values of characters in a mask
MARGIN = 12  # pixels around a cut-out


def encode(frames, path, hold):
    """Write the pictures as H.264, each held for `hold` frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=FPS, options={"crf": CRF})
        stream.width, stream.height = Image.open(frames[0]).size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.asarray(Image.open(frame).convert("RGB")), format="rgb24")
            for _ in range(hold):
                picture.pts = None
                film.mux(stream.encode(picture))
        film.mux(stream.encode())


def cut_out(rendered, number, index):
    """Return the RGBA picture of the spec's `index`-th character in a frame, as tight as its mask."""
    mask = np.asarray(Image.open(rendered / "masks" / f"{number:06d}.png").convert("L")) == STEP * index
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (max(0, columns[0] - MARGIN), max(0, rows[0] - MARGIN), columns[-1] + MARGIN, rows[-1] + MARGIN)
    picture = np.asarray(Image.open(rendered / "frames" / f"{number:06d}.png").convert("RGB"))
    alpha = np.where(mask, 255, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([picture, alpha])).crop(box)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("rendered", type=Path)
    ap.add_argument("folder", type=Path)
    ap.add_argument("--hold", type=int, default=4)
    ap.add_argument("--cut", nargs="*", default=[])
    ap.add_argument("--scene", nargs="*", default=[])
    a = ap.parse_args()
    encode(sorted((a.rendered / "frames").glob("*.png")), a.folder / f"{a.folder.resolve().name}.mp4", a.hold)
    truths = [json.loads(path.read_text()) for path in sorted((a.rendered / "truth").glob("*.json"))]
    lines = [json.dumps(truth, separators=(",", ":")) + "\n" for truth in truths]
    (a.folder / "truth.jsonl").write_text("".join(lines))
    for kind in ("masks", "plates"):
        (a.folder / kind).mkdir(exist_ok=True)
        for path in sorted((a.rendered / kind).glob("*.png")):
            picture = Image.open(path)
            picture.convert("L" if kind == "masks" else "RGB").save(a.folder / kind / path.name, optimize=True)
    (a.folder / "references").mkdir(exist_ok=True)
    spec = json.loads((a.folder / "spec.json").read_text())
    names = [character["id"] for character in spec["characters"]]
    for name, number in (entry.split("=") for entry in a.cut):
        cut_out(a.rendered, int(number), names.index(name) + 1).save(a.folder / "references" / f"{name}.png", optimize=True)
    for name, number in (entry.split("=") for entry in a.scene):
        Image.open(a.rendered / "frames" / f"{int(number):06d}.png").convert("RGB").save(a.folder / "references" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
