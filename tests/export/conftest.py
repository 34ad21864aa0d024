from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from asc_search.export.profile import PROFILES
from asc_search.export.submission import Affiliation, Author, Complexity, SplitOutput, Submission
from asc_search.train.metrics import evaluate

CLIPS = 12
SCENES = ["airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall"]
SCENES += ["street_pedestrian", "street_traffic", "tram"]
NTU = Affiliation("NTU", "Nanyang Technological University", "Singapore, Singapore")


@pytest.fixture
def profile():
    """The 2024 profile with an evaluation set of CLIPS clips."""
    return dataclasses.replace(PROFILES["dcase2024"], evaluation_clips=CLIPS)


@pytest.fixture(scope="session")
def development():
    """Metrics on 270 clips that cover every class and device."""
    rng = np.random.default_rng(11)
    labels = np.arange(270) % 10
    devices = [("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")[index // 30] for index in range(270)]
    probabilities = (
        rng.dirichlet(np.full(10, 0.3), 270) * 0.5 + 0.5 * np.eye(10)[(labels + rng.integers(0, 2, 270)) % 10]
    )
    return evaluate(probabilities, labels, SCENES, devices, ("a", "b", "c", "s1", "s2", "s3"))


@pytest.fixture
def submission(development):
    """A valid submission for ``profile``; columns of its probabilities are in another order than the profile's."""
    classes = (*SCENES[4:], *SCENES[:4])
    outputs = []
    for number, split in enumerate(("5", "10", "25", "50", "100")):
        rng = np.random.default_rng(number)
        outputs.append(
            SplitOutput(
                split=split,
                files=tuple(f"audio/{index}.wav" for index in rng.permutation(CLIPS)),
                probabilities=rng.dirichlet(np.full(10, 0.2), CLIPS).astype(np.float32),
                development=development,
                training_files=("audio/bus-lyon-1-2-3-a.wav", "audio/tram-paris-4-5-6-s1.wav"),
            )
        )
    return Submission(
        label="Nunez-Ost_NTU_task1_2",
        name="Searched CP-Mobile: 61 k",
        abbreviation="Searched",
        authors=(
            Author("No", "Ngân", "no@ntu.example", NTU),
            Author("Núñez Øst", "María", "maria@ntu.example", NTU, corresponding=True),
        ),
        classes=classes,
        outputs=tuple(outputs),
        complexity=Complexity(params=61_148, macs=29_419_156, weight_bytes=122_296, weight_type="fp16"),
        description={"input_sampling_rate": "32kHz", "framework": "pytorch", "pipeline": None},
    )
