"""Train and measure the world probe: `python -m models.metrics.world_probe --help`."""

# mypy: disable-error-code="no-untyped-call"

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.metrics.world_probe.examples import UNKNOWN, film_examples, joined, still_examples, still_labels
from models.metrics.world_probe.judge import WEIGHTS, load_probe, save_probe
from models.metrics.world_probe.network import CLASSES, ProbeNetwork
from models.metrics.world_probe.training import Course, train_probe
from models.stills import read_stills, unit_range

app = typer.Typer(no_args_is_help=True, help="Train and measure the judge of the sample film's world.")

HELD_OUT_PROBE_STILLS = 100
HELD_FOR = 4  # film frames that the sample film shows a picture
PROBE_SHARE = 3  # times that a probe still is shown for each time of another

StillsFolder = Annotated[Path, typer.Option(help="captioned stills, made by samples/world/render_stills.py")]
HeadsFile = Annotated[Path, typer.Option(help="where their heads are, by samples/world/find_heads.py")]
ProbeStillsFolder = Annotated[Path, typer.Option(help="made by samples/world/render_probe_stills.py")]
FilmFile = Annotated[Path, typer.Option(help="the sample film; its truth lies beside it")]


@app.command()
def train(
    stills: StillsFolder,
    heads: HeadsFile,
    probe_stills: ProbeStillsFolder,
    probe_heads: HeadsFile,
    to: Annotated[Path, typer.Option()] = WEIGHTS,
) -> None:
    """Train the probe. It never sees the film, nor the held-out stills."""
    torch.set_flush_denormal(True)  # optimizer states decay into numbers that a CPU is slow at
    world, _ = read_stills(stills)
    special, _ = read_stills(probe_stills, HELD_OUT_PROBE_STILLS)
    sets = [still_examples(world, heads), *[still_examples(special, probe_heads)] * PROBE_SHARE]
    save_probe(train_probe(joined(sets), Course()), to)


@app.command()
def measure(
    stills: StillsFolder,
    probe_stills: ProbeStillsFolder,
    film: FilmFile,
    weights: Annotated[Path, typer.Option()] = WEIGHTS,
) -> None:
    """Print the share of right answers on held-out stills and on the film's pictures, for each attribute."""
    network = load_probe(weights)
    world, special = read_stills(stills)[1], read_stills(probe_stills, HELD_OUT_PROBE_STILLS)[1]
    near = [place for place, still in enumerate(world.stills) if still.shot == "close"]
    figures = {
        "stills": accuracy(network, world.pictures, still_labels(world.stills)),
        "close-ups": accuracy(network, world.pictures[near], still_labels([world.stills[place] for place in near])),
        "probe stills": accuracy(network, special.pictures, still_labels(special.stills)),
        "film": accuracy(network, *film_examples(film, film.parent, HELD_FOR)),
    }
    print(json.dumps(figures, indent=2))


def accuracy(network: ProbeNetwork, pictures: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return the share of right answers for each attribute that is known of some of the pictures."""
    with torch.no_grad():
        parts = [network(unit_range(part))[0] for part in pictures.split(64)]
    figures = {}
    for place, name in enumerate(CLASSES):
        known = labels[:, place] != UNKNOWN
        if bool(known.any()):
            answers = torch.cat([part[name] for part in parts]).argmax(dim=1)
            figures[name] = round(float((answers == labels[:, place])[known].float().mean()), 3)
    return figures


if __name__ == "__main__":
    app()
