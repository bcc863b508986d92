"""What data sets are worth by the truth: planted mistakes move their figure, and nothing else does."""

import pytest

from data_contracts.records import Example
from data_contracts.results import LoraFile
from flows.measuring.dataset_figures import dataset_figures
from flows.measuring.truth_join import StageResults, TruthJoin
from models.metrics.truth import Truth
from tasks.run_record import RunRecord, StageUse
from tests.flows.test_measure import HARBOUR, PerfectRun

MADE = ("train_lora", "assemble_dataset")


@pytest.fixture
def run(tmp_path) -> PerfectRun:
    return PerfectRun(tmp_path)


def figures_of(run: PerfectRun, kind: str, sources: list, box=(0.0, 0.0, 64.0, 64.0)) -> dict[str, float]:
    """Return the figures of a data set of these layers or plates; `kind` is what to learn, such as pose:running."""
    of_type, subject = kind.split(":")
    lora = {"type": of_type, "subject": subject, "trigger": subject, "family": "sd15", "weights": "a.safetensors"}
    files = {"loss_log": "a.jsonl", "samples": (), "sample_steps": (), "steps": 1, "final_loss": 0.1}
    run.rows["train_lora"] = [LoraFile(id="it", name="it", **lora, **files, dataset_digest="0", shots=())]
    run.rows["assemble_dataset"] = [
        Example(id=f"{n}", **row.moment(), source_id=row.id, box=box, facets={}, image="a.png", mask=None, caption="it",
                tokens=3, repeats=1, split="train", sharpness=1)
        for n, row in enumerate(sources)
    ]  # fmt: skip
    for stage in MADE:
        (run.workspace / stage / "d1" / "files").mkdir(parents=True, exist_ok=True)
    run.measure()  # writes the rows
    uses = [
        StageUse(stage=stage, label="it" * (stage in MADE), digest="d1", parents=(), reused=False, seconds=1)
        for stage in run.rows
    ]
    record = RunRecord(name="r", project="p", started_at="now", stages=uses)
    join = TruthJoin(StageResults(run.workspace, record), Truth(HARBOUR))
    return {name: figure.value for name, figure in dataset_figures(join).items()}


def layers_where(run: PerfectRun, stage: str, **wanted: str) -> list:
    (field, value), *_ = wanted.items()
    ids = {row.layer_id for row in run.rows[stage] if getattr(row, field) == value}
    return [row for row in run.rows["segment_layers"] if row.id in ids]


@pytest.mark.parametrize(
    ("kind", "stage", "field"),
    [
        ("character:luca", "identify_characters", "name"),
        ("pose:running", "estimate_poses", "action"),
        ("expression:happy", "label_expressions", "label"),
    ],
)
def test_a_set_of_the_subject_alone_is_perfect_and_a_stranger_costs_his_share(run, kind, stage, field):
    subject = kind.split(":")[1]
    right = layers_where(run, stage, **{field: subject})
    assert figures_of(run, kind, right) == {"dataset_it_precision": 1.0}
    wrong = next(row for row in run.rows["segment_layers"] if row not in right)
    found = figures_of(run, kind, [*right, wrong])
    assert found == {"dataset_it_precision": pytest.approx(len(right) / (len(right) + 1))}


def test_a_character_left_in_a_background_is_measured(run):
    plates = run.rows["inpaint_plates"]
    whole = (0.0, 0.0, *map(float, run.truth.size))
    assert figures_of(run, "background:beach", plates, whole) == {"dataset_it_characters": 0.0}
    plate = next(row for row in plates if run.truth.mask_values(run.truth.pictures[row.frame // 4]).any())
    clean = run.path("inpaint_plates", plate.provenance)
    run.picture("inpaint_plates", plate.provenance, 0 * run.truth.mask_values(run.truth.pictures[plate.frame // 4]))
    share = float((run.truth.mask_values(run.truth.pictures[plate.frame // 4]) > 0).mean())
    assert clean.exists()
    assert figures_of(run, "background:beach", plates, whole) == {"dataset_it_characters": pytest.approx(share)}
