"""Training folders with one thing wrong each: what preflight has to name, whatever it is."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIDE = 96
RESOLUTION = 320
TRIGGER = "luca"
DAY_S = 86_400


@dataclass
class Sample:
    """One good picture with caption and mask, `NAME.png`, `NAME.txt`, `masks/NAME.png`, about to be broken."""

    folder: Path
    name: str

    def write(self) -> "Sample":
        save(self.picture, noise(self.name))
        self.text.write_text(f"{TRIGGER}, at the {self.name}\n", encoding="utf-8")
        save(self.mask, disc(SIDE))
        return self

    @property
    def picture(self) -> Path:
        return self.folder / f"{self.name}.png"

    @property
    def text(self) -> Path:
        return self.folder / f"{self.name}.txt"

    @property
    def mask(self) -> Path:
        return self.folder / "masks" / f"{self.name}.png"

    def says(self, text: str) -> str:
        self.text.write_text(text, encoding="utf-8")
        return self.text.name

    def saved(self, picture: Image.Image, ending: str = "png", **options: object) -> str:
        """Put another picture in the place of the good one; return its name."""
        self.picture.unlink()
        path = self.folder / f"{self.name}.{ending}"
        picture.save(path, **options)
        return path.name


def noise(name: str, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8))


def disc(side: int) -> Image.Image:
    y, x = np.mgrid[:side, :side]
    return Image.fromarray((((x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2) * 255).astype(np.uint8))


def save(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that says how large it is, and has no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e"


def with_bytes(data: bytes, part: str = "picture") -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        path: Path = getattr(sample, part)
        path.write_bytes(data)
        return path.relative_to(sample.folder).as_posix()

    return broken


def cut_short(ending: str) -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        name = sample.saved(noise(sample.name), ending)
        data = (sample.folder / name).read_bytes()
        (sample.folder / name).write_bytes(data[: len(data) // 2])
        return name

    return broken


def converted(mode: str, ending: str = "png") -> Callable[[Sample], str]:
    return lambda sample: sample.saved(noise(sample.name).convert(mode), ending)


def sized(width: int, height: int) -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        save(sample.mask, Image.new("L", (width, height), 255))
        return sample.saved(noise(sample.name, (width, height)))

    return broken


def sixteen_bit_colours(sample: Sample) -> str:
    deep = np.random.default_rng(1).integers(0, 65535, (SIDE, SIDE, 3), np.uint16)
    cv2.imwrite(str(sample.picture), deep)
    return sample.picture.name


def sixteen_bit_grey(sample: Sample) -> str:
    return sample.saved(Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)))


def jpeg_called_png(sample: Sample) -> str:
    return sample.saved(noise(sample.name), "png", format="JPEG")


def rotated_by_exif(sample: Sample) -> str:
    exif = Image.Exif()
    exif[0x0112] = 6
    return sample.saved(noise(sample.name), "jpg", exif=exif)


def animated(sample: Sample) -> str:
    more = [noise(sample.name + "2")]
    return sample.saved(noise(sample.name), "png", save_all=True, append_images=more)


def transparent(level: int) -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        picture = noise(sample.name).convert("RGBA")
        alpha = Image.new("L", picture.size, 0) if level == 0 else disc(SIDE)
        picture.putalpha(alpha)
        return sample.saved(picture)

    return broken


def same_name_in_capitals(sample: Sample) -> str:
    # Sorted, capitals come first: the other one is the one that clashes.
    capitals = sample.folder / sample.picture.name.upper()
    noise("other").save(capitals, format="PNG")
    capitals.with_suffix(".txt").write_text(f"{TRIGGER}, elsewhere", encoding="utf-8")
    return sample.picture.name


def same_stem(sample: Sample) -> str:
    noise("another").save(sample.folder / f"{sample.name}.jpg")
    return sample.picture.name


def twice(sample: Sample) -> str:
    copy = Sample(sample.folder, f"{sample.name}-copy").write()
    copy.picture.write_bytes(sample.picture.read_bytes())
    return sample.picture.name  # sorted, the copy comes first


def gone(part: str, place: str) -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        getattr(sample, part).unlink()
        return getattr(sample, place).relative_to(sample.folder).as_posix()

    return broken


def second_caption(sample: Sample) -> str:
    (sample.folder / f"{sample.name}.caption").write_text("something else", encoding="utf-8")
    return sample.picture.name


def half_a_mask(sample: Sample) -> str:
    save(sample.mask, disc(SIDE // 2))
    return f"masks/{sample.mask.name}"


def black_mask(sample: Sample) -> str:
    save(sample.mask, Image.new("L", (SIDE, SIDE)))
    return f"masks/{sample.mask.name}"


def named(name: str) -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        noise(name).save(sample.folder / name, format="PNG")
        return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in name).replace(
            "\\x0a", "\\n"
        )

    return broken


def gif(sample: Sample) -> str:
    return sample.saved(noise(sample.name), "gif")


def folder_called_png(sample: Sample) -> str:
    sample.picture.unlink()
    sample.picture.mkdir()
    return sample.picture.name


def pipe_called_png(sample: Sample) -> str:
    sample.picture.unlink()
    os.mkfifo(sample.picture)
    return sample.picture.name


def link_to(target: str) -> Callable[[Sample], str]:
    def broken(sample: Sample) -> str:
        sample.picture.unlink()
        sample.picture.symlink_to(target.format(name=sample.picture.name))
        return sample.picture.name

    return broken


def link_out(sample: Sample) -> str:
    outside = sample.folder.parent / f"outside-{sample.name}.png"
    sample.picture.rename(outside)
    sample.picture.symlink_to(outside)
    return sample.picture.name


def old_cache(sample: Sample) -> str:
    cache = sample.folder / f"{sample.name}_0512x0512_sd.npz"
    cache.write_bytes(b"latents")
    os.utime(cache, (1, 1))
    return cache.name


def old_text_cache(sample: Sample) -> str:
    cache = sample.folder / f"{sample.name}_te_outputs.npz"
    cache.write_bytes(b"states")
    os.utime(cache, (1, 1))
    return cache.name


def cache_of_nothing(sample: Sample) -> str:
    cache = sample.folder / f"gone-{sample.name}.npz"
    cache.write_bytes(b"latents")
    return cache.name


def nested(sample: Sample) -> str:
    save(sample.folder / f"more-{sample.name}" / "deep.png", noise("deep"))
    return f"more-{sample.name}"


def mask_alone(sample: Sample) -> str:
    save(sample.mask.with_name(f"alone-{sample.name}.png"), disc(SIDE))
    return f"masks/alone-{sample.name}.png"


def text_alone(sample: Sample) -> str:
    (sample.folder / f"alone-{sample.name}.txt").write_text("luca", encoding="utf-8")
    return f"alone-{sample.name}.txt"


def saying(text: str) -> Callable[[Sample], str]:
    return lambda sample: sample.says(text.format(name=sample.name))


BROKEN: dict[str, tuple[str, Callable[[Sample], str]]] = {
    "a picture without bytes": ("zero_bytes", with_bytes(b"")),
    "a text called png": ("undecodable", with_bytes(b"once upon a time")),
    "a png cut short": ("truncated", cut_short("png")),
    "a jpeg cut short": ("truncated", cut_short("jpg")),
    "a jpeg called png": ("wrong_extension", jpeg_called_png),
    "cmyk": ("cmyk", converted("CMYK", "jpg")),
    "16-bit colours": ("sixteen_bit", sixteen_bit_colours),
    "16-bit grey": ("sixteen_bit", sixteen_bit_grey),
    "a palette": ("palette", converted("P")),
    "grey": ("grey", converted("L")),
    "turned by EXIF": ("exif_rotated", rotated_by_exif),
    "animated": ("animated", animated),
    "20,000 pixels wide": ("too_large", with_bytes(png_header(20_000, 300))),
    "a decompression bomb": ("too_large", with_bytes(png_header(60_000, 60_000))),
    "half a bomb": ("too_large", with_bytes(png_header(12_000, 12_000))),
    "tiny": ("tiny", sized(40, 40)),
    "too small for the resolution": ("too_small", sized(72, 72)),
    "no bucket has its shape": ("extreme_aspect", sized(80, 400)),
    "a name in capitals": ("case_clash", same_name_in_capitals),
    "a png and a jpg of one name": ("shared_stem", same_stem),
    "the same picture twice": ("duplicate_picture", twice),
    "no caption": ("missing_caption", gone("text", "picture")),
    "a caption without bytes": ("empty_caption", with_bytes(b"", "text")),
    "a blank caption": ("empty_caption", with_bytes(b" \r\n\t\n", "text")),
    "a Latin-1 caption": ("caption_not_utf8", with_bytes("luca, café".encode("latin-1"), "text")),
    "a UTF-16 caption": ("caption_not_utf8", with_bytes("luca".encode("utf-16"), "text")),
    "a byte order mark": ("caption_bom", with_bytes("\ufeffluca, here".encode(), "text")),
    "a NUL in a caption": ("caption_control", with_bytes(b"luca\0, here", "text")),
    "an invisible letter": ("caption_control", with_bytes("luca\u200b, here".encode(), "text")),
    "a caption of two lines": ("caption_lines", with_bytes(b"luca, here\nand there\n", "text")),
    "a novel for a caption": ("caption_too_long", with_bytes(b"luca, " * 2000, "text")),
    "two captions": ("two_captions", second_caption),
    "a caption alone": ("caption_without_picture", text_alone),
    "a caption over its tokens": ("over_tokens", saying("luca, " + " and ".join(["under the bridge"] * 30))),
    "a caption without trigger": ("trigger_missing", saying("a boy at the {name}")),
    "a trigger that is not first": ("trigger_not_first", saying("at the {name}, luca")),
    "a word that is the character's": ("denied_word", saying("luca, brown hair, at the {name}")),
    "a negation": ("negation", saying("luca, no people, at the {name}")),
    "light": ("lighting_word", saying("luca, soft natural lighting, at the {name}")),
    "another trigger": ("other_trigger", saying("luca, beside gia, at the {name}")),
    "said twice": ("repeated_clause", saying("luca, at the {name}, At the {name}")),
    "no mask": ("missing_mask", gone("mask", "picture")),
    "a mask without bytes": ("mask_undecodable", with_bytes(b"", "mask")),
    "a mask that is text": ("mask_undecodable", with_bytes(b"white", "mask")),
    "a mask of another size": ("mask_size", half_a_mask),
    "a black mask": ("mask_black", black_mask),
    "a mask alone": ("mask_without_picture", mask_alone),
    "transparent all over": ("alpha_empty", transparent(0)),
    "transparent, but not for a mask": ("alpha_ignored", transparent(1)),
    "a line break in a name": ("bad_name", named("new\nline.png")),
    "a colon in a name": ("bad_name", named("nine:thirty.png")),
    "a hidden picture": ("hidden_file", named("._luca.png")),
    "a gif": ("unread_format", gif),
    "a folder called png": ("not_a_file", folder_called_png),
    "a pipe called png": ("not_a_file", pipe_called_png),
    "a link to nothing": ("broken_link", link_to("nothing.png")),
    "a link to itself": ("broken_link", link_to("{name}")),
    "a link out of the folder": ("link_leaves", link_out),
    "a cache older than its picture": ("stale_cache", old_cache),
    "a cache older than its caption": ("stale_cache", old_text_cache),
    "a cache of nothing": ("orphan_cache", cache_of_nothing),
    "pictures further down": ("folder_not_read", nested),
}
"""What is wrong: the rule that names it, and what breaks a good sample and returns where."""


def line(**values: object) -> bytes:
    return json.dumps(values).encode()


BROKEN_LINES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "not JSON": ("metadata_not_json", lambda _: b"{file_name: a.png}"),
    "not UTF-8": ("metadata_not_json", lambda _: b'{"file_name": "\xff.png"}'),
    "not an object": ("metadata_not_json", lambda _: b'["a.png"]'),
    "nested without end": ("metadata_not_json", lambda _: b"[" * 100_000),
    "no file name": ("metadata_no_file_name", lambda _: line(text="luca")),
    "a file that is missing": ("metadata_missing_file", lambda _: line(file_name="gone.png", text="luca")),
    "a name that no system takes": ("metadata_missing_file", lambda _: line(file_name="a\0" * 300, text="luca")),
    "a way out": ("metadata_leaves", lambda _: line(file_name="sub/../../secret.png", text="luca")),
    "another way out": ("metadata_leaves", lambda _: line(file_name="/etc/hostname", text="luca")),
    "a way out on Windows": ("metadata_leaves", lambda _: line(file_name="..\\..\\secret.png", text="luca")),
    "a picture listed twice": ("metadata_twice", lambda _: line(file_name="a.png", text="luca, again")),
    "no text": ("missing_caption", lambda name: line(file_name=name)),
    "a number for a text": ("missing_caption", lambda name: line(file_name=name, text=7)),
    "an empty text": ("empty_caption", lambda name: line(file_name=name, text=" ")),
    "a mask that is missing": (
        "metadata_missing_file",
        lambda name: line(file_name=name, text="luca, here", mask_file_name="masks/gone.png"),
    ),
}


def listed_folder(folder: Path, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """Write pictures and the metadata.jsonl that lists them."""
    folder.mkdir(parents=True)
    rows = []
    for name in names:
        save(folder / f"{name}.png", noise(name))
        rows.append(line(file_name=f"{name}.png", text=f"{TRIGGER}, at the {name}"))
    (folder / "metadata.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    return folder


def add_line(folder: Path, make: Callable[[str], bytes]) -> str:
    """Add a broken line, with a picture of its own that it may name; return where it stands."""
    file = folder / "metadata.jsonl"
    number = file.read_bytes().count(b"\n") + 1
    save(folder / f"p{number}.png", noise(f"p{number}"))
    file.write_bytes(file.read_bytes() + make(f"p{number}.png") + b"\n")
    return f"{file.name}:{number}"


def good_folder(folder: Path, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """Write good samples with masks in a folder of their own."""
    for name in names:
        Sample(folder, name).write()
    return folder


def encoded(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()
