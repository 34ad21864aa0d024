"""meta.yaml of a submission: its complete schema, written and read as plain safe YAML."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.representer import SafeRepresenter

from asc_search.export.profile import Profile
from asc_search.export.submission import Author, Submission
from asc_search.train.metrics import Metrics

MAX_DEPTH = 20
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# YAML 1.1, which PyYAML still reads, takes these for booleans or null: they are quoted ("No" is a last name).
YAML_11_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class _Representer(SafeRepresenter):
    """Never writes an alias, and quotes every text that any YAML version could read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        plain = PLAIN.fullmatch(data) and data.lower() not in YAML_11_WORDS
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')


_Representer.add_representer(str, _Representer.represent_str)


def meta(submission: Submission, profile: Profile) -> dict[str, Any]:
    """The content of meta.yaml; unknown is None, accuracies are in percent. Takes a submission that was checked."""
    outputs = {output.split: output for output in submission.outputs}
    blocks = {split: results_block(outputs[split].development, profile) for split in profile.splits}
    complexity = submission.complexities()[0].stated(profile.complexity_keys)
    system = {
        "description": {key: submission.description.get(key) for key in profile.description_keys},
        "complexity": {key: None if value is None else int(value) for key, value in complexity.items()},
        "energy_consumption": {key: submission.energy.get(key) for key in profile.energy_keys},
        "external_datasets": [
            {"name": data.name, "url": data.url, "total_audio_length": data.total_audio_length}
            for data in submission.external_datasets
        ]
        or None,
        "source_code": submission.source_code,
    }
    named = {f"split_{split}": block for split, block in blocks.items()}
    return {
        "submission": {
            "label": submission.label,
            "name": submission.name,
            "abbreviation": submission.abbreviation,
            "authors": [_author(author) for author in submission.authors],
        },
        "system": {key: system[key] for key in profile.system_keys},
        "results": {"development_dataset": named if profile.by_split else blocks[profile.splits[0]]},
    }


def results_block(metrics: Metrics | None, profile: Profile) -> dict[str, Any]:
    """One split's scores: overall, by class, by device, each log loss (nats) and accuracy (percent, macro) or None."""

    def score(scores: dict[str, Any]) -> dict[str, float | None]:
        log_loss, accuracy = scores.get("log_loss"), scores.get("accuracy")
        return {
            "logloss": None if log_loss is None else round(float(log_loss), 6),
            "accuracy": None if accuracy is None else round(100 * float(accuracy), 4),
        }

    overall = {"log_loss": metrics.log_loss, "accuracy": metrics.accuracy} if metrics else {}
    class_wise, device_wise = (metrics.class_wise, metrics.device_wise) if metrics else ({}, {})
    return {
        "overall": score(overall),
        "class_wise": {name: score(class_wise.get(name, {})) for name in profile.classes},
        "device_wise": {name: score(device_wise.get(name, {})) for name in profile.devices},
    }


def dump(content: dict[str, Any]) -> bytes:
    """UTF-8 YAML of plain values that reads the same as YAML 1.1 and 1.2."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.sort_base_mapping_type_on_output = False
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 4096
    stream = io.BytesIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def load(data: bytes) -> Any:
    """Plain values of UTF-8 YAML.

    Raises:
        ValueError: not valid YAML, or YAML with aliases or deep nesting, which no meta.yaml needs.
    """
    try:
        text = data.decode("utf-8")
        depth = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if isinstance(event, AliasEvent) or depth > MAX_DEPTH:
                raise ValueError(f"uses YAML aliases, or nests deeper than {MAX_DEPTH}")
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _author(author: Author) -> dict[str, Any]:
    affiliation = author.affiliation
    return {
        "lastname": author.lastname,
        "firstname": author.firstname,
        "email": author.email,
        # The official checker counts authors with a true value; the template leaves the key out elsewhere.
        **({"corresponding": True} if author.corresponding else {}),
        "affiliation": {
            "abbreviation": affiliation.abbreviation,
            "institute": affiliation.institute,
            "department": affiliation.department,
            "location": affiliation.location,
        },
    }
