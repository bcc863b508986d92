"""Every rule of the folder checks: how grave a breach is, and what to do about it."""

from data_contracts.check_faults import Fault, Severity

_DRAW_AGAIN = "save it again from its source as 8-bit RGB PNG, or take it out"
_WRITE = "write a caption, or take the picture out"
_MASK = "draw the mask again, white where the picture is to be learnt"

RULES: dict[str, tuple[Severity, str]] = {
    # the folder
    "no_folder": ("error", "give a folder that exists"),
    "no_pictures": ("error", "give the folder of the pictures: some trainers end without a word when they find none"),
    "folder_not_read": ("warning", "trainers do not look into folders below: move its pictures up, or train it apart"),
    "unreadable": ("error", "give yourself read permission, or take it out"),
    "not_a_file": ("error", "take it out: only plain files can be trained on"),
    "broken_link": ("error", "put the file itself here"),
    "link_leaves": ("warning", "put the file itself here: links break when the folder is moved, and are not followed"),
    "bad_name": ("error", "rename it with plain letters, digits, - and _"),
    "hidden_file": ("warning", "rename it without the leading dot, or delete it: trainers pass over hidden files"),
    "unread_format": ("warning", "trainers pass over this format in silence: save it as PNG"),
    "case_clash": ("error", "rename one: on Windows and macOS they are the same file"),
    "shared_stem": ("error", "rename one: they share a caption and a cache, so one trains on the other's"),
    "stale_cache": ("error", "delete the cache: the trainer would learn the old picture"),
    "orphan_cache": ("warning", "delete it: its picture is gone"),
    # pictures
    "zero_bytes": ("error", _DRAW_AGAIN),
    "huge_file": ("error", "scale it down: it was not opened"),
    "undecodable": ("error", _DRAW_AGAIN),
    "truncated": ("error", "copy it again: the file ends early, and trainers stop there or learn grey"),
    "too_large": ("error", "scale it down: trainers refuse such sizes or run out of memory"),
    "tiny": ("error", "take it out: it is smaller than any bucket"),
    "too_small": ("warning", "take it out, or train at a lower resolution: enlarging teaches blur"),
    "extreme_aspect": ("error", "crop it: no bucket has this shape, so the trainer would cut away most of it"),
    "cut_to_square": (
        "error",
        "set train.buckets to true, or caption.buckets to false: its ends, such as head and feet, would be cut off",
    ),
    "wrong_extension": ("warning", "rename it by its content: some programs go by the name"),
    "exif_rotated": (
        "error",
        "turn the pixels and drop the tag: kohya learns it lying on its side, others do not",
    ),
    "cmyk": ("error", "convert it to RGB with its profile: trainers do without, and colours come out wrong"),
    "sixteen_bit": ("error", "save it with 8 bits a channel: trainers cut the rest off or clip to white"),
    "palette": ("warning", "save it as RGB: few colours teach banding"),
    "grey": ("warning", "take it out, unless the subject is to be learnt without colours"),
    "animated": ("warning", "save the frame that you mean: trainers take the first"),
    "duplicate_picture": ("warning", "keep one, and give it more repeats if it is to weigh more"),
    "alpha_ignored": (
        "warning",
        "lay it on a plain ground, or set alpha_mask: else what lies beneath is learnt",
    ),
    # masks
    "missing_mask": ("error", _MASK),
    "no_alpha": ("warning", "give it an alpha channel: every pixel counts here, unlike in the others"),
    "mask_undecodable": ("error", _MASK),
    "mask_size": ("error", "scale the mask to the size of its picture"),
    "mask_black": ("error", _MASK + ": nothing of it would be learnt"),
    "alpha_empty": ("error", _MASK + ", into the alpha channel: nothing of it would be learnt"),
    "mask_without_picture": ("warning", "delete it, or put its picture back"),
    # captions
    "missing_caption": ("error", _WRITE),
    "empty_caption": ("error", _WRITE),
    "two_captions": ("warning", "keep one: which of them is read depends on the trainer's caption_extension"),
    "caption_too_long": ("error", "is this a caption? write one line of at most a few hundred letters"),
    "caption_not_utf8": ("error", "save it as UTF-8"),
    "caption_bom": ("error", "save it as UTF-8 without byte order mark: the mark stands in front of the trigger"),
    "caption_control": ("error", "delete the invisible characters"),
    "caption_lines": ("warning", "make it one line: trainers read the first alone, or take each as a variant"),
    "caption_without_picture": ("warning", "delete it, or put its picture back"),
    # metadata.jsonl
    "metadata_not_json": ("error", 'write one JSON object a line, such as {"file_name": "a.png", "text": "…"}'),
    "metadata_no_file_name": ("error", "name the picture under file_name"),
    "metadata_leaves": ("error", "put the picture into the folder and name it from there"),
    "metadata_missing_file": ("error", "put the picture there, or delete the line"),
    "metadata_twice": ("error", "keep one line a picture: the last one wins, or both do"),
    "metadata_unlisted": ("warning", "add a line for it: `datasets` leaves it out, or stops"),
    # dataset.toml
    "toml_wrong": ("error", "mend dataset.toml: kohya stops at it"),
    "toml_key": ("error", "remove the key or mend its spelling: kohya stops at keys it does not know"),
    "toml_missing_folder": ("error", "name a folder that is there; it is read relative to where the trainer starts"),
    "toml_leaves": ("warning", "check that folder by itself: only what lies in this one is looked at"),
}


def fault(place: str, rule: str, value: str) -> Fault:
    """Return a fault of one of the rules."""
    severity, remedy = RULES[rule]
    return Fault(place=place, rule=rule, value=value, remedy=remedy, severity=severity)


def shown(name: str) -> str:
    """Return a file name that any terminal and file can hold: odd characters are written as escapes."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)
