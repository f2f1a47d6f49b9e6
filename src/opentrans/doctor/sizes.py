"""How much a profile writes, estimated from its configuration alone (torch is not asked)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentrans.config import Config, SubnetworkRecipe
from opentrans.costs.workload import Work
from opentrans.data.downloads import DOWNLOADS
from opentrans.runs.selection import list_sets
from opentrans.runs.table import RunId

# Of CLIP's ResNets: blocks of each stage, width of the stem, dimension of the embedding space.
CLIP_RESNETS = {
    "RN50": ((3, 4, 6, 3), 64, 1024),
    "RN101": ((3, 4, 23, 3), 64, 512),
    "RN50x4": ((4, 6, 10, 6), 80, 640),
    "RN50x16": ((6, 8, 18, 8), 96, 768),
    "RN50x64": ((3, 15, 36, 10), 128, 1024),
}
REGIONS_AN_IMAGE = 11  # COCO: 1.3 million segments in 118,287 images
FLOAT = 4
MAP_BYTES = 12_000  # a label map as PNG, of an image of COCO's size
RESIZED_BYTES = 500_000  # an image of ADE-847, written again at 512 pixels
WORLD_IMAGE_BYTES = 20_000  # an image of the mini world with its annotations
REST_OF_CLIP = 80_000_000  # parameters: text encoder and attention pool
# Parameters at width 256: pixel decoder, decoder and heads, by the target's kind (docs/costs.json).
HEAD_PARAMETERS = {"han": 21_000_000, "fcclip": 36_000_000, "deeplabv3": 17_000_000}
STATE_BYTES = {"adamw": 12, "sgd": 8}  # a parameter with its moments
EVALUATION_BYTES = 8_000_000  # the confusion matrices of the seven benchmarks
UNFINISHED = 3  # checkpoints of an unfinished training: two kept, one being written
FILES_A_JOB = 12  # outputs with their records, log, benchmark


@dataclass(frozen=True)
class DiskNeed:
    """What is written of one kind: bytes and files."""

    what: str
    size: float
    files: int


def count_images(config: Config) -> dict[tuple[str, str], int]:
    """Images of every prepared (data set, split): official numbers, or the mini world's."""
    images = {}
    for dataset, split in list_sets(config):
        official = config.data.splits.get(f"{dataset}_{split}", split)
        number = DOWNLOADS[dataset].counts[official][0]
        if config.world is not None:
            names = (f"{dataset}_{official}", dataset, "pascal_context")
            number = next((config.world.images[name] for name in names if name in config.world.images), number)
        if split == "train":
            number = min(number, config.data.train_images or number)
        images[dataset, split] = min(number, config.data.max_images or number)
    return images


def read_trunk(architecture: str | Mapping[str, Any]) -> tuple[Sequence[int], int, int]:
    """Blocks of each stage, stem's width and embedding dimension; an unknown name counts as RN50."""
    if isinstance(architecture, str):
        return CLIP_RESNETS.get(architecture.partition("-")[0], CLIP_RESNETS["RN50"])
    vision = architecture["vision_cfg"]
    return vision["layers"], vision["width"], architecture["embed_dim"]


def count_trunk_parameters(blocks: Sequence[int], width: int) -> int:
    """Parameters of CLIP's ResNet without its attention pool: RN50 has 23.5 million."""

    def convolve(inputs: int, outputs: int, kernel: int) -> int:
        return inputs * outputs * kernel**2 + 2 * outputs  # with its batch norm

    total = convolve(3, width // 2, 3) + convolve(width // 2, width // 2, 3) + convolve(width // 2, width, 3)
    inputs = width
    for stage, number in enumerate(blocks):
        planes = width * 2**stage
        for block in range(number):
            total += convolve(inputs, planes, 1) + convolve(planes, planes, 3) + convolve(planes, 4 * planes, 1)
            if block == 0:
                total += convolve(inputs, 4 * planes, 1)
            inputs = 4 * planes
    return total


def estimate_data(config: Config, images: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], DiskNeed]:
    """What the preparation of each (data set, split) writes: label maps, segment maps, ADE-847's images resized."""
    needs = {}
    for (dataset, split), number in images.items():
        segments = split == "train" and config.data.regions == "segment"
        files = number * (2 if segments else 1)
        size = files * MAP_BYTES
        if dataset == "ade847" and config.data.ade847_short_side is not None:
            size, files = size + number * RESIZED_BYTES, files + number
        needs[dataset, split] = DiskNeed(f"prepared {dataset} {split}", size, files)
    return needs


