"""Every mistake a space can have: where it is reported, what is said, and that all are reported at once."""

from __future__ import annotations

import pytest

from asc_search.errors import SpaceError
from asc_search.space.load import loads

NETWORK = """network:
  stem: cp
  base: 32
  stages:
    - {family: cp, depth: 1}
"""
POOL = """distillation:
  teachers: [wide]
  pool:
    wide: {kind: network, family: cp}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        loads(text, "s.yaml")
    return [str(problem) for problem in caught.value.problems]


def only(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


# What follows the network starts on line 6.
AFTER_NETWORK = [
    # augmentations that the front end has no room for
    (
        "training:\n  jitter_fmax_hz: 1000",
        "7: training.jitter_fmax_hz",
        ["half the rate, 16000 Hz", "may be 0", "write frontend.fmax_hz: 15500 or lower"],
    ),
    (
        "training:\n  jitter_fmax_hz: {choice: [0, 2000]}\nfrontend: {fmax_hz: 15500}",
        "7: training.jitter_fmax_hz",
        ["may be 15500 Hz", "write frontend.fmax_hz: 15000 or lower"],
    ),
    (
        "training: {jitter_fmin_hz: 700}\nfrontend: {fmin_hz: 400, fmax_hz: 1000}",
        "6: training.jitter_fmin_hz",
        ["edges of the mel filters meet"],
    ),
    (
        "training: {correction_p: {float: [0, 1]}}\nfrontend: {kind: raw}",
        "6: training.correction_p",
        ["log-mels", "frontend.kind is raw"],
    ),
    ("training: {jitter_fmin_hz: 3}\nfrontend: {kind: raw}", "6: training.jitter_fmin_hz", ["frontend.kind is raw"]),
    ("training: {response_path: quick}", "6: training.response_path", ["auto", "exact"]),
    ("training: {fill_mean: 1}", "6: training.fill_mean", ["true", "false"]),
    # pruning
    ("pruning: {importance: l2}", "6: pruning.importance", ["group_norm", "magnitude", "bn_scale", "taylor"]),
    (
        "pruning: {ratio: 0.5, schedule: agp, start: 0.5, end: 0.4}",
        "6: pruning.end",
        ["before pruning.start", "up to 0.5", "write end: 0.5 or more"],
    ),
    ("pruning: {ratio: 0.5, schedule: through}", "6: pruning.schedule", ["write pruning.through"]),
    ("pruning: {ratio: 0.5, through: '64'}", "6: pruning.through", ["pruning.schedule: through", "leave it out"]),
    (
        "pruning: {ratio: 0.5, schedule: through, through: {choice: ['64', '64>80']}}",
        "6: pruning.through",
        ["'64>80'", "falling widths", "80>64"],
    ),
    ("pruning: {widths: '96>32, 9-3'}", "6: pruning.widths", ["'9-3'", "such as '96>32, 176>58'"]),
    ("pruning: {ratio: 0.5, taper: 0.5}", "6: pruning.taper", ["target is budget", "leave it out"]),
    ("pruning: {target: budget, ratio: 0.5}", "6: pruning.ratio", ["is found", "leave it out"]),
    ("pruning: {target: budget, widths: '8>4'}", "6: pruning.widths", ["are found", "leave them out"]),
    # keys
    ("trainin:\n  lr: 0.1", "6: trainin", ["unknown key", "training", "did you mean 'training'?"]),
    ("training:\n  lrr: 0.1", "7: training.lrr", ["unknown key", "weight_decay", "did you mean 'lr'?"]),
    ("training:\n  lr: 0.1\n  lr: 0.2", "8: training.lr", ["written twice", "line 7"]),
    ("training: 3", "6: training", ["expected a mapping", "got 3"]),
    ("training:\n  7: 3", "7: training", ["a key must be text"]),
    ("network: {}", "6: network", ["written twice", "line 1"]),
    # constants
    ("training:\n  batch: '64'", "7: training.batch", ["'64' is not allowed", "a whole number from 2 to 4096"]),
    ("training:\n  batch: true", "7: training.batch", ["True is not allowed", "a whole number"]),
    ("training:\n  batch: 64.0", "7: training.batch", ["64.0 is not allowed", "write 64"]),
    ("training:\n  lr: fast", "7: training.lr", ["'fast' is not allowed", "a number from 1e-07 to 1"]),
    ("training:\n  lr: 2", "7: training.lr", ["2 is not allowed", "to 1"]),
    ("training:\n  lr: .nan", "7: training.lr", ["nan is not allowed"]),
    ("training:\n  lr: .inf", "7: training.lr", ["inf is not allowed"]),
    ("training:\n  lr:", "7: training.lr", ["nothing is not allowed", "a number"]),
    ("training:\n  lr: [1, 2]", "7: training.lr", ["a list is not allowed"]),
    ("weight_type: int4", "6: weight_type", ["'int4' is not allowed", "one of fp32, fp16, int8"]),
    ("weight_type: fp61", "6: weight_type", ["did you mean 'fp16'?"]),
    ("training:\n  lr: !!python/name:os.system", "7: training.lr", ["tag !!python/name:os.system is not allowed"]),
    ("training:\n  lr: !rate 0.1", "7: training.lr", ["tag !rate is not allowed"]),
    ("data:\n  labels: !!set {a, b}", "7: data.labels", ["tag !!set is not allowed"]),
    ("training:\n  lr: !!int abc", "7: training.lr", ["'abc' is not a valid int"]),
    # domains
    ("training:\n  lr: {chioce: [0.1]}", "7: training.lr", ["exactly one of value, choice, int, float", "'choice'?"]),
    ("training:\n  lr: {}", "7: training.lr", ["exactly one of", "it has nothing"]),
    ("training:\n  lr: {choice: [0.1], float: [0.1, 1]}", "7: training.lr", ["exactly one of", "choice, float"]),
    ("training:\n  batch: {int: [8, 64], stepp: 8}", "7: training.batch.stepp", ["unknown key", "mean 'step'?"]),
    ("training:\n  batch: {choice: []}", "7: training.batch.choice", ["at least 1", "it has 0"]),
    ("training:\n  batch: {choice: 8}", "7: training.batch.choice", ["expected a list, got 8"]),
    ("training:\n  batch: {choice: [8, 16, 8]}", "7: training.batch.choice", ["8 stands twice"]),
    ("training:\n  batch:\n    choice:\n      - 8\n      - x", "10: training.batch.choice.1", ["'x' is not allowed"]),
    ("training:\n  batch: {choice: [8, false]}", "7: training.batch.choice.1", ["False is not allowed"]),
    ("training:\n  batch: {int: [64, 8]}", "7: training.batch.int", ["64 is above the high end 8", "[8, 64]"]),
    ("training:\n  batch: {int: [8]}", "7: training.batch.int", ["expected [low, high]"]),
    ("training:\n  batch: {int: [8, 64.5]}", "7: training.batch.int.1", ["64.5 is not allowed"]),
    ("training:\n  batch: {int: [8, 9000]}", "7: training.batch.int.1", ["9000 is not allowed", "to 4096"]),
    ("training:\n  batch: {int: [true, 8]}", "7: training.batch.int.0", ["True is not allowed"]),
    ("training:\n  batch: {int: [8, 60], step: 16}", "7: training.batch.int", ["steps of 16", "end at 56 or 72"]),
    ("training:\n  batch: {int: [8, 64], step: 0}", "7: training.batch.step", ["0 is not allowed"]),
    ("training:\n  batch: {int: [8, 64], log: 1}", "7: training.batch.log", ["1 is not allowed", "true or false"]),
    ("training:\n  batch: {int: [8, 64], log: true, step: 8}", "7: training.batch.int", ["log and step exclude"]),
    ("training:\n  freq_mask: {int: [0, 64], log: true}", "7: training.freq_mask.int", ["log needs a low end above 0"]),
    ("training:\n  batch: {float: [8, 64]}", "7: training.batch.float", ["no float range", "{int: [low, high]}"]),
    ("training:\n  lr: {int: [0, 1]}", "7: training.lr.int", ["no int range", "{float: [low, high]}"]),
    ("weight_type: {int: [0, 1]}", "6: weight_type.int", ["no int range", "{choice: [...]}"]),
    ("training:\n  lr: {float: [0.1, 1.0], step: 0.4}", "7: training.lr.float", ["steps of 0.4", "0.9 or 1.3"]),
    # conditions
    ("pruning:\n  start: {value: 0.5, when: {ration: 0.5}}", "7: pruning.start.when.ration", ["mean 'ratio'?"]),
    ("pruning:\n  start: {value: 0.5, when: {no.such: 1}}", "7: pruning.start.when.no.such", ["no such parameter"]),
    ("pruning:\n  start: {value: 0.5, when: 1}", "7: pruning.start.when", ["expected {parameter: value or list}"]),
    ("pruning:\n  start: {value: 0.5, when: {ratio: []}}", "7: pruning.start.when.ratio", ["list is empty"]),
    (
        "pruning:\n  ratio: {choice: [0, 0.5]}\n  start: {value: 0.5, when: {ratio: 0.4}}",
        "8: pruning.start.when.ratio",
        ["pruning.ratio is never 0.4", "0.0 | 0.5"],
    ),
    (
        "pruning:\n  ratio: {float: [0, 0.5]}\n  start: {value: 0.5, when: {ratio: 0.5}}",
        "8: pruning.start.when.ratio",
        ["continuous range", "a choice or a step"],
    ),
    (
        "pruning:\n  start: {value: 0.5, when: {network.stages.0.family: sscp}}",
        "7: pruning.start.when.network.stages.0.family",
        ["never 'sscp'", "it is cp"],
    ),
    (
        "training:\n  batch: {choice: [8, 16], when: {freq_mask: true}}\n  freq_mask: {int: [0, 1]}",
        "7: training.batch.when.freq_mask",
        ["never True"],
    ),
    (
        "training:\n  batch: {choice: [8, 16], when: {freq_mask: 0}}\n  freq_mask: {choice: [0, 9], when: {batch: 8}}",
        "7: training.batch.when",
        ["depends on itself", "training.batch -> training.freq_mask -> training.batch"],
    ),
    # data, budget, objectives
    ("data: dmeo", "6: data", ["'dmeo' is no source", "demo, folder:PATH, tau2019:PATH", "did you mean 'demo'?"]),
    ("data:\n  source: 'folder:'", "7: data.source", ["is no source"]),
    ("data:\n  labels: bus", "7: data.labels", ["expected a list, got 'bus'"]),
    ("data:\n  labels: []", "7: data.labels", ["at least 1"]),
    ("data:\n  labels: [bus, 2.5]", "7: data.labels.1", ["2.5 is not allowed", "text"]),
    ("data: {train_folds: [1, 2], test_folds: [2]}", "6: data.test_folds", ["2 is in train_folds too"]),
    ("data: {validation_fraction: 1.5}", "6: data.validation_fraction", ["from 0.01 to 0.9"]),
    ("budget: {macs: 0}", "6: budget.macs", ["0 is not allowed"]),
    ("budget: {mac: 5}", "6: budget.mac", ["did you mean 'macs'?"]),
    ("objectives: accuracy", "6: objectives", ["expected a list"]),
    ("objectives: [macs]", "6: objectives", ["accuracy is missing"]),
    ("objectives: [accuracy, mac]", "6: objectives.1", ["one of accuracy, macs, params", "did you mean 'macs'?"]),
    ("objectives: [accuracy, accuracy]", "6: objectives", ["'accuracy' stands twice"]),
    # front end
    ("frontend: {window: 4096, n_fft: 2048}", "6: frontend.window", ["4096 samples do not fit in n_fft", "2048"]),
    ("frontend: {rate_hz: 16000, fmax_hz: 9000}", "6: frontend.fmax_hz", ["half the lowest rate, 8000 Hz"]),
    ("frontend: {fmin_hz: 500, fmax_hz: 400}", "6: frontend.fmin_hz", ["not below the upper edge, 400 Hz"]),
    # search, retrain, export
    ("search: {rungs: [3, 1]}", "6: search.rungs", ["do not increase"]),
    ("search: {rungs: []}", "6: search.rungs", ["at least 1"]),
    ("search: {rungs: [1, 1.5]}", "6: search.rungs.1", ["1.5 is not allowed"]),
    ("search: {enqueue: [dcase2024-basline]}", "6: search.enqueue.0", ["did you mean 'dcase2024-baseline'?"]),
    ("search: {trials: {int: [1, 2]}}", "6: search.trials", ["a mapping is not allowed"]),
    ("retrain: {references: [none]}", "6: retrain.references.0", ["one of dcase2024-baseline"]),
    ("retrain: {undistilled: 1}", "6: retrain.undistilled", ["true or false"]),
    ("export: {label: 2}", "6: export.label", ["2 is not allowed", "text"]),
    ("export: {authors: me}", "6: export.authors", ["expected a list"]),
    ("export: {profile: dcase2021}", "6: export.profile", ["one of dcase2022, dcase2023, dcase2024, dcase2025"]),
    ("export: {authors: [{lastnam: Doe}]}", "6: export.authors.0.lastnam", ["unknown key", "did you mean 'lastname'?"]),
    (
        "export: {authors: [{affiliation: {city: x}}]}",
        "6: export.authors.0.affiliation.city",
        ["abbreviation, institute"],
    ),
    (
        "export: {description: {embeddings: PaSST}}",
        "6: export.description.embeddings",
        ["not a key of dcase2024", "dcase2022"],
    ),
    ("export: {description: {pipelin: x}}", "6: export.description.pipelin", ["did you mean 'pipeline'?"]),
    (
        "export: {description: {pipeline: [a]}}",
        "6: export.description.pipeline",
        ["expected text, a whole number, or null"],
    ),
    ("export: {energy: {training: 1}}", "6: export.energy", ["dcase2024 does not ask for it", "dcase2023"]),
    ("export: {profile: dcase2023, energy: {training: -1}}", "6: export.energy.training", ["a number from 0"]),
    ("export: {profile: dcase2023, energy: {train: 1}}", "6: export.energy.train", ["did you mean 'training'?"]),
    ("export: {external_datasets: [{name: x}]}", "6: export.external_datasets.0.url", ["is missing"]),
    ("export: {external_datasets: AudioSet}", "6: export.external_datasets", ["expected a list"]),
    ("export: {external_datasets: [null]}", "6: export.external_datasets.0", ["expected a mapping with name, url"]),
    ("export: {authors: [{lastname: 3}]}", "6: export.authors.0.lastname", ["expected text", "use quotes"]),
]


@pytest.mark.parametrize(("text", "where", "phrases"), AFTER_NETWORK, ids=[case[0] for case in AFTER_NETWORK])
def test_one_mistake_is_one_message_with_its_line_and_path(text: str, where: str, phrases: list[str]) -> None:
    message = only(NETWORK + text + "\n")
    assert message.startswith(f"s.yaml:{where}: ")
    for phrase in phrases:
        assert phrase in message


STAGE = "  stages:\n    - family: {choice: [cp, sscp]}\n      depth: 1\n"
NETWORKS = [
    ("data: demo\n", "1: network", ["is missing"]),
    ("network:\n  base: 32\n" + STAGE, "1: network.stem", ["is missing"]),
    ("network:\n  stem: cp\n" + STAGE, "1: network.base", ["is missing"]),
    ("network:\n  stem: cp\n  base: 32\n", "1: network.stages", ["is missing"]),
    ("network:\n  stem: cp\n  base: 32\n  stages: []\n", "4: network.stages", ["expected a list of stages"]),
    ("network:\n  stem: cp\n  base: 32\n  stages:\n    - cp\n", "5: network.stages.0", ["expected a mapping"]),
    (
        "network:\n  stem: cp\n  base: 32\n  stages:\n    - {depth: 1}\n",
        "5: network.stages.0.family",
        ["is missing"],
    ),
    ("network:\n  stem: ssp\n  base: 32\n" + STAGE, "2: network.stem", ["cp_stem, sscp_stem", "mean 'sscp'?"]),
    ("network:\n  stem: {choice: [cp, cp_stem]}\n  base: 32\n" + STAGE, "2: network.stem.choice", ["stands twice"]),
    (
        "network:\n  stem: {choice: [cp], when: {base: 32}}\n  base: 32\n" + STAGE,
        "2: network.stem.when",
        ["always needed"],
    ),
    ("network:\n  stem: cp\n  base: 32\n  stem_stride: 2*2\n" + STAGE, "4: network.stem_stride", ["mean '2x2'?"]),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "      stride_at: middle\n",
        "7: network.stages.0.stride_at",
        ["first, last"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "      expnsion: 2\n",
        "7: network.stages.0.expnsion",
        ["unknown key", "cp offers expansion, attachment", "sscp offers expansion", "did you mean 'expansion'?"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n  stages:\n    - {family: cp, depth: 1, fusion: serial}\n",
        "5: network.stages.0.fusion",
        ["is an option of sscp", "here cp offers expansion"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "      expansion: {float: [0.5, 4]}\n",
        "7: network.stages.0.expansion.float.0",
        ["0.5 is not allowed", "from 1 to 8"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "      attachment: {value: 1, when: {family: cp}}\n",
        "7: network.stages.0.attachment.value",
        ["1 is not allowed", "one of none, se"],
    ),
    (
        "network:\n  stem: cp\n  stem_fusion: serial\n  base: 32\n" + STAGE,
        "3: network.stem_fusion",
        ["is an option of sscp_stem", "cp_stem offers no options"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n"
        + STAGE.replace("cp, sscp", "cp, mn")
        + "      kernel: {value: 5, when: {family: cp}}\n",
        "7: network.stages.0.kernel.when",
        ["never holds"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "training: {schedule: steps}\n",
        "7: training.final_lr",
        ["above 0 where training.schedule is steps"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "frontend: {centre: false, seconds: 0.1}\n",
        "7: frontend.n_fft",
        ["without centring"],
    ),
    (
        "network:\n  stem: cp\n  head: liner\n  base: 32\n" + STAGE,
        "3: network.head",
        ["conv_head", "did you mean 'linear'?"],
    ),
    (
        "network:\n  stem: cp\n  head: {choice: [conv, linear]}\n  head_hidden: {int: [-1, 8]}\n  base: 32\n" + STAGE,
        "4: network.head_hidden.int.0",
        ["-1 is not allowed", "from 0 to 4096"],
    ),
    (
        "network:\n  stem: cp\n  base: 32\n" + STAGE + "      attachment: eca\npruning: {ratio: 0.5}\n",
        "8: pruning.ratio",
        ["with eca of network.stages.0.attachment", "cannot be pruned"],
    ),
]


@pytest.mark.parametrize(("text", "where", "phrases"), NETWORKS, ids=[case[1] for case in NETWORKS])
def test_mistakes_in_the_network(text: str, where: str, phrases: list[str]) -> None:
    message = only(text)
    assert message.startswith(f"s.yaml:{where}: ")
    for phrase in phrases:
        assert phrase in message


WIDE = "    wide: {kind: network, family: cp}\n"
TEACHERS = [
    ("  teachers: [wyde]\n  pool:\n" + WIDE, "7: distillation.teachers.0", ["one of wide", "did you mean 'wide'?"]),
    ("  teachers: wide\n  pool:\n" + WIDE, "7: distillation.teachers", ["expected a list of teachers"]),
    ("  pool:\n" + WIDE, "6: distillation.teachers", ["is missing"]),
    (
        "  teachers: {subset_of: [wide], min: 2}\n  pool:\n" + WIDE,
        "7: distillation.teachers.min",
        ["2 is more than the 1"],
    ),
    (
        "  teachers: {subset_of: []}\n  pool:\n" + WIDE,
        "7: distillation.teachers.subset_of",
        ["at least 1 of one of wide"],
    ),
    (
        "  teachers: {subset_off: [wide]}\n  pool:\n" + WIDE,
        "7: distillation.teachers",
        ["exactly one of value, subset_of", "did you mean 'subset_of'?"],
    ),
    (
        "  teachers: []\n  weight: {value: 0.1, when: {teachers: wide}}\n  pool:\n" + WIDE,
        "8: distillation.weight.when.teachers",
        ["never 'wide'", "it is empty"],
    ),
    ("  teachers: []\n  pool: 3\n", "8: distillation.pool", ["expected a mapping of teachers"]),
    (
        "  teachers: []\n  pool:\n    a: {family: cp}\n",
        "9: distillation.pool.a.kind",
        ["is missing", "network, tagger"],
    ),
    ("  teachers: []\n  pool:\n    a: {kind: tager}\n", "9: distillation.pool.a.kind", ["did you mean 'tagger'?"]),
    ("  teachers: []\n  pool:\n    a: {kind: tagger}\n", "9: distillation.pool.a.weights", ["is missing"]),
    ("  teachers: []\n  pool:\n    a: {kind: network}\n", "9: distillation.pool.a.family", ["is missing"]),
    (
        "  teachers: []\n  pool:\n    a: {kind: network, family: cp, base: {int: [8, 16]}}\n",
        "9: distillation.pool.a.base",
        ["a mapping is not allowed"],
    ),
    (
        "  teachers: []\n  pool:\n    a: {kind: network, family: cp, frontend: {mel: 3}}\n",
        "9: distillation.pool.a.frontend.mel",
        ["did you mean 'mels'?"],
    ),
    (
        "  teachers: []\n  pool:\n    ../a: {kind: network, family: cp}\n",
        "9: distillation.pool.../a",
        ["letters, digits, _ and -"],
    ),
    ("  teachers: []\n  pool:\n    - {kind: tagger}\n", "9: distillation.pool.0", ["a mapping with a name"]),
]


@pytest.mark.parametrize(("text", "where", "phrases"), TEACHERS, ids=[case[1] for case in TEACHERS])
def test_mistakes_in_the_teachers(text: str, where: str, phrases: list[str]) -> None:
    message = only(NETWORK + "distillation:\n" + text)
    assert message.startswith(f"s.yaml:{where}: ")
    for phrase in phrases:
        assert phrase in message


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines() -> None:
    text = NETWORK.replace("base: 32", "base: wide") + "weight_type: int4\ntrainin: {}\nsearch: {rungs: [3, 1]}\n"
    found = problems(text)
    assert [problem.split(":")[1] for problem in found] == ["3", "6", "7", "8"]
    with pytest.raises(SpaceError, match=r"^s\.yaml: 4 mistakes in the space\n"):
        loads(text, "s.yaml")


def test_the_snippets_the_mistakes_are_put_into_have_none() -> None:
    loads(NETWORK)
    loads(NETWORK + POOL)


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("seconds: {choice: [1.0, 2.0]}", "cannot be searched"),
        ("n_fft: 4097", "must be even"),
        ("seconds: 0.1\n  rate_hz: 16000", "too many for a window of 1600"),
    ],
)
def test_front_ends_that_teachers_or_the_fft_cannot_have(front: str, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        loads(NETWORK + f"frontend:\n  {front}\n", "s.yaml")
    assert said in str(caught.value)


def test_a_teacher_hears_no_less_than_the_students() -> None:
    teacher = POOL + "      frontend: {seconds: 0.5}\n"
    text = NETWORK + teacher.replace("{kind: network, family: cp}\n", "\n      kind: network\n      family: cp\n")
    assert "s.yaml:12: distillation.pool.wide.frontend.seconds: 0.5 s is shorter" in only(text)
    assert "students' windows of 2 s" in only(text.replace("0.5", "1") + "frontend: {seconds: 2}\n")
    space = loads(text.replace("0.5", "10"))
    assert space.pool["wide"].frontend == (("seconds", 10.0),)


def test_channels_and_segments_are_keys() -> None:
    space = loads(NETWORK + "frontend: {channels: 2}\ndata: {source: 'tau2022:x', segments: true}\n")
    assert space.constants["frontend.channels"] == 2 and space.data.segments is True
    assert "frontend.channels: 3 is not allowed" in only(NETWORK + "frontend: {channels: 3}\n")
    assert "data.segments" in only(NETWORK + "data: {segments: 10}\n")