def estimate_world(config: Config) -> DiskNeed | None:
    """What drawing the mini world writes, where the profile has one."""
    if config.world is None:
        return None
    files = 2 * sum(config.world.images.values()) + config.world.caption_images
    return DiskNeed("mini world", files * WORLD_IMAGE_BYTES, files)


def _estimate_subnetwork(recipe: SubnetworkRecipe, trunk: int) -> float:
    """Weights, a mask of one byte a weight, and the removed values where something is pruned."""
    removed = 1 - recipe.density if recipe.method in ("imp", "random") else 0
    return trunk * (FLOAT + 1 + FLOAT * removed)


def estimate_results(
    config: Config,
    runs: Sequence[RunId],
    work: Sequence[Work],
    images: Mapping[tuple[str, str], int],
    at_once: int = 1,
) -> list[DiskNeed]:
    """What a profile writes into its folder of results.

    Args:
        config: the profile.
        runs: the runs that its tables need.
        work: its jobs (`opentrans.costs.workload.plan_work`).
        images: of each (data set, split).
        at_once: trainings that run at the same time, each with its unfinished checkpoints.
    """
    blocks, width, dimension = read_trunk(config.teacher.architecture)
    trunk = count_trunk_parameters(blocks, width)

    # CLIP and its embeddings.
    rest = REST_OF_CLIP
    if not isinstance(config.teacher.architecture, str):
        text = config.teacher.architecture["text_cfg"]
        rest = 2 * text["vocab_size"] * text["width"]
    regions = images["coco", "train"] * REGIONS_AN_IMAGE * dimension * FLOAT
    needs = [DiskNeed("teacher", (trunk + rest) * FLOAT, FILES_A_JOB), DiskNeed("region embeddings", regions, 2)]

    # Masks and weights.
    found = {(run.subnetwork, run.seed) for run in runs}
    size = sum(_estimate_subnetwork(config.subnetworks[name], trunk) for name, _ in found)
    needs.append(DiskNeed("subnetworks", size, len(found) * FILES_A_JOB))

    # Trainings: a checkpoint each, more while they run, copies of the trunk in those that are traced.
    sizes = {name: estimate_checkpoint(config, name, trunk) for name in config.targets}
    trainings = [each for each in work if each.name.split()[0] in ("train", "warm_up")]
    jobs = sum(each.jobs for each in trainings)
    finished = sum(each.jobs * sizes[each.name.split()[1]] for each in trainings)
    traced = len(config.traces.runs) * len(config.seeds) * config.traces.points * trunk * FLOAT
    largest = max((sizes[each.name.split()[1]] for each in trainings), default=0)
    unfinished = UNFINISHED * largest * min(at_once, jobs)
    needs.append(DiskNeed("checkpoints", finished + traced, jobs * FILES_A_JOB))
    needs.append(DiskNeed("checkpoints of unfinished trainings", unfinished, 0))

    evaluated = sum(each.jobs for each in work if each.name.startswith("evaluate_run"))
    files = evaluated * (FILES_A_JOB + 2 * len(config.benchmarks))
    needs.append(DiskNeed("evaluations", evaluated * EVALUATION_BYTES, files))
    return needs


def estimate_checkpoint(config: Config, name: str, trunk: int) -> float:
    """Bytes of a target's checkpoint: every parameter with the optimiser's moments."""
    target = config.targets[name]
    head = HEAD_PARAMETERS[target.kind] * (target.width / 256) ** 2
    return (trunk + head) * STATE_BYTES[target.training.optimizer.name]
